//! Transactions of a pipeline that delivers exactly once: what goes into one, and what its end means to the task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::PipelineSettings;
use crate::deadletter::{DeadLetter, Writer, not_written, partition};
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::{CommitEntry, LetterId};
use crate::delivery::transaction::{Obstacle, Transaction, TransactionOutcome};
use crate::kafka::{
    Cause, Ended, Health, KafkaError, Load, Membership, Outgoing, ProducerSettings, SendError, TransactionSettings,
    Transactor, Voucher,
};
use crate::sink::{InTransaction, KafkaSinkSettings, SinkSettings, topic_trouble};

/// How long a transaction may last. A worker that comes to its end in the middle of one keeps the next owner of its
/// partitions waiting for so long, unless it comes back.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes on their way to the cluster, at least.
const LEAST_WINDOW_BYTES: usize = 64 << 20;
/// A bound on records that none meets: what a topic takes is known a topic.
const MAX_MESSAGE_BYTES: usize = 1_000_000_000;

/// How a transaction ended.
pub(super) enum End {
    /// As the task has to know.
    Known(TransactionOutcome),
    /// It can't be known, and the run is over.
    Undecided(String),
}

/// The way of results, dead letters and offsets.
pub(super) struct Transactions {
    transactor: Transactor,
    sinks: Vec<KafkaSinkSettings>,
    letters: Arc<Writer>,
    letter_topic: String,
}

/// What one transaction holds.
struct Loaded {
    stores: Vec<InTransaction>,
    letters: Vec<(LetterId, DeadLetter, i32)>,
    letter_topic: String,
    entries: Vec<CommitEntry>,
    voucher: Voucher,
}

impl Transactions {
    /// Opens the way, and waits until what an earlier worker of this name left behind has ended.
    ///
    /// # Errors
    /// Why it can't be opened just now, as a sentence.
    pub(super) async fn open(
        settings: &PipelineSettings,
        sinks: &[SinkSettings],
        letters: Arc<Writer>,
        letter_bytes: usize,
    ) -> Result<Transactions, String> {
        let sinks: Vec<KafkaSinkSettings> = sinks.iter().filter_map(SinkSettings::kafka).cloned().collect();
        let source = &settings.source;
        let batch_bytes = sinks.iter().map(|sink| sink.max_message_bytes).chain([letter_bytes]);
        let client_id = format!("fnbridge/{}/{}", source.pipeline, source.worker);
        let transactor = Transactor::open(ProducerSettings {
            window_bytes: settings.task.in_flight_bytes.max(LEAST_WINDOW_BYTES),
            max_message_bytes: MAX_MESSAGE_BYTES,
            transactions: Some(TransactionSettings {
                id: format!("{}-{}", source.group, source.worker),
                timeout: TIMEOUT,
                batch_bytes: batch_bytes.min().unwrap_or(ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES),
            }),
            ..ProducerSettings::new(source.cluster.clone(), client_id)
        });
        let transactor = transactor.map_err(|error| error.to_string())?;
        transactor.init().await.map_err(|error| error.to_string())?;
        Ok(Transactions {
            transactor,
            sinks,
            letters,
            letter_topic: settings.dead_letter.topic.clone(),
        })
    }

    /// Whether the cluster takes what is sent.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.transactor.health()
    }

    /// Runs a transaction. What is known to be too large undoes it before it is begun.
    pub(super) fn run(&self, transaction: Transaction, voucher: Voucher) -> impl Future<Output = End> + Send + use<> {
        let (loaded, obstacles) = self.load(transaction, voucher);
        let letter_too_large = obstacles.iter().any(|o| matches!(o, Obstacle::Letter { .. }));
        let asked = letter_too_large.then(|| self.letters.ask_again());
        let loaded = Arc::new(loaded);
        let running = obstacles
            .is_empty()
            .then(|| self.transactor.run(Box::new(Arc::clone(&loaded))));
        async move {
            if let Some(asked) = asked {
                asked.await;
            }
            match running {
                None => End::Known(TransactionOutcome::Aborted(obstacles)),
                Some(running) => match running.await {
                    Ended::Committed => End::Known(TransactionOutcome::Committed),
                    Ended::Aborted { records, cause } => {
                        End::Known(TransactionOutcome::Aborted(loaded.obstacles(records, cause)))
                    }
                    Ended::Undecided(reason) => End::Undecided(reason),
                },
            }
        }
    }

    fn load(&self, transaction: Transaction, voucher: Voucher) -> (Loaded, Vec<Obstacle>) {
        let mut obstacles = Vec::new();
        let mut stores = Vec::with_capacity(transaction.stores.len());
        for store in transaction.stores {
            let sink = store.sink;
            let Some(settings) = self.sinks.get(usize::from(sink.0)) else {
                continue;
            };
            let store = InTransaction::new(settings, store);
            let too_large = store.too_large().into_iter();
            obstacles.extend(too_large.map(|(item, receipt)| Obstacle::Result { sink, item, receipt }));
            stores.push(store);
        }
        let mut letters = Vec::with_capacity(transaction.letters.len());
        for letter in transaction.letters {
            match self.letters.compose(&letter) {
                Ok(dead) => letters.push((letter.id, dead, letter.record.source.partition)),
                Err(reason) => obstacles.push(Obstacle::Letter {
                    letter: letter.id,
                    receipt: Receipt::Blocked(Failure::of(reason)),
                }),
            }
        }
        let loaded = Loaded {
            stores,
            letters,
            letter_topic: self.letter_topic.clone(),
            entries: transaction.entries,
            voucher,
        };
        (loaded, obstacles)
    }
}

impl Load for Arc<Loaded> {
    fn records(&self) -> usize {
        self.stores.iter().map(InTransaction::results).sum::<usize>() + self.letters.len()
    }

    fn topics(&self) -> Vec<String> {
        let results = self.stores.iter().filter(|store| store.needs_count());
        let letters = (!self.letters.is_empty()).then(|| self.letter_topic.clone());
        results.map(|store| store.topic().to_owned()).chain(letters).collect()
    }

    fn each(&self, counts: &HashMap<String, i32>, hand: &mut dyn FnMut(Outgoing<'_>)) {
        self.stores.iter().for_each(|store| store.each(counts, hand));
        let count = counts.get(&self.letter_topic).copied();
        for (_, dead, source_partition) in &self.letters {
            let partition = count.and_then(|count| partition(*source_partition, count));
            hand(dead.outgoing(&self.letter_topic, partition));
        }
    }

    fn offsets(&self) -> &[CommitEntry] {
        &self.entries
    }

    fn membership(&self) -> Result<Membership, String> {
        let assignments = self.entries.iter().map(|entry| entry.assignment).collect();
        self.voucher.vouch(assignments)
    }
}

impl Loaded {
    /// What stood in the way: a record's own trouble says more than the library's word on the whole.
    fn obstacles(&self, records: Vec<Result<(), SendError>>, cause: Option<Cause>) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        let mut records = records.into_iter();
        for store in &self.stores {
            let sink = store.sink();
            let results = records.by_ref().take(store.results()).collect();
            let receipts = store.receipts(results).into_iter();
            obstacles.extend(receipts.map(|(item, receipt)| Obstacle::Result { sink, item, receipt }));
        }
        for ((letter, ..), result) in self.letters.iter().zip(records) {
            match result {
                Ok(()) | Err(SendError::Purged) => {}
                Err(error) => obstacles.push(Obstacle::Letter {
                    letter: *letter,
                    receipt: not_written(error),
                }),
            }
        }
        match cause {
            Some(Cause::Offsets(reason)) => obstacles.push(Obstacle::Offsets { reason }),
            Some(Cause::Topic(topic, error)) => obstacles.extend(self.topic_obstacles(&topic, &error)),
            Some(Cause::Gap(text) | Cause::Cluster(text)) if obstacles.is_empty() => {
                obstacles.push(Obstacle::Cluster(Failure::of(text)));
            }
            Some(Cause::Gap(_) | Cause::Cluster(_)) | None => {}
        }
        obstacles
    }

    fn topic_obstacles(&self, topic: &str, error: &KafkaError) -> Vec<Obstacle> {
        let receipt = || topic_trouble(error);
        let stores = self.stores.iter().filter(|store| store.topic() == topic);
        let results = stores.map(|store| Obstacle::Result {
            sink: store.sink(),
            item: 0,
            receipt: receipt(),
        });
        let letter = self.letters.first().filter(|_| self.letter_topic == topic);
        let letters = letter.map(|(letter, ..)| Obstacle::Letter {
            letter: *letter,
            receipt: receipt(),
        });
        results.chain(letters).collect()
    }
}
