//! Rows 1 and 2: CPU a record, beside the raw loop; and what exactly once costs, beside at least once. Both of a pair send
//! the same requests and produce the same records, which is proved.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contender::{fnbridge, raw_loop};
use crate::function::{Behaviour, Function};
use crate::process::Process;
use crate::{Bench, PARTITIONS, median};

const PAIRS: usize = 5;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Row {
    name: &'static str,
    contract: &'static str,
    records_a_call: usize,
    /// A multiple of partitions and records a call, so that all batches are full.
    records: u64,
    /// Who is measured, and against whom.
    pair: [Who; 2],
    goal: Goal,
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Fnbridge,
    ExactlyOnce,
    RawLoop,
}

/// Of the first of a pair against the second.
#[derive(Clone, Copy)]
enum Goal {
    /// At most so many times the CPU a record.
    Cpu(f64),
    /// At least so much of the throughput.
    Throughput(f64),
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Fnbridge => "fnbridge",
            Who::ExactlyOnce => "exactly once",
            Who::RawLoop => "raw loop",
        }
    }
}

pub const JSON: Row = Row {
    name: "1 KiB JSON, 100 records a call (json)",
    contract: "json",
    records_a_call: 100,
    records: 480_000,
    pair: [Who::Fnbridge, Who::RawLoop],
    goal: Goal::Cpu(1.25),
};

pub const EXACTLY_ONCE: Row = Row {
    name: "1 KiB JSON, 100 records a call (json), exactly once",
    pair: [Who::ExactlyOnce, Who::Fnbridge],
    goal: Goal::Throughput(0.8),
    ..JSON
};

pub const RAW: Row = Row {
    name: "1 KiB, one record a call (raw)",
    contract: "raw",
    records_a_call: 1,
    records: 240_000,
    pair: [Who::Fnbridge, Who::RawLoop],
    goal: Goal::Cpu(1.15),
};

impl Row {
    /// Whether both cut the same batches. Results that wait for the end of their transaction take room, so that a batch may have to go
    /// before it is full.
    fn cuts_alike(&self) -> bool {
        !self.pair.contains(&Who::ExactlyOnce)
    }
}

#[derive(Clone, Copy)]
struct Figures {
    records_a_second: f64,
    cpu_us_a_record: f64,
    peak_mib: f64,
}

pub fn run(bench: &Bench, row: &Row) {
    let source = bench.cluster.topic("source");
    bench.cluster.fill(&source, row.records, |n| {
        ((n % PARTITIONS as u64) as i32, format!("key-{}", n % 1000))
    });
    let mut proof = None;
    let mut measured = [Vec::new(), Vec::new()];
    println!("\n{}: {} records, {PAIRS} pairs", row.name, row.records);
    for pair in 0..PAIRS {
        // Who goes first alternates, as the second one finds the broker's caches warm.
        for at in [pair % 2, (pair + 1) % 2] {
            let who = row.pair[at];
            let (figures, requests, results) = measure(bench, row, &source, who, pair == 0);
            let name = who.name();
            println!(
                "  {name}: {:>7.0} records/s  {:>6.2} µs CPU a record  {:>6.1} MiB at most",
                figures.records_a_second, figures.cpu_us_a_record, figures.peak_mib
            );
            let seen = *proof.get_or_insert((requests, results));
            assert!(
                seen.0 == requests || !row.cuts_alike(),
                "the requests of {name} are not those of the other"
            );
            assert!(
                results.is_none() || seen.1 == results,
                "the results of {name} are not those of the other"
            );
            measured[at].push(figures);
        }
    }
    bench.cluster.delete(&source);
    report(row, &measured);
}

fn report(row: &Row, measured: &[Vec<Figures>; 2]) {
    let of = |all: &[Figures], read: fn(&Figures) -> f64| median(all.iter().map(read).collect());
    for (who, all) in row.pair.iter().zip(measured) {
        let name = who.name();
        println!(
            "| {} | {name} | {:.0} records/s | {:.2} µs CPU a record | {:.1} MiB at most |",
            row.name,
            of(all, |f| f.records_a_second),
            of(all, |f| f.cpu_us_a_record),
            of(all, |f| f.peak_mib)
        );
    }
    let [first, second] = measured;
    let pairs = || first.iter().zip(second);
    let against = row.pair[1].name();
    match row.goal {
        Goal::Cpu(goal) => {
            let ratio = median(pairs().map(|(a, b)| a.cpu_us_a_record / b.cpu_us_a_record).collect());
            println!(
                "| {} | ratio | {ratio:.2} × the {against}'s CPU | goal ≤ {goal:.2} | |",
                row.name
            );
        }
        Goal::Throughput(goal) => {
            let ratio = median(pairs().map(|(a, b)| a.records_a_second / b.records_a_second).collect());
            println!(
                "| {} | ratio | {ratio:.2} × the throughput of {against} | goal ≥ {goal:.2} | |",
                row.name
            );
        }
    }
}

/// One run, from the first record to the last, and what is measured from its first tenth to its last. With `proved`, also a
/// digest of all results.
fn measure(bench: &Bench, row: &Row, source: &str, who: Who, proved: bool) -> (Figures, u64, Option<u64>) {
    let sink = bench.cluster.topic("sink");
    let function = Function::start(Behaviour::default());
    let run = format!("bench-{sink}");
    let mut process = match who {
        Who::RawLoop => raw_loop(bench, &run, source, &sink, &function.url, row.records_a_call),
        Who::Fnbridge | Who::ExactlyOnce => {
            let mut pipeline = pipeline(row, source, &sink, &function.url, &run);
            if who == Who::ExactlyOnce {
                pipeline["delivery"] = json!("exactly_once");
            }
            fnbridge(bench, &run, pipeline)
        }
    };
    let began = Instant::now();
    let reached = |records: u64, process: &mut Process| {
        while function.seen.records.load(Relaxed) < records {
            process.must_live();
            assert!(
                began.elapsed() < PATIENCE,
                "{} of {records} records",
                function.seen.records.load(Relaxed)
            );
            sleep(Duration::from_millis(2));
        }
        (Instant::now(), process.cpu(), function.seen.records.load(Relaxed))
    };
    let (start, cpu_before, first) = reached(row.records / 10, &mut process);
    let (end, cpu_after, last) = reached(row.records * 9 / 10, &mut process);
    reached(row.records, &mut process);
    // The marks at the ends of transactions take offsets, too.
    let all_stand = || match who {
        Who::ExactlyOnce => bench.cluster.committed(&run, source) == row.records,
        Who::Fnbridge | Who::RawLoop => bench.cluster.count(&sink) >= row.records,
    };
    while !all_stand() {
        process.must_live();
        assert!(began.elapsed() < PATIENCE, "not all results arrived");
        sleep(Duration::from_millis(100));
    }
    let figures = Figures {
        records_a_second: (last - first) as f64 / (end - start).as_secs_f64(),
        cpu_us_a_record: (cpu_after - cpu_before).as_secs_f64() * 1e6 / (last - first) as f64,
        peak_mib: process.memory_mib().1,
    };
    drop(process);
    if who != Who::ExactlyOnce {
        assert_eq!(bench.cluster.count(&sink), row.records, "results");
    }
    let (requests, full) = (
        function.seen.requests.load(Relaxed),
        row.records / row.records_a_call as u64,
    );
    let most = if row.cuts_alike() { full } else { full + full / 100 };
    assert!(
        (full..=most).contains(&requests),
        "{requests} requests, {full} full ones"
    );
    let results = proved.then(|| bench.cluster.digest(&sink, row.records));
    bench.cluster.delete(&sink);
    (figures, function.seen.digest(), results)
}

fn pipeline(row: &Row, source: &str, sink: &str, url: &str, group: &str) -> Value {
    let format = if row.contract == "raw" { "bytes" } else { "json" };
    let linger = if row.records_a_call > 1 { "1s" } else { "0ms" };
    json!({
        "name": "bench",
        "source": {"topics": [source], "group": group, "value": {"format": format}},
        "batch": {"max_records": row.records_a_call, "linger": linger},
        "function": {"url": url, "contract": row.contract},
        "sinks": [{"kafka": {"topic": sink}}],
    })
}
