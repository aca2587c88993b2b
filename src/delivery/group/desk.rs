//! Which partitions are held, under which assignment, and what a revoke still waits for. No client, no clock: what the
//! group and the pipeline say goes in, what is to be said and done comes out.

use std::collections::BTreeMap;
use std::fmt;

use super::{Begin, CommittedOffset, GroupEvent, Lost, Place, Started};
use crate::event::Assignment;
use crate::memo::Memo;
use crate::record::TopicPartition;

/// Numbers assignments: through the whole process, so that no number comes twice whatever is restarted.
type Number = Box<dyn FnMut() -> Assignment + Send>;

/// Partitions that were read and are not held are remembered up to this many.
const MAX_LEFT: usize = 10_000;

/// The partitions that are held.
pub struct Desk {
    number: Number,
    slots: BTreeMap<Assignment, Slot>,
    by_place: BTreeMap<Place, Assignment>,
    /// How partitions stood that were read and then left.
    left: BTreeMap<Place, Stand>,
    /// An assignment of the group whose positions are being found out.
    pending: Option<(u64, Vec<Place>)>,
    tickets: u64,
    revoke: Option<Revoke>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("slots", &self.slots)
            .field("pending", &self.pending)
            .field("revoke", &self.revoke)
            .finish_non_exhaustive()
    }
}

/// A partition that is held.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its assignment.
    pub assignment: Assignment,
    /// The partition.
    pub source: TopicPartition,
    /// The next offset that can come.
    pub position: i64,
    /// The pipeline wants no records for now.
    pub paused: bool,
    /// The group takes it away; no records of it are handed over.
    pub draining: bool,
    /// Which of the logs that had this name it is.
    pub generation: u32,
    /// The group has an offset for it.
    committed: bool,
    began: Stand,
}

/// Where a partition was read from, and what stood beside that offset.
#[derive(Clone, Debug, Default)]
struct Stand {
    offset: i64,
    memo: Option<String>,
}

impl Stand {
    /// A memo that can't be read counts as the first log's, as it does to the task.
    fn generation(&self) -> u32 {
        let memo = self.memo.as_deref().map(|memo| Memo::decode(memo, self.offset));
        memo.and_then(Result::ok).map_or(0, |memo| memo.generation)
    }

    /// What is to stand beside the first offset of the log that took this one's place.
    fn of_new_log(&self, low: i64) -> String {
        Memo::of_new_log(self.memo.as_deref(), self.offset, low)
    }
}

/// What the group takes away.
#[derive(Debug)]
struct Revoke {
    places: Vec<Place>,
    /// Not released yet.
    waiting: Vec<Assignment>,
}

/// A partition whose beginning is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Which.
    pub place: Place,
    /// What the group has committed on it.
    pub committed: Option<CommittedOffset>,
    /// Where reading starts.
    pub begin: Begin,
}

impl Desk {
    /// A desk that holds nothing. `number` says under which number the next assignment goes.
    pub fn new(number: impl FnMut() -> Assignment + Send + 'static) -> Desk {
        Desk {
            number: Box::new(number),
            slots: BTreeMap::new(),
            by_place: BTreeMap::new(),
            left: BTreeMap::new(),
            pending: None,
            tickets: 0,
            revoke: None,
        }
    }

    /// The group gives partitions. The ticket is to be given back with what was found out about them.
    pub fn assign(&mut self, places: Vec<Place>) -> u64 {
        self.tickets += 1;
        self.pending = Some((self.tickets, places));
        self.tickets
    }

    /// Whether the group waits for an assignment to be taken up.
    pub fn is_assigning(&self) -> bool {
        self.pending.is_some()
    }

    /// Where each partition begins is known: they are held from now on. `None`: the ticket is an old one.
    pub fn resolved<E: From<GroupEvent>>(
        &mut self,
        ticket: u64,
        resolved: Vec<Resolved>,
        events: &mut Vec<E>,
    ) -> Option<Vec<(Place, i64)>> {
        self.pending.take_if(|(current, _)| *current == ticket)?;
        Some(resolved.into_iter().map(|r| self.hold(r, events)).collect())
    }

    fn hold<E: From<GroupEvent>>(&mut self, resolved: Resolved, events: &mut Vec<E>) -> (Place, i64) {
        let Resolved {
            place,
            committed,
            begin,
        } = resolved;
        if let Some(old) = self.remove(&place) {
            events.push(GroupEvent::Lost(vec![old]).into());
        }
        let left = self.left.remove(&place);
        let (position, started, overtaken) = match begin {
            Begin::Committed(offset) => (offset, Started::Committed, None),
            // The broker forgets what was committed with a topic that is deleted.
            Begin::NewPartition(low) => match &left {
                Some(left) => (low, Started::Recreated { committed: left.offset }, None),
                None => (low, Started::NewPartition, None),
            },
            Begin::OffsetsGone(low) => (low, Started::OffsetsGone, None),
            Begin::Recreated { committed, low } => (low, Started::Recreated { committed }, None),
            Begin::Overtaken { committed, low } => (committed, Started::Committed, Some(low)),
            Begin::Unknown => (0, Started::NewPartition, None),
        };
        let is_committed = committed.is_some();
        let stood = committed.map(|c| Stand {
            offset: c.offset,
            memo: c.memo,
        });
        let memo = match started {
            Started::Committed => stood.and_then(|stood| stood.memo),
            Started::NewPartition | Started::OffsetsGone => None,
            Started::Recreated { .. } => Some(stood.or(left).unwrap_or_default().of_new_log(position)),
        };
        let began = Stand {
            offset: position,
            memo: memo.clone(),
        };
        let assignment = self.insert(&place, overtaken.unwrap_or(position), is_committed, began);
        events.push(
            GroupEvent::Assigned {
                assignment,
                source: self.slots[&assignment].source.clone(),
                position,
                memo,
                started,
            }
            .into(),
        );
        if let Some(to) = overtaken {
            let from = position;
            events.push(GroupEvent::Overtaken { assignment, from, to }.into());
        }
        (place, overtaken.unwrap_or(position))
    }

    /// The group takes partitions away and waits. `Some`: nothing is held of them, so they can be let go at once.
    pub fn revoke<E: From<GroupEvent>>(&mut self, places: Vec<Place>, events: &mut Vec<E>) -> Option<Vec<Place>> {
        self.forget_pending(&places);
        let held: Vec<Assignment> = places.iter().filter_map(|p| self.by_place.get(p).copied()).collect();
        if held.is_empty() {
            return Some(places);
        }
        // Those that a close has already begun to drain were named before.
        let (draining, fresh): (Vec<_>, Vec<_>) = held.iter().partition(|a| self.slots[a].draining);
        let fresh = self.drain(fresh, events);
        let waiting = [draining, fresh].concat();
        self.revoke = Some(Revoke { places, waiting });
        None
    }

    /// All that is held is to be drained, though the group has not asked for it.
    pub fn drain_all<E: From<GroupEvent>>(&mut self, events: &mut Vec<E>) {
        let held = self
            .slots
            .values()
            .filter(|s| !s.draining)
            .map(|s| s.assignment)
            .collect();
        self.drain(held, events);
    }

    fn drain<E: From<GroupEvent>>(&mut self, mut held: Vec<Assignment>, events: &mut Vec<E>) -> Vec<Assignment> {
        held.sort_unstable();
        for assignment in &held {
            if let Some(slot) = self.slots.get_mut(assignment) {
                slot.draining = true;
            }
        }
        if !held.is_empty() {
            events.push(GroupEvent::Revoked(held.clone()).into());
        }
        held
    }

    /// A drained partition is let go. `Some`: it was the last that the group waits for.
    pub fn release(&mut self, assignment: Assignment) -> Option<Vec<Place>> {
        let slot = self.slots.get(&assignment).filter(|s| s.draining)?;
        let place = (slot.source.topic.to_string(), slot.source.partition);
        self.remove(&place);
        let revoke = self.revoke.as_mut()?;
        revoke.waiting.retain(|a| *a != assignment);
        if !revoke.waiting.is_empty() {
            return None;
        }
        self.revoke.take().map(|r| r.places)
    }

    /// The partitions are gone. Those of a revoke that still waits are given back, to be let go at once.
    pub fn lose<E: From<GroupEvent>>(&mut self, places: &[Place], events: &mut Vec<E>) {
        self.forget_pending(places);
        let mut lost: Vec<Assignment> = places.iter().filter_map(|p| self.remove(p)).collect();
        lost.sort_unstable();
        if !lost.is_empty() {
            events.push(GroupEvent::Lost(lost).into());
        }
    }

    /// The revoke that waits for releases is over, for the group went on without us.
    pub fn lose_revoke<E: From<GroupEvent>>(&mut self, events: &mut Vec<E>) -> Option<Vec<Place>> {
        let revoke = self.revoke.take()?;
        self.lose(&revoke.places, events);
        Some(revoke.places)
    }

    /// Whether a revoke waits for releases.
    pub fn is_revoking(&self) -> bool {
        self.revoke.is_some()
    }

    /// What an offset that is not in the log leads to. `Some`: where reading goes on.
    pub fn out_of_range<E: From<GroupEvent>>(
        &mut self,
        assignment: Assignment,
        found: Lost,
        events: &mut Vec<E>,
    ) -> Option<(Place, i64)> {
        let slot = self.slots.get_mut(&assignment).filter(|s| !s.draining)?;
        let place = (slot.source.topic.to_string(), slot.source.partition);
        let from = slot.position;
        match found {
            Lost::StillThere => Some((place, from)),
            Lost::Overtaken { to } => {
                slot.position = to;
                events.push(GroupEvent::Overtaken { assignment, from, to }.into());
                Some((place, to))
            }
            Lost::Recreated { low } => {
                let source = slot.source.clone();
                let memo = slot.began.of_new_log(low);
                self.lose(std::slice::from_ref(&place), events);
                let began = Stand {
                    offset: low,
                    memo: Some(memo.clone()),
                };
                let assignment = self.insert(&place, low, true, began);
                events.push(
                    GroupEvent::Assigned {
                        assignment,
                        source,
                        position: low,
                        memo: Some(memo),
                        started: Started::Recreated { committed: from },
                    }
                    .into(),
                );
                Some((place, low))
            }
        }
    }

    /// The slot of a partition.
    pub fn at(&self, place: &Place) -> Option<&Slot> {
        self.slots.get(self.by_place.get(place)?)
    }

    /// A slot by its assignment.
    pub fn get(&self, assignment: Assignment) -> Option<&Slot> {
        self.slots.get(&assignment)
    }

    /// A slot by its assignment.
    pub fn get_mut(&mut self, assignment: Assignment) -> Option<&mut Slot> {
        self.slots.get_mut(&assignment)
    }

    /// A commit of the assignment stands.
    pub fn committed(&mut self, assignment: Assignment) {
        if let Some(slot) = self.slots.get_mut(&assignment) {
            slot.committed = true;
        }
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// All places that are held.
    pub fn places(&self) -> Vec<Place> {
        self.by_place.keys().cloned().collect()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What is taken away before it was taken up is not taken up.
    fn forget_pending(&mut self, places: &[Place]) {
        self.pending
            .take_if(|(_, pending)| pending.iter().any(|p| places.contains(p)));
    }

    fn insert(&mut self, place: &Place, position: i64, committed: bool, began: Stand) -> Assignment {
        let assignment = (self.number)();
        let source = TopicPartition {
            topic: place.0.as_str().into(),
            partition: place.1,
        };
        let slot = Slot {
            assignment,
            source,
            position,
            paused: false,
            draining: false,
            generation: began.generation(),
            committed,
            began,
        };
        self.slots.insert(assignment, slot);
        self.by_place.insert(place.clone(), assignment);
        assignment
    }

    fn remove(&mut self, place: &Place) -> Option<Assignment> {
        let assignment = self.by_place.remove(place)?;
        let slot = self.slots.remove(&assignment);
        // Only an offset that stood committed can be missed.
        let known = |slot: &Slot| slot.committed && slot.position > slot.began.offset;
        if let Some(slot) = slot.filter(|slot| known(slot) && self.left.len() < MAX_LEFT) {
            self.left.insert(place.clone(), slot.began);
        }
        Some(assignment)
    }
}

#[cfg(test)]
mod tests;
