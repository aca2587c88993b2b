//! What fnbridge sends, read by the libraries that its users' functions are made of, and what those answer, read by fnbridge:
//! `./run tests counterparts [FILTER]`. The product's own function code is the client; every other end is a process that runs
//! the library as it was published. `docs/counterparts.md` has the table.

mod calls;
#[allow(dead_code)]
#[path = "../e2e/harness/children.rs"]
mod children;
mod cloudevents;
mod frameworks;
mod lambda;
mod servers;
mod signers;
#[allow(dead_code)]
#[path = "../e2e/harness/wait.rs"]
mod wait;
mod webhooks;

use std::panic;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Tests mostly wait for the first answer of a process that starts.
const TESTS_AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TESTS_AT_ONCE));
    let tests = [
        cloudevents::tests(),
        frameworks::tests(),
        lambda::tests(),
        signers::tests(),
        webhooks::tests(),
    ];
    let trials = (tests.into_iter().flatten())
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    // What failed stands in the report, in one piece.
    panic::set_hook(Box::new(|_| ()));
    let conclusion = libtest_mimic::run(&arguments, trials);
    servers::stop_all();
    conclusion.exit_code()
}

/// A test by its name.
pub type Test = (String, Box<dyn FnOnce() + Send>);

/// Names a test, such as `cloudevents::go::binary`.
pub fn test(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Test {
    (name.into(), Box::new(test))
}
