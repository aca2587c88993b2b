//! Counting what the logs hold: each record of the source, each result in a sink, each dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::audit::Held;
use crate::deadletter::told;
use crate::delivery::record::{Record, TopicPartition};
use crate::kafka::{ClusterSettings, KafkaError, Kind, LogReader};
use crate::letters::place_of;

const AT_ONCE: usize = 10_000;
const WAIT: Duration = Duration::from_millis(500);
/// A log that gives nothing for so long, and has more, is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is counted.
pub(super) struct Logs {
    /// The source's partitions, each with where the account begins.
    pub(super) source: (Arc<ClusterSettings>, BTreeMap<TopicPartition, Begin>),
    /// The sinks' topics.
    pub(super) sinks: Vec<(Arc<ClusterSettings>, String)>,
    /// The dead-letter topic.
    pub(super) letters: (Arc<ClusterSettings>, String),
}

/// Where an account begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    /// At this offset.
    At(i64),
    /// So many records before this offset.
    Before(i64, u64),
}

/// The last letter of each source record: where it stands, and when it was given up, in milliseconds since the Unix epoch.
pub(super) type LastLetters = BTreeMap<(TopicPartition, i64), (TopicPartition, i64, i64)>;

/// Counts; `read` goes up with each record. Blocks.
pub(super) fn count(
    logs: &Logs,
    read: &AtomicU64,
) -> Result<(BTreeMap<TopicPartition, Held>, LastLetters), KafkaError> {
    let (cluster, starts) = &logs.source;
    let mut held: BTreeMap<TopicPartition, Held> =
        starts.keys().map(|place| (place.clone(), Held::default())).collect();
    let mut reader = LogReader::open(cluster, "fnbridge-audit")?;
    let mut from = BTreeMap::new();
    for (place, start) in starts {
        let (low, high) = reader.watermarks(place)?;
        if let Some(held) = held.get_mut(place) {
            (held.low, held.high) = (low, high);
        }
        let start = match *start {
            Begin::At(offset) => offset,
            Begin::Before(offset, records) => offset.saturating_sub_unsigned(records),
        };
        from.insert(place.clone(), (start.max(low), high));
    }
    while !from.is_empty() {
        each(&mut reader, from.clone(), read, |record| {
            if let Some(held) = held.get_mut(&record.source) {
                held.records.insert(unsigned(record.offset));
            }
        })?;
        from = further_back(&from, starts, &held);
    }
    for (cluster, topic) in &logs.sinks {
        whole(cluster, topic, read, |record| {
            if let Some((place, offset)) = source_of(record)
                && let Some(held) = held.get_mut(&place)
            {
                held.results.insert(unsigned(offset));
                held.result_count += 1;
            }
        })?;
    }
    let mut last = LastLetters::new();
    let (cluster, topic) = &logs.letters;
    whole(cluster, topic, read, |record| {
        let told = told(record);
        let (Some(place), Some(offset)) = (told.source, told.offset) else {
            return;
        };
        if let Some(held) = held.get_mut(&place) {
            held.letters.insert(unsigned(offset));
            let at_ms = told.last_failed_ms.unwrap_or(record.timestamp_ms);
            last.insert((place, offset), (record.source.clone(), record.offset, at_ms));
        }
    })?;
    Ok((held, last))
}

/// Where gaps in a log hide how far back so many records reach, what lies before what was read is read, too.
fn further_back(
    read: &BTreeMap<TopicPartition, (i64, i64)>,
    starts: &BTreeMap<TopicPartition, Begin>,
    held: &BTreeMap<TopicPartition, Held>,
) -> BTreeMap<TopicPartition, (i64, i64)> {
    let further = read.iter().filter_map(|(place, (from, _))| {
        let (Begin::Before(offset, records), held) = (*starts.get(place)?, held.get(place)?) else {
            return None;
        };
        let missing = held.back_from(offset, records).err()?;
        let next = from.saturating_sub_unsigned(missing.saturating_mul(2)).max(held.low);
        (next < *from).then(|| (place.clone(), (next, *from)))
    });
    further.collect()
}

/// Each record of a topic that is there now; a topic that is not there holds none.
fn whole(
    cluster: &Arc<ClusterSettings>,
    topic: &str,
    read: &AtomicU64,
    see: impl FnMut(&Record),
) -> Result<(), KafkaError> {
    let mut reader = LogReader::open(cluster, "fnbridge-audit")?;
    let mut ranges = BTreeMap::new();
    for place in reader.partitions(topic)? {
        let range = reader.watermarks(&place)?;
        ranges.insert(place, range);
    }
    each(&mut reader, ranges, read, see)
}

/// Each record of these ranges of one topic or several: from the first offset on, before the second.
fn each(
    reader: &mut LogReader,
    ranges: BTreeMap<TopicPartition, (i64, i64)>,
    read: &AtomicU64,
    mut see: impl FnMut(&Record),
) -> Result<(), KafkaError> {
    let mut topics: BTreeMap<Arc<str>, BTreeMap<i32, (i64, i64)>> = BTreeMap::new();
    for (place, range) in ranges {
        if range.0 < range.1 {
            topics.entry(place.topic).or_default().insert(place.partition, range);
        }
    }
    // One topic at a time: the end of a log is told by the partition's number alone.
    for (topic, mut left) in topics {
        let starts = left.iter().map(|(partition, (from, _))| {
            let place = TopicPartition {
                topic: topic.clone(),
                partition: *partition,
            };
            (place, *from)
        });
        reader.read_from(&starts.collect())?;
        let mut moved = Instant::now();
        while !left.is_empty() {
            let records = reader.take(AT_ONCE, WAIT)?;
            if records.is_empty() && moved.elapsed() > PATIENCE {
                let text = format!("`{topic}` gave nothing for {} s, and has more", PATIENCE.as_secs());
                return Err(KafkaError::new(Kind::Away, text));
            }
            for record in &records {
                moved = Instant::now();
                if let Some((_, to)) = left.get(&record.source.partition).copied() {
                    if record.offset < to {
                        see(record);
                    }
                    if record.offset + 1 >= to {
                        left.remove(&record.source.partition);
                    }
                }
            }
            read.fetch_add(records.len() as u64, Ordering::Relaxed);
            left.retain(|partition, _| !reader.ended().contains(partition));
        }
    }
    Ok(())
}

/// The record that a result was made of: `fnbridge.source` is its id and the result's index.
fn source_of(result: &Record) -> Option<(TopicPartition, i64)> {
    let header = result
        .headers
        .iter()
        .rev()
        .find(|header| header.name == "fnbridge.source")?;
    let text = std::str::from_utf8(header.value.as_ref()?).ok()?;
    place_of(text.rsplit_once('#')?.0)
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or_default()
}
