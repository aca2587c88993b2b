//! The Kafka edge alone, without a pipeline around it: what the group gives and takes, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fnbridge::delivery::event::{Assignment, CommitEntry};
use fnbridge::delivery::group::GroupEvent;
use fnbridge::delivery::record::TopicPartition;
use fnbridge::kafka::{ClusterSettings, Leave, Source, SourceEvent, SourceEvents, SourceSettings, Topics};
use tokio::runtime::Runtime;

use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![
    a_revoked_partition_stays_until_it_is_released,
    an_eager_group_gives_everything_back_and_takes_it_up_again,
    a_full_inbox_does_not_hold_up_a_rebalance,
    a_paused_partition_reads_on_after_retention_and_says_what_was_lost,
    a_commit_for_what_is_not_held_is_refused,
];

const PATIENCE: Duration = Duration::from_secs(60);

fn a_revoked_partition_stays_until_it_is_released(test: &Test) {
    let topic = filled(test, 4, 10);
    let mut first = Member::join(test, &topic, "w1", &[]);
    first.until("reads everything", |m| m.read == 40);
    let mut second = Member::join(test, &topic, "w2", &[]);
    first.until("has partitions revoked", |m| !m.revoked.is_empty());
    let revoked = first.revoked.clone();
    assert_eq!(revoked.len(), 2, "the others are kept: {revoked:?}");

    first.commit("drained");
    first.until("has committed during the drain", |m| m.committed.len() == 4);
    assert!(
        first.committed.iter().all(|(_, outcome)| outcome.is_ok()),
        "{:?}",
        first.committed
    );
    assert!(second.held.is_empty(), "nobody else gets what is not released");
    first.release();

    second.until("takes over", |m| m.held.len() == 2);
    assert!(
        second
            .held
            .values()
            .all(|h| h.position == 10 && h.memo.as_deref() == Some("drained"))
    );
    second.source.close(Leave::ForGood);
    second.until("has it taken away again", |m| m.revoked.len() == 2);
    second.release();
    second.until("ends", |m| m.ended);
    first.until("has everything back", |m| m.held.len() == 4);
}

fn an_eager_group_gives_everything_back_and_takes_it_up_again(test: &Test) {
    let topic = filled(test, 4, 10);
    let eager = [("partition.assignment.strategy", "range")];
    let mut first = Member::join(test, &topic, "w1", &eager);
    first.until("reads everything", |m| m.read == 40);
    let before: Vec<Assignment> = first.held.keys().copied().collect();
    let mut second = Member::join(test, &topic, "w2", &eager);
    first.until("has partitions revoked", |m| !m.revoked.is_empty());
    assert_eq!(first.revoked, before, "all of them");
    first.commit("m");
    first.until("has committed", |m| m.committed.len() == 4);
    first.release();
    first.until("has its share", |m| m.held.len() == 2);
    second.until("has its share", |m| m.held.len() == 2);
    assert!(
        first.held.keys().all(|a| !before.contains(a)),
        "a partition that comes back is another assignment"
    );
}

fn a_full_inbox_does_not_hold_up_a_rebalance(test: &Test) {
    let topic = filled(test, 2, 3000);
    let mut first = Member::join_with(test, &topic, "w1", &[], 100_000);
    first.until("has both", |m| m.held.len() == 2);
    // From here on nobody receives for the first, whose inbox is soon full, while the second joins: its poll thread has to
    // see the revoke all the same, or the second waits for the group's rebalance time-out of five minutes.
    let mut second = Member::join(test, &topic, "w2", &[]);
    first.until("sees the revoke", |m| !m.revoked.is_empty());
    first.release();
    second.until("takes over", |m| m.held.len() == 1);
    first.until("reads its own to the end", |m| {
        m.held.values().any(|h| h.position == 3000)
    });
}

fn a_paused_partition_reads_on_after_retention_and_says_what_was_lost(test: &Test) {
    let topic = filled(test, 1, 100);
    let mut member = Member::join(test, &topic, "w1", &[]);
    member.until("reads everything", |m| m.read == 100);
    let held: Vec<Assignment> = member.held.keys().copied().collect();
    member.source.pause(&held);
    member.commit("m");
    member.until("has paused and committed", |m| m.committed.len() == 1);
    test.client()
        .produce(&topic, (0..100).map(|n| Entry::value(n.to_string()).to(0)));
    test.client().delete_records_before(&topic, 0, 150);
    member.source.resume(&held);
    member.until("reads the rest", |m| m.read == 150);
    assert_eq!(member.overtaken, [(100, 150)]);
    assert_eq!(
        member.held.keys().copied().collect::<Vec<_>>(),
        held,
        "the assignment goes on"
    );
}

fn a_commit_for_what_is_not_held_is_refused(test: &Test) {
    let topic = filled(test, 1, 1);
    let mut member = Member::join(test, &topic, "w1", &[]);
    member.until("has its partition", |m| m.held.len() == 1);
    let stranger = CommitEntry {
        assignment: Assignment(u64::MAX),
        source: place(&topic, 0),
        offset: 1,
        memo: String::new(),
    };
    member.source.commit(vec![stranger]);
    member.until("is answered", |m| !m.committed.is_empty());
    assert!(matches!(&member.committed[..], [(Assignment(u64::MAX), Err(why))] if why.contains("not held")));
}

fn filled(test: &Test, partitions: i32, records: usize) -> String {
    let topic = test.topic("in", partitions);
    let entries = (0..partitions).flat_map(|p| (0..records).map(move |n| Entry::value(format!("{p}-{n:0100}")).to(p)));
    test.client().produce(&topic, entries);
    topic
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

/// A member of a group, which keeps what it is told and checks the order of it.
struct Member {
    source: Source,
    events: SourceEvents,
    runtime: Runtime,
    held: BTreeMap<Assignment, Held>,
    revoked: Vec<Assignment>,
    committed: Vec<(Assignment, Result<(), String>)>,
    overtaken: Vec<(i64, i64)>,
    read: usize,
    ended: bool,
}

struct Held {
    source: TopicPartition,
    position: i64,
    memo: Option<String>,
}

impl Member {
    fn join(test: &Test, topic: &str, worker: &str, properties: &[(&str, &str)]) -> Member {
        Member::join_with(test, topic, worker, properties, 4 << 20)
    }

    fn join_with(test: &Test, topic: &str, worker: &str, properties: &[(&str, &str)], inbox_bytes: usize) -> Member {
        let mut cluster = ClusterSettings::plaintext("default", test.broker().bootstrap());
        cluster.properties = properties.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let (pipeline, group) = (test.name("p"), test.name("g"));
        let topics = Topics::Named(vec![topic.to_owned()]);
        let mut settings = SourceSettings::new(Arc::new(cluster), &pipeline, worker, &group, topics);
        settings.inbox_bytes = inbox_bytes;
        let (source, events) = Source::start(settings);
        Member {
            source,
            events,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
            held: BTreeMap::new(),
            revoked: Vec::new(),
            committed: Vec::new(),
            overtaken: Vec::new(),
            read: 0,
            ended: false,
        }
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&Member) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(!self.ended, "the source ended before it {what}");
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let mut events = Vec::new();
            let received = self.events.recv_many(&mut events);
            let more = self
                .runtime
                .block_on(async { tokio::time::timeout(left, received).await });
            self.ended = !more.unwrap_or_else(|_| panic!("within {PATIENCE:?} the member never {what}"));
            events.into_iter().for_each(|event| self.take(event));
        }
    }

    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Group(event) => self.take_of_group(event),
            SourceEvent::Records { assignment, records } => {
                let held = self.held.get_mut(&assignment).expect("records come for what is held");
                assert!(
                    !self.revoked.contains(&assignment),
                    "no records come for what is revoked"
                );
                for record in records {
                    assert_eq!(record.source, held.source);
                    assert_eq!(record.offset, held.position, "in order, and each once");
                    held.position += 1;
                    self.read += 1;
                }
            }
            SourceEvent::Watermarks { .. } | SourceEvent::Trouble(_) | SourceEvent::Recovered(_) => {}
        }
    }

    fn take_of_group(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Assigned {
                assignment,
                source,
                position,
                memo,
                ..
            } => {
                let held = Held { source, position, memo };
                assert!(
                    self.held.insert(assignment, held).is_none(),
                    "{assignment:?} came twice"
                );
            }
            GroupEvent::Overtaken { assignment, from, to } => {
                let held = self.held.get_mut(&assignment).expect("what is overtaken is held");
                held.position = to;
                self.overtaken.push((from, to));
            }
            GroupEvent::Revoked(revoked) => self.revoked.extend(revoked),
            GroupEvent::Lost(lost) => {
                for assignment in lost {
                    assert!(self.held.remove(&assignment).is_some(), "what is lost was held");
                    self.revoked.retain(|r| *r != assignment);
                }
            }
            GroupEvent::Committed { outcomes } => self.committed.extend(outcomes),
        }
    }

    fn commit(&self, memo: &str) {
        let entry = |(assignment, held): (&Assignment, &Held)| CommitEntry {
            assignment: *assignment,
            source: held.source.clone(),
            offset: held.position,
            memo: memo.to_owned(),
        };
        self.source.commit(self.held.iter().map(entry).collect());
    }

    fn release(&mut self) {
        for assignment in std::mem::take(&mut self.revoked) {
            self.held.remove(&assignment);
            self.source.release(assignment);
        }
    }
}
