//! Whole documents, and what is said of them.

mod bad;
mod fields;
mod fleet;
mod messages;

use proptest::prelude::*;
use serde_json::Value;

use super::{check_text, pipeline_schema, worker_schema};

const LEAST: &str = "name: a\nsource: {topics: [t]}\nfunction: {url: 'http://127.0.0.1:1/'}\n";

/// The problems of a text, a line each, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let checked = check_text("f", text);
    checked
        .problems
        .0
        .iter()
        .map(|problem| problem.to_string()["f:".len()..].to_owned())
        .collect()
}

#[test]
fn five_mistakes_are_five_problems_in_one_run() {
    let text = "\
name: Orders
source:
  topcis: [orders]
  start: yesterday
function:
  url: http://localhost:3000/
  timeout: 30
retry: {initial_backoff: 10s, max_backoff: 1s}
";
    assert_eq!(
        problems(text),
        [
            r#"1:7: name: found "Orders", expected 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit [invalid_value]"#,
            "3:3: source.topcis: no such field; did you mean topics? [unknown_field]",
            r#"4:10: source.start: found "yesterday", expected earliest, latest or a time such as 2026-01-31T12:00:00Z [invalid_value]"#,
            "7:12: function.timeout: found 30, expected a duration with its unit, such as 200ms, 30s or 15m, from 1ms to 15m [invalid_value]",
            "8:26: retry.initial_backoff: the first wait of 10s is longer than the longest, 1s; expected it to be at most that [conflict]",
        ]
    );
}

#[test]
fn the_least_pipeline_has_three_fields() {
    assert_eq!(problems(LEAST), [""; 0]);
}

#[test]
fn what_the_shape_refuses_the_printed_schema_refuses_too() {
    let pipeline = jsonschema::validator_for(pipeline_schema()).unwrap();
    let worker = jsonschema::validator_for(worker_schema()).unwrap();
    let wrong = [
        "source: {topics: [t]}",
        "name: A\nsource: {topics: [t]}",
        "name: a\nsource: {topics: t}",
        "name: a\nsource: {topics: [t], more: 1}",
        "name: a\nsource: {topics: [t]}\nordering: topic",
        "name: a\nsource: {topics: [t]}\nbatch: {max_records: 0}",
        "name: a\nsource: {topics: [t]}\nbatch: {linger: 5}",
        "name: a\nsource: {topics: [t]}\nbatch: {max_bytes: 1 MiB}",
        "name: a\nsource: {topics: [t]}\nresponses: {'700': drop}",
        "name: a\nsource: {topics: [t]}\nfunction: {url: u, headers: {x: {env: A, file: B}}}",
    ];
    for text in wrong {
        let value = super::yaml::read(text).documents[0].to_value();
        assert!(!pipeline.is_valid(&value), "{text}");
        assert!(!problems(text).is_empty(), "{text}");
    }
    let value = |text: &str| -> Value { super::yaml::read(text).documents[0].to_value() };
    assert!(pipeline.is_valid(&value(LEAST)));
    assert!(worker.is_valid(&value("clusters: {default: {bootstrap_servers: 'a:1,b:2'}}")));
    assert!(!worker.is_valid(&value("clusters: {default: {bootstrap_servers: a}}")));
}

#[test]
fn names_and_groups_belong_to_one_pipeline() {
    let pipeline = |name: &str, group: &str| {
        format!("---\nname: {name}\nsource: {{topics: [t], group: {group}}}\nsinks: [stdout: {{}}]\n")
    };
    let text = pipeline("a", "g1") + &pipeline("a", "g2") + &pipeline("b", "g1") + &pipeline("c", "g3");
    assert_eq!(
        problems(&text),
        [
            "6:7: name: another pipeline is called a, in f:2; expected names that differ [conflict]",
            "11:30: source.group: the group g1 belongs to the pipeline in f:2; expected one of its own [conflict]",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in ".{0,300}") {
        check_text("f", &text);
    }

    #[test]
    fn no_field_with_any_value_panics(
        field in prop::sample::select(fields::all_fields()),
        value in "[-a-z0-9: \\[\\]{}\"'.,~^()*]{0,24}",
    ) {
        let (mut text, mut closing) = (String::new(), String::new());
        for key in field.split('.') {
            let (key, is_list) = key.strip_suffix("[]").map_or((key, false), |key| (key, true));
            text += &format!("{{{key}: {}", if is_list { "[" } else { "" });
            closing = format!("{}}}{closing}", if is_list { "]" } else { "" });
        }
        check_text("f", &format!("{text}{value}{closing}"));
        check_text("f", &format!("{text}{value:?}{closing}"));
    }
}
