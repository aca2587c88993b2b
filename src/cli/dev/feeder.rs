//! Feeds traffic into the topic: at a pace, and never further ahead of the consumer than the embedded broker keeps.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::delivery::event::View;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::traffic::{Feed, Traffic};
use crate::kafka::embedded::{KEPT_BATCHES, KEPT_BYTES};

/// What a record takes in the broker beside its key and value, at most.
const WRAPPING_BYTES: usize = 96;

/// The share of what the broker keeps that the feeder uses; the rest is for others who produce into the topic.
const SHARE: usize = 2;

/// How often a paced feeder wakes up.
const BEAT: Duration = Duration::from_millis(20);

/// How the feeder ended.
#[derive(Debug)]
pub(super) enum Fed {
    /// The input came to its end.
    End,
    /// The input could not be read.
    Unreadable(std::io::Error),
    /// The broker refused the records.
    Refused(KafkaError),
}

/// Feeds records into one topic.
pub(super) struct Feeder {
    topic: String,
    producer: ThreadedProducer<Reports>,
    ledger: Arc<Mutex<Ledger>>,
    bounded: bool,
}

impl Feeder {
    /// A feeder of a topic. `bounded`: the broker is the embedded one, which forgets what was not consumed in time.
    ///
    /// # Errors
    /// Where librdkafka does not take the settings.
    pub(super) fn open(mut config: rdkafka::ClientConfig, topic: &str, bounded: bool) -> Result<Feeder, KafkaError> {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let reports = Reports { ledger: ledger.clone() };
        config
            .set("client.id", "fnbridge-dev-feeder")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("partitioner", "murmur2_random");
        Ok(Feeder {
            topic: topic.to_owned(),
            producer: ThreadedProducer::from_config_and_context(&config, reports)?,
            ledger,
            bounded,
        })
    }

    /// How many records are in the topic by now.
    pub(super) fn fed(&self) -> u64 {
        lock(&self.ledger).fed
    }

    /// Tells what was consumed: the feeder goes on where it waited for that.
    pub(super) fn consumed(&self, view: &View) {
        let mut ledger = lock(&self.ledger);
        for partition in view.partitions.iter().filter(|p| *p.source.topic == *self.topic) {
            ledger.consumed(partition.source.partition, partition.committed);
        }
    }

    /// Feeds until the traffic ends, `records_per_second` at most.
    pub(super) async fn run(&self, mut traffic: Traffic, records_per_second: Option<u32>) -> Fed {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let start = Instant::now();
        let mut sent: u64 = 0;
        loop {
            let due = match records_per_second {
                Some(rate) => (start.elapsed().as_secs_f64() * f64::from(rate)) as u64 + 1,
                None => u64::MAX,
            };
            while sent < due {
                let feed = match traffic.next().await {
                    Ok(Some(feed)) => feed,
                    Ok(None) => return self.finish().await,
                    Err(error) => return Fed::Unreadable(error),
                };
                if let Some(error) = lock(&self.ledger).refused.take() {
                    return Fed::Refused(error);
                }
                while self.bounded && !lock(&self.ledger).has_room_for(weight_bytes(&feed)) {
                    sleep(BEAT).await;
                }
                if let Err(error) = self.send(&feed).await {
                    return Fed::Refused(error);
                }
                sent += 1;
            }
            beat.tick().await;
        }
    }

    async fn send(&self, feed: &Feed) -> Result<(), KafkaError> {
        let weight = weight_bytes(feed);
        lock(&self.ledger).on_its_way += weight;
        loop {
            let mut record = BaseRecord::with_opaque_to(&self.topic, weight).payload(&feed.value);
            if let Some(key) = &feed.key {
                record = record.key(key);
            }
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => sleep(BEAT).await,
                Err((error, _)) => return Err(error),
            }
        }
    }

    async fn finish(&self) -> Fed {
        while self.producer.in_flight_count() > 0 {
            sleep(BEAT).await;
        }
        match lock(&self.ledger).refused.take() {
            Some(error) => Fed::Refused(error),
            None => Fed::End,
        }
    }
}

/// What the feeder has in the topic that is not consumed yet.
#[derive(Default)]
struct Ledger {
    partitions: HashMap<i32, Waiting>,
    on_its_way: usize,
    fed: u64,
    refused: Option<KafkaError>,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<(i64, usize)>,
    bytes: usize,
}

impl Ledger {
    /// Whether the broker would keep one more record until it is consumed, in whatever partition it comes to stand.
    fn has_room_for(&self, bytes: usize) -> bool {
        let fullest = self.partitions.values().map(|p| p.bytes).max().unwrap_or_default();
        let longest = self
            .partitions
            .values()
            .map(|p| p.records.len())
            .max()
            .unwrap_or_default();
        let nothing_waits = fullest == 0 && self.on_its_way == 0;
        nothing_waits || (fullest + self.on_its_way + bytes <= KEPT_BYTES / SHARE && longest < KEPT_BATCHES / SHARE)
    }

    fn arrived(&mut self, partition: i32, offset: i64, bytes: usize) {
        self.on_its_way = self.on_its_way.saturating_sub(bytes);
        self.fed += 1;
        let waiting = self.partitions.entry(partition).or_default();
        waiting.records.push_back((offset, bytes));
        waiting.bytes += bytes;
    }

    fn refused(&mut self, bytes: usize, error: KafkaError) {
        self.on_its_way = self.on_its_way.saturating_sub(bytes);
        self.refused.get_or_insert(error);
    }

    fn consumed(&mut self, partition: i32, committed: i64) {
        let Some(waiting) = self.partitions.get_mut(&partition) else {
            return;
        };
        while let Some((_, bytes)) = waiting
            .records
            .front()
            .copied()
            .filter(|(offset, _)| *offset < committed)
        {
            waiting.records.pop_front();
            waiting.bytes -= bytes;
        }
    }
}

struct Reports {
    ledger: Arc<Mutex<Ledger>>,
}

impl ClientContext for Reports {}

impl ProducerContext<NoCustomPartitioner> for Reports {
    /// The record's weight in bytes.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, bytes: usize) {
        let mut ledger = lock(&self.ledger);
        match result {
            Ok(message) => ledger.arrived(message.partition(), message.offset(), bytes),
            Err((error, _)) => ledger.refused(bytes, error.clone()),
        }
    }
}

fn weight_bytes(feed: &Feed) -> usize {
    feed.key.as_ref().map_or(0, String::len) + feed.value.len() + WRAPPING_BYTES
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feeder_waits_before_the_broker_would_forget() {
        let mut ledger = Ledger::default();
        let mut offset = 0;
        while ledger.has_room_for(1000) {
            ledger.arrived(3, offset, 1000);
            offset += 1;
        }
        assert_eq!(offset as usize, KEPT_BYTES / SHARE / 1000);
        ledger.consumed(3, offset - 10);
        assert!(ledger.has_room_for(1000));
        assert_eq!(ledger.partitions[&3].bytes, 10_000);
    }

    #[test]
    fn records_on_their_way_count_for_whichever_partition_they_go_to() {
        let mut ledger = Ledger::default();
        ledger.arrived(0, 0, 1000);
        ledger.on_its_way = KEPT_BYTES / SHARE - 1500;
        assert!(!ledger.has_room_for(1000));
        ledger.refused(1000, KafkaError::Canceled);
        assert!(ledger.has_room_for(1000));
    }

    #[test]
    fn one_record_may_always_go() {
        assert!(Ledger::default().has_room_for(KEPT_BYTES));
    }

    #[test]
    fn small_records_are_counted_as_batches() {
        let mut ledger = Ledger::default();
        for offset in 0..(KEPT_BATCHES / SHARE) as i64 {
            ledger.arrived(0, offset, 1);
        }
        assert!(!ledger.has_room_for(1));
    }
}
