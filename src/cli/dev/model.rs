//! What `fnbridge dev` knows while it runs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cli::local::Said;
use crate::delivery::answer::Disposition;
use crate::delivery::event::View;

/// How many results and dead letters are kept to be shown.
const KEPT: usize = 64;

/// How many seconds the curve of throughput shows.
const SECONDS: usize = 30;

/// Everything that the live view knows.
pub(super) struct Model {
    /// How the pieces are put together; does not change.
    pub(super) setup: Setup,
    /// Since the start.
    pub(super) elapsed: Duration,
    /// How long the first result took, once there is one.
    pub(super) first_result: Option<Duration>,
    /// Records that the feeder put into the topic.
    pub(super) fed: u64,
    /// Whether the feeder has come to its end, and how.
    pub(super) feeding: Feeding,
    /// What the pipeline's task looks like.
    pub(super) task: View,
    /// Records since the start, by what became of them.
    pub(super) settled: BTreeMap<String, u64>,
    /// Calls by what they came to.
    pub(super) attempts: BTreeMap<String, u64>,
    /// Settled records of the last seconds, the newest last.
    pub(super) rates: VecDeque<u64>,
    /// The newest results, the newest last.
    pub(super) results: VecDeque<Seen>,
    /// The newest dead letters, the newest last.
    pub(super) letters: VecDeque<SeenLetter>,
    /// The first dead letter that the function itself is to blame for: one to look at, to try and to redrive.
    pub(super) poison: Option<SeenLetter>,
    /// What the pipeline waits for.
    pub(super) trouble: Option<String>,
    /// How the function that was started here stands.
    pub(super) function: String,
    /// What it wrote and what happened to it, the newest last.
    pub(super) said: VecDeque<Said>,
    /// The last call that it failed, and when.
    pub(super) failed: Option<(Duration, Said)>,
    /// The newest warnings of the log, and when they came.
    pub(super) warnings: VecDeque<(Duration, String)>,
}

/// How the pieces are put together.
#[derive(Clone)]
pub(super) struct Setup {
    /// Where Kafka is.
    pub(super) broker: String,
    /// It is the embedded one.
    pub(super) embedded: bool,
    /// The topic that is read.
    pub(super) topic: String,
    /// The function.
    pub(super) url: String,
    /// Which function it is.
    pub(super) function: Which,
    /// The topic that results go to.
    pub(super) results: String,
    /// The topic that dead letters go to.
    pub(super) dead_letters: String,
    /// Where API and metrics are.
    pub(super) api: Option<String>,
}

/// Which function is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The sample.
    Sample,
    /// One that runs already.
    There,
    /// One that was started here, by this.
    Here(String),
}

/// Whether records are fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feeding {
    /// Nothing is: records come from elsewhere.
    Nothing,
    /// Yes.
    Going,
    /// The input came to its end.
    Ended,
    /// It stopped, and this is why.
    Failed(String),
}

/// A record that was seen in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The source record's id, where it says so, else its own.
    pub(super) id: String,
    /// The value, or `None` for a tombstone.
    pub(super) value: Option<String>,
}

/// A dead letter that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenLetter {
    /// Its own id.
    pub(super) id: String,
    /// The source record's id.
    pub(super) source: String,
    /// Where it was given up.
    pub(super) stage: String,
    /// Why.
    pub(super) reason: String,
    /// How many calls carried it.
    pub(super) attempts: String,
    /// The beginning of what the function answered.
    pub(super) response: String,
}

impl SeenLetter {
    /// The function failed on it again and again.
    fn is_poison(&self) -> bool {
        self.stage == "function" && self.attempts.parse::<u32>().is_ok_and(|attempts| attempts > 1)
    }
}

impl Model {
    /// Nothing has happened yet.
    pub(super) fn new(setup: Setup, feeding: Feeding) -> Model {
        Model {
            setup,
            elapsed: Duration::ZERO,
            first_result: None,
            fed: 0,
            feeding,
            task: View::default(),
            settled: BTreeMap::new(),
            attempts: BTreeMap::new(),
            rates: VecDeque::new(),
            results: VecDeque::new(),
            letters: VecDeque::new(),
            poison: None,
            trouble: None,
            function: String::new(),
            said: VecDeque::new(),
            failed: None,
            warnings: VecDeque::new(),
        }
    }

    /// A result was seen.
    pub(super) fn result(&mut self, seen: Seen) {
        self.first_result.get_or_insert(self.elapsed);
        keep(&mut self.results, seen);
    }

    /// A dead letter was seen.
    pub(super) fn letter(&mut self, seen: SeenLetter) {
        if self.poison.is_none() && seen.is_poison() {
            self.poison = Some(seen.clone());
        }
        keep(&mut self.letters, seen);
    }

    /// The function said something, or something is said of it.
    pub(super) fn says(&mut self, said: Said) {
        match said {
            Said::Failed { .. } => self.failed = Some((self.elapsed, said)),
            Said::Out(_) | Said::Err(_) | Said::Note(_) => keep(&mut self.said, said),
        }
    }

    /// Whether a call failed with the same last words as the one before.
    pub(super) fn is_known(&self, said: &Said) -> bool {
        let words = |said: &Said| match said {
            Said::Failed { lines, .. } if !lines.is_empty() => Some(lines.clone()),
            _ => None,
        };
        let before = self.failed.as_ref().and_then(|(_, failed)| words(failed));
        before.is_some() && before == words(said)
    }

    /// The log said something. Records that were given up are shown as the dead letters that they are.
    pub(super) fn warning(&mut self, line: String) {
        if line.contains("record given up") {
            return;
        }
        keep(&mut self.warnings, (self.elapsed, line));
    }

    /// A second went by, in which so many records were settled.
    pub(super) fn second(&mut self, settled: u64) {
        if self.rates.len() == SECONDS {
            self.rates.pop_front();
        }
        self.rates.push_back(settled);
    }

    /// How many records have become this.
    pub(super) fn total(&self, disposition: Disposition) -> u64 {
        self.settled.get(disposition.name()).copied().unwrap_or_default()
    }

    /// How many records have come to an end.
    pub(super) fn all_settled(&self) -> u64 {
        self.settled.values().sum()
    }

    /// Records that arrived and are not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.task.partitions.iter().map(|p| p.unsettled).sum()
    }
}

fn keep<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}
