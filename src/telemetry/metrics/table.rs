//! Every metric, once: name, kind, unit, labels, help, and where its value is read at a scrape.

use std::time::UNIX_EPOCH;

use super::metric::{Kind, Metric, Read, Unit};
use super::state::{GUARDS, OUTCOMES, Phase, RECEIPTS, STAGES, TRANSACTIONS, lock};
use crate::delivery::answer::Disposition;
use crate::delivery::event::Usage;
use crate::telemetry::troubles::Outlet;

const WORKER: &[&str] = &[];
const PIPELINE: &[&str] = &["pipeline"];
const LETTERS: &[&str] = &["pipeline", "stage", "group"];
const SINK: &[&str] = &["pipeline", "sink"];
const PARTITION: &[&str] = &["pipeline", "topic", "partition"];

/// All metrics, in the order in which a record meets them.
pub(crate) const TABLE: &[Metric] = &[
    Metric {
        name: "fnbridge_build_info",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: &["version"],
        help: "The version that runs.",
        read: Read::Worker(|_, out| out.put(&[env!("CARGO_PKG_VERSION")], 1.0)),
    },
    Metric {
        name: "fnbridge_start_time_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: WORKER,
        help: "When the worker started, in seconds since the Unix epoch.",
        read: Read::Worker(|worker, out| {
            let since = worker.started.duration_since(UNIX_EPOCH).unwrap_or_default();
            out.put(&[], since.as_secs_f64());
        }),
    },
    Metric {
        name: "fnbridge_pipeline_info",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: &["pipeline", "revision"],
        help: "The document that runs; its labels are here as `label_<name>`, to be joined with other metrics.",
        read: Read::Pipeline(|seen, out| {
            let facts = lock(&seen.state.facts);
            out.info(&[seen.name(), &facts.revision], &facts.labels);
        }),
    },
    Metric {
        name: "fnbridge_pipeline_running",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: PIPELINE,
        help: "1 while the pipeline runs, 0 while it waits for something that it can't start without, or has stopped.",
        read: Read::Pipeline(|seen, out| out.flag(&[seen.name()], seen.state.phase() == Phase::Running)),
    },
    // Kafka, the way in.
    Metric {
        name: "fnbridge_assigned_partitions",
        kind: Kind::Gauge,
        unit: Unit::Things,
        labels: PIPELINE,
        help: "Partitions that this worker holds.",
        read: Read::Pipeline(|seen, out| out.put(&[seen.name()], seen.held().len() as f64)),
    },
    Metric {
        name: "fnbridge_rebalanced_partitions_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: &["pipeline", "change"],
        help: "Partitions that rebalances gave (`assigned`), took back (`revoked`), or had taken already (`lost`).",
        read: Read::Pipeline(|seen, out| {
            out.count(&[seen.name(), "assigned"], seen.state.partitions_assigned.get());
            out.count(&[seen.name(), "revoked"], seen.state.partitions_revoked.get());
            out.count(&[seen.name(), "lost"], seen.state.partitions_lost.get());
        }),
    },
    Metric {
        name: "fnbridge_source_trouble",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: &["pipeline", "kind"],
        help: "1 while something stands in the way of reading; the log says what to do about it.",
        read: Read::Pipeline(|seen, out| {
            for kind in lock(&seen.state.standing).source.keys() {
                out.flag(&[seen.name(), kind], true);
            }
        }),
    },
    Metric {
        name: "fnbridge_source_troubles_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: &["pipeline", "kind"],
        help: "How often something in the way of reading was reported.",
        read: Read::Pipeline(|seen, out| {
            for (kind, times) in &*lock(&seen.state.troubles) {
                out.count(&[seen.name(), kind], *times);
            }
        }),
    },
    Metric {
        name: "fnbridge_missing_right",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: &["pipeline", "right"],
        help: "1 while Kafka refuses a right; `right` is what to grant.",
        read: Read::Pipeline(|seen, out| {
            for right in seen.state.missing_rights() {
                out.flag(&[seen.name(), &right], true);
            }
        }),
    },
    Metric {
        name: "fnbridge_polled_records_total",
        kind: Kind::Counter,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Records taken from Kafka.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.polled_records.get())),
    },
    Metric {
        name: "fnbridge_polled_bytes_total",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: PARTITION,
        help: "Bytes of keys, values and headers taken from Kafka, with a fixed share a record for keeping it.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.polled_bytes.get())),
    },
    Metric {
        name: "fnbridge_overtaken_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PARTITION,
        help: "How often Kafka's retention removed records before they were read; how many stands in \
               `fnbridge_settled_records_total{disposition=\"expired\"}`.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.overtaken.get())),
    },
    Metric {
        name: "fnbridge_memo_unusable_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PARTITION,
        help: "How often the memo beside the committed offset could not be used, so that settled work was done again.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.memos_unusable.get())),
    },
    Metric {
        name: "fnbridge_lag_records",
        kind: Kind::Gauge,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Offsets between the committed one and the end of the log, as Kafka's own tools count.",
        read: Read::Held(|_, held| held.lag_records().map(|records| records as f64)),
    },
    Metric {
        name: "fnbridge_lag_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: PARTITION,
        help: "The age of the oldest unsettled record, by its own timestamp; where none has arrived of what the log has, how \
               long that has been so; 0 where all is settled.",
        read: Read::Held(|seen, held| Some(seen.lag_seconds(held))),
    },
    Metric {
        name: "fnbridge_paused",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: PARTITION,
        help: "1 while fetching is paused, because what is held has reached its bounds.",
        read: Read::Held(|_, held| Some(f64::from(u8::from(held.view.paused)))),
    },
    Metric {
        name: "fnbridge_undispatched_records",
        kind: Kind::Gauge,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Records that wait for a call, here or in the log: what more workers would take up.",
        read: Read::Held(|_, held| Some(held.undispatched_records() as f64)),
    },
    Metric {
        name: "fnbridge_oldest_undispatched_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: PARTITION,
        help: "The age of the oldest of them, by its own timestamp; 0 where none waits.",
        read: Read::Held(|seen, held| Some(seen.undispatched_seconds(held))),
    },
    // Inside.
    Metric {
        name: "fnbridge_waiting_records",
        kind: Kind::Gauge,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Records that wait for a call.",
        read: Read::Held(|_, held| Some(held.view.waiting as f64)),
    },
    Metric {
        name: "fnbridge_in_flight_records",
        kind: Kind::Gauge,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Records that a call on the wire carries.",
        read: Read::Held(|_, held| Some(held.view.in_flight as f64)),
    },
    Metric {
        name: "fnbridge_unsettled_records",
        kind: Kind::Gauge,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Records that arrived and have no durable disposition yet.",
        read: Read::Held(|_, held| Some(held.view.unsettled as f64)),
    },
    Metric {
        name: "fnbridge_oldest_unsettled_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: PARTITION,
        help: "How long the oldest unsettled record has been in this worker; 0 where there is none.",
        read: Read::Held(|seen, held| Some(seen.oldest_age_seconds(held))),
    },
    Metric {
        name: "fnbridge_partition_held_bytes",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: PARTITION,
        help: "Bytes held for a partition.",
        read: Read::Held(|_, held| Some(held.view.held_bytes as f64)),
    },
    Metric {
        name: "fnbridge_held_bytes",
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: PIPELINE,
        help: "Bytes of records, requests and held results.",
        read: Read::Pipeline(|seen, out| out.viewed(seen, |view| view.held_bytes as f64)),
    },
    Metric {
        name: "fnbridge_limit",
        kind: Kind::Gauge,
        unit: Unit::Things,
        labels: &["pipeline", "limit"],
        help: "What the pipeline may use on this worker, by the limit's name in its document and in that limit's own unit; \
               a limit that is not set is not here. `limits.in_flight_bytes` is its share, where others need theirs.",
        read: Read::Pipeline(|seen, out| {
            for (limit, used) in seen.usage().iter().flat_map(Usage::by_name) {
                if let Some(of) = used.limit {
                    out.put(&[seen.name(), limit], of);
                }
            }
        }),
    },
    Metric {
        name: "fnbridge_limit_used",
        kind: Kind::Gauge,
        unit: Unit::Things,
        labels: &["pipeline", "limit"],
        help: "What the pipeline uses of it: what goes a second as the mean of the last five, all else as it stands.",
        read: Read::Pipeline(|seen, out| {
            for (limit, used) in seen.usage().iter().flat_map(Usage::by_name) {
                out.put(&[seen.name(), limit], used.used);
            }
        }),
    },
    Metric {
        name: "fnbridge_throttled",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: PIPELINE,
        help: "1 while records that could go wait for `limits.records_per_second` or `limits.bytes_per_second`.",
        read: Read::Pipeline(|seen, out| out.viewed(seen, |view| f64::from(u8::from(view.usage.throttled)))),
    },
    // The function.
    Metric {
        name: "fnbridge_in_flight_calls",
        kind: Kind::Gauge,
        unit: Unit::Things,
        labels: PIPELINE,
        help: "Calls on the wire.",
        read: Read::Pipeline(|seen, out| out.viewed(seen, |view| view.calls_in_flight as f64)),
    },
    Metric {
        name: "fnbridge_concurrency_calls",
        kind: Kind::Gauge,
        unit: Unit::Things,
        labels: PIPELINE,
        help: "How many calls may be on the wire; it falls while the function says that it is busy.",
        read: Read::Pipeline(|seen, out| out.viewed(seen, |view| view.concurrency as f64)),
    },
    Metric {
        name: "fnbridge_attempts_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: &["pipeline", "topic", "partition", "outcome"],
        help: "Calls of the function that ended, by what they came to.",
        read: Read::Partition(|seen, p, out| {
            for (outcome, count) in OUTCOMES.iter().zip(&p.attempts) {
                out.of_which(seen, p, outcome.name(), count.get());
            }
        }),
    },
    Metric {
        name: "fnbridge_attempted_records_total",
        kind: Kind::Counter,
        unit: Unit::Records,
        labels: PARTITION,
        help: "Records that these calls carried.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.attempted_records.get())),
    },
    Metric {
        name: "fnbridge_retries_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PARTITION,
        help: "Calls that carried a record not for the first time.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.retries.get())),
    },
    Metric {
        name: "fnbridge_bisections_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PARTITION,
        help: "Batches that were halved to find the record that fails.",
        read: Read::Partition(|seen, p, out| out.of(seen, p, p.bisections.get())),
    },
    Metric {
        name: "fnbridge_call_duration_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &["pipeline", "outcome"],
        help: "How long calls of the function took, from the request to the end of the answer.",
        read: Read::Pipeline(|seen, out| {
            for (outcome, calls) in OUTCOMES.iter().zip(&seen.state.calls) {
                out.histogram(&[seen.name(), outcome.name()], calls);
            }
        }),
    },
    Metric {
        name: "fnbridge_breaker_open",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: PIPELINE,
        help: "1 while the breaker is open: the function is away, and only probes go out.",
        read: Read::Pipeline(|seen, out| out.viewed(seen, |view| f64::from(u8::from(view.breaker_open)))),
    },
    Metric {
        name: "fnbridge_breaker_opened_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PIPELINE,
        help: "How often the breaker opened.",
        read: Read::Pipeline(|seen, out| out.count(&[seen.name()], seen.state.breaker_opened.get())),
    },
    Metric {
        name: "fnbridge_guard_tripped",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: &["pipeline", "guard"],
        help: "1 while a guard keeps records from being given up: too many were, with no success between.",
        read: Read::Pipeline(|seen, out| {
            let guards = seen.published.as_ref().map(|p| &p.view.guards);
            for guard in GUARDS {
                let tripped = guards.is_some_and(|guards| guards.iter().any(|(kind, _)| *kind == guard));
                out.flag(&[seen.name(), guard.name()], tripped);
            }
        }),
    },
    Metric {
        name: "fnbridge_guard_tripped_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: &["pipeline", "guard"],
        help: "How often a guard tripped.",
        read: Read::Pipeline(|seen, out| {
            for (guard, count) in GUARDS.iter().zip(&seen.state.guards_tripped) {
                out.count(&[seen.name(), guard.name()], count.get());
            }
        }),
    },
    Metric {
        name: "fnbridge_blocked_lanes_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PIPELINE,
        help: "How often a lane was blocked until an operator acts.",
        read: Read::Pipeline(|seen, out| out.count(&[seen.name()], seen.state.lanes_blocked.get())),
    },
    Metric {
        name: "fnbridge_waits_for_oldest_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: PIPELINE,
        help: "How often a partition had to wait for its oldest record, or the memo would have become too long.",
        read: Read::Pipeline(|seen, out| out.count(&[seen.name()], seen.state.waits_for_oldest.get())),
    },
    // The way out.
    Metric {
        name: "fnbridge_sink_duration_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: SINK,
        help: "How long requests to a sink took, until the last receipt.",
        read: Read::Sink(|seen, sink, out| out.histogram(&[seen.name(), &sink.name], &sink.requests)),
    },
    Metric {
        name: "fnbridge_sink_records_total",
        kind: Kind::Counter,
        unit: Unit::Records,
        labels: &["pipeline", "sink", "receipt"],
        help: "Records whose results a sink answered for, by what it said.",
        read: Read::Sink(|seen, sink, out| {
            for (receipt, count) in RECEIPTS.iter().zip(&sink.receipts) {
                out.count(&[seen.name(), &sink.name, receipt], count.get());
            }
        }),
    },
    Metric {
        name: "fnbridge_sink_away",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: SINK,
        help: "1 while a sink does not take results, and is waited for.",
        read: Read::Sink(|seen, sink, out| {
            let trouble = seen.state.trouble(sink.outlet);
            out.flag(&[seen.name(), &sink.name], trouble.is_some());
        }),
    },
    Metric {
        name: "fnbridge_sink_blocked",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: SINK,
        help: "1 while waiting alone won't bring a sink back: a wrong address, or a right that is missing.",
        read: Read::Sink(|seen, sink, out| {
            let trouble = seen.state.trouble(sink.outlet);
            out.flag(
                &[seen.name(), &sink.name],
                trouble.is_some_and(|trouble| trouble.blocked),
            );
        }),
    },
    Metric {
        name: "fnbridge_dead_letters_total",
        kind: Kind::Counter,
        unit: Unit::Records,
        labels: &["pipeline", "topic", "partition", "stage"],
        help: "Records that were given up, by stage; `fnbridge_settled_records_total{disposition=\"dead_lettered\"}` counts \
               those that stand in the dead-letter topic.",
        read: Read::Partition(|seen, p, out| {
            for (stage, count) in STAGES.iter().zip(&p.given_up) {
                out.of_which(seen, p, stage.name(), count.get());
            }
        }),
    },
    Metric {
        name: "fnbridge_dead_letter_duration_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: PIPELINE,
        help: "How long it took to write a dead letter.",
        read: Read::Pipeline(|seen, out| out.histogram(&[seen.name()], &seen.state.letters)),
    },
    Metric {
        name: "fnbridge_dead_letters_blocked",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: PIPELINE,
        help: "1 while the dead-letter topic can't be written, and the pipeline waits for it.",
        read: Read::Pipeline(|seen, out| {
            let trouble = seen.state.trouble(Outlet::DeadLetters);
            out.flag(&[seen.name()], trouble.is_some());
        }),
    },
    Metric {
        name: "fnbridge_transaction_duration_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &["pipeline", "end"],
        help: "How long transactions of a pipeline that delivers exactly once took, by how they ended; after one that ended \
               `undecided` the pipeline begins anew at what is committed.",
        read: Read::Pipeline(|seen, out| {
            for (end, took) in TRANSACTIONS.iter().zip(&seen.state.transactions) {
                out.histogram(&[seen.name(), end], took);
            }
        }),
    },
    Metric {
        name: "fnbridge_transactions_held",
        kind: Kind::Gauge,
        unit: Unit::Flag,
        labels: PIPELINE,
        help: "1 while transactions come to nothing for a reason that is no sink's and no dead letter's.",
        read: Read::Pipeline(|seen, out| {
            let trouble = seen.state.trouble(Outlet::Transactions);
            out.flag(&[seen.name()], trouble.is_some());
        }),
    },
    Metric {
        name: "fnbridge_settled_records_total",
        kind: Kind::Counter,
        unit: Unit::Records,
        labels: &["pipeline", "topic", "partition", "disposition"],
        help: "Records whose disposition is durable.",
        read: Read::Partition(|seen, p, out| {
            for (disposition, count) in Disposition::ALL.iter().zip(&p.settled) {
                out.of_which(seen, p, disposition.name(), count.get());
            }
        }),
    },
    Metric {
        name: "fnbridge_commits_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: &["pipeline", "topic", "partition", "outcome"],
        help: "Commits of a partition's offset and memo, `accepted` or `refused`.",
        read: Read::Partition(|seen, p, out| {
            out.of_which(seen, p, "accepted", p.commits.get());
            out.of_which(seen, p, "refused", p.commits_refused.get());
        }),
    },
    Metric {
        name: "fnbridge_committed_offset",
        kind: Kind::Gauge,
        unit: Unit::Things,
        labels: PARTITION,
        help: "The last offset that was committed, or where reading started.",
        read: Read::Held(|_, held| Some(held.view.committed as f64)),
    },
    Metric {
        name: "fnbridge_drain_duration_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &["pipeline", "end"],
        help: "How long it took to drain a partition that is given away, `in_time` or `cut_off` by the deadline.",
        read: Read::Pipeline(|seen, out| {
            let [cut_off, in_time] = &seen.state.drains;
            out.histogram(&[seen.name(), "in_time"], in_time);
            out.histogram(&[seen.name(), "cut_off"], cut_off);
        }),
    },
    Metric {
        name: "fnbridge_late_discarded_total",
        kind: Kind::Counter,
        unit: Unit::Times,
        labels: &["pipeline", "what"],
        help: "Answers, receipts and commits that arrived for an assignment that is over, and were discarded.",
        read: Read::Pipeline(|seen, out| {
            for (what, times) in &*lock(&seen.state.late) {
                out.count(&[seen.name(), what], *times);
            }
        }),
    },
    Metric {
        name: "fnbridge_dead_letters_open",
        kind: Kind::Gauge,
        unit: Unit::Records,
        labels: LETTERS,
        help: "Dead letters of the fleet that somebody has to see to, told by the worker that leads; the group `other` holds those \
               beyond a pipeline's 50 largest groups.",
        read: Read::Worker(|worker, out| worker.letters.put_open(out)),
    },
    Metric {
        name: "fnbridge_dead_letters_oldest_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: PIPELINE,
        help: "How long ago the oldest of them was given up.",
        read: Read::Worker(|worker, out| worker.letters.put_ages(out)),
    },
    Metric {
        name: "fnbridge_dead_letters_arrived_total",
        kind: Kind::Counter,
        unit: Unit::Records,
        labels: LETTERS,
        help: "Dead letters that were written to the fleet's topics while this worker led.",
        read: Read::Worker(|worker, out| worker.letters.put_arrived(out)),
    },
    Metric {
        name: "fnbridge_trace_spans_total",
        kind: Kind::Counter,
        unit: Unit::Things,
        labels: &["outcome"],
        help: "Spans sent to the OTLP endpoint, `exported` or `failed`.",
        read: Read::Worker(|worker, out| {
            out.count(&["exported"], worker.spans_exported.get());
            out.count(&["failed"], worker.spans_failed.get());
        }),
    },
];
