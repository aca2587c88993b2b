//! Three brokers, three workers, a function and sinks, all behind proxies, and two minutes in which everything goes wrong
//! that can: `./run tests chaos [--minutes N] [--seed N]`. `docs/chaos.md` says how to read what it reports.

mod checker;
mod faults;
mod function;
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../e2e/harness/mod.rs"]
mod harness;
mod history;
mod input;
mod proxy;
mod read;
mod report;
mod run;
mod schedule;
mod stage;
mod witness;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use run::Options;

const MINUTES: f64 = 2.0;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let short = [checker::tests::ALL, schedule::TESTS, proxy::TESTS].concat();
    let mut trials: Vec<Trial> = short
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    trials.push(Trial::test(
        "chaos_loses_nothing_and_each_duplicate_has_its_fault",
        || run::run(options()).map_err(Into::into),
    ));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn options() -> Options {
    let minutes: f64 = given("FNBRIDGE_CHAOS_MINUTES").unwrap_or(MINUTES);
    Options {
        seed: given("FNBRIDGE_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000)),
        length: Duration::from_secs_f64(minutes * 60.0),
        tracks: std::env::var("FNBRIDGE_CHAOS_TRACKS").unwrap_or_default(),
    }
}

fn given<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    let Ok(value) = text.parse() else {
        panic!("{variable} is {text}, expected a number");
    };
    Some(value)
}
