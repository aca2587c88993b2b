//! What happened, a line each.

use std::fmt;

use fnbridge_delivery::identity::offset_ranges;
use fnbridge_delivery::memo::Memo;

use super::Happened;
use super::facts::{Fact, Place, ResultOf};

/// The most characters of a list in a line.
const SHOWN: usize = 240;

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  {}", self.at, line(&self.fact))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { partition, log, offset } = self;
        match log {
            0 => write!(f, "{partition}/{offset}"),
            log => write!(f, "{partition}'{log}/{offset}"),
        }
    }
}

fn line(fact: &Fact) -> String {
    match fact {
        Fact::Joins { worker, settings } => format!(
            "worker {worker} joins: ordering {:?}, {} a batch, {} in flight, {} attempts, {:?}, {} sinks, function {}, {:?}",
            settings.ordering,
            settings.batch.max_records,
            settings.max_in_flight,
            settings.retry.max_attempts,
            settings.on_exhausted,
            settings.sinks,
            settings.has_function,
            settings.guard,
        ),
        Fact::Closes { worker } => format!("worker {worker} is told to close"),
        Fact::Leaves { worker } => format!("worker {worker} has left"),
        Fact::Dies { worker } => format!("worker {worker} dies"),
        Fact::ThrownOut { worker } => format!("worker {worker} is thrown out of the group, and does not know"),
        Fact::Learns { worker } => format!("worker {worker} learns that it was thrown out"),
        Fact::Rebalance { eager: true } => "the group moves, eagerly".into(),
        Fact::Rebalance { eager: false } => "the group moves".into(),
        Fact::Healed => "faults end".into(),
        Fact::Recreated { partition } => format!("the topic of partition {partition} is deleted and created anew"),
        Fact::Expires { partition, to, .. } => format!("retention removes what is before {partition}/{to}"),
        Fact::FunctionIs(health) => format!("the function is {health:?}"),
        Fact::SinkIs { sink, well } => format!("sink {sink} is {}", health(*well)),
        Fact::LettersAre { well } => format!("the dead-letter topic is {}", health(*well)),
        Fact::Clock { wall_ms, stands_ms: 0 } => format!("the wall clock jumps by {wall_ms} ms"),
        Fact::Clock { stands_ms, .. } => format!("everything stands still for {stands_ms} ms"),
        Fact::Paused { worker, paused } => format!("worker {worker} <- paused: {paused}"),
        Fact::Share { worker, bytes } => format!("worker {worker} <- may hold {bytes} bytes"),
        Fact::ToldToSkip {
            worker,
            partition,
            from,
            to,
        } => format!("worker {worker} <- skip {partition}/{from}-{to}"),
        Fact::Assigned {
            worker,
            assignment,
            partition,
            log,
            position,
            memo,
        } => {
            let memo = memo.as_ref().map_or("no memo".to_owned(), |memo| told(memo));
            format!(
                "worker {worker} <- #{} is partition {partition}{} at {position}, {memo}",
                assignment.0,
                "'".repeat(*log)
            )
        }
        Fact::Arrived {
            worker,
            assignment,
            offsets,
        } => format!("worker {worker} <- #{} records {}", assignment.0, ranges(offsets)),
        Fact::Overtaken { worker, assignment, to } => {
            format!(
                "worker {worker} <- #{} goes on at {to}, retention was faster",
                assignment.0
            )
        }
        Fact::Revoked {
            worker,
            assignment,
            deadline,
        } => format!("worker {worker} <- #{} is taken away, by {deadline}", assignment.0),
        Fact::Lost { worker, assignment } => format!("worker {worker} <- #{} is lost", assignment.0),
        Fact::Released { worker, assignment } => format!("worker {worker} -> #{} is let go", assignment.0),
        Fact::Called {
            worker,
            call,
            assignment,
            offsets,
            attempt,
            probe,
            ..
        } => format!(
            "worker {worker} -> call {} of #{}: {}, attempt {attempt}{}",
            call.0,
            assignment.0,
            ranges(offsets),
            if *probe { ", a probe" } else { "" }
        ),
        Fact::Abandoned { worker, call } => format!("worker {worker} -> call {} is abandoned", call.0),
        Fact::Answered { worker, call, said } => {
            format!(
                "worker {worker} <- call {}: {}",
                call.0,
                shortened(&format!("{said:?}"))
            )
        }
        Fact::Asked {
            worker,
            store,
            sink,
            items,
        } => {
            let items: Vec<String> = items.iter().map(|(place, from)| format!("{place}+{from}")).collect();
            let items = items.join(" ");
            format!(
                "worker {worker} -> store {} in sink {sink}: {}",
                store.0,
                shortened(&items)
            )
        }
        Fact::Stored { sink, place, index } => format!("sink {sink} has result {index} of {place}"),
        Fact::Refuses { sink, place, index } => format!("sink {sink} refuses result {index} of {place}"),
        Fact::Receipts { worker, store, stored } => {
            let all = stored.iter().filter(|stored| **stored).count();
            format!("worker {worker} <- store {}: {all} of {} stored", store.0, stored.len())
        }
        Fact::Recycled { worker } => format!("worker {worker} -> closes its producers and opens new ones"),
        Fact::LetterAsked {
            worker,
            letter,
            place,
            stage,
            status,
            reason,
            of,
        } => format!(
            "worker {worker} -> letter {} of {place}{}, stage {}, {status:?} {reason}",
            letter.0,
            result(of),
            stage.name()
        ),
        Fact::Lettered { place, stage, of } => {
            format!(
                "the dead-letter topic has {place}{}, stage {}",
                result(of),
                stage.name()
            )
        }
        Fact::LetterReceipt {
            worker,
            letter,
            written,
        } => format!("worker {worker} <- letter {}: written: {written}", letter.0),
        Fact::Transacts {
            worker,
            transaction,
            results,
            letters,
        } => {
            let results: Vec<String> = (results.iter())
                .map(|(place, (sink, index))| format!("{place}#{index}>{sink}"))
                .collect();
            let letters: Vec<String> = letters.iter().map(|(place, ..)| place.to_string()).collect();
            let (results, letters) = (results.join(" "), letters.join(" "));
            format!(
                "worker {worker} -> transaction {}: results [{}] letters [{}]",
                transaction.0,
                shortened(&results),
                shortened(&letters)
            )
        }
        Fact::Transacted {
            worker,
            transaction,
            committed,
        } => format!(
            "worker {worker} <- transaction {}: committed: {committed}",
            transaction.0
        ),
        Fact::CommitAsked {
            worker,
            assignment,
            offset,
            memo,
            ..
        } => format!(
            "worker {worker} -> commit #{} at {offset}, {}",
            assignment.0,
            told(memo)
        ),
        Fact::Committed { assignment, offset, .. } => format!("the group has #{} at {offset}", assignment.0),
        Fact::CommitTold {
            worker,
            assignment,
            refused,
        } => format!(
            "worker {worker} <- commit #{}: {}",
            assignment.0,
            refused.as_deref().unwrap_or("stands")
        ),
        Fact::Noticed { worker, notice } => format!("worker {worker} says {}", shortened(&format!("{notice:?}"))),
    }
}

fn health(well: bool) -> &'static str {
    if well { "well" } else { "away" }
}

fn result(of: &Option<ResultOf>) -> String {
    of.map_or(String::new(), |(sink, index)| {
        format!(" result {index} for sink {sink}")
    })
}

fn ranges(offsets: &[i64]) -> String {
    shortened(&offset_ranges(offsets)).to_owned()
}

fn told(memo: &Memo) -> String {
    let batch = |batch: &fnbridge_delivery::memo::MemoBatch| {
        let part =
            |part: &fnbridge_delivery::memo::MemoPart| format!("{}x{}", offset_ranges(&part.offsets), part.attempts);
        batch.parts.iter().map(part).collect::<Vec<_>>().join("|")
    };
    let batches: Vec<String> = memo.batches.iter().map(batch).collect();
    let (batches, ahead) = (batches.join(" "), ranges(&memo.settled));
    format!(
        "batches [{}] ahead [{ahead}] totals {:?}",
        shortened(&batches),
        memo.totals
    )
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}
