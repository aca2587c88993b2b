//! The built binary, end to end, against a real Apache Kafka: `./run tests e2e [FILTER]`.
//!
//! Tests run side by side on shared brokers, each with topics and groups of its own, and wait for named conditions,
//! never for time to pass. A broker that can't be had fails the test that needs it.

mod access;
mod audit;
mod contracts;
mod crash;
mod edge;
mod exactly_once;
mod failures;
mod fleet;
mod flights;
mod handover;
mod harness;
mod identity;
mod letters;
mod mistakes;
mod odd_letters;
mod on_call;
mod order;
mod outage;
mod overload;
mod poison;
mod reading;
mod readme;
mod redrive;
mod redrive_rate;
mod results;
mod rights;
mod roles;
mod smoke;

use std::process::ExitCode;

use harness::test::Suite;
use libtest_mimic::Arguments;

/// Tests mostly wait, for Kafka's group protocol above all.
const TESTS_AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TESTS_AT_ONCE));
    let failures = failures::tests();
    let suites = [
        smoke::tests(),
        order::tests(),
        readme::tests(),
        results::tests(),
        reading::tests(),
        edge::tests(),
        poison::tests(),
        outage::tests(),
        overload::tests(),
        audit::tests(),
        contracts::tests(),
        identity::tests(),
        crash::tests(),
        exactly_once::tests(),
        access::tests(),
        fleet::tests(),
        letters::tests(),
        redrive::tests(),
        redrive_rate::tests(),
        odd_letters::tests(),
        on_call::tests(),
        rights::tests(),
        roles::tests(),
        mistakes::tests(),
        flights::tests(),
        handover::tests(),
    ];
    let trials = suites
        .into_iter()
        .chain(failures)
        .flat_map(Suite::into_trials)
        .collect();
    harness::test::keep_panics_for_the_report();
    let conclusion = libtest_mimic::run(&arguments, trials);
    harness::kafka::stop_shared();
    harness::secured::stop_shared();
    exactly_once::stop_tapped();
    conclusion.exit_code()
}
