//! Everything is bounded: calls and requests on the wire, memos, and commits, one at a time.

use std::collections::BTreeMap;

use fnbridge_delivery::memo::MAX_CHARS;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::Fact;

const MOST_REQUESTS: usize = 64;
const MOST_ITEMS: usize = 1_000;

#[derive(Default)]
pub(super) struct Bounds {
    /// By worker: when it asked for the commit that has not been answered.
    commits: BTreeMap<usize, u64>,
}

impl Promise for Bounds {
    fn name(&self) -> &'static str {
        "everything_is_bounded"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Called { worker, .. } => {
                let on_wire = seen.calls.keys().filter(|(of, _)| of == worker).count() + 1;
                let most = seen.settings[worker].max_in_flight;
                holds!(
                    on_wire <= most,
                    "worker {worker} has {on_wire} calls on the wire, {most} may be"
                );
            }
            Fact::Asked {
                worker, sink, items, ..
            } => {
                let of_it = (seen.stores.iter()).filter(|((of, _), store)| of == worker && store.sink == *sink);
                let requests = of_it.count() + 1;
                holds!(
                    requests <= MOST_REQUESTS,
                    "sink {sink} has {requests} requests of worker {worker}"
                );
                holds!(items.len() <= MOST_ITEMS, "a request of {} records", items.len());
            }
            Fact::CommitAsked { worker, chars, .. } => {
                holds!(*chars <= MAX_CHARS, "a memo of {chars} characters");
                let since = self.commits.entry(*worker).or_insert(now.at);
                holds!(*since == now.at, "worker {worker} commits while a commit is in flight");
            }
            Fact::CommitTold { worker, .. } => drop(self.commits.remove(worker)),
            _ => {}
        }
        Ok(())
    }
}
