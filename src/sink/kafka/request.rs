//! What goes into the topic: a result's own key and value, and where it came from.

use crate::delivery::event::{Store, StoreItem};
use crate::delivery::record::{Header, Output};
use crate::kafka::Outgoing;

/// Names the record and the index among its results: `orders/3/42#0`.
const SOURCE_HEADER: &str = "fnbridge.source";

/// A header as the producer takes it, one a result.
pub(super) type Mark<'a> = [(&'static str, &'a [u8]); 1];

/// What Kafka's format adds to a record and its batch, and to a header, at most.
const RECORD_OVERHEAD_BYTES: usize = 128;
const HEADER_OVERHEAD_BYTES: usize = 10;

/// Where a result stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the request's items it belongs to.
    pub(super) item: usize,
    /// Its index among that record's results.
    pub(super) index: usize,
    /// The record has results for this sink behind it.
    pub(super) more: bool,
}

/// The results of a request, in order.
pub(super) fn places(store: &Store) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(store.items.len());
    for (item, of) in store.items.iter().enumerate() {
        for (index, _) in of.results(store.sink) {
            if let Some(before) = places.last_mut().filter(|before| before.item == item) {
                before.more = true;
            }
            let more = false;
            places.push(Place { item, index, more });
        }
    }
    places
}

/// How many of `places` may be sent before it is known what became of them: up to a result that may be too large and has
/// others of its record behind it. Those would be sent again if it were refused.
pub(super) fn at_once(store: &Store, places: &[Place], max_message_bytes: usize) -> usize {
    let risky = |place: &Place| place.more && size_bytes(output(store, place)) > max_message_bytes;
    (places.iter().position(risky)).map_or(places.len(), |at| at + 1)
}

/// A result without a key goes to a partition that has to be known.
pub(super) fn has_keyless(store: &Store, places: &[Place]) -> bool {
    places.iter().any(|place| output(store, place).key.is_none())
}

fn output<'a>(store: &'a Store, place: &Place) -> &'a Output {
    &store.items[place.item].outputs[place.index]
}

/// A lower bound on what a result takes in the topic.
pub(super) fn payload_bytes(store: &Store, place: &Place) -> usize {
    let output = output(store, place);
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    length(&output.key) + length(&output.value)
}

/// An upper bound on what a result takes in the topic.
fn size_bytes(output: &Output) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = (output.headers.iter()).map(|h| h.name.len() + length(&h.value) + HEADER_OVERHEAD_BYTES);
    // The source's header is the longest with a topic's name of 249 characters.
    const SOURCE_BYTES: usize = 320;
    length(&output.key) + length(&output.value) + headers.sum::<usize>() + SOURCE_BYTES + RECORD_OVERHEAD_BYTES
}

/// One result, ready to be sent.
pub(super) struct Line<'a> {
    output: &'a Output,
    /// Its headers, where one of the source's name had to go.
    headers: Option<Vec<Header>>,
    source: String,
    partition: Option<i32>,
}

/// The results at `places`. `partitions` is the topic's count, if it is known: a result without a key goes to its source's
/// partition modulo that.
pub(super) fn lines<'a>(store: &'a Store, places: &[Place], partitions: Option<i32>) -> Vec<Line<'a>> {
    let line = |place: &Place| Line::of(&store.items[place.item], place.index, partitions);
    places.iter().map(line).collect()
}

impl<'a> Line<'a> {
    fn of(item: &'a StoreItem, index: usize, partitions: Option<i32>) -> Line<'a> {
        let output = &item.outputs[index];
        let ours = |header: &Header| header.name == SOURCE_HEADER;
        let others = || output.headers.iter().filter(|header| !ours(header)).cloned().collect();
        let by_source = || item.record.source.partition.checked_rem(partitions?);
        Line {
            output,
            headers: output.headers.iter().any(ours).then(others),
            source: format!("{}#{index}", item.record.id()),
            partition: if output.key.is_none() { by_source() } else { None },
        }
    }

    pub(super) fn mark(&self) -> Mark<'_> {
        [(SOURCE_HEADER, self.source.as_bytes())]
    }

    pub(super) fn outgoing<'b>(&'b self, topic: &'b str, mark: &'b Mark<'b>) -> Outgoing<'b> {
        Outgoing {
            topic,
            partition: self.partition,
            key: self.output.key.as_deref(),
            value: self.output.value.as_deref(),
            headers: self.headers.as_deref().unwrap_or(&self.output.headers),
            more_headers: mark,
            timestamp_ms: self.output.timestamp_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::{output, record, store};

    #[test]
    fn a_result_names_its_source_and_index_once() {
        let mut marked = output(Some("k"), "v");
        marked.headers = vec![
            Header {
                name: "h".into(),
                value: None,
            },
            Header {
                name: SOURCE_HEADER.into(),
                value: Some("other/0/1#0".into()),
            },
        ];
        let store = store(vec![(record(3, 42), vec![output(Some("k"), "v"), marked])]);
        let lines = lines(&store, &places(&store), Some(12));
        let marks: Vec<Mark<'_>> = lines.iter().map(Line::mark).collect();
        assert_eq!(marks[0][0].1, b"orders/3/42#0");
        assert_eq!(marks[1][0].1, b"orders/3/42#1");
        let sent = lines[1].outgoing("out", &marks[1]);
        assert_eq!(sent.headers.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["h"]);
    }

    #[test]
    fn a_result_without_a_key_goes_to_its_sources_partition_modulo_the_count() {
        let store = store(vec![(record(7, 1), vec![output(None, "v"), output(Some(""), "v")])]);
        let places = places(&store);
        assert!(has_keyless(&store, &places) && !has_keyless(&store, &places[1..]));
        for (count, expected) in [(Some(4), Some(3)), (Some(12), Some(7)), (Some(0), None), (None, None)] {
            let partitions: Vec<_> = lines(&store, &places, count)
                .iter()
                .map(|line| line.partition)
                .collect();
            assert_eq!(partitions, [expected, None]);
        }
    }

    #[test]
    fn key_value_headers_and_timestamp_are_sent_as_they_are() {
        let mut tombstone = output(Some(""), "");
        (tombstone.value, tombstone.timestamp_ms) = (None, -1);
        tombstone.headers = vec![Header {
            name: "n".into(),
            value: None,
        }];
        let store = store(vec![(
            record(3, 42),
            vec![tombstone.clone(), output(Some("k"), " {\"a\": 1}\n")],
        )]);
        let lines = lines(&store, &places(&store), Some(4));
        let marks: Vec<Mark<'_>> = lines.iter().map(Line::mark).collect();
        let (first, second) = (lines[0].outgoing("out", &marks[0]), lines[1].outgoing("out", &marks[1]));
        assert_eq!((first.key, first.value, first.timestamp_ms), (Some(&b""[..]), None, -1));
        assert_eq!((first.headers, first.topic), (&tombstone.headers[..], "out"));
        assert_eq!((second.value, second.timestamp_ms), (Some(&b" {\"a\": 1}\n"[..]), 1));
    }

    #[test]
    fn what_may_be_too_large_is_waited_for_before_the_records_other_results() {
        let large = || {
            let mut large = output(None, "");
            large.value = Some(vec![b'x'; 2000].into());
            large
        };
        let small = || output(None, "1");
        let table = [
            (vec![vec![small(), small()], vec![large()]], 3),
            (vec![vec![small(), large()], vec![small()]], 3),
            (vec![vec![small()], vec![large(), small()], vec![small()]], 2),
        ];
        for (outputs, expected) in table {
            let items = outputs.into_iter().map(|outputs| (record(3, 1), outputs)).collect();
            let store = store(items);
            assert_eq!(at_once(&store, &places(&store), 2000), expected);
            assert_eq!(at_once(&store, &places(&store), 3000), places(&store).len());
        }
    }
}
