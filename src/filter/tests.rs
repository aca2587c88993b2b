//! What passes, what does not, and what is said of expressions and records that are wrong.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::check::FUNCTIONS;
use super::*;
use crate::delivery::record::{Header, TopicPartition};

const JSON: View = View {
    key: Expected::TextOrBytes,
    value: Expected::Json,
};

fn record(value: Option<&str>) -> Record {
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    Record {
        source: TopicPartition {
            topic: Arc::from("orders"),
            partition: 3,
        },
        offset: 42,
        generation: 0,
        timestamp_ms: 1_764_000_000_000,
        key: Some(Bytes::from_static(b"k1")),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![
            header("tenant", Some(b"acme")),
            header("x-team", Some(b"payments")),
            header("odd", Some(b"\xff")),
            header("twice", Some(b"1")),
            header("twice", Some(b"2")),
            header("none", None),
        ],
    }
}

fn filter(source: &str) -> Filter {
    Filter::compile(source, JSON).unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
}

fn admitted(source: &str, value: &str) -> Admission {
    filter(source).admit(&record(Some(value)))
}

/// Why a record can't be judged.
fn refused(source: &str, value: &str) -> String {
    match admitted(source, value) {
        Admission::Refused {
            stage: Stage::Filter,
            reason,
        } => reason,
        other => panic!("{source} on {value}: {other:?}"),
    }
}

fn problems(source: &str, view: View) -> Vec<String> {
    Filter::compile(source, view).map_or_else(|problems| problems, |_| Vec::new())
}

#[test]
fn a_record_passes_where_the_expression_is_true() {
    let value = r#"{"amount":7,"price":7.5,"big":18446744073709551615,"name":"größe","tags":["a","b"],"inner":{"deep":[1,2]},"none":null,"yes":true}"#;
    for passes in [
        "value.amount > 0",
        "value.amount == 7.0 && value.price > value.amount",
        "value.big > 1u",
        "value.name == 'größe' && size(value.name) == 5",
        "'a' in value.tags && value.tags[1] == \"b\"",
        "value.inner.deep.exists(x, x > 1) && value.inner.deep.all(x, x > 0)",
        "value['amount'] == 7",
        "value.none == null && value.yes",
        "has(value.amount) && !has(value.missing)",
        "!has(value.missing) || value.missing > 3",
        "key == 'k1' && key.startsWith('k') && key.matches('^k[0-9]$')",
        "headers.tenant == 'acme' && headers['x-team'] == 'payments'",
        "headers.twice == ['1', '2'] && headers.none == null && headers.odd == b'\\xff'",
        "!('missing' in headers)",
        "timestamp > timestamp('2025-11-24T00:00:00Z') && timestamp.getFullYear() == 2025",
        "timestamp - duration('1h') < timestamp",
        "size(value) == 8",
        "value.tags.map(t, t + '!') == ['a!', 'b!']",
        "value.?missing.orValue(3) == 3",
    ] {
        assert_eq!(admitted(passes, value), Admission::Pass, "{passes}");
        let not = format!("!({passes})");
        assert_eq!(admitted(&not, value), Admission::Filtered, "{not}");
    }
}

#[test]
fn one_that_errors_on_a_record_is_a_dead_letter_that_tells_why_and_nothing_of_the_record() {
    let table = [
        (
            "value.missing > 0",
            r#"{"amount":7}"#,
            "the filter looks for missing, which is not there; has(…) asks whether it is",
        ),
        (
            "value.amount > 0",
            r#"{"amount":"secret"}"#,
            "the filter can't apply > to string and int",
        ),
        (
            "value.amount",
            r#"{"amount":"secret"}"#,
            "the filter is string for this record, expected true or false",
        ),
        ("value.amount > 0", "[1]", "the filter can't apply . to list and string"),
        (
            "value.amount > 0",
            r#"{"amount":"#,
            "the filter can't read the value: it is not JSON at byte 10 of 10: EOF while parsing a value",
        ),
        (
            "value.amount > 0",
            "secret",
            "the filter can't read the value: it is not JSON at byte 0 of 6: expected value",
        ),
        ("1 / value.amount > 0", r#"{"amount":0}"#, "the filter divides by zero"),
        (
            "value.tags[3] == 'a'",
            r#"{"tags":["secret"]}"#,
            "the filter looks for an element that is not there",
        ),
        (
            "value.tags[value.i] == 'a'",
            r#"{"tags":{"a":1},"i":"the secret"}"#,
            "the filter looks for an element that is not there",
        ),
        ("value.a + value.b > 0", r#"{"a":"secret","b":1}"#, ""),
        ("value.a.matches(value.b)", r#"{"a":"x","b":"("}"#, ""),
        ("value.a + 1 > 0", r#"{"a":9223372036854775807}"#, ""),
        ("int(value.a) > 0", r#"{"a":"secret"}"#, ""),
    ];
    for (source, value, reason) in table {
        let found = refused(source, value);
        assert!(!found.contains("secret"), "{source}: {found}");
        if !reason.is_empty() {
            assert_eq!(found, reason, "{source}");
        }
    }
    let tombstone = filter("value.amount > 0").admit(&record(None));
    assert!(matches!(tombstone, Admission::Refused { .. }), "{tombstone:?}");
    let asks = filter("value == null || value.amount > 0").admit(&record(None));
    assert_eq!(asks, Admission::Pass);
}

#[test]
fn mistakes_are_found_before_there_is_a_record() {
    let table = [
        ("value.amount >", "at its character 15: "),
        ("value.amount = 0", "at its character 14: "),
        (
            "amount > 0",
            "at its character 1: there is no amount, expected key, value, headers or timestamp",
        ),
        (
            "value.a > 0 &&\n  vaule.b > 0",
            "in its line 2, at character 3: there is no vaule, expected key, value, headers or timestamp",
        ),
        ("value.name.beginsWith('a')", "there is no function beginsWith"),
        ("'text'", "it is text, expected true or false for each record"),
        ("1 + 1", "it is a number, expected true or false for each record"),
        ("size(value)", "it is a number, expected true or false for each record"),
        (
            "value.tags.map(t, t)",
            "it is a list, expected true or false for each record",
        ),
        ("headers > 5", "a map > a number says nothing"),
        ("value.a && 'b'", "found text, expected true or false"),
        (
            "headers.tenant == 'a' ? 1 : 2",
            "it is a number, expected true or false for each record",
        ),
        ("'abc'.x == 1", "text has no fields such as x"),
        (
            "value.x.exists(y, z > 1)",
            "there is no z, expected key, value, headers or timestamp",
        ),
        ("Order{a: 1} == value", "there is no type Order"),
        ("", "at its character 1: "),
    ];
    for (source, said) in table {
        let found = problems(source, JSON);
        assert!(
            found.iter().any(|problem| problem.contains(said)),
            "{source}: {found:?}"
        );
        assert!(
            found.iter().all(|problem| !problem.contains('\n')),
            "{source}: {found:?}"
        );
    }
    assert_eq!(problems("a > 0 && b > 0", JSON).len(), 2, "all of them at once");
    let text = View {
        key: Expected::Text,
        value: Expected::Bytes,
    };
    assert_eq!(
        problems("value.amount > 0", text),
        ["at its character 6: bytes has no fields such as amount (source.value.format: json makes it JSON)"]
    );
    assert_eq!(problems("key == 'a' && size(value) > 1", text), [""; 0]);
    assert_eq!(
        problems(&"x".repeat(20_000), JSON),
        ["it has 20000 bytes, expected at most 16384"]
    );
}

#[test]
fn functions_that_are_known_are_those_that_there_are() {
    let record = record(Some("{}"));
    for (name, _) in FUNCTIONS
        .iter()
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'))
    {
        let calls = [
            format!("{name}() == 1"),
            format!("{name}('1') == 1"),
            format!("'1'.{name}() == 1"),
            format!("'1'.{name}('1') == 1"),
        ];
        let known = calls
            .iter()
            .filter_map(|call| Filter::compile(call, JSON).ok())
            .any(|filter| {
                let admission = filter.admit(&record);
                !matches!(&admission, Admission::Refused { reason, .. } if reason.contains("knows no"))
            });
        assert!(known, "{name}");
    }
}

#[test]
fn an_expression_that_would_take_for_ever_is_cut_off() {
    let list = format!(r#"{{"l":[{}]}}"#, vec!["1"; 2000].join(","));
    let steps = "value.l.all(a, value.l.all(b, value.l.all(c, a + b + c > 0)))";
    assert_eq!(refused(steps, &list), "the filter takes too many steps on this record");
    let digits = "[1,2,3,4,5,6,7,8,9,0]";
    let literal = (0..12).fold("true".to_owned(), |inner, n| format!("{digits}.all(x{n}, {inner})"));
    assert_eq!(
        refused(&literal, "{}"),
        "the filter takes too many steps on this record"
    );
    let built = "value.l.map(a, value.l.map(b, value.l)).size() > 0";
    assert_eq!(refused(built, &list), "the filter takes too many steps on this record");
    let fine = filter("value.l.exists(a, a == 2) || value.l.all(a, a == 1)");
    for _ in 0..3 {
        assert_eq!(
            fine.admit(&record(Some(&list))),
            Admission::Pass,
            "each record has a budget of its own"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_expression_panics(source in "[-a-z0-9 .,()\\[\\]{}<>=!&|?:+*/%'\"\\\\]{0,60}", value in ".{0,40}") {
        if let Ok(filter) = Filter::compile(&source, JSON) {
            filter.admit(&record(Some(&value)));
        }
    }

    #[test]
    fn what_the_check_calls_right_is_true_or_false_or_a_reason(
        value in prop::sample::select(vec!["{}", "[]", "1", "\"a\"", "null", "{\"a\":{\"b\":[1]}}", "x"]),
        source in prop::sample::select(vec![
            "value.a.b[0] > 0", "value == 1", "has(value.a) && has(value.a.b)", "size(value) > 0", "value > 'a'",
            "value.?a.?b.hasValue()", "type(value) == int", "value.a.exists(x, x == 'b')", "key == value",
        ]),
    ) {
        match admitted(source, value) {
            Admission::Pass | Admission::Filtered => {}
            Admission::Refused { stage, reason } => {
                prop_assert_eq!(stage, Stage::Filter);
                prop_assert!(reason.starts_with("the filter ") && !reason.contains("can't be evaluated"), "{}", reason);
            }
            Admission::Answered(_) => prop_assert!(false),
        }
    }
}
