//! Results into a topic.

mod receipt;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Sink;
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::Store;
use crate::kafka::{ClusterSettings, Producer, ProducerSettings};

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

pub(super) struct KafkaSink {
    topic: Arc<str>,
    producer: Arc<Producer>,
    partitions: Arc<Partitions>,
}

/// How many partitions the topic has, looked up aside: sending never waits for it.
struct Partitions {
    /// 0: not known yet.
    count: AtomicI32,
}

impl KafkaSink {
    pub(super) fn open(settings: KafkaSinkSettings) -> Result<KafkaSink, String> {
        let producer = Producer::open(ProducerSettings {
            window_bytes: settings.window_bytes,
            max_message_bytes: settings.max_message_bytes,
            linger: settings.linger,
            ..ProducerSettings::new(settings.cluster, settings.client_id)
        });
        Ok(KafkaSink {
            topic: settings.topic.into(),
            producer: Arc::new(producer.map_err(|error| error.to_string())?),
            partitions: Arc::new(Partitions {
                count: AtomicI32::new(0),
            }),
        })
    }

    /// The partition count as last heard; asks again in the background, which the producer remembers for a while.
    async fn refresh(producer: Arc<Producer>, topic: Arc<str>, partitions: Arc<Partitions>) -> Result<(), String> {
        let asked = tokio::task::spawn_blocking(move || producer.partition_count(&topic)).await;
        let count = asked
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        partitions.count.store(count, Ordering::Relaxed);
        Ok(())
    }
}

impl Sink for KafkaSink {
    fn store(&self, store: Store) -> BoxFuture<'static, Vec<Receipt>> {
        let keyless = store
            .items
            .iter()
            .any(|item| item.results(store.sink).any(|(_, output)| output.key.is_none()));
        let count = self.partitions.count.load(Ordering::Relaxed);
        let refresh = Self::refresh(self.producer.clone(), self.topic.clone(), self.partitions.clone());
        if keyless && count == 0 {
            let items = store.items.len();
            return async move {
                let failure = match refresh.await {
                    Ok(()) => {
                        return vec![
                            Receipt::TryAgain(Failure::of("the topic's partitions are known only now"));
                            items
                        ];
                    }
                    Err(reason) => Failure::of(reason),
                };
                vec![Receipt::Away(failure); items]
            }
            .boxed();
        }
        let lines = request::lines(&store, count);
        let marks: Vec<_> = lines.iter().map(request::Line::mark).collect();
        let outgoing = lines
            .iter()
            .zip(&marks)
            .map(|(line, mark)| line.outgoing(&self.topic, mark));
        let deliveries = self.producer.send_all(outgoing);
        let places: Vec<_> = lines.iter().map(|line| line.place).collect();
        let items = store.items.len();
        async move {
            let results = deliveries.await;
            if keyless {
                // A count that could not be refreshed stays as it was: the receipts say what became of the results.
                let _ = refresh.await;
            }
            receipt::receipts(items, &places, results)
        }
        .boxed()
    }
}
