//! Everything that can happen in a world, as it looks from outside of the tasks.

use std::rc::Rc;

use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::{Assignment, CallId, LetterId, Notice, StoreId};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::Record;
use fnbridge_delivery::settings::TaskSettings;
use fnbridge_delivery::transaction::TransactionId;

use crate::world::function::Health;
use crate::world::log::incarnation;

/// A record, by where it truly stands: an offset of one of the logs that had a partition's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub partition: usize,
    pub log: usize,
    pub offset: i64,
}

impl Place {
    pub fn of(record: &Record) -> Place {
        Place {
            partition: record.source.partition as usize,
            log: incarnation(record),
            offset: record.offset,
        }
    }
}

/// What an answer says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Deliver,
    Drop,
    Again,
    GiveUp,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Verdicts(Rc<[Verdict]>),
    DeliverNothing,
    Failed,
    Refused,
    TooLarge,
    Busy,
    Misregistered,
    Away,
    Drop,
    DeadLetter,
}

/// A result: its sink, and its index among the record's results.
pub type ResultOf = (u16, usize);

#[derive(Debug)]
pub enum Fact {
    Joins {
        worker: usize,
        settings: Rc<TaskSettings>,
    },
    Closes {
        worker: usize,
    },
    Leaves {
        worker: usize,
    },
    Dies {
        worker: usize,
    },
    ThrownOut {
        worker: usize,
    },
    /// One that was thrown out learns of it.
    Learns {
        worker: usize,
    },
    Rebalance {
        eager: bool,
    },
    Healed,
    Recreated {
        partition: usize,
    },
    /// Retention removes what is before `to`.
    Expires {
        partition: usize,
        log: usize,
        to: i64,
    },
    FunctionIs(Health),
    SinkIs {
        sink: usize,
        well: bool,
    },
    LettersAre {
        well: bool,
    },
    /// The wall clock goes so far back or forth; everything stands still for so long.
    Clock {
        wall_ms: i64,
        stands_ms: u64,
    },
    Paused {
        worker: usize,
        paused: bool,
    },
    Share {
        worker: usize,
        bytes: usize,
    },
    ToldToSkip {
        worker: usize,
        partition: usize,
        from: i64,
        to: i64,
    },
    Assigned {
        worker: usize,
        assignment: Assignment,
        partition: usize,
        log: usize,
        position: i64,
        /// As far as it can be read.
        memo: Option<Rc<Memo>>,
    },
    Arrived {
        worker: usize,
        assignment: Assignment,
        offsets: Rc<[i64]>,
    },
    Overtaken {
        worker: usize,
        assignment: Assignment,
        to: i64,
    },
    Revoked {
        worker: usize,
        assignment: Assignment,
        deadline: u64,
    },
    Lost {
        worker: usize,
        assignment: Assignment,
    },
    Released {
        worker: usize,
        assignment: Assignment,
    },
    Called {
        worker: usize,
        call: CallId,
        assignment: Assignment,
        offsets: Rc<[i64]>,
        attempt: u32,
        /// What the function knows the batch by.
        key: String,
        probe: bool,
    },
    Abandoned {
        worker: usize,
        call: CallId,
    },
    Answered {
        worker: usize,
        call: CallId,
        said: Said,
    },
    /// A sink is asked to store results: those of each record from an index on.
    Asked {
        worker: usize,
        store: StoreId,
        sink: u16,
        items: Rc<[(Place, usize)]>,
    },
    /// It stands in the sink.
    Stored {
        sink: u16,
        place: Place,
        index: usize,
    },
    Refuses {
        sink: u16,
        place: Place,
        index: usize,
    },
    /// What the sink says of each item: that all of it is stored, or not.
    Receipts {
        worker: usize,
        store: StoreId,
        stored: Rc<[bool]>,
    },
    Recycled {
        worker: usize,
    },
    LetterAsked {
        worker: usize,
        letter: LetterId,
        place: Place,
        stage: Stage,
        status: Option<u16>,
        reason: Rc<str>,
        of: Option<ResultOf>,
    },
    /// It stands in the dead-letter topic.
    Lettered {
        place: Place,
        stage: Stage,
        of: Option<ResultOf>,
    },
    LetterReceipt {
        worker: usize,
        letter: LetterId,
        written: bool,
    },
    /// Results, dead letters and offsets are to stand together.
    Transacts {
        worker: usize,
        transaction: TransactionId,
        results: Rc<[(Place, ResultOf)]>,
        letters: Rc<[(Place, Stage, Option<ResultOf>)]>,
    },
    /// A task is told how its transaction ended.
    Transacted {
        worker: usize,
        transaction: TransactionId,
        committed: bool,
    },
    CommitAsked {
        worker: usize,
        assignment: Assignment,
        offset: i64,
        memo: Rc<Memo>,
        chars: usize,
    },
    /// It stands with the group.
    Committed {
        worker: usize,
        assignment: Assignment,
        offset: i64,
        memo: Rc<Memo>,
    },
    CommitTold {
        worker: usize,
        assignment: Assignment,
        refused: Option<String>,
    },
    /// A task says something. Of attempts, only those that succeeded.
    Noticed {
        worker: usize,
        notice: Notice,
    },
}
