//! Row 4: records of 1,000 keys in order each, to a function that takes 20 ms, with 256 calls in flight.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::contender::fnbridge;
use crate::function::{Behaviour, Function};
use crate::{Bench, PARTITIONS};

const KEYS: u64 = 1000;
const TAKES: Duration = Duration::from_millis(20);
const IN_FLIGHT: usize = 256;
const RECORDS: u64 = 240_000;
const WINDOW: Duration = Duration::from_secs(10);

pub fn run(bench: &Bench) {
    println!("\n{KEYS} keys in order, a function that takes {TAKES:?}, {IN_FLIGHT} calls in flight");
    let (source, sink) = (bench.cluster.topic("source"), bench.cluster.topic("sink"));
    bench.cluster.fill(&source, RECORDS, |n| {
        let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let key = key % KEYS;
        ((key % PARTITIONS as u64) as i32, format!("key-{key}"))
    });
    let function = Function::start(Behaviour {
        takes: TAKES,
        ..Behaviour::default()
    });
    let run = format!("bench-{sink}");
    let mut process = fnbridge(
        bench,
        &run,
        json!({
            "name": "bench",
            "ordering": "key",
            "source": {"topics": [source], "group": run},
            "batch": {"max_records": 1},
            "concurrency": {"max_in_flight": IN_FLIGHT},
            "function": {"url": function.url},
            "sinks": [{"kafka": {"topic": sink}}],
        }),
    );
    let seen = &function.seen;
    let began = Instant::now();
    while seen.records.load(Relaxed) < 20_000 {
        process.must_live();
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{} records",
            seen.records.load(Relaxed)
        );
        sleep(Duration::from_millis(5));
    }
    let (start, first, took) = (Instant::now(), seen.records.load(Relaxed), seen.took_ns.load(Relaxed));
    let cpu = process.cpu();
    sleep(WINDOW);
    let records = (seen.records.load(Relaxed) - first) as f64;
    let rate = records / start.elapsed().as_secs_f64();
    let took_ms = (seen.took_ns.load(Relaxed) - took) as f64 / records / 1e6;
    let cpu_us = (process.cpu() - cpu).as_secs_f64() * 1e6 / records;
    let possible = IN_FLIGHT as f64 / TAKES.as_secs_f64();
    let measured = IN_FLIGHT as f64 / (took_ms / 1e3);
    println!(
        "| {KEYS} keys in order, {IN_FLIGHT} in flight | fnbridge | {rate:.0} records/s, {cpu_us:.1} µs CPU a record | {:.1} % of \
         {possible:.0} ({:.1} % of {measured:.0}, by the {took_ms:.1} ms that the function took) | goal ≥ 90 % |",
        rate / possible * 100.0,
        rate / measured * 100.0,
    );
    drop(process);
    bench.cluster.delete(&source);
    bench.cluster.delete(&sink);
}
