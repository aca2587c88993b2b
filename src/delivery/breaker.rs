//! The breaker: when the function is away, everything waits and one call at a time asks whether it is back.

use crate::answer::Failure;
use crate::time::{Millis, Moment};
use crate::work::WorkId;

/// Failed attempts in a row that open the breaker.
const FAILURES_TO_OPEN: u32 = 5;

/// Watches failures in a row, over all lanes of a task.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    in_a_row: u32,
    first_failed: Option<WorkId>,
    /// The failures in a row came from at least two batches.
    several: bool,
    open: Option<Open>,
}

#[derive(Debug)]
pub(crate) struct Open {
    since: Moment,
    probe_at: Moment,
    probing: bool,
    failed_probes: u32,
    pub(crate) failure: Failure,
}

impl Breaker {
    /// Counts a failed attempt, and says whether the breaker should open on it.
    pub(crate) fn count_failure(&mut self, work: WorkId) -> bool {
        self.in_a_row += 1;
        match self.first_failed {
            None => self.first_failed = Some(work),
            Some(first) => self.several |= first != work,
        }
        self.open.is_none() && self.several && self.in_a_row >= FAILURES_TO_OPEN
    }

    /// Opens the breaker; the first probe may go at `probe_at`. Does nothing where it is open already.
    pub(crate) fn open(&mut self, now: Moment, probe_at: Moment, failure: Failure) -> bool {
        if self.open.is_some() {
            return false;
        }
        self.open = Some(Open {
            since: now,
            probe_at,
            probing: false,
            failed_probes: 0,
            failure,
        });
        true
    }

    /// A call succeeded: closes, and says for how long it was open.
    pub(crate) fn succeed(&mut self, now: Moment) -> Option<Millis> {
        let was_open = self.open.take();
        *self = Breaker::default();
        was_open.map(|open| now - open.since)
    }

    /// Whether a call may go now; while open, only as a probe.
    pub(crate) fn admits(&self, now: Moment) -> bool {
        self.open
            .as_ref()
            .is_none_or(|open| !open.probing && now >= open.probe_at)
    }

    pub(crate) fn state(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// When the next probe may go, if that is what calls wait for.
    pub(crate) fn next_probe(&self) -> Option<Moment> {
        self.open
            .as_ref()
            .filter(|open| !open.probing)
            .map(|open| open.probe_at)
    }

    pub(crate) fn probe_started(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// A probe was cut off, and says nothing: the next may go at once.
    pub(crate) fn probe_abandoned(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// How many probes have failed, this one included.
    pub(crate) fn probe_failures(&self) -> u32 {
        self.open.as_ref().map_or(0, |open| open.failed_probes + 1)
    }

    /// A probe came to nothing: the next may go at `probe_at`.
    pub(crate) fn probe_failed(&mut self, probe_at: Moment, failure: Option<Failure>) {
        if let Some(open) = &mut self.open {
            open.probing = false;
            open.failed_probes += 1;
            open.probe_at = probe_at;
            if let Some(failure) = failure {
                open.failure = failure;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_batch_alone_never_opens_it() {
        let mut breaker = Breaker::default();
        assert!((0..100).all(|_| !breaker.count_failure(WorkId(1))));
        assert!(breaker.count_failure(WorkId(2)));
    }

    #[test]
    fn while_open_one_probe_goes_at_a_time_and_one_success_closes_it() {
        let mut breaker = Breaker::default();
        assert!(breaker.open(Moment(0), Moment(10), Failure::of("away")));
        assert!(!breaker.admits(Moment(9)));
        assert!(breaker.admits(Moment(10)));
        breaker.probe_started();
        assert!(!breaker.admits(Moment(10)));
        breaker.probe_failed(Moment(30), None);
        assert!(!breaker.admits(Moment(29)));
        assert_eq!(breaker.succeed(Moment(30)), Some(Millis(30)));
        assert!(breaker.admits(Moment(30)));
    }
}
