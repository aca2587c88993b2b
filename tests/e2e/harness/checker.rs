//! What promise 1 and 2 say of an output topic: nothing lost, order of first occurrences.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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

/// Checks that there is one result for each offset that `expected` lists for a source partition and none for any other,
/// and that each output partition holds those of a source partition in the order of first occurrences. `read` is in the
/// order in which each output partition holds it.
///
/// # Panics
/// If one is missing, unexpected or out of order.
pub fn check_partitions(read: &[Entry], expected: &BTreeMap<i32, Vec<i64>>) -> Found {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut firsts: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    let mut last: BTreeMap<(i32, Option<i32>), i64> = BTreeMap::new();
    for entry in read.iter().filter(|entry| seen.insert(entry.header_text(SOURCE))) {
        let (partition, offset) = place_of(entry);
        firsts.entry(partition).or_default().insert(offset);
        let before = last.insert((partition, entry.partition), offset);
        assert!(
            before.is_none_or(|before| before < offset),
            "source partition {partition} in output partition {:?}: offset {offset} stands behind {before:?}",
            entry.partition
        );
    }
    for (partition, offsets) in expected {
        let (found, offsets) = (
            firsts.remove(partition).unwrap_or_default(),
            offsets.iter().copied().collect(),
        );
        let missing: Vec<&i64> = found.symmetric_difference(&offsets).take(20).collect();
        assert!(
            missing.is_empty(),
            "results of source partition {partition}: {} expected, {} found; missing or unexpected: {missing:?}…",
            offsets.len(),
            found.len()
        );
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
