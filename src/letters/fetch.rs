//! The records of many letters, read from their topic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::delivery::record::{Record, TopicPartition};
use crate::kafka::{KafkaError, Kind, LogReader};

const AT_ONCE: usize = 1_000;
const WAIT: Duration = Duration::from_millis(500);
/// A log that gives nothing for so long is away.
const PATIENCE: Duration = Duration::from_secs(30);
/// A gap that is longer is not read through.
const READ_THROUGH: i64 = 1_000;

/// Offsets that are wanted, by partition.
type Wanted = BTreeMap<i32, BTreeSet<i64>>;

/// Reads records of one topic; those that are gone from it are left out. Blocks.
///
/// # Errors
/// The cluster's own.
pub fn fetch(
    reader: &mut LogReader,
    topic: &str,
    offsets: impl Iterator<Item = (i32, i64)>,
) -> Result<BTreeMap<(i32, i64), Record>, KafkaError> {
    let mut wanted = Wanted::new();
    for (partition, offset) in offsets {
        wanted.entry(partition).or_default().insert(offset);
    }
    let mut found = BTreeMap::new();
    for (partition, offsets) in &mut wanted {
        let (low, high) = reader.watermarks(&place(topic, *partition))?;
        offsets.retain(|offset| (low..high).contains(offset));
    }
    loop {
        wanted.retain(|_, offsets| !offsets.is_empty());
        if wanted.is_empty() {
            return Ok(found);
        }
        round(reader, topic, &mut wanted, &mut found)?;
    }
}

/// Reads from the first offsets on, for as long as what is wanted stands close together.
fn round(
    reader: &mut LogReader,
    topic: &str,
    wanted: &mut Wanted,
    found: &mut BTreeMap<(i32, i64), Record>,
) -> Result<(), KafkaError> {
    let starts = wanted.iter().filter_map(|(partition, offsets)| {
        let first = offsets.first()?;
        Some((place(topic, *partition), *first))
    });
    reader.read_from(&starts.collect())?;
    let mut near: BTreeSet<i32> = wanted.keys().copied().collect();
    let mut moved = Instant::now();
    while !near.is_empty() {
        for record in reader.take(AT_ONCE, WAIT)? {
            let partition = record.source.partition;
            let Some(offsets) = wanted.get_mut(&partition).filter(|_| near.contains(&partition)) else {
                continue;
            };
            moved = Instant::now();
            // What was read over is not there any more.
            let later = offsets.split_off(&(record.offset + 1));
            if std::mem::replace(offsets, later).contains(&record.offset) {
                found.insert((partition, record.offset), record.clone());
            }
            if offsets.first().is_none_or(|next| next - record.offset > READ_THROUGH) {
                near.remove(&partition);
            }
        }
        for partition in reader.ended() {
            if near.remove(partition) {
                wanted.remove(partition);
            }
        }
        if moved.elapsed() > PATIENCE {
            let text = format!("`{topic}` gave nothing for {} s", PATIENCE.as_secs());
            return Err(KafkaError::new(Kind::Away, text));
        }
    }
    Ok(())
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}
