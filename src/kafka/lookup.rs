//! One record, by its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error::{KafkaError, Kind, Right};
use super::{ClusterSettings, admin};
use crate::delivery::record::{Header, Record, TopicPartition};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a record that is there may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// Reads one record, as a member of no group. Blocks.
///
/// # Errors
/// A topic, partition or offset that is not there, with what is; the cluster's own.
pub fn read_record(cluster: &Arc<ClusterSettings>, source: &TopicPartition, offset: i64) -> Result<Record, KafkaError> {
    let (topic, partition) = (&*source.topic, source.partition);
    let failed = |error: ClientError| {
        let doing = format!("read {source}/{offset}");
        KafkaError::from_client(&error, &doing, Some(Right::ReadTopic(topic.to_owned())))
    };
    let missing = |text: String| KafkaError::new(Kind::OutOfRange, text);
    let settings = [
        ("group.id", "fnbridge-try".to_owned()),
        ("client.id", "fnbridge-try".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
    ];
    let consumer: BaseConsumer = cluster.config(&settings).create().map_err(failed)?;
    let count = admin::partition_count(consumer.client(), topic)?;
    if !(0..count).contains(&partition) {
        let text = format!("found no partition {partition} of `{topic}`, which has {count}, from 0");
        return Err(KafkaError::new(Kind::Missing, text));
    }
    let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).map_err(failed)?;
    if !(low..high).contains(&offset) {
        return Err(missing(format!(
            "found no record {source}/{offset}: the log has {low} to {}",
            high - 1
        )));
    }
    let mut place = TopicPartitionList::new();
    place
        .add_partition_offset(topic, partition, Offset::Offset(offset))
        .map_err(failed)?;
    consumer.assign(&place).map_err(failed)?;
    let until = Instant::now() + ARRIVES_WITHIN;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(message)) if message.offset() == offset => return Ok(record(source, &message)),
            Some(Ok(message)) => {
                let next = message.offset();
                return Err(missing(format!(
                    "found no record {source}/{offset}: it was compacted away, or is none of an application; the next is {next}"
                )));
            }
        }
    }
    let text = format!("{source}/{offset} did not arrive within {} s", ARRIVES_WITHIN.as_secs());
    Err(KafkaError::new(Kind::Away, text))
}

pub(super) fn record(source: &TopicPartition, message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        source: source.clone(),
        offset: message.offset(),
        generation: 0,
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers
            .map(|header| Header {
                name: header.key.to_owned(),
                value: header.value.map(Bytes::copy_from_slice),
            })
            .collect(),
    }
}
