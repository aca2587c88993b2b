//! A redrive as a job: what was asked for, how it stands, and how far it has come.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Ask, Refused, To};
use crate::letters::{Filter, Letter, Passed};

/// Fewer than so many letters say nothing about how many fail.
const SAYS_SOMETHING: u64 = 10;
/// Examples that are kept of each kind.
const EXAMPLES: usize = 20;
/// Ids that are kept of letters that may have been sent twice.
const REPEATED_IDS: usize = 1000;

/// A redrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The pipeline that the letters go through.
    pub pipeline: String,
    /// The cluster of its dead-letter topic.
    pub cluster: String,
    /// Its dead-letter topic.
    pub topic: String,
    /// Who asked for it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The `n` of `;g=<n>` in the keys that its letters are sent under: no other redrive has it.
    pub generation: u32,
    /// Which letters.
    pub wanted: Wanted,
    /// Where to.
    pub to: To,
    /// Letters of which nobody knows whether they were redriven go, too.
    #[serde(default)]
    pub unknown: bool,
    /// At most so many letters a second.
    #[serde(default)]
    pub rate: Option<f64>,
    /// At most so many letters.
    #[serde(default)]
    pub max: Option<u64>,
    /// It stops by itself where more than this part of its letters fails again.
    pub max_failed: f64,
    /// The one letter goes with another value.
    #[serde(default)]
    pub edit: Option<Edit>,
    /// From which offset on, and before which, letters are looked at, by partition.
    pub ranges: BTreeMap<i32, (i64, i64)>,
    /// How many letters were wanted when it was asked for.
    pub expected: u64,
    /// Records of the letters' keys that had gone through behind them by then.
    #[serde(default)]
    pub passed: Option<Passed>,
    /// How it stands.
    pub state: State,
    /// Why it stands so, where that is not plain.
    #[serde(default)]
    pub said: String,
}

/// Which letters are wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// These: partition and offset, ascending.
    Ids(Vec<(i32, i64)>),
    /// Those that match, among those that were there when it was asked for.
    Matching(Box<Filter>),
}

/// A corrected value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The value's bytes, in base64; `None`: a tombstone.
    pub value_base64: Option<String>,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A worker sees to it, or is about to.
    Running,
    /// It waits until it is resumed.
    Paused,
    /// It stopped by itself, and can be resumed.
    Stopped,
    /// All letters were looked at.
    Done,
    /// Somebody ended it.
    Cancelled,
}

/// What a job can't be told as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the redrive is {}: it can't be {what}", found.name())]
pub struct WrongState {
    found: State,
    what: &'static str,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Its results are stored.
    Delivered,
    /// It was accepted, and there was nothing to store.
    Dropped,
    /// It was given up again, and why.
    DeadLettered(String),
    /// It stands in the source topic once more.
    ToSource,
    /// It was not sent.
    Refused(Refused),
}

/// How far a job has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The worker that sees to it.
    pub worker: String,
    /// Before these offsets, nothing is left to do.
    pub done: BTreeMap<i32, i64>,
    /// At these offsets and behind them, nothing was sent.
    pub sent: BTreeMap<i32, i64>,
    /// What became of letters.
    pub counts: Counts,
    /// Bytes of keys, values and headers that were sent.
    pub bytes: u64,
    /// Letters that may have been sent twice, since a worker died while they were on their way.
    pub repeated: u64,
    /// The first of them.
    pub repeated_ids: Vec<String>,
    /// The first that were given up again, each with why.
    pub failures: Vec<(String, String)>,
    /// The first that were not sent, each with why.
    pub refusals: Vec<(String, String)>,
    /// What it waits for.
    pub waits: Option<String>,
    /// When a worker first saw to it, in milliseconds since the Unix epoch.
    pub began_ms: i64,
    /// When this was written, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What became of letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Their results are stored.
    pub delivered: u64,
    /// They were accepted, and there was nothing to store.
    pub dropped: u64,
    /// They were given up again.
    pub dead_lettered: u64,
    /// They stand in the source topic once more.
    pub to_source: u64,
    /// They were not sent, by reason.
    pub refused: BTreeMap<String, u64>,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Stopped => "stopped",
            State::Done => "done",
            State::Cancelled => "cancelled",
        }
    }

    /// Nothing follows.
    pub fn is_over(self) -> bool {
        matches!(self, State::Done | State::Cancelled)
    }

    /// Lets it wait.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(self) -> Result<State, WrongState> {
        self.to(State::Paused, "paused", &[State::Running, State::Paused])
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It is over.
    pub fn resume(self) -> Result<State, WrongState> {
        self.to(
            State::Running,
            "resumed",
            &[State::Running, State::Paused, State::Stopped],
        )
    }

    /// Ends it.
    ///
    /// # Errors
    /// All letters were looked at.
    pub fn cancel(self) -> Result<State, WrongState> {
        let all = [State::Running, State::Paused, State::Stopped, State::Cancelled];
        self.to(State::Cancelled, "cancelled", &all)
    }

    /// It has come to its end, or stops by itself.
    ///
    /// # Errors
    /// It does not run any more.
    pub fn finish(self, next: State) -> Result<State, WrongState> {
        self.to(next, "ended", &[State::Running])
    }

    fn to(self, next: State, what: &'static str, from: &[State]) -> Result<State, WrongState> {
        match from.contains(&self) {
            true => Ok(next),
            false => Err(WrongState { found: self, what }),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Job {
    /// What decides where its letters go.
    pub fn ask(&self) -> Ask {
        Ask {
            to: self.to,
            unknown: self.unknown,
        }
    }

    /// Whether a letter is one of those that it is about. How it stands by now is not looked at.
    pub fn is_about(&self, letter: &Letter) -> bool {
        let within = self.ranges.get(&letter.place.partition);
        if !within.is_some_and(|(from, to)| (*from..*to).contains(&letter.offset)) {
            return false;
        }
        match &self.wanted {
            Wanted::Ids(ids) => ids.binary_search(&(letter.place.partition, letter.offset)).is_ok(),
            Wanted::Matching(filter) => filter.wants(letter),
        }
    }

    /// The partitions that are not read to their ends yet.
    pub fn left(&self, read: &BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
        let starts = self.ranges.iter().map(|(partition, (from, to))| {
            let next = read.get(partition).copied().unwrap_or(*from);
            (*partition, next, *to)
        });
        starts
            .filter(|(_, next, to)| next < to)
            .map(|(partition, next, _)| (partition, next))
            .collect()
    }
}

impl Counts {
    /// How many letters were sent, and something became of them.
    pub fn sent(&self) -> u64 {
        self.delivered + self.dropped + self.dead_lettered + self.to_source
    }

    /// How many letters something became of.
    pub fn all(&self) -> u64 {
        self.sent() + self.refused.values().sum::<u64>()
    }
}

impl Progress {
    /// Counts what became of a letter.
    pub fn count(&mut self, id: impl FnOnce() -> String, result: &Became) {
        let example = |examples: &mut Vec<(String, String)>, why: String| {
            if examples.len() < EXAMPLES {
                examples.push((id(), why));
            }
        };
        match result {
            Became::Delivered => self.counts.delivered += 1,
            Became::Dropped => self.counts.dropped += 1,
            Became::ToSource => self.counts.to_source += 1,
            Became::DeadLettered(reason) => {
                self.counts.dead_lettered += 1;
                example(&mut self.failures, reason.clone());
            }
            Became::Refused(refused) => {
                *self.counts.refused.entry(refused.code().to_owned()).or_default() += 1;
                example(&mut self.refusals, refused.to_string());
            }
        }
    }

    /// Another worker takes over: of these letters nobody knows whether they were sent.
    pub fn repeat(&mut self, id: String) {
        self.repeated += 1;
        if self.repeated_ids.len() < REPEATED_IDS {
            self.repeated_ids.push(id);
        }
    }

    /// Why the job has to stop, where too many of its letters fail again.
    pub fn stops(&self, job: &Job) -> Option<String> {
        let (sent, failed) = (self.counts.sent(), self.counts.dead_lettered);
        let too_many = sent >= SAYS_SOMETHING && failed as f64 > job.max_failed * sent as f64;
        too_many.then(|| {
            let why = self.failures.last().map_or("", |(_, why)| why);
            format!(
                "{failed} of {sent} letters failed again, and at most {}% may: {why}",
                job.max_failed * 100.0
            )
        })
    }
}

impl Became {
    /// Its name, as a letter's mark has it.
    pub fn name(&self) -> &'static str {
        match self {
            Became::Delivered => "delivered",
            Became::Dropped => "dropped",
            Became::DeadLettered(_) => "dead_lettered",
            Became::ToSource => "to_source",
            Became::Refused(_) => "refused",
        }
    }
}
