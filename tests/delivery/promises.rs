//! Each promise by its name, in worlds that put it to the test.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fnbridge_delivery::rate::Rate;
use fnbridge_delivery::settings::{Delivery, OnExhausted, Ordering, TaskSettings};
use fnbridge_delivery::time::Millis;

use fnbridge_sim::history::History;
use fnbridge_sim::plan::{Faults, Plan, Shares};
use fnbridge_sim::promises::check;
use fnbridge_sim::world::log::Entry;
use fnbridge_sim::world::{Befell, World};

/// Steps of one world before everything is healed.
const STEPS: u64 = 1_500;

/// Worlds for each promise.
const WORLDS: u64 = 40;

/// Lines of a history that are told where a promise broke.
const LINES: usize = 60;

fn live_through(plan: Plan, history: &History) -> World {
    let mut world = World::new(plan, history.clone());
    world.run();
    world.settle();
    if let Err(broken) = check(&world, history) {
        panic!("{}: {}", broken.promise, broken.said);
    }
    world
}

/// Runs a world; where a promise breaks, tells how it came to that.
fn try_world(plan: Plan) -> World {
    let history = History::default();
    let lived = catch_unwind(AssertUnwindSafe(|| live_through(plan.clone(), &history)));
    lived.unwrap_or_else(|broken| {
        eprintln!("The last that happened in {plan:?}:");
        history.lines(LINES).iter().for_each(|line| eprintln!("  {line}"));
        resume_unwind(broken)
    })
}

/// Worlds in which what a promise speaks of happens often. Says how often all of it happened.
fn worlds(promise: u64, shape: impl Fn(&mut Plan)) -> Vec<World> {
    let plans = (0..WORLDS).map(|nth| {
        let mut plan = Plan::random(1_000_000 * promise + nth);
        (plan.steps, plan.behind, plan.fetch) = (STEPS, 3_000, [1, 5, 50, 200][nth as usize % 4]);
        shape(&mut plan);
        plan
    });
    plans.map(try_world).collect()
}

fn entries(worlds: &[World]) -> impl Iterator<Item = &Entry> {
    worlds.iter().flat_map(World::entries)
}

fn befell(worlds: &[World], count: impl Fn(&Befell) -> u64) -> u64 {
    worlds.iter().map(|world| count(&world.befell)).sum()
}

/// A world in which nothing goes wrong by itself.
fn calm(plan: &mut Plan) {
    plan.faults = Faults::default();
    plan.records = Shares::default();
    plan.settings.truncate(1);
    plan.settings[0].on_exhausted = OnExhausted::DeadLetter;
    plan.settings[0].retry.max_age = None;
    plan.settings[0].has_function = true;
}

#[test]
fn nothing_is_lost() {
    let worlds = worlds(1, |plan| {
        (plan.faults.crash, plan.faults.fence, plan.faults.cut_short) = (0.02, 0.01, 0.2)
    });
    assert!(befell(&worlds, |b| b.crashes) > 500);
}

#[test]
fn order() {
    let worlds = worlds(2, |plan| {
        let ordering = *[Ordering::Partition, Ordering::Key]
            .get(plan.seed as usize % 2)
            .unwrap_or(&Ordering::Key);
        plan.settings.truncate(1);
        plan.settings[0].ordering = ordering;
        (plan.faults.crash, plan.faults.rebalance, plan.faults.flaky) = (0.01, 0.02, 0.2);
        (plan.records.asked_again, plan.keys) = (0.1, 3);
    });
    assert!(befell(&worlds, |b| b.called_again) > 500);
}

#[test]
fn one_poison_record_costs_one_record() {
    let worlds = worlds(3, |plan| {
        calm(plan);
        plan.records.poison = 0.01;
        plan.faults.rebalance = 0.005;
        // Poison records next to each other are for the guard to tell from an outage.
        plan.settings[0].guard.failed = 1_000;
    });
    let mut poisoned = 0;
    for entry in entries(&worlds) {
        poisoned += u64::from(entry.fate.lettered);
        assert!(
            !entry.fate.lettered || entry.was_poison,
            "{} is given up",
            entry.record.id()
        );
    }
    assert!(poisoned > 100);
}

#[test]
fn a_function_that_is_down_is_not_poison() {
    let worlds = worlds(4, |plan| {
        calm(plan);
        (plan.faults.outage, plan.faults.rebalance) = (0.05, 0.002);
        plan.settings[0].guard.failed = 3;
    });
    let mut letters = 0;
    for world in &worlds {
        let most = 3 * (world.assignments + world.befell.outages);
        assert!(
            world.letters_of_failures <= most,
            "{} dead letters",
            world.letters_of_failures
        );
        letters += world.entries().filter(|entry| entry.fate.lettered).count();
        assert!(world.entries().all(|entry| entry.fate.lettered || entry.fate.accepted));
    }
    assert!(letters > 0 && befell(&worlds, |b| b.called_again) > 100);
}

#[test]
fn two_budgets() {
    let worlds = worlds(5, |plan| {
        calm(plan);
        (plan.faults.sink_outage, plan.faults.cut_short) = (0.02, 0.3);
    });
    assert!(befell(&worlds, |b| b.sink_troubles) > 500);
    assert!(entries(&worlds).all(|entry| entry.fate.calls <= 1 && !entry.fate.lettered));
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_not_committed() {
    let worlds = worlds(6, |plan| {
        (plan.faults.letter_outage, plan.records.given_up, plan.records.refused) = (0.05, 0.1, 0.05);
    });
    assert!(befell(&worlds, |b| b.letters_refused) > 500);
}

#[test]
fn attempts_are_counted_across_hand_overs() {
    let worlds = worlds(7, |plan| {
        (plan.faults.flaky, plan.faults.rebalance, plan.faults.crash) = (0.5, 0.02, 0.01);
        plan.settings
            .iter_mut()
            .for_each(|s| (s.retry.max_attempts, s.has_function) = (10, true));
    });
    assert!(befell(&worlds, |b| b.attempts_taken_over) > 100);
}

#[test]
fn finished_work_is_not_redone() {
    let worlds = worlds(8, |plan| {
        plan.settings.iter_mut().for_each(|s| s.ordering = Ordering::None);
        (plan.faults.rebalance, plan.faults.crash) = (0.02, 0.01);
    });
    assert!(befell(&worlds, |b| b.settled_before) > 1_000);
}

#[test]
fn finished_work_survives_a_change_of_ordering() {
    let worlds = worlds(15, |plan| {
        let first = plan.settings[0].clone();
        let with = |ordering| TaskSettings {
            ordering,
            ..first.clone()
        };
        plan.settings = [Ordering::None, Ordering::Key, Ordering::Partition].map(with).to_vec();
        (plan.faults.rebalance, plan.faults.crash, plan.faults.restart) = (0.02, 0.01, 0.01);
    });
    assert!(befell(&worlds, |b| b.settled_before_change) > 1_000);
}

#[test]
fn exactly_once() {
    let worlds = worlds(14, |plan| {
        plan.settings
            .iter_mut()
            .for_each(|s| (s.delivery, s.sinks) = (Delivery::ExactlyOnce, s.sinks.max(1)));
        (plan.faults.crash, plan.faults.crash_between) = (0.01, 0.003);
        (plan.faults.fence, plan.faults.rebalance, plan.faults.corrupt_memo) = (0.01, 0.01, 0.0);
        (plan.faults.ack_lost, plan.faults.commit_refused, plan.faults.slow) = (0.05, 0.2, 0.1);
    });
    assert!(befell(&worlds, |b| b.transactions) > 1_000);
    assert!(befell(&worlds, |b| b.aborted) > 500 && befell(&worlds, |b| b.undecided) > 50);
    assert_eq!(befell(&worlds, |b| b.repeated), 0);
}

#[test]
fn draining_is_bounded() {
    let worlds = worlds(9, |plan| {
        (plan.faults.rebalance, plan.faults.slow) = (0.05, 0.3);
        plan.settings.iter_mut().for_each(|s| s.drain_timeout = Millis(1_000));
    });
    assert!(befell(&worlds, |b| b.drains) > 500 && befell(&worlds, |b| b.cut_off) > 50);
    assert!(worlds.iter().map(|world| world.late_discarded).sum::<u64>() > 100);
}

#[test]
fn everything_is_bounded() {
    let worlds = worlds(10, |plan| {
        plan.settings.iter_mut().for_each(|s| s.in_flight_bytes = 20_000);
        (plan.faults.sink_outage, plan.faults.outage) = (0.02, 0.02);
    });
    assert!(befell(&worlds, |b| b.pauses) > 500);
}

#[test]
fn identity_is_stable() {
    let worlds = worlds(11, |plan| {
        calm(plan);
        (plan.faults.flaky, plan.faults.busy, plan.faults.rebalance) = (0.3, 0.3, 0.02);
        plan.settings[0].batch.max_records = 30;
    });
    assert!(befell(&worlds, |b| b.called_again) > 500 && befell(&worlds, |b| b.drains) > 100);
}

#[test]
fn limits_hold() {
    let worlds = worlds(13, |plan| {
        let rate = |thousandths| Rate::from_thousandths(thousandths);
        let records = [Some(3_300), None, Some(20_000), Some(500_000)][plan.seed as usize % 4];
        let bytes = [None, Some(10_000_000), Some(1_000_000_000)][plan.seed as usize % 3];
        for settings in &mut plan.settings {
            settings.limits.records_per_second = records.and_then(rate);
            settings.limits.bytes_per_second = bytes.and_then(rate);
            settings.has_function = true;
        }
        (plan.faults.rebalance, plan.faults.flaky, plan.value_bytes) = (0.01, 0.1, 1_000);
    });
    assert!(befell(&worlds, |b| b.throttled) > 2_000);
}

#[test]
fn an_operator_can_pass_over_whatever_is_stuck() {
    let worlds = worlds(12, |plan| {
        plan.operator_ends_it = true;
        (plan.records.poison, plan.records.refused) = (0.05, 0.05);
        (plan.records.unconvertible, plan.records.refused_result) = (0.02, 0.05);
        (plan.faults.skip, plan.faults.rebalance, plan.faults.crash) = (0.02, 0.01, 0.005);
        let on_exhausted = [OnExhausted::Block, OnExhausted::DeadLetter][plan.seed as usize % 2];
        for settings in &mut plan.settings {
            (settings.guard.failed, settings.guard.refused) = (1, 5);
            settings.on_exhausted = on_exhausted;
        }
    });
    assert!(befell(&worlds, |b| b.skipped) > 2_000);
    let passed_over_uncalled = entries(&worlds).filter(|entry| entry.fate.skipped && entry.fate.calls == 0);
    assert!(passed_over_uncalled.count() > 500);
}
