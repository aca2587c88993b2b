//! Which checkpoints are kept: each for a day, then one an hour for ninety days.

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const KEPT_DAYS: i64 = 90;

/// Of checkpoints' times, ascending and in milliseconds, those that are kept no longer. The first of an hour stays.
pub fn superfluous(times: &[i64], now_ms: i64) -> Vec<i64> {
    let mut hour = None;
    let mut gone = Vec::new();
    for time in times {
        let age = now_ms - time;
        let own = time.div_euclid(HOUR_MS);
        let is_first_of_hour = hour.replace(own) != Some(own);
        if age > KEPT_DAYS * DAY_MS || (age > DAY_MS && !is_first_of_hour) {
            gone.push(*time);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_day_is_kept_whole_and_an_hour_by_its_first(mut times in prop::collection::vec(0..100 * DAY_MS, 0..200)) {
            times.sort_unstable();
            times.dedup();
            let now = 100 * DAY_MS;
            let gone = superfluous(&times, now);
            for time in &times {
                let first = times.iter().find(|other| *other / HOUR_MS == time / HOUR_MS) == Some(time);
                let kept = now - time <= DAY_MS || (now - time <= KEPT_DAYS * DAY_MS && first);
                prop_assert_eq!(!gone.contains(time), kept, "{}", time);
            }
        }
    }
}
