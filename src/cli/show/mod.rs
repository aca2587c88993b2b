//! What people see of the API's answers: each is a function from an answer to a text.

mod audit;
mod fleet;
mod letters;
mod pipelines;
mod redrives;
#[cfg(test)]
mod tests;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;

use crate::api::wire::Phase;
use crate::control::registry::Difference;

pub(super) use audit::audit;
pub(super) use fleet::{audit_log, event, secrets, tokens, workers};
pub(super) use letters::{groups, letter, letters};
pub(super) use pipelines::{history, list, pipeline, status, tried};
pub(super) use redrives::{redrive, redrive_plan, redrives};

/// A reason in a table is cut to this many characters.
const REASON: usize = 90;

/// A table without lines.
fn table<const COLUMNS: usize>(head: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A table's text, without spaces at the ends of lines.
fn text(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn painted(text: &str, colour: AnsiColor) -> String {
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Unplaced => "unplaced",
        Phase::Starting => "starting",
        Phase::Waiting => "waiting",
        Phase::Rebalancing => "rebalancing",
        Phase::Running => "running",
        Phase::Blocked => "blocked",
        Phase::Paused => "paused",
        Phase::Stopped => "stopped",
    }
}

fn phase_colour(phase: Phase) -> AnsiColor {
    match phase {
        Phase::Running => AnsiColor::Green,
        Phase::Blocked | Phase::Waiting | Phase::Unplaced => AnsiColor::Red,
        Phase::Starting | Phase::Rebalancing | Phase::Paused | Phase::Stopped => AnsiColor::Yellow,
    }
}

/// One line a field that differs.
pub(super) fn differences(changes: &[Difference], indent: &str) -> String {
    let shown = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let line = |change: &Difference| match (shown(&change.from), shown(&change.to)) {
        (Some(from), Some(to)) => format!("{indent}{}: {from} → {to}\n", change.field),
        (None, Some(to)) => format!("{indent}{}: {to} (new)\n", change.field),
        (Some(from), None) => format!("{indent}{}: {from} (gone)\n", change.field),
        (None, None) => String::new(),
    };
    changes.iter().map(line).collect()
}

/// The beginning of a reason, for a table.
fn short(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// How long ago an RFC 3339 time was, as people say it.
fn ago(at: &str, now: Timestamp) -> String {
    let Ok(then) = at.parse::<Timestamp>() else {
        return at.to_owned();
    };
    span((now.as_second() - then.as_second()).max(0) as f64)
}

/// A span of seconds, by its largest unit.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.1} s", s.max(0.0)),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// A number of bytes, by its largest unit.
fn bytes(count: f64) -> String {
    match count {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b => format!("{:.1} MiB", b / 1024.0 / 1024.0),
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 0.05 => "0/s".to_owned(),
        r if r < 10.0 => format!("{r:.1}/s"),
        r => format!("{r:.0}/s"),
    }
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
