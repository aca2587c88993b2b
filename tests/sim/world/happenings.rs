//! What comes to pass: records are fetched, answers, receipts and acknowledgements come.

use fnbridge_delivery::answer::{Answer, Failure, Receipt, Stage, Verdict};
use fnbridge_delivery::event::{CallId, Event, Letter, LetterId, Store, StoreId};
use fnbridge_delivery::record::Record;
use fnbridge_delivery::settings::Ordering;

use super::effects::result_of;
use super::function;
use super::worker::{LaneKey, Owners, lane_of};
use super::{Happening, SinkHealth, World};
use crate::history::facts::{Fact, Place, Said, Verdict as Short};
use crate::invariants::promise;

impl World {
    pub(super) fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Fetch { worker, partition } => self.fetch(worker, partition),
            Happening::Resolve { worker, ticket, places } => self.resolve(worker, ticket, places),
            Happening::FindLog { worker, assignment } => self.found_log(worker, assignment),
            Happening::Hear { worker } => self.hear(worker),
            Happening::Heed { worker } => self.heed(worker),
            Happening::Answer { worker, call } => self.answer(worker, call),
            Happening::Receipts { worker, store } => self.receipts(worker, store),
            Happening::LetterDone { worker, letter } => self.letter_done(worker, letter),
            Happening::CommitDone {
                worker,
                generation,
                entries,
            } => self.commit_done(worker, generation, entries),
            Happening::Produced { key } => self.produced(key),
            Happening::Ends { key } => self.ends(key),
            Happening::TimesOut { key } => self.times_out(key),
            Happening::Undecided { worker } => self.undecided(worker),
            Happening::Wake { worker } => {
                if self.workers[worker].wake_at.is_some_and(|at| at <= self.now) {
                    self.workers[worker].wake_at = None;
                    self.give(worker, Event::Tick);
                }
            }
            Happening::Advance { worker } => {
                if self.workers[worker].dirty {
                    self.advance(worker);
                }
            }
            Happening::Late { worker, event } => self.give(worker, event),
            Happening::Ghost { store } => {
                let through = self.rng.below(store.items.len() as u64 + 1) as usize;
                self.store_items(&store, through);
            }
            Happening::HandOut => self.go_on_moving(),
            Happening::Notices { worker } => self.notices(worker),
            Happening::FunctionBack => self.function_back(),
            Happening::SinkBack { sink } => self.sink_back(sink),
            Happening::LettersBack => self.letters_back(),
            Happening::Unpause { worker } => self.unpause(worker),
        }
    }

    fn answer(&mut self, worker: usize, id: CallId) {
        let Some(call) = self.workers[worker].calls.remove(&id) else {
            return;
        };
        let of = Place::of(&call.records[0]).log;
        let log = &self.logs[call.partition].all[of];
        let answer = function::answer(self.function, &self.faults, &mut self.rng, log, &call.records);
        let w = &mut self.workers[worker];
        let (ordering, tripped, zombie) = (w.settings.ordering, w.failed_guard_told, w.cut_off);
        let log = &mut self.logs[call.partition].all[of];
        if let Some(held) = w.held.get_mut(&call.assignment).filter(|_| !call.abandoned) {
            for (at, record) in call.records.iter().enumerate() {
                let offset = record.offset;
                let entry = log.entry_mut(offset);
                let lane = lane_of(ordering, entry);
                held.on_wire.remove(&lane);
                let fate = &mut entry.fate;
                let through = match &answer {
                    Answer::Verdicts(verdicts) => match &verdicts[at] {
                        Verdict::Deliver(_) => {
                            fate.accepted = true;
                            true
                        }
                        Verdict::Drop => {
                            fate.dropped = true;
                            true
                        }
                        Verdict::DeadLetter { .. } => {
                            fate.charged += 1;
                            true
                        }
                        Verdict::Retry { .. } => {
                            fate.leave = true;
                            fate.charged += 1;
                            fate.forgiven += u32::from(zombie);
                            false
                        }
                        Verdict::Again => false,
                    },
                    Answer::DeliverNothing => {
                        fate.dropped = true;
                        true
                    }
                    Answer::Drop(_) if call.records.len() == 1 => {
                        fate.dropped = true;
                        true
                    }
                    Answer::Failed(_) => {
                        w.charged.push(((call.partition, of), offset));
                        fate.forgiven += u32::from(tripped);
                        false
                    }
                    // Charged, but for a record that the guard holds.
                    Answer::Refused(_) => {
                        fate.charged += 1;
                        fate.forgiven += u32::from(call.records.len() == 1 || zombie);
                        false
                    }
                    // Charged where a record is given up, or others succeed meanwhile.
                    Answer::DeadLetter(_) | Answer::TooLarge(_) | Answer::Busy { .. } | Answer::Misregistered(_) => {
                        fate.charged += 1;
                        fate.forgiven += 1;
                        false
                    }
                    Answer::Away(_) => {
                        if let Some(batch) = held.batches.get(&offset) {
                            batch.again.set(true);
                        }
                        false
                    }
                    Answer::Drop(_) | Answer::Block(_) => false,
                };
                if through {
                    // Its batch is gone, and with it the count, should it have to be called once more.
                    fate.forgiven = fate.charged;
                    held.accepted.insert(offset);
                    held.close(lane, offset);
                }
            }
        }
        let said = said(&answer);
        self.note(Fact::Answered { worker, call: id, said });
        self.give(worker, Event::Answered { call: id, answer });
    }

    fn receipts(&mut self, worker: usize, id: StoreId) {
        let Some((store, owners)) = self.workers[worker].stores.remove(&id) else {
            return;
        };
        let sink = store.sink.0 as usize;
        let cut = match self.sinks[sink] {
            SinkHealth::Well if !self.rng.chance(self.faults.cut_short) => store.items.len(),
            SinkHealth::Well => self.rng.below(store.items.len() as u64 + 1) as usize,
            SinkHealth::Away | SinkHealth::Blocked => 0,
        };
        self.befell.sink_troubles += u64::from(cut < store.items.len());
        let mut receipts = self.store_items(&store, cut);
        if self.rng.chance(self.faults.ack_lost) {
            let lost = |receipt: &mut Receipt| {
                if *receipt == Receipt::Stored {
                    *receipt = Receipt::Away(Failure::of("the answer did not come"));
                }
            };
            receipts.iter_mut().for_each(lost);
        }
        self.stored_for(worker, &owners, &store, &receipts);
        let stored = receipts.iter().map(|receipt| *receipt == Receipt::Stored).collect();
        self.note(Fact::Receipts {
            worker,
            store: id,
            stored,
        });
        self.give(worker, Event::Stored { store: id, receipts });
    }

    /// A sink takes the first items of a request, in order, as far as `through`, and says so.
    pub(super) fn store_items(&mut self, store: &Store, through: usize) -> Vec<Receipt> {
        let sink = store.sink.0;
        let mut stopped = false;
        let mut receipts = Vec::new();
        for (at, item) in store.items.iter().enumerate() {
            if at >= through || stopped {
                receipts.push(match self.sinks[sink as usize] {
                    SinkHealth::Well => Receipt::TryAgain(Failure::of("not now")),
                    SinkHealth::Away => Receipt::Away(Failure::of("connection refused")),
                    SinkHealth::Blocked => Receipt::Blocked(Failure::of("no right to write")),
                });
                continue;
            }
            let mut receipt = Receipt::Stored;
            let wanted: Vec<usize> = item.results(store.sink).map(|(index, _)| index).collect();
            for (nth, index) in wanted.iter().enumerate() {
                let entry = self.logs[item.record.source.partition as usize].of(&item.record);
                if self.sinks_refuse && entry.is_some_and(|e| e.refused.contains(&(sink, *index))) {
                    let (place, index) = (Place::of(&item.record), *index);
                    self.note(Fact::Refuses { sink, place, index });
                    receipt = Receipt::Refused {
                        index,
                        failure: Failure::of("invalid"),
                    };
                    // What stands behind in the record goes first.
                    stopped = nth + 1 < wanted.len();
                    break;
                }
                self.store_result(sink, &item.record, *index);
            }
            receipts.push(receipt);
        }
        receipts
    }

    pub(super) fn store_result(&mut self, sink: u16, record: &Record, index: usize) {
        let place = Place::of(record);
        if !self.plan.changes() {
            self.stored_in_order(sink, place);
        }
        let entry = self.logs[place.partition].all[place.log].entry_mut(place.offset);
        let first = entry.fate.stored.insert((sink, index));
        self.befell.repeated += u64::from(!first);
        self.note(Fact::Stored { sink, place, index });
    }

    /// What an owner was told that a sink has, it does not send there again.
    fn stored_for(&mut self, worker: usize, owners: &Owners, store: &Store, receipts: &[Receipt]) {
        let sink = store.sink.0;
        for (item, receipt) in store.items.iter().zip(receipts) {
            let partition = item.record.source.partition as usize;
            let Some(held) = self.workers[worker].still_holds(partition, owners) else {
                continue;
            };
            for (index, _) in item.results(store.sink) {
                let told = match receipt {
                    Receipt::Stored => true,
                    Receipt::Refused { index: refused, .. } => index < *refused,
                    _ => false,
                };
                if told {
                    held.stored.insert((sink, item.record.offset, index));
                }
            }
        }
    }

    /// Order: first occurrences in a sink stand in the order of their lane.
    fn stored_in_order(&mut self, sink: u16, place: Place) {
        let (of, offset) = ((place.partition, place.log), place.offset);
        let log = &self.logs[of.0].all[of.1];
        let at = log.at_or_behind(offset);
        let lane = lane_of(self.plan.settings[0].ordering, &log.entries[at]);
        let nth = |n: usize| match lane {
            LaneKey::Partition => n,
            LaneKey::Key(key) => self.by_key[&(of, key)][n],
            LaneKey::Own(_) => at,
        };
        if matches!(lane, LaneKey::Own(_)) || self.plan.settings[0].ordering == Ordering::None {
            return;
        }
        let (sinks, has_function) = (self.plan.settings[0].sinks, self.plan.settings[0].has_function);
        let cursor = self.first_stored.entry((sink, of, lane)).or_default();
        while nth(*cursor) < at {
            let earlier = &log.entries[nth(*cursor)];
            let accepted = earlier.fate.accepted || !has_function;
            let fate = &earlier.fate;
            let refused = |at| earlier.refused.contains(&at) || fate.result_letters.contains(&at);
            let kept = |index| fate.stored.contains(&(sink, index)) || refused((sink, index));
            let through = earlier.is_done(sinks, has_function) || accepted && earlier.results_for(sink).all(kept);
            promise!(
                through,
                order,
                "sink {sink} gets results of {offset} before those of {}, of which {:?} is known",
                earlier.record.id(),
                earlier.fate
            );
            *cursor += 1;
        }
    }

    /// A dead letter stands in the topic.
    pub(super) fn letter_stands(&mut self, letter: &Letter) {
        let place = Place::of(&letter.record);
        let (stage, of) = (letter.facts.stage, result_of(letter));
        let fate = &mut self.logs[place.partition].all[place.log].entry_mut(place.offset).fate;
        match (stage, of) {
            (Stage::Sink, Some(of)) => drop(fate.result_letters.insert(of)),
            (Stage::Sink, None) => panic!("two_budgets: a dead letter of stage sink without sink and result"),
            (Stage::Operator, _) => {
                (fate.lettered, fate.skipped) = (true, true);
                self.befell.skipped += 1;
            }
            _ => fate.lettered = true,
        }
        self.note(Fact::Lettered { place, stage, of });
    }

    fn letter_done(&mut self, worker: usize, id: LetterId) {
        let Some(letter) = self.workers[worker].letters.remove(&id) else {
            return;
        };
        if !self.letters_well {
            self.befell.letters_refused += 1;
            let receipt = Receipt::Away(Failure::of("no leader"));
            self.note(Fact::LetterReceipt {
                worker,
                letter: id,
                written: false,
            });
            return self.give(worker, Event::LetterWritten { letter: id, receipt });
        }
        self.letter_stands(&letter);
        let written = !self.rng.chance(self.faults.ack_lost);
        let receipt = match written {
            true => Receipt::Stored,
            false => Receipt::TryAgain(Failure::of("the answer did not come")),
        };
        self.note(Fact::LetterReceipt {
            worker,
            letter: id,
            written,
        });
        self.give(worker, Event::LetterWritten { letter: id, receipt });
    }
}

/// An answer in short.
fn said(answer: &Answer) -> Said {
    let short = |verdict: &Verdict| match verdict {
        Verdict::Deliver(_) => Short::Deliver,
        Verdict::Drop => Short::Drop,
        Verdict::Retry { .. } | Verdict::Again => Short::Again,
        Verdict::DeadLetter { .. } => Short::GiveUp,
    };
    match answer {
        Answer::Verdicts(verdicts) => Said::Verdicts(verdicts.iter().map(short).collect()),
        Answer::DeliverNothing => Said::DeliverNothing,
        Answer::Failed(_) => Said::Failed,
        Answer::Refused(_) => Said::Refused,
        Answer::TooLarge(_) => Said::TooLarge,
        Answer::Busy { .. } => Said::Busy,
        Answer::Misregistered(_) => Said::Misregistered,
        Answer::Away(_) => Said::Away,
        Answer::Drop(_) => Said::Drop,
        Answer::DeadLetter(_) => Said::DeadLetter,
        Answer::Block(_) => Said::Failed,
    }
}
