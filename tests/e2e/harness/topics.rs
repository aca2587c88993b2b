//! A look into topics from outside: create, produce, read, and what groups have committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::wait::{self, PATIENCE};

const ONE_CALL: Duration = Duration::from_secs(5);

/// A record to be produced, or one that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes; `None` leaves it to the key.
    pub partition: Option<i32>,
    /// Where it stands; -1 before it stands anywhere.
    pub offset: i64,
    /// The key, or none.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since the Unix epoch; `None` for now.
    pub timestamp: Option<i64>,
}

impl Entry {
    /// A record with a value and no key.
    pub fn value(value: impl Into<Vec<u8>>) -> Entry {
        Entry {
            value: Some(value.into()),
            offset: -1,
            ..Entry::default()
        }
    }

    /// A record without a value.
    pub fn tombstone() -> Entry {
        Entry {
            offset: -1,
            ..Entry::default()
        }
    }

    /// With a key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Entry {
        self.key = Some(key.into());
        self
    }

    /// In this partition.
    pub fn to(mut self, partition: i32) -> Entry {
        self.partition = Some(partition);
        self
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Entry {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    /// Of this time, in milliseconds since the Unix epoch.
    pub fn at(mut self, timestamp: i64) -> Entry {
        self.timestamp = Some(timestamp);
        self
    }

    /// The value as text.
    ///
    /// # Panics
    /// If it is a tombstone or not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().expect("a value, not a tombstone")).expect("text")
    }

    /// The value of the only header of this name, as text.
    ///
    /// # Panics
    /// If there is none, or more than one.
    pub fn header_text(&self, name: &str) -> &str {
        let found: Vec<_> = self.headers.iter().filter(|(n, _)| n == name).collect();
        assert_eq!(found.len(), 1, "headers named {name} in {self:?}");
        std::str::from_utf8(found[0].1.as_deref().expect("a header's value")).expect("text")
    }

    /// Whether there is a header of this name.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n == name)
    }
}

/// A client of one cluster, with the rights of one user.
#[derive(Clone)]
pub struct Client {
    config: ClientConfig,
    replication: i32,
}

impl Client {
    /// A client of a plaintext cluster.
    pub fn new(bootstrap: &str) -> Client {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        // A broker that comes and goes is looked for again at once.
        config
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        config.set("log_level", "0");
        Client { config, replication: 1 }
    }

    /// The same, and topics that it creates have so many replicas.
    pub fn replicating(mut self, replicas: i32) -> Client {
        self.replication = replicas;
        self
    }

    /// The same with further librdkafka properties.
    pub fn with(mut self, properties: &[(&str, &str)]) -> Client {
        for (name, value) in properties {
            self.config.set(*name, *value);
        }
        self
    }

    /// Whether the cluster, and its coordinator for groups, answer.
    pub fn answers(&self) -> bool {
        let Ok(consumer) = self.consumer("fnbridge-e2e-harness") else {
            return false;
        };
        let mut none = TopicPartitionList::new();
        none.add_partition("fnbridge-e2e-harness", 0);
        consumer.fetch_metadata(None, Duration::from_millis(500)).is_ok()
            && consumer.committed_offsets(none, Duration::from_secs(2)).is_ok()
    }

    /// Creates a topic, and waits until it can be used.
    pub fn create(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(self.replication));
        for (name, value) in config {
            new = new.set(name, value);
        }
        let created = block_on(self.admin().create_topics([&new], &admin_options())).expect("an answer");
        assert_eq!(created, [Ok(topic.to_owned())], "creating {topic}");
        self.await_partitions(topic, partitions);
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete(&self, topic: &str) {
        let deleted = block_on(self.admin().delete_topics(&[topic], &admin_options())).expect("an answer");
        assert_eq!(deleted, [Ok(topic.to_owned())], "deleting {topic}");
        wait::until_true("the topic to be gone", || self.partitions(topic) == 0);
    }

    /// Gives a topic more partitions.
    pub fn add_partitions(&self, topic: &str, partitions: i32) {
        let new = NewPartitions::new(topic, usize::try_from(partitions).expect("a count"));
        let added = block_on(self.admin().create_partitions([&new], &admin_options())).expect("an answer");
        assert_eq!(added, [Ok(topic.to_owned())], "adding partitions to {topic}");
        self.await_partitions(topic, partitions);
    }

    /// Removes the records of a partition before `offset`, as retention does.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut until = TopicPartitionList::new();
        until
            .add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("an offset");
        block_on(self.admin().delete_records(&until, &admin_options())).expect("records removed");
    }

    /// A setting of a topic, its own or the default.
    pub fn topic_setting(&self, topic: &str, name: &str) -> String {
        let asked = [ResourceSpecifier::Topic(topic)];
        let found = block_on(self.admin().describe_configs(&asked, &admin_options())).expect("an answer");
        let settings = found.into_iter().next().expect("one topic").expect("its settings");
        let value = settings.get(name).and_then(|setting| setting.value.clone());
        value.unwrap_or_else(|| panic!("topic {topic} has no setting {name}"))
    }

    /// Gives a topic these settings, and the defaults of all others.
    pub fn set_topic_settings(&self, topic: &str, settings: &[(&str, &str)]) {
        let topic_alone = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = settings
            .iter()
            .fold(topic_alone, |change, (name, value)| change.set(name, value));
        let changed = block_on(self.admin().alter_configs([&change], &admin_options())).expect("an answer");
        assert!(
            changed.iter().all(Result::is_ok),
            "changing {settings:?} of {topic}: {changed:?}"
        );
    }

    /// How many partitions a topic has; 0 where it does not exist.
    pub fn partitions(&self, topic: &str) -> i32 {
        let consumer = self.consumer("fnbridge-e2e-harness").expect("a consumer");
        let metadata = wait::until("metadata", || consumer.fetch_metadata(Some(topic), ONE_CALL).ok());
        let found = metadata
            .topics()
            .iter()
            .find(|t| t.name() == topic && t.error().is_none());
        found.map_or(0, |t| i32::try_from(t.partitions().len()).expect("a count"))
    }

    /// How many replicas of a topic's partitions are in sync, at the least; none where nobody says.
    pub fn in_sync(&self, topic: &str) -> Option<usize> {
        let consumer = self.consumer("fnbridge-e2e-harness").ok()?;
        let metadata = consumer.fetch_metadata(Some(topic), ONE_CALL).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        partitions.iter().map(|partition| partition.isr().len()).min()
    }

    /// Produces records, in order, and waits until they are durable.
    pub fn produce(&self, topic: &str, entries: impl IntoIterator<Item = Entry>) {
        self.produce_with(topic, &[], entries);
    }

    /// Produces with further properties of the producer, for example a compression.
    pub fn produce_with(&self, topic: &str, properties: &[(&str, &str)], entries: impl IntoIterator<Item = Entry>) {
        let writer = self.writer(properties);
        entries.into_iter().for_each(|entry| writer.send(topic, &entry));
        let failed = writer.flush();
        assert!(failed.is_empty(), "producing to {topic}: {}", failed[0]);
    }

    /// A producer that goes on and on.
    pub fn writer(&self, properties: &[(&str, &str)]) -> Writer {
        let failures = Failures::default();
        let mut config = self.config.clone();
        config.set("enable.idempotence", "true").set("linger.ms", "2");
        config
            .set("message.max.bytes", "8000000")
            .set("queue.buffering.max.messages", "1000000");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        let producer = config.create_with_context(failures.clone()).expect("a producer");
        Writer { producer, failures }
    }

    /// Produces records in one transaction, which is then committed or aborted.
    pub fn produce_in_transaction(&self, topic: &str, commit: bool, entries: impl IntoIterator<Item = Entry>) {
        let mut config = self.config.clone();
        config
            .set("transactional.id", format!("{topic}-harness"))
            .set("linger.ms", "0");
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(PATIENCE).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        for entry in entries {
            let headers = owned_headers(&entry);
            producer
                .send(base_record(topic, &entry, headers))
                .unwrap_or_else(|(error, _)| panic!("producing to {topic}: {error}"));
        }
        producer.flush(PATIENCE).expect("records produced");
        if commit {
            producer.commit_transaction(PATIENCE).expect("a commit");
        } else {
            producer.abort_transaction(PATIENCE).expect("an abort");
        }
    }

    /// Everything that stands in a topic now, by partition and offset.
    pub fn read_all(&self, topic: &str) -> Vec<Entry> {
        let mut reader = self.reader(topic);
        let mut read = reader.read_to_end();
        read.sort_by_key(|entry| (entry.partition, entry.offset));
        read
    }

    /// Reads a topic from its start until `enough` holds of what was read, which is in the order it was read.
    pub fn read_until(&self, topic: &str, what: &str, enough: impl FnMut(&[Entry]) -> bool) -> Vec<Entry> {
        self.reader(topic).read_until(what, PATIENCE, enough)
    }

    /// Reads a topic from its start until it has given `count` records.
    pub fn read_count(&self, topic: &str, count: usize) -> Vec<Entry> {
        self.read_until(topic, &format!("{count} records in {topic}"), |read| {
            read.len() >= count
        })
    }

    /// A reader of all partitions that a topic has now, from their start.
    pub fn reader(&self, topic: &str) -> Reader {
        let consumer = self.consumer("fnbridge-e2e-reader").expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            all.add_partition_offset(topic, partition, Offset::Beginning)
                .expect("a partition");
        }
        consumer.assign(&all).expect("an assignment");
        Reader {
            consumer,
            topic: topic.to_owned(),
        }
    }

    /// How many members a group has.
    pub fn members(&self, group: &str) -> usize {
        let consumer = self.consumer(group).expect("a consumer");
        let found = wait::until("the group's members", || {
            consumer.fetch_group_list(Some(group), ONE_CALL).ok()
        });
        found.groups().iter().map(|group| group.members().len()).sum()
    }

    /// Forgets a group and its offsets, as brokers do after a while without members.
    pub fn delete_group(&self, group: &str) {
        wait::until("the group to be deleted", || {
            let deleted = block_on(self.admin().delete_groups(&[group], &admin_options())).expect("an answer");
            deleted.iter().all(Result::is_ok).then_some(())
        });
    }

    /// Commits an offset for a group that nobody is in, with a text beside it.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64, beside: &str) {
        let consumer = self.consumer(group).expect("a consumer");
        let mut moved = TopicPartitionList::new();
        moved
            .add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("an offset");
        moved
            .find_partition(topic, partition)
            .expect("just added")
            .set_metadata(beside);
        consumer.commit(&moved, CommitMode::Sync).expect("a commit");
    }

    /// A member of a group that reads a topic, as another program has it; it leaves when it is dropped.
    pub fn join(&self, group: &str, topic: &str) -> BaseConsumer {
        let consumer = self.consumer(group).expect("a consumer");
        consumer.subscribe(&[topic]).expect("a subscription");
        wait::until_true("the other program to be a member", || {
            let _ = consumer.poll(Duration::from_millis(50));
            consumer.assignment().is_ok_and(|assigned| assigned.count() > 0)
        });
        consumer
    }

    /// What a group has committed for a topic: by partition, the offset and what stands beside it.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, (i64, String)> {
        let consumer = self.consumer(group).expect("a consumer");
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            asked.add_partition(topic, partition);
        }
        let found = wait::until("committed offsets", || {
            consumer.committed_offsets(asked.clone(), ONE_CALL).ok()
        });
        let offsets = found
            .elements_for_topic(topic)
            .into_iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), (offset, element.metadata().to_owned()))),
                _ => None,
            });
        offsets.collect()
    }

    /// Waits until a group has committed these offsets, one a partition from 0.
    pub fn await_committed(&self, group: &str, topic: &str, offsets: &[i64]) {
        let wanted: BTreeMap<i32, i64> = (0..).zip(offsets.iter().copied()).collect();
        let mut seen = BTreeMap::new();
        let deadline = Instant::now() + PATIENCE;
        while seen != wanted {
            assert!(
                Instant::now() < deadline,
                "group {group} was to commit {wanted:?} of {topic}, and has committed {seen:?}"
            );
            let committed = self.committed(group, topic);
            seen = committed
                .into_iter()
                .map(|(partition, (offset, _))| (partition, offset))
                .collect();
        }
    }

    fn await_partitions(&self, topic: &str, partitions: i32) {
        wait::until_true("the topic's partitions", || self.partitions(topic) == partitions);
        let consumer = self.consumer("fnbridge-e2e-harness").expect("a consumer");
        for partition in 0..partitions {
            wait::until("the partition's leader", || {
                consumer.fetch_watermarks(topic, partition, ONE_CALL).ok()
            });
        }
    }

    /// A consumer that takes part in nothing yet.
    pub fn consumer(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        let mut config = self.config.clone();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true");
        config
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50");
        config
            .set("fetch.message.max.bytes", "8000000")
            .set("message.max.bytes", "8000000");
        config.create()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config.create().expect("an admin client")
    }
}

/// Produces on and on, in order.
pub struct Writer {
    producer: ThreadedProducer<Failures>,
    failures: Failures,
}

impl Writer {
    /// Sends a record on its way.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn send(&self, topic: &str, entry: &Entry) {
        let headers = owned_headers(entry);
        self.producer
            .send(base_record(topic, entry, headers))
            .unwrap_or_else(|(error, _)| panic!("producing to {topic}: {error}"));
    }

    /// Waits until all that was sent is durable, or has failed; why each of those did.
    pub fn flush(&self) -> Vec<String> {
        self.producer.flush(PATIENCE).expect("records produced");
        std::mem::take(&mut self.failures.0.lock().unwrap())
    }
}

/// Reads one topic on and on.
pub struct Reader {
    consumer: BaseConsumer,
    topic: String,
}

impl Reader {
    /// Reads on until `enough` holds of what this call has read.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn read_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut enough: impl FnMut(&[Entry]) -> bool,
    ) -> Vec<Entry> {
        let deadline = Instant::now() + patience;
        let mut read = Vec::new();
        while !enough(&read) {
            assert!(
                Instant::now() < deadline,
                "waited {} s in vain for: {what}; read {} records of {}, the last: {:?}",
                patience.as_secs(),
                read.len(),
                self.topic,
                read.last()
            );
            if let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(50)) {
                read.push(entry_of(&message));
            }
        }
        read
    }

    fn read_to_end(&mut self) -> Vec<Entry> {
        let mut read = Vec::new();
        self.for_each_to_end(|entry| read.push(entry));
        read
    }

    /// Reads all that stands there now, each partition in its order.
    pub fn for_each_to_end(&mut self, mut take: impl FnMut(Entry)) {
        let partitions = self.consumer.assignment().expect("assigned").count();
        let deadline = Instant::now() + PATIENCE;
        let mut ended = std::collections::BTreeSet::new();
        while ended.len() < partitions {
            assert!(Instant::now() < deadline, "{} could not be read to its end", self.topic);
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => take(entry_of(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                }
                Some(Err(_)) | None => {}
            }
        }
    }
}

#[derive(Clone, Default)]
struct Failures(Arc<Mutex<Vec<String>>>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap().push(error.to_string());
        }
    }
}

fn base_record<'a>(topic: &'a str, entry: &'a Entry, headers: OwnedHeaders) -> BaseRecord<'a, [u8], [u8]> {
    let mut record = BaseRecord::to(topic).headers(headers);
    if let Some(partition) = entry.partition {
        record = record.partition(partition);
    }
    if let Some(key) = &entry.key {
        record = record.key(key.as_slice());
    }
    if let Some(value) = &entry.value {
        record = record.payload(value.as_slice());
    }
    if let Some(timestamp) = entry.timestamp {
        record = record.timestamp(timestamp);
    }
    record
}

fn owned_headers(entry: &Entry) -> OwnedHeaders {
    entry.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header {
            key,
            value: value.as_deref(),
        })
    })
}

fn entry_of(message: &impl Message) -> Entry {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let all = headers.iter();
        all.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
    });
    Entry {
        partition: Some(message.partition()),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp: message.timestamp().to_millis(),
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Timeout::After(PATIENCE)))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
