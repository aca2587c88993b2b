//! What a function's answer, a sink's receipt and a dead letter say.

use bytes::Bytes;

use crate::event::AttemptOutcome;
use crate::record::Output;
use crate::time::Millis;

/// Why a record, a call or a write did not go through, in words that a person can act on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// One sentence: what was found, and what was expected.
    pub reason: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The first 4 KiB of the answer's body.
    pub response: Bytes,
}

impl Failure {
    /// A failure without an HTTP answer.
    pub fn of(reason: impl Into<String>) -> Failure {
        Failure {
            reason: reason.into(),
            ..Failure::default()
        }
    }
}

/// What one call of the function came to. Every way a call can end is one of these.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// 2xx with a usable body: one verdict for each record of the batch, in the batch's order.
    Verdicts(Vec<Verdict>),
    /// A failed attempt: charged, retried, bisected, dead-lettered.
    Failed(Failure),
    /// The function refuses this data (400, 422): bisected at once.
    Refused(Failure),
    /// The batch is too large (413): halved, not charged.
    TooLarge(Failure),
    /// The function is busy (429, 503): waited for, not charged.
    Busy {
        /// What it said.
        failure: Failure,
        /// `retry-after`, if it was sent; the core bounds it.
        retry_after: Option<Millis>,
        /// 503: in a row, these open the breaker.
        unavailable: bool,
    },
    /// The registration is wrong (401, 403, 404, 405, 410, 3xx): opens the breaker.
    Misregistered(Failure),
    /// No connection could be made (connect, DNS, TLS): opens the breaker, not charged.
    Away(Failure),
    /// `responses: drop`: acts on a record that stands alone.
    Drop(Failure),
    /// `responses: dead_letter`: acts on a record that stands alone.
    DeadLetter(Failure),
    /// `responses: deliver_nothing`: settles the whole batch as delivered, with no results.
    DeliverNothing,
    /// `responses: block`: the lanes of the batch stop until an operator acts.
    Block(Failure),
}

impl Answer {
    /// The outcome that it counts as, and the failure that it tells of.
    pub fn came_to(&self) -> (AttemptOutcome, Option<&Failure>) {
        match self {
            Answer::Verdicts(_) => (AttemptOutcome::Success, None),
            Answer::Failed(failure) => (AttemptOutcome::Failed, Some(failure)),
            Answer::Refused(failure) => (AttemptOutcome::Refused, Some(failure)),
            Answer::TooLarge(failure) => (AttemptOutcome::TooLarge, Some(failure)),
            Answer::Busy { failure, .. } => (AttemptOutcome::Busy, Some(failure)),
            Answer::Misregistered(failure) => (AttemptOutcome::Misregistered, Some(failure)),
            Answer::Away(failure) => (AttemptOutcome::Away, Some(failure)),
            Answer::Drop(failure) | Answer::DeadLetter(failure) | Answer::Block(failure) => {
                (AttemptOutcome::Overridden, Some(failure))
            }
            Answer::DeliverNothing => (AttemptOutcome::Overridden, None),
        }
    }
}

/// What the function says of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Accepted, with any number of results, none included.
    Deliver(Vec<Output>),
    /// Accepted, and wanted nowhere.
    Drop,
    /// To be called again, charged to this record alone.
    Retry {
        /// After how long; without it, backoff. The core bounds it.
        after: Option<Millis>,
        /// Why, for the day when the record is given up.
        reason: String,
    },
    /// To be called again behind what stands before it in the batch and is called again, too. It is not charged: the
    /// function stopped before it came to this record.
    Again,
    /// Given up on by the function itself.
    DeadLetter {
        /// The function's reason.
        reason: String,
    },
}

/// What a sink says of one record's results, in the order they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Durable.
    Stored,
    /// Not stored, and nothing known against another try.
    TryAgain(Failure),
    /// The sink refuses one result: which of the record's results, and why. Those before it are stored.
    Refused {
        /// Index into the record's results that were given.
        index: usize,
        /// What the sink said.
        failure: Failure,
    },
    /// The sink is away (connection, time-out, 408, 429, 5xx, retriable Kafka errors).
    Away(Failure),
    /// The sink is away, and asked to be left alone for so long; the core bounds it.
    AwayFor(Failure, Millis),
    /// The sink is registered wrongly (401, 403, 404, no right to write): waited for, and said.
    Blocked(Failure),
}

impl Receipt {
    /// Why it was not stored.
    pub fn into_failure(self) -> Option<Failure> {
        match self {
            Receipt::Stored => None,
            Receipt::TryAgain(failure) | Receipt::Away(failure) | Receipt::AwayFor(failure, _) => Some(failure),
            Receipt::Blocked(failure) | Receipt::Refused { failure, .. } => Some(failure),
        }
    }
}

/// Where in its journey a record was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The key or value is not valid in its format.
    Convert,
    /// The filter could not be evaluated.
    Filter,
    /// A transform failed.
    Transform,
    /// The function failed on it, refused it, or said so.
    Function,
    /// A sink refused its result.
    Sink,
    /// An operator skipped it.
    Operator,
}

impl Stage {
    /// The stage's name, as it stands in `fnbridge.stage`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Convert => "convert",
            Stage::Filter => "filter",
            Stage::Transform => "transform",
            Stage::Function => "function",
            Stage::Sink => "sink",
            Stage::Operator => "operator",
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Disposition {
    /// Its results, if any, are stored in every sink they go to.
    Delivered,
    /// The function wanted it nowhere.
    Dropped,
    /// The filter did not let it pass.
    Filtered,
    /// It stands in the dead-letter topic.
    DeadLettered,
    /// An operator passed over it.
    Skipped,
    /// Kafka's retention removed it first.
    Expired,
}

impl Disposition {
    /// All of them, in the order the memo counts them.
    pub const ALL: [Disposition; 6] = [
        Disposition::Delivered,
        Disposition::Dropped,
        Disposition::Filtered,
        Disposition::DeadLettered,
        Disposition::Skipped,
        Disposition::Expired,
    ];

    /// The disposition's name in metrics and pages.
    pub fn name(self) -> &'static str {
        match self {
            Disposition::Delivered => "delivered",
            Disposition::Dropped => "dropped",
            Disposition::Filtered => "filtered",
            Disposition::DeadLettered => "dead_lettered",
            Disposition::Skipped => "skipped",
            Disposition::Expired => "expired",
        }
    }
}
