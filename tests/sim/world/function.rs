//! The function: well, ill, busy or away, and of an opinion about each record.

use std::sync::Arc;

use fnbridge_delivery::answer::{Answer, Failure, Verdict};
use fnbridge_delivery::record::Record;
use fnbridge_delivery::time::Millis;

use super::log::{Kind, Log};
use crate::dice::Rng;
use crate::plan::Faults;

/// In what state the function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    Away,
    Failing,
    Unauthorised,
    Unavailable,
}

pub const ILL: [Health; 4] = [Health::Away, Health::Failing, Health::Unauthorised, Health::Unavailable];

pub fn failure(reason: &str, status: u16) -> Failure {
    Failure {
        status: Some(status),
        ..Failure::of(reason)
    }
}

/// What the function answers to a batch.
pub fn answer(health: Health, faults: &Faults, rng: &mut Rng, log: &Log, records: &[Arc<Record>]) -> Answer {
    match health {
        Health::Well => {}
        Health::Away => return Answer::Away(Failure::of("connection refused")),
        Health::Failing => return Answer::Failed(failure("down", 500)),
        Health::Unauthorised => return Answer::Misregistered(failure("who are you", 401)),
        Health::Unavailable => return busy(rng, true),
    }
    if rng.chance(faults.flaky) {
        return match rng.below(8) {
            0 => Answer::Away(Failure::of("connection refused")),
            1 => Answer::Misregistered(failure("for once", 404)),
            2 if records.len() > 1 => Answer::TooLarge(failure("too large", 413)),
            3 => Answer::Failed(Failure::of("the connection was lost in the middle of the answer")),
            _ => Answer::Failed(failure("flaky", 500)),
        };
    }
    if rng.chance(faults.busy) {
        let unavailable = rng.chance(0.5);
        return busy(rng, unavailable);
    }
    if rng.chance(faults.deliver_nothing) {
        return Answer::DeliverNothing;
    }
    of_records(rng, log, records)
}

fn busy(rng: &mut Rng, unavailable: bool) -> Answer {
    Answer::Busy {
        failure: failure("busy", if unavailable { 503 } else { 429 }),
        retry_after: rng.chance(0.3).then(|| Millis(rng.below(20_000))),
        unavailable,
    }
}

fn of_records(rng: &mut Rng, log: &Log, records: &[Arc<Record>]) -> Answer {
    let entries: Vec<_> = records.iter().filter_map(|r| log.entry(r.offset)).collect();
    let any = |kind: &Kind| entries.iter().any(|entry| entry.kind == *kind);
    if any(&Kind::Poison) {
        return Answer::Failed(failure("can't", 500));
    }
    if any(&Kind::Refused) {
        return Answer::Refused(failure("won't", 400));
    }
    if any(&Kind::TooLarge) {
        return Answer::TooLarge(failure("too large", 413));
    }
    if any(&Kind::DroppedByStatus) {
        return Answer::Drop(failure("conflict", 409));
    }
    if any(&Kind::GivenUpByStatus) {
        return Answer::DeadLetter(failure("unprocessable", 418));
    }
    let verdict = |entry: &&super::log::Entry| match &entry.kind {
        Kind::Drop => Verdict::Drop,
        Kind::GiveUp => Verdict::DeadLetter {
            reason: "unknown customer".into(),
        },
        Kind::AskAgain(times, after) if entry.fate.calls <= *times => Verdict::Retry {
            after: after.map(Millis),
            reason: "not yet".into(),
        },
        _ => Verdict::Deliver(entry.outputs()),
    };
    let _ = rng;
    Answer::Verdicts(entries.iter().map(verdict).collect())
}
