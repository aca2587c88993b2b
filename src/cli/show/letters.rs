//! Dead letters.

use anstyle::AnsiColor;
use jiff::Timestamp;

use super::{ago, bytes, painted, table, text};
use crate::api::wire::{DeadLetter, LetterGroup, ShownLetter};

/// A reason in a table is cut to this many characters.
const REASON: usize = 90;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Letters, a line each.
pub(in crate::cli) fn letters(letters: &[DeadLetter], now: Timestamp) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut lines = table([
        "DEAD LETTER",
        "SOURCE",
        "AGE",
        "STAGE",
        "STATUS",
        "ATTEMPTS",
        "GROUP",
        "REASON",
    ]);
    for letter in letters {
        lines.add_row([
            letter.id.clone(),
            letter.source.clone().unwrap_or_default(),
            ago(&letter.at, now),
            letter.stage.clone(),
            letter.status.map_or_else(String::new, |status| status.to_string()),
            letter
                .attempts
                .map_or_else(String::new, |attempts| attempts.to_string()),
            letter.fingerprint.clone(),
            short(&letter.reason),
        ]);
    }
    text(&lines)
}

/// Groups, a line each, with their letters over time.
pub(in crate::cli) fn groups(groups: &[LetterGroup], now: Timestamp) -> String {
    if groups.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut lines = table([
        "GROUP",
        "COUNT",
        "FIRST",
        "LAST",
        "OVER TIME",
        "STAGE",
        "STATUS",
        "REASON OF THE LAST",
    ]);
    let most = groups.iter().flat_map(|group| &group.histogram).max().copied();
    for group in groups {
        let sample = &group.sample;
        lines.add_row([
            group.fingerprint.clone(),
            group.count.to_string(),
            ago(&group.first, now),
            ago(&group.last, now),
            bars(&group.histogram, most.unwrap_or(1)),
            sample.stage.clone(),
            sample.status.map_or_else(String::new, |status| status.to_string()),
            short(&sample.reason),
        ]);
    }
    let total: u64 = groups.iter().map(|group| group.count).sum();
    let kinds = if groups.len() == 1 { "group" } else { "groups" };
    let example = &groups[0].sample.id;
    text(&lines)
        + &format!(
            "{total} dead letters in {} {kinds}; fnbridge dlq show {example}\n",
            groups.len()
        )
}

/// A letter in full.
pub(in crate::cli) fn letter(shown: &ShownLetter) -> String {
    let letter = &shown.letter;
    let mut out = format!("{}  {}\n", painted(&letter.id, AnsiColor::Red), letter.reason);
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out += &format!("{name:<14}{value}\n");
        }
    };
    line("pipeline", letter.pipeline.clone());
    line("source", letter.source.clone());
    let status = letter
        .status
        .map_or_else(String::new, |status| format!(", status {status}"));
    line("stage", Some(format!("{}{status}", letter.stage)));
    line("sink", letter.sink.clone());
    line("group", Some(letter.fingerprint.clone()));
    line("attempts", letter.attempts.map(|attempts| attempts.to_string()));
    line("first failed", letter.first_failed.clone());
    line("given up", Some(letter.at.clone()));
    line(
        "redrives",
        Some(letter.redrives.to_string()).filter(|_| letter.redrives > 0),
    );
    line("size", Some(bytes(letter.bytes as f64)));
    line("left out", shown.truncated.clone());
    line("time", shown.timestamp.clone());
    line(
        "key",
        shown
            .key
            .clone()
            .or_else(|| shown.key_base64.as_ref().map(|key| format!("base64 {key}"))),
    );
    for header in &shown.headers {
        let value = header.value.as_deref().unwrap_or("null");
        line("header", Some(format!("{}: {value}", header.name)));
    }
    let value = match &shown.value_base64 {
        Some(base64) => format!("base64 {base64}"),
        None => format!("{:#}", shown.value),
    };
    out += &format!("value\n{}", indented(&value));
    if let Some(response) = &shown.response {
        out += &format!("answer\n{}", indented(response));
    }
    if let Some(result) = &shown.result {
        out += &format!("result\n{}", indented(&format!("{result:#}")));
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn short(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A bar for each count; anything at all is seen.
fn bars(counts: &[u64], most: u64) -> String {
    let bar = |count: &u64| match *count {
        0 => BARS[0],
        count => BARS[(count * 8).div_ceil(most.max(1)).clamp(1, 8) as usize],
    };
    counts.iter().map(bar).collect()
}
