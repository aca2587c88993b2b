//! The promises, as checks on what a task asks for. Each is called by the name of its promise.

use std::collections::BTreeMap;

use fnbridge_delivery::event::{Call, CommitEntry, Store};
use fnbridge_delivery::memo::{MAX_CHARS, Memo};
use fnbridge_delivery::settings::Ordering;

use crate::world::log::Log;
use crate::world::worker::{Held, LaneKey, Worker, lane_of, settled_in};

macro_rules! promise {
    ($holds:expr, $name:ident, $($said:tt)+) => {
        if !$holds {
            panic!("{}: {}", stringify!($name), format!($($said)+));
        }
    };
}
pub(crate) use promise;

/// No offset is committed past a record whose disposition is not durable, nor is one said to be settled ahead.
pub fn nothing_is_lost(log: &Log, held: &Held, entry: &CommitEntry, memo: &Memo, worker: &Worker) {
    let (sinks, has_function) = (worker.settings.sinks, worker.settings.has_function);
    promise!(
        entry.offset >= held.asked,
        nothing_is_lost,
        "the offset went back from {} to {}",
        held.asked,
        entry.offset
    );
    let passed = log.entries[log.at_or_behind(held.asked)..log.at_or_behind(entry.offset)].iter();
    let ahead = memo.settled.iter().filter_map(|offset| log.entry(*offset));
    for record in passed.chain(ahead) {
        promise!(
            record.is_done(sinks, has_function),
            nothing_is_lost,
            "a commit of {} with {:?} settled ahead passes {}, of which {:?} is known",
            entry.offset,
            memo.settled,
            record.record.id(),
            record.fate
        );
    }
}

/// What the memo counts is what was settled, each record once.
pub fn totals_are_true(held: &Held, entry: &CommitEntry, memo: &Memo) {
    let new = |offset: &&i64| **offset >= entry.offset && !held.settled_before.contains(offset);
    let ahead = memo.settled.iter().filter(new).count() as u64;
    let expected = held.totals_before + held.passed + ahead;
    promise!(
        settled_in(memo) == expected,
        totals_are_true,
        "the memo at {} counts {:?}, but {expected} records were settled: {} before, {} passed, {ahead} ahead",
        entry.offset,
        memo.totals,
        held.totals_before,
        held.passed
    );
}

/// What an earlier owner had settled ahead of its commit stays settled.
pub fn finished_work_is_not_redone(log: &Log, held: &Held, entry: &CommitEntry, memo: &Memo) {
    for offset in held.settled_before.range(entry.offset.max(log.start)..) {
        promise!(
            memo.settled.contains(offset),
            finished_work_is_not_redone,
            "{offset} was settled before this assignment, and a commit of {} forgets it",
            entry.offset
        );
    }
}

/// A lane's records are called in order, one batch at a time.
pub fn order(log: &Log, held: &Held, call: &Call, ordering: Ordering) {
    let mut last: BTreeMap<LaneKey, i64> = BTreeMap::new();
    for record in &call.records {
        let Some(entry) = log.entry(record.offset) else {
            continue;
        };
        let lane = lane_of(ordering, entry);
        promise!(
            last.get(&lane).is_none_or(|before| *before < record.offset),
            order,
            "{} is called after {:?} of its lane",
            record.id(),
            last.get(&lane)
        );
        promise!(
            !held.on_wire.contains_key(&lane),
            order,
            "{}'s lane has another call on the wire",
            record.id()
        );
        promise!(
            held.is_open(lane, record.offset),
            order,
            "{} is called, and was never given to the task, or is done with",
            record.id()
        );
        last.insert(lane, record.offset);
    }
    for (lane, last) in last {
        let earlier = held.open[&lane]
            .range(..last)
            .filter(|offset| call.records.iter().all(|r| r.offset != **offset));
        for offset in earlier {
            let origin = |offset| held.batches.get(offset).map(|batch: &std::rc::Rc<_>| batch.origin);
            let together = origin(offset).is_some() && origin(offset) == origin(&last);
            // Both were called by an earlier owner, then in one batch: the lane was called no further.
            let together = together || log.entry(last).is_some_and(|e| e.fate.calls > 0);
            promise!(
                log.entry(*offset).is_some_and(|e| e.fate.leave) && together,
                order,
                "{last} is called while {offset}, before it in its lane, has not been answered"
            );
        }
    }
}

/// A batch that is called again has the same records, or is a part of what it was.
pub fn identity_is_stable(held: &Held, call: &Call) {
    let offsets: Vec<i64> = call.records.iter().map(|r| r.offset).collect();
    for offset in &offsets {
        let Some(batch) = held.batches.get(offset).filter(|_| !held.unbound.contains(offset)) else {
            continue;
        };
        promise!(
            offsets.iter().all(|offset| batch.offsets.contains(offset)),
            identity_is_stable,
            "{offsets:?} are called, but {offset} was in a batch with {:?}",
            batch.offsets
        );
        let still_wanted = batch.offsets.iter().filter(|offset| !held.skips(**offset)).count();
        promise!(
            !batch.again.get() || still_wanted == offsets.len(),
            identity_is_stable,
            "{:?} came back from a call that said nothing of them, and {offsets:?} are called",
            batch.offsets
        );
    }
}

/// The attempt that a call says it is counts what was charged, here and by earlier owners.
pub fn attempts_are_counted_across_hand_overs(log: &Log, call: &Call, worker: &Worker) {
    // One that was thrown out counts on its own.
    if worker.cut_off {
        return;
    }
    let fates = || {
        call.records
            .iter()
            .filter_map(|r| log.entry(r.offset))
            .map(|entry| &entry.fate)
    };
    let most = fates().map(|fate| fate.charged).max().unwrap_or(0) + 1;
    let least = fates()
        .map(|fate| fate.charged.saturating_sub(fate.forgiven))
        .max()
        .unwrap_or(0)
        + 1;
    promise!(
        (least..=most).contains(&call.attempt),
        attempts_are_counted_across_hand_overs,
        "{} and {} more are called as attempt {}, but {least} to {most} would be right",
        call.records[0].id(),
        call.records.len() - 1,
        call.attempt
    );
}

/// A sink is only given what the function answered in this assignment, and nothing that it has stored in it.
pub fn two_budgets(log: &Log, held: &Held, store: &Store, has_function: bool) {
    for item in store.items.iter().filter(|item| item.record.source == log.source) {
        let offset = item.record.offset;
        promise!(
            held.accepted.contains(&offset) || !has_function,
            two_budgets,
            "results of {} are sent to a sink, and its function gave none",
            item.record.id()
        );
        for (index, _) in item.results(store.sink) {
            promise!(
                !held.stored.contains(&(store.sink.0, offset, index)),
                two_budgets,
                "result {index} of {} is sent to sink {} again, which has stored it",
                item.record.id(),
                store.sink.0
            );
        }
    }
}

/// Records and bytes in flight, calls and memos are within their limits.
pub fn everything_is_bounded(worker: &mut Worker, slack_bytes: usize) {
    let on_wire = worker.calls.values().filter(|call| !call.abandoned).count();
    promise!(
        on_wire <= worker.settings.max_in_flight,
        everything_is_bounded,
        "{on_wire} calls are on the wire, {} allowed",
        worker.settings.max_in_flight
    );
    let held = worker.task.held_bytes();
    promise!(
        held <= worker.allowed + slack_bytes,
        everything_is_bounded,
        "{held} bytes are held, {} and a slack of {slack_bytes} allowed",
        worker.allowed
    );
    worker.allowed = worker.allowed.min(held.max(worker.share));
}

/// Over any window, records that are called for the first time are no more than its seconds and one more allow, and one
/// batch.
pub fn limits_hold(worker: &mut Worker, batch: [u64; 2]) {
    /// First calls that are looked back on.
    const LOOKED_BACK_ON: usize = 300;
    let limits = worker.settings.limits;
    if worker.first_calls.len() > LOOKED_BACK_ON {
        worker.first_calls.pop_front();
    }
    let (now, _) = worker.first_calls.back().copied().unwrap_or_default();
    let rates = [limits.records_per_second, limits.bytes_per_second];
    for (nth, rate) in rates.into_iter().enumerate() {
        let Some(thousandths) = rate.map(|rate| (rate.per_second() * 1000.0).round() as u64) else {
            continue;
        };
        let mut gone = 0;
        for (from, counts) in worker.first_calls.iter().rev() {
            gone += counts[nth];
            // Millionths, so that nothing is rounded.
            let allowed = thousandths * (now - from + 1000) + batch[nth] * 1_000_000;
            promise!(
                gone * 1_000_000 <= allowed,
                limits,
                "{gone} went from {from} to {now}, {allowed} millionths were allowed"
            );
        }
    }
}

/// A memo fits where Kafka puts it.
pub fn a_memo_fits(entry: &CommitEntry) {
    promise!(
        entry.memo.is_ascii() && entry.memo.len() <= MAX_CHARS,
        everything_is_bounded,
        "a memo of {} characters",
        entry.memo.len()
    );
}
