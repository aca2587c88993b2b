//! A pipeline that does its best, alone and beside others that are at their limits, on each of the worker's threads: one whose
//! function is down, and one whose function is slow, with all the calls on the wire that it may have and a full backlog.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contender::fnbridge_with;
use crate::function::{Behaviour, Function};
use crate::memory::DOWN;
use crate::{Bench, PARTITIONS, median};

const PAIRS: usize = 5;
const RECORDS: u64 = 480_000;
const RECORDS_A_CALL: usize = 100;
/// What those beside it have to do, and how long their function takes.
const BACKLOG: u64 = 60_000;
const SLOW: Duration = Duration::from_secs(2);
const IN_FLIGHT: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

pub fn run(bench: &Bench) {
    let (source, backlog) = (bench.cluster.topic("source"), bench.cluster.topic("backlog"));
    let place = |n: u64| ((n % PARTITIONS as u64) as i32, format!("key-{}", n % 1000));
    bench.cluster.fill(&source, RECORDS, place);
    bench.cluster.fill(&backlog, BACKLOG, place);
    println!("\nbeside pipelines at their limits: {RECORDS} records, {PAIRS} pairs");
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let rate = |beside: bool| {
            let rate = measure(bench, &source, beside.then_some(backlog.as_str()), pair);
            println!(
                "  {}: {rate:>7.0} records/s",
                if beside { "beside others" } else { "alone" }
            );
            rate
        };
        // Who goes first alternates, as the second one finds the broker's caches warm.
        let (alone, beside) = match pair % 2 == 0 {
            true => (rate(false), rate(true)),
            false => {
                let beside = rate(true);
                (rate(false), beside)
            }
        };
        ratios.push(beside / alone);
    }
    let (least, most) = ratios
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), r| (least.min(*r), most.max(*r)));
    let ratio = median(ratios);
    println!(
        "| records a second beside pipelines at their limits | ratio | {ratio:.2} of those alone (by pairs {least:.2} to \
         {most:.2}) | goal ≥ 0.90 |"
    );
    bench.cluster.delete(&source);
    bench.cluster.delete(&backlog);
}

/// Records a second, from the first tenth to the last.
fn measure(bench: &Bench, source: &str, backlog: Option<&str>, pair: usize) -> f64 {
    let (function, slow) = (
        Function::start(Behaviour::default()),
        Function::start(Behaviour {
            takes: SLOW,
            ..Behaviour::default()
        }),
    );
    let sink = bench.cluster.topic("sink");
    let run = format!("bench-{sink}-{pair}");
    let mut pipelines = vec![json!({
        "name": "measured",
        "source": {"topics": [source], "group": run},
        "batch": {"max_records": RECORDS_A_CALL, "linger": "1s"},
        "function": {"url": function.url},
        "sinks": [{"kafka": {"topic": sink}}],
    })];
    // Pipelines go round the threads, and there is one thread a core.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for n in 0..threads * usize::from(backlog.is_some()) {
        for (kind, url) in [("slow", slow.url.as_str()), ("down", DOWN)] {
            pipelines.push(neighbour(
                &format!("{kind}-{n}"),
                &run,
                backlog.unwrap_or_default(),
                url,
            ));
        }
    }
    let mut process = fnbridge_with(bench, &run, pipelines);
    let began = Instant::now();
    let mut reached = |records: u64| {
        while function.seen.records.load(Relaxed) < records {
            process.must_live();
            assert!(
                began.elapsed() < PATIENCE,
                "{} records",
                function.seen.records.load(Relaxed)
            );
            sleep(Duration::from_millis(2));
        }
        (Instant::now(), function.seen.records.load(Relaxed))
    };
    let (start, first) = reached(RECORDS / 10);
    let (end, last) = reached(RECORDS * 9 / 10);
    drop(process);
    assert!(
        backlog.is_none() || slow.seen.started.load(Relaxed) >= (threads * IN_FLIGHT) as u64,
        "those beside it had {} calls, and are not at their limits",
        slow.seen.started.load(Relaxed)
    );
    bench.cluster.delete(&sink);
    (last - first) as f64 / (end - start).as_secs_f64()
}

fn neighbour(name: &str, run: &str, backlog: &str, url: &str) -> Value {
    json!({
        "name": name,
        "ordering": "none",
        "source": {"topics": [backlog], "group": format!("{run}-{name}")},
        "batch": {"max_records": 1},
        "concurrency": {"max_in_flight": IN_FLIGHT},
        "function": {"url": url},
    })
}
