use std::collections::BTreeMap;
use std::sync::Arc;

use crate::delivery::answer::Failure;
use crate::delivery::event::{Assignment, View};
use crate::delivery::record::TopicPartition;

use super::*;
use crate::cli::local::Said;

fn model() -> Model {
    let setup = Setup {
        broker: "127.0.0.1:9092".to_owned(),
        embedded: true,
        topic: "flights".to_owned(),
        url: "http://127.0.0.1:3456/".to_owned(),
        function: Which::Sample,
        results: "flights-results".to_owned(),
        dead_letters: "flights.dead-letter".to_owned(),
        api: Some("http://127.0.0.1:8470".to_owned()),
    };
    Model::new(setup, Feeding::Going)
}

fn partition(number: i32) -> PartitionView {
    PartitionView {
        assignment: Assignment(1),
        source: TopicPartition {
            topic: Arc::from("flights"),
            partition: number,
        },
        committed: 40,
        position: 44,
        waiting: 3,
        in_flight: 1,
        unsettled: 4,
        held_bytes: 0,
        oldest_unsettled: None,
        oldest_waiting: None,
        paused: false,
        draining: false,
        totals: [30, 8, 0, 2, 0, 0],
    }
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.plain(200) + "\n").collect()
}

#[test]
fn the_screen_tells_throughput_partitions_results_letters_and_what_to_try() {
    let mut model = model();
    model.task = View {
        partitions: vec![partition(1), partition(0)],
        calls_in_flight: 2,
        ..View::default()
    };
    model.settled = counts(&[("delivered", 60), ("dropped", 16), ("dead_lettered", 4)]);
    model.attempts = counts(&[("success", 12), ("failed", 5), ("busy", 0)]);
    model.second(97);
    model.result(Seen {
        id: "flights/1/43".to_owned(),
        value: Some(r#"{"route":"EWR-IAH"}"#.to_owned()),
    });
    model.letter(SeenLetter {
        id: "flights.dead-letter/0/0".to_owned(),
        source: "flights/1/7".to_owned(),
        stage: "function".to_owned(),
        reason: "division by zero".to_owned(),
        attempts: "5".to_owned(),
        response: "{}".to_owned(),
    });
    let shown = text(&screen(&model, 50));
    for expected in [
        "flights → sample function http://127.0.0.1:3456/ → flights-results",
        "97 records/s",
        "delivered 60   dropped 16   dead-lettered 4",
        "2 calls on the wire   failed 5   success 12\n",
        "flights/0                       44         40        3          1\nflights/1",
        r#"flights/1/43       {"route":"EWR-IAH"}"#,
        "flights/1/7        function, 5 calls: division by zero",
        "kcat -b 127.0.0.1:9092 -C -t flights-results",
        "kcat -b 127.0.0.1:9092 -t flights",
        "fnbridge dlq groups\n",
        "inspect fnbridge dlq show flights.dead-letter/0/0\n",
        "try     fnbridge try flights --at flights.dead-letter/0/0 --function http://127.0.0.1:3456/fixed   (",
        "redrive fnbridge dlq redrive flights.dead-letter/0/0\n",
        "curl http://127.0.0.1:8470/metrics",
        "fnbridge dev --function",
    ] {
        assert!(shown.contains(expected), "{expected:?} is missing in\n{shown}");
    }
}

#[test]
fn an_open_breaker_says_which_answer_opened_it() {
    let mut model = model();
    model.task.breaker_open = true;
    model.task.breaker_reason = Some(Failure::of("answered 401: expected 2xx"));
    assert!(text(&screen(&model, 50)).contains("the breaker is open: answered 401"));
    assert!(second_line(&model).plain(200).contains("answered 401"));
}

#[test]
fn a_terminal_of_80_by_24_has_room_for_everything_to_try() {
    let mut model = model();
    model.task.partitions = (0..4).map(partition).collect();
    for n in 0..9 {
        model.result(Seen {
            id: format!("flights/0/{n}"),
            value: None,
        });
        model.letter(SeenLetter {
            id: format!("flights.dead-letter/0/{n}"),
            source: format!("flights/0/{n}"),
            stage: "function".to_owned(),
            reason: "no".to_owned(),
            attempts: "1".to_owned(),
            response: String::new(),
        });
    }
    let lines = screen(&model, 24);
    let shown: Vec<String> = lines.iter().map(|line| line.plain(80)).collect();
    let tries = shown.iter().position(|line| line == "TRY").unwrap();
    assert_eq!(shown.len() - tries, 7);
    assert!(shown[tries..].iter().all(|line| !line.contains('…')), "{shown:#?}");
    assert!(shown.iter().any(|line| line.contains("flights/0/8")));
}

#[test]
fn lines_are_cut_to_the_width_and_the_screen_to_the_height() {
    let mut model = model();
    for n in 0..100 {
        model.result(Seen {
            id: format!("flights/0/{n}"),
            value: Some("ü".repeat(300)),
        });
    }
    for height in [5, 24, 50] {
        let lines = screen(&model, height);
        assert!(lines.len() <= height);
        assert!(lines.iter().all(|line| line.plain(60).chars().count() <= 60));
    }
    let full = screen(&model, 50);
    assert_eq!(full.len(), 50);
    assert!(text(&full).contains("flights/0/99"));
}

#[test]
fn the_summary_counts_what_became_of_the_records() {
    let mut model = model();
    model.elapsed = Duration::from_secs(75);
    model.task = View {
        partitions: vec![partition(0)],
        ..View::default()
    };
    model.settled = counts(&[("delivered", 30), ("dropped", 8), ("dead_lettered", 2)]);
    model.attempts = counts(&[("success", 12), ("failed", 5)]);
    let shown = text(&summary(&model, true));
    assert!(
        shown.starts_with("Drained after 01:15, 30 delivered, 8 dropped, 2 dead-lettered; 17 calls."),
        "{shown}"
    );
    assert!(text(&summary(&model, false)).starts_with("Ended before the drain was done"));
}

#[test]
fn a_failed_call_stands_beside_its_records_with_the_functions_last_words() {
    let mut model = model();
    model.setup.function = Which::Here("orders.py (verdict)".to_owned());
    model.function = "serves".to_owned();
    model.says(Said::Out("starts".to_owned()));
    let failed = Said::Failed {
        records: "flights/1/7".to_owned(),
        what: "the function answered 500 Internal Server Error".to_owned(),
        lines: (0..9).map(|n| format!("frame {n}")).collect(),
    };
    assert!(!model.is_known(&failed));
    model.says(failed.clone());
    assert!(model.is_known(&failed), "it would be the same failure");
    let shown = text(&screen(&model, 50));
    for expected in [
        "flights → orders.py (verdict) → flights-results",
        "FUNCTION   orders.py (verdict)   serves\n",
        "failed flights/1/7: the function answered 500 Internal Server Error\n  | frame 3\n",
        "  | frame 8\n  | starts\n",
    ] {
        assert!(shown.contains(expected), "{expected:?} is missing in\n{shown}");
    }
    let plain = text(&function_lines(&failed, true));
    assert_eq!(
        plain,
        "failed flights/1/7: the function answered 500 Internal Server Error, as before\n"
    );
    assert!(screen(&model, 24).len() <= 24);
    model.elapsed = Duration::from_secs(31);
    assert!(!text(&screen(&model, 50)).contains("frame 8"));
}
