//! Pipelines that are registered with a fleet, and workers that come and go around them.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::checker::{self, Found};
use crate::harness::load::{Load, numbers};
use crate::harness::server::{Reply, Server};
use crate::harness::stores::{self, Kind};
use crate::harness::test::{Test, suite};
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    a_function_is_registered_and_operated_from_the_command_line,
    reading_goes_on_where_an_operator_says_under_keys_of_its_own,
    records_that_an_operator_skips_are_dead_letters_and_the_lane_goes_on,
    a_function_gets_the_secret_that_its_pipeline_names_and_the_next_one_when_it_changes,
    what_can_not_be_registered_is_refused_and_changes_nothing,
    files_are_read_again_when_they_change_and_a_bad_one_leaves_what_runs,
    three_workers_on_postgres_go_on_without_their_leader_and_without_their_store,
    three_workers_on_etcd_go_on_without_their_leader_and_without_their_store,
];

const POLLED: &str = "fnbridge_polled_records_total";

/// A fleet gives leases back after ten seconds; Kafka's sessions are as long here.
fn setting(test: &Test) -> Setting {
    let setting = Setting::plaintext(&test.broker().bootstrap());
    setting
        .property("session.timeout.ms", "6000")
        .property("heartbeat.interval.ms", "500")
}

fn a_function_is_registered_and_operated_from_the_command_line(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let (function, name) = (Server::echo(), test.name("p"));
    let worker = test.member(&setting(test));
    let run = |arguments: &[&str]| worker.command(test.folder(), arguments);

    let registered = run(&[
        "register",
        &source,
        &function.url(),
        "--name",
        &name,
        "--sink",
        &format!("kafka:{out}"),
    ]);
    assert!(registered.contains(&format!("{name} runs: ")), "{registered}");
    test.client().produce(&source, numbers(0..20).map(|entry| entry.to(0)));
    test.client().read_count(&out, 20);

    run(&["pipelines", "pause", &name]);
    let tried = worker.answer(test.folder(), &["try", &name, "--at", &format!("{source}/0/3")]);
    assert_eq!(
        (&tried["status"], &tried["results"][0]["value"]),
        (&json!(200), &json!(3)),
        "{tried}"
    );
    let beyond = Worker::run(
        test.folder(),
        &["try", &name, "--at", &format!("{source}/0/99"), "--url", &worker.url()],
    );
    assert!(beyond.log.contains("the log has 0 to 19"), "{}", beyond.log);
    let paused = || worker.answer(test.folder(), &["pipelines", "status", &name])["phase"] == "paused";
    wait::until_true("the pipeline to be paused", paused);
    let calls = function.count();
    test.client().produce(&source, numbers(20..40).map(|entry| entry.to(1)));
    worker.await_metric(POLLED, &[&name], 40.0);
    assert_eq!(function.count(), calls, "a paused pipeline calls nothing");
    run(&["pipelines", "resume", &name]);
    test.client().read_count(&out, 40);

    run(&["pipelines", "restart", &name]);
    test.client().produce(&source, numbers(40..60).map(|entry| entry.to(0)));
    let read = test.client().read_count(&out, 60);
    assert_eq!(checker::check_counts(&read, &[40, 20]), Found { first: 60, again: 0 });

    let history = worker.answer(test.folder(), &["pipelines", "history", &name]);
    let verbs: Vec<&str> = history["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["verb"].as_str())
        .collect();
    assert_eq!(verbs, ["restarted", "resumed", "paused", "created"]);
    run(&["pipelines", "delete", &name, "--yes"]);
    assert_eq!(
        worker.answer(test.folder(), &["pipelines", "list"]),
        json!({"pipelines": []})
    );
    worker.await_log(&[&name, "pipeline stopped"]);
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &[40, 20]);
}

fn reading_goes_on_where_an_operator_says_under_keys_of_its_own(test: &Test) {
    let source = test.topic("in", 2);
    let (function, name) = (Server::echo(), test.name("p"));
    let group = format!("fnbridge-{name}");
    let worker = test.member(&setting(test));
    let run = |arguments: &[&str]| worker.command(test.folder(), arguments);
    test.client().produce(
        &source,
        numbers(0..10).flat_map(|entry| [entry.clone().to(0), entry.to(1)]),
    );
    run(&["register", &source, &function.url(), "--name", &name]);
    test.client().await_committed(&group, &source, &[10, 10]);
    let before = function.count();

    let url = worker.url();
    let running = Worker::run(
        test.folder(),
        &["pipelines", "seek", &name, "--to", "earliest", "--url", &url],
    );
    assert!(running.log.contains("[not_paused]"), "{}", running.log);
    let nowhere = Worker::run(
        test.folder(),
        &["pipelines", "seek", &name, "--to", "yesterday", "--url", &url],
    );
    assert!(
        nowhere.log.contains("expected earliest, latest, an offset"),
        "{}",
        nowhere.log
    );
    run(&["pipelines", "seek", &name, "--to", "4", "--partition", "1", "--pause"]);
    test.client().await_committed(&group, &source, &[10, 10]);
    let again = &function.requests()[before..];
    let offsets: Vec<(i32, i64)> = again
        .iter()
        .flat_map(|request| {
            request
                .place()
                .1
                .into_iter()
                .map(|offset| (request.place().0, offset))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(offsets, (4..10).map(|offset| (1, offset)).collect::<Vec<_>>());
    assert!(
        again
            .iter()
            .all(|request| request.header("idempotency-key").ends_with(";g=1")),
        "keys of their own"
    );

    run(&["pipelines", "pause", &name]);
    test.client().produce(&source, numbers(10..20).map(|entry| entry.to(0)));
    run(&["pipelines", "seek", &name, "--to", "latest"]);
    run(&["pipelines", "resume", &name]);
    test.client().await_committed(&group, &source, &[20, 10]);
    assert_eq!(
        function.requests()[before..].len(),
        again.len(),
        "what was passed over is not called"
    );
    let missing = Worker::run(
        test.folder(),
        &[
            "pipelines",
            "seek",
            &name,
            "--to",
            "0",
            "--partition",
            "7",
            "--pause",
            "--url",
            &url,
        ],
    );
    assert!(missing.log.contains("found no partition 7"), "{}", missing.log);

    run(&["pipelines", "delete", &name, "--with-offsets", "--yes"]);
    wait::until_true("the group to be gone", || {
        test.client().committed(&group, &source).is_empty()
    });
    let gone = |entry: &Value| entry["action"] == "group.deleted" && entry["target"] == json!(group);
    wait::until_true("it to be in the audit log", || {
        let log = worker.answer(test.folder(), &["audit-log"]);
        log["entries"].as_array().unwrap().iter().any(gone)
    });
}

fn records_that_an_operator_skips_are_dead_letters_and_the_lane_goes_on(test: &Test) {
    let source = test.topic("in", 1);
    let name = test.name("p");
    let function = Server::start(|request| match request.place().1.contains(&3) {
        true => Reply::of(500, "boom"),
        false => Reply::of(204, ""),
    });
    let worker = test.member(&setting(test));
    let document = json!({
        "name": name, "source": {"topics": [source]}, "function": {"url": function.url()}, "on_exhausted": "block",
        "batch": {"max_records": 1}, "retry": {"max_attempts": 2, "initial_backoff": "20ms", "max_backoff": "50ms"},
    });
    let file = test.folder().join("p.json");
    std::fs::write(&file, document.to_string()).unwrap();
    worker.command(test.folder(), &["apply", "-f", &file.display().to_string()]);
    test.client().produce(&source, numbers(0..8));
    worker.await_log(&[&name, "lane blocked until an operator acts"]);
    let skip = format!("{source}/0/3");
    worker.command(
        test.folder(),
        &["pipelines", "skip", &name, &skip, "--reason", "known poison, ticket 7"],
    );
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &[8]);
    let letters = test.client().read_count(&format!("{name}.dead-letter"), 1);
    assert_eq!(letters[0].header_text("fnbridge.stage"), "operator");
    assert!(
        letters[0]
            .header_text("fnbridge.reason")
            .contains("known poison, ticket 7")
    );
    let log = worker.answer(test.folder(), &["audit-log"]);
    let skipped = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["action"] == "pipeline.skipped");
    assert!(
        skipped.unwrap()["detail"].as_str().unwrap().contains("known poison"),
        "{log}"
    );
}

fn a_function_gets_the_secret_that_its_pipeline_names_and_the_next_one_when_it_changes(test: &Test) {
    let source = test.topic("in", 1);
    let (function, name) = (Server::echo(), test.name("p"));
    let key = test.folder().join("key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    let sealed = setting(test).with("access", json!({"secrets_key": {"file": key}}));
    let worker = test.member(&sealed);
    let write = |value: &str| {
        let file = test.folder().join("secret");
        std::fs::write(&file, value).unwrap();
        worker.command(
            test.folder(),
            &["secrets", "set", "fn-token", "--from-file", &file.display().to_string()],
        );
    };
    write("hunter2\n");
    let document = json!({
        "name": name, "source": {"topics": [source]},
        "function": {"url": function.url(), "headers": {"x-token": {"secret": "fn-token"}}},
    });
    let file = test.folder().join("p.json");
    std::fs::write(&file, document.to_string()).unwrap();
    worker.command(test.folder(), &["apply", "-f", &file.display().to_string()]);
    test.client().produce(&source, numbers(0..1));
    assert_eq!(function.wait_count(1)[0].header("x-token"), "hunter2");
    write("hunter3");
    worker.await_log(&[&name, "pipeline stopped"]);
    test.client().produce(&source, numbers(1..2));
    assert_eq!(function.wait_count(2)[1].header("x-token"), "hunter3");
    let shown = worker.answer(test.folder(), &["pipelines", "show", &name]).to_string();
    let listed = worker.answer(test.folder(), &["secrets", "list"]).to_string();
    assert!(
        listed.contains(&name) && !listed.contains("hunter") && !shown.contains("hunter"),
        "{listed} {shown}"
    );
    assert!(worker.log_line(&["hunter"]).is_none());
}

fn what_can_not_be_registered_is_refused_and_changes_nothing(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::echo();
    let held = test.pipeline(&source).function(&function.url());
    let worker = test.worker_on(&setting(test), &held);
    let refused = |document: Value| {
        let file = test.folder().join("document.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let url = worker.url();
        let ended = Worker::run(
            test.folder(),
            &["apply", "-f", &file.display().to_string(), "--url", &url],
        );
        assert_eq!(ended.status.code(), Some(1), "{}{}", ended.output, ended.log);
        ended.log
    };
    let document =
        |name: &str| json!({"name": name, "source": {"topics": [source]}, "function": {"url": function.url()}});
    let by_file = refused(document(held.name()));
    assert!(by_file.contains("[held_by_file]"), "{by_file}");
    let mut wrong = document("wrong");
    wrong["function"]["url"] = json!("http://169.254.169.254/");
    wrong["batsh"] = json!({});
    let problems = refused(wrong);
    assert!(
        problems.contains("function.url: ") && problems.contains("did you mean batch?"),
        "{problems}"
    );

    let run = |arguments: &[&str]| worker.command(test.folder(), arguments);
    let first = test.name("first");
    run(&["register", &source, &function.url(), "--name", &first, "--no-wait"]);
    run(&["register", &source, &function.url(), "--name", &first, "--no-wait"]);
    let mut twin = document("twin");
    twin["source"]["group"] = json!(format!("fnbridge-{first}"));
    let file = test.folder().join("twin.json");
    std::fs::write(&file, twin.to_string()).unwrap();
    let url = worker.url();
    let ended = Worker::run(
        test.folder(),
        &["apply", "-f", &file.display().to_string(), "--url", &url],
    );
    assert!(
        ended.log.contains("[group_in_use]") && ended.log.contains(&first),
        "{}",
        ended.log
    );
    let listed = worker.answer(test.folder(), &["pipelines", "list"]);
    let names: Vec<&str> = listed["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn files_are_read_again_when_they_change_and_a_bad_one_leaves_what_runs(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let (before, after) = (Server::echo(), Server::echo());
    let pipeline = test.pipeline(&source).function(&before.url()).topic_sink(&out);
    let worker = test.worker_on(&setting(test), &pipeline);
    test.client().produce(&source, numbers(0..10));
    test.client().read_count(&out, 10);
    let file = find_file(test.folder(), pipeline.name());
    std::fs::write(&file, "name: [").unwrap();
    worker.await_log(&["files of pipelines have problems"]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    test.client().produce(&source, numbers(10..20));
    test.client().read_count(&out, 20);
    std::fs::write(&file, pipeline.clone().function(&after.url()).text()).unwrap();
    worker.await_log(&["pipelines from files read anew"]);
    let calls = before.count();
    worker.await_log(&["pipeline stopped"]);
    test.client().produce(&source, numbers(20..30));
    let read = test.client().read_count(&out, 30);
    assert_eq!(checker::check_counts(&read, &[30]), Found { first: 30, again: 0 });
    assert_eq!(before.count(), calls, "the old function is called no more");
    assert!(after.count() > 0);
}

fn find_file(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let workers = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut files = workers.map(|worker| worker.join("pipelines").join(name).with_extension("yaml"));
    files.find(|file| file.is_file()).expect("the pipeline's file")
}

fn three_workers_on_postgres_go_on_without_their_leader_and_without_their_store(test: &Test) {
    three_workers(test, Kind::Postgres);
}

fn three_workers_on_etcd_go_on_without_their_leader_and_without_their_store(test: &Test) {
    three_workers(test, Kind::Etcd);
}

/// Three times as long as every lease in the store lasts.
const STORE_AWAY: Duration = Duration::from_secs(30);

fn three_workers(test: &Test, kind: Kind) {
    let (source, out) = (test.topic("in", 6), test.topic("out", 6));
    let function = Server::start(|request| Reply::echo(request).taking(Duration::from_millis(20)));
    let mut store = stores::Server::start(kind);
    let setting = setting(test).with("store", json!(store.url("fleet")));
    let mut fleet = Fleet {
        test,
        workers: (0..3).map(|_| test.member(&setting)).collect(),
    };
    let name = test.name("p");
    let document = json!({
        "name": name, "source": {"topics": [source]}, "function": {"url": function.url()},
        "sinks": [{"kafka": {"topic": out}}], "batch": {"max_records": 10},
    });
    let file = test.folder().join("p.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let load = Load::start(test.client(), &source, 6);
    fleet.workers[0].command(test.folder(), &["apply", "-f", &file.display().to_string()]);
    fleet.await_spread("all three to share the partitions", 3);

    let dead = fleet.take_leader();
    dead.kill();
    let killed = Instant::now();
    fleet.await_leader();
    let led = killed.elapsed();
    fleet.await_spread("the other two to share the partitions", 2);
    let shared = killed.elapsed();

    let before = function.count();
    store.kill();
    thread::sleep(STORE_AWAY);
    let during = function.count();
    assert!(
        during > before + 20,
        "records flow while the store is away: {before}, then {during}"
    );
    store.resume();
    let back = Instant::now();
    fleet.await_leader();
    fleet.await_spread("both to be heard of again", 2);
    let reconciled = back.elapsed();

    fleet.workers.push(test.member(&setting));
    fleet.await_spread("three to share the partitions again", 3);
    assert!(fleet.workers.remove(0).stop().success(), "a worker drains and leaves");
    fleet.await_spread("two to share the partitions again", 2);

    let counts = load.end();
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &counts);
    let total = usize::try_from(counts.iter().sum::<i64>()).unwrap();
    let read = test.client().read_all(&out);
    let found = checker::check_counts(&read, &counts);
    assert_eq!(found.first, total);
    assert!(
        found.again <= 6 * 10 * 16,
        "no more than was in flight at the kill comes again: {found:?}"
    );
    println!(
        "{}: leader taken over after {:.1} s, its partitions after {:.1} s, reconciled {:.1} s after the store was back; \
         {total} records, {} again",
        kind.name(),
        led.as_secs_f64(),
        shared.as_secs_f64(),
        reconciled.as_secs_f64(),
        found.again
    );
}

struct Fleet<'a> {
    test: &'a Test,
    workers: Vec<Rc<Worker>>,
}

impl Fleet<'_> {
    /// What the first worker that answers says of all, or nothing while the store is away.
    fn workers(&self) -> Vec<Value> {
        let url = self.workers[0].url();
        let ended = Worker::run(self.test.folder(), &["fleet", "-o", "json", "--url", &url]);
        let answer: Option<Value> = serde_json::from_str(&ended.output).ok();
        answer
            .and_then(|answer| answer["workers"].as_array().cloned())
            .unwrap_or_default()
    }

    fn leader(&self) -> Option<String> {
        let leader = self.workers().into_iter().find(|worker| worker["leader"] == true)?;
        leader["address"].as_str().map(|address| format!("http://{address}"))
    }

    fn await_leader(&self) {
        let lives = |url: String| self.workers.iter().any(|worker| worker.url() == url).then_some(());
        wait::until("a live worker to lead", || self.leader().and_then(lives));
    }

    fn take_leader(&mut self) -> Rc<Worker> {
        let leader = wait::until("a leader", || self.leader());
        let at = self
            .workers
            .iter()
            .position(|worker| worker.url() == leader)
            .expect("it is one of them");
        self.workers.remove(at)
    }

    /// Waits until so many live workers hold partitions, six in all.
    fn await_spread(&self, what: &str, count: usize) {
        wait::until_true(what, || {
            let held: Vec<u64> = self
                .workers()
                .iter()
                .filter_map(|worker| worker["partitions"].as_u64())
                .collect();
            held.len() == count && held.iter().all(|partitions| *partitions > 0) && held.iter().sum::<u64>() == 6
        });
    }
}
