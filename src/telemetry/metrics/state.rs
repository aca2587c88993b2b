//! What is counted, by worker, pipeline, sink and partition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use super::letters::Letters;
use super::{Counter, Flag, Histogram};
use crate::delivery::answer::{Disposition, Stage};
use crate::delivery::event::{Assignment, AttemptOutcome, GuardKind, View};
use crate::delivery::record::{SinkId, TopicPartition};
use crate::delivery::time::Moment;
use crate::telemetry::pipeline::missing_right;
use crate::telemetry::status::{Doing, LastError};
use crate::telemetry::troubles::{Outlet, Trouble, Troubles};

/// Each way an attempt can end, in the order in which they are counted.
pub(crate) const OUTCOMES: [AttemptOutcome; 8] = [
    AttemptOutcome::Success,
    AttemptOutcome::Failed,
    AttemptOutcome::Refused,
    AttemptOutcome::TooLarge,
    AttemptOutcome::Busy,
    AttemptOutcome::Misregistered,
    AttemptOutcome::Away,
    AttemptOutcome::Overridden,
];

/// Each stage at which a record can be given up, in the order in which they are counted.
pub(crate) const STAGES: [Stage; 6] = [
    Stage::Convert,
    Stage::Filter,
    Stage::Transform,
    Stage::Function,
    Stage::Sink,
    Stage::Operator,
];

/// Each guard, in the order in which they are counted.
pub(crate) const GUARDS: [GuardKind; 3] = [GuardKind::Failed, GuardKind::Refused, GuardKind::SinkRefused];

/// What a sink can say of a record, in the order in which it is counted.
pub(crate) const RECEIPTS: [&str; 5] = ["stored", "try_again", "refused", "away", "blocked"];

/// Each way a transaction can end, in the order in which they are counted.
pub(crate) const TRANSACTIONS: [&str; 3] = ["committed", "aborted", "undecided"];

/// What the worker as a whole counts.
#[derive(Debug)]
pub(crate) struct WorkerState {
    pub(crate) started: SystemTime,
    pub(crate) spans_exported: Arc<Counter>,
    pub(crate) spans_failed: Arc<Counter>,
    pub(crate) letters: Letters,
    pipelines: RwLock<BTreeMap<Arc<str>, Arc<PipelineState>>>,
}

impl WorkerState {
    pub(crate) fn new() -> WorkerState {
        WorkerState {
            started: SystemTime::now(),
            spans_exported: Arc::default(),
            spans_failed: Arc::default(),
            letters: Letters::default(),
            pipelines: RwLock::default(),
        }
    }

    /// A pipeline of this name keeps its counts when it is started again.
    pub(crate) fn pipeline(&self, name: &str, sinks: &[String]) -> Arc<PipelineState> {
        let mut pipelines = self.pipelines.write().unwrap_or_else(PoisonError::into_inner);
        let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
        match pipelines.get(name) {
            Some(known) if known.sinks.iter().map(|s| &*s.name).eq(sinks.iter().copied()) => Arc::clone(known),
            _ => {
                let state = Arc::new(PipelineState::new(name, &sinks));
                pipelines.insert(Arc::clone(&state.name), Arc::clone(&state));
                state
            }
        }
    }

    pub(crate) fn pipelines(&self) -> Vec<Arc<PipelineState>> {
        let pipelines = self.pipelines.read().unwrap_or_else(PoisonError::into_inner);
        pipelines.values().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<PipelineState>> {
        let pipelines = self.pipelines.read().unwrap_or_else(PoisonError::into_inner);
        pipelines.get(name).cloned()
    }
}

/// How far a pipeline has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Starting,
    Waiting,
    Running,
    Stopped,
}

/// What a pipeline counts, and how it last looked.
#[derive(Debug)]
pub(crate) struct PipelineState {
    pub(crate) name: Arc<str>,
    pub(crate) sinks: Vec<SinkState>,
    pub(crate) calls: [Histogram; OUTCOMES.len()],
    pub(crate) letters: Histogram,
    pub(crate) transactions: [Histogram; TRANSACTIONS.len()],
    pub(crate) drains: [Histogram; 2],
    pub(crate) breaker_opened: Counter,
    pub(crate) guards_tripped: [Counter; GUARDS.len()],
    pub(crate) waits_for_oldest: Counter,
    pub(crate) lanes_blocked: Counter,
    pub(crate) partitions_assigned: Counter,
    pub(crate) partitions_revoked: Counter,
    pub(crate) partitions_lost: Counter,
    pub(crate) late: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) troubles: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) standing: Mutex<Standing>,
    pub(crate) facts: Mutex<Facts>,
    pub(crate) paused: Flag,
    pub(crate) restarts: Counter,
    phase: Mutex<(Phase, SystemTime)>,
    rates: Mutex<Rates>,
    last_errors: Mutex<VecDeque<LastError>>,
    partitions: RwLock<Partitions>,
    published: Mutex<Option<Arc<Published>>>,
}

/// How many failed answers are remembered.
const MOST_ERRORS: usize = 10;

/// Over how long rates are taken, in seconds.
const RATE_SECONDS: f64 = 5.0;

/// What was polled a second, lately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) records_per_second: f64,
    pub(crate) bytes_per_second: f64,
    since: Option<(Instant, u64, u64)>,
}

impl Rates {
    /// Takes in how much was polled in all by now. Each second counts half as much as the one [`RATE_SECONDS`] later.
    fn count(&mut self, (records, bytes): (u64, u64), now: Instant) {
        if let Some((then, records_then, bytes_then)) = self.since {
            let seconds = now.duration_since(then).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            let kept = 0.5_f64.powf(seconds / RATE_SECONDS);
            let mixed = |old: f64, more: u64| old * kept + more as f64 / seconds * (1.0 - kept);
            self.records_per_second = mixed(self.records_per_second, records.saturating_sub(records_then));
            self.bytes_per_second = mixed(self.bytes_per_second, bytes.saturating_sub(bytes_then));
        }
        self.since = Some((now, records, bytes));
    }
}

/// What a pipeline's document says of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) revision: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// What stands in a pipeline's way just now, by what said so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The source's troubles, by kind: what they said.
    pub(crate) source: BTreeMap<&'static str, String>,
    /// The rights that are missing for other things than outlets, by what said so.
    pub(crate) rights: BTreeMap<String, String>,
    /// What the pipeline waits for before it can start.
    pub(crate) waits: Option<String>,
    /// Why outlets take nothing.
    pub(in crate::telemetry) outlets: BTreeMap<Outlet, Troubles>,
}

impl Standing {
    /// Why an outlet takes nothing.
    pub(in crate::telemetry) fn trouble(&self, outlet: Outlet) -> Option<&Trouble> {
        self.outlets.get(&outlet)?.first()
    }
}

#[derive(Debug, Default)]
struct Partitions {
    by_name: BTreeMap<TopicPartition, Arc<PartitionState>>,
    by_assignment: BTreeMap<Assignment, Arc<PartitionState>>,
}

/// How a pipeline looked, and when.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) view: View,
    pub(crate) at: Moment,
    pub(crate) taken: Instant,
}

impl PipelineState {
    fn new(name: &str, sinks: &[&str]) -> PipelineState {
        PipelineState {
            name: name.into(),
            sinks: (sinks.iter().zip(0..))
                .map(|(name, at)| SinkState::new(name, SinkId(at)))
                .collect(),
            calls: Default::default(),
            letters: Histogram::default(),
            transactions: Default::default(),
            drains: Default::default(),
            breaker_opened: Counter::default(),
            guards_tripped: Default::default(),
            waits_for_oldest: Counter::default(),
            lanes_blocked: Counter::default(),
            partitions_assigned: Counter::default(),
            partitions_revoked: Counter::default(),
            partitions_lost: Counter::default(),
            late: Mutex::default(),
            troubles: Mutex::default(),
            standing: Mutex::default(),
            facts: Mutex::default(),
            paused: Flag::default(),
            restarts: Counter::default(),
            phase: Mutex::new((Phase::default(), SystemTime::now())),
            rates: Mutex::default(),
            last_errors: Mutex::default(),
            partitions: RwLock::default(),
            published: Mutex::default(),
        }
    }

    /// From here on, `assignment` counts for `source`, whose counts go on; an assignment before is forgotten.
    pub(crate) fn assigned(&self, assignment: Assignment, source: &TopicPartition) -> Arc<PartitionState> {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(PartitionState::new(source.clone()));
        let state = Arc::clone(partitions.by_name.entry(source.clone()).or_insert_with(fresh));
        partitions.by_assignment.retain(|_, other| other.source != *source);
        partitions.by_assignment.insert(assignment, Arc::clone(&state));
        state
    }

    pub(crate) fn partition(&self, assignment: Assignment) -> Option<Arc<PartitionState>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.by_assignment.get(&assignment).cloned()
    }

    pub(crate) fn partition_of(&self, source: &TopicPartition) -> Option<Arc<PartitionState>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.by_name.get(source).cloned()
    }

    /// All partitions that were ever held, by name.
    pub(crate) fn partitions(&self) -> Vec<Arc<PartitionState>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.by_name.values().cloned().collect()
    }

    pub(crate) fn publish(&self, view: View, at: Moment) {
        let taken = Instant::now();
        for held in &view.partitions {
            if let Some(partition) = self.partition_of(&held.source) {
                partition.note_whether_behind(held.committed, held.position, taken);
            }
        }
        *lock(&self.published) = Some(Arc::new(Published { view, at, taken }));
        let polled = self.partitions().iter().fold((0, 0), |(records, bytes), partition| {
            (
                records + partition.polled_records.get(),
                bytes + partition.polled_bytes.get(),
            )
        });
        lock(&self.rates).count(polled, taken);
    }

    pub(crate) fn unpublish(&self) {
        *lock(&self.published) = None;
    }

    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        lock(&self.published).clone()
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let mut now = lock(&self.phase);
        if now.0 != phase {
            *now = (phase, SystemTime::now());
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.phase).0
    }

    pub(crate) fn phase_since(&self) -> SystemTime {
        lock(&self.phase).1
    }

    /// Remembers an answer that was no success; the oldest of many is forgotten.
    pub(crate) fn failed(&self, error: LastError) {
        let mut errors = lock(&self.last_errors);
        errors.truncate(MOST_ERRORS - 1);
        errors.push_front(error);
    }

    /// The last answers that were no success, newest first.
    pub(crate) fn last_errors(&self) -> Vec<LastError> {
        lock(&self.last_errors).iter().cloned().collect()
    }

    /// What was polled lately.
    pub(crate) fn rates(&self) -> Rates {
        *lock(&self.rates)
    }

    /// The rights that are missing just now, each once.
    pub(crate) fn missing_rights(&self) -> BTreeSet<String> {
        let standing = lock(&self.standing);
        let troubles = standing.outlets.values().filter_map(Troubles::first);
        let of_outlets = troubles.filter_map(|trouble| missing_right(&trouble.reason));
        (standing.rights.values().map(String::as_str).chain(of_outlets))
            .map(str::to_owned)
            .collect()
    }

    /// Why an outlet takes nothing just now.
    pub(in crate::telemetry) fn trouble(&self, outlet: Outlet) -> Option<Trouble> {
        lock(&self.standing).trouble(outlet).cloned()
    }
}

/// What is counted for one sink.
#[derive(Debug)]
pub(crate) struct SinkState {
    pub(crate) name: String,
    pub(in crate::telemetry) outlet: Outlet,
    pub(crate) requests: Histogram,
    pub(crate) receipts: [Counter; RECEIPTS.len()],
}

impl SinkState {
    fn new(name: &str, id: SinkId) -> SinkState {
        SinkState {
            name: name.to_owned(),
            outlet: Outlet::Sink(id),
            requests: Histogram::default(),
            receipts: Default::default(),
        }
    }
}

/// What is counted for one partition, over all its assignments in this process.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) source: TopicPartition,
    /// The partition's number, as a label.
    pub(crate) number: String,
    pub(crate) polled_records: Counter,
    pub(crate) polled_bytes: Counter,
    pub(crate) attempts: [Counter; OUTCOMES.len()],
    pub(crate) attempted_records: Counter,
    pub(crate) retries: Counter,
    pub(crate) bisections: Counter,
    pub(crate) settled: [Counter; Disposition::ALL.len()],
    pub(crate) given_up: [Counter; STAGES.len()],
    pub(crate) commits: Counter,
    pub(crate) commits_refused: Counter,
    pub(crate) memos_unusable: Counter,
    pub(crate) overtaken: Counter,
    high: AtomicI64,
    /// Since when the committed offset is behind the end of the log.
    behind_since: Mutex<Option<Instant>>,
    doing: Mutex<Option<(Doing, SystemTime)>>,
}

impl PartitionState {
    fn new(source: TopicPartition) -> PartitionState {
        PartitionState {
            number: source.partition.to_string(),
            source,
            polled_records: Counter::default(),
            polled_bytes: Counter::default(),
            attempts: Default::default(),
            attempted_records: Counter::default(),
            retries: Counter::default(),
            bisections: Counter::default(),
            settled: Default::default(),
            given_up: Default::default(),
            commits: Counter::default(),
            commits_refused: Counter::default(),
            memos_unusable: Counter::default(),
            overtaken: Counter::default(),
            high: AtomicI64::new(-1),
            behind_since: Mutex::default(),
            doing: Mutex::default(),
        }
    }

    pub(crate) fn set_high_watermark(&self, high: i64) {
        self.high.store(high, Ordering::Relaxed);
    }

    fn note_whether_behind(&self, committed: i64, position: i64, now: Instant) {
        let mut since = lock(&self.behind_since);
        match self.high_watermark() {
            Some(high) if high.max(position) > committed => {
                since.get_or_insert(now);
            }
            _ => *since = None,
        }
    }

    /// Since when the partition does this, as far as was looked.
    pub(crate) fn doing_since(&self, doing: Doing) -> SystemTime {
        let mut known = lock(&self.doing);
        match *known {
            Some((same, since)) if same == doing => since,
            _ => {
                let now = SystemTime::now();
                *known = Some((doing, now));
                now
            }
        }
    }

    /// Since when the committed offset is behind the end of the log, as far as that was looked at.
    pub(crate) fn behind_since(&self) -> Option<Instant> {
        *lock(&self.behind_since)
    }

    /// The offset after the log's last record, once it is known.
    pub(crate) fn high_watermark(&self) -> Option<i64> {
        let high = self.high.load(Ordering::Relaxed);
        (high >= 0).then_some(high)
    }
}

/// A lock that outlives a panic of whoever held it: what it guards is counts.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where `item` stands in `all`.
pub(crate) fn place<T: PartialEq>(all: &[T], item: &T) -> usize {
    all.iter().position(|other| other == item).unwrap_or(0)
}
