//! Rows of `docs/failures.md` that no other file proves.

pub mod function;
pub mod letters;
pub mod records;
pub mod sinks;
pub mod topics;
pub mod workers;

use crate::harness::test::Suite;
use crate::harness::topics::{Client, Entry};

/// All of them.
pub fn tests() -> [Suite; 6] {
    [
        function::tests(),
        records::tests(),
        sinks::tests(),
        letters::tests(),
        topics::tests(),
        workers::tests(),
    ]
}

/// Records with numbers from 0 as their values.
fn numbers(count: i64) -> impl Iterator<Item = Entry> {
    (0..count).map(|n| Entry::value(n.to_string()))
}

fn assert_nothing_committed(client: &Client, group: &str, topic: &str) {
    let committed = client.committed(group, topic);
    assert!(committed.values().all(|(offset, _)| *offset == 0), "{committed:?}");
}
