//! Writes dead letters. The producer is opened with the first one: most pipelines have none.
//!
//! A letter goes to the partition of its source, modulo the topic's count, whatever its key: so that the letters of a
//! partition stand in the order in which they were given up, with a key or without, and where the topic has the
//! source's partition count, as one that was created here, a letter's partition is its record's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use super::{DeadLetter, DeadLetterSettings, dead_letter};
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::Letter;
use crate::kafka::producer::Deliveries;
use crate::kafka::{Admin, Health, KafkaError, Kind, Producer, ProducerSettings, SendError};

/// Writes a pipeline's dead letters.
pub struct Writer {
    settings: Arc<DeadLetterSettings>,
    /// What the topic allows, as last heard.
    max_message_bytes: Arc<AtomicUsize>,
    /// The way to the topic, and the bound that it was opened for.
    line: Mutex<Option<(usize, Arc<Line>)>>,
}

/// The way to the topic.
struct Line {
    topic: String,
    producer: Producer,
    partitions: Mutex<Partitions>,
}

/// How many partitions the topic has. Letters wait in line until that is known.
enum Partitions {
    Unknown(Vec<Waiting>),
    Known(i32),
}

struct Waiting {
    dead: DeadLetter,
    source_partition: i32,
    done: oneshot::Sender<Receipt>,
}

impl Writer {
    /// A writer to a topic that allows records of `max_message_bytes`.
    pub fn new(settings: Arc<DeadLetterSettings>, max_message_bytes: usize) -> Writer {
        Writer {
            settings,
            max_message_bytes: Arc::new(AtomicUsize::new(max_message_bytes)),
            line: Mutex::default(),
        }
    }

    /// Writes a letter, behind those before. Whatever comes instead of [`Receipt::Stored`], the task blocks and tries
    /// again; where the letter was too large, the topic is asked what it allows by now. Must be called within a Tokio
    /// runtime.
    pub fn write(&self, letter: &Letter) -> BoxFuture<'static, Receipt> {
        let max_message_bytes = self.max_message_bytes.load(Ordering::Relaxed);
        let dead = match dead_letter(letter, &self.settings, max_message_bytes) {
            Ok(dead) => dead,
            Err(reason) => {
                let asked = self.ask_again();
                return asked.map(|()| Receipt::Blocked(Failure::of(reason))).boxed();
            }
        };
        match self.line(max_message_bytes) {
            Ok(line) => line.write(dead, letter.record.source.partition),
            Err(reason) => std::future::ready(Receipt::Blocked(Failure::of(reason))).boxed(),
        }
    }

    /// The letter as it stands in the topic, for whoever writes it there by another way.
    ///
    /// # Errors
    /// One that is too large, and why; [`Writer::ask_again`] may change that.
    pub fn compose(&self, letter: &Letter) -> Result<DeadLetter, String> {
        dead_letter(letter, &self.settings, self.max_message_bytes.load(Ordering::Relaxed))
    }

    /// Asks the topic what it allows by now.
    pub fn ask_again(&self) -> BoxFuture<'static, ()> {
        ask_again(self.settings.clone(), self.max_message_bytes.clone()).boxed()
    }

    /// Whether the cluster takes letters: while it is away no receipt comes, and only this says so. `None` before the
    /// first letter.
    pub fn health(&self) -> Option<watch::Receiver<Health>> {
        let open = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|(_, line)| line.producer.health())
    }

    fn line(&self, max_message_bytes: usize) -> Result<Arc<Line>, String> {
        let mut open = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, line)) = open.as_ref().filter(|(bound, _)| *bound == max_message_bytes) {
            return Ok(line.clone());
        }
        let producer = Producer::open(ProducerSettings {
            max_message_bytes,
            ..ProducerSettings::new(self.settings.cluster.clone(), client_id(&self.settings))
        });
        let line = Arc::new(Line {
            topic: self.settings.topic.clone(),
            producer: producer.map_err(|error| error.to_string())?,
            partitions: Mutex::new(Partitions::Unknown(Vec::new())),
        });
        *open = Some((max_message_bytes, line.clone()));
        Ok(line)
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

impl Line {
    fn write(self: Arc<Line>, dead: DeadLetter, source_partition: i32) -> BoxFuture<'static, Receipt> {
        let mut partitions = self.partitions();
        match &mut *partitions {
            Partitions::Known(count) => {
                let sent = self.send(&dead, partition(source_partition, *count));
                async move { receipt(sent.await) }.boxed()
            }
            Partitions::Unknown(waiting) => {
                let (done, receipt) = oneshot::channel();
                waiting.push(Waiting {
                    dead,
                    source_partition,
                    done,
                });
                if waiting.len() == 1 {
                    tokio::spawn(self.clone().find_partitions());
                }
                async move { receipt.await.unwrap_or_else(|_| purged()) }.boxed()
            }
        }
    }

    /// Asks how many partitions the topic has, and sends what has waited for that, in order.
    async fn find_partitions(self: Arc<Line>) {
        let line = self.clone();
        let asked = tokio::task::spawn_blocking(move || line.producer.partition_count(&line.topic)).await;
        let count = match asked {
            Ok(Ok(count)) => Ok(Some(count)),
            // Sending to it makes the topic, where the broker does that; else the broker says that there is none.
            Ok(Err(error)) if error.kind == Kind::Missing => Ok(None),
            Ok(Err(error)) => Err(not_found(&error)),
            Err(error) => Err(Receipt::Away(Failure::of(error.to_string()))),
        };
        let sent: Vec<(oneshot::Sender<Receipt>, Result<Deliveries, Receipt>)> = {
            let mut partitions = self.partitions();
            let next = match count {
                Ok(Some(count)) => Partitions::Known(count),
                Ok(None) | Err(_) => Partitions::Unknown(Vec::new()),
            };
            let Partitions::Unknown(waiting) = std::mem::replace(&mut *partitions, next) else {
                return;
            };
            let send = |letter: Waiting| {
                let sent = (count.clone())
                    .map(|count| self.send(&letter.dead, count.and_then(|n| partition(letter.source_partition, n))));
                (letter.done, sent)
            };
            // Whoever was cut off does not wait any more, and sends what it still owns by another way.
            (waiting.into_iter().filter(|letter| !letter.done.is_closed()).map(send)).collect()
        };
        // The producer ends with its writer, not with the last answer.
        drop(self);
        for (done, sent) in sent {
            let receipt = match sent {
                Ok(sent) => receipt(sent.await),
                Err(receipt) => receipt,
            };
            let _ = done.send(receipt);
        }
    }

    fn send(&self, dead: &DeadLetter, partition: Option<i32>) -> Deliveries {
        self.producer
            .send_all([dead.outgoing(&self.topic, partition)].into_iter())
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a letter goes in a topic of `count` partitions.
pub fn partition(source_partition: i32, count: i32) -> Option<i32> {
    source_partition.checked_rem(count)
}

/// The topic's partitions can't be seen.
fn not_found(error: &KafkaError) -> Receipt {
    let failure = Failure::of(error.to_string());
    if error.kind.retriable() {
        Receipt::Away(failure)
    } else {
        Receipt::Blocked(failure)
    }
}

fn receipt(results: Vec<Result<(), SendError>>) -> Receipt {
    match results.into_iter().next() {
        Some(Ok(())) => Receipt::Stored,
        Some(Err(error)) => not_written(error),
        None => purged(),
    }
}

/// What it means that a letter was not written.
pub fn not_written(error: SendError) -> Receipt {
    match error {
        SendError::TooLarge(reason) | SendError::Refused(reason) => Receipt::Blocked(Failure::of(reason)),
        SendError::Denied(reason) | SendError::Missing(reason) => Receipt::Blocked(Failure::of(reason)),
        SendError::Away(reason) | SendError::Other(reason) => Receipt::Away(Failure::of(reason)),
        SendError::Full => Receipt::TryAgain(Failure::of("the producer's window is full")),
        SendError::Purged => purged(),
    }
}

fn purged() -> Receipt {
    Receipt::TryAgain(Failure::of("the producer was closed before the broker answered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_goes_to_its_sources_partition_modulo_the_count() {
        let table = [
            (0, 4, Some(0)),
            (3, 4, Some(3)),
            (7, 4, Some(3)),
            (5, 1, Some(0)),
            (1, 0, None),
        ];
        for (source, count, expected) in table {
            assert_eq!(partition(source, count), expected, "{source} of {count}");
        }
    }

    #[test]
    fn only_a_stored_letter_is_stored() {
        let of = |error: SendError| receipt(vec![Err(error)]);
        assert_eq!(receipt(vec![Ok(())]), Receipt::Stored);
        for blocked in [
            SendError::TooLarge,
            SendError::Refused,
            SendError::Denied,
            SendError::Missing,
        ] {
            assert_eq!(of(blocked("why".into())), Receipt::Blocked(Failure::of("why")));
        }
        for away in [SendError::Away, SendError::Other] {
            assert_eq!(of(away("why".into())), Receipt::Away(Failure::of("why")));
        }
        for again in [SendError::Full, SendError::Purged] {
            assert!(matches!(of(again), Receipt::TryAgain(_)));
        }
    }
}
