//! How fast: a bound on something a second, and the bucket that holds to it, exact in whole numbers.

use crate::time::{Millis, Moment};

/// One of what is bounded, in the bucket's unit: a millionth.
const ONE: i64 = 1_000_000;

/// So many a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// A thousandth a second is a millionth a millisecond.
    thousandths: i64,
}

impl Rate {
    /// The highest rate, in thousandths a second.
    pub const MAX_THOUSANDTHS: u64 = 1 << 50;

    /// A rate in thousandths a second: 500 is one in two seconds. `None` for 0, and beyond [`Rate::MAX_THOUSANDTHS`].
    pub fn from_thousandths(thousandths: u64) -> Option<Rate> {
        let within = (1..=Rate::MAX_THOUSANDTHS).contains(&thousandths);
        within.then_some(Rate {
            thousandths: thousandths as i64,
        })
    }

    /// So many a second.
    pub fn per_second(self) -> f64 {
        self.thousandths as f64 / 1000.0
    }
}

/// A token bucket that holds what comes in a second, and one at least. What is taken has to start with one token, and may
/// be more than there are: the rest is owed, so that in the long run the rate holds whatever is taken at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    level: i64,
    at: Moment,
}

impl Bucket {
    /// A bucket that is full.
    pub(crate) fn new(rate: Rate) -> Bucket {
        let mut bucket = Bucket {
            rate,
            level: 0,
            at: Moment::default(),
        };
        bucket.level = bucket.burst();
        bucket
    }

    fn burst(&self) -> i64 {
        (self.rate.thousandths * 1000).max(ONE)
    }

    /// Moments are whole milliseconds: what comes in the one in which a token is whole is kept beside it.
    fn most(&self) -> i64 {
        self.burst().max(ONE + self.rate.thousandths - 1)
    }

    /// Puts in what has come since the last time.
    pub(crate) fn fill(&mut self, now: Moment) {
        let Millis(passed) = now - self.at;
        let come = i128::from(self.rate.thousandths) * i128::from(passed);
        let level = (i128::from(self.level) + come).min(i128::from(self.most()));
        (self.level, self.at) = (level as i64, self.at.max(now));
    }

    /// Whole tokens that are there.
    pub(crate) fn tokens(&self) -> u64 {
        (self.level / ONE).max(0) as u64
    }

    /// When there is a token, if nothing is taken before.
    pub(crate) fn token_at(&self) -> Moment {
        let missing = (ONE - self.level).max(0) as u64;
        self.at + Millis(missing.div_ceil(self.rate.thousandths as u64))
    }

    /// Takes tokens, there or not.
    pub(crate) fn take(&mut self, tokens: u64) {
        let taken = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(ONE);
        self.level = self.level.saturating_sub(taken);
    }
}

/// Whole seconds that [`Recent`] looks back.
const SECONDS: u64 = 5;

/// What went by over the last seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent {
    /// By second, in a ring with a place for the one that goes on.
    counts: [u64; SECONDS as usize + 1],
    second: u64,
}

impl Recent {
    pub(crate) fn add(&mut self, count: u64, now: Moment) {
        self.go_to(now);
        self.counts[place(self.second)] += count;
    }

    /// So many a second, over the whole seconds before this one.
    pub(crate) fn per_second(&self, now: Moment) -> f64 {
        let mut then = *self;
        then.go_to(now);
        let before: u64 = (1..=SECONDS)
            .filter_map(|back| then.second.checked_sub(back))
            .map(|second| then.counts[place(second)])
            .sum();
        before as f64 / SECONDS as f64
    }

    fn go_to(&mut self, now: Moment) {
        let second = now.0 / 1000;
        let passed = second.saturating_sub(self.second).min(SECONDS + 1);
        (0..passed).for_each(|back| self.counts[place(second - back)] = 0);
        self.second = self.second.max(second);
    }
}

fn place(second: u64) -> usize {
    (second % (SECONDS + 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(thousandths: u64) -> Rate {
        Rate::from_thousandths(thousandths).expect("a rate")
    }

    #[test]
    fn a_rate_is_above_nothing_and_below_what_can_be_counted() {
        assert_eq!(Rate::from_thousandths(0), None);
        assert_eq!(Rate::from_thousandths(Rate::MAX_THOUSANDTHS + 1), None);
        assert_eq!(rate(500).per_second(), 0.5);
        let mut bucket = Bucket::new(rate(Rate::MAX_THOUSANDTHS));
        bucket.take(u64::MAX);
        bucket.fill(Moment(u64::MAX));
        assert_eq!(bucket.tokens(), Rate::MAX_THOUSANDTHS / 1000);
    }

    proptest! {
        #[test]
        fn over_any_window_no_more_goes_than_its_seconds_and_one_more_allow_and_one_batch(
            thousandths in prop::sample::select(vec![1u64, 333, 999, 1_000, 1_001, 7_777, 100_000, 12_345_678]),
            tries in prop::collection::vec((0u64..3_000, 1u64..500), 1..60),
        ) {
            let mut bucket = Bucket::new(rate(thousandths));
            let mut gone: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (wait, batch) in tries {
                now += wait;
                bucket.fill(Moment(now));
                if bucket.tokens() > 0 {
                    bucket.take(batch);
                    gone.push((now, batch));
                }
            }
            for (first, (from, _)) in gone.iter().enumerate() {
                let mut sum = 0;
                for (to, batch) in &gone[first..] {
                    // In millionths, so that nothing is rounded: the last one only has to find a token.
                    let allowed = thousandths * (to - from) + (thousandths * 1000).max(1_000_000);
                    prop_assert!(sum * 1_000_000 <= allowed, "{sum} before {batch} from {from} to {to}");
                    sum += batch;
                }
            }
        }

        #[test]
        fn whoever_takes_what_there_is_as_soon_as_it_is_there_gets_the_rate_to_the_record(
            thousandths in 1u64..5_000_000, batch in 1u64..2_000,
        ) {
            let mut bucket = Bucket::new(rate(thousandths));
            let mut taken = 0u64;
            let mut now = Moment(0);
            for _ in 0..200 {
                bucket.fill(now);
                if bucket.tokens() == 0 {
                    let at = bucket.token_at();
                    prop_assert!(at > now);
                    bucket.fill(Moment(at.0 - 1));
                    prop_assert_eq!(bucket.tokens(), 0, "there was one before {:?}", at);
                    now = at;
                    bucket.fill(now);
                }
                prop_assert!(bucket.tokens() > 0);
                bucket.take(batch);
                taken += batch;
            }
            let burst = (thousandths * 1000).max(1_000_000);
            let come = u128::from(burst) + u128::from(thousandths) * u128::from(now.0);
            // What was taken is what came, less what is left or owed; and no token ran over on the way.
            let left = i128::from(bucket.level);
            prop_assert!(u128::from(taken) * 1_000_000 <= come + 1_000_000 * u128::from(batch));
            prop_assert_eq!(come as i128 - i128::from(taken) * 1_000_000, left);
        }

        #[test]
        fn the_recent_rate_is_that_of_the_whole_seconds_before(
            counts in prop::collection::vec((0u64..2_500, 0u64..100), 0..40), later in 0u64..8_000,
        ) {
            let mut recent = Recent::default();
            let (mut now, mut all) = (0, Vec::new());
            for (wait, count) in counts {
                now += wait;
                recent.add(count, Moment(now));
                all.push((now / 1000, count));
            }
            let second = (now + later) / 1000;
            let before = all.iter().filter(|(at, _)| *at < second && at + SECONDS >= second);
            let sum: u64 = before.map(|(_, count)| count).sum();
            prop_assert_eq!(recent.per_second(Moment(now + later)), sum as f64 / 5.0);
        }
    }
}
