//! Redrives, and what they would do.

use anstyle::AnsiColor;
use jiff::Timestamp;

use super::{ago, bytes, painted, short, span, table, text};
use crate::api::wire::{LetterReason, Passed, Redrive, RedrivePlan, RedriveTo};

/// Ids in a line.
const IDS: usize = 20;

/// What a redrive would do.
pub(in crate::cli) fn redrive_plan(plan: &RedrivePlan) -> String {
    let mut out = format!(
        "{} of {} dead letters of {} would be sent, {}\n",
        plan.sends,
        plan.letters,
        plan.pipeline,
        bytes(plan.bytes as f64)
    );
    if plan.to_sink > 0 {
        out += &format!(
            "  {} of them to the sink that refused them, with the result that was kept\n",
            plan.to_sink
        );
    }
    for refused in &plan.refused {
        out += &format!("  {} not [{}]: {}\n", refused.letters, refused.code, refused.why);
    }
    out += &passed(plan.passed.as_ref());
    if !plan.other_groups.is_empty() {
        out += &format!(
            "  these groups read the source topic, too: {}\n",
            plan.other_groups.join(", ")
        );
    }
    out
}

/// Redrives, a line each.
pub(in crate::cli) fn redrives(redrives: &[Redrive], now: Timestamp) -> String {
    if redrives.is_empty() {
        return "no redrives\n".to_owned();
    }
    let mut lines = table([
        "REDRIVE", "PIPELINE", "STATE", "AGE", "LETTERS", "DONE", "FAILED", "NOT SENT", "BY", "WHY",
    ]);
    for redrive in redrives {
        lines.add_row([
            redrive.id.clone(),
            redrive.pipeline.clone(),
            redrive.state.clone(),
            ago(&redrive.at, now),
            redrive.letters.to_string(),
            redrive.done.to_string(),
            redrive.dead_lettered.to_string(),
            not_sent(redrive).to_string(),
            redrive.by.clone(),
            short(&redrive.reason),
        ]);
    }
    text(&lines)
}

/// A redrive: how it stands, what became of its letters, and what somebody has to look at.
pub(in crate::cli) fn redrive(redrive: &Redrive) -> String {
    let colour = match redrive.state.as_str() {
        "done" if redrive.dead_lettered == 0 => AnsiColor::Green,
        "running" => AnsiColor::Blue,
        "done" | "paused" => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    let speed = redrive
        .letters_per_second
        .map_or_else(String::new, |speed| format!(", {speed:.0} a second"));
    let left = redrive
        .seconds_left
        .map_or_else(String::new, |left| format!(", {} left", span(left)));
    let mut out = format!(
        "{}  {}  {}: {} of {} letters{speed}{left}\n",
        redrive.id,
        painted(&redrive.state, colour),
        redrive.pipeline,
        redrive.done,
        redrive.letters
    );
    for said in [&redrive.said]
        .into_iter()
        .filter(|said| !said.is_empty())
        .chain(&redrive.waits)
    {
        out += &format!("  {said}\n");
    }
    let counts = [
        ("delivered", redrive.delivered),
        ("accepted, with nothing to deliver", redrive.dropped),
        ("in the source topic once more", redrive.to_source),
        ("given up again", redrive.dead_lettered),
        ("not sent", not_sent(redrive)),
        ("perhaps sent twice, since a worker died", redrive.repeated),
    ];
    for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        out += &format!("  {count} {what}\n");
    }
    out += &passed(redrive.passed.as_ref());
    if redrive.to == RedriveTo::Source {
        out += "  to the source topic: what its readers make of them is theirs to say\n";
    }
    out += &reasons("given up again", &redrive.failures, redrive.dead_lettered);
    out += &reasons("not sent", &redrive.refusals, not_sent(redrive));
    if !redrive.repeated_ids.is_empty() {
        let shown = &redrive.repeated_ids[..redrive.repeated_ids.len().min(IDS)];
        let more = if redrive.repeated > shown.len() as u64 {
            ", …"
        } else {
            ""
        };
        out += &format!("perhaps sent twice\n  {}{more}\n", shown.join(", "));
    }
    out
}

/// How many records what is sent comes behind, though it came first in the source.
fn passed(passed: Option<&Passed>) -> String {
    let Some(passed) = passed else { return String::new() };
    if let Some(reason) = &passed.not_since {
        return format!("  whether later records of the same keys are done with was not looked for: {reason}\n");
    }
    let looked = match passed.all {
        true => String::new(),
        false => format!(", as far as {} source records tell; there are more", passed.looked_at),
    };
    match passed.records {
        0 => format!("  no later record of the same keys is done with{looked}\n"),
        records => format!(
            "  {records} later records of {} of the same keys are done with: what is sent comes behind them{looked}\n",
            passed.keys
        ),
    }
}

fn not_sent(redrive: &Redrive) -> u64 {
    redrive.refused.values().sum()
}

fn reasons(what: &str, letters: &[LetterReason], all: u64) -> String {
    if letters.is_empty() {
        return String::new();
    }
    let mut out = format!("{what}\n");
    for letter in letters {
        out += &format!("  {}  {}\n", letter.id, short(&letter.reason));
    }
    if all > letters.len() as u64 {
        out += &format!("  and {} more\n", all - letters.len() as u64);
    }
    out
}
