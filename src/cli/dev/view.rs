//! What `fnbridge dev` shows, as lines: a pure function of what is known.

mod function;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::line::Line;
use super::model::{Feeding, Model, Seen, SeenLetter, Setup, Which};
use super::sample::FIXED;
use crate::cli::remote::USUAL;
use crate::delivery::answer::Disposition;
use crate::delivery::event::PartitionView;
use crate::kafka::embedded::LIMITS;

pub(super) use function::{function_lines, unsaid_line};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
const NAME: Style = AnsiColor::Cyan.on_default();

/// Lines of the log that are shown, the newest.
const WARNINGS_SHOWN: usize = 3;

/// How long a line of the log is shown.
const WARNINGS_STAY: Duration = Duration::from_secs(10);

/// Below this many lines, what to try next would not fit beside everything else.
const LOW_SCREEN: usize = 36;

/// Partitions shown one by one; the rest is counted.
const PARTITIONS_SHOWN: usize = 8;

/// What is said before the view opens.
pub(super) fn opening(setup: &Setup) -> Vec<Line> {
    if !setup.embedded {
        return Vec::new();
    }
    let mut lines = vec![Line::of(
        BOLD,
        format!("The embedded Kafka at {} is small. It", setup.broker),
    )];
    lines.extend(LIMITS.iter().map(|limit| Line::of(PLAIN, format!("  - {limit}"))));
    lines
}

/// The whole screen: at most `height` lines. A low one does without partitions, and with few results and letters.
pub(super) fn screen(model: &Model, height: usize) -> Vec<Line> {
    let low = height < LOW_SCREEN;
    let mut above = head(model);
    above.extend(figures(model));
    if !low {
        above.push(Line::default());
        above.extend(partitions(&model.task.partitions));
    }
    above.push(Line::default());
    above.push(section("LATEST RESULTS", &format!("in topic {}", model.setup.results)));
    let mut below = function::section(model, low);
    below.push(Line::default());
    below.extend(letters(model, if low { 2 } else { 4 }));
    below.push(Line::default());
    below.extend(next_steps(model));
    let room = height.saturating_sub(above.len() + below.len()).max(1);
    let mut lines = above;
    lines.extend(results(model, room));
    lines.extend(below);
    lines.truncate(height);
    lines
}

fn head(model: &Model) -> Vec<Line> {
    let setup = &model.setup;
    let broker = if setup.embedded { "embedded Kafka" } else { "Kafka" };
    let function = match &setup.function {
        Which::Sample => format!("sample function {}", setup.url),
        Which::There => format!("function {}", setup.url),
        Which::Here(shown) => shown.clone(),
    };
    let arrow = |line: Line| line.and(DIM, " → ");
    let mut journey = arrow(Line::of(NAME, &setup.topic)).and(PLAIN, function);
    journey = arrow(journey).and(NAME, &setup.results);
    let limits = if setup.embedded {
        "   keeps 5 MB a partition, in memory; no admin requests"
    } else {
        ""
    };
    let place = format!("   {}   {broker} at {}{limits}", clock(model.elapsed), setup.broker);
    vec![Line::of(BOLD, "fnbridge dev").and(DIM, place), journey]
}

fn figures(model: &Model) -> Vec<Line> {
    let rate = model.rates.back().copied().unwrap_or_default();
    let mut settled = Line::of(BOLD, format!("{rate:>6} records/s ")).and(GOOD, sparkline(&model.rates));
    for disposition in Disposition::ALL {
        let count = model.total(disposition);
        let (style, shown) = match disposition {
            Disposition::Delivered => (GOOD, true),
            Disposition::Dropped => (PLAIN, count > 0),
            Disposition::DeadLettered => (if count > 0 { BAD } else { PLAIN }, true),
            Disposition::Filtered | Disposition::Skipped | Disposition::Expired => (WARNING, count > 0),
        };
        if shown {
            settled = settled.and(style, format!("   {} {count}", disposition.name().replace('_', "-")));
        }
    }
    let task = &model.task;
    let mut calls = Line::of(BOLD, format!("{:>6} calls on the wire", task.calls_in_flight));
    for (outcome, count) in model.attempts.iter().filter(|(_, count)| **count > 0) {
        let style = if outcome == "success" { GOOD } else { WARNING };
        calls = calls.and(style, format!("   {} {count}", outcome.replace('_', " ")));
    }
    let waiting = Line::of(BOLD, format!("{:>6} unsettled", model.unsettled())).and(PLAIN, fed(model));
    let mut lines = vec![settled, calls, waiting];
    lines.extend(standing(model));
    lines.extend(warnings(model));
    lines
}

fn fed(model: &Model) -> String {
    match &model.feeding {
        Feeding::Nothing => "   waiting for records from elsewhere".to_owned(),
        Feeding::Going => format!("   {} fed", model.fed),
        Feeding::Ended => format!("   {} fed: that is all of the input", model.fed),
        Feeding::Failed(_) => format!("   {} fed, then it stopped", model.fed),
    }
}

/// What stands in the way, if something does.
fn standing(model: &Model) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(failure) = model.task.breaker_reason.as_ref().filter(|_| model.task.breaker_open) {
        lines.push(Line::of(BAD, "the breaker is open: ").and(PLAIN, &failure.reason));
    }
    for (guard, ids) in &model.task.guards {
        let records = ids.join(", ");
        lines.push(Line::of(BAD, format!("the guard ({}) has tripped: ", guard.name())).and(PLAIN, records));
    }
    if let Feeding::Failed(reason) = &model.feeding {
        lines.push(Line::of(BAD, "feeding stopped: ").and(PLAIN, reason));
    }
    if let Some(trouble) = &model.trouble {
        lines.push(Line::of(WARNING, trouble));
    }
    lines
}

/// What the log said just now.
fn warnings(model: &Model) -> impl Iterator<Item = Line> {
    let fresh = model.warnings.iter().rev().take(WARNINGS_SHOWN);
    let fresh = fresh
        .filter(|(at, _)| *at + WARNINGS_STAY > model.elapsed)
        .collect::<Vec<_>>();
    fresh
        .into_iter()
        .rev()
        .map(|(at, line)| Line::of(DIM, clock(*at)).and(WARNING, format!("  {line}")))
}

fn partitions(partitions: &[PartitionView]) -> Vec<Line> {
    if partitions.is_empty() {
        return vec![Line::of(DIM, "joining the group …")];
    }
    let title = format!(
        "{:<24}{:>10}{:>11}{:>9}{:>11}",
        "PARTITION", "position", "committed", "waiting", "in flight"
    );
    let mut lines = vec![Line::of(DIM, title)];
    let mut sorted: Vec<&PartitionView> = partitions.iter().collect();
    sorted.sort_by(|a, b| a.source.cmp(&b.source));
    for p in sorted.iter().take(PARTITIONS_SHOWN) {
        let name = p.source.to_string();
        let numbers = format!(
            "{:>10}{:>11}{:>9}{:>11}",
            p.position, p.committed, p.waiting, p.in_flight
        );
        let state = match (p.draining, p.paused) {
            (true, _) => "  draining",
            (false, true) => "  paused",
            (false, false) => "",
        };
        lines.push(
            Line::of(NAME, format!("{name:<24}"))
                .and(PLAIN, numbers)
                .and(WARNING, state),
        );
    }
    if partitions.len() > PARTITIONS_SHOWN {
        lines.push(Line::of(
            DIM,
            format!("and {} more", partitions.len() - PARTITIONS_SHOWN),
        ));
    }
    lines
}

fn results(model: &Model, room: usize) -> Vec<Line> {
    if model.results.is_empty() {
        return vec![Line::of(DIM, "  none yet")];
    }
    let newest = model.results.len().saturating_sub(room);
    model.results.iter().skip(newest).map(result_line).collect()
}

/// One result as a line.
pub(super) fn result_line(seen: &Seen) -> Line {
    let line = Line::of(DIM, format!("  {:<18} ", seen.id));
    match &seen.value {
        Some(value) => line.and(PLAIN, value),
        None => line.and(DIM, "(tombstone)"),
    }
}

fn letters(model: &Model, most: usize) -> Vec<Line> {
    let mut lines = vec![section(
        "DEAD LETTERS",
        &format!("in topic {}", model.setup.dead_letters),
    )];
    if model.letters.is_empty() {
        lines.push(Line::of(DIM, "  none yet"));
    }
    lines.extend(model.letters.iter().rev().take(most).map(letter_line));
    lines
}

/// One dead letter as a line.
fn letter_line(seen: &SeenLetter) -> Line {
    let calls = match seen.attempts.as_str() {
        "" | "0" => "no call".to_owned(),
        "1" => "1 call".to_owned(),
        n => format!("{n} calls"),
    };
    Line::of(BAD, format!("  {:<18} ", seen.source))
        .and(DIM, format!("{}, {calls}: ", seen.stage))
        .and(PLAIN, &seen.reason)
        .and(DIM, format!("  {}", seen.response))
}

/// One dead letter as a line of its own.
pub(super) fn dead_letter_line(seen: &SeenLetter) -> Line {
    Line::of(BAD, "dead letter").join(letter_line(seen))
}

fn section(title: &str, where_: &str) -> Line {
    Line::of(BOLD, title).and(DIM, format!("   {where_}"))
}

fn step(what: &str, command: String) -> Line {
    Line::of(DIM, format!("  {what:<8}")).and(PLAIN, command)
}

/// What a command needs to reach this API.
fn beside(api: &str) -> String {
    match api == USUAL {
        true => String::new(),
        false => format!(" --url {api}"),
    }
}

/// How to look at the first dead letter that the function is to blame for, try it, and send it through again.
pub(super) fn poison_steps(model: &Model) -> Vec<Line> {
    let setup = &model.setup;
    let (Some(poison), Some(api)) = (&model.poison, &setup.api) else {
        return Vec::new();
    };
    let (id, url) = (&poison.id, beside(api));
    let pipeline = setup.dead_letters.trim_end_matches(".dead-letter");
    let (function, why) = match setup.function {
        Which::Sample => (
            format!(" --function {}{}", setup.url.trim_end_matches('/'), FIXED),
            "   (the sample function without its bug; called once, it takes the other's place)",
        ),
        Which::There | Which::Here(_) => (String::new(), ""),
    };
    vec![
        step("inspect", format!("fnbridge dlq show {id}{url}")),
        step("try", format!("fnbridge try {pipeline} --at {id}{function}{url}")).and(DIM, why),
        step("redrive", format!("fnbridge dlq redrive {id}{url}")),
    ]
}

/// What to try next.
pub(super) fn next_steps(model: &Model) -> Vec<Line> {
    let Setup {
        broker,
        topic,
        results,
        dead_letters,
        ..
    } = &model.setup;
    let record = r#"{"delay":7,"distance":99}"#;
    let mut lines = vec![
        Line::of(BOLD, "TRY"),
        step("send", format!("echo '{record}' | kcat -b {broker} -t {topic}")),
        step("results", format!("kcat -b {broker} -C -t {results} -o -5")),
    ];
    match &model.setup.api {
        Some(api) => {
            lines.push(step("letters", format!("fnbridge dlq groups{}", beside(api))));
            lines.extend(poison_steps(model));
            lines.push(step("metrics", format!("curl {api}/metrics")));
        }
        None => lines.push(step(
            "letters",
            format!("kcat -b {broker} -C -e -t {dead_letters} -f '%h\\n%s\\n\\n'"),
        )),
    }
    if model.setup.function == Which::Sample {
        lines.push(step(
            "attach",
            "fnbridge dev --function PATH   (fnbridge new function writes one)".to_owned(),
        ));
    }
    lines.push(step("end", "Ctrl-C: what is on the wire is finished first".to_owned()));
    lines
}

/// One line a second, where stdout is no terminal.
pub(super) fn second_line(model: &Model) -> Line {
    let rate = model.rates.back().copied().unwrap_or_default();
    let mut text = format!("{}  {rate} records/s", clock(model.elapsed));
    for disposition in Disposition::ALL {
        let count = model.total(disposition);
        if count > 0 {
            text.push_str(&format!("  {} {count}", disposition.name().replace('_', "-")));
        }
    }
    text.push_str(&format!(
        "  unsettled {}  on the wire {}",
        model.unsettled(),
        model.task.calls_in_flight
    ));
    let line = Line::of(PLAIN, text);
    standing(model)
        .into_iter()
        .fold(line, |line, standing| line.and(PLAIN, "  ").join(standing))
}

/// What there was, after the end.
pub(super) fn summary(model: &Model, drained: bool) -> Vec<Line> {
    let mut totals = String::new();
    for disposition in Disposition::ALL.into_iter().filter(|d| model.total(*d) > 0) {
        let (count, name) = (model.total(disposition), disposition.name().replace('_', "-"));
        totals.push_str(&format!(", {count} {name}"));
    }
    let totals = if totals.is_empty() {
        ", no record settled".to_owned()
    } else {
        totals
    };
    let calls: u64 = model.attempts.values().sum();
    let end = if drained {
        "Drained"
    } else {
        "Ended before the drain was done"
    };
    let mut lines = vec![Line::of(
        PLAIN,
        format!("{end} after {}{totals}; {calls} calls.", clock(model.elapsed)),
    )];
    if let Some(first) = model.first_result {
        lines.push(Line::of(
            DIM,
            format!("The first result came after {:.1} s.", first.as_secs_f64()),
        ));
    }
    if !model.setup.embedded {
        let topics = format!("{} and {}", model.setup.results, model.setup.dead_letters);
        lines.push(Line::of(
            DIM,
            format!(
                "What was written stays in the topics {topics} at {}.",
                model.setup.broker
            ),
        ));
    } else {
        lines.push(Line::of(
            DIM,
            "The embedded broker is gone with all that was in it; no file is left behind.",
        ));
    }
    lines
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn sparkline(rates: &VecDeque<u64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = rates.iter().copied().max().unwrap_or_default().max(1);
    (rates.iter())
        .map(|rate| BARS[usize::try_from(rate * 7 / highest).unwrap_or(7).min(7)])
        .collect()
}
