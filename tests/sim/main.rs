//! Lives through worlds by their seeds, on all cores, and tells the first in which a promise broke.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use fnbridge_sim::history::History;
use fnbridge_sim::live::live;
use fnbridge_sim::plan::Plan;
use fnbridge_sim::promises::Broken;
use fnbridge_sim::{kept_seeds, shrink::shrink};

/// Schedules in CI.
const SEEDS: u64 = 20_000;
/// Lines of a history that are printed.
const LINES: usize = 400;
const USAGE: &str = "usage: tests/sim/run [--seeds N] [--from S] | --seed S [--whole] | --mutants [NAME…]";

struct Asked {
    seeds: u64,
    from: u64,
    one: Option<u64>,
    /// Print the history of the world as it is, not of the smallest that breaks the same.
    whole: bool,
    /// Print nothing but the promise that broke, its seed, and how many worlds it took.
    brief: bool,
    /// Go on after a promise broke, and tell each in a line.
    survey: bool,
}

fn main() -> ExitCode {
    let Some(asked) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    fnbridge_sim::live::panic_quietly();
    if let Some(seed) = asked.one {
        return tell_one(seed, asked.whole);
    }
    let begun = Instant::now();
    let mut seeds = kept_seeds();
    seeds.extend(asked.from..asked.from + asked.seeds);
    let (first, lived, steps) = live_through(&seeds, asked.survey);
    let took = begun.elapsed().as_secs_f64();
    if asked.brief {
        match &first {
            Some((_, broken)) => println!("caught by {} after {lived} schedules in {took:.1} s", broken.promise),
            None => println!("survived {lived} schedules in {took:.1} s"),
        }
        return ExitCode::from(u8::from(first.is_some()));
    }
    println!(
        "{lived} schedules, {steps} events, {took:.1} s: {:.0} schedules a second",
        lived as f64 / took
    );
    let Some((seed, broken)) = first else {
        println!("every promise held");
        return ExitCode::SUCCESS;
    };
    if asked.survey {
        return ExitCode::FAILURE;
    }
    println!("seed {seed} broke {}: {}\n", broken.promise, broken.said);
    tell_one(seed, asked.whole)
}

fn asked() -> Option<Asked> {
    let mut asked = Asked {
        seeds: SEEDS,
        from: 1,
        one: None,
        whole: false,
        brief: false,
        survey: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => asked.seeds = words.next()?.parse().ok()?,
            "--from" => asked.from = words.next()?.parse().ok()?,
            "--seed" => asked.one = Some(words.next()?.parse().ok()?),
            "--whole" => asked.whole = true,
            "--brief" => asked.brief = true,
            "--survey" => asked.survey = true,
            _ => return None,
        }
    }
    Some(asked)
}

/// The world of the lowest place in the list in which a promise broke, how many worlds were lived through, and how many
/// events there were in them.
fn live_through(seeds: &[u64], survey: bool) -> (Option<(u64, Broken)>, u64, u64) {
    let (next, lived, steps, stop) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    let first: Mutex<Option<(usize, Broken)>> = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(seed) = seeds.get(at) else { return };
            let outcome = live(Plan::random(*seed), &History::default());
            lived.fetch_add(1, Ordering::Relaxed);
            match outcome {
                Ok(world) => drop(steps.fetch_add(world.steps, Ordering::Relaxed)),
                Err(broken) => {
                    stop.store(!survey, Ordering::Relaxed);
                    if survey {
                        let said: String = broken.said.chars().take(200).collect();
                        println!("{seed:>8} {}: {}", broken.promise, said.replace('\n', " "));
                    }
                    let mut first = first.lock().unwrap_or_else(|e| e.into_inner());
                    if first.as_ref().is_none_or(|(other, _)| at < *other) {
                        *first = Some((at, broken));
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    let first = first.into_inner().unwrap_or_else(|e| e.into_inner());
    (
        first.map(|(at, broken)| (seeds[at], broken)),
        lived.into_inner(),
        steps.into_inner(),
    )
}

/// Lives through one world, and tells its history: where a promise breaks, that of the smallest that breaks the same.
fn tell_one(seed: u64, whole: bool) -> ExitCode {
    let history = History::default();
    let mut plan = Plan::random(seed);
    let outcome = live(plan.clone(), &history);
    let mut told = history;
    let mut code = ExitCode::SUCCESS;
    let mut verdict = "every promise held".to_owned();
    if let Err(broken) = outcome {
        code = ExitCode::FAILURE;
        verdict = format!("broken: {}: {}", broken.promise, broken.said);
        if !whole {
            let (smallest, broken) = shrink(plan, broken);
            plan = smallest;
            told = History::default();
            let _ = live(plan.clone(), &told);
            verdict = format!("broken: {}: {}", broken.promise, broken.said);
        }
    }
    println!("{plan:?}\n");
    let lines = if whole { usize::MAX } else { LINES };
    told.lines(lines).iter().for_each(|line| println!("{line}"));
    let whole = if whole { " --whole" } else { "" };
    println!("\n{verdict}\nto see it again: tests/sim/run --seed {seed}{whole}");
    code
}
