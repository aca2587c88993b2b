//! Order: in each place, the results of a lane stand in the lane's order, by their first occurrences.

use std::collections::{HashMap, HashSet};

use super::Problems;
use crate::history::{Course, Id, Lanes, Output, Stream};

/// A lane in one place of a stream.
type Lane = (i32, i32, u64);

pub(super) fn check(course: &Course, problems: &mut Problems<'_>) {
    if course.lanes == Lanes::Records {
        return;
    }
    // A record that was given up passes others, if a worker that was cut off delivers its results after all.
    let given_up: HashSet<Id> = course.letters.iter().map(|letter| letter.of).collect();
    for stream in &course.streams {
        let mut last: HashMap<Lane, (Id, u8)> = HashMap::new();
        for output in firsts(stream).filter(|output| !given_up.contains(&output.of)) {
            let Some(lane) = lane(course, output) else { continue };
            let here = (output.of, output.index);
            let before = *last.entry(lane).or_insert(here);
            if before > here {
                let text = format!(
                    "out of order: result {} stands behind result {} of {} in its {}, partition {}",
                    output.index, before.1, before.0, stream.name, output.place
                );
                problems.note("order", output.of, text);
            } else {
                last.insert(lane, here);
            }
        }
    }
}

fn firsts(stream: &Stream) -> impl Iterator<Item = &Output> {
    let mut seen = HashSet::new();
    stream
        .outputs
        .iter()
        .filter(move |output| seen.insert((output.of, output.index)))
}

fn lane(course: &Course, output: &Output) -> Option<Lane> {
    let key = match course.lanes {
        Lanes::Partitions => 0,
        Lanes::Keys => course.input.get(&output.of)?.lane,
        Lanes::Records => return None,
    };
    Some((output.place, output.of.partition, key))
}
