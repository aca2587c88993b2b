//! Row 3: how long after it was produced a record reaches the function, when there is little to do.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::producer::BaseRecord;
use serde_json::json;

use crate::contender::{fnbridge, raw_loop};
use crate::function::{Behaviour, Function, stamp};
use crate::{Bench, PARTITIONS, quantile};

const RECORDS: u64 = 1500;
const EVERY: Duration = Duration::from_millis(10);
/// Records before those that are measured: connections are opened, code is warm.
const WARM_UP: u64 = 200;

pub fn run(bench: &Bench) {
    println!("\ndelay, one record every {EVERY:?}");
    for ours in [true, false] {
        let (source, sink) = (bench.cluster.topic("source"), bench.cluster.topic("sink"));
        let function = Function::start(Behaviour {
            stamped: true,
            ..Behaviour::default()
        });
        let run = format!("bench-{sink}");
        let pipeline = json!({
            "name": "bench",
            "source": {"topics": [source], "group": run, "value": {"format": "bytes"}},
            "batch": {"max_records": 1},
            "function": {"url": function.url, "contract": "raw"},
            "sinks": [{"kafka": {"topic": sink}}],
        });
        let mut process = match ours {
            true => fnbridge(bench, &run, pipeline),
            false => raw_loop(bench, &run, &source, &sink, &function.url, 1),
        };
        let producer = bench.cluster.eager_producer();
        let began = Instant::now();
        for n in 0..WARM_UP + RECORDS {
            let (key, value) = (format!("key-{n}"), stamp());
            let record = BaseRecord::to(&source)
                .partition((n % PARTITIONS as u64) as i32)
                .key(&key)
                .payload(&value);
            producer
                .send(record)
                .map_err(|(error, _)| error)
                .expect("room for one record");
            if n == 0 {
                // Whoever joins the group does not belong to the delay.
                while function.seen.records.load(Relaxed) == 0 {
                    process.must_live();
                    assert!(
                        began.elapsed() < Duration::from_secs(60),
                        "the first record did not arrive"
                    );
                    sleep(EVERY);
                }
            }
            sleep(EVERY);
        }
        while function.seen.records.load(Relaxed) < WARM_UP + RECORDS {
            process.must_live();
            sleep(EVERY);
        }
        let mut delays = function
            .seen
            .delays_ms
            .lock()
            .expect("delays")
            .split_off(WARM_UP as usize);
        let (p50, p99) = (quantile(&mut delays, 0.5), quantile(&mut delays, 0.99));
        let name = if ours { "fnbridge" } else { "raw loop" };
        println!(
            "| delay, produced → called | {name} | p50 {p50:.2} ms | p99 {p99:.2} ms | goal p50 ≤ 3 ms, p99 ≤ 15 ms |"
        );
        drop(process);
        bench.cluster.delete(&source);
        bench.cluster.delete(&sink);
    }
}
