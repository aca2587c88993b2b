//! What stands committed for a group.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error::{KafkaError, Right};
use super::{SourceSettings, Topics, admin};
use crate::delivery::record::TopicPartition;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each offset that a source's group has committed on its topics, with what stands beside it. Blocks.
///
/// # Errors
/// The cluster's own.
pub fn committed(source: &SourceSettings) -> Result<BTreeMap<TopicPartition, (i64, String)>, KafkaError> {
    let group = &source.group;
    let failed = |error: ClientError| {
        let needs = Some(Right::UseGroup(group.clone()));
        KafkaError::from_client(&error, &format!("see what group `{group}` has committed"), needs)
    };
    let settings = [("group.id", group.clone()), ("client.id", "fnbridge-audit".to_owned())];
    let consumer: BaseConsumer = source.cluster.config(&settings).create().map_err(failed)?;
    let names = match &source.topics {
        Topics::Named(names) => names.clone(),
        Topics::Pattern(pattern) => {
            let all = consumer.fetch_metadata(None, PATIENCE).map_err(failed)?;
            pattern.resolve(all.topics().iter().map(|topic| topic.name()), &source.never)
        }
    };
    let mut asked = TopicPartitionList::new();
    for name in names {
        let facts = admin::describe(consumer.client(), &name)?;
        for partition in 0..facts.map_or(0, |facts| facts.partitions) {
            asked.add_partition(&name, partition);
        }
    }
    let mut found = BTreeMap::new();
    for element in consumer.committed_offsets(asked, PATIENCE).map_err(failed)?.elements() {
        if let Offset::Offset(offset) = element.offset() {
            let place = TopicPartition {
                topic: element.topic().into(),
                partition: element.partition(),
            };
            found.insert(place, (offset, element.metadata().to_owned()));
        }
    }
    Ok(found)
}
