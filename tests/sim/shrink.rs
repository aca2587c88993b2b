//! A world in which a promise breaks, made smaller for as long as the same promise breaks.

use fnbridge_delivery::settings::{OnExhausted, Ordering, RateLimits};
use fnbridge_delivery::time::Millis;

use crate::history::History;
use crate::live::live;
use crate::plan::Plan;
use crate::promises::Broken;

/// Worlds that are tried, at most.
const TRIES: usize = 3_000;
/// Rolls of the dice that a smaller plan gets to break the same promise.
const ROLLS: u64 = 12;

/// The smallest world that was found, and what broke in it. The same world always shrinks to the same.
pub fn shrink(plan: Plan, broken: Broken) -> (Plan, Broken) {
    let mut smallest = (plan, broken);
    let mut tries = 0;
    loop {
        let mut smaller = None;
        for candidate in candidates(&smallest.0) {
            smaller = breaks(&candidate, &smallest.1.promise, &mut tries);
            if smaller.is_some() || tries >= TRIES {
                break;
            }
        }
        match smaller {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

/// Whether the same promise breaks by one of some rolls of the dice.
fn breaks(plan: &Plan, promise: &str, tries: &mut usize) -> Option<(Plan, Broken)> {
    for roll in 0..ROLLS {
        *tries += 1;
        let seed = plan.seed.wrapping_add(roll << 40);
        let plan = Plan { seed, ..plan.clone() };
        if let Err(broken) = live(plan.clone(), &History::default())
            && broken.promise == promise
        {
            return Some((plan, broken));
        }
    }
    None
}

/// Plans that are a little smaller, the boldest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if format!("{smaller:?}") != format!("{plan:?}") {
            all.push(smaller);
        }
    };
    offer(&|p| p.steps = p.steps / 2 + 1);
    offer(&|p| p.faults.each().into_iter().for_each(|(_, share)| *share = 0.0));
    offer(&|p| p.records.each().into_iter().for_each(|(_, share)| *share = 0.0));
    for nth in 0..plan.clone().faults.each().len() {
        offer(&|p| *p.faults.each()[nth].1 = 0.0);
    }
    for nth in 0..plan.clone().records.each().len() {
        offer(&|p| *p.records.each()[nth].1 = 0.0);
    }
    offer(&|p| p.settings.truncate(1));
    offer(&|p| p.workers = (p.workers - 1).max(1));
    offer(&|p| p.partitions = (p.partitions - 1).max(1));
    offer(&|p| p.fetch = (p.fetch / 2).max(1));
    offer(&|p| p.behind = (p.behind / 2).max(3));
    offer(&|p| p.keys = p.keys.min(2));
    offer(&|p| p.value_bytes = 10);
    let mut offer_each = |change: fn(&mut fnbridge_delivery::settings::TaskSettings)| {
        offer(&|p| p.settings.iter_mut().for_each(change));
    };
    offer_each(|s| s.sinks = s.sinks.min(1));
    offer_each(|s| s.limits = RateLimits::default());
    offer_each(|s| s.batch.linger = Millis(0));
    offer_each(|s| s.batch.max_records = s.batch.max_records.min(2));
    offer_each(|s| s.batch.max_bytes = 1 << 20);
    offer_each(|s| s.in_flight_bytes = 32 << 20);
    offer_each(|s| s.max_in_flight = s.max_in_flight.min(2));
    offer_each(|s| s.retry.max_age = None);
    offer_each(|s| s.on_exhausted = OnExhausted::DeadLetter);
    offer_each(|s| s.ordering = Ordering::Partition);
    offer(&|p| p.steps = p.steps.saturating_sub(p.steps / 10 + 1).max(1));
    all
}
