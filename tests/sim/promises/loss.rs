//! Nothing is lost: no offset is committed past a record that is not settled, nor is one said to be settled ahead.

use std::collections::BTreeMap;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Place};

#[derive(Default)]
pub(super) struct NothingIsLost {
    /// Up to where each log was looked at.
    passed: BTreeMap<(usize, usize), i64>,
}

impl Promise for NothingIsLost {
    fn name(&self) -> &'static str {
        "nothing_is_lost"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        let Fact::Committed {
            worker,
            assignment,
            offset,
            memo,
        } = &now.fact
        else {
            return Ok(());
        };
        let Some(held) = seen.holdings.get(assignment) else {
            return Err(format!("#{} is committed, and was never given", assignment.0));
        };
        let (partition, log) = (held.partition, held.log);
        let passed = self.passed.entry((partition, log)).or_default();
        holds!(
            *offset >= *passed || seen.cut_off.contains(worker),
            "partition {partition} goes back from {passed} to {offset}"
        );
        let entries = &seen.logs[partition].all[log];
        let newly = entries.entries[entries.at_or_behind(*passed)..]
            .iter()
            .map(|entry| entry.record.offset);
        let newly = newly.take_while(|at| at < offset);
        for at in newly.chain(memo.settled.iter().copied()) {
            let place = Place {
                partition,
                log,
                offset: at,
            };
            holds!(
                seen.is_settled(place, &seen.settings[worker]),
                "a commit of {offset} passes {place}, which is not settled"
            );
        }
        *passed = (*passed).max(*offset);
        Ok(())
    }

    fn end(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        for (partition, logs) in seen.logs.iter().enumerate() {
            let log = logs.now();
            let passed = self.passed.get(&(partition, log.incarnation)).copied().unwrap_or(0);
            if let Some(entry) = log.entries.last() {
                let offset = entry.record.offset;
                let place = Place {
                    partition,
                    log: log.incarnation,
                    offset,
                };
                holds!(
                    passed > offset || seen.is_expired(place),
                    "partition {partition} is committed up to {passed}, and has {offset}"
                );
            }
        }
        Ok(())
    }
}
