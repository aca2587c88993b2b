//! Faults stop: everything settles and is committed, within bounded time.

use fnbridge_delivery::event::Admission;
use fnbridge_delivery::settings::OnExhausted;

use super::function::Health;
use super::log::Kind;
use super::plan::Faults;
use super::worker::Life;
use super::{SinkHealth, World};
use crate::invariants::promise;

/// The longest that a wait that was asked for and a backoff can hold things up, several times over.
const MOST_MS: u64 = 4 * 3600 * 1000;

impl World {
    /// Liveness: heals everything, and goes on until each record is settled and committed.
    pub fn settle(&mut self) {
        self.heal();
        let until = self.now + MOST_MS;
        let mut left = self.unsettled();
        while left.is_some() {
            promise!(
                !self.queue.is_empty(),
                liveness,
                "nothing is going to happen, but {}",
                self.stuck(left)
            );
            promise!(
                self.now < until,
                liveness,
                "after {MOST_MS} ms without faults, {}",
                self.stuck(left)
            );
            for _ in 0..20 {
                self.happen();
            }
            if self.plan.operator_ends_it {
                self.skip_what_is_stuck();
            }
            left = self.unsettled();
        }
    }

    fn heal(&mut self) {
        self.history_now(|| "everything is healed".into());
        self.plan.faults = Faults::default();
        self.function = Health::Well;
        self.sinks.iter_mut().for_each(|sink| *sink = SinkHealth::Well);
        self.letters_well = true;
        for worker in 0..self.workers.len() {
            self.notices(worker);
            if self.workers[worker].paused {
                self.take(super::Happening::Unpause { worker });
            }
        }
        if !self.plan.operator_ends_it {
            self.heal_records();
        }
        (0..self.logs.len()).for_each(|partition| self.wake_fetcher(partition));
    }

    fn heal_records(&mut self) {
        self.sinks_refuse = false;
        let unconvertible = |e: &super::log::Entry| matches!(e.admission, Admission::Refused { .. });
        let held_up = self.logs.iter().any(|log| log.entries.iter().any(unconvertible))
            || self.plan.settings[0].on_exhausted == OnExhausted::Block;
        for entry in self.logs.iter_mut().flat_map(|log| &mut log.entries) {
            if matches!(
                entry.kind,
                Kind::Poison | Kind::Refused | Kind::TooLarge | Kind::AskAgain(..)
            ) {
                entry.kind = Kind::Deliver;
            }
        }
        // What only an operator can free is freed by starting anew.
        if held_up {
            self.plan
                .settings
                .iter_mut()
                .for_each(|settings| settings.guard.refused = u32::MAX);
            let live = self.live();
            live.into_iter().for_each(|worker| self.crash(worker));
        }
    }

    /// The first partition of which not everything is committed, and up to where it is.
    fn unsettled(&self) -> Option<(usize, i64)> {
        let end = |p: usize| {
            let log = &self.logs[p];
            log.entries
                .last()
                .map_or(0, |entry| entry.record.offset + 1)
                .max(log.start.min(log.next_offset))
        };
        let open = |p: &usize| self.group.committed[*p].offset < end(*p) && !self.logs[*p].entries.is_empty();
        (0..self.logs.len())
            .find(open)
            .map(|p| (p, self.group.committed[p].offset))
    }

    fn stuck(&self, left: Option<(usize, i64)>) -> String {
        let (partition, offset) = left.unwrap_or_default();
        let owner = self.group.owners[partition];
        let view = owner
            .filter(|o| self.workers[o.worker].life == Life::Live)
            .map(|o| self.workers[o.worker].task.view());
        let held = owner
            .and_then(|o| self.workers[o.worker].held.get(&o.assignment))
            .map(|h| (h.position, h.paused, h.fetching));
        format!(
            "partition {partition} is committed at {offset} of {}; {owner:?} fetched {held:?} and shows {view:#?}",
            self.logs[partition].next_offset
        )
    }
}
