//! What goes over the wire: `[{"id":…,"key":…,"value":…,"headers":{…}}]`. An element's `id` is its own key: the source
//! record and the result's index, the same however often and in whatever company the result is sent.

use std::ops::Range;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::delivery::event::Store;
use crate::delivery::record::{Output, Record};
use crate::sink::json_result;

/// One result of a request.
pub(super) struct Element<'a> {
    record: &'a Record,
    output: &'a Output,
    /// Which of the request's items it belongs to.
    pub(super) item: usize,
    /// Its index among that record's results.
    pub(super) index: usize,
    /// The record has results for this sink behind it.
    pub(super) more: bool,
}

impl Element<'_> {
    fn id(&self) -> String {
        format!("{}#{}", self.record.id(), self.index)
    }
}

/// The results of a request, in order.
pub(super) fn elements(store: &Store) -> Vec<Element<'_>> {
    let mut elements: Vec<Element<'_>> = Vec::with_capacity(store.items.len());
    for (item, of) in store.items.iter().enumerate() {
        for (index, output) in of.results(store.sink) {
            if let Some(before) = elements.last_mut().filter(|before| before.item == item) {
                before.more = true;
            }
            elements.push(Element {
                record: &of.record,
                output,
                item,
                index,
                more: false,
            });
        }
    }
    elements
}

/// Two halves of at least one element each, of `range` that has at least two. The results of one record stay together as
/// long as there are several records, since a record is stored whole or sent again whole.
pub(super) fn halves(elements: &[Element<'_>], range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = range.start + range.len().div_ceil(2);
    let between_records = |at: &usize| elements[at - 1].item != elements[*at].item;
    let mut boundaries = (range.start + 1..range.end).filter(between_records);
    let nearest = match boundaries.next() {
        Some(first) => boundaries.fold(first, |best, at| {
            if at.abs_diff(middle) < best.abs_diff(middle) {
                at
            } else {
                best
            }
        }),
        None => middle,
    };
    (range.start..nearest, nearest..range.end)
}

/// The array that is sent.
pub(super) fn body(elements: &[Element<'_>]) -> Bytes {
    let mut body = vec![b'['];
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        json_result::push(&mut body, element.record, element.index, element.output);
    }
    body.push(b']');
    body.into()
}

/// The same list of results has the same key: `<pipeline>/<sink>/<record>#<index>` of one that is sent alone, else the first
/// and last, with their count and the SHA-256 of the list; and `;g=<n>` where the same offsets named other records before.
pub(super) fn idempotency_key(pipeline: &str, sink: &str, elements: &[Element<'_>]) -> String {
    let key = match elements {
        [] => format!("{pipeline}/{sink}"),
        [one] => format!("{pipeline}/{sink}/{}", one.id()),
        [first, .., last] => {
            let mut digest = Sha256::new();
            for element in elements {
                digest.update(element.id());
                digest.update(b",");
            }
            let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{pipeline}/{sink}/{}..{}~{}~{digest}",
                first.id(),
                last.id(),
                elements.len()
            )
        }
    };
    match elements.first().map_or(0, |element| element.record.generation) {
        0 => key,
        generation => format!("{key};g={generation}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::record::SinkId;
    use crate::sink::testing::{output, record, store};

    #[test]
    fn the_same_results_have_the_same_body_and_key() {
        let store = store(vec![
            (record(3, 42), vec![output(Some("k"), "{\"a\":1}")]),
            (record(3, 43), vec![output(None, "2")]),
        ]);
        let all = elements(&store);
        assert_eq!(
            body(&all),
            r#"[{"id":"orders/3/42#0","key":"k","value":{"a":1},"headers":{}},{"id":"orders/3/43#0","key":null,"value":2,"headers":{}}]"#
        );
        assert_eq!(idempotency_key("p", "s", &all[..1]), "p/s/orders/3/42#0");
        let key = idempotency_key("p", "s", &all);
        assert!(key.starts_with("p/s/orders/3/42#0..orders/3/43#0~2~"), "{key}");
        assert_eq!(key, idempotency_key("p", "s", &elements(&store)));
    }

    #[test]
    fn the_same_offset_of_another_log_has_another_key() {
        let later = Record {
            generation: 2,
            ..record(3, 42)
        };
        let store = store(vec![(later, vec![output(None, "1")])]);
        assert_eq!(idempotency_key("p", "s", &elements(&store)), "p/s/orders/3/42#0;g=2");
    }

    #[test]
    fn other_results_pipelines_and_sinks_have_other_keys() {
        let middle = |offset| {
            let items = [42, offset, 45].map(|offset| (record(3, offset), vec![output(None, "1")]));
            store(items.into())
        };
        let (one, other) = (middle(43), middle(44));
        let key = |pipeline, sink, store| idempotency_key(pipeline, sink, &elements(store));
        assert_ne!(key("p", "s", &one), key("p", "s", &other));
        assert_ne!(key("p", "s", &one), key("q", "s", &one));
        assert_ne!(key("p", "s", &one), key("p", "t", &one));
    }

    #[test]
    fn an_element_keeps_its_index_whatever_was_seen_to_before_and_whatever_goes_elsewhere() {
        let mut elsewhere = output(None, "2");
        elsewhere.sink = Some(SinkId(1));
        let outputs = vec![output(None, "0"), output(None, "1"), elsewhere, output(None, "3")];
        let mut store = store(vec![(record(3, 42), outputs)]);
        store.items[0].from = 1;
        let told: Vec<_> = elements(&store).iter().map(|e| (e.id(), e.more)).collect();
        let expected = [("orders/3/42#1".to_owned(), true), ("orders/3/42#3".to_owned(), false)];
        assert_eq!(told, expected);
    }

    #[test]
    fn halves_keep_a_records_results_together_as_long_as_they_can() {
        let results = |count: usize| vec![output(None, "1"); count];
        let store = store(vec![
            (record(3, 1), results(1)),
            (record(3, 2), results(4)),
            (record(3, 3), results(1)),
        ]);
        let all = elements(&store);
        assert_eq!(halves(&all, &(0..6)), (0..1, 1..6));
        assert_eq!(halves(&all, &(1..6)), (1..5, 5..6));
        assert_eq!(halves(&all, &(0..5)), (0..1, 1..5));
        assert_eq!(halves(&all, &(1..5)), (1..3, 3..5));
        assert_eq!(halves(&all, &(1..3)), (1..2, 2..3));
    }
}
