//! A small Kafka in this process, for `fnbridge dev` and fast tests: librdkafka's mock cluster, behind a fixed local
//! port where any Kafka client finds it.

use std::net::{Ipv4Addr, SocketAddr};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::admin::TopicConfig;
use super::cluster::ClusterSettings;
use super::error::{KafkaError, Kind};

/// The port that Kafka clients try first.
pub const USUAL_PORT: u16 = 9092;

/// Bytes that the broker keeps of one partition; older records vanish in silence.
pub const KEPT_BYTES: usize = 5 * 1024 * 1024;

/// Batches that the broker keeps of one partition, whatever their size.
pub const KEPT_BATCHES: usize = 100_000;

/// What a real Kafka has and this one lacks, one line each, for people.
pub const LIMITS: [&str; 6] = [
    "keeps the newest 5 MB (or 100,000 batches) of a partition, in memory only: gone when fnbridge ends",
    "answers no admin requests (topics, groups, settings); a topic that is asked for appears, with 4 partitions",
    "looks up no offsets by time",
    "takes a member's session time-out, less a second, to share partitions out anew when one joins or leaves",
    "does not isolate or fence transactions: calls succeed and mean nothing",
    "is one broker without security or replication, for this machine only",
];

/// A record may be this large: a few of them still fit beside each other.
const MAX_RECORD_BYTES: usize = KEPT_BYTES / 4;

const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const BROKER_ID: i32 = 1;

/// The first member of a group waits this long for others to join before partitions are shared out, in milliseconds.
const INITIAL_REBALANCE_DELAY_MS: i32 = 50;

/// Where the broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// On 9092, or where that is taken on any free port.
    UsualOrFree,
    /// On this one, or not at all; 0 is any free port.
    Exactly(u16),
}

/// Why the broker did not start, or did not make a topic.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The port could not be had.
    #[error("the embedded broker cannot listen on {HOST}:{port}: {source}; choose another port, or 0 for any free one")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// librdkafka could not make its mock cluster.
    #[error("the embedded broker did not start: {0}")]
    Start(ClientError),
    /// librdkafka refused the topic.
    #[error("the embedded broker cannot make topic {topic} with {partitions} partitions: {source}")]
    Topic {
        /// The topic's name.
        topic: String,
        /// How many partitions it was to have.
        partitions: i32,
        /// librdkafka's word.
        source: ClientError,
    },
}

/// A running broker. It ends, and everything in it is gone, when this is dropped.
pub struct EmbeddedBroker {
    address: SocketAddr,
    front: JoinHandle<()>,
    owner: BaseProducer,
}

impl EmbeddedBroker {
    /// Starts a broker on this machine's loopback address.
    ///
    /// # Errors
    /// Where the port is taken, or librdkafka has no threads or sockets to make the cluster of.
    pub async fn start(port: Port) -> Result<EmbeddedBroker, EmbeddedError> {
        let listener = listen(port).await?;
        let address = (listener.local_addr()).map_err(|source| EmbeddedError::Listen { port: 0, source })?;
        let owner: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "fnbridge-embedded-broker")
            .create()
            .map_err(EmbeddedError::Start)?;
        let inner = advertise(&owner, address)?;
        let front = tokio::spawn(forward(listener, inner));
        Ok(EmbeddedBroker { address, front, owner })
    }

    /// Where clients find the broker.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How our own clients reach it.
    pub fn cluster(&self) -> ClusterSettings {
        ClusterSettings {
            embedded: true,
            ..ClusterSettings::plaintext("embedded", self.address.to_string())
        }
    }

    /// Makes a topic, if there is none by that name.
    ///
    /// # Errors
    /// Where librdkafka refuses the name or the number of partitions.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), EmbeddedError> {
        let Some(mock) = self.owner.client().mock_cluster() else {
            return Err(EmbeddedError::Start(ClientError::MockCluster(RDKafkaErrorCode::Fail)));
        };
        match mock.create_topic(topic, partitions, 1) {
            Ok(()) | Err(ClientError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err(source) => Err(EmbeddedError::Topic {
                topic: topic.to_owned(),
                partitions,
                source,
            }),
        }
    }
}

/// How every topic is kept, which the broker can't say itself.
pub(super) fn topic_config() -> TopicConfig {
    TopicConfig {
        cleanup_policy: "delete".to_owned(),
        retention_ms: -1,
        max_message_bytes: MAX_RECORD_BYTES,
        max_ahead_ms: None,
    }
}

/// Topics are made in process, by [`EmbeddedBroker::create_topic`].
pub(super) fn refuse_to_create(topic: &str) -> Result<bool, KafkaError> {
    let text = format!("could not create topic `{topic}`: the embedded broker takes no such request");
    Err(KafkaError::new(Kind::Refused, text))
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.front.abort();
    }
}

async fn listen(port: Port) -> Result<TcpListener, EmbeddedError> {
    let (first, otherwise) = match port {
        Port::UsualOrFree => (USUAL_PORT, Some(0)),
        Port::Exactly(port) => (port, None),
    };
    match (TcpListener::bind((HOST, first)).await, otherwise) {
        (Ok(listener), _) => Ok(listener),
        (Err(_), Some(port)) => {
            (TcpListener::bind((HOST, port)).await).map_err(|source| EmbeddedError::Listen { port, source })
        }
        (Err(source), None) => Err(EmbeddedError::Listen { port: first, source }),
    }
}

/// Lets the mock cluster name `address` as its own, and returns where it really listens.
fn advertise(owner: &BaseProducer, address: SocketAddr) -> Result<SocketAddr, EmbeddedError> {
    let failed = || EmbeddedError::Start(ClientError::MockCluster(RDKafkaErrorCode::Fail));
    let mock = owner.client().mock_cluster().ok_or_else(failed)?;
    let inner: SocketAddr = mock.bootstrap_servers().parse().map_err(|_| failed())?;
    // SAFETY: the cluster belongs to `owner`'s client, which outlives these calls; the host is copied before the call
    // returns, and librdkafka takes its own lock.
    unsafe {
        let cluster = rdkafka_sys::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
        rdkafka_sys::rd_kafka_mock_broker_set_host_port(
            cluster,
            BROKER_ID,
            c"127.0.0.1".as_ptr(),
            i32::from(address.port()),
        );
        rdkafka_sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, INITIAL_REBALANCE_DELAY_MS);
    }
    Ok(inner)
}

/// Joins each connection to the mock cluster's own port, which nobody can choose.
async fn forward(listener: TcpListener, inner: SocketAddr) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((outside, _)) => { connections.spawn(join(outside, inner)); }
                // Out of file descriptors: the next ending connection gives one back.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn join(mut outside: TcpStream, inner: SocketAddr) -> std::io::Result<()> {
    let mut inside = TcpStream::connect(inner).await?;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use rdkafka::Message;
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::kafka::admin::TopicPlan;
    use crate::kafka::{Admin, Source, SourceEvent, SourceSettings, Topics};

    fn client(broker: &EmbeddedBroker) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.address().to_string());
        config
    }

    fn produce(broker: &EmbeddedBroker, topic: &str, partition: i32, values: &[&str]) {
        let producer: BaseProducer = client(broker).set("enable.idempotence", "true").create().unwrap();
        for value in values {
            producer
                .send(BaseRecord::<(), str>::to(topic).partition(partition).payload(value))
                .unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    fn consume(consumer: &BaseConsumer, records: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut values = Vec::new();
        while values.len() < records && Instant::now() < deadline {
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                values.push(String::from_utf8_lossy(message.unwrap().payload().unwrap_or_default()).into_owned());
            }
        }
        values
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_client_finds_the_broker_on_its_port_and_a_group_goes_on_where_it_committed() {
        let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
        broker.create_topic("orders", 3).unwrap();
        produce(&broker, "orders", 2, &["a", "b", "c"]);

        let joined = || -> BaseConsumer {
            let consumer: BaseConsumer = client(&broker)
                .set("group.id", "readers")
                .set("auto.offset.reset", "earliest")
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("fetch.wait.max.ms", "10")
                // A group that had members waits this long, less a second, for them to come back.
                .set("session.timeout.ms", "1500")
                .create()
                .unwrap();
            consumer.subscribe(&["orders"]).unwrap();
            consumer
        };
        let first = joined();
        assert_eq!(consume(&first, 3), ["a", "b", "c"]);
        first.commit_consumer_state(CommitMode::Sync).unwrap();
        drop(first);

        produce(&broker, "orders", 2, &["d"]);
        assert_eq!(consume(&joined(), 1), ["d"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn topics_have_the_partitions_that_were_asked_for_and_the_advertised_port_is_the_fixed_one() {
        let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
        broker.create_topic("orders", 7).unwrap();
        broker.create_topic("orders", 7).unwrap();
        let consumer: BaseConsumer = client(&broker).create().unwrap();
        let metadata = consumer
            .fetch_metadata(Some("orders"), Duration::from_secs(10))
            .unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), 7);
        assert_eq!(metadata.brokers()[0].port(), i32::from(broker.address().port()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_source_reads_from_the_broker_although_it_can_not_say_who_is_in_a_group() {
        let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
        broker.create_topic("orders", 1).unwrap();
        produce(&broker, "orders", 0, &["a", "b"]);
        let cluster = Arc::new(broker.cluster());
        let topics = Topics::Named(vec!["orders".to_owned()]);
        let settings = SourceSettings::new(cluster, "p", "w", "fnbridge-p", topics);
        let (_source, mut events) = Source::start(settings);
        let mut read = 0;
        let mut batch = Vec::new();
        while read < 2 {
            let wait = tokio::time::timeout(Duration::from_secs(10), events.recv_many(&mut batch));
            assert!(wait.await.unwrap());
            for event in batch.drain(..) {
                match event {
                    SourceEvent::Records { records, .. } => read += records.len(),
                    SourceEvent::Trouble(trouble) => panic!("{}", trouble.text),
                    _ => {}
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_the_broker_can_not_answer_is_answered_for_it() {
        let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
        broker.create_topic("orders", 3).unwrap();
        let admin = Admin::open(Arc::new(broker.cluster()), "test").unwrap();
        let asked = Instant::now();
        assert_eq!(admin.describe_topic("orders").await.unwrap().unwrap().partitions, 3);
        assert_eq!(admin.topic_config("orders").await.unwrap().retention_ms, -1);
        let plan = TopicPlan {
            name: "more".to_owned(),
            partitions: 1,
            replication: None,
            config: Vec::new(),
            dry_run: false,
        };
        assert_eq!(admin.create_topic(&plan).await.unwrap_err().kind, Kind::Refused);
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "a question waited for its time-out"
        );
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind((HOST, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let Err(error) = EmbeddedBroker::start(Port::Exactly(port)).await else {
            panic!("two listeners on one port");
        };
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
}
