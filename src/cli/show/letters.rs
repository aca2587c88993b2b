//! Dead letters.

use anstyle::AnsiColor;
use jiff::Timestamp;

use super::{ago, bytes, differences, painted, short, table, text};
use crate::api::wire::{DeadLetter, LaterRecords, LetterGroup, ShownLetter};

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
        "MARK",
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
            letter.mark.clone(),
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
    line("mark", Some(marked(shown)).filter(|_| letter.mark != "open"));
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
    line("later", shown.later.as_ref().map(later));
    for header in &shown.headers {
        let value = header.value.as_deref().unwrap_or("null");
        line("header", Some(format!("{}: {value}", header.name)));
    }
    if let Some(changes) = shown
        .marked
        .as_ref()
        .map(|mark| &mark.differences)
        .filter(|changes| !changes.is_empty())
    {
        out += &format!("edited\n{}", differences(changes, "  "));
    }
    let value = match &shown.value_base64 {
        Some(base64) => format!("base64 {base64}"),
        None => format!("{:#}", shown.value),
    };
    out += &format!("value\n{}", indented(&value));
    out += &request(shown);
    if let Some(response) = &shown.response {
        out += &format!("answer\n{}", indented(response));
    }
    if let Some(result) = &shown.result {
        out += &format!("result\n{}", indented(&format!("{result:#}")));
    }
    out
}

/// Whether records of the same key followed, in a line.
fn later(later: &LaterRecords) -> String {
    if let Some(reason) = &later.not_since {
        return format!("not looked for: {reason}");
    }
    let looked = match (later.to_the_end, &later.up_to) {
        (true, _) => format!("in {} that followed, to the end of the log", later.looked_at),
        (false, Some(up_to)) => format!("in {} that followed, up to {up_to}; there are more", later.looked_at),
        (false, None) => "none was read in time".to_owned(),
    };
    let gone = if later.gone {
        "; some that followed are gone from the log"
    } else {
        ""
    };
    match later.records {
        0 => format!("no record of this key {looked}{gone}"),
        records => format!(
            "{records} records of this key {looked}{gone}; {} of them went through by the last commit: {}{}",
            later.passed,
            later.ids.join(", "),
            if records > later.ids.len() as u64 { ", …" } else { "" }
        ),
    }
}

/// The request that would be sent now.
fn request(shown: &ShownLetter) -> String {
    let Some(request) = &shown.would_send else {
        return String::new();
    };
    match (&request.url, &request.not_since) {
        (Some(url), _) => {
            let mut text = format!("POST {url}\n");
            for header in &request.headers {
                text += &format!("{}: {}\n", header.name, header.value.as_deref().unwrap_or_default());
            }
            format!(
                "request, as it would be sent now\n{}",
                indented(&format!("{text}\n{}", request.body))
            )
        }
        (None, Some(reason)) => format!("request, as it would be sent now\n  none: {reason}\n"),
        (None, None) => String::new(),
    }
}

/// What was done about a letter, in a line.
fn marked(shown: &ShownLetter) -> String {
    let letter = &shown.letter;
    let mut out = letter.mark.clone();
    if let Some(mark) = &shown.marked {
        out += &format!(" {} by {}", mark.at, mark.by);
    }
    if let Some(outcome) = &letter.outcome {
        out += &format!(", and {}", outcome.replace('_', "-"));
    }
    if let Some(why) = shown.marked.as_ref().and_then(|mark| mark.why.as_ref()) {
        out += &format!(": {why}");
    }
    if let Some(redrive) = &letter.redrive {
        out += &format!(" (redrive {redrive})");
    }
    if letter.mark == "unknown" {
        out += ": it is older than the store, which does not know whether it was redriven";
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A bar for each count; anything at all is seen.
fn bars(counts: &[u64], most: u64) -> String {
    let bar = |count: &u64| match *count {
        0 => BARS[0],
        count => BARS[(count * 8).div_ceil(most.max(1)).clamp(1, 8) as usize],
    };
    counts.iter().map(bar).collect()
}
