//! The task's hands: calls, requests to sinks and dead letters on their way, all of them futures of one loop.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Semaphore;

use super::prepare::{Found, Prepared, open_outputs};
use super::transactions::{End, Transactions};
use super::{PipelineSettings, Redriver};
use crate::deadletter::Writer;
use crate::delivery::answer::{Answer, Receipt};
use crate::delivery::event::{Assignment, Call, CallId, Event, Letter, LetterId, Store, StoreId};
use crate::delivery::record::SinkId;
use crate::delivery::transaction::{Transaction, TransactionId, TransactionOutcome};
use crate::function::Function;
use crate::http::AnswerPool;
use crate::kafka::{Health, Voucher};
use crate::sink::Sink;
use crate::telemetry::{AttemptSpan, Outlet, PipelineTelemetry};

type OnTheirWay = FuturesUnordered<BoxFuture<'static, Done>>;

/// What came to its end. `Gone`: it was cut off, and nobody waits for it.
pub(super) enum Done {
    Answered(CallId, Answer, AttemptSpan),
    Stored(StoreId, Vec<Receipt>),
    Written(LetterId, Receipt),
    Transacted(TransactionEnded),
    Gone,
}

/// A transaction that came to its end.
pub(super) struct TransactionEnded {
    id: TransactionId,
    /// The partitions that it names.
    named: Vec<Assignment>,
    end: End,
    took: Duration,
}

/// Does what the task asks for.
pub(super) struct Hands {
    on_the_wire: OnTheirWay,
    /// Requests to sinks and dead letters.
    outward: OnTheirWay,
    pub(super) pool: Arc<AnswerPool>,
    function: Option<Arc<Function>>,
    sinks: Vec<Arc<dyn Sink>>,
    letters: Arc<Writer>,
    transactions: Option<Transactions>,
    /// A transaction ended undecided.
    undecided: bool,
    calls: HashMap<CallId, AbortHandle>,
    /// A call takes one: what else of this worker calls the pipeline's function takes of the same.
    slots: Arc<Semaphore>,
    settings: Arc<PipelineSettings>,
    found: Found,
    telemetry: PipelineTelemetry,
    /// What was last told of outlets' clients.
    told: BTreeMap<Outlet, Health>,
}

impl Hands {
    pub(super) fn new(pipeline: &Redriver, telemetry: &PipelineTelemetry, prepared: Prepared) -> Hands {
        Hands {
            on_the_wire: FuturesUnordered::new(),
            outward: FuturesUnordered::new(),
            pool: prepared.pool,
            function: prepared.function,
            sinks: prepared.outputs.sinks,
            letters: prepared.outputs.letters,
            transactions: prepared.transactions,
            undecided: false,
            calls: HashMap::new(),
            slots: pipeline.slots().clone(),
            settings: pipeline.settings().clone(),
            found: prepared.found,
            telemetry: telemetry.clone(),
            told: BTreeMap::new(),
        }
    }

    /// Waits for the next one to end. Nothing is lost where the wait is given up.
    pub(super) async fn next(&mut self) -> Done {
        tokio::select! {
            Some(done) = self.outward.next() => done,
            Some(done) = self.on_the_wire.next() => done,
            else => std::future::pending().await,
        }
    }

    /// Another one that has ended by now, if any.
    pub(super) fn next_now(&mut self) -> Option<Done> {
        let outward = self.outward.next().now_or_never().flatten();
        outward.or_else(|| self.on_the_wire.next().now_or_never().flatten())
    }

    /// What the end of something means to the task.
    pub(super) fn take_in(&mut self, done: Done) -> Option<Event> {
        match done {
            Done::Answered(call, answer, span) => {
                self.calls.remove(&call);
                self.telemetry.attempt_ended(span, &answer);
                Some(Event::Answered { call, answer })
            }
            Done::Stored(store, receipts) => Some(Event::Stored { store, receipts }),
            Done::Written(letter, receipt) => Some(Event::LetterWritten { letter, receipt }),
            Done::Transacted(ended) => self.transacted(ended),
            Done::Gone => None,
        }
    }

    pub(super) fn call(&mut self, call: Call) {
        let Some(function) = self.function.clone() else { return };
        let span = self.telemetry.attempt_started(&call);
        let id = call.id;
        let (abort, registration) = AbortHandle::new_pair();
        self.calls.insert(id, abort);
        let slots = self.slots.clone();
        let answered = async move {
            // It is never closed.
            let _slot = slots.acquire_owned().await;
            let answer = function.call(&call, Some(span.traceparent())).await;
            Done::Answered(id, answer, span)
        };
        self.on_the_wire.push(
            Abortable::new(answered, registration)
                .map(|done| done.unwrap_or(Done::Gone))
                .boxed(),
        );
    }

    pub(super) fn abandon(&mut self, call: CallId) {
        if let Some(abort) = self.calls.remove(&call) {
            abort.abort();
        }
    }

    pub(super) fn store(&mut self, store: Store) {
        let Some(sink) = self.sinks.get(store.sink.0 as usize) else {
            return;
        };
        let (id, sink_id, started) = (store.id, store.sink, Instant::now());
        let receipts = sink.store(store);
        let telemetry = self.telemetry.clone();
        let stored = async move {
            let receipts = receipts.await;
            telemetry.sink_answered(sink_id, started.elapsed(), &receipts);
            Done::Stored(id, receipts)
        };
        self.outward.push(stored.boxed());
    }

    pub(super) fn write_letter(&mut self, letter: &Letter) {
        let (id, started) = (letter.id, Instant::now());
        let receipt = self.letters.write(letter);
        let telemetry = self.telemetry.clone();
        let written = async move {
            let receipt = receipt.await;
            telemetry.letter_answered(started.elapsed());
            Done::Written(id, receipt)
        };
        self.outward.push(written.boxed());
    }

    /// Stores, writes and commits as one; the voucher is asked for the membership to commit by.
    pub(super) fn transact(&mut self, transaction: Transaction, voucher: Voucher) {
        let Some(transactions) = &self.transactions else { return };
        let (id, started) = (transaction.id, Instant::now());
        let named: Vec<Assignment> = transaction.entries.iter().map(|entry| entry.assignment).collect();
        let running = transactions.run(transaction, voucher.clone());
        let ended = async move {
            let end = running.await;
            let took = started.elapsed();
            if matches!(end, End::Known(TransactionOutcome::Committed)) {
                voucher.committed(named.clone());
            }
            Done::Transacted(TransactionEnded { id, named, end, took })
        };
        self.outward.push(ended.boxed());
    }

    fn transacted(&mut self, ended: TransactionEnded) -> Option<Event> {
        let TransactionEnded { id, named, end, took } = ended;
        match end {
            End::Known(outcome) => {
                self.telemetry.transaction_ended(&named, &outcome, took);
                let transaction = id;
                Some(Event::Transacted { transaction, outcome })
            }
            End::Undecided(reason) => {
                self.telemetry.transaction_undecided(took, &reason);
                self.undecided = true;
                None
            }
        }
    }

    /// What stands committed can only be found out by beginning anew.
    pub(super) fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// Ends what is on its way to the sinks, and opens them anew. What the task still owns, it asks for again.
    pub(super) fn recycle_sinks(&mut self) {
        self.outward = FuturesUnordered::new();
        match open_outputs(&self.settings, &self.found, &self.pool) {
            Ok(outputs) => (self.sinks, self.letters) = (outputs.sinks, outputs.letters),
            Err(reason) => self.telemetry.recycling_failed(&reason),
        }
    }

    /// Which outlets' clients wait an outage out since the last look, or do so no more: no receipt says so.
    pub(super) fn changed_outlets(&mut self) -> Vec<(Outlet, Health)> {
        let sinks = self.sinks.iter().zip(0..);
        let mut outlets: Vec<_> = (sinks.map(|(sink, number)| (Outlet::Sink(SinkId(number)), sink.health()))).collect();
        outlets.push((Outlet::DeadLetters, self.letters.health()));
        let transactions = self.transactions.as_ref().map(Transactions::health);
        outlets.push((Outlet::Transactions, transactions));
        let mut changed = Vec::new();
        for (outlet, health) in outlets {
            let health = health.map_or(Health::Fine, |health| health.borrow().clone());
            let told = self.told.entry(outlet).or_default();
            if *told != health {
                told.clone_from(&health);
                changed.push((outlet, health));
            }
        }
        changed
    }
}
