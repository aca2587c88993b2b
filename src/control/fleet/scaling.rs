//! How many workers a pipeline's work asks for.

/// The share of the calls that may be on the wire at which a worker counts as well used.
const WELL_USED: f64 = 0.8;

/// A pipeline's work at one moment, over all workers that run it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Workers that run it.
    pub workers: u64,
    /// Partitions that they hold.
    pub partitions: u64,
    /// Records that no call has carried yet and none carries now.
    pub undispatched: u64,
    /// The age of the oldest of them, in seconds.
    pub oldest_seconds: f64,
    /// Records polled a second.
    pub records_per_second: f64,
    /// Of the calls that may be on the wire, the share that is, from 0 to 1.
    pub busy: f64,
    /// It waits for its function, a sink or an operator, which more workers would not help.
    pub blocked: bool,
}

/// The workers that would have what waits dispatched within so many seconds, with calls to spare: at least one, at most one a partition,
/// and at most twice as many as there are, so that what they change is seen before more is asked for.
pub fn wanted_workers(demand: &Demand, within_seconds: f64) -> u64 {
    let now = demand.workers.max(1);
    if demand.blocked || demand.workers == 0 {
        return now;
    }
    let workers = now as f64;
    let used = workers * demand.busy / WELL_USED;
    let behind = match demand.oldest_seconds > within_seconds && demand.records_per_second > 0.0 {
        true => workers * demand.undispatched as f64 / (demand.records_per_second * within_seconds),
        false => 0.0,
    };
    let wanted = used.max(behind).min(2.0 * workers).ceil() as u64;
    wanted.clamp(1, demand.partitions.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WITHIN: f64 = 30.0;

    fn demand() -> Demand {
        Demand {
            workers: 2,
            partitions: 12,
            undispatched: 0,
            oldest_seconds: 0.0,
            records_per_second: 100.0,
            busy: 0.0,
            blocked: false,
        }
    }

    #[test]
    fn what_is_idle_wants_one() {
        assert_eq!(wanted_workers(&demand(), WITHIN), 1);
        let unplaced = Demand { workers: 0, ..demand() };
        assert_eq!(wanted_workers(&unplaced, WITHIN), 1);
    }

    #[test]
    fn calls_that_are_all_on_the_wire_want_room() {
        let used = |busy| wanted_workers(&Demand { busy, ..demand() }, WITHIN);
        assert_eq!([0.3, 0.8, 0.81, 1.0].map(used), [1, 2, 3, 3]);
    }

    #[test]
    fn a_backlog_that_would_take_too_long_wants_more() {
        let behind = |undispatched| {
            let old = Demand {
                undispatched,
                oldest_seconds: 31.0,
                ..demand()
            };
            wanted_workers(&old, WITHIN)
        };
        // Two workers take 3,000 records in 30 s.
        assert_eq!([100, 3_000, 3_001, 4_500, 1_000_000].map(behind), [1, 2, 3, 3, 4]);
    }

    #[test]
    fn many_records_that_are_young_are_no_backlog() {
        let young = Demand {
            undispatched: 1_000_000,
            oldest_seconds: 29.0,
            ..demand()
        };
        assert_eq!(wanted_workers(&young, WITHIN), 1);
    }

    #[test]
    fn a_function_that_is_down_wants_no_more() {
        let down = Demand {
            undispatched: 1_000_000,
            oldest_seconds: 900.0,
            busy: 1.0,
            blocked: true,
            ..demand()
        };
        assert_eq!(wanted_workers(&down, WITHIN), 2);
    }

    proptest! {
        #[test]
        fn never_none_and_never_more_than_a_partition_each_or_twice_what_there_is(
            (workers, partitions, undispatched) in (0u64..50, 0u64..100, 0u64..1 << 40),
            (oldest_seconds, records_per_second, busy) in (0.0..1e9, 0.0..1e6, 0.0..=1.0),
        ) {
            let demand = Demand { workers, partitions, undispatched, oldest_seconds, records_per_second, busy, blocked: false };
            let wanted = wanted_workers(&demand, WITHIN);
            prop_assert!(wanted >= 1);
            prop_assert!(wanted <= (2 * workers).max(1));
            prop_assert!(wanted <= partitions.max(1) || workers == 0);
        }
    }
}
