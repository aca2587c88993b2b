//! What people see, on answers as a fleet gives them.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::api::wire::{
    Audit, Audited, Change, DeadLetter, History, LastError, LetterGroup, LimitUse, PartitionStatus, Pipeline,
    PipelineEvent, PipelineStatus, PipelineSummary, Redrive, Secret, ShownLetter, SinkStatus, TaskStatus, TaskSummary,
    Token, Worker,
};

fn now() -> Timestamp {
    "2026-03-02T03:04:05Z".parse().unwrap()
}

/// Colours are taken off where stdout is no terminal, as they are here.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn answer<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn healthy() -> PipelineSummary {
    answer(json!({
        "name": "orders-enrich", "labels": {"team": "payments"}, "state": "running", "held_by": "store", "phase": "running",
        "workers": ["worker-0", "worker-1"], "partitions": 12, "lag_records": 42, "lag_seconds": 0.31,
        "records_per_second": 1840.4, "bytes_per_second": 1912345.0,
    }))
}

fn broken() -> PipelineSummary {
    answer(json!({
        "name": "invoices-to-the-warehouse-of-the-eu", "state": "running", "held_by": "file", "phase": "blocked",
        "reason": "the function does not work, and is probed: the function answered 500 Internal Server Error (status 500)",
        "workers": ["worker-1"], "partitions": 3, "lag_records": 120_345, "lag_seconds": 5400.0,
        "records_per_second": 0.0, "bytes_per_second": 0.0,
    }))
}

fn unplaced() -> PipelineSummary {
    answer(json!({
        "name": "gpu-embeddings", "state": "paused", "held_by": "store", "phase": "unplaced",
        "reason": "none of 3 workers has the labels {gpu: true}", "workers": [], "partitions": 0, "lag_records": 0,
        "lag_seconds": 0.0, "records_per_second": 0.0, "bytes_per_second": 0.0,
    }))
}

fn partition(number: i32, doing: &str, stands_first: &[&str]) -> PartitionStatus {
    PartitionStatus {
        topic: "invoices".to_owned(),
        partition: number,
        doing: doing.to_owned(),
        since: "2026-03-02T02:51:00Z".to_owned(),
        reason: None,
        stands_first: stands_first.iter().map(|id| (*id).to_owned()).collect(),
        committed: 1_000_042,
        position: 1_000_142,
        lag_records: Some(40_115),
        lag_seconds: 5400.0,
        waiting: 100,
        in_flight: 0,
        unsettled: 100,
        attempts: 12,
        totals: BTreeMap::from([("delivered".to_owned(), 999_000), ("dead_lettered".to_owned(), 3)]),
    }
}

fn standing() -> PipelineStatus {
    let summary: TaskSummary = answer(json!({
        "revision": "3f9a", "phase": "blocked", "reason": broken().reason, "since": "2026-03-02T02:51:00Z", "restarts": 1,
        "partitions": 3, "lag_records": 120_345, "lag_seconds": 5400.0, "records_per_second": 0.0, "bytes_per_second": 0.0,
    }));
    PipelineStatus {
        summary: broken(),
        revision: None,
        tasks: vec![TaskStatus {
            worker: "worker-1".to_owned(),
            summary,
            last_errors: vec![LastError {
                at: "2026-03-02T03:03:58Z".to_owned(),
                id: "invoices/0/1000042".to_owned(),
                status: Some(500),
                reason: "the function answered 500 Internal Server Error".to_owned(),
            }],
            limits: vec![LimitUse {
                limit: "concurrency.max_in_flight".to_owned(),
                used: 1.0,
                of: Some(16.0),
                now: Some(4.0),
            }],
            sinks: vec![SinkStatus {
                name: "warehouse".to_owned(),
                away: true,
                blocked: false,
            }],
            holds: vec![
                partition(0, "paused_by_breaker", &["invoices/0/1000042"]),
                partition(1, "paused_by_breaker", &["invoices/1/1000042"]),
                partition(2, "running", &[]),
            ],
        }],
        remarks: vec!["the workers' files differ: worker-0 has none, worker-1 has 3f9a".to_owned()],
    }
}

#[test]
fn pipelines_are_a_line_each_with_what_stands_in_the_way_below() {
    assert_snapshot!(plain(&list(&[unplaced(), broken(), healthy()])));
}

#[test]
fn the_status_says_first_whether_it_works_and_why_not() {
    assert_snapshot!(plain(&status(&standing(), now())));
}

#[test]
fn a_pipeline_is_its_document_below_a_line_on_how_it_stands() {
    let shown: Pipeline = answer(json!({
        "revision": 7, "status": healthy(), "name": "orders-enrich", "source": {"topics": ["orders"]},
        "function": {"url": "https://fn.example.com/enrich"}, "sinks": [{"kafka": {"topic": "orders-enriched"}}],
    }));
    assert_snapshot!(plain(&pipeline(&shown)));
}

#[test]
fn the_history_says_who_changed_what() {
    let change = |revision, verb, changes| Change {
        revision,
        verb: answer(json!(verb)),
        by: "ann".to_owned(),
        at: "2026-03-01T10:00:00.000Z".to_owned(),
        changes: answer(changes),
    };
    let changes = vec![
        change(3, "paused", json!([{"field": "state", "to": "paused"}])),
        change(
            2,
            "changed",
            json!([{"field": "batch.max_records", "from": 100, "to": 20}, {"field": "labels.team", "from": "a"}]),
        ),
        change(1, "created", json!([])),
    ];
    assert_snapshot!(plain(&history(&History { changes, next: None })));
}

#[test]
fn the_fleet_is_a_line_a_worker() {
    let worker = |id: &str, leader: bool, state: &str| -> Worker {
        answer(json!({
            "id": id, "roles": ["control", "worker"], "labels": {}, "version": "0.1.0", "address": "10.0.0.7:8470",
            "since": "2026-02-27T03:04:05Z", "leader": leader, "state": state, "tasks": 14, "partitions": 120,
            "records_per_second": 5210.0, "bytes_per_second": 7340032.0, "lag_records": 1200,
        }))
    };
    let stuck = Worker {
        reason: Some("orders-enrich runs and shows no progress".to_owned()),
        files_differ: vec!["invoices".to_owned()],
        ..worker("worker-10", false, "stuck")
    };
    assert_snapshot!(plain(&workers(&[worker("worker-0", true, "ready"), stuck], now())));
}

#[test]
fn events_audit_log_secrets_and_tokens_are_lines() {
    let happened = PipelineEvent {
        number: 12,
        at: "2026-03-02T03:04:05.123Z".to_owned(),
        worker: "worker-1".to_owned(),
        pipeline: "orders".to_owned(),
        level: "warn".to_owned(),
        text: "breaker opened, only probes go out: connection refused".to_owned(),
    };
    let audited = Audited {
        at: "2026-03-02T03:04:05.123Z".to_owned(),
        by: "ci".to_owned(),
        action: "pipeline.changed".to_owned(),
        target: "orders".to_owned(),
        detail: "revision 4".to_owned(),
    };
    let secret = Secret {
        name: "warehouse-token".to_owned(),
        changed: "2026-03-01T10:00:00.000Z".to_owned(),
        changed_by: "ann".to_owned(),
        used_by: vec!["orders".to_owned(), "invoices".to_owned()],
    };
    let token: Token = answer(json!({
        "id": "k3Jx9a", "name": "ci", "role": "editor", "prefix": "pay-", "created": "2026-03-01T10:00:00.000Z", "created_by": "ann",
    }));
    let all = [
        event(&happened),
        audit_log(&[audited]),
        secrets(&[secret]),
        tokens(&[token]),
        secrets(&[]),
        list(&[]),
    ];
    assert_snapshot!(plain(&all.join("\n")));
}

fn dead_letter(offset: u32, status: Option<u16>, reason: &str) -> DeadLetter {
    answer(json!({
        "id": format!("orders-enrich.dead-letter/3/{offset}"), "pipeline": "orders-enrich", "source": format!("orders/3/{}", 40 + offset),
        "stage": if status.is_some() { "function" } else { "convert" }, "status": status, "reason": reason,
        "fingerprint": "0123456789abcdef", "at": "2026-03-02T02:51:00Z", "first_failed": "2026-03-02T02:50:00Z", "attempts": 5,
        "redrives": offset, "foreign": false, "bytes": 1234, "mark": "open",
    }))
}

#[test]
fn dead_letters() {
    let long = "the function answered 500 Internal Server Error: Traceback (most recent call last): File \"app.py\", line 7, in handle";
    let some = [
        dead_letter(0, Some(500), long),
        dead_letter(1, None, "the value is not JSON"),
    ];
    assert_snapshot!(plain(&letters(&some, now())));
    assert_eq!(letters(&[], now()), "no dead letters\n");
}

#[test]
fn groups_of_dead_letters() {
    let group = |count: u64, histogram: [u64; 6], sample: DeadLetter| LetterGroup {
        fingerprint: sample.fingerprint.clone(),
        count,
        first: "2026-03-01T02:51:00Z".to_owned(),
        last: sample.at.clone(),
        histogram: histogram.to_vec(),
        sample,
    };
    let some = [
        group(
            4100,
            [0, 0, 1, 99, 2000, 2000],
            dead_letter(0, Some(500), "the function answered 500"),
        ),
        group(3, [1, 0, 0, 1, 0, 1], dead_letter(1, None, "the value is not JSON")),
    ];
    assert_snapshot!(plain(&groups(&some, now())));
}

#[test]
fn a_dead_letter_in_full() {
    let mut document = json!(dead_letter(1, Some(422), "unknown customer 17"));
    let more = json!({
        "timestamp": "2026-03-02T02:00:00.000Z", "key": "k1", "value": {"amount": 7, "customer": 17},
        "headers": [{"name": "traceparent", "value": "00-1-2-01"}, {"name": "empty"}], "response": "{\"error\":\"unknown customer 17\"}",
    });
    document
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    assert_snapshot!(plain(&letter(&answer(document))));
}

fn redriven(state: &str) -> Redrive {
    answer(json!({
        "id": "20260302-030000-0af", "pipeline": "orders-enrich", "state": state, "said": "", "to": "pipeline", "by": "ann",
        "reason": "customers are back", "at": "2026-03-02T03:00:00Z", "letters": 400, "done": 230, "delivered": 200, "dropped": 5,
        "dead_lettered": 21, "to_source": 0, "refused": {"loop_guard": 4}, "bytes": 123_456, "letters_per_second": 57.4,
        "seconds_left": 3.0, "passed": {"keys": 2, "records": 9, "looked_at": 800, "all": true}, "repeated": 2, "repeated_ids": ["orders-enrich.dead-letter/3/7", "orders-enrich.dead-letter/3/8"],
        "failures": [{"id": "orders-enrich.dead-letter/0/3", "reason": "the function answered 422: no such customer"}],
        "refusals": [{"id": "orders-enrich.dead-letter/1/9", "reason": "it was redriven 3 times, and `dead_letter.max_redrives` is 3"}],
        "worker": "w1",
    }))
}

#[test]
fn a_redrive_says_what_became_of_its_letters_and_what_somebody_has_to_look_at() {
    let running = Redrive {
        waits: Some("the function answered 503".to_owned()),
        ..redriven("running")
    };
    assert_snapshot!(plain(&redrive(&running)));
    assert_snapshot!(plain(&redrives(&[running, redriven("done")], now())));
}

#[test]
fn a_dry_run_says_what_would_be_sent_and_what_not() {
    let plan = answer(json!({
        "pipeline": "orders-enrich", "letters": 400, "sends": 390, "bytes": 123_456, "to_sink": 12, "refused": [
            {"code": "loop_guard", "why": "it was redriven 3 times", "letters": 10},
        ], "other_groups": ["billing"], "passed": {"keys": 3, "records": 41, "looked_at": 100_000, "all": false},
    }));
    assert_snapshot!(plain(&redrive_plan(&plan)));
}

#[test]
fn a_letter_that_was_seen_to_says_by_whom_and_why() {
    let shown: ShownLetter = answer(json!({
        "id": "orders-enrich.dead-letter/3/1", "stage": "convert", "reason": "the value is not JSON", "fingerprint": "0123456789abcdef",
        "at": "2026-03-02T02:51:00Z", "redrives": 0, "foreign": false, "bytes": 9, "mark": "edited", "redrive": "20260302-030000-0af",
        "outcome": "delivered", "value": "{", "headers": [],
        "marked": {"at": "2026-03-02T03:00:00Z", "by": "ann", "differences": [{"field": "", "from": "{", "to": "{}"}]},
    }));
    assert_snapshot!(plain(&letter(&shown)));
}

#[test]
fn an_audit_says_first_whether_it_adds_up_and_names_what_does_not() {
    let found: Audit = answer(json!({
        "pipeline": "orders-enrich", "adds_up": false, "from": "2026-03-02T02:00:00.000Z", "to": "2026-03-02T03:00:00.000Z",
        "settled": {"delivered": 970, "dropped": 10, "dead_lettered": 20, "expired": 0, "filtered": 0, "skipped": 0}, "records": 1000,
        "with_result": 974, "more_results": 3, "with_letter": 20, "letters": {"open": 15, "redriven": 5}, "neither": 11, "missing": 1,
        "uncounted": 0, "gone": 0, "unsettled": 4, "suspects": ["orders/3/42", "orders/3/77"], "not_countable": [],
        "left_out": {"orders/1": "offsets were moved"}, "read": 2000,
        "partitions": [{"partition": "orders/3", "from": 0, "to": 1000, "records": 1000, "with_result": 974, "with_letter": 20,
            "missing": 1, "uncounted": 0, "gone": 0, "unsettled": 4}],
    }));
    assert_snapshot!(plain(&audit(&found)));
}
