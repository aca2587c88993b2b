//! A line a result: `{"id":"orders/3/42#0","key":…,"value":…,"headers":{…}}`.

use crate::delivery::event::Store;
use crate::sink::json_result;

/// The lines of a request, each ended.
pub(super) fn lines(store: &Store) -> Vec<u8> {
    let mut out = Vec::new();
    for item in &store.items {
        for (index, output) in item.results(store.sink) {
            json_result::push(&mut out, &item.record, index, output);
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::{output, record, store};

    #[test]
    fn each_result_is_one_line_whatever_its_value() {
        let store = store(vec![(
            record(3, 42),
            vec![output(Some("k"), "{\n\"a\": 1}"), output(None, "not json")],
        )]);
        let lines = String::from_utf8(lines(&store)).unwrap();
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"id":"orders/3/42#0","key":"k","value":{"a":1},"headers":{}}"#
        );
        assert_eq!(
            lines[1],
            r#"{"id":"orders/3/42#1","key":null,"value_base64":"bm90IGpzb24=","headers":{}}"#
        );
    }
}
