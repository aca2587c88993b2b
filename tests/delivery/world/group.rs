//! The group's coordinator: who holds which partition, and what stands committed.

use fnbridge_delivery::event::{Assignment, CommitEntry};

use super::dice::Rng;

/// A commit as it stands.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    pub offset: i64,
    pub memo: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub worker: usize,
    pub assignment: Assignment,
    pub leaving: bool,
}

#[derive(Debug)]
pub struct Group {
    pub committed: Vec<Committed>,
    pub owners: Vec<Option<Owner>>,
    pub targets: Vec<usize>,
    /// An eager rebalance is under way: nobody gets anything until everybody has let go.
    pub eager: bool,
    next: u64,
}

impl Group {
    pub fn new(partitions: usize) -> Group {
        Group {
            committed: vec![Committed::default(); partitions],
            owners: vec![None; partitions],
            targets: vec![0; partitions],
            eager: false,
            next: 0,
        }
    }

    pub fn number(&mut self) -> Assignment {
        self.next += 1;
        Assignment(self.next)
    }

    pub fn retarget(&mut self, live: &[usize], rng: &mut Rng) {
        for target in &mut self.targets {
            *target = *rng.pick(live);
        }
    }

    /// Partitions that can be handed out now.
    pub fn free(&mut self) -> Vec<usize> {
        if self.eager && self.owners.iter().any(|owner| owner.is_some()) {
            return Vec::new();
        }
        self.eager = false;
        (0..self.owners.len()).filter(|p| self.owners[*p].is_none()).collect()
    }

    pub fn owns(&self, partition: usize, worker: usize, assignment: Assignment) -> bool {
        self.owners[partition].is_some_and(|owner| owner.worker == worker && owner.assignment == assignment)
    }

    /// Stores one partition's commit, if its writer still is a member that holds it.
    pub fn commit(&mut self, worker: usize, entry: &CommitEntry) -> Result<(), String> {
        let partition = entry.source.partition as usize;
        if !self.owns(partition, worker, entry.assignment) {
            return Err("ILLEGAL_GENERATION".into());
        }
        self.committed[partition] = Committed {
            offset: entry.offset,
            memo: Some(entry.memo.clone()),
        };
        Ok(())
    }
}
