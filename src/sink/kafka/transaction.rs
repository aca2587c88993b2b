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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::kafka::ClusterSettings;
    use crate::sink::testing::{output, record, store};

    /// Three records: one result, two, none of which is refused yet; and one that has lost its first in a transaction before.
    fn in_transaction(max_message_bytes: usize) -> InTransaction {
        let settings = KafkaSinkSettings {
            cluster: Arc::new(ClusterSettings::plaintext("default", "127.0.0.1:1")),
            topic: "out".into(),
            client_id: "test".into(),
            window_bytes: 1 << 20,
            max_message_bytes,
            linger: Duration::ZERO,
        };
        let mut store = store(vec![
            (record(0, 1), vec![output(Some("k"), "1")]),
            (record(0, 2), vec![output(Some("k"), "22"), output(Some("k"), "333")]),
            (record(0, 3), vec![output(Some("k"), "4444"), output(Some("k"), "5")]),
        ]);
        store.items[2].without = vec![0];
        InTransaction::new(&settings, store)
    }

    #[test]
    fn what_was_refused_before_is_not_sent_again() {
        let mut sent = Vec::new();
        let results = in_transaction(1000);
        results.each(&HashMap::new(), &mut |out| {
            let mark = String::from_utf8_lossy(out.more_headers[0].1).into_owned();
            sent.push((mark, out.value.map(<[u8]>::to_vec)));
        });
        let value = |text: &str| Some(text.as_bytes().to_vec());
        let expected = [
            ("orders/0/1#0".to_owned(), value("1")),
            ("orders/0/2#0".to_owned(), value("22")),
            ("orders/0/2#1".to_owned(), value("333")),
            ("orders/0/3#1".to_owned(), value("5")),
        ];
        assert_eq!((sent.as_slice(), results.results()), (expected.as_slice(), 4));
    }

    #[test]
    fn what_is_known_to_be_too_large_is_refused_by_its_index_without_being_sent() {
        assert_eq!(in_transaction(4).too_large(), []);
        let refused = in_transaction(3).too_large();
        assert!(
            matches!(refused.as_slice(), [(1, Receipt::Refused { index: 1, .. })]),
            "{refused:?}"
        );
    }

    #[test]
    fn only_a_results_own_trouble_is_told_of_its_record() {
        let results = vec![
            Err(SendError::Purged),
            Ok(()),
            Err(SendError::TooLarge("large".into())),
            Err(SendError::Away("away".into())),
        ];
        let told = in_transaction(1000).receipts(results);
        assert!(
            matches!(
                told.as_slice(),
                [(1, Receipt::Refused { index: 1, .. }), (2, Receipt::Away(_))]
            ),
            "{told:?}"
        );
    }
}
