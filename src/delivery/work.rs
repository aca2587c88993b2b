//! A batch on its way: called, waiting for its next call, or halved.

use std::collections::VecDeque;

use crate::event::CallId;
use crate::partition::Seq;
use crate::time::Moment;

/// Into how many calls, at most, the records of one answer with `retry` verdicts are grouped by their waits.
pub(crate) const MAX_RETRY_GROUPS: usize = 8;

/// Names a batch, never used twice by a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkId(pub(crate) u64);

/// A batch. It owns the lanes of its records until each record has left it.
#[derive(Debug)]
pub(crate) struct Work {
    /// What is left of it, in the order in which it is called: one part, until it is halved.
    pub(crate) parts: VecDeque<Part>,
    /// The call on the wire, which carries the first part.
    pub(crate) call: Option<CallId>,
    /// An upper bound on what it takes in the memo.
    pub(crate) memo_bytes: usize,
    /// Its own successful calls, to tell them from others'.
    pub(crate) successes: u64,
    /// It goes into the memo: a call of it has ended, or a drain cut one off.
    pub(crate) remembered: bool,
    /// Its records have never been on the wire, and count for the limits once they are.
    pub(crate) first: bool,
}

/// Records that go into one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) seqs: Vec<Seq>,
    /// Failed attempts that carried these records.
    pub(crate) attempts: u32,
    /// It came out of a halving because the attempts were used up.
    pub(crate) split: bool,
    /// Failed calls since it is one record.
    pub(crate) lone_failures: u32,
    /// Answers in a row that said that the function is busy.
    pub(crate) busy_in_a_row: u32,
    /// Others' successes when the function first said that it is busy, or that the registration is wrong.
    pub(crate) others_when_busy: u64,
    pub(crate) others_when_misregistered: Option<u64>,
    /// Not called again before this.
    pub(crate) due: Moment,
    /// Milliseconds since the Unix epoch.
    pub(crate) first_failed_ms: Option<i64>,
}

impl Part {
    /// Two halves, the first not smaller. `split` where it is because the attempts were used up.
    pub(crate) fn halve(mut self, split: bool, now: Moment) -> (Part, Part) {
        let behind = self.seqs.split_off(self.seqs.len().div_ceil(2));
        let half = |seqs| Part {
            seqs,
            attempts: self.attempts,
            split: self.split || split,
            others_when_misregistered: self.others_when_misregistered,
            due: now,
            first_failed_ms: self.first_failed_ms,
            ..Part::default()
        };
        let ahead = std::mem::take(&mut self.seqs);
        (half(ahead), half(behind))
    }
}
