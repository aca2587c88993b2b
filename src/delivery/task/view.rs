//! What the task looks like from outside.

use super::Task;
use crate::answer::Failure;
use crate::event::{GuardKind, Usage, Used, View};

impl Task {
    /// A picture of the task as it stands, for status pages and gauges.
    pub fn view(&self) -> View {
        let heads = || {
            self.partitions
                .values()
                .filter(|p| !p.entries.is_empty())
                .map(|p| p.oldest_id())
                .collect()
        };
        let guards = [
            (GuardKind::Failed, self.guards.failed.told),
            (GuardKind::Refused, self.guards.refused.told),
            (GuardKind::SinkRefused, self.sinks.guard.told),
        ];
        let open: Option<&Failure> = self.breaker.state().map(|open| &open.failure);
        View {
            usage: self.usage(),
            calls_in_flight: self.calls.len(),
            concurrency: self.concurrency.limit(),
            held_bytes: self.held_bytes,
            breaker_open: open.is_some(),
            breaker_reason: open.cloned(),
            guards: guards
                .into_iter()
                .filter(|(_, told)| *told)
                .map(|(guard, _)| (guard, heads()))
                .collect(),
            partitions: self.partitions.values().map(|partition| partition.view()).collect(),
        }
    }

    fn usage(&self) -> Usage {
        let (records_per_second, bytes_per_second) = self.throttle.used(self.now);
        let of = |used: usize, limit: usize| Used {
            used: used as f64,
            limit: Some(limit as f64),
            now: None,
        };
        let (may_call, most_calls) = (self.concurrency.limit(), self.settings.max_in_flight);
        Usage {
            records_per_second,
            bytes_per_second,
            calls: Used {
                now: (may_call < most_calls).then_some(may_call as f64),
                ..of(self.calls.len(), most_calls)
            },
            held_bytes: of(self.held_bytes, self.share.bound()),
            throttled: self.throttle.until.is_some(),
        }
    }

    /// Bytes of records, requests and held results that it may hold now: its limit, or its share of the worker's.
    pub fn in_flight_bytes(&self) -> usize {
        self.share.bound()
    }

    /// Bytes of records, requests and held results.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}
