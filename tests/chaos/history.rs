//! What happened in a run, as it was seen from outside: what stood in the topics, what the function noted, what the groups
//! had committed, and which faults there were.

use std::collections::BTreeMap;
use std::fmt;

/// Milliseconds since the run began.
pub type Ms = i64;

/// A record of a pipeline's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// One life of a worker: its place in the fleet, and how many were there before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    pub slot: usize,
    pub life: usize,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.life)
    }
}

impl Who {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Who> {
        let (slot, life) = text.split_once('.')?;
        Some(Who {
            slot: slot.parse().ok()?,
            life: life.parse().ok()?,
        })
    }
}

/// What the function makes of a record, whenever it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One result.
    Once,
    /// Two results.
    Twice,
    /// It is dropped.
    Nothing,
    /// It is asked for again, and then has one result.
    Later,
    /// A verdict makes it a dead letter.
    Refused,
    /// The function fails on every batch that holds it.
    Poison,
    /// The function refuses every batch that holds it.
    Unfit,
    /// It is not what the pipeline reads, and is never called.
    Garbled,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [
        Kind::Once,
        Kind::Twice,
        Kind::Nothing,
        Kind::Later,
        Kind::Refused,
        Kind::Poison,
        Kind::Unfit,
        Kind::Garbled,
    ];

    /// How an input record calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Once => "once",
            Kind::Twice => "twice",
            Kind::Nothing => "nothing",
            Kind::Later => "later",
            Kind::Refused => "refused",
            Kind::Poison => "poison",
            Kind::Unfit => "unfit",
            Kind::Garbled => "garbled",
        }
    }

    /// How many results it has.
    pub fn results(self) -> u8 {
        match self {
            Kind::Once | Kind::Later => 1,
            Kind::Twice => 2,
            Kind::Nothing | Kind::Refused | Kind::Poison | Kind::Unfit | Kind::Garbled => 0,
        }
    }

    /// Whether it ends as a dead letter, whatever else happens.
    pub fn is_dead(self) -> bool {
        match self {
            Kind::Refused | Kind::Poison | Kind::Unfit | Kind::Garbled => true,
            Kind::Once | Kind::Twice | Kind::Nothing | Kind::Later => false,
        }
    }
}

/// A record of the source.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    pub kind: Kind,
    /// Its key's lane; records of one lane have the same.
    pub lane: u64,
    /// Of its key and value.
    pub digest: u64,
}

/// A call of the function, as the function noted it before it answered.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Ms,
    pub worker: Who,
    pub partition: i32,
    pub offsets: Vec<i64>,
    pub answer: Answer,
}

/// What the function answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A verdict a record, in the call's order.
    Verdicts(Vec<Given>),
    /// Nothing that can be used; what it was.
    Failed(&'static str),
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Results(u8),
    Dropped,
    Later,
    Refused,
}

/// A result, where it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// When it was stored.
    pub at: Ms,
    /// Where it was stored: a partition of the sink's topic.
    pub place: i32,
    /// The record that it says it was made of, and its index among that record's results.
    pub of: Id,
    pub index: u8,
    /// The call that made it: its number among the pipeline's.
    pub call: usize,
    /// Its value is the one that this call gave for this record.
    pub sound: bool,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// When it was stored.
    pub at: Ms,
    pub of: Id,
    pub stage: String,
    /// Of its key and value.
    pub digest: u64,
    pub first_failed: Ms,
    pub last_failed: Ms,
}

/// What a group had committed: asked at `from`, answered at `until`.
#[derive(Clone, Debug)]
pub struct Sample {
    pub from: Ms,
    pub until: Ms,
    pub committed: BTreeMap<i32, i64>,
}

/// Which records a pipeline keeps in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    Partitions,
    Keys,
    /// None: each record is its own.
    Records,
}

/// Results in one place, in the order in which they stand there.
#[derive(Clone, Debug)]
pub struct Stream {
    pub name: &'static str,
    pub outputs: Vec<Output>,
}

/// The names of the two kinds of streams.
pub const TOPIC: &str = "topic";
pub const POSTS: &str = "posts";

/// All of one pipeline.
#[derive(Clone, Debug)]
pub struct Course {
    pub pipeline: String,
    pub lanes: Lanes,
    pub exactly_once: bool,
    pub input: BTreeMap<Id, Input>,
    pub calls: Vec<Call>,
    /// A stream for each of its sinks.
    pub streams: Vec<Stream>,
    pub letters: Vec<Letter>,
    pub samples: Vec<Sample>,
}

/// A fault, as it was.
#[derive(Clone, Debug)]
pub struct Fault {
    pub number: usize,
    pub from: Ms,
    /// When it was over: a broker answered again, a wire carried again.
    pub until: Ms,
    pub what: String,
    pub touches: Touches,
}

/// Whom a fault can do what to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// This life of a worker ended.
    Killed(Who),
    /// A worker held its breath for longer than its session.
    Frozen(usize),
    /// What passes between a worker and brokers.
    Wire(usize),
    /// A broker was gone.
    Brokers,
    /// Calls of a pipeline, by its number; whether all of them fail.
    Calls { pipeline: usize, fail: bool },
    /// The HTTP sink, or the way to it.
    Posts,
    /// The store, or the way to it.
    Store,
}

/// The whole run.
#[derive(Clone, Debug)]
pub struct History {
    pub courses: Vec<Course>,
    pub faults: Vec<Fault>,
}
