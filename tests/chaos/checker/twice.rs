//! Duplicates, each explained by a fault.
//!
//! Each result says which call made it, and the function noted which worker made the call. So a duplicate's delivery and the
//! one before it are known, each with its worker and its time, and a fault explains it if it came between:
//!
//! - The same call, delivered twice: answers of brokers, or of the HTTP sink, were lost on the way from there.
//! - Two calls: the worker of one was killed after it, or one of the two was frozen or cut off from brokers, or a broker or
//!   the HTTP sink was gone, so that the one was not committed when the other was made.
//!
//! The record must have been in flight at the fault: not committed before it, and called by a worker that the fault touched.
//! A fault repeats no more records than were.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Faults, Problems, cuts_off};
use crate::history::{Call, Course, Fault, Id, Ms, Output, POSTS, Stream, TOPIC, Touches};

/// What one fault repeated of one stream.
#[derive(Clone, Debug)]
pub struct Repeats {
    pub pipeline: String,
    pub stream: &'static str,
    pub fault: usize,
    /// Records that were delivered again.
    pub records: usize,
    /// Records in flight at the fault.
    pub in_flight: usize,
    /// How long after the fault's end the last of them was called for the first time; nothing where it was before.
    pub aftermath: Ms,
}

pub(super) fn check(course: &Course, faults: &Faults<'_>, problems: &mut Problems<'_>) -> Vec<Repeats> {
    if course.exactly_once {
        course.streams.iter().for_each(|stream| none(course, stream, problems));
        return Vec::new();
    }
    let streams = course.streams.iter();
    streams
        .flat_map(|stream| explained(course, stream, faults, problems))
        .collect()
}

/// Exactly once: no result stands twice, and a record that has a dead letter has no result.
fn none(course: &Course, stream: &Stream, problems: &mut Problems<'_>) {
    let letters: HashSet<Id> = course.letters.iter().map(|letter| letter.of).collect();
    let mut first: HashMap<(Id, u8), &Output> = HashMap::new();
    for output in &stream.outputs {
        if let Some(before) = first.insert((output.of, output.index), output) {
            let text = format!(
                "result {} stands twice: of call {} at {} ms, and of call {} at {} ms",
                output.index, before.call, before.at, output.call, output.at
            );
            problems.note("exactly once", output.of, text);
        }
        if letters.contains(&output.of) {
            let text = format!(
                "result {} of call {} stands beside a dead letter",
                output.index, output.call
            );
            problems.note("exactly once", output.of, text);
        }
    }
}

/// A result that stands somewhere again, and where it stood before.
struct Again<'a> {
    before: (&'a Output, &'a Call),
    again: (&'a Output, &'a Call),
}

impl Again<'_> {
    fn is_one_call(&self) -> bool {
        self.before.0.call == self.again.0.call
    }

    fn first_call(&self) -> Ms {
        self.before.1.at.min(self.again.1.at)
    }

    fn last_call(&self) -> Ms {
        self.before.1.at.max(self.again.1.at)
    }

    fn last_sign(&self) -> Ms {
        self.before.0.at.max(self.again.0.at)
    }
}

fn explained(course: &Course, stream: &Stream, faults: &Faults<'_>, problems: &mut Problems<'_>) -> Vec<Repeats> {
    let mut last: HashMap<(Id, u8), &Output> = HashMap::new();
    let mut counted: HashSet<(Id, usize, Ms)> = HashSet::new();
    let mut by_fault: BTreeMap<usize, Vec<Again<'_>>> = BTreeMap::new();
    for output in &stream.outputs {
        let before = last.insert((output.of, output.index), output);
        let Some(before) = before else { continue };
        let calls = (course.calls.get(before.call), course.calls.get(output.call));
        let (Some(one), Some(other)) = calls else { continue };
        let again = Again {
            before: (before, one),
            again: (output, other),
        };
        let Some(fault) = cause(course, stream, faults, &again) else {
            problems.note("no unexplained duplicate", output.of, unexplained(stream, &again));
            continue;
        };
        // Two results of a record, delivered again together, are one record.
        let sent = if again.is_one_call() { output.at } else { 0 };
        if counted.insert((output.of, output.call, sent)) {
            by_fault.entry(fault.number).or_default().push(again);
        }
    }
    let by_fault = by_fault.into_iter();
    by_fault
        .map(|(number, again)| bounded(course, stream, faults.numbered(number), &again, problems))
        .collect()
}

fn unexplained(stream: &Stream, Again { before, again }: &Again<'_>) -> String {
    let tell = |(output, call): (&Output, &Call)| {
        format!(
            "of call {} by worker {} at {} ms, stored at {} ms",
            output.call, call.worker, call.at, output.at
        )
    };
    format!(
        "result {} stands twice in its {}: {}, and {}; no fault explains it",
        before.0.index,
        stream.name,
        tell(*before),
        tell(*again)
    )
}

/// The fault that explains a duplicate: of those that can, one that was not over when the record was called, and that says
/// most exactly whom it touched.
fn cause<'a>(course: &Course, stream: &Stream, faults: &'a Faults<'_>, again: &Again<'_>) -> Option<&'a Fault> {
    let of = again.before.0.of;
    let was_in_flight = |fault: &&Fault| {
        committed_before(course, fault)
            .get(&of.partition)
            .is_none_or(|from| *from <= of.offset)
    };
    faults
        .during(again.first_call(), again.last_sign())
        .filter(|fault| explains(course, stream, fault, again))
        .filter(was_in_flight)
        .min_by_key(|fault| (aftermath(fault, again), vagueness(fault), -fault.from))
}

fn explains(course: &Course, stream: &Stream, fault: &Fault, again: &Again<'_>) -> bool {
    let (one, other) = (again.before.1, again.again.1);
    let ended = |call: &&Call| cuts_off(fault, call.worker) && call.at <= fault.from;
    match fault.touches {
        Touches::Calls { .. } | Touches::Store => false,
        Touches::Posts if again.is_one_call() => stream.name == POSTS,
        Touches::Posts => course.streams.iter().any(|stream| stream.name == POSTS),
        Touches::Killed(_) => !again.is_one_call() && [one, other].iter().any(ended),
        Touches::Brokers => stream.name == TOPIC || !again.is_one_call(),
        Touches::Frozen(_) | Touches::Wire(_) if again.is_one_call() => {
            stream.name == TOPIC && cuts_off(fault, one.worker)
        }
        Touches::Frozen(_) | Touches::Wire(_) => cuts_off(fault, one.worker) || cuts_off(fault, other.worker),
    }
}

fn aftermath(fault: &Fault, again: &Again<'_>) -> Ms {
    (again.first_call() - fault.until).max(0)
}

fn vagueness(fault: &Fault) -> usize {
    match fault.touches {
        Touches::Killed(_) => 0,
        Touches::Frozen(_) => 1,
        Touches::Wire(_) => 2,
        Touches::Brokers => 3,
        Touches::Posts => 4,
        Touches::Calls { .. } | Touches::Store => 5,
    }
}

fn bounded(
    course: &Course,
    stream: &Stream,
    fault: &Fault,
    again: &[Again<'_>],
    problems: &mut Problems<'_>,
) -> Repeats {
    let last = again.iter().map(Again::last_call).max().unwrap_or_default();
    let repeats = Repeats {
        pipeline: course.pipeline.clone(),
        stream: stream.name,
        fault: fault.number,
        records: again.len(),
        in_flight: in_flight(course, fault, last),
        aftermath: again
            .iter()
            .map(|again| aftermath(fault, again))
            .max()
            .unwrap_or_default(),
    };
    if repeats.records > repeats.in_flight {
        let text = format!(
            "fault {} ({}) has {} records delivered again in the {}, and {} were in flight",
            fault.number, fault.what, repeats.records, stream.name, repeats.in_flight
        );
        problems.add("no more duplicates than were in flight", None, text);
    }
    repeats
}

/// How many records were not committed before a fault, and were called by a worker that it touched: before a kill, or until
/// the effects of any other fault were over.
fn in_flight(course: &Course, fault: &Fault, last: Ms) -> usize {
    let committed = committed_before(course, fault);
    let over = match fault.touches {
        Touches::Killed(_) => fault.from,
        _ => fault.until.max(last),
    };
    let touched = |call: &&Call| match fault.touches {
        Touches::Killed(_) | Touches::Frozen(_) | Touches::Wire(_) => cuts_off(fault, call.worker),
        Touches::Brokers | Touches::Posts | Touches::Calls { .. } | Touches::Store => true,
    };
    let calls = course.calls.iter().take_while(|call| call.at <= over).filter(touched);
    let mut records = BTreeSet::new();
    for call in calls {
        let from = committed.get(&call.partition).copied().unwrap_or_default();
        let offsets = call.offsets.iter().filter(|offset| **offset >= from);
        records.extend(offsets.map(|offset| (call.partition, *offset)));
    }
    records.len()
}

fn committed_before<'a>(course: &'a Course, fault: &Fault) -> &'a BTreeMap<i32, i64> {
    static NOTHING: BTreeMap<i32, i64> = BTreeMap::new();
    let after = course.samples.partition_point(|sample| sample.until <= fault.from);
    let before = course.samples[..after].iter().rev();
    let mut complete = before.filter(|sample| !sample.committed.is_empty());
    complete.next().map_or(&NOTHING, |sample| &sample.committed)
}
