//! Writes dead letters. The producer is opened with the first one: most pipelines have none.

use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{DeadLetterSettings, dead_letter};
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::Letter;
use crate::kafka::{Outgoing, Producer, ProducerSettings, SendError};

/// What the client may add to a record over what the topic counts.
const ROOM_BYTES: usize = 64 * 1024;

/// Writes a pipeline's dead letters.
pub struct Writer {
    settings: Arc<DeadLetterSettings>,
    max_message_bytes: usize,
    producer: OnceLock<Producer>,
}

impl Writer {
    /// A writer to a topic that allows records of `max_message_bytes`.
    pub fn new(settings: Arc<DeadLetterSettings>, max_message_bytes: usize) -> Writer {
        Writer {
            settings,
            max_message_bytes,
            producer: OnceLock::new(),
        }
    }

    /// Writes a letter, behind those before: to its source's partition modulo the topic's count where the key is null,
    /// else to its key's, so that letters of a key stay in order. Whatever comes instead of [`Receipt::Stored`], the task
    /// blocks and tries again.
    pub fn write(&self, letter: &Letter) -> BoxFuture<'static, Receipt> {
        let dead = match dead_letter(letter, &self.settings, self.max_message_bytes) {
            Ok(dead) => dead,
            Err(reason) => return std::future::ready(Receipt::Blocked(Failure::of(reason))).boxed(),
        };
        let producer = match self.producer() {
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

    fn producer(&self) -> Result<&Producer, String> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer);
        }
        let client_id = format!(
            "fnbridge/{}/{}/dead-letter",
            self.settings.pipeline, self.settings.worker
        );
        let producer = Producer::open(ProducerSettings {
            max_message_bytes: self.max_message_bytes + ROOM_BYTES,
            ..ProducerSettings::new(self.settings.cluster.clone(), client_id)
        });
        let producer = producer.map_err(|error| error.to_string())?;
        Ok(self.producer.get_or_init(|| producer))
    }
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
