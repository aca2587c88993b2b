//! What a record costs in each contract, beside `raw`; and what a filter adds to one. All runs of a row do the same work: they
//! read the same topic, call a function, and store what it gives back.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::contender::fnbridge;
use crate::function::{Behaviour, Function, Speaks};
use crate::{Bench, PARTITIONS, median};

const ROUNDS: usize = 3;
/// A multiple of partitions and records a call, so that all batches are full.
const RECORDS: u64 = 120_000;
const PATIENCE: Duration = Duration::from_secs(300);

/// One pipeline that is measured.
struct Run {
    name: &'static str,
    contract: &'static str,
    records_a_call: usize,
    speaks: Speaks,
    filter: Option<&'static str>,
    /// An answer of this contract holds results.
    delivers: bool,
}

const RAW: Run = Run {
    name: "raw",
    contract: "raw",
    records_a_call: 1,
    speaks: Speaks::JsonOrRaw,
    filter: None,
    delivers: true,
};

const JSON: Run = Run {
    name: "json",
    contract: "json",
    ..RAW
};

const BINARY: Run = Run {
    name: "cloudevents_binary",
    contract: "cloudevents_binary",
    speaks: Speaks::Echo { record: None },
    ..RAW
};

const STRUCTURED: Run = Run {
    name: "cloudevents_structured",
    contract: "cloudevents_structured",
    ..BINARY
};

const BATCH: Run = Run {
    name: "cloudevents_batch",
    contract: "cloudevents_batch",
    speaks: Speaks::Echo {
        record: Some("\"specversion\":"),
    },
    ..RAW
};

const FC: Run = Run {
    name: "aliyun_fc",
    contract: "aliyun_fc",
    ..BATCH
};

/// Its answers have no room for results.
const LAMBDA: Run = Run {
    name: "aws_lambda",
    contract: "aws_lambda",
    speaks: Speaks::Accept {
        record: "\"timestampType\":",
    },
    delivers: false,
    ..RAW
};

const HUNDRED: usize = 100;

/// One record a call in every contract, then a hundred in those that take so many.
pub fn run(bench: &Bench) {
    let of_hundred = |run: Run| Run {
        records_a_call: HUNDRED,
        ..run
    };
    let runs = [
        RAW,
        JSON,
        BINARY,
        STRUCTURED,
        BATCH,
        LAMBDA,
        FC,
        of_hundred(JSON),
        of_hundred(BATCH),
        of_hundred(LAMBDA),
        of_hundred(FC),
    ];
    let measured = in_turn(bench, "CPU a record by contract", &runs);
    for (run, figures) in runs.iter().zip(&measured) {
        let ratio = median(figures.iter().zip(&measured[0]).map(|(own, raw)| own / raw).collect());
        println!(
            "| contract `{}`, {} records a call{} | {:.2} µs CPU a record | {ratio:.2} × raw's |",
            run.name,
            run.records_a_call,
            if run.delivers { "" } else { ", no results" },
            median(figures.clone())
        );
    }
}

/// The same pipeline without a filter, and with two that let everything pass: one that looks at the key, and one that has to
/// read the value.
pub fn run_filter(bench: &Bench) {
    let with = |name, filter| Run {
        name,
        filter: Some(filter),
        records_a_call: HUNDRED,
        ..JSON
    };
    let without = Run {
        name: "no filter",
        records_a_call: HUNDRED,
        ..JSON
    };
    let of_key = with("filter on the key", "key.startsWith('key-')");
    let of_value = with(
        "filter on the value",
        "value.currency == 'EUR' && value.customer.startsWith('c-')",
    );
    let runs = [without, of_key, of_value];
    let measured = in_turn(bench, "CPU a record by filter", &runs);
    for (run, figures) in runs.iter().zip(&measured) {
        let more = median(figures.iter().zip(&measured[0]).map(|(own, none)| own - none).collect());
        println!(
            "| {}, json, {HUNDRED} records a call | {:.2} µs CPU a record | {more:+.2} µs |",
            run.name,
            median(figures.clone())
        );
    }
}

/// CPU a record in µs, by run and round. Each round begins with another run, as later ones find the broker's caches warm.
fn in_turn(bench: &Bench, what: &str, runs: &[Run]) -> Vec<Vec<f64>> {
    let source = bench.cluster.topic("source");
    bench.cluster.fill(&source, RECORDS, |n| {
        ((n % PARTITIONS as u64) as i32, format!("key-{}", n % 1000))
    });
    println!("\n{what}: {RECORDS} records of 1 KiB, {ROUNDS} rounds");
    let mut measured = vec![Vec::new(); runs.len()];
    for round in 0..ROUNDS {
        for n in 0..runs.len() {
            let at = (n + round * runs.len() / ROUNDS) % runs.len();
            let run = &runs[at];
            let cpu_us_a_record = measure(bench, run, &source);
            println!(
                "  {}, {}: {cpu_us_a_record:>6.2} µs CPU a record",
                run.name, run.records_a_call
            );
            measured[at].push(cpu_us_a_record);
        }
    }
    bench.cluster.delete(&source);
    measured
}

/// CPU a record in µs, from the first tenth of the records to the last.
fn measure(bench: &Bench, run: &Run, source: &str) -> f64 {
    let sink = bench.cluster.topic("sink");
    let function = Function::start(Behaviour {
        speaks: run.speaks,
        ..Behaviour::default()
    });
    let group = format!("bench-{sink}");
    let mut process = fnbridge(bench, &group, pipeline(run, source, &sink, &function.url, &group));
    let began = Instant::now();
    let mut reached = |records: u64| {
        while function.seen.records.load(Relaxed) < records {
            process.must_live();
            let seen = function.seen.records.load(Relaxed);
            assert!(began.elapsed() < PATIENCE, "{}: {seen} of {records} records", run.name);
            sleep(Duration::from_millis(2));
        }
        (process.cpu(), function.seen.records.load(Relaxed))
    };
    let (before, first) = reached(RECORDS / 10);
    let (after, last) = reached(RECORDS * 9 / 10);
    reached(RECORDS);
    while bench.cluster.committed(&group, source) < RECORDS {
        process.must_live();
        assert!(began.elapsed() < PATIENCE, "{}: not all records were settled", run.name);
        sleep(Duration::from_millis(100));
    }
    drop(process);
    let expected = if run.delivers { RECORDS } else { 0 };
    assert_eq!(bench.cluster.count(&sink), expected, "results of {}", run.name);
    let calls = function.seen.requests.load(Relaxed);
    assert_eq!(calls, RECORDS / run.records_a_call as u64, "calls of {}", run.name);
    bench.cluster.delete(&sink);
    (after - before).as_secs_f64() * 1e6 / (last - first) as f64
}

fn pipeline(run: &Run, source: &str, sink: &str, url: &str, group: &str) -> Value {
    let format = if run.contract == "raw" { "bytes" } else { "json" };
    let linger = if run.records_a_call > 1 { "1s" } else { "0ms" };
    let mut pipeline = json!({
        "name": "bench",
        "source": {"topics": [source], "group": group, "value": {"format": format}},
        "batch": {"max_records": run.records_a_call, "linger": linger},
        "function": {"url": url, "contract": run.contract},
        "sinks": [{"kafka": {"topic": sink}}],
    });
    if let Some(filter) = run.filter {
        pipeline["filter"] = json!(filter);
    }
    pipeline
}
