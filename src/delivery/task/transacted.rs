//! What becomes of a transaction: all of it is settled, or all of it is put back in its place.

use super::Task;
use super::receipts::Trouble;
use super::transact::InFlight;
use crate::answer::Failure;
use crate::event::{Assignment, Notice};
use crate::outage::{Outage, Said};
use crate::partition::{Partition, State};
use crate::record::SinkId;
use crate::time::{Dice, Moment, Now};
use crate::transaction::{Obstacle, TransactionId, TransactionOutcome};

impl Task {
    pub(super) fn transacted(&mut self, id: TransactionId, outcome: TransactionOutcome, now: Now, dice: &mut dyn Dice) {
        let Some(ended) = self.transactions.in_flight.take_if(|in_flight| in_flight.id == id) else {
            return self.notice(Notice::LateDiscarded { what: "transaction" });
        };
        ended.entries.iter().for_each(|(assignment, _)| self.touch(*assignment));
        match outcome {
            TransactionOutcome::Committed => self.transaction_committed(ended, now.at),
            TransactionOutcome::Aborted(obstacles) => self.transaction_aborted(ended, obstacles, now, dice),
        }
    }

    fn transaction_committed(&mut self, ended: InFlight, now: Moment) {
        if self.transactions.held.take().is_some_and(|held| held.was_told()) {
            self.notice(Notice::TransactionsBack);
        }
        ended.letters.iter().for_each(|id| self.letters.remove(*id));
        if !ended.letters.is_empty() {
            self.letters_back();
        }
        for (sink, _) in &ended.stores {
            self.sink_back(*sink);
        }
        self.transactions.look_at_parked();
        // What is settled now stands in the commit already.
        let open = |partition: &Partition| (partition.assignment, partition.commit.settled);
        let held = ended
            .entries
            .iter()
            .filter_map(|(assignment, _)| self.partitions.get(assignment));
        let unsaid: Vec<(Assignment, bool)> = held.map(open).collect();
        for (assignment, seq) in ended.records {
            let Some(partition) = self.partitions.get_mut(&assignment) else {
                continue;
            };
            partition.items_on_wire -= 1;
            if let Some(disposition) = partition.entry(seq).and_then(|entry| entry.becomes) {
                self.settle(assignment, seq, disposition);
            }
        }
        for (assignment, settled) in unsaid {
            if let Some(partition) = self.partitions.get_mut(&assignment) {
                // What was settled by an earlier owner, and came behind these meanwhile, is passed with them.
                let named = partition.commit.in_flight.map(|(_, offset)| offset);
                let passed = named.is_some_and(|offset| partition.committable() > offset);
                partition.commit.settled = settled || passed;
                partition.drain.iter_mut().for_each(|drain| drain.commit_failed = false);
            }
        }
        let outcomes = ended.entries.into_iter().map(|(assignment, _)| (assignment, Ok(())));
        self.committed(outcomes.collect(), now);
    }

    /// Nothing of it stands: all of it waits for the next one, in its place, but for what a sink refused.
    fn transaction_aborted(&mut self, ended: InFlight, obstacles: Vec<Obstacle>, now: Now, dice: &mut dyn Dice) {
        self.take_back(&ended);
        let mut refused_offsets = None;
        let mut cluster = None;
        let mut passing = false;
        let mut letters = None;
        let mut troubles: Vec<Option<Trouble>> = (0..self.settings.sinks).map(|_| None).collect();
        for obstacle in obstacles {
            match obstacle {
                Obstacle::Result { sink, item, receipt } => {
                    let items = ended.stores.iter().find(|(other, _)| *other == sink);
                    let Some((assignment, seq)) = items.and_then(|(_, items)| items.get(item)).copied() else {
                        continue;
                    };
                    let trouble = self.not_stored(assignment, seq, sink, receipt, now);
                    passing |= trouble.is_none();
                    let all = &mut troubles[sink.0 as usize];
                    *all = Trouble::worse(all.take(), trouble);
                }
                // One whose partition is gone meanwhile is sent by nobody any more, and blocks nothing.
                Obstacle::Letter { letter, .. } if self.letters.letter(letter).is_none() => {}
                Obstacle::Letter { receipt, .. } => letters = letters.or(receipt.into_failure()),
                Obstacle::Offsets { reason } => refused_offsets = Some(reason),
                Obstacle::Cluster(failure) => cluster = Some(failure),
            }
        }
        let told = letters.is_some() || troubles.iter().any(Option::is_some);
        for (sink, trouble) in troubles.into_iter().enumerate() {
            if let Some(trouble) = trouble {
                self.sink_away(SinkId(sink as u16), trouble, now.at, dice);
            }
        }
        if let Some(failure) = letters {
            self.letters_away(failure, now.at, dice);
        }
        if let Some(reason) = &refused_offsets {
            self.tell_refused_offsets(&ended.entries, reason);
        }
        // What was refused has become a letter, and what waits for an output stands aside: the rest goes at once.
        let stands_aside = passing || told;
        if cluster.is_none() && refused_offsets.is_none() && !stands_aside {
            cluster = Some(Failure::of("it was aborted, and nothing says why"));
        }
        if cluster.is_some() || refused_offsets.is_some() {
            self.hold_transactions(cluster, now.at, dice);
        } else {
            self.transactions.at_once = true;
        }
        self.find_commit_due();
    }

    fn take_back(&mut self, ended: &InFlight) {
        self.commit_in_flight = false;
        for (assignment, seq) in &ended.records {
            let Some(partition) = self.partitions.get_mut(assignment) else {
                continue;
            };
            partition.items_on_wire -= 1;
            let cut_off = partition.drain.is_some_and(|drain| drain.cut_off);
            let Some(entry) = partition.entry_mut(*seq) else {
                continue;
            };
            entry.becomes = None;
            if let State::Delivering(delivering) = &mut entry.state {
                delivering.sent = 0;
                if !cut_off {
                    let sender = (*assignment, entry.lane);
                    self.transactions.senders.insert(sender);
                }
            }
        }
        ended.letters.iter().for_each(|id| self.give_letter_back(*id));
        for (assignment, settled) in &ended.entries {
            let Some(partition) = self.partitions.get_mut(assignment) else {
                self.notice(Notice::LateDiscarded { what: "transaction" });
                continue;
            };
            partition.commit.in_flight = None;
            partition.commit.settled |= settled;
            if let Some(drain) = &mut partition.drain {
                drain.commit_failed = true;
            }
        }
    }

    fn tell_refused_offsets(&mut self, entries: &[(Assignment, bool)], reason: &str) {
        let sources: Vec<_> = (entries.iter())
            .filter_map(|(assignment, _)| Some(self.partitions.get(assignment)?.source.clone()))
            .collect();
        for source in sources {
            let reason = reason.to_owned();
            self.notice(Notice::CommitRefused { source, reason });
        }
    }

    /// All transactions wait for a while.
    fn hold_transactions(&mut self, failure: Option<Failure>, now: Moment, dice: &mut dyn Dice) {
        let said = failure.as_ref().map(|failure| Said::of(failure, false));
        let tell = Outage::go_on(&mut self.transactions.held, said, None, now, &self.settings.retry, dice);
        if let Some(failure) = failure.filter(|_| tell) {
            self.notice(Notice::TransactionsHeld { failure });
        }
    }
}
