//! Transactions: what a task that delivers exactly once asks for instead of stores, letters and commits.

use crate::answer::{Failure, Receipt};
use crate::event::{CommitEntry, Letter, LetterId, Store};
use crate::record::SinkId;

/// One transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u64);

/// Results, dead letters, offsets and memos that become visible together, or not at all. One is in flight at a time, and
/// a partition that it names is released only once it has ended.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// To be given back with the outcome.
    pub id: TransactionId,
    /// Results of finished records, one request a sink at most; each lane's in the lane's order.
    pub stores: Vec<Store>,
    /// Dead letters, in the order in which their records were given up.
    pub letters: Vec<Letter>,
    /// Offsets and memos as they stand once all of the above is settled. It may hold nothing but these.
    pub entries: Vec<CommitEntry>,
}

/// How a transaction ended. An end that can't be known is not one of these: whoever asks for it has to find out, or to
/// give the task up and begin anew at what is committed then.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionOutcome {
    /// All of it stands.
    Committed,
    /// None of it does, and what stood in the way, as far as is known.
    Aborted(Vec<Obstacle>),
}

/// What undid a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// A sink did not take a record's results. One that it refuses becomes a dead letter; anything else is waited for.
    Result {
        /// Which sink.
        sink: SinkId,
        /// Which of the items of this sink's request.
        item: usize,
        /// What the sink said, which is not [`Receipt::Stored`].
        receipt: Receipt,
    },
    /// The dead-letter topic did not take a letter.
    Letter {
        /// Which.
        letter: LetterId,
        /// What it said, which is not [`Receipt::Stored`].
        receipt: Receipt,
    },
    /// The group did not take the offsets: it is moving, or a partition is not ours any more, whose loss follows.
    Offsets {
        /// The group's word.
        reason: String,
    },
    /// The cluster could not see it through.
    Cluster(Failure),
}
