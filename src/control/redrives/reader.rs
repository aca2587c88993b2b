//! A job's letters, read from their topic: from where it goes on up to where it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::delivery::record::{Record, TopicPartition};
use crate::kafka::{ClusterSettings, KafkaError, Kind, LogReader};

const AT_ONCE: usize = 500;
const WAIT: Duration = Duration::from_millis(200);
/// After trouble, it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What was read.
#[derive(Debug)]
pub(super) enum Read {
    /// Records in log order by partition, and how far each partition was read by then.
    Some {
        records: Vec<Record>,
        up_to: BTreeMap<i32, i64>,
    },
    /// Something is in the way, and is waited for.
    Waits(String),
}

/// What is to be read: from which offset on, and before which, by partition.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    pub(super) topic: Arc<str>,
    pub(super) ranges: BTreeMap<i32, (i64, i64)>,
}

/// Reads in the background; a full channel makes it wait, a dropped one ends it.
pub(super) fn read(cluster: Arc<ClusterSettings>, ranges: Ranges) -> mpsc::Receiver<Read> {
    let (tell, told) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let mut left = ranges;
        while !left.ranges.is_empty() {
            if let Err(error) = read_on(&cluster, &mut left, &tell) {
                if tell.blocking_send(Read::Waits(error.to_string())).is_err() {
                    return;
                }
                std::thread::sleep(AGAIN_AFTER);
            }
            if tell.is_closed() {
                return;
            }
        }
    });
    told
}

/// Reads until everything is read, or something is in the way.
fn read_on(cluster: &Arc<ClusterSettings>, left: &mut Ranges, tell: &mpsc::Sender<Read>) -> Result<(), KafkaError> {
    let mut reader = LogReader::open(cluster, "fnbridge-redrive")?;
    if reader.partitions(&left.topic)?.is_empty() {
        let text = format!("the topic `{}` does not exist", left.topic);
        return Err(KafkaError::new(Kind::Missing, text));
    }
    skip_what_is_gone(&reader, left, tell)?;
    loop {
        let starts: BTreeMap<TopicPartition, i64> = (left.ranges.iter())
            .map(|(partition, (from, _))| (place(&left.topic, *partition), *from))
            .collect();
        if starts.is_empty() {
            return Ok(());
        }
        reader.read_from(&starts)?;
        // One that is read to its end would go on with what is none of the job's.
        let mut one_has_ended = false;
        while !one_has_ended {
            let mut records = reader.take(AT_ONCE, WAIT)?;
            records.retain(|record| {
                let range = left.ranges.get(&record.source.partition);
                range.is_some_and(|(from, to)| (*from..*to).contains(&record.offset))
            });
            let mut up_to: BTreeMap<i32, i64> = BTreeMap::new();
            for record in &records {
                up_to.insert(record.source.partition, record.offset + 1);
            }
            // What is to be read was there before: at a log's end there is no more of it.
            for partition in reader.ended() {
                if let Some((_, to)) = left.ranges.get(partition) {
                    up_to.insert(*partition, *to);
                }
            }
            for (partition, next) in &up_to {
                if let Some((from, _)) = left.ranges.get_mut(partition) {
                    *from = *next;
                }
            }
            let before = left.ranges.len();
            left.ranges.retain(|_, (from, to)| from < to);
            one_has_ended = left.ranges.len() < before;
            if (!records.is_empty() || one_has_ended) && tell.blocking_send(Read::Some { records, up_to }).is_err() {
                left.ranges.clear();
            }
            if tell.is_closed() {
                left.ranges.clear();
                return Ok(());
            }
        }
    }
}

/// What retention removed, and what lies behind the end of a log that was made anew, is not waited for.
fn skip_what_is_gone(reader: &LogReader, left: &mut Ranges, tell: &mpsc::Sender<Read>) -> Result<(), KafkaError> {
    let mut up_to = BTreeMap::new();
    for (partition, (from, to)) in &mut left.ranges {
        let (low, high) = reader.watermarks(&place(&left.topic, *partition))?;
        let next = match *from > high {
            true => *to,
            false => (*from).max(low.min(*to)),
        };
        if next > *from {
            *from = next;
            up_to.insert(*partition, next);
        }
    }
    left.ranges.retain(|_, (from, to)| from < to);
    if !up_to.is_empty() {
        let records = Vec::new();
        // A channel that is closed is seen by who calls.
        let _ = tell.blocking_send(Read::Some { records, up_to });
    }
    Ok(())
}

fn place(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.clone(),
        partition,
    }
}
