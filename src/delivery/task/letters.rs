//! Dead letters: written before their records count as settled; while they can't be, the task blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Task;
use crate::answer::{Disposition, Failure, Receipt, Stage};
use crate::event::{Assignment, Effect, Letter, LetterFacts, LetterId, Notice};
use crate::outage::{Outage, Said};
use crate::partition::{Seq, State};
use crate::record::Record;
use crate::time::{Dice, Moment, Now};

/// Dead letters on their way.
#[derive(Debug, Default)]
pub(super) struct Letters {
    letters: BTreeMap<LetterId, OnWay>,
    /// Those that are not on the wire.
    waiting: BTreeSet<LetterId>,
    /// Those of results that a transaction's sink refused: they go with the other results of their record.
    of_results: BTreeMap<(Assignment, Seq), Vec<LetterId>>,
    next_letter: u64,
    /// The dead-letter topic could not be written.
    away: Option<Outage>,
}

#[derive(Debug)]
struct OnWay {
    assignment: Assignment,
    seq: Seq,
    record: Arc<Record>,
    facts: LetterFacts,
}

impl Letters {
    /// Nothing new is called while dead letters can't be written.
    pub(super) fn blocked(&self) -> bool {
        self.away.is_some()
    }

    pub(super) fn next_wakeup(&self) -> Option<Moment> {
        let waits = !self.waiting.is_empty() && self.waiting.len() == self.letters.len();
        self.away.as_ref().filter(|_| waits).map(Outage::until)
    }

    fn forget(&mut self, assignment: Assignment) {
        self.letters.retain(|_, letter| letter.assignment != assignment);
        self.waiting.retain(|id| self.letters.contains_key(id));
        self.of_results.retain(|(other, _), _| *other != assignment);
        if self.letters.is_empty() {
            self.away = None;
        }
    }
}

impl Task {
    /// The letters of a partition that is given up. Where no other waits, the task blocks no longer, and says so.
    pub(super) fn forget_letters(&mut self, assignment: Assignment) {
        let blocked = self.letters.blocked();
        self.letters.forget(assignment);
        if blocked && !self.letters.blocked() {
            self.notice(Notice::LettersBack);
        }
    }

    /// Gives a record up: it is settled once its dead letter stands in the topic.
    pub(super) fn give_up(
        &mut self,
        assignment: Assignment,
        seq: Seq,
        stage: Stage,
        failure: Failure,
        attempts: u32,
        first_failed_ms: Option<i64>,
    ) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        if attempts > 0 {
            partition.spent.insert(seq, attempts);
            partition.commit.settled = true;
        }
        self.write_off(assignment, seq, stage, failure, attempts, first_failed_ms);
    }

    /// Gives a record up whose attempts nobody needs to know any more.
    pub(super) fn write_off(
        &mut self,
        assignment: Assignment,
        seq: Seq,
        stage: Stage,
        failure: Failure,
        attempts: u32,
        first_failed_ms: Option<i64>,
    ) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let Some(entry) = partition.entry_mut(seq) else { return };
        entry.state = State::GivenUp;
        let last_failed_ms = self.unix_ms;
        let first_failed_ms = first_failed_ms.unwrap_or(last_failed_ms);
        let (sink, result) = (None, None);
        let facts = LetterFacts {
            stage,
            failure,
            attempts,
            first_failed_ms,
            last_failed_ms,
            sink,
            result,
        };
        self.write_letter(assignment, seq, facts);
    }

    pub(super) fn write_letter(&mut self, assignment: Assignment, seq: Seq, facts: LetterFacts) {
        let Some(partition) = self.partitions.get(&assignment) else {
            return;
        };
        let Some(record) = partition.record(seq).cloned() else {
            return;
        };
        let (stage, reason, status) = (facts.stage, facts.failure.reason.clone(), facts.failure.status);
        self.notice(Notice::GivenUp {
            assignment,
            stage,
            id: record.id().to_string(),
            reason,
            status,
        });
        let id = self.letters.number();
        self.letters.letters.insert(
            id,
            OnWay {
                assignment,
                seq,
                record,
                facts,
            },
        );
        if self.is_exactly_once() {
            return self.keep_letter(id, assignment, seq);
        }
        self.letters.waiting.insert(id);
        if !self.letters.blocked() {
            self.send_letter(id);
        }
    }

    /// It waits for the next transaction.
    fn keep_letter(&mut self, id: LetterId, assignment: Assignment, seq: Seq) {
        match self.delivering(assignment, seq) {
            Some(_) => self.letters.of_results.entry((assignment, seq)).or_default().push(id),
            None => drop(self.letters.waiting.insert(id)),
        }
    }

    /// The transaction that it was in was undone.
    pub(super) fn give_letter_back(&mut self, id: LetterId) {
        if let Some(letter) = self.letters.letters.get(&id) {
            let (assignment, seq) = (letter.assignment, letter.seq);
            self.keep_letter(id, assignment, seq);
        }
    }

    fn send_letter(&mut self, id: LetterId) {
        let Some(letter) = self.letters.letters.get_mut(&id) else {
            return;
        };
        self.letters.waiting.remove(&id);
        if let Some(partition) = self.partitions.get_mut(&letter.assignment) {
            partition.letters_on_wire += 1;
        }
        let (record, facts) = (letter.record.clone(), letter.facts.clone());
        self.effects
            .push_back(Effect::WriteLetter(Letter { id, record, facts }));
    }

    pub(super) fn letter_written(&mut self, id: LetterId, receipt: Receipt, now: Now, dice: &mut dyn Dice) {
        let Some(letter) = self.letters.letters.get_mut(&id) else {
            return self.notice(Notice::LateDiscarded {
                what: "dead letter's receipt",
            });
        };
        self.letters.waiting.insert(id);
        let (assignment, seq, stage) = (letter.assignment, letter.seq, letter.facts.stage);
        if let Some(partition) = self.partitions.get_mut(&assignment) {
            partition.letters_on_wire -= 1;
        }
        self.touch(assignment);
        match receipt {
            Receipt::Stored => {
                self.letters.letters.remove(&id);
                self.letters.waiting.remove(&id);
                self.letters_back();
                self.letter_stored(assignment, seq, stage);
            }
            Receipt::TryAgain(failure)
            | Receipt::Away(failure)
            | Receipt::AwayFor(failure, _)
            | Receipt::Blocked(failure)
            | Receipt::Refused { failure, .. } => self.letters_away(failure, now.at, dice),
        }
    }

    pub(super) fn letters_away(&mut self, failure: Failure, now: Moment, dice: &mut dyn Dice) {
        let said = Some(Said::of(&failure, true));
        if Outage::go_on(&mut self.letters.away, said, None, now, &self.settings.retry, dice) {
            self.notice(Notice::LettersBlocked { failure });
        }
    }

    pub(super) fn letters_back(&mut self) {
        if self.letters.away.take().is_some() {
            self.notice(Notice::LettersBack);
        }
    }

    fn letter_stored(&mut self, assignment: Assignment, seq: Seq, stage: Stage) {
        let disposition = disposition_of(stage);
        match self.delivering(assignment, seq) {
            Some(delivering) => {
                delivering.letters -= 1;
                self.settle_if_delivered(assignment, seq);
            }
            None => self.settle(assignment, seq, disposition),
        }
    }

    /// Asks with one letter whether the topic can be written again; once it can, the others follow.
    pub(super) fn resend_letters(&mut self, now: Moment) {
        let on_wire = self.letters.waiting.len() < self.letters.letters.len();
        match &self.letters.away {
            None => std::mem::take(&mut self.letters.waiting)
                .into_iter()
                .for_each(|id| self.send_letter(id)),
            Some(away) if now >= away.until() && !on_wire => {
                if let Some(id) = self.letters.waiting.first() {
                    self.send_letter(*id);
                }
            }
            Some(_) => {}
        }
    }

    /// The producer was closed: letters on their way are sent anew, under new numbers, so that what the old producer
    /// still says of them finds nothing.
    pub(super) fn send_letters_anew(&mut self) {
        let waited = std::mem::take(&mut self.letters.waiting);
        for (old, letter) in std::mem::take(&mut self.letters.letters) {
            if !waited.contains(&old)
                && let Some(partition) = self.partitions.get_mut(&letter.assignment)
            {
                partition.letters_on_wire -= 1;
            }
            let id = self.letters.number();
            self.letters.letters.insert(id, letter);
            self.letters.waiting.insert(id);
        }
    }
}

/// What a record becomes whose letter stands.
fn disposition_of(stage: Stage) -> Disposition {
    match stage {
        Stage::Operator => Disposition::Skipped,
        Stage::Convert | Stage::Filter | Stage::Transform | Stage::Function | Stage::Sink => Disposition::DeadLettered,
    }
}

/// Letters that go with transactions.
impl Letters {
    /// When a transaction is due for letters that wait, if one would be due at `due` for anything else.
    pub(super) fn due(&self, due: Moment) -> Option<Moment> {
        let wait = !self.waiting.is_empty();
        wait.then(|| self.away.as_ref().map_or(due, Outage::until))
    }

    pub(super) fn is_away(&self, now: Moment) -> bool {
        self.away.as_ref().is_some_and(|away| away.until() > now)
    }

    pub(super) fn away_until(&self, now: Moment) -> Option<Moment> {
        let until = self.away.as_ref().map(Outage::until);
        until.filter(|until| *until > now)
    }

    pub(super) fn has_waiting(&self, assignment: Assignment) -> bool {
        let of = |id: &LetterId| self.letters.get(id).map(|letter| letter.assignment);
        self.away.is_none() && self.waiting.iter().any(|id| of(id) == Some(assignment))
    }

    /// The next letter of a record that was given up, and what the record becomes with it.
    pub(super) fn take_waiting(&mut self) -> Option<(LetterId, Assignment, Seq, Disposition)> {
        let id = self.waiting.pop_first()?;
        let letter = self.letters.get(&id)?;
        let disposition = disposition_of(letter.facts.stage);
        Some((id, letter.assignment, letter.seq, disposition))
    }

    /// The letters of a record's refused results.
    pub(super) fn take_of_result(&mut self, of: (Assignment, Seq)) -> Vec<LetterId> {
        self.of_results.remove(&of).unwrap_or_default()
    }

    pub(super) fn letter(&self, id: LetterId) -> Option<Letter> {
        let letter = self.letters.get(&id)?;
        let (record, facts) = (letter.record.clone(), letter.facts.clone());
        Some(Letter { id, record, facts })
    }

    pub(super) fn remove(&mut self, id: LetterId) {
        self.letters.remove(&id);
    }
}

impl Letters {
    fn number(&mut self) -> LetterId {
        self.next_letter += 1;
        LetterId(self.next_letter)
    }
}
