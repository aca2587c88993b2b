//! Looks on while it happens: what the groups have committed, and what the workers use of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::faults::pause_until;
use crate::harness::topics::Client;
use crate::history::{Ms, Sample, Who};
use crate::schedule::SLOTS;
use crate::stage::{Line, PARTITIONS, Stage, lock};

const EVERY: Ms = 500;

/// What a worker uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub at: Ms,
    pub worker: Who,
    pub rss_bytes: u64,
    pub descriptors: usize,
    pub threads: usize,
}

#[derive(Default)]
pub struct Witness {
    usage: Mutex<Vec<Usage>>,
    ended: Mutex<Vec<String>>,
}

impl Witness {
    /// Asks what a group has committed, again and again.
    pub fn watch_commits(stage: &Stage, line: &Line, over: &AtomicBool) -> Vec<Sample> {
        let group = Group::of(&stage.cluster.client(), line);
        let mut samples = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let from = stage.now();
            if let Some(committed) = group.committed() {
                let until = stage.now();
                samples.push(Sample { from, until, committed });
            }
            pause_until(stage, from + EVERY, over);
        }
        samples
    }

    /// Looks at the workers' processes, again and again.
    pub fn watch_workers(&self, stage: &Stage, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            let at = stage.now();
            for (who, worker) in (0..SLOTS).filter_map(|slot| stage.worker(slot)) {
                lock(&self.usage).extend(usage(at, who, worker.process_id()));
                let died = worker
                    .ended()
                    .filter(|_| stage.worker(who.slot).is_some_and(|(there, _)| there == who));
                if let Some(status) = died {
                    lock(&self.ended).push(format!("worker {who} ended by itself at {at} ms: {status}"));
                    stage.take_worker(who.slot);
                    stage.keep_log(who, &worker);
                    stage.start_worker(who.slot);
                }
            }
            pause_until(stage, at + EVERY, over);
        }
    }

    /// What was used.
    pub fn usage(&self) -> Vec<Usage> {
        lock(&self.usage).clone()
    }

    /// Workers that ended and were not killed.
    pub fn ended(&self) -> Vec<String> {
        lock(&self.ended).clone()
    }
}

/// A look at a group's offsets from outside.
pub struct Group {
    consumer: BaseConsumer,
    topic: String,
}

impl Group {
    pub fn of(client: &Client, line: &Line) -> Group {
        Group {
            consumer: client.consumer(&line.group()).expect("a consumer"),
            topic: line.source(),
        }
    }

    /// What is committed now, by partition; none where nobody answers.
    pub fn committed(&self) -> Option<BTreeMap<i32, i64>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topic, 0, PARTITIONS - 1);
        let found = self.consumer.committed_offsets(asked, Duration::from_secs(2)).ok()?;
        let offsets = found.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) if element.error().is_ok() => Some((element.partition(), offset)),
            _ => None,
        });
        Some(offsets.flatten().collect())
    }

    /// Where the logs end, by partition.
    pub fn ends(&self) -> Option<BTreeMap<i32, i64>> {
        let end = |partition| {
            let marks = self
                .consumer
                .fetch_watermarks(&self.topic, partition, Duration::from_secs(2));
            Some((partition, marks.ok()?.1))
        };
        (0..PARTITIONS).map(end).collect()
    }
}

fn usage(at: Ms, worker: Who, process: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Usage {
        at,
        worker,
        rss_bytes: number("VmRSS:")? * 1024,
        descriptors: fs::read_dir(format!("/proc/{process}/fd")).ok()?.count(),
        threads: usize::try_from(number("Threads:")?).ok()?,
    })
}
