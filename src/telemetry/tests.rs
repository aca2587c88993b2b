//! What is counted and what is logged when things happen to a pipeline.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tracing_subscriber::fmt::MakeWriter;

use super::metrics::page::exposition;
use super::metrics::state::{WorkerState, lock};
use super::metrics::table::TABLE;
use super::status;
use super::{Depth, Outlet, PipelineTelemetry, Voice};
use crate::delivery::answer::{Answer, Disposition, Failure, Receipt, Stage};
use crate::delivery::event::{
    Assignment, AttemptOutcome, Call, CallId, GuardKind, Notice, Oldest, PartitionView, Usage, Used, View,
};
use crate::delivery::record::{Record, SinkId, TopicPartition};
use crate::delivery::time::{Millis, Moment};

const HELD: Assignment = Assignment(7);
const SECRET: &str = "4111-1111-1111-1111";
const DENIED: &str = "could not write `enriched`: not authorized; grant Write on topic `enriched`";

fn source() -> TopicPartition {
    TopicPartition {
        topic: "orders".into(),
        partition: 3,
    }
}

fn record(offset: i64) -> Arc<Record> {
    Arc::new(Record {
        source: source(),
        offset,
        generation: 0,
        timestamp_ms: 0,
        key: Some(Bytes::from_static(SECRET.as_bytes())),
        value: Some(Bytes::from_static(SECRET.as_bytes())),
        headers: Vec::new(),
    })
}

fn view() -> View {
    let of = |used, limit| Used { used, limit, now: None };
    View {
        usage: Usage {
            records_per_second: of(9.5, Some(10.0)),
            bytes_per_second: of(950.0, None),
            calls: of(2.0, Some(16.0)),
            held_bytes: of(4096.0, Some(65536.0)),
            throttled: true,
        },
        calls_in_flight: 2,
        concurrency: 16,
        held_bytes: 4096,
        breaker_open: true,
        breaker_reason: Some(Failure::of("no connection")),
        guards: vec![(GuardKind::Failed, vec!["orders/3/42".into()])],
        partitions: vec![PartitionView {
            assignment: HELD,
            source: source(),
            committed: 40,
            position: 50,
            waiting: 5,
            in_flight: 4,
            unsettled: 9,
            held_bytes: 2048,
            oldest_unsettled: Some(Oldest {
                arrived: Moment(1_000),
                timestamp_ms: Some(0),
            }),
            oldest_waiting: Some(Oldest {
                arrived: Moment(2_000),
                timestamp_ms: Some(-1),
            }),
            paused: true,
            draining: false,
            totals: [1, 2, 3, 4, 5, 6],
        }],
    }
}

/// Everything that can happen to a pipeline, once.
fn everything(telemetry: &PipelineTelemetry) {
    let failure = || Failure {
        reason: SECRET.into(),
        ..Failure::default()
    };
    telemetry.pipeline_started("0123abcd", &[("team".to_owned(), "payments".to_owned())].into());
    telemetry.assigned(HELD, &source(), 40, &"at the committed offset");
    telemetry.polled(HELD, &[record(40), record(41)]);
    telemetry.watermarks(HELD, 100);
    telemetry.committed(&[(HELD, Ok(())), (HELD, Err("fenced".into()))]);
    let call = Call {
        id: CallId(1),
        assignment: HELD,
        records: vec![record(40), record(41)],
        attempt: 2,
        probe: false,
    };
    let span = telemetry.attempt_started(&call);
    telemetry.attempt_ended(span, &Answer::Verdicts(Vec::new()));
    telemetry.sink_answered(SinkId(0), Duration::from_millis(2), &[Receipt::Stored, Receipt::Stored]);
    telemetry.letter_answered(Duration::from_millis(2));
    let (assignment, source) = (HELD, source());
    for notice in [
        Notice::Attempt {
            assignment,
            outcome: AttemptOutcome::Success,
            records: 2,
        },
        Notice::Settled {
            assignment,
            disposition: Disposition::Delivered,
            records: 2,
        },
        Notice::Bisected { assignment, records: 2 },
        Notice::GivenUp {
            assignment,
            stage: Stage::Function,
            id: "orders/3/42".into(),
            reason: SECRET.into(),
            status: None,
        },
        Notice::BreakerOpened {
            failure: Failure::of("no connection to 127.0.0.1:9"),
        },
        Notice::BreakerClosed { open_for: Millis(5) },
        Notice::GuardTripped {
            guard: GuardKind::Failed,
            id: "orders/3/42".into(),
            failure: failure(),
        },
        Notice::GuardReleased {
            guard: GuardKind::Failed,
        },
        Notice::LaneBlocked {
            id: "orders/3/42".into(),
            failure: failure(),
        },
        Notice::WaitsForOldest {
            id: "orders/3/42".into(),
        },
        Notice::SinkAway {
            sink: SinkId(0),
            failure: Failure::of(DENIED),
            blocked: true,
        },
        Notice::LettersBlocked {
            failure: Failure::of("away"),
        },
        Notice::MemoUnusable {
            source: source.clone(),
            reason: "its checksum is wrong".into(),
        },
        Notice::Overtaken {
            source: source.clone(),
            from: 1,
            to: 9,
        },
        Notice::CommitRefused {
            source: source.clone(),
            reason: "fenced".into(),
        },
        Notice::LateDiscarded { what: "answer" },
        Notice::TooManySkips {
            source: source.clone(),
            from: 7,
            to: 9,
        },
        Notice::Drained {
            source,
            took: Millis(20),
            in_time: true,
        },
    ] {
        telemetry.notice(&notice);
    }
    telemetry.source_trouble("cluster_away", "no broker answers", false);
    telemetry.publish(&view(), Moment(4_000));
    telemetry.revoked(&[HELD]);
}

fn pipeline() -> (WorkerState, PipelineTelemetry) {
    let worker = WorkerState::new();
    let telemetry = PipelineTelemetry::of(&worker, "orders-enrich", &["enriched".to_owned()]);
    (worker, telemetry)
}

#[test]
fn every_metric_of_the_table_is_shown() {
    let (worker, telemetry) = pipeline();
    everything(&telemetry);
    worker.letters.arrived("orders-enrich", "function", "0123456789abcdef");
    worker.letters.set_open(vec![Depth {
        pipeline: "orders-enrich".to_owned(),
        stage: "function".to_owned(),
        fingerprint: "0123456789abcdef".to_owned(),
        letters: 3,
        oldest_ms: 0,
    }]);
    let page = exposition(&worker);
    for metric in TABLE {
        let typed = format!("# TYPE {} ", metric.name);
        assert_eq!(page.matches(&typed).count(), 1, "{} in\n{page}", metric.name);
    }
}

#[test]
fn what_happens_is_counted_where_it_belongs() {
    let (worker, telemetry) = pipeline();
    everything(&telemetry);
    let page = exposition(&worker);
    let of = "pipeline=\"orders-enrich\",topic=\"orders\",partition=\"3\"";
    for line in [
        "fnbridge_pipeline_info{pipeline=\"orders-enrich\",revision=\"0123abcd\",label_team=\"payments\"} 1".into(),
        format!("fnbridge_polled_records_total{{{of}}} 2"),
        format!("fnbridge_attempts_total{{{of},outcome=\"success\"}} 1"),
        format!("fnbridge_attempts_total{{{of},outcome=\"failed\"}} 0"),
        format!("fnbridge_attempted_records_total{{{of}}} 2"),
        format!("fnbridge_retries_total{{{of}}} 1"),
        format!("fnbridge_settled_records_total{{{of},disposition=\"delivered\"}} 2"),
        format!("fnbridge_dead_letters_total{{{of},stage=\"function\"}} 1"),
        format!("fnbridge_commits_total{{{of},outcome=\"accepted\"}} 1"),
        format!("fnbridge_commits_total{{{of},outcome=\"refused\"}} 1"),
        format!("fnbridge_lag_records{{{of}}} 60"),
        "fnbridge_limit{pipeline=\"orders-enrich\",limit=\"limits.records_per_second\"} 10".into(),
        "fnbridge_limit_used{pipeline=\"orders-enrich\",limit=\"limits.bytes_per_second\"} 950".into(),
        "fnbridge_throttled{pipeline=\"orders-enrich\"} 1".into(),
        format!("fnbridge_waiting_records{{{of}}} 5"),
        format!("fnbridge_undispatched_records{{{of}}} 55"),
        format!("fnbridge_paused{{{of}}} 1"),
        "fnbridge_sink_records_total{pipeline=\"orders-enrich\",sink=\"enriched\",receipt=\"stored\"} 2".into(),
        "fnbridge_sink_blocked{pipeline=\"orders-enrich\",sink=\"enriched\"} 1".into(),
        "fnbridge_missing_right{pipeline=\"orders-enrich\",right=\"Write on topic `enriched`\"} 1".into(),
        "fnbridge_guard_tripped{pipeline=\"orders-enrich\",guard=\"failed\"} 1".into(),
        "fnbridge_source_trouble{pipeline=\"orders-enrich\",kind=\"cluster_away\"} 1".into(),
        "fnbridge_drain_duration_seconds_bucket{pipeline=\"orders-enrich\",end=\"in_time\",le=\"0.025\"} 1".into(),
        "fnbridge_late_discarded_total{pipeline=\"orders-enrich\",what=\"answer\"} 1".into(),
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\nin\n{page}");
    }
    let seconds = |name: &str| -> f64 {
        let shown = page.lines().find(|line| line.starts_with(name)).unwrap();
        shown.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let unsettled = seconds("fnbridge_oldest_unsettled_seconds");
    assert!((3.0..60.0).contains(&unsettled), "{unsettled}");
    let undispatched = seconds("fnbridge_oldest_undispatched_seconds");
    assert!((2.0..unsettled).contains(&undispatched), "{undispatched}");
}

#[test]
fn what_is_over_is_no_longer_shown() {
    let (worker, telemetry) = pipeline();
    everything(&telemetry);
    telemetry.notice(&Notice::SinkBack { sink: SinkId(0) });
    telemetry.notice(&Notice::LettersBack);
    telemetry.source_recovered("cluster_away");
    telemetry.pipeline_stopped();
    let page = exposition(&worker);
    for gone in [
        "fnbridge_missing_right{",
        "fnbridge_source_trouble{",
        "fnbridge_lag_records{",
    ] {
        assert!(!page.contains(gone), "{gone} in\n{page}");
    }
    assert!(page.contains("fnbridge_sink_blocked{pipeline=\"orders-enrich\",sink=\"enriched\"} 0"));
    assert!(page.contains("fnbridge_pipeline_running{pipeline=\"orders-enrich\"} 0"));
    assert!(page.contains("fnbridge_polled_records_total{"));
}

#[test]
fn a_pipeline_that_starts_again_finds_out_anew_what_stands_in_its_way() {
    let (worker, telemetry) = pipeline();
    everything(&telemetry);
    telemetry.outlet_away(Outlet::Transactions, Voice::Client, &Failure::of("away"), false);
    telemetry.pipeline_joins();
    let page = exposition(&worker);
    for gone in ["fnbridge_missing_right{", "fnbridge_source_trouble{"] {
        assert!(!page.contains(gone), "{gone} in\n{page}");
    }
    for is_fine in [
        "fnbridge_sink_away{pipeline=\"orders-enrich\",sink=\"enriched\"} 0",
        "fnbridge_sink_blocked{pipeline=\"orders-enrich\",sink=\"enriched\"} 0",
        "fnbridge_dead_letters_blocked{pipeline=\"orders-enrich\"} 0",
        "fnbridge_transactions_held{pipeline=\"orders-enrich\"} 0",
    ] {
        assert!(page.contains(is_fine), "{is_fine} in\n{page}");
    }
}

#[test]
fn a_partition_that_comes_back_goes_on_counting() {
    let (worker, telemetry) = pipeline();
    telemetry.assigned(Assignment(1), &source(), 0, &"");
    telemetry.polled(Assignment(1), &[record(0)]);
    telemetry.assigned(Assignment(2), &source(), 1, &"");
    telemetry.polled(Assignment(2), &[record(1)]);
    telemetry.polled(Assignment(1), &[record(0)]);
    let line = "fnbridge_polled_records_total{pipeline=\"orders-enrich\",topic=\"orders\",partition=\"3\"} 2";
    assert!(exposition(&worker).contains(line));
}

#[test]
fn the_status_names_what_stands_in_the_way() {
    let (worker, telemetry) = pipeline();
    everything(&telemetry);
    let status = status::Read::of(worker.find("orders-enrich").unwrap()).whole("w1");
    assert_eq!(status.sinks[0].name, "enriched");
    assert_eq!(status.summary.lag_records, 60);
    assert_eq!(status.summary.undispatched_records, 55);
    assert!(
        (status.summary.busy - 2.0 / 16.0).abs() < 1e-9,
        "{}",
        status.summary.busy
    );
    let used = |limit: &str| {
        status
            .limits
            .iter()
            .find(|used| used.limit == limit)
            .map(|used| (used.used, used.of))
    };
    assert_eq!(used("limits.records_per_second"), Some((9.5, Some(10.0))));
    assert_eq!(used("limits.bytes_per_second"), Some((950.0, None)));
    let partition = &status.holds[0];
    assert_eq!(partition.totals["dead_lettered"], 4);
    assert!(
        partition.stands_first.contains(&"orders/3/42".to_owned()),
        "{partition:?}"
    );
}

#[test]
fn no_key_or_value_is_in_the_log_at_any_level() {
    let log = Log::default();
    let everything_there_is = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(everything_there_is, || everything(&pipeline().1));
    let text = String::from_utf8(lock(&log.0).clone()).unwrap();
    for said in [
        "record given up",
        "guard tripped",
        "lane blocked",
        "orders/3/42",
        DENIED,
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert!(!text.contains(SECRET), "{text}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
