//! Where a group that nobody is in goes on reading.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::admin;
use super::error::{KafkaError, Kind, Right};
use super::{ClusterSettings, Topics};
use crate::delivery::memo::Memo;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where reading is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// At the first record there is.
    Earliest,
    /// Behind the last record there is.
    Latest,
    /// At the first record of this time or later, in milliseconds since the Unix epoch.
    Time(i64),
    /// At this offset; one that is not in the log is moved to the log's nearer end, as Kafka's own tool does.
    Offset(i64),
}

/// What a group's offsets are moved by.
#[derive(Clone, Debug)]
pub struct Seek {
    /// The cluster.
    pub cluster: Arc<ClusterSettings>,
    /// The group.
    pub group: String,
    /// Which topics.
    pub topics: Topics,
    /// Topics that a pattern never names.
    pub never: Vec<String>,
    /// These partitions of each topic; empty: all.
    pub partitions: Vec<i32>,
    /// Where to.
    pub to: SeekTo,
}

/// A partition whose offset was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that was committed before, if there was one.
    pub from: Option<i64>,
    /// The offset that is committed now.
    pub to: i64,
}

/// Moves the offsets. Beside each stands a memo of another generation, so that records that are read again are called
/// under keys of their own; totals go on. Blocks.
///
/// # Errors
/// [`Kind::GroupInUse`] while the group has members; topics or partitions that are not there; the cluster's own.
pub fn seek(seek: &Seek) -> Result<Vec<Sought>, KafkaError> {
    let group = &seek.group;
    let consumer: BaseConsumer = seek
        .cluster
        .config(&[("group.id", group.clone()), ("client.id", "fnbridge-seek".to_owned())])
        .create()
        .map_err(|error| of(&error, "open a client", group))?;
    let places = places(seek, &consumer)?;
    let members = admin::group_members(consumer.client(), group)?;
    if let Some(first) = members.first() {
        return Err(KafkaError::new(
            Kind::GroupInUse,
            format!(
                "group `{group}` has {} members, such as `{}` at {}",
                members.len(),
                first.client_id,
                first.host
            ),
        ));
    }
    let targets = targets(seek, &consumer, &places)?;
    let before = consumer
        .committed_offsets(targets.clone(), PATIENCE)
        .map_err(|error| of(&error, "see what is committed", group))?;
    let mut sought = Vec::with_capacity(places.len());
    let mut commits = TopicPartitionList::with_capacity(places.len());
    for (topic, partition) in &places {
        let to = target(&targets, topic, *partition)?;
        let old = before.find_partition(topic, *partition);
        let from = old.as_ref().and_then(|old| match old.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        });
        let memo = Memo::of_new_log(old.as_ref().map(|old| old.metadata()), from.unwrap_or_default(), to);
        let failed = |error: ClientError| of(&error, "commit", group);
        commits
            .add_partition_offset(topic, *partition, Offset::Offset(to))
            .map_err(failed)?;
        if let Some(mut added) = commits.find_partition(topic, *partition) {
            added.set_metadata(memo);
        }
        sought.push(Sought {
            topic: topic.clone(),
            partition: *partition,
            from,
            to,
        });
    }
    consumer
        .commit(&commits, CommitMode::Sync)
        .map_err(|error| of(&error, "commit where reading goes on", group))?;
    Ok(sought)
}

fn of(error: &ClientError, doing: &str, group: &str) -> KafkaError {
    KafkaError::from_client(error, doing, Some(Right::UseGroup(group.to_owned())))
}

/// The partitions that are meant, all of which have to be there.
fn places(seek: &Seek, consumer: &BaseConsumer) -> Result<Vec<(String, i32)>, KafkaError> {
    let client = consumer.client();
    let names = match &seek.topics {
        Topics::Named(names) => names.clone(),
        Topics::Pattern(pattern) => {
            let all = consumer
                .fetch_metadata(None, PATIENCE)
                .map_err(|error| of(&error, "list topics", &seek.group))?;
            pattern.resolve(all.topics().iter().map(|topic| topic.name()), &seek.never)
        }
    };
    let mut places = Vec::new();
    for name in names {
        let count = admin::partition_count::<_>(client, &name)?;
        match seek
            .partitions
            .iter()
            .find(|partition| !(0..count).contains(*partition))
        {
            Some(missing) => {
                let text = format!("found no partition {missing} of `{name}`, which has {count}, from 0");
                return Err(KafkaError::new(Kind::Missing, text));
            }
            None if seek.partitions.is_empty() => places.extend((0..count).map(|partition| (name.clone(), partition))),
            None => places.extend(seek.partitions.iter().map(|partition| (name.clone(), *partition))),
        }
    }
    Ok(places)
}

/// Each partition's new offset, within its log.
fn targets(seek: &Seek, consumer: &BaseConsumer, places: &[(String, i32)]) -> Result<TopicPartitionList, KafkaError> {
    let failed = |error: ClientError| of(&error, "see where logs begin and end", &seek.group);
    let mut asked = TopicPartitionList::with_capacity(places.len());
    let mut found = TopicPartitionList::with_capacity(places.len());
    for (topic, partition) in places {
        let (low, high) = consumer.fetch_watermarks(topic, *partition, PATIENCE).map_err(failed)?;
        let to = match seek.to {
            SeekTo::Earliest => low,
            SeekTo::Latest => high,
            SeekTo::Offset(offset) => offset.clamp(low, high),
            SeekTo::Time(ms) => {
                asked
                    .add_partition_offset(topic, *partition, Offset::Offset(ms))
                    .map_err(failed)?;
                high
            }
        };
        found
            .add_partition_offset(topic, *partition, Offset::Offset(to))
            .map_err(failed)?;
    }
    if asked.count() > 0 {
        let at = consumer.offsets_for_times(asked, PATIENCE).map_err(failed)?;
        for element in at.elements() {
            // Behind the last record of that time stands the end.
            if let Offset::Offset(offset) = element.offset() {
                let to = Offset::Offset(offset);
                found
                    .set_partition_offset(element.topic(), element.partition(), to)
                    .map_err(failed)?;
            }
        }
    }
    Ok(found)
}

fn target(targets: &TopicPartitionList, topic: &str, partition: i32) -> Result<i64, KafkaError> {
    match targets.find_partition(topic, partition).map(|found| found.offset()) {
        Some(Offset::Offset(offset)) => Ok(offset),
        _ => Err(KafkaError::new(Kind::Passing, "the cluster's answer lacks a partition")),
    }
}
