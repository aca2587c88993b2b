//! Everything that can happen to a task, and everything it can ask for: two closed enums.

use std::sync::Arc;

use crate::answer::{Answer, Disposition, Failure, Receipt, Stage};
use crate::record::{Output, Record, SinkId, TopicPartition};
use crate::time::{Millis, Moment};
use crate::transaction::{Transaction, TransactionId, TransactionOutcome};

/// One assignment of one partition to this task. A partition that comes back has another one, so that whatever still
/// arrives for the old one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assignment(pub u64);

/// One call of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One request to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u64);

/// One dead letter on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId(pub u64);

/// A record that was polled, and what conversion and filter made of it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The record.
    pub record: Arc<Record>,
    /// Whether the function is to see it.
    pub admission: Admission,
}

/// What conversion and filter made of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The function sees it.
    Pass,
    /// The filter did not let it pass: settled without a call.
    Filtered,
    /// What the function made of it is known from before: these results go to the sinks, without a call.
    Answered(Vec<Output>),
    /// It can't be given to the function: a dead letter of this stage.
    Refused {
        /// Convert, filter or transform.
        stage: Stage,
        /// What was found, and what was expected.
        reason: String,
    },
}

/// Everything that can happen to a task.
#[derive(Clone, Debug)]
pub enum Event {
    /// A partition is this task's, and reading starts at `position`.
    Assigned {
        /// This assignment's number, never used before.
        assignment: Assignment,
        /// The partition.
        source: TopicPartition,
        /// The committed offset, or where the rule for starting says.
        position: i64,
        /// The metadata that stands beside the committed offset.
        memo: Option<String>,
    },
    /// Records of one partition, in offset order.
    Arrived {
        /// Whose.
        assignment: Assignment,
        /// The records.
        arrivals: Vec<Arrival>,
    },
    /// Retention removed records before they were read: reading goes on at `to`.
    Overtaken {
        /// Whose.
        assignment: Assignment,
        /// The first offset that was lost.
        from: i64,
        /// The first offset that still exists.
        to: i64,
    },
    /// The group takes partitions away and waits: their drain starts.
    Revoked {
        /// Which.
        assignments: Vec<Assignment>,
    },
    /// The partitions are gone already, and may be somebody else's: no drain, no commit.
    Lost {
        /// Which.
        assignments: Vec<Assignment>,
    },
    /// A call ended.
    Answered {
        /// Which.
        call: CallId,
        /// How.
        answer: Answer,
    },
    /// A sink answered: a receipt for each item, in the request's order.
    Stored {
        /// Which request.
        store: StoreId,
        /// One receipt an item.
        receipts: Vec<Receipt>,
    },
    /// The dead-letter topic answered.
    LetterWritten {
        /// Which letter.
        letter: LetterId,
        /// What became of it.
        receipt: Receipt,
    },
    /// The commit in flight ended, with an outcome for each partition that it named.
    Committed {
        /// Each partition's outcome; the error is the broker's word.
        outcomes: Vec<(Assignment, Result<(), String>)>,
    },
    /// The transaction in flight ended.
    Transacted {
        /// Which.
        transaction: TransactionId,
        /// How.
        outcome: TransactionOutcome,
    },
    /// An operator passes over records: those that the task holds or that arrive while it holds the partition, and that
    /// are not settled, become dead letters of stage `operator` without a call. It is told again at each assignment.
    Skip {
        /// Whose.
        source: TopicPartition,
        /// The first offset.
        from: i64,
        /// The last offset.
        to: i64,
        /// The operator's reason.
        reason: String,
    },
    /// `state: paused` or `running`: a paused task keeps its partitions and calls nothing.
    SetPaused(bool),
    /// What the worker leaves to this task of the bytes that it may hold. The task's own limit is not exceeded, and what it
    /// holds already is let go of first.
    SetShare {
        /// Bytes of records, requests and held results.
        in_flight_bytes: usize,
    },
    /// Time went by.
    Tick,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// To be given back with the answer.
    pub id: CallId,
    /// Whose records these are.
    pub assignment: Assignment,
    /// The batch: records of one partition, in offset order within each lane.
    pub records: Vec<Arc<Record>>,
    /// The attempt that this call is for its records, from 1; the highest where they differ.
    pub attempt: u32,
    /// The call asks whether the function is back.
    pub probe: bool,
}

/// A request to a sink: results in the order they are to be stored.
#[derive(Clone, Debug)]
pub struct Store {
    /// To be given back with the receipts.
    pub id: StoreId,
    /// Which sink.
    pub sink: SinkId,
    /// Records and their results.
    pub items: Vec<StoreItem>,
}

/// One record's results in a request to a sink.
#[derive(Clone, Debug)]
pub struct StoreItem {
    /// The record they were made of.
    pub record: Arc<Record>,
    /// All results of the record, for whatever sink.
    pub outputs: Arc<Vec<Output>>,
    /// Results before this index have been seen to.
    pub from: usize,
    /// Results that are not to be stored, for this sink refused them in a transaction that was undone; ascending.
    pub without: Vec<usize>,
}

impl StoreItem {
    /// The results that this sink is to store, each with its index among the record's results.
    pub fn results(&self, sink: SinkId) -> impl Iterator<Item = (usize, &Output)> {
        (self.outputs.iter().enumerate().skip(self.from))
            .filter(move |(index, o)| o.sink.is_none_or(|s| s == sink) && !self.without.contains(index))
    }
}

/// A dead letter to write.
#[derive(Clone, Debug)]
pub struct Letter {
    /// To be given back with the receipt.
    pub id: LetterId,
    /// The record, byte for byte.
    pub record: Arc<Record>,
    /// Why it was given up.
    pub facts: LetterFacts,
}

/// Why a record was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterFacts {
    /// Where in its journey.
    pub stage: Stage,
    /// The last failure.
    pub failure: Failure,
    /// How many calls carried the record.
    pub attempts: u32,
    /// The first failure, in milliseconds since the Unix epoch.
    pub first_failed_ms: i64,
    /// The last failure, in milliseconds since the Unix epoch.
    pub last_failed_ms: i64,
    /// Stage `sink`: the sink that refused.
    pub sink: Option<SinkId>,
    /// Stage `sink`: the result that it refused.
    pub result: Option<Output>,
}

/// One partition's share of a commit: offset and memo are one effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitEntry {
    /// Whose.
    pub assignment: Assignment,
    /// The partition.
    pub source: TopicPartition,
    /// The offset of the first record that is not settled, or the next to come.
    pub offset: i64,
    /// What stands beside the offset.
    pub memo: String,
}

/// Everything that a task can ask for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Call the function.
    Call(Call),
    /// Nobody waits for this call any more: let the connection go.
    Abandon(CallId),
    /// Send results to a sink.
    Store(Store),
    /// Write a dead letter.
    WriteLetter(Letter),
    /// Commit. No other commit is in flight.
    Commit(Vec<CommitEntry>),
    /// Store, write and commit as one. A task that delivers exactly once asks for nothing else of these, and for one at a
    /// time.
    Transact(Transaction),
    /// Fetch no more of this partition for now.
    Pause(Assignment),
    /// Fetch this partition again.
    Resume(Assignment),
    /// The partition is drained, its last commit has ended: it can be let go.
    Release(Assignment),
    /// Close the task's producers with whatever is in them, end the requests to its other sinks, and open new ones.
    /// What the task still owns follows as new requests.
    RecycleSinks,
    /// Something that people want to know.
    Notice(Notice),
}

/// Something that people want to know. Each is one line in the log and one count.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A call came to an end.
    Attempt {
        /// Whose records it carried.
        assignment: Assignment,
        /// What it came to.
        outcome: AttemptOutcome,
        /// How many records it carried.
        records: usize,
    },
    /// The breaker opened.
    BreakerOpened {
        /// The failure that opened it.
        failure: Failure,
    },
    /// A probe succeeded.
    BreakerClosed {
        /// How long it was open.
        open_for: Millis,
    },
    /// Records were given up in a row with no success between: no more are, until a call succeeds.
    GuardTripped {
        /// Which count.
        guard: GuardKind,
        /// The first record that stands.
        id: String,
        /// Why it failed last.
        failure: Failure,
    },
    /// A call succeeded after the guard had tripped.
    GuardReleased {
        /// Which count.
        guard: GuardKind,
    },
    /// A batch was halved.
    Bisected {
        /// Whose records.
        assignment: Assignment,
        /// How many records it had.
        records: usize,
    },
    /// Records were settled.
    Settled {
        /// Whose.
        assignment: Assignment,
        /// As what.
        disposition: Disposition,
        /// How many.
        records: u64,
    },
    /// A record was given up.
    GivenUp {
        /// Whose.
        assignment: Assignment,
        /// Where.
        stage: Stage,
        /// The record's id.
        id: String,
        /// Why.
        reason: String,
        /// The answer's status.
        status: Option<u16>,
    },
    /// An answer, receipt or commit arrived for an old assignment, and was discarded.
    LateDiscarded {
        /// What arrived.
        what: &'static str,
    },
    /// A sink does not take results, or not for another reason than it was told before.
    SinkAway {
        /// Which.
        sink: SinkId,
        /// What it said.
        failure: Failure,
        /// True where waiting alone won't help (401, 403, 404, no right).
        blocked: bool,
    },
    /// A sink takes results again.
    SinkBack {
        /// Which.
        sink: SinkId,
    },
    /// The dead-letter topic can't be written, or for another reason: the task blocks.
    LettersBlocked {
        /// What it said.
        failure: Failure,
    },
    /// The dead-letter topic takes letters again.
    LettersBack,
    /// Transactions come to nothing, for a reason that is no sink's and no letter's: what is finished waits.
    TransactionsHeld {
        /// What was said.
        failure: Failure,
    },
    /// A transaction was committed again.
    TransactionsBack,
    /// The memo beside the offset could not be used: work since the offset is done again.
    MemoUnusable {
        /// Whose.
        source: TopicPartition,
        /// What was wrong with it.
        reason: String,
    },
    /// Retention removed records before they were read.
    Overtaken {
        /// Whose.
        source: TopicPartition,
        /// The first offset lost.
        from: i64,
        /// The first offset that still exists.
        to: i64,
    },
    /// A commit was refused.
    CommitRefused {
        /// Whose.
        source: TopicPartition,
        /// The broker's word.
        reason: String,
    },
    /// The partition waits for its oldest record, or what is settled ahead of it would no longer fit beside the offset.
    WaitsForOldest {
        /// The record it waits for.
        id: String,
    },
    /// A lane is blocked until an operator acts (`on_exhausted: block`, `responses: block`).
    LaneBlocked {
        /// The record that stands first.
        id: String,
        /// Why it failed.
        failure: Failure,
    },
    /// More ranges are to be skipped than are remembered: this one holds for records that have arrived, and no others.
    TooManySkips {
        /// Whose.
        source: TopicPartition,
        /// The first offset.
        from: i64,
        /// The last offset.
        to: i64,
    },
    /// A partition was drained.
    Drained {
        /// Whose.
        source: TopicPartition,
        /// How long it took.
        took: Millis,
        /// False where the deadline ended it.
        in_time: bool,
    },
}

/// What an attempt came to, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// 2xx with a usable body.
    Success,
    /// A failed attempt.
    Failed,
    /// Refused (400, 422).
    Refused,
    /// Too large (413).
    TooLarge,
    /// Busy (429, 503).
    Busy,
    /// The registration is wrong.
    Misregistered,
    /// No connection.
    Away,
    /// Decided by `responses`.
    Overridden,
}

impl AttemptOutcome {
    /// The outcome's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            AttemptOutcome::Success => "success",
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::Refused => "refused",
            AttemptOutcome::TooLarge => "too_large",
            AttemptOutcome::Busy => "busy",
            AttemptOutcome::Misregistered => "misregistered",
            AttemptOutcome::Away => "away",
            AttemptOutcome::Overridden => "overridden",
        }
    }
}

/// Which of the two guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuardKind {
    /// Records given up for failed attempts.
    Failed,
    /// Records refused by function, convert or filter.
    Refused,
    /// Records refused by a sink.
    SinkRefused,
}

impl GuardKind {
    /// The guard's name in metrics and pages.
    pub fn name(self) -> &'static str {
        match self {
            GuardKind::Failed => "failed",
            GuardKind::Refused => "refused",
            GuardKind::SinkRefused => "sink_refused",
        }
    }
}

/// How much of something is used, and how much may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// What is used.
    pub used: f64,
    /// What may be used, where that is bounded.
    pub limit: Option<f64>,
    /// What may be used just now, where that is less.
    pub now: Option<f64>,
}

/// What a task uses of what it may.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Records that went to the function for the first time, a second, over the last seconds.
    pub records_per_second: Used,
    /// Their bytes, a second.
    pub bytes_per_second: Used,
    /// Calls on the wire.
    pub calls: Used,
    /// Bytes of records, requests and held results.
    pub held_bytes: Used,
    /// Records that could go wait for what may go a second.
    pub throttled: bool,
}

impl Usage {
    /// Each limit's name in a pipeline's document, with what is used of it.
    pub fn by_name(&self) -> [(&'static str, Used); 4] {
        [
            ("limits.records_per_second", self.records_per_second),
            ("limits.bytes_per_second", self.bytes_per_second),
            ("concurrency.max_in_flight", self.calls),
            ("limits.in_flight_bytes", self.held_bytes),
        ]
    }
}

/// What a task looks like from outside, for status pages and gauges.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What it uses of its limits.
    pub usage: Usage,
    /// Calls on the wire.
    pub calls_in_flight: usize,
    /// How many calls may be on the wire: falls when the function is busy.
    pub concurrency: usize,
    /// Bytes of records, requests and held results.
    pub held_bytes: usize,
    /// The breaker stands open.
    pub breaker_open: bool,
    /// Why the breaker stands open.
    pub breaker_reason: Option<Failure>,
    /// A guard that has tripped, and the ids of the records that stand first.
    pub guards: Vec<(GuardKind, Vec<String>)>,
    /// The partitions.
    pub partitions: Vec<PartitionView>,
}

/// How old a record is, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// When it arrived.
    pub arrived: Moment,
    /// Its own timestamp, in milliseconds since the Unix epoch; below 0 where it has none.
    pub timestamp_ms: Option<i64>,
}

/// What a partition looks like from outside.
#[derive(Clone, Debug)]
pub struct PartitionView {
    /// Which assignment.
    pub assignment: Assignment,
    /// Which partition.
    pub source: TopicPartition,
    /// The last offset that was committed, or where reading started.
    pub committed: i64,
    /// The offset after the last one that arrived.
    pub position: i64,
    /// Records that wait for a call.
    pub waiting: usize,
    /// Records on the wire.
    pub in_flight: usize,
    /// Records that arrived and are not settled.
    pub unsettled: usize,
    /// Bytes held.
    pub held_bytes: usize,
    /// The oldest record that is not settled.
    pub oldest_unsettled: Option<Oldest>,
    /// The oldest record that waits for a call.
    pub oldest_waiting: Option<Oldest>,
    /// Fetching is paused.
    pub paused: bool,
    /// It is being drained.
    pub draining: bool,
    /// What became of its records, since the pipeline first ran.
    pub totals: [u64; 6],
}
