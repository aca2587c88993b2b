//! Documents that somebody broke, or wrote to break us.

use proptest::prelude::*;

use super::super::load::is_worker;
use super::super::yaml::read;
use super::super::{check_text, pipeline_schema, worker_schema};
use crate::bad_bytes::{bad_text, corpus};

/// Each problem says where it stands, and what is said to be right is right by the printed schema, too.
fn check(text: &str) -> Result<(), TestCaseError> {
    let checked = check_text("f", text);
    // A carriage return alone ends a line, too; what is missing at the end is missing on the line behind the last.
    let lines = text.matches(['\n', '\r']).count() + 2;
    for problem in &checked.problems.0 {
        let said = problem.to_string();
        let place = said.strip_prefix("f:").and_then(|said| said.split_once(':'));
        let line = place.and_then(|(line, _)| line.parse::<usize>().ok());
        prop_assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{said}");
    }
    if checked.problems.0.is_empty() {
        for document in &read(text).documents {
            let schema = if is_worker(document) {
                worker_schema()
            } else {
                pipeline_schema()
            };
            let document = document.to_value();
            prop_assert!(jsonschema::is_valid(schema, &document), "{document}");
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_document_that_is_kept_is_right_or_each_problem_has_its_place() {
    for folder in ["pipelines", "workers"] {
        for input in corpus(folder) {
            check(&text(&input)).unwrap();
        }
        let right = |input: &Vec<u8>| check_text("f", &text(input)).problems.0.is_empty();
        assert!(
            corpus(folder).iter().filter(|input| right(input)).count() >= 2,
            "{folder}"
        );
    }
}

#[test]
fn what_is_nested_or_repeated_without_end_is_refused_at_once() {
    let began = std::time::Instant::now();
    let texts = [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "a:\n".to_owned() + &" a:\n".repeat(100_000),
        "? ".repeat(100_000),
        "&a ".repeat(100_000),
        "!a ".repeat(50_000),
        "a: \"".to_owned() + &"\\x41".repeat(100_000),
        "a: [".to_owned() + &"1,".repeat(300_000),
        (0..40_000).map(|n| format!("k{n}: 1\n")).collect(),
        "name: a\nresponses: {".to_owned() + &(0..15_000).map(|n| format!("'{n}': drop, ")).collect::<String>() + "}",
    ];
    for text in texts {
        let checked = check_text("f", &text);
        assert!(!checked.problems.0.is_empty(), "{}", &text[..40]);
    }
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_pipeline_is_right_or_each_problem_has_its_place(text in bad_text("pipelines")) {
        check(&text)?;
    }

    #[test]
    fn a_damaged_configuration_is_right_or_each_problem_has_its_place(text in bad_text("workers")) {
        check(&text)?;
    }
}
