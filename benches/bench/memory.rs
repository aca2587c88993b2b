//! Rows 5 and 6: memory with a full backlog and the function down, and what 200 idle pipelines take.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contender::{fnbridge, fnbridge_with};
use crate::{Bench, PARTITIONS};

/// Of 1 KiB each: 1 GiB.
const BACKLOG: u64 = 1 << 20;
const IDLE_PIPELINES: u32 = 200;
/// Nobody listens there.
pub const DOWN: &str = "http://127.0.0.1:9/";

pub fn run_down(bench: &Bench) {
    println!("\nmemory with {BACKLOG} records to do and the function down");
    let (empty, full) = (bench.cluster.topic("source"), bench.cluster.topic("source"));
    bench.cluster.fill(&full, BACKLOG, |n| {
        ((n % PARTITIONS as u64) as i32, format!("key-{}", n % 1000))
    });
    let mut seen = Vec::new();
    for (source, seconds) in [(&empty, 15), (&full, 60)] {
        let run = format!("bench-{source}");
        let mut process = fnbridge(bench, &run, pipeline("bench", source, &run));
        let mut by_second = Vec::new();
        for _ in 0..seconds {
            sleep(Duration::from_secs(1));
            process.must_live();
            by_second.push(process.memory_mib());
        }
        seen.push(by_second);
    }
    let idle = seen[0].last().expect("seconds").0;
    let (half, (_, peak)) = (seen[1][29].0, *seen[1].last().expect("seconds"));
    let last = seen[1].last().expect("seconds").0;
    println!(
        "| memory, function down | fnbridge | {:.1} MiB over idle at most | {idle:.1} MiB idle, {half:.1} after 30 s, {last:.1} after 60 s | \
         goal ≤ 150 MiB, flat |",
        peak - idle
    );
    bench.cluster.delete(&empty);
    bench.cluster.delete(&full);
}

pub fn run_idle(bench: &Bench) {
    println!("\n{IDLE_PIPELINES} idle pipelines");
    let topics = bench.cluster.topics("idle", IDLE_PIPELINES, 1);
    let pipelines = topics
        .iter()
        .map(|topic| pipeline(topic, topic, &format!("group-{topic}")))
        .collect();
    let mut process = fnbridge_with(bench, "bench-idle", pipelines);
    // Time for all of them to join their groups.
    sleep(Duration::from_secs(60));
    process.must_live();
    let (cpu, start) = (process.cpu(), Instant::now());
    sleep(Duration::from_secs(20));
    let share = (process.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    let (now, peak) = process.memory_mib();
    println!(
        "| {IDLE_PIPELINES} idle pipelines | fnbridge | {now:.0} MiB, {peak:.0} at most | {share:.1} % of a core | goal ≤ 600 MiB, ≤ 5 % |"
    );
    drop(process);
    topics.iter().for_each(|topic| bench.cluster.delete(topic));
}

fn pipeline(name: &str, source: &str, group: &str) -> Value {
    json!({
        "name": name,
        "source": {"topics": [source], "group": group},
        "function": {"url": DOWN},
    })
}
