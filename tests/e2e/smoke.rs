//! The harness itself: what is produced to a real Kafka is what is read back.

use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![what_is_produced_is_what_is_read];

fn what_is_produced_is_what_is_read(test: &Test) {
    let topic = test.topic("records", 2);
    let sent = vec![
        Entry::value("first").key("a").to(0).at(1_764_000_000_000),
        Entry::tombstone().key("").to(0).at(1_764_000_000_001),
        Entry::value([0, 159, 146, 150])
            .header("h", Some(b"\xff"))
            .header("h", None)
            .to(1)
            .at(1_764_000_000_002),
    ];
    test.client()
        .produce_with(&topic, &[("compression.codec", "zstd")], sent.clone());
    let read = test.client().read_all(&topic);
    let unplaced: Vec<Entry> = read
        .iter()
        .cloned()
        .map(|entry| Entry { offset: -1, ..entry })
        .collect();
    assert_eq!(unplaced, sent);
    assert_eq!(read.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 1, 0]);
}
