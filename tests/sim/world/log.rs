//! The topic: a log a partition, and what is true of each record in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::Admission;
use fnbridge_delivery::record::{Header, Output, Record, SinkId, TopicPartition};

use crate::dice::Rng;
use crate::plan::Plan;

/// What the function makes of a record when it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Deliver,
    Drop,
    GiveUp,
    /// Fails each batch that it is in.
    Poison,
    Refused,
    TooLarge,
    DroppedByStatus,
    GivenUpByStatus,
    /// Delivered after this many calls, and this wait where one is asked for.
    AskAgain(u32, Option<u64>),
}

/// What became of a record, as the world outside the task sees it.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// Sinks' copies: sink and index of the result.
    pub stored: BTreeSet<(u16, usize)>,
    /// Dead letters of refused results.
    pub result_letters: BTreeSet<(u16, usize)>,
    /// Its dead letter stands in the topic.
    pub lettered: bool,
    /// Its lane was said to be blocked by it.
    pub blocked: bool,
    /// Its dead letter says that an operator passed over it.
    pub skipped: bool,
    /// The function's verdict was to deliver its results.
    pub accepted: bool,
    /// The function's answer was that nothing is to be delivered.
    pub dropped: bool,
    pub expired: bool,
    /// A verdict asked for it to be called after those behind it.
    pub leave: bool,
    /// Answers that count as an attempt, given to a task that waited for them.
    pub charged: u32,
    /// Times that a count may have been lost: a crash, a lost assignment, a commit that did not come through.
    pub forgiven: u32,
    /// Calls that it has been in.
    pub calls: u32,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub record: Arc<Record>,
    pub key: Option<u64>,
    pub kind: Kind,
    /// It was poison, before everything was healed.
    pub was_poison: bool,
    pub admission: Admission,
    pub fate: Fate,
    /// The sinks that each result is for.
    pub results: Vec<Option<u16>>,
    /// Results that a sink will not have.
    pub refused: BTreeSet<(u16, usize)>,
}

/// What every record's value is cut from.
static VALUE: [u8; 1 << 20] = [b'v'; 1 << 20];

/// A partition's log, and those that had its name before.
#[derive(Debug)]
pub struct Logs {
    pub source: TopicPartition,
    pub all: Vec<Log>,
}

impl Logs {
    pub fn new(partition: usize) -> Logs {
        let source = TopicPartition {
            topic: "orders".into(),
            partition: partition as i32,
        };
        Logs {
            all: vec![Log::new(source.clone(), 0)],
            source,
        }
    }

    /// The log that stands under this name now.
    pub fn now(&self) -> &Log {
        &self.all[self.all.len() - 1]
    }

    pub fn now_mut(&mut self) -> &mut Log {
        let last = self.all.len() - 1;
        &mut self.all[last]
    }

    /// The topic is deleted, and created anew.
    pub fn recreate(&mut self) {
        for entry in &mut self.now_mut().entries {
            entry.fate.expired = true;
        }
        self.all.push(Log::new(self.source.clone(), self.all.len()));
    }

    /// What stands at an offset of the log that a record is of.
    pub fn of(&self, record: &Record) -> Option<&Entry> {
        self.all[incarnation(record)].entry(record.offset)
    }
}

/// Which of the logs that had its partition's name a record stands in. Its product knows that by other means.
pub fn incarnation(record: &Record) -> usize {
    let mark = record.headers.first().and_then(|header| header.value.as_ref());
    mark.map_or(0, |value| usize::from(value[0]))
}

#[derive(Debug)]
pub struct Log {
    pub source: TopicPartition,
    /// How many logs had this name before.
    pub incarnation: usize,
    pub entries: Vec<Entry>,
    pub next_offset: i64,
    /// Retention has removed what is before this.
    pub start: i64,
}

impl Log {
    fn new(source: TopicPartition, incarnation: usize) -> Log {
        Log {
            source,
            incarnation,
            entries: Vec::new(),
            next_offset: 0,
            start: 0,
        }
    }

    /// Puts a record at the end, right behind the last where it is to be calm.
    pub fn produce(&mut self, plan: &Plan, calm: bool, rng: &mut Rng, unix_ms: i64) {
        let shares = &plan.records;
        if !calm && rng.chance(shares.gap) {
            self.next_offset += rng.between(1, 5) as i64;
            if rng.chance(0.02) {
                self.next_offset += 100_000;
            }
        }
        let offset = self.next_offset;
        self.next_offset += 1;
        let key = (!rng.chance(shares.no_key)).then(|| rng.below(plan.keys));
        let kind = kind(plan, rng);
        let sinks = plan.settings[0].sinks as u64;
        let results = match (plan.settings[0].has_function, rng.below(4)) {
            (false, _) | (true, 0) => vec![None],
            (true, n) => (1..n)
                .map(|_| (sinks > 0 && rng.chance(0.5)).then(|| rng.below(sinks) as u16))
                .collect(),
        };
        let mut refused = BTreeSet::new();
        for index in 0..results.len() {
            for sink in 0..sinks as u16 {
                if rng.chance(shares.refused_result) {
                    refused.insert((sink, index));
                }
            }
        }
        let admission = match rng.roll() {
            x if x < shares.filtered => Admission::Filtered,
            x if x < shares.filtered + shares.unconvertible => Admission::Refused {
                stage: Stage::Convert,
                reason: "not JSON".into(),
            },
            _ => Admission::Pass,
        };
        let value = &VALUE[..rng.below(plan.value_bytes) as usize];
        let record = Record {
            source: self.source.clone(),
            offset,
            generation: 0,
            timestamp_ms: unix_ms,
            key: key.map(|key| Bytes::from(key.to_string())),
            value: Some(Bytes::from_static(value)),
            headers: self.mark(),
        };
        self.entries.push(Entry {
            record: Arc::new(record),
            key,
            was_poison: kind == Kind::Poison,
            kind,
            admission,
            fate: Fate::default(),
            results,
            refused,
        });
    }

    fn mark(&self) -> Vec<Header> {
        let mark = Header {
            name: "log".into(),
            value: Some(Bytes::from(vec![self.incarnation as u8])),
        };
        (self.incarnation > 0).then_some(mark).into_iter().collect()
    }

    /// The first entry at or behind an offset.
    pub fn at_or_behind(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.record.offset < offset)
    }

    pub fn entry(&self, offset: i64) -> Option<&Entry> {
        let at = self.at_or_behind(offset);
        self.entries.get(at).filter(|entry| entry.record.offset == offset)
    }

    pub fn entry_mut(&mut self, offset: i64) -> &mut Entry {
        let at = self.at_or_behind(offset);
        &mut self.entries[at]
    }
}

impl Entry {
    /// The results, as the function answers them.
    pub fn outputs(&self) -> Vec<Output> {
        let output = |(index, sink): (usize, &Option<u16>)| Output {
            sink: sink.map(SinkId),
            key: None,
            value: Some(Bytes::from(format!("{}#{index}", self.record.id()))),
            headers: Vec::new(),
            timestamp_ms: 0,
        };
        self.results.iter().enumerate().map(output).collect()
    }

    /// Which results a sink is to get, by index.
    pub fn results_for(&self, sink: u16) -> impl Iterator<Item = usize> + '_ {
        let wanted = move |(index, to): (usize, &Option<u16>)| to.is_none_or(|to| to == sink).then_some(index);
        self.results.iter().enumerate().filter_map(wanted)
    }

    /// The sink has what it is to get, or has refused it into the dead-letter topic.
    pub fn done_in(&self, sink: u16) -> bool {
        let fate = &self.fate;
        self.results_for(sink)
            .all(|index| fate.stored.contains(&(sink, index)) || fate.result_letters.contains(&(sink, index)))
    }

    /// What it came to is durable, in the world outside the task.
    pub fn is_done(&self, sinks: usize, has_function: bool) -> bool {
        let fate = &self.fate;
        let given = fate.accepted || !has_function;
        fate.expired
            || fate.lettered
            || fate.dropped
            || self.admission == Admission::Filtered
            || given && (0..sinks as u16).all(|sink| self.done_in(sink))
    }
}

fn kind(plan: &Plan, rng: &mut Rng) -> Kind {
    let shares = &plan.records;
    let after = rng.chance(0.5).then(|| rng.below(3) * 1000);
    let kinds = [
        (shares.poison, Kind::Poison),
        (shares.refused, Kind::Refused),
        (shares.too_large, Kind::TooLarge),
        (shares.dropped, Kind::Drop),
        (shares.given_up, Kind::GiveUp),
        (shares.dropped_by_status, Kind::DroppedByStatus),
        (shares.given_up_by_status, Kind::GivenUpByStatus),
        (shares.asked_again, Kind::AskAgain(rng.between(1, 3) as u32, after)),
    ];
    let roll = rng.roll();
    let mut below = 0.0;
    for (share, kind) in kinds {
        below += share;
        if roll < below {
            return kind;
        }
    }
    Kind::Deliver
}
