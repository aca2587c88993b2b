//! Watches the end of the result and dead-letter topics, as any other consumer would: what is shown is what is there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::model::{Seen, SeenLetter};

/// Values are shown up to here.
const SHOWN_BYTES: usize = 400;

/// How often topics that were not there, or had fewer partitions, are looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How many sightings wait to be shown before more are passed over.
const SIGHTINGS: usize = 1024;

/// Something new in one of the topics.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// A result.
    Result(Seen),
    /// A dead letter.
    Letter(SeenLetter),
}

/// The watching thread; it ends when this is dropped.
pub(super) struct Tail {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    /// Watches two topics. Where they exist already, only what comes from now on is shown.
    ///
    /// # Errors
    /// Where librdkafka does not take the settings.
    pub(super) fn start(
        mut config: ClientConfig,
        results: &str,
        letters: &str,
    ) -> Result<(Tail, Receiver<Sighting>), KafkaError> {
        config
            .set("client.id", "fnbridge-dev-view")
            // Never joined: partitions are assigned by hand and nothing is committed.
            .set("group.id", "fnbridge-dev-view")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "50")
            .set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer = config.create()?;
        let (sender, receiver) = channel(SIGHTINGS);
        let end = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            consumer,
            topics: [results.to_owned(), letters.to_owned()],
            known: HashSet::new(),
            sender,
        };
        let thread = std::thread::Builder::new().name("dev-view".to_owned()).spawn({
            let end = end.clone();
            move || watch.run(&end)
        });
        let thread = thread.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok((
            Tail {
                end,
                thread: Some(thread),
            },
            receiver,
        ))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watcher that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

struct Watch {
    consumer: BaseConsumer,
    topics: [String; 2],
    known: HashSet<(String, i32)>,
    sender: Sender<Sighting>,
}

impl Watch {
    fn run(mut self, end: &AtomicBool) {
        let mut first = true;
        let mut look = Instant::now();
        while !end.load(Ordering::Relaxed) {
            if Instant::now() >= look {
                self.look_for_partitions(if first { Offset::End } else { Offset::Beginning });
                first = false;
                look = Instant::now() + LOOK_AGAIN;
            }
            if let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(50)) {
                // A full channel is a view that can't follow: what is newest then is shown later.
                let _ = self.sender.try_send(sighting(&message, &self.topics[1]));
            }
        }
    }

    fn look_for_partitions(&mut self, from: Offset) {
        let mut added = TopicPartitionList::new();
        for topic in &self.topics {
            let Ok(metadata) = self.consumer.fetch_metadata(Some(topic), Duration::from_secs(1)) else {
                continue;
            };
            for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
                if self.known.insert((topic.clone(), partition.id())) {
                    // The only error is an offset that can't be stored, which these two can.
                    let _ = added.add_partition_offset(topic, partition.id(), from);
                }
            }
        }
        if added.count() > 0 && self.consumer.incremental_assign(&added).is_err() {
            self.known.clear();
        }
    }
}

fn sighting(message: &BorrowedMessage<'_>, letters: &str) -> Sighting {
    let id = format!("{}/{}/{}", message.topic(), message.partition(), message.offset());
    let header = |name: &str| {
        let headers = message.headers()?;
        let found = headers.iter().find(|header| header.key == name)?;
        found.value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    if message.topic() != letters {
        return Sighting::Result(Seen {
            id: header("fnbridge.source").unwrap_or(id),
            value: message.payload().map(shown),
        });
    }
    let connect = |name: &str| header(&format!("__connect.errors.{name}")).unwrap_or_else(|| "?".to_owned());
    Sighting::Letter(SeenLetter {
        source: format!("{}/{}/{}", connect("topic"), connect("partition"), connect("offset")),
        id,
        stage: header("fnbridge.stage").unwrap_or_default(),
        reason: header("fnbridge.reason").unwrap_or_default(),
        attempts: header("fnbridge.attempts").unwrap_or_default(),
        response: header("fnbridge.response")
            .map(|body| shown(body.as_bytes()))
            .unwrap_or_default(),
    })
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(SHOWN_BYTES)]).into_owned()
}
