//! What a sink says of the results that it was sent.

use super::Task;
use super::deliver::OnWire;
use crate::answer::{Disposition, Failure, Receipt, Stage};
use crate::event::{Assignment, GuardKind, LetterFacts, Notice, StoreId};
use crate::outage::{Outage, Said};
use crate::partition::Seq;
use crate::record::SinkId;
use crate::retry::MAX_ASKED_WAIT;
use crate::time::{Dice, Millis, Moment, Now};

/// Why a sink did not take results.
pub(super) struct Trouble {
    failure: Failure,
    /// It is registered wrongly.
    blocked: bool,
    /// It is worth a word.
    tell: bool,
    /// How long it asked to be left alone.
    asked_wait: Option<Millis>,
}

impl Trouble {
    fn new(failure: Failure, blocked: bool, tell: bool) -> Trouble {
        Trouble {
            failure,
            blocked,
            tell,
            asked_wait: None,
        }
    }

    /// Of two troubles of a sink, the later one, unless only the first is worth a word.
    pub(super) fn worse(first: Option<Trouble>, second: Option<Trouble>) -> Option<Trouble> {
        match (first, second) {
            (first @ Some(_), Some(second)) if !second.tell => first,
            (first, second) => second.or(first),
        }
    }
}

impl Task {
    pub(super) fn stored(&mut self, id: StoreId, receipts: Vec<Receipt>, now: Now, dice: &mut dyn Dice) {
        let Some(OnWire { sink, items }) = self.sinks.stores.remove(&id) else {
            return self.notice(Notice::LateDiscarded { what: "receipts" });
        };
        debug_assert_eq!(items.len(), receipts.len(), "a receipt for each item");
        let state = &mut self.sinks.sinks[sink.0 as usize];
        state.requests -= 1;
        let mut trouble = None;
        let mut taken = false;
        for ((assignment, seq), receipt) in items.into_iter().zip(receipts) {
            let Some(partition) = self.partitions.get_mut(&assignment) else {
                self.notice(Notice::LateDiscarded { what: "receipt" });
                continue;
            };
            partition.items_on_wire -= 1;
            let lane = partition.back_from(seq, sink);
            self.touch(assignment);
            match receipt {
                Receipt::Stored => {
                    taken = true;
                    self.item_stored(assignment, seq, sink);
                }
                receipt => {
                    let new = self.not_stored(assignment, seq, sink, receipt, now);
                    trouble = Trouble::worse(trouble, new);
                }
            }
            if let Some(lane) = lane {
                self.look_at((assignment, lane));
            }
        }
        match trouble {
            Some(trouble) => self.sink_away(sink, trouble, now.at, dice),
            None if taken => self.sink_back(sink),
            None => {}
        }
    }

    /// A result that is refused becomes a dead letter, unless too many did; anything else is the sink's trouble.
    pub(super) fn not_stored(
        &mut self,
        assignment: Assignment,
        seq: Seq,
        sink: SinkId,
        receipt: Receipt,
        now: Now,
    ) -> Option<Trouble> {
        match receipt {
            Receipt::Stored => None,
            Receipt::Refused { index, failure } if !self.sinks.guard.tripped() => {
                self.sinks.guard.count();
                self.result_refused(assignment, seq, sink, index, failure, now);
                None
            }
            Receipt::Refused { index, failure } => {
                // Those before it are stored, but for what a transaction took back.
                if !self.is_exactly_once()
                    && let Some(delivering) = self.delivering(assignment, seq)
                {
                    delivering.from.insert(sink.0, index);
                }
                let partition = self.partitions.get(&assignment);
                let record = partition.map(|p| p.record_id(seq)).unwrap_or_default();
                self.tell_guard(GuardKind::SinkRefused, record, failure.clone());
                Some(Trouble::new(failure, true, true))
            }
            Receipt::TryAgain(failure) => Some(Trouble::new(failure, false, false)),
            Receipt::Away(failure) => Some(Trouble::new(failure, false, true)),
            Receipt::AwayFor(failure, wait) => Some(Trouble {
                asked_wait: Some(wait.min(MAX_ASKED_WAIT)),
                ..Trouble::new(failure, false, true)
            }),
            Receipt::Blocked(failure) => Some(Trouble::new(failure, true, true)),
        }
    }

    pub(super) fn sink_away(&mut self, sink: SinkId, trouble: Trouble, now: Moment, dice: &mut dyn Dice) {
        let Trouble {
            failure,
            blocked,
            tell,
            asked_wait,
        } = trouble;
        let said = tell.then(|| Said::of(&failure, blocked));
        let away = &mut self.sinks.sinks[sink.0 as usize].away;
        if Outage::go_on(away, said, asked_wait, now, &self.settings.retry, dice) {
            self.notice(Notice::SinkAway { sink, failure, blocked });
        }
    }

    pub(super) fn sink_back(&mut self, sink: SinkId) {
        let told = self.sinks.sinks[sink.0 as usize]
            .away
            .take()
            .is_some_and(|away| away.was_told());
        if told {
            self.notice(Notice::SinkBack { sink });
        }
        self.reset_sink_guard();
    }

    fn item_stored(&mut self, assignment: Assignment, seq: Seq, sink: SinkId) {
        if let Some(delivering) = self.delivering(assignment, seq) {
            delivering.stored |= 1 << sink.0;
        }
        self.settle_if_delivered(assignment, seq);
    }

    /// The result that the sink refuses becomes a dead letter, those behind it go on.
    fn result_refused(
        &mut self,
        assignment: Assignment,
        seq: Seq,
        sink: SinkId,
        index: usize,
        failure: Failure,
        now: Now,
    ) {
        let exactly_once = self.is_exactly_once();
        let Some(delivering) = self.delivering(assignment, seq) else {
            return;
        };
        delivering.refused = true;
        delivering.letters += 1;
        let result = delivering.outputs.get(index).cloned();
        // Those before it are stored, but for what a transaction took back.
        let from = if exactly_once {
            delivering.without.insert((sink.0, index));
            0
        } else {
            delivering.from.insert(sink.0, index + 1);
            index + 1
        };
        let more = (delivering.outputs.iter().enumerate().skip(from))
            .filter(|(_, output)| output.sink.is_none_or(|other| other == sink))
            .any(|(at, _)| !delivering.without.contains(&(sink.0, at)));
        if !more {
            delivering.stored |= 1 << sink.0;
        }
        let facts = LetterFacts {
            stage: Stage::Sink,
            failure,
            attempts: 1,
            first_failed_ms: now.unix_ms,
            last_failed_ms: now.unix_ms,
            sink: Some(sink),
            result,
        };
        self.write_letter(assignment, seq, facts);
    }

    /// Every sink has stored or refused what it was to get, and what it refused stands in the dead-letter topic.
    pub(super) fn settle_if_delivered(&mut self, assignment: Assignment, seq: Seq) {
        let all = self.sinks.all();
        let Some(delivering) = self.delivering(assignment, seq) else {
            return;
        };
        if delivering.stored == all && delivering.letters == 0 {
            let disposition = if delivering.refused {
                Disposition::DeadLettered
            } else {
                Disposition::Delivered
            };
            self.settle(assignment, seq, disposition);
        }
    }
}
