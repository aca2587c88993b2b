//! Nothing is lost, and nothing is made up: each record has its results, or its dead letter, or was dropped by the function,
//! and each result is one that the function gave.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Problems;
use crate::history::{Answer, Course, Given, Id, Kind, Stream};

pub(super) fn check(course: &Course, problems: &mut Problems<'_>) {
    let letters: HashSet<Id> = course.letters.iter().map(|letter| letter.of).collect();
    let dropped = dropped(course);
    for stream in &course.streams {
        made_up(course, stream, problems);
        let there = there(stream);
        for (id, input) in &course.input {
            let has = there.get(id).copied().unwrap_or_default();
            let whole = (1 << input.kind.results()) - 1;
            let settled = match input.kind {
                Kind::Nothing => dropped.contains(id),
                _ => whole != 0 && has == whole,
            };
            if !settled && !letters.contains(id) {
                let text = format!(
                    "lost: a record of kind {} has results {has:#b} in its {}, no dead letter, and was not dropped",
                    input.kind.name(),
                    stream.name
                );
                problems.note("nothing is lost", *id, text);
            }
        }
    }
}

/// By record, a bit for each of its results.
fn there(stream: &Stream) -> HashMap<Id, u32> {
    let mut there = HashMap::new();
    for output in &stream.outputs {
        *there.entry(output.of).or_default() |= 1 << output.index;
    }
    there
}

fn dropped(course: &Course) -> HashSet<Id> {
    let mut dropped = HashSet::new();
    for call in &course.calls {
        let Answer::Verdicts(given) = &call.answer else {
            continue;
        };
        for (offset, given) in call.offsets.iter().zip(given) {
            if *given == Given::Dropped {
                dropped.insert(Id {
                    partition: call.partition,
                    offset: *offset,
                });
            }
        }
    }
    dropped
}

fn made_up(course: &Course, stream: &Stream, problems: &mut Problems<'_>) {
    let mut strange: BTreeMap<Id, String> = BTreeMap::new();
    for output in &stream.outputs {
        let result = format!("result {} of call {} in its {}", output.index, output.call, stream.name);
        if !output.sound {
            strange.insert(output.of, format!("{result} is not what the call gave for it"));
        } else if !gave(course, output.call, output.of, output.index) {
            strange.insert(output.of, format!("{result} was never given"));
        } else if !course.input.contains_key(&output.of) {
            strange.insert(
                output.of,
                format!("{result} is of a record that the source does not have"),
            );
        }
    }
    for (id, text) in strange {
        problems.note("nothing is made up", id, text);
    }
}

fn gave(course: &Course, call: usize, of: Id, index: u8) -> bool {
    let Some(call) = course.calls.get(call).filter(|call| call.partition == of.partition) else {
        return false;
    };
    let Answer::Verdicts(given) = &call.answer else {
        return false;
    };
    let mut both = call.offsets.iter().zip(given);
    both.any(|(offset, given)| *offset == of.offset && matches!(given, Given::Results(count) if index < *count))
}
