//! What a task is told to do, already validated.

use crate::rate::Rate;
use crate::time::Millis;

/// Which records must run one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ordering {
    /// All records of a partition.
    Partition,
    /// All records of one key in a partition; a record without a key stands alone.
    Key,
    /// None.
    None,
}

/// What happens when a record has used up its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnExhausted {
    /// It becomes a dead letter.
    DeadLetter,
    /// Its lane waits for an operator.
    Block,
}

/// What a worker that is cut off in the middle of its work leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// What was not committed is called and delivered again.
    #[default]
    AtLeastOnce,
    /// What was not committed is called again; results are delivered together with the offsets that pass them.
    ExactlyOnce,
}

/// How much goes into one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Records, at least 1.
    pub max_records: usize,
    /// Bytes of keys, values and headers; a record larger than this travels alone.
    pub max_bytes: usize,
    /// How long a batch that is not full waits for more.
    pub linger: Millis,
}

/// How often, and with which waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Calls that may carry a record before it is given up or its batch halved, at least 1.
    pub max_attempts: u32,
    /// The bound of the first wait; it doubles.
    pub initial_backoff: Millis,
    /// The bound of every wait.
    pub max_backoff: Millis,
    /// A record older than this is given up at its next failure.
    pub max_age: Option<Millis>,
}

/// How many records may be given up in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// For failed attempts.
    pub failed: u32,
    /// For data that was refused.
    pub refused: u32,
}

/// How fast records go to the function for the first time, or to the sinks where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Records a second.
    pub records_per_second: Option<Rate>,
    /// Bytes of keys, values and headers a second.
    pub bytes_per_second: Option<Rate>,
}

/// What a task is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSettings {
    /// Which records must run one after another.
    pub ordering: Ordering,
    /// What a cut-off worker leaves behind.
    pub delivery: Delivery,
    /// How much goes into one call.
    pub batch: BatchSettings,
    /// Calls on the wire at once, at least 1.
    pub max_in_flight: usize,
    /// Bytes held at once: records, requests, results.
    pub in_flight_bytes: usize,
    /// How fast.
    pub limits: RateLimits,
    /// How often, and with which waits.
    pub retry: RetrySettings,
    /// What happens when the attempts are used up.
    pub on_exhausted: OnExhausted,
    /// How many records may be given up in a row.
    pub guard: GuardSettings,
    /// How long calls on the wire and results on their way have when a partition is taken away.
    pub drain_timeout: Millis,
    /// A commit is built at most this often while records settle.
    pub commit_interval: Millis,
    /// False: records go to the sinks as they are.
    pub has_function: bool,
    /// How many sinks there are.
    pub sinks: usize,
}
