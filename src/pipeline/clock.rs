//! The one clock and the one pair of dice.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::delivery::time::{Dice, Millis, Moment, Now};

/// Tells the time to a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(super) fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            at: self.moment(),
            unix_ms: unix.as_millis() as i64,
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment(self.origin.elapsed().as_millis() as u64)
    }

    /// The instant of a moment, for a timer: never before it, so that a timer that fires finds its moment come.
    pub(super) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        (self.origin + std::time::Duration::from(Millis(moment.0))).into()
    }
}

/// Fair enough for jitter.
#[derive(Debug, Default)]
pub(super) struct Jitter(fastrand::Rng);

impl Dice for Jitter {
    fn roll(&mut self) -> f64 {
        self.0.f64()
    }
}
