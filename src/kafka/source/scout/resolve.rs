//! Where the partitions of an assignment begin.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::topic_partition_list::Offset;

use super::{Finding, Worker};
use crate::delivery::group::{Begin, CommittedOffset, Facts, Place, Resolved, begin};
use crate::kafka::error::KafkaError;
use crate::kafka::source::events::Start;
use crate::kafka::source::trouble::of_error;

/// A leader that does not answer is waited for so many times where the offset is committed anyway, and so many where the
/// log has to say where it begins. The group holds all partitions meanwhile, so the wait has an end.
const ATTEMPTS_WITH_OFFSET: u32 = 3;
const ATTEMPTS_WITHOUT: u32 = 60;

impl Worker {
    pub(super) fn resolve(&self, ticket: u64, places: &[Place]) {
        let Some(committed) = self.insist(|| self.committed(places)) else {
            return;
        };
        let Some(logs) = self.logs(places, &committed) else {
            return;
        };
        let resolved: Vec<Resolved> = (places.iter())
            .map(|place| {
                let committed = committed.get(place).cloned().flatten();
                let facts = Facts {
                    committed: committed.as_ref().map(|c| c.offset),
                    log: logs.get(place).copied(),
                    offsets_are_gone: self.offsets_are_gone.get(),
                };
                Resolved {
                    place: place.clone(),
                    committed,
                    begin: begin(facts),
                }
            })
            .collect();
        self.fix_new(&resolved);
        (self.tell)(Finding::Resolved(ticket, resolved));
    }

    /// Where the logs begin and end, as far as their leaders answer. `None`: it is time to stop.
    fn logs(
        &self,
        places: &[Place],
        committed: &HashMap<Place, Option<CommittedOffset>>,
    ) -> Option<HashMap<Place, (i64, i64)>> {
        let mut known = HashMap::new();
        let mut attempt = 0;
        loop {
            let open: Vec<Place> = places.iter().filter(|p| !known.contains_key(*p)).cloned().collect();
            match self.logs_now(&open) {
                Ok(found) => known.extend(found),
                Err(error) if attempt > ATTEMPTS_WITH_OFFSET => (self.tell)(Finding::Trouble(of_error(&error))),
                Err(_) => {}
            }
            attempt += 1;
            let has_offset = |p: &Place| committed.get(p).is_some_and(Option::is_some);
            let patient = |p: &&Place| {
                attempt
                    < if has_offset(p) {
                        ATTEMPTS_WITH_OFFSET
                    } else {
                        ATTEMPTS_WITHOUT
                    }
            };
            if !places.iter().filter(|p| !known.contains_key(*p)).any(|p| patient(&p)) {
                return Some(known);
            }
            if !self.wait(Duration::from_millis(500).min(Duration::from_millis(20) * attempt * attempt)) {
                return None;
            }
        }
    }

    fn logs_now(&self, places: &[Place]) -> Result<HashMap<Place, (i64, i64)>, KafkaError> {
        let (lows, highs) = (
            self.offsets(places, Offset::Beginning)?,
            self.offsets(places, Offset::End)?,
        );
        let both = |place: &Place| match (lows.get(place), highs.get(place)) {
            (Some(Ok(low)), Some(Ok(high))) => Some((place.clone(), (*low, *high))),
            _ => None,
        };
        Ok(places.iter().filter_map(both).collect())
    }

    /// A partition that is new to the group starts at its beginning; so that a crash before the first commit does not
    /// make `start` apply to it after all, the beginning is committed now.
    fn fix_new(&self, resolved: &[Resolved]) {
        if self.settings.start == Start::Earliest {
            return;
        }
        let new = resolved.iter().filter_map(|r| match r.begin {
            Begin::NewPartition(low) | Begin::OffsetsGone(low) => Some((r.place.clone(), low)),
            Begin::Committed(_) | Begin::Recreated { .. } | Begin::Overtaken { .. } | Begin::Unknown => None,
        });
        let new: Vec<_> = new.collect();
        if !new.is_empty()
            && let Err(error) = self.commit_offsets(&new)
        {
            (self.tell)(Finding::Trouble(of_error(&error)));
        }
    }
}
