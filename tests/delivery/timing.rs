//! How long the core takes for a record. Run by hand, in release:
//! `cargo test --release -p fnbridge-delivery --test delivery -- --ignored --nocapture what_a_record_costs`

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fnbridge_delivery::Task;
use fnbridge_delivery::answer::{Answer, Receipt, Verdict};
use fnbridge_delivery::event::{Admission, Arrival, Assignment, Effect, Event};
use fnbridge_delivery::record::{Output, Record, TopicPartition};
use fnbridge_delivery::settings::{BatchSettings, Ordering, TaskSettings};
use fnbridge_delivery::time::{Millis, Moment, Now};

use crate::script;

const RECORDS: i64 = 1_000_000;
const PARTITIONS: u64 = 12;

#[test]
#[ignore = "a measurement, not a test"]
fn what_a_record_costs() {
    for (ordering, max_records) in [
        (Ordering::Partition, 100),
        (Ordering::Key, 100),
        (Ordering::Key, 1),
        (Ordering::Partition, 1),
        (Ordering::None, 1),
    ] {
        let (records, took) = run(ordering, max_records);
        eprintln!(
            "{ordering:?}, {max_records} a call: {:.3} µs a record",
            took * 1e6 / records as f64
        );
    }
}

fn run(ordering: Ordering, max_records: usize) -> (u64, f64) {
    let settings = TaskSettings {
        ordering,
        batch: BatchSettings {
            max_records,
            max_bytes: 1 << 20,
            linger: Millis::ZERO,
        },
        max_in_flight: 16,
        in_flight_bytes: 32 << 20,
        has_function: true,
        sinks: 1,
        drain_timeout: Millis(1000),
        ..script::settings()
    };
    let mut task = Task::new(settings);
    let mut clock = 0u64;
    let now = |clock: u64| Now {
        at: Moment(clock),
        unix_ms: clock as i64,
    };
    let mut dice = || 0.5;
    let value = Bytes::from(vec![b'v'; 1024]);
    let keys: Vec<Bytes> = (0..1000).map(|key| Bytes::from(format!("key-{key}"))).collect();
    let source = |p: u64| TopicPartition {
        topic: "orders".into(),
        partition: p as i32,
    };
    let sources: Vec<TopicPartition> = (0..PARTITIONS).map(source).collect();
    let mut next = vec![0i64; PARTITIONS as usize];
    let mut paused = vec![false; PARTITIONS as usize];
    for p in 0..PARTITIONS {
        let source = sources[p as usize].clone();
        task.handle(
            Event::Assigned {
                assignment: Assignment(p),
                source,
                position: 0,
                memo: None,
            },
            now(0),
            &mut dice,
        );
    }
    let mut pending: Vec<Event> = Vec::new();
    let (mut settled, mut core) = (0u64, 0f64);
    while (settled as i64) < RECORDS {
        clock += 1;
        for p in 0..PARTITIONS as usize {
            if paused[p] {
                continue;
            }
            let arrival = |offset: i64| Arrival {
                record: Arc::new(Record {
                    source: sources[p].clone(),
                    offset,
                    generation: 0,
                    timestamp_ms: 0,
                    key: Some(keys[offset as usize * 7 % 1000].clone()),
                    value: Some(value.clone()),
                    headers: Vec::new(),
                }),
                admission: Admission::Pass,
            };
            let arrivals: Vec<Arrival> = (next[p]..next[p] + 100).map(arrival).collect();
            next[p] += 100;
            pending.push(Event::Arrived {
                assignment: Assignment(p as u64),
                arrivals,
            });
        }
        for event in std::mem::take(&mut pending) {
            let begun = Instant::now();
            task.handle(event, now(clock), &mut dice);
            task.advance(Moment(clock));
            let mut effects = Vec::new();
            while let Some(effect) = task.poll_effect() {
                effects.push(effect);
            }
            std::hint::black_box(task.next_wakeup());
            core += begun.elapsed().as_secs_f64();
            for effect in effects {
                match effect {
                    Effect::Call(call) => {
                        let results = call
                            .records
                            .iter()
                            .map(|r| Verdict::Deliver(vec![Output::pass_through(r)]));
                        let answer = Answer::Verdicts(results.collect());
                        pending.push(Event::Answered { call: call.id, answer });
                    }
                    Effect::Store(store) => {
                        settled += store.items.len() as u64;
                        let receipts = vec![Receipt::Stored; store.items.len()];
                        pending.push(Event::Stored {
                            store: store.id,
                            receipts,
                        });
                    }
                    Effect::Commit(entries) => {
                        let outcomes = entries.into_iter().map(|e| (e.assignment, Ok(()))).collect();
                        pending.push(Event::Committed { outcomes });
                    }
                    Effect::Pause(assignment) => paused[assignment.0 as usize] = true,
                    Effect::Resume(assignment) => paused[assignment.0 as usize] = false,
                    _ => {}
                }
            }
        }
    }
    (settled, core)
}
