//! The promises, as far as they can be seen from inside, by their names. Debug builds check them
//! at each step; the simulated worlds of `tests/delivery` check the same promises from outside.

use rustc_hash::FxHashMap;

use crate::lane::LaneRef;
use crate::memo::MAX_CHARS;
use crate::partition::{Entry, Partition, Seq, State};
use crate::work::Part;

/// The offset to commit is that of the first unsettled record, and never goes back.
pub(crate) fn nothing_is_lost(partition: &Partition) -> bool {
    let first = partition.entries.front();
    let unsettled = first.is_none_or(|entry| !matches!(entry.state, State::Settled) && entry.record.is_some());
    unsettled && partition.committable() >= partition.committed
}

/// A call carries a lane's records in order, and each of them waits for its answer.
pub(crate) fn order(partition: &Partition, part: &Part) -> bool {
    let mut last: FxHashMap<LaneRef, Seq> = FxHashMap::default();
    part.seqs.iter().all(|seq| {
        let entry = partition
            .entry(*seq)
            .filter(|entry| matches!(entry.state, State::InWork(_)));
        entry.is_some_and(|entry| last.insert(entry.lane, *seq).is_none_or(|before| before < *seq))
    })
}

/// The function is through with a record once: what it answered is not asked for again.
pub(crate) fn two_budgets(entry: &Entry) -> bool {
    matches!(entry.state, State::Waiting | State::InWork(_))
}

/// A memo fits where Kafka puts it.
pub(crate) fn everything_is_bounded(memo: &str) -> bool {
    memo.len() <= MAX_CHARS
}

/// The bytes that a partition is said to hold are those of its records and results.
pub(crate) fn bytes_are_counted(partition: &Partition) -> bool {
    let held = partition.entries.iter().map(|entry| match &entry.state {
        State::Settled => 0,
        State::Delivering(delivering) => entry.weight_bytes + delivering.weight_bytes,
        State::Waiting | State::InWork(_) | State::GivenUp | State::Blocked => entry.weight_bytes,
    });
    held.sum::<usize>() == partition.held_bytes
}
