//! What promise 1 and 2 say of an output topic: nothing lost, order of first occurrences.

use std::collections::{BTreeMap, HashSet};

use super::topics::Entry;

/// The header that names a result's record and its place among that record's results.
const SOURCE: &str = "fnbridge.source";

/// What was found in an output topic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Results that stand there for the first time.
    pub first: usize,
    /// Results that stand there again.
    pub again: usize,
}

/// Checks that the results of each source partition are there, in the order of first occurrences and without a gap, one
/// a record, for the offsets that `expected` lists in order. `read` is in the order in which each output partition holds it.
///
/// # Panics
/// If one is missing, unexpected or out of order.
pub fn check_partitions(read: &[Entry], expected: &BTreeMap<i32, Vec<i64>>) -> Found {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut firsts: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for entry in read {
        let source = entry.header_text(SOURCE);
        if seen.insert(source) {
            let (partition, offset) = place(source);
            firsts.entry(partition).or_default().push(offset);
        }
    }
    for (partition, offsets) in expected {
        let found = firsts.remove(partition).unwrap_or_default();
        if let Some(at) = (0..offsets.len().max(found.len())).find(|&i| offsets.get(i) != found.get(i)) {
            panic!(
                "results of source partition {partition}: {} expected, {} found; the first that differs is number {at}: \
                 expected offset {:?}, found {:?}, after {:?}",
                offsets.len(),
                found.len(),
                offsets.get(at),
                found.get(at),
                &found[at.saturating_sub(5)..at.min(found.len())]
            );
        }
    }
    assert!(
        firsts.is_empty(),
        "results of records that were not expected: {firsts:?}"
    );
    Found {
        first: seen.len(),
        again: read.len() - seen.len(),
    }
}

/// The same for partitions whose records stand at offsets 0 to their count.
pub fn check_counts(read: &[Entry], counts: &[i64]) -> Found {
    let expected = (0..)
        .zip(counts)
        .map(|(partition, count)| (partition, (0..*count).collect()))
        .collect();
    check_partitions(read, &expected)
}

/// Partition and offset of the record that a result was made of.
pub fn place_of(entry: &Entry) -> (i32, i64) {
    place(entry.header_text(SOURCE))
}

/// Partition and offset of `topic/partition/offset#index`.
fn place(source: &str) -> (i32, i64) {
    let parse = || {
        let (record, _index) = source.rsplit_once('#')?;
        let (rest, offset) = record.rsplit_once('/')?;
        let (_topic, partition) = rest.rsplit_once('/')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    parse().unwrap_or_else(|| panic!("found {SOURCE}: {source}, expected topic/partition/offset#index"))
}
