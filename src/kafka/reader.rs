//! Reading logs from given offsets on, as a member of no group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::admin;
use super::cluster::ClusterSettings;
use super::error::{KafkaError, Kind, Right};
use super::lookup::record;
use crate::delivery::record::{Record, TopicPartition};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads logs. All methods block.
pub struct LogReader {
    consumer: BaseConsumer,
    ended: BTreeSet<i32>,
}

impl LogReader {
    /// Opens a client that reads here and there: what it waited for before is not in its way for long. This does not wait for the
    /// cluster.
    ///
    /// # Errors
    /// [`Kind::Settings`], with the property that is wrong.
    pub fn open(cluster: &Arc<ClusterSettings>, client_id: &str) -> Result<LogReader, KafkaError> {
        LogReader::waiting(cluster, client_id, 50)
    }

    /// Opens a client that stays at the ends of its logs, and asks a broker twice a second. This does not wait for the cluster.
    ///
    /// # Errors
    /// [`Kind::Settings`], with the property that is wrong.
    pub fn tail(cluster: &Arc<ClusterSettings>, client_id: &str) -> Result<LogReader, KafkaError> {
        LogReader::waiting(cluster, client_id, 500)
    }

    fn waiting(cluster: &Arc<ClusterSettings>, client_id: &str, wait_ms: u32) -> Result<LogReader, KafkaError> {
        let settings = [
            ("group.id", client_id.to_owned()),
            ("client.id", client_id.to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("fetch.wait.max.ms", wait_ms.to_string()),
        ];
        let consumer = cluster.config(&settings).create();
        Ok(LogReader {
            consumer: consumer.map_err(|error| failed(&error, "open a client", None))?,
            ended: BTreeSet::new(),
        })
    }

    /// The partitions of a topic; none where it does not exist.
    ///
    /// # Errors
    /// The cluster's own.
    pub fn partitions(&self, topic: &str) -> Result<Vec<TopicPartition>, KafkaError> {
        let facts = admin::describe(self.consumer.client(), topic)?;
        let count = facts.map_or(0, |facts| facts.partitions);
        let name: Arc<str> = topic.into();
        let place = |partition| TopicPartition {
            topic: Arc::clone(&name),
            partition,
        };
        Ok((0..count).map(place).collect())
    }

    /// The log's first offset and the one after its last.
    ///
    /// # Errors
    /// The cluster's own.
    pub fn watermarks(&self, place: &TopicPartition) -> Result<(i64, i64), KafkaError> {
        let found = self.consumer.fetch_watermarks(&place.topic, place.partition, PATIENCE);
        found.map_err(|error| failed(&error, &format!("look at {place}"), Some(&place.topic)))
    }

    /// Reads these partitions from these offsets on, and no others.
    ///
    /// # Errors
    /// The client's own.
    pub fn read_from(&mut self, starts: &BTreeMap<TopicPartition, i64>) -> Result<(), KafkaError> {
        let told = |error: ClientError| failed(&error, "begin to read", None);
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (place, offset) in starts {
            list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*offset))
                .map_err(told)?;
        }
        self.ended.clear();
        self.consumer.assign(&list).map_err(told)
    }

    /// The partitions, by number, whose logs were read to their ends at some time since [`LogReader::read_from`]. With several
    /// topics, that does not tell which one's.
    pub fn ended(&self) -> &BTreeSet<i32> {
        &self.ended
    }

    /// What has arrived, at most so many records; waits for the first of them.
    ///
    /// # Errors
    /// [`Kind::OutOfRange`] where the log no longer has what is to be read; the cluster's own.
    pub fn take(&mut self, most: usize, wait: Duration) -> Result<Vec<Record>, KafkaError> {
        let until = Instant::now() + wait;
        let mut records = Vec::new();
        while records.len() < most {
            let patience = match records.is_empty() {
                true => until.saturating_duration_since(Instant::now()),
                false => Duration::ZERO,
            };
            match self.consumer.poll(patience) {
                None => break,
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    self.ended.insert(partition);
                }
                Some(Err(error)) => {
                    let error = failed(&error, "read", None);
                    // The client goes on by itself.
                    if !matches!(error.kind, Kind::Away | Kind::Passing) {
                        return Err(error);
                    }
                }
                Some(Ok(message)) => {
                    let source = TopicPartition {
                        topic: message.topic().into(),
                        partition: message.partition(),
                    };
                    records.push(record(&source, &message));
                }
            }
        }
        Ok(records)
    }
}

fn failed(error: &ClientError, doing: &str, topic: Option<&str>) -> KafkaError {
    let right = topic.map(|topic| Right::ReadTopic(topic.to_owned()));
    KafkaError::from_client(error, doing, right)
}
