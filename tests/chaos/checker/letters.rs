//! Dead letters: byte for byte the record, only of records that have to be, or that the function failed on, and never a
//! topic poured out because the function was down.

use std::collections::HashMap;

use super::{AFTERMATH, Faults, Problems};
use crate::history::{Course, Fault, Id, Kind, Letter, Touches};

/// Records that a task gives up before its guard holds the others.
const GUARD: usize = 3;
const WORKERS: usize = 3;

pub(super) fn check(course: &Course, faults: &Faults<'_>, problems: &mut Problems<'_>) {
    let mut healthy = Vec::new();
    for letter in &course.letters {
        let Some(input) = course.input.get(&letter.of) else {
            problems.note(
                "dead letters",
                letter.of,
                "a dead letter of a record that the source does not have".to_owned(),
            );
            continue;
        };
        if letter.digest != input.digest {
            problems.note(
                "dead letters",
                letter.of,
                "the dead letter has other bytes than the record".to_owned(),
            );
        }
        let stage = if input.kind == Kind::Garbled {
            "convert"
        } else {
            "function"
        };
        if letter.stage != stage {
            let text = format!("the dead letter has stage {}, expected {stage}", letter.stage);
            problems.note("dead letters", letter.of, text);
        }
        if !input.kind.is_dead() {
            healthy.push(letter);
        }
    }
    for letter in &healthy {
        let failed = |fault: &Fault| faults.calls(fault);
        if !faults.during(letter.first_failed, letter.last_failed).any(failed) {
            let text = format!(
                "given up between {} and {} ms, when nothing was wrong with the function",
                letter.first_failed, letter.last_failed
            );
            problems.note("only what fails is given up", letter.of, text);
        }
    }
    poured(&healthy, faults, problems);
    again(course, faults, problems);
}

/// A function that fails on everything costs three records a task, and as many again wherever partitions change hands.
fn poured(healthy: &[&Letter], faults: &Faults<'_>, problems: &mut Problems<'_>) {
    for outage in faults.all.iter().filter(|fault| faults.calls(fault)) {
        let Touches::Calls { fail: true, .. } = outage.touches else {
            continue;
        };
        let within = |letter: &&&Letter| outage.from <= letter.last_failed && letter.last_failed <= outage.until;
        let given_up = healthy.iter().filter(within).count();
        let moves = faults
            .during(outage.from, outage.until)
            .filter(|fault| moves_partitions(fault))
            .count();
        let most = GUARD * WORKERS * (1 + moves);
        if given_up > most {
            let text = format!(
                "fault {} ({}) made dead letters of {given_up} records, expected at most {most}",
                outage.number, outage.what
            );
            problems.add("a function that is down is not poison", None, text);
        }
    }
}

fn moves_partitions(fault: &Fault) -> bool {
    match fault.touches {
        Touches::Killed(_) | Touches::Frozen(_) | Touches::Wire(_) | Touches::Brokers => true,
        Touches::Calls { .. } | Touches::Posts | Touches::Store => false,
    }
}

/// A letter that stands twice has a fault between, or, under exactly once, does not.
fn again(course: &Course, faults: &Faults<'_>, problems: &mut Problems<'_>) {
    let mut first: HashMap<Id, &Letter> = HashMap::new();
    for letter in &course.letters {
        let Some(before) = first.insert(letter.of, letter) else {
            continue;
        };
        let explains = |fault: &Fault| moves_partitions(fault) || fault.touches == Touches::Posts;
        let from = before.last_failed.min(letter.last_failed) - AFTERMATH;
        if course.exactly_once || !faults.during(from, letter.at).any(explains) {
            let text = format!("dead letters of it stand at {} and {} ms", before.at, letter.at);
            problems.note("no unexplained duplicate", letter.of, text);
        }
    }
}
