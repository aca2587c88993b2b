//! Each promise by its name, in worlds that put it to the test.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::world::World;
use crate::world::history::{History, number};
use crate::world::plan::Plan;

/// Steps of one world before everything is healed.
const STEPS: u64 = 1_500;

/// Seeds that once broke a promise.
const SEEDS: &str = include_str!("seeds.txt");

fn live_through(plan: Plan, history: History) -> u64 {
    let mut world = World::new(plan, history);
    world.run(STEPS);
    world.settle();
    world.steps
}

/// Runs a world; where a promise breaks, runs it again to tell how it came to that.
fn try_world(plan: Plan) -> u64 {
    let seed = plan.seed;
    let lived = catch_unwind(AssertUnwindSafe(|| live_through(plan.clone(), History::default())));
    lived.unwrap_or_else(|broken| {
        let history = History::kept();
        let _ = catch_unwind(AssertUnwindSafe(|| live_through(plan, history.clone())));
        eprintln!("The last that happened with FNBRIDGE_SEED={seed}:");
        history.print();
        resume_unwind(broken)
    })
}

/// What breaks in how many worlds, a line each: for whoever changes the core. `FNBRIDGE_SURVEY` says how many.
#[test]
fn survey() {
    let Some(worlds) = number("FNBRIDGE_SURVEY") else {
        return;
    };
    std::panic::set_hook(Box::new(|_| {}));
    let from = number("FNBRIDGE_FROM").unwrap_or(1);
    let mut steps = 0;
    for seed in from..from + worlds {
        let plan = Plan::random(seed);
        match catch_unwind(AssertUnwindSafe(|| live_through(plan, History::default()))) {
            Ok(lived) => steps += lived,
            Err(broken) => {
                let said = broken.downcast_ref::<String>().cloned().unwrap_or_default();
                let said = broken.downcast_ref::<&str>().map_or(said, |s| s.to_string());
                let line: String = said.chars().take(160).collect();
                eprintln!("{seed:>6} {}", line.replace('\n', " "));
            }
        }
    }
    eprintln!("{steps} steps");
}

/// Everything at once, in random measure. `FNBRIDGE_SEED` runs one world, `FNBRIDGE_STEPS` asks for more of them.
#[test]
fn any_world() {
    if let Some(seed) = number("FNBRIDGE_SEED") {
        try_world(Plan::random(seed));
        return;
    }
    let kept = SEEDS
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok());
    for seed in kept {
        try_world(Plan::random(seed));
    }
    let (mut steps, wanted) = (0, number("FNBRIDGE_STEPS").unwrap_or(1_000_000));
    let mut seed = number("FNBRIDGE_FROM").unwrap_or(1);
    while steps < wanted {
        steps += try_world(Plan::random(seed));
        seed += 1;
    }
    eprintln!("{steps} steps in worlds up to seed {seed}");
}
