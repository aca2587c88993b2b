//! Whether later records of a dead letter's key went through since: then a redrive comes late for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::record::TopicPartition;
use crate::kafka::{ClusterSettings, KafkaError, LogReader};

/// How many source records are looked at, at most.
const MOST: u64 = 100_000;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(8);
const AT_ONCE: usize = 5_000;
const WAIT: Duration = Duration::from_millis(200);
/// Ids that are named.
const NAMED: usize = 5;

/// Records of the same key behind a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Later {
    /// How many there are, as far as was looked.
    pub records: u64,
    /// How many of them lie before the committed offset: they are done with.
    pub passed: u64,
    /// The offsets of the first.
    pub first: Vec<i64>,
    /// How many records were looked at.
    pub looked_at: u64,
    /// The last offset that was looked at.
    pub up_to: Option<i64>,
    /// That was the log's end.
    pub to_the_end: bool,
    /// The log no longer has what followed first.
    pub gone: bool,
}

/// Looks for records of this key behind an offset. `committed`: where the pipeline's group is. Blocks.
///
/// # Errors
/// The cluster's own.
pub fn later(
    cluster: &Arc<ClusterSettings>,
    source: &TopicPartition,
    offset: i64,
    key: &[u8],
    committed: Option<i64>,
) -> Result<Later, KafkaError> {
    let mut reader = LogReader::open(cluster, "fnbridge-dead-letters")?;
    let (low, high) = reader.watermarks(source)?;
    let from = low.max(offset + 1);
    let mut found = Later {
        gone: low > offset + 1,
        to_the_end: from >= high,
        ..Later::default()
    };
    if found.to_the_end {
        return Ok(found);
    }
    reader.read_from(&BTreeMap::from([(source.clone(), from)]))?;
    let began = Instant::now();
    while found.looked_at < MOST && !found.to_the_end && began.elapsed() < PATIENCE {
        for record in reader.take(AT_ONCE, WAIT)? {
            if record.offset >= high || found.looked_at == MOST {
                break;
            }
            found.looked_at += 1;
            found.up_to = Some(record.offset);
            if record.key.as_deref() == Some(key) {
                found.records += 1;
                found.passed += u64::from(committed.is_some_and(|committed| record.offset < committed));
                if found.first.len() < NAMED {
                    found.first.push(record.offset);
                }
            }
        }
        found.to_the_end =
            found.up_to.is_some_and(|up_to| up_to + 1 >= high) || reader.ended().contains(&source.partition);
    }
    Ok(found)
}
