//! Topics: made, filled, counted, and told apart by what is in them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::PARTITIONS;
use crate::function::hash;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub brokers: String,
    names: AtomicU32,
}

impl Cluster {
    pub fn new(brokers: &str) -> Cluster {
        Cluster {
            brokers: brokers.to_owned(),
            names: AtomicU32::new(0),
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn admin<T>(&self, act: impl AsyncFnOnce(AdminClient<DefaultClientContext>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(act(self.config().create().expect("an admin client")))
    }

    /// A new topic, whose name begins with `part`.
    pub fn topic(&self, part: &str) -> String {
        self.topics(part, 1, PARTITIONS).remove(0)
    }

    pub fn topics(&self, part: &str, count: u32, partitions: i32) -> Vec<String> {
        let stamp = std::process::id();
        let first = self.names.fetch_add(count, Relaxed);
        let names: Vec<String> = (first..first + count).map(|n| format!("{part}-{stamp}-{n}")).collect();
        let plans: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
            .collect();
        self.admin(async |admin| {
            let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
            for made in admin
                .create_topics(&plans, &options)
                .await
                .expect("a broker that creates topics")
            {
                made.expect("a new topic");
            }
        });
        names
    }

    pub fn delete(&self, topic: &str) {
        self.admin(async |admin| {
            let deleted = admin
                .delete_topics(&[topic], &AdminOptions::new().request_timeout(Some(PATIENCE)))
                .await;
            deleted.expect("a broker that deletes topics");
        });
    }

    /// Fills a topic with records of 1 KiB of JSON: `place` says which partition and key the n-th one has.
    pub fn fill(&self, topic: &str, records: u64, place: impl Fn(u64) -> (i32, String)) {
        let mut config = self.config();
        config
            .set("linger.ms", "50")
            .set("batch.size", "500000")
            .set("queue.buffering.max.messages", "1000000");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
        for n in 0..records {
            let ((partition, key), value) = (place(n), value(n));
            let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
            while let Err((_, again)) = producer.send(record) {
                record = again;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        producer.flush(PATIENCE).expect("the broker takes all records");
        assert_eq!(self.count(topic), records, "records in {topic}");
    }

    /// A producer that sends at once.
    pub fn eager_producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        self.config()
            .set("linger.ms", "0")
            .set("acks", "1")
            .create()
            .expect("a producer")
    }

    /// How many records a topic holds that nobody ever deleted from.
    pub fn count(&self, topic: &str) -> u64 {
        let consumer: BaseConsumer = self.config().create().expect("a consumer");
        let high = |partition| {
            consumer
                .fetch_watermarks(topic, partition, PATIENCE)
                .expect("watermarks")
                .1
        };
        (0..PARTITIONS).map(|partition| high(partition) as u64).sum()
    }

    /// How many records of a topic that nobody ever deleted from a group has committed.
    pub fn committed(&self, group: &str, topic: &str) -> u64 {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        (0..PARTITIONS).for_each(|partition| drop(all.add_partition(topic, partition)));
        let committed = consumer.committed_offsets(all, PATIENCE).expect("committed offsets");
        let offset = |offset: Offset| match offset {
            Offset::Offset(offset) => offset as u64,
            _ => 0,
        };
        committed
            .elements()
            .iter()
            .map(|element| offset(element.offset()))
            .sum()
    }

    /// One number for what a sink's topic holds: key, value, timestamp and source of each record, in the order of each source
    /// partition; of the header `traceparent` its length.
    pub fn digest(&self, topic: &str, records: u64) -> u64 {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "bench-digest")
            .create()
            .expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning)
                .expect("a partition");
        }
        consumer.assign(&all).expect("partitions");
        let mut lanes: BTreeMap<(i32, String), u64> = BTreeMap::new();
        for _ in 0..records {
            let message = consumer.poll(PATIENCE).expect("another record").expect("a record");
            let headers = message.headers().expect("headers");
            let mut state = message.timestamp().to_millis().unwrap_or(-1) as u64;
            let mut lane = String::new();
            for header in headers.iter() {
                let value = header.value.unwrap_or_default();
                state = match header.key {
                    "traceparent" => hash(header.key.as_bytes(), state ^ value.len() as u64),
                    key => hash(value, hash(key.as_bytes(), state)),
                };
                if header.key == "fnbridge.source" {
                    let source = String::from_utf8_lossy(value);
                    lane = source
                        .rsplit_once('/')
                        .map(|(place, _)| place.to_owned())
                        .unwrap_or_default();
                }
            }
            state = hash(message.key().unwrap_or(b"none"), state);
            state = hash(message.payload().unwrap_or(b"none"), state);
            let chain = lanes.entry((message.partition(), lane)).or_default();
            *chain = hash(&state.to_le_bytes(), *chain);
        }
        lanes.iter().fold(0, |sum, ((partition, lane), chain)| {
            sum.wrapping_add(hash(lane.as_bytes(), chain ^ (*partition as u64) << 48))
        })
    }
}

/// 1 KiB of JSON, never the same.
fn value(n: u64) -> String {
    let mut value = format!(
        "{{\"id\":{n},\"customer\":\"c-{:06}\",\"amount\":{}.{:02},\"currency\":\"EUR\",\"lines\":[",
        n % 99_991,
        n % 977,
        n % 100
    );
    for line in 0..12 {
        let sku = hash(&n.to_le_bytes(), line);
        value.push_str(&format!(
            "{{\"sku\":\"{sku:016x}\",\"quantity\":{},\"price\":{}.99}},",
            line + 1,
            sku % 90 + 10
        ));
    }
    value.push_str("{\"note\":\"");
    let room = 1024 - value.len() - "\"}]}".len();
    value.extend(std::iter::repeat_n('x', room));
    value.push_str("\"}]}");
    value
}
