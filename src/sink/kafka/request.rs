//! What goes into the topic: a result's own key and value, and where it came from.

use crate::delivery::event::{Store, StoreItem};
use crate::delivery::record::{Header, Output};
use crate::kafka::Outgoing;

/// Names the record and the index among its results: `orders/3/42#0`.
const SOURCE_HEADER: &str = "fnbridge.source";

/// A header as the producer takes it, one a result.
pub(super) type Mark<'a> = [(&'static str, &'a [u8]); 1];

/// One result, ready to be sent.
pub(super) struct Line<'a> {
    output: &'a Output,
    /// Its headers, where one of the source's name had to go.
    headers: Option<Vec<Header>>,
    source: String,
    partition: Option<i32>,
    /// Which of the request's items it belongs to, and its index among that record's results.
    pub(super) place: (usize, usize),
}

/// The results of a request, in order. `partitions` is the topic's count: a result without a key goes to its source's
/// partition modulo that.
pub(super) fn lines(store: &Store, partitions: i32) -> Vec<Line<'_>> {
    let items = store.items.iter().enumerate();
    items
        .flat_map(|(at, item)| {
            item.results(store.sink)
                .map(move |r| Line::of(item, (at, r.0), r.1, partitions))
        })
        .collect()
}

impl<'a> Line<'a> {
    fn of(item: &'a StoreItem, place: (usize, usize), output: &'a Output, partitions: i32) -> Line<'a> {
        let marked = output.headers.iter().any(|header| header.name == SOURCE_HEADER);
        let others = || {
            output
                .headers
                .iter()
                .filter(|header| header.name != SOURCE_HEADER)
                .cloned()
                .collect()
        };
        Line {
            output,
            headers: marked.then(others),
            source: format!("{}#{}", item.record.id(), place.1),
            partition: output
                .key
                .is_none()
                .then(|| item.record.source.partition % partitions.max(1)),
            place,
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
        let lines = lines(&store, 12);
        let marks: Vec<Mark<'_>> = lines.iter().map(Line::mark).collect();
        assert_eq!(marks[0][0].1, b"orders/3/42#0");
        assert_eq!(marks[1][0].1, b"orders/3/42#1");
        let sent = lines[1].outgoing("out", &marks[1]);
        assert_eq!(sent.headers.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["h"]);
    }

    #[test]
    fn a_result_without_a_key_goes_to_its_sources_partition_modulo_the_count() {
        let store = store(vec![(record(7, 1), vec![output(None, "v"), output(Some(""), "v")])]);
        let partitions: Vec<_> = lines(&store, 4).iter().map(|line| line.partition).collect();
        assert_eq!(partitions, [Some(3), None]);
    }
}
