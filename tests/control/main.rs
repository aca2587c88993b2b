//! The fleet's store, held to one list of promises on each real server, and the index of dead letters: `./run tests control [FILTER]`.
//!
//! The tests start PostgreSQL and etcd themselves, on free ports, in folders of their own. A server that can't be had fails
//! the tests that need it.

#[allow(dead_code)]
#[path = "../e2e/harness/children.rs"]
mod children;
mod letters;
mod promises;
mod servers;
#[allow(dead_code)]
#[path = "../e2e/harness/wait.rs"]
mod wait;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use servers::Kind;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for kind in Kind::ALL {
        for (name, promise) in promises::ALL {
            if promise.holds_for(kind) {
                let name = format!("{}::{name}", kind.name());
                trials.push(Trial::test(name.clone(), move || {
                    promise.check(kind, &name);
                    Ok(())
                }));
            }
        }
    }
    trials.push(Trial::test(
        "letters::answers_are_the_same_from_postgres_as_from_sqlite",
        || {
            letters::answers_are_the_same_from_postgres_as_from_sqlite();
            Ok(())
        },
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    servers::stop_shared();
    conclusion.exit_code()
}
