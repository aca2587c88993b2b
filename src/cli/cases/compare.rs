//! What became of a record, and whether that is what a case asks for.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::file::{Case, Expected, Wanted};
use crate::delivery::answer::{Answer, Verdict};
use crate::delivery::record::Output;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Became {
    /// Accepted, with these results, complete.
    Records(Vec<Wanted>),
    /// Dropped.
    Drop,
    /// To be called again, after so many milliseconds.
    Retry(Option<u64>),
    /// Given up, with this reason.
    DeadLetter(String),
    /// None of these: the call failed.
    Failed(String),
}

/// What an answer makes of each of `count` records. One that refuses a batch is about a record in it: which, is found by halving.
pub(super) fn became(answer: Answer, count: usize) -> Vec<Became> {
    let all = |became: Became| vec![became; count];
    match answer {
        Answer::Verdicts(verdicts) => verdicts.into_iter().map(verdict).collect(),
        Answer::DeliverNothing => all(Became::Records(Vec::new())),
        Answer::Refused(failure) | Answer::TooLarge(failure) | Answer::DeadLetter(failure) => {
            all(Became::DeadLetter(failure.reason))
        }
        Answer::Drop(_) => all(Became::Drop),
        Answer::Failed(failure)
        | Answer::Busy { failure, .. }
        | Answer::Misregistered(failure)
        | Answer::Away(failure)
        | Answer::Block(failure) => {
            let body: String = String::from_utf8_lossy(&failure.response)
                .trim()
                .chars()
                .take(300)
                .collect();
            let said = if body.is_empty() {
                String::new()
            } else {
                format!(": {body}")
            };
            all(Became::Failed(format!("{}{said}", failure.reason)))
        }
    }
}

fn verdict(verdict: Verdict) -> Became {
    match verdict {
        Verdict::Deliver(outputs) => Became::Records(outputs.iter().map(complete).collect()),
        Verdict::Drop => Became::Drop,
        Verdict::Retry { after, .. } => Became::Retry(after.map(|after| after.0)),
        Verdict::Again => Became::Retry(None),
        Verdict::DeadLetter { reason } => Became::DeadLetter(reason),
    }
}

fn complete(output: &Output) -> Wanted {
    let headers = output.headers.iter();
    let headers: Map<String, Value> = headers
        .map(|header| (header.name.clone(), text(header.value.as_ref())))
        .collect();
    Wanted {
        value: output.value.as_ref().map_or(Value::Null, value),
        key: Some(text(output.key.as_ref())),
        headers: Some(headers),
    }
}

/// What is JSON is compared as such, else as text.
fn value(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| text(Some(bytes)))
}

fn text(bytes: Option<&Bytes>) -> Value {
    bytes.map_or(Value::Null, |bytes| {
        Value::from(String::from_utf8_lossy(bytes).into_owned())
    })
}

/// What differs, as lines: empty where it is what the case asks for.
pub(super) fn differences(case: &Case, became: &Became) -> Vec<String> {
    let is_same = match (&case.expected, became) {
        (Expected::Deliver(wanted), Became::Records(found)) => {
            wanted.len() == found.len()
                && wanted
                    .iter()
                    .zip(found)
                    .all(|(wanted, found)| result_matches(case, wanted, found))
        }
        (Expected::Drop, Became::Drop) => true,
        (Expected::Retry(wanted), Became::Retry(found)) => wanted == found,
        (Expected::DeadLetter(wanted), Became::DeadLetter(found)) => wanted == found,
        _ => false,
    };
    if is_same {
        return Vec::new();
    }
    if let (Expected::Deliver(wanted), Became::Records(found)) = (&case.expected, became)
        && let ([wanted], [found]) = (wanted.as_slice(), found.as_slice())
    {
        let mut lines = Vec::new();
        compare("value", &wanted.value, &found.value, &mut lines);
        let (key, found_key) = (wanted_key(case, wanted), found.key.clone().unwrap_or_default());
        compare("key", &key, &found_key, &mut lines);
        for (name, header) in wanted.headers.iter().flatten() {
            let found = found.headers.as_ref().and_then(|headers| headers.get(name));
            compare(
                &format!("headers.{name}"),
                header,
                found.unwrap_or(&Value::Null),
                &mut lines,
            );
        }
        return lines;
    }
    vec![
        format!("expected {}", expected_in_words(&case.expected)),
        format!("found    {}", in_words(became)),
    ]
}

fn result_matches(case: &Case, wanted: &Wanted, found: &Wanted) -> bool {
    let header = |name: &str| found.headers.as_ref().and_then(|headers| headers.get(name));
    same(&wanted.value, &found.value)
        && same(&wanted_key(case, wanted), found.key.as_ref().unwrap_or(&Value::Null))
        && wanted
            .headers
            .iter()
            .flatten()
            .all(|(name, value)| header(name) == Some(value))
}

/// A result inherits the key that it does not name.
fn wanted_key(case: &Case, wanted: &Wanted) -> Value {
    wanted
        .key
        .clone()
        .unwrap_or_else(|| case.key.clone().map_or(Value::Null, Value::from))
}

/// Every place at which two values differ.
fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        _ if same(wanted, found) => {}
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, value) in wanted {
                let path = format!("{path}.{name}");
                match found.get(name) {
                    Some(found) => compare(&path, value, found, lines),
                    None => lines.push(format!("{path}: expected {value}, found nothing")),
                }
            }
            for (name, value) in found.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
                lines.push(format!("{path}.{name}: expected nothing, found {value}"));
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (n, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{n}]"), wanted, found, lines);
            }
        }
        _ => lines.push(format!("{path}: expected {wanted}, found {found}")),
    }
}

/// Whether two values say the same: 2 and 2.0 are one number, 1 and true are not.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

/// What a case asks for, in words.
pub(super) fn expected_in_words(expected: &Expected) -> String {
    match expected {
        Expected::Deliver(wanted) => results_in_words(wanted),
        Expected::Drop => "to be dropped".to_owned(),
        Expected::Retry(after) => format!("to be called again{}", after_in_words(*after)),
        Expected::DeadLetter(reason) => format!("a dead letter: {reason}"),
    }
}

/// What became of a record, in words.
pub(super) fn in_words(became: &Became) -> String {
    match became {
        Became::Records(results) => results_in_words(results),
        Became::Drop => "it is dropped".to_owned(),
        Became::Retry(after) => format!("it is called again{}", after_in_words(*after)),
        Became::DeadLetter(reason) => format!("a dead letter: {reason}"),
        Became::Failed(reason) => format!("no answer that could be used: {reason}"),
    }
}

fn results_in_words(results: &[Wanted]) -> String {
    if results.is_empty() {
        return "no result".to_owned();
    }
    let one = |result: &Wanted| {
        let mut shown = json!({"value": result.value});
        if let Some(key) = result.key.as_ref().filter(|key| !key.is_null()) {
            shown["key"] = key.clone();
        }
        shown.to_string()
    };
    let count = if results.len() == 1 {
        "1 result".to_owned()
    } else {
        format!("{} results", results.len())
    };
    format!("{count}: {}", results.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn after_in_words(after: Option<u64>) -> String {
    after.map_or_else(|| ", after a backoff".to_owned(), |ms| format!(" after {ms} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::answer::Failure;
    use crate::delivery::record::Header;
    use crate::delivery::time::Millis;

    fn case(expected: Expected) -> Case {
        Case {
            name: "n".to_owned(),
            key: Some("k".to_owned()),
            value: json!(1),
            attempt: 1,
            expected,
        }
    }

    fn output(key: &'static str, value: &'static str) -> Output {
        Output {
            sink: None,
            key: Some(Bytes::from_static(key.as_bytes())),
            value: Some(Bytes::from_static(value.as_bytes())),
            headers: vec![Header {
                name: "h".to_owned(),
                value: Some(Bytes::from_static(b"v")),
            }],
            timestamp_ms: 0,
        }
    }

    fn differs(expected: Expected, verdict: Verdict) -> Vec<String> {
        let [became] = <[Became; 1]>::try_from(became(Answer::Verdicts(vec![verdict]), 1)).unwrap();
        differences(&case(expected), &became)
    }

    fn wanted(value: Value) -> Wanted {
        Wanted {
            value,
            ..Wanted::default()
        }
    }

    #[test]
    fn a_number_is_the_same_however_it_is_written_and_true_is_none() {
        for (a, b, expected) in [
            (json!(2), json!(2.0), true),
            (json!({"a": [1, {"b": 2}]}), json!({"a": [1.0, {"b": 2}]}), true),
            (json!(1), json!(true), false),
            (
                json!(9_007_199_254_740_993_i64),
                json!(9_007_199_254_740_992_i64),
                false,
            ),
            (json!({"a": 1}), json!({"a": 1, "b": null}), false),
        ] {
            assert_eq!(same(&a, &b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_result_that_is_right_has_no_differences() {
        let deliver = |wanted: Wanted| {
            differs(
                Expected::Deliver(vec![wanted]),
                Verdict::Deliver(vec![output("k", r#"{"a":1}"#)]),
            )
        };
        assert!(deliver(wanted(json!({"a": 1.0}))).is_empty(), "the key is inherited");
        let headers = json!({"h": "v"}).as_object().cloned();
        let whole = Wanted {
            value: json!({"a": 1}),
            key: Some(json!("k")),
            headers,
        };
        assert!(deliver(whole).is_empty());
        let retry = Verdict::Retry {
            after: Some(Millis(7)),
            reason: String::new(),
        };
        assert!(differs(Expected::Retry(Some(7)), retry).is_empty());
        assert!(differs(Expected::Drop, Verdict::Drop).is_empty());
    }

    #[test]
    fn each_place_that_differs_is_named() {
        let found = Verdict::Deliver(vec![output("other", r#"{"a":{"b":[1,2]},"c":3}"#)]);
        let expected = Wanted {
            value: json!({"a": {"b": [1, 7]}, "d": null}),
            headers: json!({"h": "w"}).as_object().cloned(),
            key: None,
        };
        assert_eq!(
            differs(Expected::Deliver(vec![expected]), found),
            [
                "value.a.b[1]: expected 7, found 2",
                "value.d: expected null, found nothing",
                "value.c: expected nothing, found 3",
                r#"key: expected "k", found "other""#,
                r#"headers.h: expected "w", found "v""#,
            ]
        );
    }

    #[test]
    fn what_became_of_it_otherwise_is_said_in_words() {
        let dead = Verdict::DeadLetter {
            reason: "no".to_owned(),
        };
        let deliver = Expected::Deliver(vec![wanted(json!(1))]);
        assert_eq!(
            differs(deliver, dead.clone()),
            [r#"expected 1 result: {"value":1}"#, "found    a dead letter: no"]
        );
        assert_eq!(
            differs(Expected::Drop, dead),
            ["expected to be dropped", "found    a dead letter: no"]
        );
        let away = became(Answer::Away(Failure::of("refused")), 2);
        assert_eq!(away, vec![Became::Failed("refused".to_owned()); 2]);
        let failed = differences(&case(Expected::Retry(None)), &away[0]);
        assert_eq!(failed[1], "found    no answer that could be used: refused");
    }
}
