//! Results as part of a transaction: the same lines and the same words for what became of them, by a producer that is
//! not the sink's own.

use std::collections::HashMap;

use super::request::{self, Line, Place};
use super::{KafkaSinkSettings, receipt};
use crate::delivery::answer::Receipt;
use crate::delivery::event::Store;
use crate::delivery::record::SinkId;
use crate::kafka::{KafkaError, Outgoing, SendError};

/// A request's results on their way in a transaction.
pub struct InTransaction {
    topic: String,
    max_message_bytes: usize,
    store: Store,
    places: Vec<Place>,
}

impl InTransaction {
    /// The results of a request to this sink.
    pub fn new(settings: &KafkaSinkSettings, store: Store) -> InTransaction {
        InTransaction {
            topic: settings.topic.clone(),
            max_message_bytes: settings.max_message_bytes,
            places: request::places(&store),
            store,
        }
    }

    /// Which sink.
    pub fn sink(&self) -> SinkId {
        self.store.sink
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How many results there are.
    pub fn results(&self) -> usize {
        self.places.len()
    }

    /// The number of the topic's partitions decides where results go.
    pub fn needs_count(&self) -> bool {
        request::has_keyless(&self.store, &self.places)
    }

    /// Results that are larger than the topic takes, as far as that is known, which is found out without sending them.
    pub fn too_large(&self) -> Vec<(usize, Receipt)> {
        let most = self.max_message_bytes;
        let large = |place: &&Place| request::payload_bytes(&self.store, place) > most;
        let refused = |place: &Place| {
            let size = request::payload_bytes(&self.store, place);
            let reason = format!(
                "topic `{}` takes {most} bytes a record, and this one has {size}",
                self.topic
            );
            (place.item, receipt::receipt(SendError::TooLarge(reason), place.index))
        };
        self.places.iter().filter(large).map(refused).collect()
    }

    /// Hands out the results, in order.
    pub fn each(&self, counts: &HashMap<String, i32>, hand: &mut dyn FnMut(Outgoing<'_>)) {
        for line in request::lines(&self.store, &self.places, counts.get(&self.topic).copied()) {
            let mark = Line::mark(&line);
            hand(line.outgoing(&self.topic, &mark));
        }
    }

    /// What stands against the request's items, from what became of each result until the transaction was undone. A
    /// result that was only thrown away says nothing.
    pub fn receipts(&self, results: Vec<Result<(), SendError>>) -> Vec<(usize, Receipt)> {
        let places = self.places.iter().zip(results);
        let said = places.filter_map(|(place, result)| match result {
            Ok(()) | Err(SendError::Purged) => None,
            Err(error) => Some((place.item, receipt::receipt(error, place.index))),
        });
        said.collect()
    }
}

/// What it means that a topic's partitions can't be seen.
pub fn topic_trouble(error: &KafkaError) -> Receipt {
    receipt::not_found(error)
}
