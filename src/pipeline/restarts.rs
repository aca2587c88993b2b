//! When a pipeline that could not go on by itself starts anew.

use std::time::Duration;

/// After the first end.
const SHORTEST: Duration = Duration::from_secs(1);
/// Twice as long each time, and at most so long.
const LONGEST: Duration = Duration::from_secs(60);
/// One that went on for so long begins with the shortest wait again.
const STEADY: Duration = Duration::from_secs(120);

/// The ends in a row.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    in_a_row: u32,
}

impl Restarts {
    /// It has ended after it went on for `lasted`: how long it waits before it starts anew.
    pub(super) fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= STEADY {
            self.in_a_row = 0;
        }
        let wait = SHORTEST.saturating_mul(1 << self.in_a_row.min(16)).min(LONGEST);
        self.in_a_row += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_again_after_a_steady_run() {
        let mut restarts = Restarts::default();
        let waits: Vec<u64> = (0..9)
            .map(|_| restarts.after(Duration::from_secs(5)).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(restarts.after(STEADY), SHORTEST);
        assert_eq!(restarts.after(Duration::ZERO), 2 * SHORTEST);
    }
}
