//! What goes over the wire: `[{"id":…,"key":…,"value":…,"headers":{…}}]`.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::delivery::event::Store;
use crate::sink::json_result;

/// One result as JSON.
pub(super) struct Result {
    json: Vec<u8>,
    id: String,
    /// Which of the request's items it belongs to, and its index among that record's results.
    pub(super) place: (usize, usize),
}

/// The results of a request, in order.
pub(super) fn results(store: &Store) -> Vec<Result> {
    let items = store.items.iter().enumerate();
    let results = items.flat_map(|(at, item)| {
        item.results(store.sink).map(move |(index, output)| {
            let mut json = Vec::new();
            json_result::push(&mut json, &item.record, index, output);
            Result {
                json,
                id: format!("{}#{index}", item.record.id()),
                place: (at, index),
            }
        })
    });
    results.collect()
}

/// The array that is sent.
pub(super) fn body(results: &[Result]) -> Bytes {
    let mut body = Vec::with_capacity(results.iter().map(|result| result.json.len() + 1).sum::<usize>() + 1);
    body.push(b'[');
    for (at, result) in results.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&result.json);
    }
    body.push(b']');
    body.into()
}

/// The same results have the same key, whatever else is sent: `<pipeline>/<sink>/<record>#<index>` of a result that is
/// sent alone, else of the first and last, with their count and the SHA-256 of the list.
pub(super) fn idempotency_key(pipeline: &str, sink: &str, results: &[Result]) -> String {
    match results {
        [] => format!("{pipeline}/{sink}"),
        [one] => format!("{pipeline}/{sink}/{}", one.id),
        [first, .., last] => {
            let mut digest = Sha256::new();
            for result in results {
                digest.update(result.id.as_bytes());
                digest.update(b",");
            }
            let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{pipeline}/{sink}/{}..{}~{}~{digest}", first.id, last.id, results.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::{output, record, store};

    #[test]
    fn the_same_results_have_the_same_body_and_key() {
        let store = store(vec![
            (record(3, 42), vec![output(Some("k"), "{\"a\":1}")]),
            (record(3, 43), vec![output(None, "2")]),
        ]);
        let results = results(&store);
        assert_eq!(
            body(&results),
            r#"[{"id":"orders/3/42#0","key":"k","value":{"a":1},"headers":{}},{"id":"orders/3/43#0","key":null,"value":2,"headers":{}}]"#
        );
        assert_eq!(idempotency_key("p", "s", &results[..1]), "p/s/orders/3/42#0");
        let key = idempotency_key("p", "s", &results);
        assert!(key.starts_with("p/s/orders/3/42#0..orders/3/43#0~2~"), "{key}");
        assert_eq!(key, idempotency_key("p", "s", &super::results(&store)));
    }
}
