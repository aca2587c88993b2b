//! Whether a run's history adds up. It knows the promises, and nothing of how they are kept: no line of it is the product's.
//!
//! What it takes to explain a duplicate stands in [`twice`].

mod calls;
mod letters;
mod lost;
mod order;
pub mod tests;
mod twice;

pub use twice::Repeats;

use super::history::{Course, Fault, History, Id, Ms, Touches, Who};

/// How long a fault may go on to have effects once it is over: as long as a session, within which whoever was cut off hears
/// of it. How much of it was needed to explain duplicates stands in each report.
pub const AFTERMATH: Ms = 6_000;

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub rule: &'static str,
    pub pipeline: String,
    pub record: Option<Id>,
    pub text: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub problems: Vec<Problem>,
    pub repeats: Vec<Repeats>,
}

/// Checks everything.
pub fn check(history: &History) -> Found {
    let mut found = Found::default();
    for (number, course) in history.courses.iter().enumerate() {
        let mut problems = Problems {
            course,
            found: Vec::new(),
        };
        let faults = Faults {
            all: &history.faults,
            pipeline: number,
        };
        lost::check(course, &mut problems);
        order::check(course, &mut problems);
        letters::check(course, &faults, &mut problems);
        calls::check(course, &faults, &mut problems);
        found.repeats.extend(twice::check(course, &faults, &mut problems));
        found.problems.append(&mut problems.found);
    }
    found
}

/// Collects what one pipeline's course has against it.
struct Problems<'a> {
    course: &'a Course,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn note(&mut self, rule: &'static str, record: Id, text: String) {
        self.add(rule, Some(record), text);
    }

    fn add(&mut self, rule: &'static str, record: Option<Id>, text: String) {
        self.found.push(Problem {
            rule,
            pipeline: self.course.pipeline.clone(),
            record,
            text,
        });
    }
}

/// The run's faults, as one pipeline sees them.
struct Faults<'a> {
    all: &'a [Fault],
    pipeline: usize,
}

impl Faults<'_> {
    /// Those that were there, or still had effects, at some time of these.
    fn during(&self, from: Ms, until: Ms) -> impl Iterator<Item = &Fault> {
        self.all
            .iter()
            .filter(move |fault| fault.from <= until && from <= fault.until + AFTERMATH)
    }

    fn numbered(&self, number: usize) -> &Fault {
        let mut all = self.all.iter();
        all.find(|fault| fault.number == number).expect("a fault of the run")
    }

    /// Whether a fault makes calls of this pipeline fail, or keeps their answers back.
    fn calls(&self, fault: &Fault) -> bool {
        matches!(fault.touches, Touches::Calls { pipeline, .. } if pipeline == self.pipeline)
    }
}

/// Whether a fault can cut a worker off, so that it does not know what it no longer owns.
fn cuts_off(fault: &Fault, worker: Who) -> bool {
    match fault.touches {
        Touches::Killed(who) => who == worker,
        Touches::Frozen(slot) | Touches::Wire(slot) => slot == worker.slot,
        Touches::Brokers | Touches::Calls { .. } | Touches::Posts | Touches::Store => false,
    }
}
