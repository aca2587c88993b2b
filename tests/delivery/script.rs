//! A task and both ends of it in a test's hands. What a test does not care for, goes well by itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fnbridge_delivery::Task;
use fnbridge_delivery::answer::{Answer, Failure, Receipt, Verdict};
use fnbridge_delivery::event::{
    Admission, Arrival, Assignment, Call, CallId, CommitEntry, Effect, Event, Letter, Notice, Store,
};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::{Output, Record, TopicPartition};
use fnbridge_delivery::settings::{
    BatchSettings, Delivery, GuardSettings, OnExhausted, Ordering, RateLimits, RetrySettings, TaskSettings,
};
use fnbridge_delivery::time::{Millis, Moment, Now};
use fnbridge_delivery::transaction::{Transaction, TransactionOutcome};

/// The hour at which every script begins.
pub const EPOCH_MS: i64 = 1_764_000_000_000;

pub fn settings() -> TaskSettings {
    TaskSettings {
        ordering: Ordering::Partition,
        delivery: Delivery::AtLeastOnce,
        batch: BatchSettings {
            max_records: 100,
            max_bytes: 1 << 20,
            linger: Millis::ZERO,
        },
        max_in_flight: 16,
        in_flight_bytes: 32 << 20,
        limits: RateLimits::default(),
        retry: RetrySettings {
            max_attempts: 5,
            initial_backoff: Millis(200),
            max_backoff: Millis(30_000),
            max_age: None,
        },
        on_exhausted: OnExhausted::DeadLetter,
        guard: GuardSettings {
            failed: 3,
            refused: 100,
        },
        drain_timeout: Millis(35_000),
        commit_interval: Millis::secs(1),
        has_function: true,
        sinks: 1,
    }
}

pub struct Script {
    pub task: Task,
    pub now: u64,
    /// Calls that have not been answered.
    pub calls: VecDeque<Call>,
    /// Requests to sinks that have not been answered.
    pub stores: VecDeque<Store>,
    pub letters: VecDeque<Letter>,
    pub commits: VecDeque<Vec<CommitEntry>>,
    pub transactions: VecDeque<Transaction>,
    pub notices: Vec<Notice>,
    pub abandoned: Vec<CallId>,
    pub released: Vec<Assignment>,
    pub paused: Vec<Assignment>,
    pub resumed: Vec<Assignment>,
    pub recycled: usize,
    /// What each sink has stored, in order: offsets.
    pub stored: Vec<Vec<i64>>,
    /// Offsets that stand in the dead-letter topic.
    pub lettered: Vec<i64>,
    pub committed: Option<CommitEntry>,
    pub sinks_answer: bool,
    pub letters_answer: bool,
    pub commits_answer: bool,
    pub transactions_answer: bool,
    next_assignment: u64,
}

impl Script {
    pub fn new(settings: TaskSettings) -> Script {
        Script {
            stored: vec![Vec::new(); settings.sinks],
            task: Task::new(settings),
            now: 0,
            calls: VecDeque::new(),
            stores: VecDeque::new(),
            letters: VecDeque::new(),
            commits: VecDeque::new(),
            transactions: VecDeque::new(),
            notices: Vec::new(),
            abandoned: Vec::new(),
            released: Vec::new(),
            paused: Vec::new(),
            resumed: Vec::new(),
            recycled: 0,
            lettered: Vec::new(),
            committed: None,
            sinks_answer: true,
            letters_answer: true,
            commits_answer: true,
            transactions_answer: true,
            next_assignment: 0,
        }
    }

    /// A script with changed settings.
    pub fn with(change: impl FnOnce(&mut TaskSettings)) -> Script {
        let mut settings = settings();
        change(&mut settings);
        Script::new(settings)
    }

    pub fn assign(&mut self, partition: i32) -> Assignment {
        self.assign_at(partition, 0, None)
    }

    pub fn assign_at(&mut self, partition: i32, position: i64, memo: Option<String>) -> Assignment {
        self.next_assignment += 1;
        let assignment = Assignment(self.next_assignment);
        let source = source(partition);
        self.give(Event::Assigned {
            assignment,
            source,
            position,
            memo,
        });
        assignment
    }

    /// Records without a key.
    pub fn arrive(&mut self, assignment: Assignment, partition: i32, offsets: Range<i64>) {
        let records: Vec<Arrival> = offsets.map(|offset| arrival(partition, offset, None)).collect();
        self.arrivals(assignment, records);
    }

    /// Records with keys, by offset.
    pub fn arrive_keyed(&mut self, assignment: Assignment, records: &[(i64, &'static str)]) {
        let records = records.iter().map(|(offset, key)| arrival(0, *offset, Some(key)));
        let records = records.collect();
        self.arrivals(assignment, records);
    }

    pub fn arrivals(&mut self, assignment: Assignment, arrivals: Vec<Arrival>) {
        self.give(Event::Arrived { assignment, arrivals });
    }

    pub fn give(&mut self, event: Event) {
        let now = Now {
            at: Moment(self.now),
            unix_ms: EPOCH_MS + self.now as i64,
        };
        self.task.handle(event, now, &mut || 0.5);
        self.advance();
    }

    fn advance(&mut self) {
        self.task.advance(Moment(self.now));
        while let Some(effect) = self.task.poll_effect() {
            match effect {
                Effect::Call(call) => self.calls.push_back(call),
                Effect::Store(store) => self.stores.push_back(store),
                Effect::WriteLetter(letter) => self.letters.push_back(letter),
                Effect::Commit(entries) => self.commits.push_back(entries),
                Effect::Transact(transaction) => self.transactions.push_back(transaction),
                Effect::Abandon(call) => {
                    self.calls.retain(|other| other.id != call);
                    self.abandoned.push(call);
                }
                Effect::Release(assignment) => self.released.push(assignment),
                Effect::Pause(assignment) => self.paused.push(assignment),
                Effect::Resume(assignment) => self.resumed.push(assignment),
                Effect::RecycleSinks => {
                    self.recycled += 1;
                    self.stores.clear();
                    self.letters.clear();
                }
                Effect::Notice(notice) => self.notices.push(notice),
            }
        }
        self.let_go_well();
    }

    fn let_go_well(&mut self) {
        if self.sinks_answer
            && let Some(store) = self.stores.pop_front()
        {
            let receipts = vec![Receipt::Stored; store.items.len()];
            self.answer_store(store, receipts);
        }
        if self.letters_answer
            && let Some(letter) = self.letters.pop_front()
        {
            self.answer_letter(letter, Receipt::Stored);
        }
        if self.commits_answer
            && let Some(entries) = self.commits.pop_front()
        {
            self.answer_commit(entries, Ok(()));
        }
        if self.transactions_answer
            && let Some(transaction) = self.transactions.pop_front()
        {
            self.answer_transaction(transaction, TransactionOutcome::Committed);
        }
    }

    pub fn answer_store(&mut self, store: Store, receipts: Vec<Receipt>) {
        let stored = store
            .items
            .iter()
            .zip(&receipts)
            .filter(|(_, receipt)| **receipt == Receipt::Stored);
        self.stored[store.sink.0 as usize].extend(stored.map(|(item, _)| item.record.offset));
        self.give(Event::Stored {
            store: store.id,
            receipts,
        });
    }

    pub fn answer_letter(&mut self, letter: Letter, receipt: Receipt) {
        if receipt == Receipt::Stored {
            self.lettered.push(letter.record.offset);
        }
        self.give(Event::LetterWritten {
            letter: letter.id,
            receipt,
        });
    }

    pub fn answer_commit(&mut self, entries: Vec<CommitEntry>, outcome: Result<(), String>) {
        if outcome.is_ok() {
            self.committed = entries.last().cloned();
        }
        let outcomes = entries
            .iter()
            .map(|entry| (entry.assignment, outcome.clone()))
            .collect();
        self.give(Event::Committed { outcomes });
    }

    pub fn answer_transaction(&mut self, transaction: Transaction, outcome: TransactionOutcome) {
        if outcome == TransactionOutcome::Committed {
            for store in &transaction.stores {
                let results = store
                    .items
                    .iter()
                    .flat_map(|item| item.results(store.sink).map(move |_| item));
                self.stored[store.sink.0 as usize].extend(results.map(|item| item.record.offset));
            }
            self.lettered
                .extend(transaction.letters.iter().map(|letter| letter.record.offset));
            self.committed = transaction.entries.last().cloned();
        }
        self.give(Event::Transacted {
            transaction: transaction.id,
            outcome,
        });
    }

    /// The next call, which there has to be.
    pub fn call(&mut self) -> Call {
        self.calls.pop_front().expect("a call")
    }

    /// The offsets of calls that have not been answered.
    pub fn called(&self) -> Vec<Vec<i64>> {
        self.calls.iter().map(offsets).collect()
    }

    pub fn answer(&mut self, call: &Call, answer: Answer) {
        self.give(Event::Answered { call: call.id, answer });
    }

    /// Each record is delivered with one result.
    pub fn succeed(&mut self, call: &Call) {
        let verdicts = call
            .records
            .iter()
            .map(|r| Verdict::Deliver(vec![Output::pass_through(r)]));
        self.answer(call, Answer::Verdicts(verdicts.collect()));
    }

    pub fn fail(&mut self, call: &Call) {
        self.answer(call, Answer::Failed(failure(500)));
    }

    /// Time goes by; whatever is due happens when it is due.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(Moment(at)) = self.task.next_wakeup().filter(|at| at.0 <= until) {
            self.now = self.now.max(at);
            self.give(Event::Tick);
        }
        self.now = until;
        self.give(Event::Tick);
    }

    /// Waits for the next call, at most so long, and says how long it took.
    pub fn wait_for_call(&mut self, most_ms: u64) -> (u64, Call) {
        let begun = self.now;
        while self.calls.is_empty() && self.now < begun + most_ms {
            self.wait(1);
        }
        (self.now - begun, self.call())
    }

    /// Answers every call by what the function makes of its offsets, until nothing happens for ten minutes. Returns how
    /// many calls there were.
    pub fn run(&mut self, mut function: impl FnMut(&[i64]) -> Option<Answer>) -> usize {
        let mut calls = 0;
        let mut quiet_ms = 0;
        while quiet_ms < 600_000 {
            match self.calls.pop_front() {
                Some(call) => {
                    calls += 1;
                    quiet_ms = 0;
                    match function(&offsets(&call)) {
                        Some(answer) => self.answer(&call, answer),
                        None => self.succeed(&call),
                    }
                }
                None => {
                    let step = self
                        .task
                        .next_wakeup()
                        .map_or(60_000, |at| at.0.saturating_sub(self.now).clamp(1, 60_000));
                    quiet_ms += step;
                    self.wait(step);
                }
            }
            assert!(calls < 100_000, "calls without end");
        }
        calls
    }

    pub fn noticed(&self, wanted: impl Fn(&Notice) -> bool) -> usize {
        self.notices.iter().filter(|notice| wanted(notice)).count()
    }

    /// The offset and memo that stand committed.
    pub fn stands_committed(&self) -> (i64, Memo) {
        let entry = self.committed.as_ref().expect("something was committed");
        let memo = Memo::decode(&entry.memo, entry.offset).expect("a memo that can be read");
        (entry.offset, memo)
    }

    /// Takes a partition away in good order; the offset and memo that the next owner finds.
    pub fn hand_over(&mut self, assignment: Assignment) -> (i64, Option<String>) {
        self.give(Event::Revoked {
            assignments: vec![assignment],
        });
        self.wait(120_000);
        assert!(self.released.contains(&assignment), "it is let go");
        let entry = self.committed.clone().expect("something was committed");
        (entry.offset, Some(entry.memo))
    }
}

pub fn source(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: "orders".into(),
        partition,
    }
}

pub fn arrival(partition: i32, offset: i64, key: Option<&'static str>) -> Arrival {
    Arrival {
        record: Arc::new(Record {
            source: source(partition),
            offset,
            generation: 0,
            timestamp_ms: EPOCH_MS,
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: Some(Bytes::from_static(b"{}")),
            headers: Vec::new(),
        }),
        admission: Admission::Pass,
    }
}

pub fn offsets(call: &Call) -> Vec<i64> {
    call.records.iter().map(|record| record.offset).collect()
}

pub fn failure(status: u16) -> Failure {
    Failure {
        status: Some(status),
        ..Failure::of("it said so")
    }
}

pub fn busy(retry_after: Option<u64>) -> Answer {
    Answer::Busy {
        failure: failure(429),
        retry_after: retry_after.map(Millis),
        unavailable: false,
    }
}

pub fn retry(after: Option<u64>) -> Verdict {
    Verdict::Retry {
        after: after.map(Millis),
        reason: "not yet".into(),
    }
}

pub fn nothing() -> Verdict {
    Verdict::Deliver(Vec::new())
}
