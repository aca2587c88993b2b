//! A file of cases: records, and what is to become of each.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One record, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "CaseDoc")]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) key: Option<String>,
    pub(super) value: Value,
    pub(super) attempt: u32,
    pub(super) expected: Expected,
}

/// What is to become of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    /// It is accepted, and these results are delivered.
    Deliver(Vec<Wanted>),
    /// It is dropped.
    Drop,
    /// It is called again, after so many milliseconds; without them, after a backoff.
    Retry(Option<u64>),
    /// It is given up, with this reason.
    DeadLetter(String),
}

/// A result. What it does not name is the source record's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) value: Value,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "stated")]
    pub(super) key: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<Map<String, Value>>,
}

/// A case as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseDoc {
    name: String,
    #[serde(default)]
    key: Option<String>,
    value: Value,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default, deserialize_with = "stated")]
    deliver: Option<Value>,
    #[serde(default)]
    records: Option<Vec<Wanted>>,
    #[serde(default)]
    drop: Option<bool>,
    #[serde(default, deserialize_with = "stated")]
    retry: Option<Option<u64>>,
    #[serde(default)]
    dead_letter: Option<String>,
}

/// A null that is written is something else than nothing.
fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl TryFrom<CaseDoc> for Case {
    type Error = String;

    fn try_from(doc: CaseDoc) -> Result<Case, String> {
        let delivered = |value| {
            Expected::Deliver(vec![Wanted {
                value,
                ..Wanted::default()
            }])
        };
        let stated: Vec<Expected> = [
            doc.deliver.map(delivered),
            doc.records.map(Expected::Deliver),
            doc.drop.map(|_| Expected::Drop),
            doc.retry.map(Expected::Retry),
            doc.dead_letter.map(Expected::DeadLetter),
        ]
        .into_iter()
        .flatten()
        .collect();
        if doc.drop == Some(false) {
            return Err(format!("the case {:?} has drop: false, expected true", doc.name));
        }
        if doc.attempt == Some(0) {
            return Err(format!("the case {:?} has attempt: 0, expected 1 or more", doc.name));
        }
        let count = stated.len();
        let [expected] = <[Expected; 1]>::try_from(stated).map_err(|_| {
            let one = "expected exactly one of deliver, records, drop, retry, dead_letter";
            format!("the case {:?} has {count} of them, {one}", doc.name)
        })?;
        Ok(Case {
            name: doc.name,
            key: doc.key,
            value: doc.value,
            attempt: doc.attempt.unwrap_or(1),
            expected,
        })
    }
}

/// Reads a file of cases.
///
/// # Errors
/// What is wrong with it, with the file's name, line and column.
pub(super) fn read(file: &Path) -> Result<Vec<Case>, String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    parse(&text).map_err(|(place, problem)| format!("{name}{place}: {problem}"))
}

fn parse(text: &str) -> Result<Vec<Case>, (String, String)> {
    let cases: Cases = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        let said = said
            .strip_suffix(&format!(" at line {line} column {column}"))
            .unwrap_or(&said);
        (format!(":{line}:{column}"), said.to_owned())
    })?;
    if cases.0.is_empty() {
        return Err((String::new(), "found no case, expected at least one".to_owned()));
    }
    let mut names: Vec<&str> = cases.0.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err((
            String::new(),
            format!("two cases have the name {:?}, expected another one each", pair[0]),
        )),
        None => Ok(cases.0),
    }
}

/// A list of cases; what is no list is said in words that a person expects.
struct Cases(Vec<Case>);

impl<'de> Deserialize<'de> for Cases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cases, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<Case>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of cases")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Case>, A::Error> {
                let mut cases = Vec::new();
                while let Some(case) = list.next_element()? {
                    cases.push(case);
                }
                Ok(cases)
            }
        }
        deserializer.deserialize_seq(List).map(Cases)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_file_of_cases_beside_a_function_is_read() {
        for text in [
            include_str!("../../../functions/cases.json"),
            include_str!("../../../functions/alert/cases.json"),
            include_str!("../../../functions/flights/cases.json"),
            include_str!("../../../functions/search/cases.json"),
            include_str!("../../../functions/warehouse/cases.json"),
        ] {
            assert!(parse(text).unwrap().len() > 3);
        }
    }

    #[test]
    fn a_null_that_is_written_is_not_nothing() {
        let expected = |text: &str| {
            parse(&format!(r#"[{{"name":"n","value":null,{text}}}]"#))
                .unwrap()
                .remove(0)
                .expected
        };
        let wanted = |value, key| {
            Expected::Deliver(vec![Wanted {
                value,
                key,
                headers: None,
            }])
        };
        assert_eq!(expected(r#""deliver":null"#), wanted(json!(null), None));
        assert_eq!(
            expected(r#""records":[{"value":1,"key":null}]"#),
            wanted(json!(1), Some(json!(null)))
        );
        assert_eq!(expected(r#""records":[]"#), Expected::Deliver(vec![]));
        assert_eq!(expected(r#""retry":null"#), Expected::Retry(None));
        assert_eq!(expected(r#""retry":7"#), Expected::Retry(Some(7)));
    }

    #[test]
    fn what_can_not_be_used_is_said_with_its_place() {
        let table = [
            ("", ":1:0", "EOF while parsing a value"),
            ("{}", ":1:0", "invalid type: map, expected a list of cases"),
            ("[]", "", "found no case, expected at least one"),
            (
                "[\n{\"name\": \"n\", \"value\": 1, \"drops\": true}]",
                ":2:33",
                "unknown field `drops`",
            ),
            ("[{\"name\": \"n\", \"drop\": true}]", ":1:28", "missing field `value`"),
            ("[{\"value\": 1, \"drop\": true}]", ":1:27", "missing field `name`"),
            (
                "[{\"name\": \"n\", \"value\": 1}]",
                ":1:27",
                "the case \"n\" has 0 of them, expected exactly one",
            ),
            (
                "[{\"name\": \"n\", \"value\": 1, \"drop\": true, \"retry\": 1}]",
                ":1:53",
                "has 2 of them",
            ),
            (
                "[{\"name\": \"n\", \"value\": 1, \"drop\": false}]",
                ":1:42",
                "expected true",
            ),
            (
                "[{\"name\": \"n\", \"value\": 1, \"records\": [{\"val\": 1}]}]",
                ":1:45",
                "unknown field `val`",
            ),
        ];
        let found = table.map(|(text, _, problem)| {
            let (place, found) = parse(text).unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
            place
        });
        assert_eq!(found, table.map(|(_, place, _)| place.to_owned()));
        let twice = r#"[{"name":"n","value":1,"drop":true},{"name":"n","value":2,"drop":true}]"#;
        assert!(parse(twice).unwrap_err().1.contains("two cases have the name"));
    }
}
