//! The commit in flight: only what is held is sent, and each entry has its own outcome.

use super::{Desk, GroupEvent, Place};
use crate::event::{Assignment, CommitEntry};

/// The commit in flight.
#[derive(Debug, Default)]
pub struct Commits {
    waiting: Vec<(Place, Assignment)>,
    refused: Vec<(Assignment, Result<(), String>)>,
}

impl Commits {
    /// What is to be sent: what is held. If that is nothing, the answer is there at once.
    pub fn take<E: From<GroupEvent>>(
        &mut self,
        entries: Vec<CommitEntry>,
        desk: &Desk,
        events: &mut Vec<E>,
    ) -> Vec<CommitEntry> {
        if self.in_flight() {
            let busy = "another commit of this source is in flight".to_owned();
            let outcomes = entries.iter().map(|e| (e.assignment, Err(busy.clone()))).collect();
            events.push(GroupEvent::Committed { outcomes }.into());
            return Vec::new();
        }
        let (held, gone): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| desk.get(e.assignment).is_some());
        let not_held = |e: CommitEntry| (e.assignment, Err(format!("{} is not held any more", e.source)));
        self.refused = gone.into_iter().map(not_held).collect();
        self.waiting = held
            .iter()
            .map(|e| ((e.source.topic.to_string(), e.source.partition), e.assignment))
            .collect();
        if held.is_empty() {
            let outcomes = std::mem::take(&mut self.refused);
            events.push(GroupEvent::Committed { outcomes }.into());
        }
        held
    }

    /// Something was sent, and not answered yet.
    pub fn in_flight(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The partitions that were sent.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.waiting.iter().map(|(place, _)| place)
    }

    /// The commit has ended.
    pub fn finish<E: From<GroupEvent>>(
        &mut self,
        desk: &mut Desk,
        events: &mut Vec<E>,
        outcome: impl Fn(&Place) -> Result<(), String>,
    ) {
        let mut outcomes = std::mem::take(&mut self.refused);
        for (place, assignment) in self.waiting.drain(..) {
            let outcome = outcome(&place);
            if outcome.is_ok() {
                desk.committed(assignment);
            }
            outcomes.push((assignment, outcome));
        }
        events.push(GroupEvent::Committed { outcomes }.into());
    }
}
