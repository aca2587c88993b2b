//! Writes dead letters. The producer is opened with the first one: most pipelines have none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{DeadLetterSettings, dead_letter};
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::Letter;
use crate::kafka::{Admin, Outgoing, Producer, ProducerSettings, SendError};

/// What the client may add to a record over what the topic counts.
const ROOM_BYTES: usize = 64 * 1024;

/// Writes a pipeline's dead letters.
pub struct Writer {
    settings: Arc<DeadLetterSettings>,
    /// What the topic allows, as last heard.
    max_message_bytes: Arc<AtomicUsize>,
    /// The producer, and the bound that it was opened for.
    producer: Mutex<Option<(usize, Arc<Producer>)>>,
}

impl Writer {
    /// A writer to a topic that allows records of `max_message_bytes`.
    pub fn new(settings: Arc<DeadLetterSettings>, max_message_bytes: usize) -> Writer {
        let max_message_bytes = Arc::new(AtomicUsize::new(max_message_bytes));
        Writer {
            settings,
            max_message_bytes,
            producer: Mutex::default(),
        }
    }

    /// Writes a letter, behind those before; Java's partitioner places it by its key, so that letters of a key stay in
    /// order. Whatever comes instead of [`Receipt::Stored`], the task blocks and tries again; where the letter was too
    /// large, the topic is asked what it allows by now.
    pub fn write(&self, letter: &Letter) -> BoxFuture<'static, Receipt> {
        let max_message_bytes = self.max_message_bytes.load(Ordering::Relaxed);
        let dead = match dead_letter(letter, &self.settings, max_message_bytes) {
            Ok(dead) => dead,
            Err(reason) => {
                let ask = ask_again(self.settings.clone(), self.max_message_bytes.clone());
                return ask.map(|()| Receipt::Blocked(Failure::of(reason))).boxed();
            }
        };
        let producer = match self.producer(max_message_bytes) {
            Ok(producer) => producer,
            Err(reason) => return std::future::ready(Receipt::Blocked(Failure::of(reason))).boxed(),
        };
        let outgoing = Outgoing {
            topic: &self.settings.topic,
            partition: None,
            key: dead.key.as_deref(),
            value: dead.value.as_deref(),
            headers: &dead.headers,
            more_headers: &[],
            timestamp_ms: dead.timestamp_ms,
        };
        let deliveries = producer.send_all([outgoing].into_iter());
        async move { deliveries.await.into_iter().next().map_or_else(purged, receipt) }.boxed()
    }

    fn producer(&self, max_message_bytes: usize) -> Result<Arc<Producer>, String> {
        let mut open = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, producer)) = open.as_ref().filter(|(bound, _)| *bound == max_message_bytes) {
            return Ok(producer.clone());
        }
        let client_id = client_id(&self.settings);
        let producer = Producer::open(ProducerSettings {
            max_message_bytes: max_message_bytes + ROOM_BYTES,
            ..ProducerSettings::new(self.settings.cluster.clone(), client_id)
        });
        let producer = Arc::new(producer.map_err(|error| error.to_string())?);
        *open = Some((max_message_bytes, producer.clone()));
        Ok(producer)
    }
}

/// Somebody may have raised what the topic allows. Where that can't be seen, what was known stays.
async fn ask_again(settings: Arc<DeadLetterSettings>, max_message_bytes: Arc<AtomicUsize>) {
    if let (true, Ok(admin)) = (
        settings.admin,
        Admin::open(settings.cluster.clone(), &client_id(&settings)),
    ) && let Ok(config) = admin.topic_config(&settings.topic).await
    {
        max_message_bytes.store(config.max_message_bytes, Ordering::Relaxed);
    }
}

fn client_id(settings: &DeadLetterSettings) -> String {
    format!("fnbridge/{}/{}/dead-letter", settings.pipeline, settings.worker)
}

fn receipt(result: Result<(), SendError>) -> Receipt {
    match result {
        Ok(()) => Receipt::Stored,
        Err(SendError::TooLarge(reason) | SendError::Refused(reason)) => Receipt::Blocked(Failure::of(reason)),
        Err(SendError::Denied(reason) | SendError::Missing(reason)) => Receipt::Blocked(Failure::of(reason)),
        Err(SendError::Away(reason) | SendError::Other(reason)) => Receipt::Away(Failure::of(reason)),
        Err(SendError::Full) => Receipt::TryAgain(Failure::of("the producer's window is full")),
        Err(SendError::Purged) => purged(),
    }
}

fn purged() -> Receipt {
    Receipt::TryAgain(Failure::of("the producer was closed before the broker answered"))
}
