//! The fleet, its events, and who may do what.

use anstyle::AnsiColor;
use jiff::Timestamp;

use super::{ago, bytes, painted, rate, table, text};
use crate::api::wire::{Audited, PipelineEvent, Secret, Token, Worker};

/// Workers, a line each, and below them what is not as it should be.
pub(in crate::cli) fn workers(workers: &[Worker], now: Timestamp) -> String {
    let mut lines = table([
        "WORKER",
        "STATE",
        "ROLES",
        "TASKS",
        "PARTITIONS",
        "LAG",
        "RECORDS",
        "BYTES",
        "UP",
        "VERSION",
        "ADDRESS",
    ]);
    for worker in workers {
        let leads = if worker.leader { " (leader)" } else { "" };
        lines.add_row([
            worker.id.clone(),
            worker.state.clone(),
            format!("{}{leads}", worker.roles.join("+")),
            worker.tasks.to_string(),
            worker.partitions.to_string(),
            worker.lag_records.to_string(),
            rate(worker.records_per_second),
            format!("{}/s", bytes(worker.bytes_per_second)),
            ago(&worker.since, now),
            worker.version.clone(),
            worker.address.clone(),
        ]);
    }
    let mut out = text(&lines);
    for worker in workers {
        let differ = worker.files_differ.join(", ");
        let differ = (!differ.is_empty()).then(|| format!("its files differ from other workers': {differ}"));
        for remark in worker.reason.iter().chain(&differ) {
            out += &format!("{}: {remark}\n", painted(&worker.id, AnsiColor::Red));
        }
    }
    out
}

/// An event, as a line.
pub(in crate::cli) fn event(event: &PipelineEvent) -> String {
    let colour = match event.level.as_str() {
        "error" => AnsiColor::Red,
        "warn" => AnsiColor::Yellow,
        _ => AnsiColor::Green,
    };
    let level = painted(&format!("{:5}", event.level), colour);
    format!(
        "{}  {level}  {}  {}  {}\n",
        event.at, event.pipeline, event.worker, event.text
    )
}

/// The audit log, newest first.
pub(in crate::cli) fn audit_log(entries: &[Audited]) -> String {
    let mut lines = table(["WHEN", "WHO", "WHAT", "TO", "MORE"]);
    for entry in entries {
        lines.add_row([&entry.at, &entry.by, &entry.action, &entry.target, &entry.detail]);
    }
    text(&lines)
}

/// Secrets, without what is secret of them.
pub(in crate::cli) fn secrets(secrets: &[Secret]) -> String {
    if secrets.is_empty() {
        return "no secrets\n".to_owned();
    }
    let mut lines = table(["NAME", "CHANGED", "BY", "USED BY"]);
    for secret in secrets {
        lines.add_row([
            &secret.name,
            &secret.changed,
            &secret.changed_by,
            &secret.used_by.join(", "),
        ]);
    }
    text(&lines)
}

/// Tokens, without what makes them.
pub(in crate::cli) fn tokens(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "no tokens\n".to_owned();
    }
    let mut lines = table(["ID", "FOR", "ROLE", "PIPELINES", "CREATED", "BY"]);
    for token in tokens {
        let names = match token.prefix.as_str() {
            "" => "all".to_owned(),
            prefix => format!("{prefix}…"),
        };
        lines.add_row([
            &token.id,
            &token.name,
            token.role.name(),
            &names,
            &token.created,
            &token.created_by,
        ]);
    }
    text(&lines)
}
