//! Results into a topic.

mod receipt;
mod request;
#[cfg(test)]
mod tests;
mod transaction;

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use self::transaction::{InTransaction, topic_trouble};

use self::receipt::{Next, Tally};
use self::request::Place;
use super::Sink;
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::Store;
use crate::kafka::producer::Deliveries;
use crate::kafka::{ClusterSettings, Health, Kind, Producer, ProducerSettings};

/// How long the topic's partition count is taken for granted.
const COUNT_KNOWN_FOR: Duration = Duration::from_secs(30);
/// How often a window that stays full is tried.
const WINDOW_PAUSE: Duration = Duration::from_millis(20);

/// A topic that results go to.
#[derive(Clone, Debug)]
pub struct KafkaSinkSettings {
    /// The cluster.
    pub cluster: Arc<ClusterSettings>,
    /// The topic.
    pub topic: String,
    /// Who writes, to the broker.
    pub client_id: String,
    /// Bytes that wait for their acks, at most.
    pub window_bytes: usize,
    /// The topic's `max.message.bytes`, as far as it is known.
    pub max_message_bytes: usize,
    /// How long a result waits for others to share a request with.
    pub linger: Duration,
}

pub(super) struct KafkaSink(Arc<Topic>);

struct Topic {
    name: String,
    max_message_bytes: usize,
    producer: Producer,
    partitions: Partitions,
}

/// How many partitions the topic has. Sending waits for that once; later it is looked up aside.
struct Partitions {
    /// 0: not known.
    count: AtomicI32,
    asked: Mutex<Option<Instant>>,
    asking: AtomicBool,
}

impl KafkaSink {
    pub(super) fn open(settings: KafkaSinkSettings) -> Result<KafkaSink, String> {
        let producer = Producer::open(ProducerSettings {
            window_bytes: settings.window_bytes,
            max_message_bytes: settings.max_message_bytes,
            linger: settings.linger,
            ..ProducerSettings::new(settings.cluster, settings.client_id)
        });
        Ok(KafkaSink(Arc::new(Topic {
            name: settings.topic,
            max_message_bytes: settings.max_message_bytes,
            producer: producer.map_err(|error| error.to_string())?,
            partitions: Partitions::unknown(),
        })))
    }
}

impl Sink for KafkaSink {
    fn store(&self, store: Store) -> BoxFuture<'static, Vec<Receipt>> {
        let topic = self.0.clone();
        let places = request::places(&store);
        if request::has_keyless(&store, &places) {
            match topic.partitions.known() {
                Some(true) => {}
                Some(false) => topic.clone().look_again(),
                None => return topic.find_and_store(store, places).boxed(),
            }
        }
        let first = topic.send(&store, &places);
        topic.go_on(store, places, first).boxed()
    }

    fn health(&self) -> Option<watch::Receiver<Health>> {
        Some(self.0.producer.health())
    }
}

impl Topic {
    /// Sends as many of these results as may be sent at once.
    fn send(&self, store: &Store, places: &[Place]) -> Deliveries {
        let now = request::at_once(store, places, self.max_message_bytes);
        let count = self.partitions.count.load(Ordering::Relaxed);
        let lines = request::lines(store, &places[..now], (count > 0).then_some(count));
        let marks: Vec<_> = lines.iter().map(request::Line::mark).collect();
        let outgoing = (lines.iter().zip(&marks)).map(|(line, mark)| line.outgoing(&self.name, mark));
        self.producer.send_all(outgoing)
    }

    /// Waits for what was sent, and sends the rest.
    async fn go_on(self: Arc<Topic>, store: Store, places: Vec<Place>, first: Deliveries) -> Vec<Receipt> {
        let mut tally = Tally::new(store.items.len());
        let (mut from, mut sent) = (0, first);
        loop {
            let next = tally.take(&places, from, sent.await);
            from = match next {
                Next::End => break,
                Next::From(at) => at,
                Next::Wait(at) => {
                    tokio::time::sleep(WINDOW_PAUSE).await;
                    at
                }
            };
            sent = self.send(&store, &places[from..]);
        }
        let receipts = tally.into_receipts();
        if receipts.iter().any(|receipt| matches!(receipt, Receipt::Blocked(_))) {
            // Perhaps the topic has fewer partitions than it had.
            self.partitions.forget();
        }
        receipts
    }

    /// Stores once it is known where results without a key go.
    async fn find_and_store(self: Arc<Topic>, store: Store, places: Vec<Place>) -> Vec<Receipt> {
        match self.clone().find().await {
            Ok(()) => {
                let first = self.send(&store, &places);
                self.go_on(store, places, first).await
            }
            Err(receipt) => vec![receipt; store.items.len()],
        }
    }

    /// Finds the partition count out. A topic that is not there is none of its troubles: sending to it makes the topic,
    /// where the broker does that; else the broker says that there is none.
    async fn find(self: Arc<Topic>) -> Result<(), Receipt> {
        let topic = self.clone();
        let asked = tokio::task::spawn_blocking(move || topic.producer.partition_count(&topic.name)).await;
        match asked.map_err(|error| Receipt::Away(Failure::of(error.to_string())))? {
            Ok(count) => {
                self.partitions.learn(count);
                Ok(())
            }
            Err(error) if error.kind == Kind::Missing => Ok(()),
            Err(error) => Err(receipt::not_found(&error)),
        }
    }

    /// Looks the partition count up aside: a topic may get more.
    fn look_again(self: Arc<Topic>) {
        if !self.partitions.asking.swap(true, Ordering::AcqRel) {
            tokio::spawn(async move {
                // A count that can't be seen stays as it was: the receipts say what becomes of the results.
                let _ = self.clone().find().await;
                self.partitions.asking.store(false, Ordering::Release);
            });
        }
    }
}

impl Partitions {
    fn unknown() -> Partitions {
        Partitions {
            count: AtomicI32::new(0),
            asked: Mutex::new(None),
            asking: AtomicBool::new(false),
        }
    }

    /// Whether the count is fresh; `None`: there is none.
    fn known(&self) -> Option<bool> {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.map(|at| at.elapsed() < COUNT_KNOWN_FOR)
    }

    fn learn(&self, count: i32) {
        self.count.store(count, Ordering::Relaxed);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn forget(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
