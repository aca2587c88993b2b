//! How a pipeline stands, as JSON: read-only, and without anything of a record but its id.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::metrics::seen::{Held, Seen};
use super::metrics::state::{PipelineState, lock};
use crate::delivery::answer::Disposition;
use crate::delivery::event::{Usage, Used};

/// A pipeline in a list.
pub(super) fn summary(state: Arc<PipelineState>) -> Value {
    let seen = Seen::new(state);
    let held = seen.held();
    let lag = held.iter().filter_map(Held::lag_records).sum::<i64>();
    let oldest = held.iter().map(|held| seen.lag_seconds(held)).fold(0.0, f64::max);
    json!({
        "name": seen.name(),
        "phase": seen.state.phase().name(),
        "partitions": held.len(),
        "lag_records": lag,
        "lag_seconds": oldest,
    })
}

/// All that is known of a pipeline on this worker.
pub(super) fn whole(state: Arc<PipelineState>) -> Value {
    let seen = Seen::new(state);
    let standing = lock(&seen.state.standing).clone();
    let facts = lock(&seen.state.facts).clone();
    let view = seen.published.as_ref().map(|published| &published.view);
    let breaker = view.filter(|view| view.breaker_open).map(|view| {
        let failure = view.breaker_reason.as_ref();
        json!({"reason": failure.map(|f| &f.reason), "status": failure.and_then(|f| f.status)})
    });
    let guards = view.map_or_else(Map::new, |view| {
        let stands_first = |(guard, ids): &(_, Vec<String>)| (guard_name(guard), json!(ids));
        view.guards.iter().map(stands_first).collect()
    });
    json!({
        "name": seen.name(),
        "revision": facts.revision,
        "labels": facts.labels,
        "phase": seen.state.phase().name(),
        "troubles": standing.source,
        "missing_rights": seen.state.missing_rights(),
        "breaker_open": breaker,
        "guards_tripped": guards,
        "dead_letters_blocked": seen.state.letters_blocked.get(),
        "sinks": seen.state.sinks.iter().map(|sink| json!({
            "name": sink.name,
            "away": sink.away.get(),
            "blocked": sink.blocked.get(),
        })).collect::<Vec<_>>(),
        "calls_in_flight": view.map_or(0, |view| view.calls_in_flight),
        "concurrency": view.map_or(0, |view| view.concurrency),
        "held_bytes": view.map_or(0, |view| view.held_bytes),
        "limits": seen.usage().map_or_else(Map::new, |usage| limits(&usage)),
        "throttled": seen.usage().is_some_and(|usage| usage.throttled),
        "partitions": seen.held().iter().map(|held| partition(&seen, held)).collect::<Vec<_>>(),
    })
}

/// What is used of each limit, and of what; null where there is none.
fn limits(usage: &Usage) -> Map<String, Value> {
    let shown = |used: Used| json!({"used": used.used, "of": used.limit});
    (usage.by_name().into_iter())
        .map(|(name, used)| (name.to_owned(), shown(used)))
        .collect()
}

fn guard_name(guard: &crate::delivery::event::GuardKind) -> String {
    guard.name().to_owned()
}

fn partition(seen: &Seen, held: &Held<'_>) -> Value {
    let view = held.view;
    let totals = Disposition::ALL.iter().zip(view.totals);
    let totals: Map<String, Value> = totals.map(|(d, count)| (d.name().to_owned(), json!(count))).collect();
    json!({
        "topic": &*view.source.topic,
        "partition": view.source.partition,
        "committed": view.committed,
        "position": view.position,
        "lag_records": held.lag_records(),
        "lag_seconds": seen.lag_seconds(held),
        "oldest_unsettled_seconds": seen.oldest_age_seconds(held),
        "waiting": view.waiting,
        "in_flight": view.in_flight,
        "unsettled": view.unsettled,
        "held_bytes": view.held_bytes,
        "paused": view.paused,
        "draining": view.draining,
        "totals": totals,
    })
}
