//! What repeats is said once, then with a count every 30 s at most.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::metrics::state::lock;

const AGAIN: Duration = Duration::from_secs(30);

/// When each kind of event was last said. Kinds are few and fixed.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<BTreeMap<(&'static str, &'static str), Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    unsaid: u64,
}

impl Repeats {
    /// `Some`: say it, and that this many like it were not said.
    pub(super) fn rise(&self, event: &'static str, kind: &'static str, now: Instant) -> Option<u64> {
        let mut all = lock(&self.0);
        match all.get_mut(&(event, kind)) {
            Some(said) if now.duration_since(said.at) < AGAIN => {
                said.unsaid += 1;
                None
            }
            Some(said) => {
                said.at = now;
                Some(std::mem::take(&mut said.unsaid))
            }
            None => {
                all.insert((event, kind), Said { at: now, unsaid: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_said_once_then_with_a_count() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.rise("given_up", "function", start), Some(0));
        assert_eq!(repeats.rise("given_up", "function", start), None);
        assert_eq!(repeats.rise("given_up", "function", start + AGAIN / 2), None);
        assert_eq!(repeats.rise("given_up", "convert", start), Some(0));
        assert_eq!(repeats.rise("given_up", "function", start + AGAIN), Some(2));
        assert_eq!(repeats.rise("given_up", "function", start + AGAIN * 2), Some(0));
    }
}
