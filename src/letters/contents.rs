//! What a letter's record has to hold, where that is asked for: the index does not know.

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::delivery::record::Record;

/// A path is parsed by recursion: what is longer or nested deeper would overflow the stack.
const MAX_PATH_BYTES: usize = 2000;
const MAX_DEPTH: usize = 30;
/// The beginning of a text that is no path.
const SHOWN_CHARS: usize = 100;

/// What a record has to hold.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    header: Option<(String, Option<String>)>,
    value: Option<(JsonPath, String)>,
}

impl Contents {
    /// Reads `NAME` or `NAME=VALUE` of a header, and `PATH=VALUE` of the JSON value, where `PATH` is a JSONPath (RFC 9535).
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub fn read(header: Option<&str>, value: Option<&str>) -> Result<Contents, (&'static str, String)> {
        let header = header.map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        });
        let value = value.map(|text| {
            let wrong = |why: String| {
                let shown: String = text.chars().take(SHOWN_CHARS).collect();
                (
                    "value",
                    format!("found {shown:?}, expected PATH=VALUE, such as $.order.id=42{why}"),
                )
            };
            // A path may hold `==`, in a filter.
            let (path, value) = text.rsplit_once('=').ok_or_else(|| wrong(String::new()))?;
            if path.len() > MAX_PATH_BYTES || depth(path) > MAX_DEPTH {
                let most =
                    format!(": a path of at most {MAX_PATH_BYTES} bytes and {MAX_DEPTH} brackets within each other");
                return Err(wrong(most));
            }
            let path = JsonPath::parse(path).map_err(|error| wrong(format!(": {error}")))?;
            Ok((path, value.to_owned()))
        });
        Ok(Contents {
            header,
            value: value.transpose()?,
        })
    }

    /// Whether anything is asked for.
    pub fn is_anything(&self) -> bool {
        self.header.is_some() || self.value.is_some()
    }

    /// Whether a record holds it.
    pub fn are_in(&self, record: &Record) -> bool {
        let header = self.header.as_ref().is_none_or(|(name, wanted)| {
            let mut named = record.headers.iter().filter(|header| header.name == *name);
            named.any(|header| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| header.value.as_deref() == Some(wanted.as_bytes()))
            })
        });
        header
            && self
                .value
                .as_ref()
                .is_none_or(|(path, wanted)| holds(record, path, wanted))
    }
}

/// How many brackets are open at once, at most; those in quotes count, too.
fn depth(path: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for letter in path.chars() {
        match letter {
            '(' | '[' => open += 1,
            ')' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

fn holds(record: &Record, path: &JsonPath, wanted: &str) -> bool {
    let Some(json) = record
        .value
        .as_ref()
        .and_then(|value| serde_json::from_slice::<Value>(value).ok())
    else {
        return false;
    };
    let is_wanted = |found: &&Value| match found {
        Value::String(text) => text == wanted,
        other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == **other),
    };
    path.query(&json).iter().any(is_wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::record::{Header, TopicPartition};

    fn record(value: &'static str) -> Record {
        Record {
            source: TopicPartition {
                topic: "d".into(),
                partition: 0,
            },
            offset: 0,
            generation: 0,
            timestamp_ms: -1,
            key: None,
            value: Some(value.into()),
            headers: vec![Header {
                name: "trace".to_owned(),
                value: Some("a=b".into()),
            }],
        }
    }

    fn are_in(header: Option<&str>, value: Option<&str>, of: &'static str) -> bool {
        Contents::read(header, value).unwrap().are_in(&record(of))
    }

    #[test]
    fn headers_are_named_or_named_with_their_value() {
        for (header, expected) in [
            ("trace", true),
            ("trace=a=b", true),
            ("trace=a", false),
            ("other", false),
        ] {
            assert_eq!(are_in(Some(header), None, "1"), expected, "{header}");
        }
    }

    #[test]
    fn a_path_leads_to_a_text_or_to_any_other_json() {
        let order = r#"{"order": {"id": 42, "tags": ["new", "7"], "paid": true}}"#;
        for (value, expected) in [
            ("$.order.id=42", true),
            ("$.order.id=43", false),
            ("$.order.tags[*]=new", true),
            ("$.order.tags[*]=7", true),
            ("$..paid=true", true),
            ("$[?@.id == 42].paid=true", true),
            ("$.nothing=1", false),
        ] {
            assert_eq!(are_in(None, Some(value), order), expected, "{value}");
        }
        assert!(!are_in(None, Some("$.a=1"), "no JSON"));
        assert!(are_in(Some("trace"), Some("$=5"), "5"), "both have to hold");
        for wrong in ["nothing", "order.id=42"] {
            let (field, why) = Contents::read(None, Some(wrong)).unwrap_err();
            assert!(field == "value" && why.contains("expected PATH=VALUE"), "{why}");
        }
    }
}
