//! The status, from what a pipeline counts and last published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::doing::{Around, Doing};
use super::{LimitUse, PartitionStatus, Phase, SinkStatus, TaskStatus, TaskSummary};
use crate::delivery::answer::Disposition;
use crate::delivery::event::{Used, View};
use crate::telemetry::metrics;
use crate::telemetry::metrics::seen::{Held, Seen};
use crate::telemetry::metrics::state::{self, PipelineState, lock};
use crate::telemetry::troubles::Outlet;

/// All pipelines that this worker runs or has run, by name.
pub fn summaries() -> BTreeMap<String, TaskSummary> {
    let all = metrics::worker().pipelines();
    all.into_iter()
        .map(|state| (state.name.to_string(), Read::of(state).summary()))
        .collect()
}

/// One pipeline in a line, where this worker has it.
pub fn summary(pipeline: &str) -> Option<TaskSummary> {
    metrics::worker().find(pipeline).map(|state| Read::of(state).summary())
}

/// One pipeline, whole, where this worker has it.
pub fn task(worker: &str, pipeline: &str) -> Option<TaskStatus> {
    metrics::worker()
        .find(pipeline)
        .map(|state| Read::of(state).whole(worker))
}

/// A pipeline that runs and has shown nothing for this long, if there is one.
pub fn stuck(after: Duration) -> Option<String> {
    let is_stuck = |state: &Arc<PipelineState>| {
        let shown = state.published().map(|published| published.taken.elapsed());
        state.phase() == state::Phase::Running && shown.is_some_and(|ago| ago > after)
    };
    let all = metrics::worker().pipelines();
    all.iter()
        .find(|state| is_stuck(state))
        .map(|state| state.name.to_string())
}

/// A pipeline at the moment of a look.
pub(in crate::telemetry) struct Read {
    seen: Seen,
    around: Around,
    standing: state::Standing,
    facts: state::Facts,
}

impl Read {
    pub(in crate::telemetry) fn of(state: Arc<PipelineState>) -> Read {
        let seen = Seen::new(state);
        let state = &seen.state;
        let (standing, facts) = (lock(&state.standing).clone(), lock(&state.facts).clone());
        let stands = |outlet| standing.trouble(outlet).is_some();
        let around = Around {
            paused: state.paused.get(),
            letters_blocked: stands(Outlet::DeadLetters),
            sink_away: stands(Outlet::Transactions) || state.sinks.iter().any(|sink| stands(sink.outlet)),
        };
        Read {
            seen,
            around,
            standing,
            facts,
        }
    }

    fn view(&self) -> Option<&View> {
        self.seen.published.as_ref().map(|published| &published.view)
    }

    fn doing(&self, held: &Held<'_>) -> Doing {
        let oldest = self.seen.oldest_age_seconds(held);
        self.view().map_or(Doing::Rebalancing, |view| {
            Doing::of(view, held.view, self.around, oldest)
        })
    }

    fn summary(&self) -> TaskSummary {
        let held = self.seen.held();
        let (phase, reason) = self.phase(&held);
        let rates = self.seen.state.rates();
        TaskSummary {
            revision: self.facts.revision.clone(),
            phase,
            reason,
            since: rfc3339(self.seen.state.phase_since()),
            restarts: self.seen.state.restarts.get(),
            partitions: held.len() as u64,
            lag_records: held.iter().filter_map(Held::lag_records).sum(),
            lag_seconds: held.iter().map(|held| self.seen.lag_seconds(held)).fold(0.0, f64::max),
            undispatched_records: held.iter().map(Held::undispatched_records).sum(),
            undispatched_seconds: (held.iter())
                .map(|held| self.seen.undispatched_seconds(held))
                .fold(0.0, f64::max),
            busy: self.view().map_or(0.0, |view| {
                view.calls_in_flight as f64 / view.concurrency.max(view.calls_in_flight).max(1) as f64
            }),
            records_per_second: rates.records_per_second,
            bytes_per_second: rates.bytes_per_second,
        }
    }

    /// How far it has come, and the one thing that explains it best.
    fn phase(&self, held: &[Held<'_>]) -> (Phase, Option<String>) {
        let trouble = || self.standing.source.values().next().cloned();
        match self.seen.state.phase() {
            state::Phase::Starting => (Phase::Starting, None),
            state::Phase::Stopped => (Phase::Stopped, None),
            state::Phase::Waiting => (Phase::Waiting, self.standing.waits.clone().or_else(trouble)),
            state::Phase::Running if self.around.paused => (Phase::Paused, None),
            state::Phase::Running => match held.iter().map(|held| self.doing(held)).find(|doing| doing.stands()) {
                Some(doing) => (Phase::Blocked, self.explained(doing)),
                None if held.is_empty() && self.view().is_none() => (Phase::Rebalancing, trouble()),
                None => (Phase::Running, trouble()),
            },
        }
    }

    /// What explains it, in a sentence.
    fn explained(&self, doing: Doing) -> Option<String> {
        match doing {
            Doing::PausedByBreaker => {
                let failure = self.view()?.breaker_reason.as_ref()?;
                let status = failure
                    .status
                    .map(|status| format!(" (status {status})"))
                    .unwrap_or_default();
                Some(format!(
                    "the function does not work, and is probed: {}{status}",
                    failure.reason
                ))
            }
            Doing::PausedByGuard(guard) => {
                let (_, ids) = self.view()?.guards.iter().find(|(other, _)| *other == guard)?;
                Some(format!(
                    "the guard {} has tripped: too many records in a row were given up; {} stands first",
                    guard.name(),
                    ids.first().map_or("none", String::as_str)
                ))
            }
            Doing::BlockedOnDeadLetterTopic => self.stands_against(Outlet::DeadLetters),
            Doing::WaitingForSink => {
                let sinks = self.seen.state.sinks.iter().map(|sink| sink.outlet);
                let mut outlets = std::iter::once(Outlet::Transactions).chain(sinks);
                outlets.find_map(|outlet| self.stands_against(outlet))
            }
            Doing::WaitingForFunction => {
                let last = self.seen.state.last_errors();
                last.first().map(|error| error.reason.clone())
            }
            Doing::Throttled => Some("a limit in records or bytes a second is used up".to_owned()),
            Doing::Running | Doing::Paused | Doing::Rebalancing => None,
        }
    }

    pub(in crate::telemetry) fn whole(&self, worker: &str) -> TaskStatus {
        let state = &self.seen.state;
        TaskStatus {
            worker: worker.to_owned(),
            summary: self.summary(),
            last_errors: state.last_errors(),
            limits: self.limits(),
            sinks: (state.sinks.iter())
                .map(|sink| (sink, self.standing.trouble(sink.outlet)))
                .map(|(sink, trouble)| SinkStatus {
                    name: sink.name.clone(),
                    away: trouble.is_some(),
                    blocked: trouble.is_some_and(|trouble| trouble.blocked),
                })
                .collect(),
            holds: self.seen.held().iter().map(|held| self.partition(held)).collect(),
        }
    }

    fn stands_against(&self, outlet: Outlet) -> Option<String> {
        let trouble = self.standing.trouble(outlet);
        trouble.map(|trouble| trouble.reason.clone())
    }

    fn limits(&self) -> Vec<LimitUse> {
        let usage = self.seen.usage().map(|usage| usage.by_name());
        let used = |(limit, used): (&str, Used)| LimitUse {
            limit: limit.to_owned(),
            used: used.used,
            of: used.limit,
            now: used.now,
        };
        usage.into_iter().flatten().map(used).collect()
    }

    fn partition(&self, held: &Held<'_>) -> PartitionStatus {
        let view = held.view;
        let state = self.seen.state.partition_of(&view.source);
        let doing = self.doing(held);
        let totals = Disposition::ALL.iter().zip(view.totals);
        let stands_first = match (doing.stands(), self.view()) {
            (true, Some(pipeline)) => stands_first(pipeline, held),
            (true, None) | (false, _) => Vec::new(),
        };
        PartitionStatus {
            topic: view.source.topic.to_string(),
            partition: view.source.partition,
            doing: doing.name().to_owned(),
            since: rfc3339(
                state
                    .as_ref()
                    .map_or(SystemTime::now(), |state| state.doing_since(doing)),
            ),
            reason: self.explained(doing),
            stands_first,
            committed: view.committed,
            position: view.position,
            lag_records: held.lag_records(),
            lag_seconds: self.seen.lag_seconds(held),
            waiting: view.waiting as u64,
            in_flight: view.in_flight as u64,
            unsettled: view.unsettled as u64,
            attempts: state.map_or(0, |state| state.attempts.iter().map(metrics::Counter::get).sum()),
            totals: totals.map(|(d, count)| (d.name().to_owned(), count)).collect(),
        }
    }

    /// Notes since when each partition does what it does.
    pub(in crate::telemetry) fn note(&self) {
        for held in self.seen.held() {
            if let Some(state) = self.seen.state.partition_of(&held.view.source) {
                state.doing_since(self.doing(&held));
            }
        }
    }
}

/// The guards' own ids where they have one of this partition, else its committed offset: the first that is not settled.
fn stands_first(pipeline: &View, held: &Held<'_>) -> Vec<String> {
    let of_this = format!("{}/", held.view.source);
    let named: Vec<String> = (pipeline.guards.iter().flat_map(|(_, ids)| ids))
        .filter(|id| id.starts_with(&of_this))
        .cloned()
        .collect();
    match (named.is_empty(), held.view.unsettled) {
        (false, _) => named,
        (true, 0) => Vec::new(),
        (true, _) => vec![format!("{of_this}{}", held.view.committed)],
    }
}

pub(in crate::telemetry) fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
