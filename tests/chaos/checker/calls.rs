//! Commits only go forward, and what is committed is not called again, but by a worker that was cut off and does not know.

use std::collections::BTreeMap;

use super::{AFTERMATH, Faults, Problems, cuts_off};
use crate::history::{Call, Course, Id, Sample};

pub(super) fn check(course: &Course, faults: &Faults<'_>, problems: &mut Problems<'_>) {
    forward(course, problems);
    let mut samples = course.samples.iter().peekable();
    let mut committed: BTreeMap<i32, i64> = BTreeMap::new();
    for (number, call) in course.calls.iter().enumerate() {
        while let Some(sample) = samples.next_if(|sample| sample.until < call.at) {
            committed.extend(&sample.committed);
        }
        let settled = committed.get(&call.partition).copied().unwrap_or_default();
        let first = call.offsets.iter().copied().min().unwrap_or(i64::MAX);
        if first < settled && !excused(call, faults) {
            let id = Id {
                partition: call.partition,
                offset: first,
            };
            let text = format!(
                "called by worker {} at {} ms (call {number}), when {settled} was committed and nothing had cut it off",
                call.worker, call.at
            );
            problems.note("what is committed is not called again", id, text);
        }
    }
}

fn forward(course: &Course, problems: &mut Problems<'_>) {
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    for Sample { from, until, committed } in &course.samples {
        for (partition, offset) in committed {
            let before = last.insert(*partition, *offset).unwrap_or_default();
            if before > *offset {
                let id = Id {
                    partition: *partition,
                    offset: *offset,
                };
                let text = format!(
                    "the committed offset went back from {before}, as was answered at {until} ms to a question of {from} ms"
                );
                problems.note("commits go forward", id, text);
            }
        }
    }
}

/// A worker that was cut off calls on until it knows; a request that was held up on its way arrives when it may.
fn excused(call: &Call, faults: &Faults<'_>) -> bool {
    let mut around = faults.during(call.at - AFTERMATH, call.at);
    around.any(|fault| cuts_off(fault, call.worker) || faults.calls(fault))
}
