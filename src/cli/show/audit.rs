//! An account of what became of records.

use anstyle::AnsiColor;

use super::{painted, table, text};
use crate::api::wire::Audit;

/// An audit: first whether it adds up.
pub(in crate::cli) fn audit(audit: &Audit) -> String {
    let verdict = match audit.adds_up {
        true => painted("adds up", AnsiColor::Green),
        false => painted("does not add up", AnsiColor::Red),
    };
    let from = audit.from.as_deref().unwrap_or("its beginning");
    let mut out = format!("{} {verdict}, from {from} to {}\n", audit.pipeline, audit.to);
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            out += &format!("  {count:>9}  {what}\n");
        }
    };
    line(audit.records, "records in the source log");
    for (disposition, count) in &audit.settled {
        line(
            *count,
            &format!("{} (as the commits count)", disposition.replace('_', "-")),
        );
    }
    line(audit.with_result, "have a result in a sink (counted in Kafka)");
    line(audit.more_results, "further results: several a record, or repeats");
    line(audit.with_letter, "have a dead letter (counted in Kafka)");
    for (standing, count) in &audit.letters {
        line(*count, &format!("of these: the last letter is {standing}"));
    }
    line(audit.neither, "have neither");
    line(audit.unsettled, "behind the range, not settled yet");
    line(
        audit.gone,
        "offsets that retention has removed: the commits alone speak of them",
    );
    for sink in &audit.not_countable {
        out += &format!("  results in {sink} can't be counted: the commits alone speak of them\n");
    }
    for (partition, why) in &audit.left_out {
        out += &format!("  {partition} is left out: {why}\n");
    }
    let mut lines = table([
        "PARTITION",
        "FROM",
        "TO",
        "RECORDS",
        "RESULTS",
        "LETTERS",
        "MISSING",
        "UNCOUNTED",
    ]);
    for partition in &audit.partitions {
        lines.add_row([
            partition.partition.clone(),
            partition.from.to_string(),
            partition.to.to_string(),
            partition.records.to_string(),
            partition.with_result.to_string(),
            partition.with_letter.to_string(),
            partition.missing.to_string(),
            partition.uncounted.to_string(),
        ]);
    }
    out += &text(&lines);
    out + &wrong(audit)
}

/// What does not add up.
fn wrong(audit: &Audit) -> String {
    let mut out = String::new();
    if audit.uncounted != 0 {
        out += &format!(
            "{} records more are in the source log than the commits count: look at status for seeks, and at the log of the workers\n",
            audit.uncounted
        );
    }
    if audit.missing > 0 {
        let which = match audit.neither == audit.missing {
            true => "these",
            false => "among these",
        };
        out += &format!(
            "{} records have neither a result nor a dead letter, and were neither dropped nor filtered: the function delivered nothing \
             for them, or what it delivered is gone; {which}\n",
            audit.missing
        );
        audit.suspects.iter().for_each(|id| out += &format!("  {id}\n"));
        if audit.neither > audit.suspects.len() as u64 {
            out += "  …\n";
        }
    }
    out
}
