//! Pipelines.

use anstyle::AnsiColor;
use jiff::Timestamp;

use super::{ago, bytes, counted, differences, painted, phase_colour, phase_name, rate, span, table, text};
use crate::api::wire::{
    HeldBy, History, LimitUse, PartitionStatus, Phase, Pipeline, PipelineStatus, PipelineSummary, TaskStatus, Tried,
};

/// Pipelines, a line each, and below them what stands in the way of those that don't run.
pub(in crate::cli) fn list(pipelines: &[PipelineSummary]) -> String {
    if pipelines.is_empty() {
        return "no pipelines; `fnbridge register TOPIC URL` makes one\n".to_owned();
    }
    let mut lines = table([
        "NAME",
        "STATE",
        "WORKERS",
        "PARTITIONS",
        "LAG",
        "BEHIND",
        "RECORDS",
        "HELD BY",
    ]);
    for pipeline in pipelines {
        lines.add_row([
            pipeline.name.clone(),
            phase_name(pipeline.phase).to_owned(),
            pipeline.workers.len().to_string(),
            pipeline.partitions.to_string(),
            pipeline.lag_records.to_string(),
            span(pipeline.lag_seconds),
            rate(pipeline.records_per_second),
            held_by(pipeline.held_by).to_owned(),
        ]);
    }
    let reasons = pipelines.iter().filter_map(|pipeline| {
        let reason = pipeline.reason.as_ref()?;
        Some(format!(
            "{}: {reason}\n",
            painted(&pipeline.name, phase_colour(pipeline.phase))
        ))
    });
    let reasons: String = reasons.collect();
    let between = if reasons.is_empty() { "" } else { "\n" };
    format!("{}{between}{reasons}", text(&lines))
}

fn held_by(held_by: HeldBy) -> &'static str {
    match held_by {
        HeldBy::Store => "store",
        HeldBy::File => "file",
    }
}

/// A pipeline's document, and how it stands in a line.
pub(in crate::cli) fn pipeline(pipeline: &Pipeline) -> String {
    let document = serde_saphyr::to_string(&pipeline.document).unwrap_or_default();
    let revision = pipeline
        .revision
        .map_or_else(String::new, |revision| format!(", revision {revision}"));
    format!("# {}{revision}\n{document}", headline(&pipeline.status))
}

/// Whether it works, in a sentence.
fn headline(summary: &PipelineSummary) -> String {
    let phase = painted(phase_name(summary.phase), phase_colour(summary.phase));
    let who = match summary.workers.as_slice() {
        [] => "on no worker".to_owned(),
        [one] => format!("on {one}"),
        more => format!("on {} workers", more.len()),
    };
    let lag = match summary.lag_records {
        0 => "nothing waits".to_owned(),
        1 => format!("1 record waits, for {}", span(summary.lag_seconds)),
        lag => format!("{lag} records wait, the oldest for {}", span(summary.lag_seconds)),
    };
    let reason = summary
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    match summary.phase {
        Phase::Unplaced | Phase::Starting | Phase::Waiting | Phase::Stopped => {
            format!("{} is {phase}{reason}", summary.name)
        }
        Phase::Rebalancing | Phase::Running | Phase::Blocked | Phase::Paused => format!(
            "{} is {phase} {who}, {}, {}; {lag}{reason}",
            summary.name,
            counted(summary.partitions, "partition"),
            rate(summary.records_per_second),
        ),
    }
}

/// Whether a pipeline works, and if not why.
pub(in crate::cli) fn status(status: &PipelineStatus, now: Timestamp) -> String {
    let mut out = format!("{}\n", headline(&status.summary));
    status
        .remarks
        .iter()
        .for_each(|remark| out += &format!("{}\n", painted(remark, AnsiColor::Yellow)));
    for task in &status.tasks {
        out += &self::task(task, status.summary.reason.as_deref(), now);
    }
    out
}

fn task(task: &TaskStatus, said: Option<&str>, now: Timestamp) -> String {
    let summary = &task.summary;
    let restarts = match summary.restarts {
        0 => String::new(),
        restarts => format!(", started anew {}", counted(restarts, "time")),
    };
    let mut out = format!(
        "\n{}: {} for {}, revision {}{restarts}\n",
        task.worker,
        painted(phase_name(summary.phase), phase_colour(summary.phase)),
        ago(&summary.since, now),
        summary.revision
    );
    if let Some(reason) = summary.reason.as_ref().filter(|reason| said != Some(reason.as_str())) {
        out += &format!("  {reason}\n");
    }
    if !task.holds.is_empty() {
        out += &indented(&partitions(&task.holds, now));
    }
    let stands: Vec<&str> = task
        .holds
        .iter()
        .flat_map(|partition| &partition.stands_first)
        .map(String::as_str)
        .collect();
    if !stands.is_empty() {
        out += &format!("  stands first: {}\n", stands.join(", "));
    }
    let limits: Vec<String> = task.limits.iter().map(limit).collect();
    if !limits.is_empty() {
        out += &format!("  uses: {}\n", limits.join(", "));
    }
    for sink in task.sinks.iter().filter(|sink| sink.away || sink.blocked) {
        let how = if sink.blocked {
            "does not let us store"
        } else {
            "is away"
        };
        out += &format!("  the sink {} {how}\n", painted(&sink.name, AnsiColor::Red));
    }
    for error in task.last_errors.iter().take(3) {
        let status = error.status.map_or_else(String::new, |status| format!("{status}, "));
        out += &format!(
            "  {} ago: {status}{}, {}\n",
            ago(&error.at, now),
            error.id,
            error.reason
        );
    }
    out
}

fn partitions(partitions: &[PartitionStatus], now: Timestamp) -> String {
    let head = [
        "PARTITION",
        "DOES",
        "FOR",
        "COMMITTED",
        "LAG",
        "BEHIND",
        "WAITING",
        "ON THE WIRE",
        "DELIVERED",
        "DEAD LETTERS",
    ];
    let mut lines = table(head);
    for partition in partitions {
        let total = |name: &str| partition.totals.get(name).copied().unwrap_or_default().to_string();
        lines.add_row([
            format!("{}/{}", partition.topic, partition.partition),
            partition.doing.replace('_', " "),
            ago(&partition.since, now),
            partition.committed.to_string(),
            partition
                .lag_records
                .map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
            span(partition.lag_seconds),
            partition.waiting.to_string(),
            partition.in_flight.to_string(),
            total("delivered"),
            total("dead_lettered"),
        ]);
    }
    text(&lines)
}

fn limit(limit: &LimitUse) -> String {
    let shown = |value: f64| match limit.limit.contains("bytes") {
        true => bytes(value),
        false => format!("{value:.0}"),
    };
    let of = limit.of.map_or_else(String::new, |of| format!(" of {}", shown(of)));
    let now = limit
        .now
        .map_or_else(String::new, |now| format!(" (just now {})", shown(now)));
    format!("{} {}{of}{now}", limit.limit, shown(limit.used))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A pipeline's changes, newest first.
pub(in crate::cli) fn history(history: &History) -> String {
    let change = |change: &crate::api::wire::Change| {
        format!(
            "{}  {}  {} by {}\n{}",
            change.revision,
            change.at,
            change.verb.name(),
            change.by,
            differences(&change.changes, "     ")
        )
    };
    history.changes.iter().map(change).collect()
}

/// What a call on one record came to.
pub(in crate::cli) fn tried(tried: &Tried) -> String {
    let answered = match (tried.status, &tried.response) {
        (Some(status), Some(response)) => format!("answered {status} after {} ms\n{response}\n", tried.took_ms),
        (Some(status), None) => format!("answered {status} after {} ms\n", tried.took_ms),
        (None, _) => "no answer\n".to_owned(),
    };
    let results: String = tried.results.iter().map(|result| format!("  {result}\n")).collect();
    format!(
        "{} → {}\n{}\n\n{answered}\n{}: {}\n{results}",
        tried.id, tried.url, tried.request, tried.id, tried.meaning
    )
}
