//! What differs between two documents, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The path in the document, such as `sinks[0].kafka.topic`.
    pub field: String,
    /// What it was; absent where there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is; absent where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// What differs, in the order of the fields: the new document's, then those that are gone. The order of fields says
/// nothing, that of a list's elements does.
pub fn difference(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(from), Some(to), &mut found);
    found
}

fn compare(path: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
    match (from, to) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in b {
                compare(&joined(path, key), a.get(key), Some(value), found);
            }
            for (key, value) in a.iter().filter(|(key, _)| !b.contains_key(*key)) {
                compare(&joined(path, key), Some(value), None, found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for n in 0..a.len().max(b.len()) {
                compare(&format!("{path}[{n}]"), a.get(n), b.get(n), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(Difference {
            field: path.to_owned(),
            from: a.cloned(),
            to: b.cloned(),
        }),
    }
}

fn joined(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_differ_are_named_by_their_paths() {
        let from = json!({"name": "a", "batch": {"max_records": 5}, "sinks": [{"stdout": {}}], "labels": {"x": "y"}});
        let to = json!({"labels": {"x": "y"}, "name": "a", "batch": {"max_records": 7, "linger": "1ms"}, "sinks": []});
        let fields: Vec<String> = difference(&from, &to).into_iter().map(|d| d.field).collect();
        assert_eq!(fields, ["batch.max_records", "batch.linger", "sinks[0]"]);
    }

    #[test]
    fn the_order_of_fields_makes_no_difference() {
        let (a, b) = (json!({"x": 1, "y": [1, 2]}), json!({"y": [1, 2], "x": 1}));
        assert_eq!(difference(&a, &b), []);
    }
}
