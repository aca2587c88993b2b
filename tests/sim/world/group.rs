//! The group's coordinator: its members, who holds which partition, and what stands committed.

use std::collections::BTreeMap;

use fnbridge_delivery::event::CommitEntry;
use fnbridge_delivery::group::CommittedOffset;

use crate::dice::Rng;

#[derive(Debug)]
pub struct Group {
    pub committed: Vec<Option<CommittedOffset>>,
    /// Who holds a partition, until it says that it has let go.
    pub owners: Vec<Option<usize>>,
    /// Its owner was told to let it go.
    pub leaving: Vec<bool>,
    pub targets: Vec<usize>,
    /// An eager rebalance is under way: nobody gets anything until everybody has let go.
    pub eager: bool,
    /// Members, each with the generation that it knows.
    pub members: BTreeMap<usize, u64>,
    generation: u64,
}

impl Group {
    pub fn new(partitions: usize) -> Group {
        Group {
            committed: vec![None; partitions],
            owners: vec![None; partitions],
            leaving: vec![false; partitions],
            targets: vec![0; partitions],
            eager: false,
            members: BTreeMap::new(),
            generation: 0,
        }
    }

    pub fn retarget(&mut self, to: &[usize], rng: &mut Rng) {
        for target in &mut self.targets {
            *target = *rng.pick(to);
        }
    }

    /// The members have agreed on who holds what: requests of the generation before are refused.
    pub fn agree(&mut self) {
        self.generation += 1;
        self.members
            .values_mut()
            .for_each(|generation| *generation = self.generation);
    }

    pub fn join(&mut self, worker: usize) {
        self.members.insert(worker, self.generation);
    }

    /// A member is one no more, and holds nothing.
    pub fn throw_out(&mut self, worker: usize) {
        if self.members.remove(&worker).is_some() {
            self.agree();
        }
        for (owner, leaving) in self.owners.iter_mut().zip(&mut self.leaving) {
            *leaving &= owner.take_if(|owner| *owner == worker).is_none();
        }
    }

    pub fn free(&mut self, partition: usize) {
        (self.owners[partition], self.leaving[partition]) = (None, false);
    }

    /// Partitions that can be handed out now.
    pub fn to_hand_out(&mut self) -> Vec<usize> {
        if self.eager && self.owners.iter().any(|owner| owner.is_some()) {
            return Vec::new();
        }
        self.eager = false;
        (0..self.owners.len()).filter(|p| self.owners[*p].is_none()).collect()
    }

    /// The committed offset, or where everything begins.
    pub fn committed_at(&self, partition: usize) -> i64 {
        self.committed[partition].as_ref().map_or(0, |c| c.offset)
    }

    /// Whether a request of a member that knew of this generation is heard.
    ///
    /// # Errors
    /// The broker's word.
    pub fn hears(&self, worker: usize, generation: u64) -> Result<(), &'static str> {
        match self.members.get(&worker) {
            None => Err("UNKNOWN_MEMBER_ID"),
            Some(_) if generation != self.generation => Err("ILLEGAL_GENERATION"),
            Some(_) => Ok(()),
        }
    }

    /// Stores one partition's commit. Like Kafka, it does not ask whose the partition is.
    pub fn commit(&mut self, entry: &CommitEntry) {
        self.committed[entry.source.partition as usize] = Some(CommittedOffset {
            offset: entry.offset,
            memo: Some(entry.memo.clone()),
        });
    }
}
