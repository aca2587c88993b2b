//! Time as an argument. The core never asks what time it is.

use std::fmt;
use std::ops::{Add, Sub};

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Millis = Millis(0);

    /// Whole seconds.
    pub const fn secs(secs: u64) -> Millis {
        Millis(secs * 1000)
    }
}

impl From<std::time::Duration> for Millis {
    fn from(d: std::time::Duration) -> Millis {
        Millis(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Millis> for std::time::Duration {
    fn from(m: Millis) -> Self {
        std::time::Duration::from_millis(m.0)
    }
}

/// A point on a clock that never goes back: milliseconds since an origin that only its owner knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Add<Millis> for Moment {
    type Output = Moment;
    fn add(self, rhs: Millis) -> Moment {
        Moment(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Moment {
    type Output = Millis;
    fn sub(self, rhs: Moment) -> Millis {
        Millis(self.0.saturating_sub(rhs.0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 1000 => write!(f, "{ms} ms"),
            ms => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
        }
    }
}

/// Now, on both clocks: the one that intervals are measured on, and the one that records are stamped with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For waits and deadlines.
    pub at: Moment,
    /// Milliseconds since the Unix epoch, for ages of records and times of failures.
    pub unix_ms: i64,
}

/// The dice, as an argument: a uniform number in `0.0..1.0` a roll.
pub trait Dice {
    /// Rolls once.
    fn roll(&mut self) -> f64;
}

impl<F: FnMut() -> f64> Dice for F {
    fn roll(&mut self) -> f64 {
        self()
    }
}
