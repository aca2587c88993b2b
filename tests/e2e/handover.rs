//! Partitions that change hands while records keep coming: nothing that is settled is called again, and none lies idle long.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::checker::{self, Found};
use crate::harness::load::{Load, numbers};
use crate::harness::pipeline::Pipeline;
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    a_rolling_restart_of_three_workers_repeats_nothing_and_leaves_no_partition_idle_for_long,
    a_rolling_restart_of_three_workers_with_ids_moves_no_partition,
    scaling_out_to_four_workers_and_in_to_two_repeats_nothing_and_leaves_no_partition_idle_for_long,
    workers_with_ids_that_a_person_stops_leave_their_partitions_to_others_at_once,
    a_worker_calls_soon_after_it_starts,
    a_worker_with_an_id_leaves_the_group_of_a_pipeline_that_it_is_to_run_no_more,
    a_worker_with_an_id_keeps_what_was_placed_on_it_while_it_is_restarted,
    a_worker_that_comes_back_with_other_topics_reads_those,
    under_the_newer_group_protocol_partitions_change_hands_and_are_committed_with_what_is_beside_them,
];

/// How long the function takes.
const TAKES: Duration = Duration::from_millis(250);
/// The goals are 2 s without a call, and 1.5 s from a worker's start to its first. On two cores that a broker, the load and
/// other tests share, so much more is let pass.
const IDLE_AT_MOST: Duration = Duration::from_millis(3000);
const STARTS_WITHIN: Duration = Duration::from_millis(3000);
/// What is on the wire takes [`TAKES`]; nothing else keeps a process that has drained.
const ENDS_WITHIN: Duration = Duration::from_millis(2000);

fn a_rolling_restart_of_three_workers_repeats_nothing_and_leaves_no_partition_idle_for_long(test: &Test) {
    let scene = Scene::of(test, 6);
    rolling_restart(&scene, "dynamic", |_| scene.setting());
}

fn a_rolling_restart_of_three_workers_with_ids_moves_no_partition(test: &Test) {
    let scene = Scene::of(test, 6);
    let journal = rolling_restart(&scene, "with ids", |n| scene.setting_with_id(n));
    for partition in 0..6 {
        let workers: BTreeSet<&str> = journal.of_partition(partition).map(|call| &call.worker[..1]).collect();
        assert_eq!(workers.len(), 1, "partition {partition} was called by {workers:?}");
    }
}

/// Three workers share the load, and one after another is stopped and started again. What was called since the first was
/// stopped.
fn rolling_restart(scene: &Scene<'_>, kind: &str, setting: impl Fn(usize) -> Setting) -> Journal {
    let mut workers: Vec<_> = (0..3)
        .map(|n| scene.worker(&format!("{n}-first"), &setting(n)))
        .collect();
    await_spread(&workers, 6);
    let load = Load::start(scene.test.client(), &scene.source, 6);
    scene.await_calls(&["0-first", "1-first", "2-first"], 3);
    let from = scene.function.count();
    let (mut drained, mut started) = (Vec::new(), Vec::new());
    for (n, worker) in workers.iter_mut().enumerate() {
        let stopped = Instant::now();
        assert!(worker.stop().success(), "it drains and ends");
        drained.push(stopped.elapsed());
        let (name, start) = (format!("{n}-second"), Instant::now());
        *worker = scene.worker(&name, &setting(n));
        scene.await_calls(&[&name], 1);
        started.push(start.elapsed());
        scene.await_calls(&[&name], 5);
    }
    await_spread(&workers, 6);
    let journal = scene.end(load, from);
    let idle = journal.longest_idle(6);
    println!(
        "rolling restart, {kind}: partitions idle for {idle:?} at most, workers ended after {drained:?}, called {started:?} \
         after their start"
    );
    assert!(idle.iter().all(|idle| *idle < IDLE_AT_MOST), "{idle:?}");
    assert!(drained.iter().all(|drained| *drained < ENDS_WITHIN), "{drained:?}");
    journal
}

fn scaling_out_to_four_workers_and_in_to_two_repeats_nothing_and_leaves_no_partition_idle_for_long(test: &Test) {
    let scene = Scene::of(test, 8);
    scale(&scene, "dynamic", |_| scene.setting(), Worker::ask_to_stop);
}

fn workers_with_ids_that_a_person_stops_leave_their_partitions_to_others_at_once(test: &Test) {
    let scene = Scene::of(test, 8);
    scale(&scene, "with ids", |n| scene.setting_with_id(n), Worker::interrupt);
}

/// One worker has the load, then four, then two.
fn scale(scene: &Scene<'_>, kind: &str, setting: impl Fn(usize) -> Setting, stop: impl Fn(&Worker)) {
    let mut workers = vec![scene.worker("0", &setting(0))];
    await_spread(&workers, 8);
    let load = Load::start(scene.test.client(), &scene.source, 8);
    scene.await_calls(&["0"], 3);
    let from = scene.function.count();
    let out = Instant::now();
    workers.extend((1..4).map(|n| scene.worker(&n.to_string(), &setting(n))));
    await_spread(&workers, 8);
    let out = out.elapsed();
    scene.await_calls(&["0", "1", "2", "3"], 5);
    let left = workers.split_off(2);
    let back = Instant::now();
    left.iter().for_each(|worker| stop(worker));
    await_spread(&workers, 8);
    let back = back.elapsed();
    assert!(
        left.iter().all(|worker| worker.await_end().success()),
        "they drain and end"
    );
    let calls = scene.function.count();
    scene.function.wait_count(calls + 16);
    let idle = scene.end(load, from).longest_idle(8);
    println!("scaled out and in, {kind}: partitions idle for {idle:?} at most, spread after {out:?} and {back:?}");
    assert!(idle.iter().all(|idle| *idle < IDLE_AT_MOST), "{idle:?}");
}

fn a_worker_calls_soon_after_it_starts(test: &Test) {
    let scene = Scene::of(test, 6);
    test.client()
        .produce(&scene.source, numbers(0..6).map(|entry| entry.to(0)));
    let mut took = Vec::new();
    for n in 0..3 {
        let (name, start) = (n.to_string(), Instant::now());
        let worker = scene.worker(&name, &scene.setting());
        scene.await_calls(&[&name], 1);
        took.push(start.elapsed());
        assert!(worker.stop().success());
        test.client()
            .produce(&scene.source, numbers(0..6).map(|entry| entry.to(1)));
    }
    println!("from a worker's start to its first call: {took:?}");
    assert!(took.iter().all(|took| *took < STARTS_WITHIN), "{took:?}");
}

fn a_worker_with_an_id_leaves_the_group_of_a_pipeline_that_it_is_to_run_no_more(test: &Test) {
    let scene = Scene::of(test, 2);
    let (first, second) = (
        scene.worker("0", &scene.setting_with_id(0)),
        scene.worker("1", &scene.setting_with_id(1)),
    );
    await_spread(&[first.clone(), second.clone()], 2);
    test.client().produce(
        &scene.source,
        numbers(0..2).flat_map(|entry| [entry.clone().to(0), entry.to(1)]),
    );
    scene.await_calls(&["0", "1"], 1);
    let other = Pipeline::new(&test.name("other"), &test.topic("other", 1)).function(&scene.function.url());
    first.replace_pipeline(scene.pipeline("0").name(), &other);
    let taken = Instant::now();
    first.await_log(&["pipeline stopped"]);
    let has_all = || (second.metrics().sum("fnbridge_assigned_partitions", &[]) == 2.0).then_some(());
    // A member that only goes silent is missed after 45 s.
    wait::within(Duration::from_secs(15), "the other to have its partitions", has_all);
    println!(
        "taken over from a member that left for good after {:?}",
        taken.elapsed()
    );
}

fn a_worker_that_comes_back_with_other_topics_reads_those(test: &Test) {
    let scene = Scene::of(test, 2);
    let (other, dropped) = (test.topic("other", 2), test.topic("dropped", 1));
    let with = |topics: &[&String]| scene.pipeline("0").set("source.topics", json!(topics));
    let setting = scene.setting_with_id(0);
    let first = test.worker_on(&setting, &with(&[&scene.source, &dropped]));
    await_spread(std::slice::from_ref(&first), 3);
    assert!(first.stop().success());
    assert_eq!(
        test.client().members(&scene.pipeline("0").group()),
        1,
        "its place is kept"
    );
    test.client().produce(&dropped, numbers(0..5));
    test.client().produce(&other, numbers(0..5));
    let second = test.worker_on(&setting, &with(&[&scene.source, &other]));
    let group = scene.pipeline("0").group();
    second.await_metric("fnbridge_settled_records_total", &[], 5.0);
    await_spread(&[second], 4);
    wait::until_true("what was read to be committed", || {
        let committed = test.client().committed(&group, &other);
        committed.values().map(|(offset, _)| offset).sum::<i64>() == 5
    });
    let called: Vec<i64> = test
        .client()
        .committed(&group, &dropped)
        .values()
        .map(|(offset, _)| *offset)
        .collect();
    assert_eq!(called, [0], "what is read no more is not called");
}

fn a_worker_with_an_id_keeps_what_was_placed_on_it_while_it_is_restarted(test: &Test) {
    let scene = Scene::of(test, 2);
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = |n| scene.setting_with_id(n).with("store", json!(store));
    let mut workers: Vec<Rc<Worker>> = (0..2).map(|n| test.member(&setting(n))).collect();
    let file = test.folder().join("p.json");
    std::fs::write(&file, scene.pipeline("").set("tasks", 1).text()).unwrap();
    workers[0].command(test.folder(), &["apply", "-f", &file.display().to_string()]);
    let holds_all = |worker: &Worker| worker.metrics().sum("fnbridge_assigned_partitions", &[]) == 2.0;
    let at = wait::until("one of them to run it", || {
        workers.iter().position(|worker| holds_all(worker))
    });

    assert!(workers[at].stop().success());
    let fleet = workers[1 - at].answer(test.folder(), &["fleet"]);
    let states: Vec<&Value> = fleet["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| &worker["state"])
        .collect();
    assert!(states.contains(&&json!("restarting")), "{states:?}");
    workers[at] = test.member(&setting(at));
    wait::until_true("it to run there again", || holds_all(&workers[at]));
    let starts = ["pipeline starts"];
    assert_eq!(workers[1 - at].log_line(&starts), None, "and the other never had it");
}

fn under_the_newer_group_protocol_partitions_change_hands_and_are_committed_with_what_is_beside_them(test: &Test) {
    let scene = Scene::of(test, 4);
    let setting = |n| scene.setting_with_id(n).property("group.protocol", "consumer");
    let first = scene.worker("0", &setting(0));
    await_spread(std::slice::from_ref(&first), 4);
    let load = Load::start(test.client(), &scene.source, 4);
    scene.await_calls(&["0"], 3);
    let from = scene.function.count();
    let second = scene.worker("1", &setting(1));
    await_spread(&[first.clone(), second.clone()], 4);
    scene.await_calls(&["0", "1"], 5);
    assert!(first.stop().success(), "it drains and ends");
    await_spread(&[second], 4);
    let calls = scene.function.count();
    scene.function.wait_count(calls + 8);
    let idle = scene.end(load, from).longest_idle(4);
    println!("the newer group protocol: partitions idle for {idle:?} at most");
    let committed = test.client().committed(&scene.pipeline("0").group(), &scene.source);
    assert!(
        committed.values().all(|(_, memo)| !memo.is_empty()),
        "a memo stands beside each offset: {committed:?}"
    );
}

/// A topic, a function, and where its results go.
struct Scene<'a> {
    test: &'a Test,
    source: String,
    out: String,
    partitions: i32,
    function: Server,
    /// The same moment by both clocks.
    began: (Instant, SystemTime),
}

impl<'a> Scene<'a> {
    fn of(test: &'a Test, partitions: i32) -> Scene<'a> {
        Scene {
            test,
            source: test.topic("in", partitions),
            out: test.topic("out", partitions),
            partitions,
            function: Server::start(|request| Reply::echo(request).taking(TAKES)),
            began: (Instant::now(), SystemTime::now()),
        }
    }

    fn setting(&self) -> Setting {
        Setting::plaintext(&self.test.broker().bootstrap())
    }

    fn setting_with_id(&self, n: usize) -> Setting {
        self.setting().with("worker", json!({"id": format!("worker-{n}")}))
    }

    /// The pipeline as the worker of this name runs it: the function knows by the path who calls.
    fn pipeline(&self, worker: &str) -> Pipeline {
        let pipeline = self.test.pipeline(&self.source).topic_sink(&self.out);
        pipeline.function(&format!("{}{worker}", self.function.url()))
    }

    fn worker(&self, name: &str, setting: &Setting) -> Rc<Worker> {
        self.test.worker_not_ready(setting, &self.pipeline(name))
    }

    /// Waits until each of these workers has made so many calls.
    fn await_calls(&self, workers: &[&str], count: usize) {
        self.function
            .wait(&format!("{count} calls by each of {workers:?}"), |requests| {
                let made = |worker: &&str| requests.iter().filter(|request| caller(request) == *worker).count();
                workers.iter().all(|worker| made(worker) >= count)
            });
    }

    /// Ends the load, waits until all of it is settled, and sees that every record was called and delivered once, in order.
    /// What was called after the first so many calls.
    fn end(&self, load: Load, from: usize) -> Journal {
        let counts = load.end();
        let group = self.pipeline("").group();
        self.test.client().await_committed(&group, &self.source, &counts);
        let total = usize::try_from(counts.iter().sum::<i64>()).unwrap();
        let read = self.test.client().read_all(&self.out);
        assert_eq!(checker::check_counts(&read, &counts), Found { first: total, again: 0 });
        let mut whole = Journal::of(&self.function.requests(), self.began);
        for (partition, count) in (0..self.partitions).zip(counts) {
            let called: Vec<i64> = whole
                .of_partition(partition)
                .flat_map(|call| call.offsets.clone())
                .collect();
            assert_eq!(
                called,
                (0..count).collect::<Vec<_>>(),
                "each record of {partition} once, in order"
            );
        }
        whole.calls.drain(..from);
        whole
    }
}

/// What the function saw.
struct Journal {
    calls: Vec<Call>,
}

struct Call {
    worker: String,
    partition: i32,
    offsets: Vec<i64>,
    came: SystemTime,
    /// When the first record of it was produced.
    produced: SystemTime,
}

impl Journal {
    fn of(requests: &[Request], (instant, time): (Instant, SystemTime)) -> Journal {
        let call = |request: &Request| {
            let (partition, offsets) = request.place();
            let produced = request.records()[0]["timestamp"].as_u64().expect("a timestamp");
            Call {
                worker: caller(request).to_owned(),
                partition,
                offsets,
                came: time + request.at.duration_since(instant),
                produced: UNIX_EPOCH + Duration::from_millis(produced),
            }
        };
        Journal {
            calls: requests.iter().map(call).collect(),
        }
    }

    fn of_partition(&self, partition: i32) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.partition == partition)
    }

    /// For how long each partition had a record and no call, at most.
    fn longest_idle(&self, partitions: i32) -> Vec<Duration> {
        let longest = |partition| {
            let calls: Vec<&Call> = self.of_partition(partition).collect();
            let idle = calls.windows(2).map(|two| {
                let free = (two[0].came + TAKES).max(two[1].produced);
                two[1].came.duration_since(free).unwrap_or_default()
            });
            idle.max().unwrap_or_default()
        };
        (0..partitions).map(longest).collect()
    }
}

fn caller(request: &Request) -> &str {
    request.uri.path().trim_start_matches('/')
}

/// Waits until the workers share so many partitions in even parts.
fn await_spread(workers: &[Rc<Worker>], partitions: usize) {
    let each = (partitions / workers.len()) as f64;
    for (n, worker) in workers.iter().enumerate() {
        worker.await_metrics(&format!("worker {n} to hold {each} partitions"), |metrics| {
            metrics.sum("fnbridge_assigned_partitions", &[]) == each
        });
    }
}
