//! A producer that keeps order through a broker's outage: idempotent, `acks=all`, and never giving a record up by time.

mod deliveries;
mod health;
mod reports;
mod transact;
mod transactor;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header as ClientHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::watch;

use self::deliveries::{Place, Request};
use self::health::HealthReport;
use self::reports::{Report, Reports};
use super::cluster::ClusterSettings;
use super::error::{KafkaError, Kind, Resource, Right, said};
use crate::delivery::record::Header;

pub use self::deliveries::Deliveries;
pub use self::health::Health;
pub use self::transactor::{Cause, Ended, Load, Transactor};

/// How a producer works.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// The cluster.
    pub cluster: Arc<ClusterSettings>,
    /// Who it is, to the broker.
    pub client_id: String,
    /// Bytes of records that wait for their acks, at most. More are refused as [`SendError::Full`].
    pub window_bytes: usize,
    /// How long a record waits for others to share a request with.
    pub linger: Duration,
    /// Bytes of a record and of a batch of records, at most: the topic's `max.message.bytes`.
    pub max_message_bytes: usize,
    /// Records are sent in transactions only.
    pub transactions: Option<TransactionSettings>,
}

/// How a producer's transactions work.
#[derive(Clone, Debug)]
pub struct TransactionSettings {
    /// The `transactional.id`: whoever opens a producer by it ends what is left of the one before.
    pub id: String,
    /// How long a transaction may last, before the cluster aborts it.
    pub timeout: Duration,
    /// Bytes of a batch of records, at most: the smallest `max.message.bytes` of the topics. A larger record travels alone.
    pub batch_bytes: usize,
}

impl ProducerSettings {
    /// The broker's own default for `max.message.bytes`.
    pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;

    /// Settings for a cluster: 64 MiB of window, and 5 ms of linger: with less, a slow broker has five requests of a
    /// partition in flight, and then the client's thread spins until one is acked.
    pub fn new(cluster: Arc<ClusterSettings>, client_id: impl Into<String>) -> ProducerSettings {
        ProducerSettings {
            cluster,
            client_id: client_id.into(),
            window_bytes: 64 << 20,
            linger: Duration::from_millis(5),
            max_message_bytes: Self::DEFAULT_MAX_MESSAGE_BYTES,
            transactions: None,
        }
    }
}

/// Brokers that answer and acknowledge nothing for so long are said to: the client tries again by itself, without a word, where
/// too few of them keep a topic in sync.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// A record on its way to a topic.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; without it, Java's partitioner decides by the key (and at random without a key).
    pub partition: Option<i32>,
    /// The key; an empty key is a key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header],
    /// Headers that follow those, in order.
    pub more_headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since the Unix epoch; -1 is now.
    pub timestamp_ms: i64,
}

/// Why a record was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// It is larger than the topic allows.
    TooLarge(String),
    /// The broker will never take it.
    Refused(String),
    /// A right is missing, which is named.
    Denied(String),
    /// There is no such topic or partition.
    Missing(String),
    /// The cluster did not take it now.
    Away(String),
    /// The window is full, or a record before it in the request met a full window.
    Full,
    /// It was thrown away by [`Producer::purge_and_close`]; it may have been stored all the same.
    Purged,
    /// Something else, in the broker's words.
    Other(String),
}

/// A producer. Dropping the last one throws away what it has not sent.
pub struct Producer {
    settings: ProducerSettings,
    client: Mutex<Arc<Client>>,
    health: Arc<HealthReport>,
    partitions: moka::sync::Cache<String, i32>,
}

/// A client of the library, and what the thread needs that serves it. One that has met a fatal error is replaced by a
/// new one.
struct Client {
    /// First, for it has to go before its client.
    reports: Reports,
    inner: BaseProducer<Context>,
    stop: AtomicBool,
    topic: OnceLock<String>,
}

struct Context {
    health: Arc<HealthReport>,
    /// What went wrong with the numbers of records is its transaction's matter.
    transactional: bool,
    /// What the client can't go on after.
    fatal: OnceLock<(Code, String)>,
}

impl Producer {
    /// Opens a producer. This does not wait for the cluster; it only fails on settings that can't work.
    ///
    /// # Errors
    /// [`Kind::Settings`], with the property that is wrong.
    pub fn open(settings: ProducerSettings) -> Result<Producer, KafkaError> {
        let health = Arc::new(HealthReport::new(settings.cluster.name.clone()));
        let client = Client::open(&settings, &health)?;
        let partitions = (moka::sync::Cache::builder().max_capacity(10_000))
            .time_to_live(Duration::from_secs(30))
            .build();
        Ok(Producer {
            settings,
            client: Mutex::new(client),
            health,
            partitions,
        })
    }

    /// Sends records, in this order. The future says of each what became of it, in the same order, once all are known;
    /// it waits as long as the cluster is away. A record that is refused does not stop those behind it; a full window does.
    pub fn send_all<'a>(&self, records: impl ExactSizeIterator<Item = Outgoing<'a>>) -> Deliveries {
        let (request, deliveries) = Request::new(records.len());
        let client = self.client();
        let mut full = false;
        for (index, record) in records.enumerate() {
            let place = Place::new(&request, index);
            if full {
                place.report(Err(SendError::Full));
            } else {
                full = client.send(record, place);
            }
        }
        deliveries
    }

    /// How many partitions a topic has; remembered for 30 s.
    ///
    /// # Errors
    /// The cluster's, after at most 5 s. This blocks: not for the async runtime's own threads.
    pub fn partition_count(&self, topic: &str) -> Result<i32, KafkaError> {
        if let Some(count) = self.partitions.get(topic) {
            return Ok(count);
        }
        let count = self.client().partition_count(topic)?;
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }

    /// Whether the cluster takes what is sent; changes wake the receiver.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Throws away what was not acked yet, which is reported as [`SendError::Purged`] before this returns or shortly
    /// after, and closes.
    pub fn purge_and_close(self) {
        self.client().purge();
    }

    fn client(&self) -> Arc<Client> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if current.inner.context().fatal.get().is_some()
            // Settings that worked once work again; should that fail, the old client goes on refusing.
            && let Ok(client) = Client::open(&self.settings, &self.health)
        {
            current.retire();
            *current = client;
        }
        Arc::clone(&current)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.retire();
    }
}

impl Client {
    fn open(settings: &ProducerSettings, health: &Arc<HealthReport>) -> Result<Arc<Client>, KafkaError> {
        let config = config(settings);
        let context = Context {
            health: Arc::clone(health),
            transactional: settings.transactions.is_some(),
            fatal: OnceLock::new(),
        };
        let doing = format!("open a producer on cluster `{}`", settings.cluster.name);
        let inner: BaseProducer<Context> =
            (config.create_with_context(context)).map_err(|e| KafkaError::from_client(&e, &doing, None))?;
        let client = Arc::new(Client {
            // SAFETY: it is dropped before the client, and everything that is sent carries a place.
            reports: unsafe { Reports::of(inner.client().native_ptr()) },
            inner,
            stop: AtomicBool::new(false),
            topic: OnceLock::new(),
        });
        let served = Arc::clone(&client);
        std::thread::Builder::new()
            .name("fnb-producer".into())
            .spawn(move || served.serve())
            .map_err(|e| KafkaError::new(Kind::Other, format!("could not {doing}: no thread to serve it: {e}")))?;
        Ok(client)
    }

    /// Delivery reports and errors arrive on this thread, until nobody needs them.
    fn serve(&self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        const SHORT_PATIENCE: Duration = Duration::from_secs(1);
        let mut unacked_since: Option<Instant> = None;
        while !self.stop.load(Ordering::Acquire) {
            let troubled = self.inner.context().health.troubled();
            let waits = troubled || unacked_since.is_some();
            let patience = if waits { SHORT_PATIENCE } else { PATIENCE };
            let mut was_told = false;
            self.reports.serve(patience, |report| {
                was_told |= matches!(report, Report::Delivered(..));
                self.inner.context().take(report);
            });
            self.ask_after_outage();
            unacked_since = match self.inner.in_flight_count() > 0 {
                true => unacked_since.filter(|_| !was_told).or_else(|| Some(Instant::now())),
                false => None,
            };
            if unacked_since.is_some_and(|since| since.elapsed() >= SILENT_AFTER) {
                self.inner.context().health.silent(SILENT_AFTER);
            }
        }
    }

    /// Acks say that an outage is over; where nothing is sent, somebody has to ask.
    fn ask_after_outage(&self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        let health = &self.inner.context().health;
        if let (true, Some(topic)) = (health.troubled(), self.topic.get())
            && self.inner.in_flight_count() == 0
            && self.inner.client().fetch_metadata(Some(topic), PATIENCE).is_ok()
        {
            health.fine();
        }
    }

    fn native_ptr(&self) -> *mut rdkafka_sys::rd_kafka_t {
        self.inner.client().native_ptr()
    }

    /// This blocks, for at most 5 s.
    fn partition_count(&self, topic: &str) -> Result<i32, KafkaError> {
        super::admin::partition_count(self.inner.client(), topic)
    }

    /// Ends the thread; what was not acked is purged with the client.
    fn retire(&self) {
        self.purge();
        self.stop.store(true, Ordering::Release);
        self.reports.wake();
    }

    fn purge(&self) {
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }

    /// True: the window is full, and the record was not taken.
    fn send(&self, out: Outgoing<'_>, place: Place) -> bool {
        match self.offer(out, Box::new(place)) {
            Ok(()) => false,
            Err((error, place)) => {
                let full = error == SendError::Full;
                place.report(Err(error));
                full
            }
        }
    }

    /// The record is taken, or its place comes back.
    fn offer(&self, out: Outgoing<'_>, place: Box<Place>) -> Result<(), (SendError, Box<Place>)> {
        self.topic.get_or_init(|| out.topic.to_owned());
        let mut record = BaseRecord::<[u8], [u8], Box<Place>>::with_opaque_to(out.topic, place);
        record.partition = out.partition;
        record.key = out.key;
        record.payload = out.value;
        record.timestamp = (out.timestamp_ms >= 0).then_some(out.timestamp_ms);
        record.headers = headers(&out);
        self.inner.send(record).map_err(|(error, record)| {
            let error = match error.rdkafka_error_code() {
                Some(code) => self.inner.context().send_error(code, out.topic),
                None => SendError::Refused(format!("topic `{}` can't take the record: {error}", out.topic)),
            };
            (error, record.delivery_opaque)
        })
    }
}

fn config(settings: &ProducerSettings) -> rdkafka::ClientConfig {
    let defaults = [
        ("linger.ms", settings.linger.as_millis().to_string()),
        ("socket.nagle.disable", "true".to_owned()),
        ("retry.backoff.max.ms", "1000".to_owned()),
        // A topic that is not there is said after so long; one that was just created may take a moment to be seen.
        ("topic.metadata.propagation.max.ms", "5000".to_owned()),
    ];
    let mut config = settings.cluster.config(&defaults);
    let window_kib = (settings.window_bytes / 1024).clamp(1024, 2_097_151);
    let message_bytes = settings.max_message_bytes.clamp(1000, 1_000_000_000);
    let mut batch_bytes = message_bytes.min(1_000_000);
    match &settings.transactions {
        None => drop(config.set("message.timeout.ms", "0")),
        // A record can't outlast its transaction: the library takes the one's time for the other's.
        Some(transactions) => {
            batch_bytes = batch_bytes.min(transactions.batch_bytes.max(1));
            config.set("transactional.id", &transactions.id);
            config.set("transaction.timeout.ms", transactions.timeout.as_millis().to_string());
            config.remove("message.timeout.ms");
        }
    }
    let ours = [
        ("client.id", settings.client_id.clone()),
        ("enable.idempotence", "true".to_owned()),
        ("acks", "all".to_owned()),
        ("partitioner", "murmur2_random".to_owned()),
        ("queue.buffering.max.messages", "0".to_owned()),
        ("queue.buffering.max.kbytes", window_kib.to_string()),
        ("message.max.bytes", message_bytes.to_string()),
        ("batch.size", batch_bytes.to_string()),
    ];
    for (name, value) in ours {
        config.set(name, value);
    }
    config
}

fn headers(out: &Outgoing<'_>) -> Option<OwnedHeaders> {
    let count = out.headers.len() + out.more_headers.len();
    if count == 0 {
        return None;
    }
    let mut headers = OwnedHeaders::new_with_capacity(count);
    for Header { name, value } in out.headers {
        headers = headers.insert(ClientHeader {
            key: name,
            value: value.as_deref(),
        });
    }
    for (key, value) in out.more_headers {
        headers = headers.insert(ClientHeader {
            key,
            value: Some(*value),
        });
    }
    Some(headers)
}

impl Context {
    fn take(&self, report: Report) {
        match report {
            Report::Delivered(place, Ok(())) => {
                self.health.fine();
                place.report(Ok(()));
            }
            Report::Delivered(place, Err((code, topic))) => place.report(Err(self.send_error(code, &topic))),
            Report::Error { code, reason, fatal } => {
                self.health.trouble(code, &reason);
                if fatal {
                    let _ = self.fatal.set((code, reason));
                }
            }
        }
    }

    /// A client that can't go on throws everything away, which says nothing of why.
    fn send_error(&self, code: Code, topic: &str) -> SendError {
        if self.transactional && Kind::of(code) == Kind::Fatal {
            return SendError::Purged;
        }
        let cause = match (Kind::of(code), self.fatal.get()) {
            (Kind::Fatal, None) => {
                let _ = self.fatal.set((code, said(code)));
                code
            }
            (Kind::Fatal | Kind::Purged, Some((cause, _))) => *cause,
            _ => code,
        };
        send_error(cause, topic)
    }
}

impl ClientContext for Context {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: ClientError, _: &str) {}
}

/// While it is destroyed, the client hands out by itself what the purge left.
impl ProducerContext for Context {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        use rdkafka::Message;
        self.take(Report::Delivered(
            place,
            match result {
                Ok(_) => Ok(()),
                Err((error, message)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                    Err((code, message.topic().to_owned()))
                }
            },
        ));
    }
}

fn send_error(code: Code, topic: &str) -> SendError {
    let text = format!("topic `{topic}`: {}", said(code));
    match Kind::of(code) {
        // The transaction that it would be part of can only be aborted.
        _ if code == Code::State => SendError::Purged,
        Kind::TooLarge => SendError::TooLarge(text),
        Kind::Refused => SendError::Refused(text),
        // Who may write a topic may write it idempotently, since Kafka 3.0.
        Kind::Denied(Resource::Cluster) => {
            let (write, idempotent) = (Right::WriteTopic(topic.to_owned()), Right::IdempotentWrite);
            SendError::Denied(format!("{text}; grant {write}, and before Kafka 3.0 {idempotent}"))
        }
        Kind::Denied(Resource::Topic | Resource::Group | Resource::Transactions) => {
            SendError::Denied(format!("{text}; grant {}", Right::WriteTopic(topic.to_owned())))
        }
        Kind::Unauthenticated => SendError::Denied(format!("{text}: user or password are not accepted")),
        Kind::Missing => SendError::Missing(format!("{text}: create the topic, or name another")),
        Kind::Away | Kind::Passing | Kind::NotMember | Kind::GroupInUse | Kind::OutOfRange => SendError::Away(text),
        // The producer was fenced or lost its place: it is opened again, and the record may be sent again.
        Kind::Fatal => SendError::Away(text),
        Kind::Full => SendError::Full,
        Kind::Purged => SendError::Purged,
        Kind::Exists | Kind::Settings | Kind::Other => SendError::Other(text),
    }
}
