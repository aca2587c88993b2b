//! Promise 12: results, dead letters and offsets together, or not at all, whatever is killed, frozen or refused.

use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;

use crate::harness::checker::{self, Found};
use crate::harness::load::{Load, numbers};
use crate::harness::pipeline::Pipeline;
use crate::harness::server::{Gate, Reply, Server};
use crate::harness::tap::{Api, Held, Side, Tapped};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Client;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    a_worker_killed_while_it_begins_leaves_each_result_once,
    a_worker_killed_while_it_names_its_partitions_leaves_each_result_once,
    a_worker_killed_while_it_produces_leaves_each_result_once,
    a_worker_killed_while_it_names_its_group_leaves_each_result_once,
    a_worker_killed_while_it_sends_offsets_leaves_each_result_once,
    a_worker_killed_while_it_commits_leaves_each_result_once,
    a_worker_without_a_lasting_id_that_is_killed_in_a_transaction_leaves_each_result_once,
    a_transaction_that_is_open_when_its_worker_freezes_is_waited_for_by_the_next_owner,
    offsets_of_a_worker_that_was_cut_off_are_refused_and_nothing_stands_twice,
    a_worker_that_was_frozen_beyond_its_transactions_time_is_fenced_and_comes_back,
    a_worker_that_is_stopped_gives_its_partition_up_only_when_its_transaction_has_ended,
    workers_that_come_and_go_in_good_order_call_and_deliver_each_record_once,
    a_result_that_the_broker_refuses_is_a_dead_letter_and_the_rest_stands_once,
    poison_stands_in_the_dead_letter_topic_once_and_together_with_its_offset,
];

const SETTLED: &str = "fnbridge_settled_records_total";

/// How long a call takes: some make a transaction, and all of them several.
const CALL: Duration = Duration::from_millis(20);

static TAPPED: OnceLock<Tapped> = OnceLock::new();

/// The broker behind a tap that these tests share.
fn tapped() -> &'static Tapped {
    TAPPED.get_or_init(|| {
        // A transaction that nobody ends lasts hardly longer than its time.
        let looks = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
        Tapped::start(&[(looks, "500".to_owned())])
    })
}

/// Stops the broker behind the tap, if any test needed it.
pub fn stop_tapped() {
    if let Some(tapped) = TAPPED.get() {
        tapped.remove();
    }
}

/// A pipeline between two topics of the tapped broker, and both ends of it.
struct Course {
    source: String,
    out: String,
    pipeline: Pipeline,
    client: Client,
    function: Server,
    /// While it is raised, calls are not answered before the gate is open.
    holds: Arc<AtomicBool>,
    gate: Gate,
}

impl Course {
    /// `part` tells the courses of one test apart.
    fn new(test: &Test, part: &str, partitions: i32) -> Course {
        let client = Client::new(&tapped().bootstrap());
        let (source, out) = (test.name(&format!("{part}-in")), test.name(&format!("{part}-out")));
        client.create(&source, partitions, &[]);
        client.create(&out, partitions, &[]);
        let (holds, gate) = (Arc::new(AtomicBool::new(false)), Gate::closed());
        let (raised, held) = (Arc::clone(&holds), gate.clone());
        let function = Server::start(move |request| match raised.load(Ordering::SeqCst) {
            true => Reply::echo(request).behind(&held),
            false => Reply::echo(request).taking(CALL),
        });
        let pipeline = Pipeline::new(&test.name(part), &source).function(&function.url());
        let pipeline = (pipeline.topic_sink(&out))
            .set("delivery", "exactly_once")
            .set("retry", json!({"initial_backoff": "20ms", "max_backoff": "200ms"}))
            .set("batch.max_records", 10);
        Course {
            source,
            out,
            pipeline,
            client,
            function,
            holds,
            gate,
        }
    }

    /// The group notices within three seconds that a worker is dead.
    fn setting(&self) -> Setting {
        Setting::plaintext(&tapped().bootstrap())
            .property("session.timeout.ms", "3000")
            .property("heartbeat.interval.ms", "300")
    }

    fn worker(&self, test: &Test) -> Rc<Worker> {
        test.worker_on(&self.setting(), &self.pipeline)
    }

    /// One whose id lasts, and its transactions' with it.
    fn lasting(&self, test: &Test, id: &str) -> Rc<Worker> {
        let setting = self.setting().with("worker", json!({"id": test.name(id)}));
        test.worker_not_ready(&setting, &self.pipeline)
    }

    /// Holds the `nth` such request of this course's workers.
    fn hold(&self, api: Api, side: Side, nth: u32) -> Held {
        self.hold_of("", api, side, nth)
    }

    /// The same of one of them.
    fn hold_of(&self, worker: &str, api: Api, side: Side, nth: u32) -> Held {
        let client = format!("fnbridge/{}/{worker}", self.pipeline.name());
        tapped().tap().hold(&client, api, side, nth)
    }

    /// How many records calls carried.
    fn called(&self) -> i64 {
        let requests = self.function.requests();
        requests.iter().map(|request| request.records().len() as i64).sum()
    }

    fn produce(&self, range: Range<i64>) {
        self.client.produce(&self.source, numbers(range));
    }

    fn await_committed(&self, offsets: &[i64]) {
        self.client
            .await_committed(&self.pipeline.group(), &self.source, offsets);
    }

    /// From here on calls are held back.
    fn hold_calls(&self) {
        self.holds.store(true, Ordering::SeqCst);
    }

    fn release_calls(&self) {
        self.holds.store(false, Ordering::SeqCst);
        self.gate.open();
    }

    /// Each result stands once for readers of what is committed, in order, and there are no others.
    fn assert_each_once(&self, counts: &[i64]) {
        let total = usize::try_from(counts.iter().sum::<i64>()).expect("a count");
        let found = checker::check_counts(&self.client.read_all(&self.out), counts);
        assert_eq!(found, Found { first: total, again: 0 });
    }

    /// What stands committed passes exactly the results that stand. Returns how far.
    fn assert_results_and_offset_agree(&self) -> i64 {
        let committed = self.client.committed(&self.pipeline.group(), &self.source);
        let offset = committed.get(&0).map_or(0, |(offset, _)| *offset);
        let read = self.client.read_all(&self.out);
        let passed = (offset > 0).then(|| (0, (0..offset).collect()));
        let found = checker::check_partitions(&read, &passed.into_iter().collect());
        assert_eq!(found.again, 0, "results stand twice");
        offset
    }
}

/// Kills a worker when it has come to a request, and when the broker has done that request and it has no answer, and has
/// another of the same id take over.
fn killed_at(test: &Test, api: Api, nth: u32) {
    for (side, part) in [(Side::Request, "before"), (Side::Answer, "after")] {
        let course = Course::new(test, part, 1);
        let held = course.hold(api, side, nth);
        course.produce(0..300);
        let first = course.lasting(test, part);
        held.wait();
        course.hold_calls();
        first.kill();
        let calls = course.function.count();
        held.lose();
        course.lasting(test, part).await_ready();
        let taken_over = course.function.wait_count(calls + 1);
        let offset = course.assert_results_and_offset_agree();
        let goes_on = taken_over.last().map(|request| request.place().1[0]);
        assert_eq!(
            goes_on,
            Some(offset),
            "{part} {api:?}: the next owner goes on where results end"
        );
        course.release_calls();
        course.await_committed(&[300]);
        course.assert_each_once(&[300]);
    }
}

fn a_worker_killed_while_it_begins_leaves_each_result_once(test: &Test) {
    killed_at(test, Api::InitProducerId, 1);
}

fn a_worker_killed_while_it_names_its_partitions_leaves_each_result_once(test: &Test) {
    killed_at(test, Api::AddPartitionsToTxn, 3);
}

fn a_worker_killed_while_it_produces_leaves_each_result_once(test: &Test) {
    killed_at(test, Api::Produce, 3);
}

fn a_worker_killed_while_it_names_its_group_leaves_each_result_once(test: &Test) {
    killed_at(test, Api::AddOffsetsToTxn, 3);
}

fn a_worker_killed_while_it_sends_offsets_leaves_each_result_once(test: &Test) {
    killed_at(test, Api::TxnOffsetCommit, 3);
}

fn a_worker_killed_while_it_commits_leaves_each_result_once(test: &Test) {
    killed_at(test, Api::EndTxn, 3);
}

fn a_worker_without_a_lasting_id_that_is_killed_in_a_transaction_leaves_each_result_once(test: &Test) {
    let course = Course::new(test, "p", 1);
    let held = course.hold(Api::EndTxn, Side::Request, 3);
    course.produce(0..300);
    let first = course.worker(test);
    held.wait();
    course.hold_calls();
    first.kill();
    let calls = course.function.count();
    held.lose();
    course.worker(test);
    let taken_over = course.function.wait_count(calls + 1);
    let offset = course.assert_results_and_offset_agree();
    assert_eq!(taken_over.last().map(|request| request.place().1[0]), Some(offset));
    course.release_calls();
    course.await_committed(&[300]);
    course.assert_each_once(&[300]);
}

fn a_transaction_that_is_open_when_its_worker_freezes_is_waited_for_by_the_next_owner(test: &Test) {
    let course = Course::new(test, "p", 1);
    let held = course.hold(Api::EndTxn, Side::Request, 3);
    course.produce(0..300);
    let first = course.worker(test);
    held.wait();
    course.hold_calls();
    first.freeze();
    let calls = course.function.count();
    course.worker(test);
    wait::until_true("the frozen worker to be out of the group", || {
        course.client.members(&course.pipeline.group()) == 1
    });
    assert_eq!(
        course.function.count(),
        calls,
        "the next owner does not know yet where to begin"
    );
    held.pass();
    let taken_over = course.function.wait_count(calls + 1);
    let offset = course.assert_results_and_offset_agree();
    assert_eq!(taken_over.last().map(|request| request.place().1[0]), Some(offset));
    course.release_calls();
    first.thaw();
    course.await_committed(&[300]);
    course.assert_each_once(&[300]);
}

fn offsets_of_a_worker_that_was_cut_off_are_refused_and_nothing_stands_twice(test: &Test) {
    let course = Course::new(test, "p", 1);
    let held = course.hold(Api::TxnOffsetCommit, Side::Request, 3);
    course.produce(0..300);
    let first = course.worker(test);
    held.wait();
    first.freeze();
    course.worker(test);
    course.await_committed(&[300]);
    held.pass();
    first.thaw();
    first.await_metric("fnbridge_transaction_duration_seconds_count", &["end=\"aborted\""], 1.0);
    course.produce(300..400);
    course.await_committed(&[400]);
    course.assert_each_once(&[400]);
}

fn a_worker_that_was_frozen_beyond_its_transactions_time_is_fenced_and_comes_back(test: &Test) {
    let course = Course::new(test, "p", 1);
    let held = course.hold(Api::EndTxn, Side::Request, 3);
    course.produce(0..300);
    let first = course.worker(test);
    held.wait();
    first.freeze();
    let second = course.worker(test);
    course.await_committed(&[300]);
    held.pass();
    first.thaw();
    first.await_log(&["ended undecided"]);
    first.await_metric(
        "fnbridge_transaction_duration_seconds_count",
        &["end=\"undecided\""],
        1.0,
    );
    assert!(second.stop().success());
    course.produce(300..400);
    course.await_committed(&[400]);
    course.assert_each_once(&[400]);
}

fn a_worker_that_is_stopped_gives_its_partition_up_only_when_its_transaction_has_ended(test: &Test) {
    let course = Course::new(test, "p", 2);
    let load = Load::start(course.client.clone(), &course.source, 2);
    let first = course.lasting(test, "w1");
    first.await_ready();
    let second = course.lasting(test, "w2");
    let assigned = "fnbridge_assigned_partitions";
    second.await_metric(assigned, &[], 1.0);
    let given = second.await_log(&["assigned: reading starts"]);
    let kept = match given.contains(&format!("{}/0", course.source)) {
        true => format!("{}/1", course.source),
        false => format!("{}/0", course.source),
    };
    let held = course.hold_of(&test.name("w1"), Api::EndTxn, Side::Request, 1);
    held.wait();
    first.ask_to_stop();
    first.await_log(&["revoked: draining", &kept]);
    assert_eq!(second.metrics().sum(assigned, &[]), 1.0);
    let drained = first.log_line(&["drained in", &kept]);
    assert_eq!(drained, None, "its transaction is open");
    held.pass();
    assert!(first.await_end().success());
    second.await_metric(assigned, &[], 2.0);
    let counts = load.end();
    course.await_committed(&counts);
    course.assert_each_once(&counts);
    assert_eq!(
        course.called(),
        counts.iter().sum::<i64>(),
        "each record was called once"
    );
}

fn workers_that_come_and_go_in_good_order_call_and_deliver_each_record_once(test: &Test) {
    let course = Course::new(test, "p", 4);
    let settled = |worker: &Worker, more: f64| {
        let before = worker.metrics().sum(SETTLED, &[]);
        worker.await_metric(SETTLED, &[], before + more);
    };
    let load = Load::start(course.client.clone(), &course.source, 4);
    let first = course.worker(test);
    settled(&first, 100.0);
    let second = course.worker(test);
    settled(&second, 100.0);
    let third = course.worker(test);
    settled(&third, 100.0);
    assert!(first.stop().success(), "the first worker drains and leaves");
    settled(&second, 100.0);
    assert!(third.stop().success(), "and so does the third");
    settled(&second, 100.0);
    let counts = load.end();
    course.await_committed(&counts);
    course.assert_each_once(&counts);
    assert_eq!(
        course.called(),
        counts.iter().sum::<i64>(),
        "each record was called once"
    );
}

fn a_result_that_the_broker_refuses_is_a_dead_letter_and_the_rest_stands_once(test: &Test) {
    let course = Course::new(test, "p", 1);
    course.produce(0..50);
    course.worker(test);
    course.await_committed(&[50]);
    // The worker does not know of this, so that it is the broker that refuses.
    course
        .client
        .set_topic_settings(&course.out, &[("max.message.bytes", "3000")]);
    let large = "x".repeat(5000);
    course.function.answer(move |request| {
        Reply::verdicts(request, |record| match record["offset"].as_i64() {
            Some(77 | 93) => json!({"action": "deliver", "records": [{"value": "small"}, {"value": large}]}),
            _ => json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        })
    });
    course.produce(50..150);
    course.await_committed(&[150]);

    let read = course.client.read_all(&course.out);
    assert_eq!(checker::check_counts(&read, &[150]), Found { first: 150, again: 0 });
    let letters = course.client.read_all(&course.pipeline.dead_letter_topic());
    let said: Vec<(&str, &str)> = (letters.iter())
        .map(|letter| {
            (
                letter.header_text("__connect.errors.offset"),
                letter.header_text("fnbridge.stage"),
            )
        })
        .collect();
    assert_eq!(said, [("77", "sink"), ("93", "sink")]);
    assert!(letters[0].header_text("fnbridge.result").contains("xxxx"));
}

fn poison_stands_in_the_dead_letter_topic_once_and_together_with_its_offset(test: &Test) {
    let course = Course::new(test, "p", 1);
    course.function.answer(|request| match request.place().1.contains(&37) {
        true => Reply::of(422, "no such customer"),
        false => Reply::echo(request).taking(CALL),
    });
    course.produce(0..100);
    let held = course.hold(Api::EndTxn, Side::Request, 1);
    let first = course.lasting(test, "w");
    held.wait();
    held.pass();
    let letter = course.client.read_count(&course.pipeline.dead_letter_topic(), 1);
    let committed = course.client.committed(&course.pipeline.group(), &course.source)[&0].0;
    assert!(committed >= 38, "the letter stands, and {committed} is committed");
    first.kill();
    course.lasting(test, "w").await_ready();
    course.await_committed(&[100]);
    assert_eq!(letter[0].header_text("__connect.errors.offset"), "37");
    assert_eq!(course.client.read_all(&course.pipeline.dead_letter_topic()).len(), 1);
    let others = (0..100).filter(|offset| *offset != 37).collect();
    let read = course.client.read_all(&course.out);
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 99, again: 0 }
    );
}
