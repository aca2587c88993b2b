//! Where results go: one folder each, one trait, the same files: `mod.rs` opens and stores, `request.rs` says what goes
//! over the wire, `receipt.rs` what the answer means.

mod http;
mod json_result;
mod kafka;
mod stdout;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::delivery::answer::Receipt;
use crate::delivery::event::Store;
use crate::http::AnswerPool;
use crate::kafka::Health;

pub use http::HttpSinkSettings;
pub use kafka::{InTransaction, KafkaSinkSettings, topic_trouble};

/// A place that results are stored in.
///
/// A request carries records in an order that the sink keeps. A lane has one request to a sink at a time, so that requests
/// need no order among each other.
/// Of each record the sink says whether its results are stored, are to be tried again, whether one was refused, or
/// whether the sink is away. It waits for nothing but its own time-out: when to try again is not its to decide.
pub trait Sink: Send + Sync {
    /// Stores results; the future waits for the receipts, one an item, in the request's order.
    fn store(&self, store: Store) -> BoxFuture<'static, Vec<Receipt>>;

    /// Trouble that no receipt tells of, as with a producer that waits an outage out; changes wake the receiver. `None`
    /// where receipts say everything.
    fn health(&self) -> Option<watch::Receiver<Health>> {
        None
    }
}

/// Which sink, and how it is reached.
#[derive(Clone, Debug)]
pub enum SinkSettings {
    /// A topic.
    Kafka(KafkaSinkSettings),
    /// A URL that takes JSON arrays.
    Http(Box<HttpSinkSettings>),
    /// A line of JSON a result.
    Stdout,
}

impl SinkSettings {
    /// The topic, where it is one.
    pub fn kafka(&self) -> Option<&KafkaSinkSettings> {
        match self {
            SinkSettings::Kafka(settings) => Some(settings),
            SinkSettings::Http(_) | SinkSettings::Stdout => None,
        }
    }
}

/// Opens a sink. This does not wait for it to answer.
///
/// # Errors
/// Settings that can't work, as a sentence.
pub fn open(settings: &SinkSettings, pool: &Arc<AnswerPool>) -> Result<Arc<dyn Sink>, String> {
    Ok(match settings {
        SinkSettings::Kafka(settings) => Arc::new(kafka::KafkaSink::open(settings.clone())?),
        SinkSettings::Http(settings) => Arc::new(http::HttpSink::open((**settings).clone(), pool.clone())?),
        SinkSettings::Stdout => Arc::new(stdout::StdoutSink::open()?),
    })
}
