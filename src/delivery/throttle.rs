//! Limits on how fast records go to the function for the first time, and how fast they went.

use std::sync::Arc;

use crate::event::Used;
use crate::rate::{Bucket, Rate, Recent};
use crate::record::Record;
use crate::settings::RateLimits;
use crate::time::Moment;

/// Lets records go while both buckets have a token.
#[derive(Debug)]
pub(crate) struct Throttle {
    records: Measured,
    bytes: Measured,
    /// Records that could go wait until then.
    pub(crate) until: Option<Moment>,
}

#[derive(Debug)]
struct Measured {
    limit: Option<Rate>,
    bucket: Option<Bucket>,
    recent: Recent,
}

impl Throttle {
    pub(crate) fn new(limits: RateLimits) -> Throttle {
        Throttle {
            records: Measured::new(limits.records_per_second),
            bytes: Measured::new(limits.bytes_per_second),
            until: None,
        }
    }

    /// Whether records may go now; where not, they wait from now on.
    pub(crate) fn admits(&mut self, now: Moment) -> bool {
        let waits = [self.records.waits_until(now), self.bytes.waits_until(now)];
        self.until = waits.into_iter().flatten().max();
        self.until.is_none()
    }

    /// Records that may go without owing anything, and their bytes.
    pub(crate) fn tokens(&self) -> (Option<u64>, Option<u64>) {
        let tokens = |measured: &Measured| measured.bucket.map(|bucket| bucket.tokens());
        (tokens(&self.records), tokens(&self.bytes))
    }

    /// Whether there are limits.
    pub(crate) fn limits(&self) -> bool {
        self.records.bucket.is_some() || self.bytes.bucket.is_some()
    }

    /// Records went.
    pub(crate) fn charge(&mut self, records: &[Arc<Record>], now: Moment) {
        let bytes: usize = records.iter().map(|record| record.payload_bytes()).sum();
        self.records.charge(records.len() as u64, now);
        self.bytes.charge(bytes as u64, now);
    }

    /// Records a second, and bytes a second, of what they may be.
    pub(crate) fn used(&self, now: Moment) -> (Used, Used) {
        (self.records.used(now), self.bytes.used(now))
    }
}

impl Measured {
    fn new(limit: Option<Rate>) -> Measured {
        Measured {
            limit,
            bucket: limit.map(Bucket::new),
            recent: Recent::default(),
        }
    }

    fn waits_until(&mut self, now: Moment) -> Option<Moment> {
        let bucket = self.bucket.as_mut()?;
        bucket.fill(now);
        (bucket.tokens() == 0).then(|| bucket.token_at())
    }

    fn charge(&mut self, count: u64, now: Moment) {
        self.recent.add(count, now);
        if let Some(bucket) = &mut self.bucket {
            bucket.take(count);
        }
    }

    fn used(&self, now: Moment) -> Used {
        Used {
            used: self.recent.per_second(now),
            limit: self.limit.map(Rate::per_second),
            now: None,
        }
    }
}
