//! One function decides what follows a failure, one draws the wait.

use crate::settings::RetrySettings;
use crate::time::{Dice, Millis};

/// The longest wait that a function can ask for, by `retry-after` or by a verdict's `after_ms`.
pub const MAX_ASKED_WAIT: Millis = Millis::secs(15 * 60);

/// Full jitter: uniform between nothing and the exponential bound, so that callers which failed together do not come
/// back together. See Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub fn backoff(settings: &RetrySettings, failures: u32, dice: &mut dyn Dice) -> Millis {
    Millis((bound(settings, failures).0 as f64 * dice.roll()) as u64)
}

/// Half the bound and up to the other half: for probes, whose waits must grow.
pub fn probe_wait(settings: &RetrySettings, failures: u32, dice: &mut dyn Dice) -> Millis {
    let bound = bound(settings, failures).0 as f64;
    Millis((bound / 2.0 + bound / 2.0 * dice.roll()) as u64)
}

fn bound(settings: &RetrySettings, failures: u32) -> Millis {
    let doublings = failures.saturating_sub(1).min(32);
    Millis(
        settings
            .initial_backoff
            .0
            .saturating_mul(1 << doublings)
            .min(settings.max_backoff.0),
    )
}

/// What is known of records that failed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How many records.
    pub records: usize,
    /// Failed attempts that carried them, this one included.
    pub attempts: u32,
    /// They came out of a halving because the attempts were used up.
    pub split: bool,
    /// Failed calls since the record stands alone, this one included.
    pub lone_failures: u32,
}

impl Failed {
    /// By how many failures the wait has grown. A record that a split left alone is a new suspect: its lane is not held for
    /// as long as the whole batch's failures would ask.
    pub fn waits_for(&self) -> u32 {
        if self.split { self.lone_failures } else { self.attempts }
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another call, after a backoff.
    Again,
    /// Two halves, the first called at once.
    Halve,
    /// The record is given up.
    GiveUp,
}

/// A record that stands alone after a split gets this many calls before it is given up.
const LONE_CALLS: u32 = 2;

/// Decides what follows a failed attempt: one poison record in a batch of n costs at most
/// `max_attempts + 2·⌈log₂ n⌉ + 1` calls.
pub fn after_failure(failed: Failed, max_attempts: u32) -> Next {
    match failed {
        Failed {
            records: 1,
            split: true,
            lone_failures,
            ..
        } if lone_failures >= LONE_CALLS => Next::GiveUp,
        Failed {
            records: 1,
            split: true,
            ..
        } => Next::Again,
        Failed {
            records: 1, attempts, ..
        } if attempts >= max_attempts => Next::GiveUp,
        Failed { records: 1, .. } => Next::Again,
        Failed { split: true, .. } => Next::Halve,
        Failed { attempts, .. } if attempts >= max_attempts => Next::Halve,
        Failed { .. } => Next::Again,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const SETTINGS: RetrySettings = RetrySettings {
        max_attempts: 5,
        initial_backoff: Millis(200),
        max_backoff: Millis(30_000),
        max_age: None,
    };

    /// Calls until a batch of `n` with one poison record is done, everything else succeeding.
    fn calls(n: usize, poison: usize, max_attempts: u32) -> u32 {
        let mut calls = 0;
        let mut stack = vec![(0..n, 0u32, false, 0u32)];
        while let Some((range, attempts, split, lone)) = stack.pop() {
            calls += 1;
            if !range.contains(&poison) {
                continue;
            }
            let (records, attempts) = (range.len(), attempts + 1);
            let lone = if records == 1 { lone + 1 } else { 0 };
            match after_failure(
                Failed {
                    records,
                    attempts,
                    split,
                    lone_failures: lone,
                },
                max_attempts,
            ) {
                Next::Again => stack.push((range, attempts, split, lone)),
                Next::Halve => {
                    let middle = range.start + records.div_ceil(2);
                    stack.push((middle..range.end, attempts, true, 0));
                    stack.push((range.start..middle, attempts, true, 0));
                }
                Next::GiveUp => {}
            }
        }
        calls
    }

    proptest! {
        #[test]
        fn one_poison_record_costs_at_most_its_bound(n in 1usize..2000, at in 0.0..1.0f64, max_attempts in 1u32..8) {
            let poison = (n as f64 * at) as usize;
            let log = n.next_power_of_two().ilog2();
            prop_assert!(calls(n, poison, max_attempts) <= max_attempts + 2 * log + 1);
        }

        #[test]
        fn a_record_left_alone_waits_as_for_a_first_failure(attempts in 5u32..100) {
            let failed = Failed { records: 1, attempts, split: true, lone_failures: 1 };
            prop_assert_eq!(backoff(&SETTINGS, failed.waits_for(), &mut || 1.0), SETTINGS.initial_backoff);
        }

        #[test]
        fn a_wait_is_within_its_bound(failures in 0u32..100, roll in 0.0..1.0f64) {
            let mut dice = || roll;
            prop_assert!(backoff(&SETTINGS, failures, &mut dice) <= SETTINGS.max_backoff);
            let probe = probe_wait(&SETTINGS, failures, &mut dice);
            prop_assert!(probe <= SETTINGS.max_backoff && probe >= Millis(100));
        }
    }
}
