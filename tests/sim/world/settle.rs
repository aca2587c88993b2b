//! Faults stop: everything settles and is committed, within bounded time.

use fnbridge_delivery::event::Admission;
use fnbridge_delivery::settings::OnExhausted;

use super::log::{Entry, Kind};
use super::worker::Life;
use super::{SinkHealth, World};
use crate::history::facts::Fact;
use crate::invariants::promise;
use crate::plan::Faults;

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
        let dirty = (0..self.workers.len()).filter(|w| self.workers[*w].dirty);
        let dirty: Vec<usize> = dirty.collect();
        dirty.into_iter().for_each(|worker| self.advance(worker));
    }

    fn heal(&mut self) {
        self.note(Fact::Healed);
        self.faults = Faults::default();
        self.function_back();
        self.sinks.iter_mut().for_each(|sink| *sink = SinkHealth::Well);
        self.letters_well = true;
        for worker in 0..self.workers.len() {
            self.notices(worker);
            if self.workers[worker].paused {
                self.unpause(worker);
            }
        }
        if !self.plan.operator_ends_it {
            self.heal_records();
        }
        (0..self.logs.len()).for_each(|partition| self.wake_fetcher(partition));
    }

    fn heal_records(&mut self) {
        self.sinks_refuse = false;
        let unconvertible = |e: &Entry| matches!(e.admission, Admission::Refused { .. });
        let held_up = self.entries().any(unconvertible) || self.plan.settings[0].on_exhausted == OnExhausted::Block;
        let logs = self.logs.iter_mut().flat_map(|logs| &mut logs.all);
        for entry in logs.flat_map(|log| &mut log.entries) {
            if matches!(
                entry.kind,
                Kind::Poison | Kind::Refused | Kind::TooLarge | Kind::AskAgain(..)
            ) {
                entry.kind = Kind::Deliver;
            }
        }
        // What only an operator can free is freed by starting anew.
        if held_up {
            for settings in &mut self.settings {
                std::rc::Rc::make_mut(settings).guard.refused = u32::MAX;
            }
            let live = self.live();
            live.into_iter().for_each(|worker| self.crash(worker));
        }
    }

    /// The first partition of which not everything is committed, and up to where it is.
    fn unsettled(&self) -> Option<(usize, i64)> {
        let end = |p: usize| {
            let log = self.logs[p].now();
            log.entries
                .last()
                .map_or(0, |entry| entry.record.offset + 1)
                .max(log.start.min(log.next_offset))
        };
        let open = |p: &usize| {
            // Where all that ever came is gone, there may be nothing to commit.
            let log = self.logs[*p].now();
            let none = log.entries.last().is_none_or(|last| last.record.offset < log.start);
            let gone = none && self.group.committed[*p].is_none();
            let behind = self.group.committed_at(*p) < end(*p) && !log.entries.is_empty() && !gone;
            behind || self.is_unnoticed(*p)
        };
        (0..self.logs.len()).find(open).map(|p| (p, self.group.committed_at(p)))
    }

    fn stuck(&self, left: Option<(usize, i64)>) -> String {
        let (partition, offset) = left.unwrap_or_default();
        let owner = self.group.owners[partition].map(|owner| &self.workers[owner]);
        let view = owner.filter(|w| w.life == Life::Live).map(|w| w.task.view());
        let desk = owner.map(|w| &w.source.desk);
        format!(
            "partition {partition} is committed at {offset} of {}; its owner has {desk:?} and shows {view:#?}",
            self.logs[partition].now().next_offset
        )
    }
}
