//! Workers that run pipelines, and others that tell them which.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::checker::{self, Found};
use crate::harness::load::{Load, numbers};
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    workers_without_a_store_hear_what_to_run_and_go_on_when_nobody_tells_them,
    a_worker_is_heard_by_its_token_alone_and_under_an_id_of_its_own,
];

/// Those that place pipelines, with a store that outlives them.
fn control(test: &Test, access: &Value) -> Setting {
    let key = test.folder().join("key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    let mut access = access.clone();
    access["secrets_key"] = json!({"file": key});
    Setting::plaintext(&test.broker().bootstrap())
        .with("worker", json!({"roles": ["control"]}))
        .with("store", json!(store(test)))
        .with("access", access)
}

fn store(test: &Test) -> String {
    format!("sqlite://{}/fleet.db", test.folder().display())
}

/// One that asks these.
fn asking(test: &Test, worker: Value) -> Setting {
    Setting::plaintext(&test.broker().bootstrap())
        .property("session.timeout.ms", "6000")
        .with("worker", worker)
}

fn write(test: &Test, name: &str, text: &str) -> PathBuf {
    let file = test.folder().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn workers_without_a_store_hear_what_to_run_and_go_on_when_nobody_tells_them(test: &Test) {
    let (source, out) = (test.topic("in", 4), test.topic("out", 4));
    let function = Server::start(|request| Reply::echo(request).taking(Duration::from_millis(20)));
    let control = test.member(&control(test, &json!({})));
    let urls = json!(["http://127.0.0.1:1", control.url()]);
    let asking = asking(test, json!({"roles": ["worker"], "control": {"urls": urls}}));
    let workers = [test.member(&asking), test.member(&asking)];

    let secret = write(test, "secret", "hunter2");
    let run = |arguments: &[&str]| control.command(test.folder(), arguments);
    run(&["secrets", "set", "fn-token", "--from-file", &text(&secret)]);
    let name = test.name("p");
    let document = json!({
        "name": name, "source": {"topics": [source]}, "sinks": [{"kafka": {"topic": out}}], "batch": {"max_records": 10},
        "function": {"url": function.url(), "headers": {"x-token": {"secret": "fn-token"}}},
    });
    let load = Load::start(test.client(), &source, 4);
    run(&["apply", "-f", &text(&write(test, "p.json", &document.to_string()))]);
    wait::until_true("both to share the partitions, and the third to run nothing", || {
        let fleet = control.answer(test.folder(), &["fleet"]);
        let held = fleet["workers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|worker| &worker["partitions"]);
        let mut held: Vec<u64> = held.filter_map(Value::as_u64).collect();
        held.sort_unstable();
        held == [0, 2, 2]
    });
    assert_eq!(function.wait_count(1)[0].header("x-token"), "hunter2");
    let status = control.answer(test.folder(), &["pipelines", "status", &name]);
    assert_eq!(status["tasks"].as_array().unwrap().len(), 2, "{status}");

    let elsewhere = Worker::run(test.folder(), &["pipelines", "list", "--url", &workers[0].url()]);
    assert!(
        elsewhere.log.contains("[no_control_role]") && elsewhere.log.contains(&control.url()),
        "{}",
        elsewhere.log
    );
    for worker in &workers {
        assert!(
            find(test.folder(), worker, "fnbridge.db").is_none(),
            "no store of its own"
        );
    }

    control.kill();
    workers[0].await_log(&["the control plane at ", "what runs goes on"]);
    let before = function.count();
    function.wait_count(before + 50);
    assert!(workers[0].stop().success(), "it drains without being heard");
    let counts = load.end();
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &counts);
    let total = usize::try_from(counts.iter().sum::<i64>()).unwrap();
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &counts), Found { first: total, again: 0 });
}

fn a_worker_is_heard_by_its_token_alone_and_under_an_id_of_its_own(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::echo();
    let control = test.member(&control(test, &json!({"tokens": true})));
    let create = |name: &str, role: &str, prefix: &str| {
        let store = store(test);
        let arguments = [
            "tokens", "create", name, "--role", role, "--prefix", prefix, "--store", &store,
        ];
        let ended = Worker::run(test.folder(), &arguments);
        ended.output.trim().to_owned()
    };
    let (admin, worker) = (create("ops", "admin", ""), create("w", "worker", "w-"));
    let asking = |id: &str, token: &str| {
        let control = json!({"urls": [control.url()], "token": token});
        let worker = json!({"id": id, "roles": ["worker"], "control": control});
        asking(test, worker)
    };
    let first = test.member(&asking("w-1", &worker));
    let refused = test.member_not_ready(&asking("other", &worker));
    refused.await_log(&["expected worker or admin, for other"]);
    let twin = test.member_not_ready(&asking("w-1", &worker));
    twin.await_log(&["another live worker has the id w-1"]);
    refused.ask_to_stop();

    let url = control.url();
    let run = |token: &str, arguments: &[&str]| {
        Worker::run(test.folder(), &[arguments, &["--url", &url, "--token", token]].concat())
    };
    let seen = run(&worker, &["fleet"]);
    assert!(seen.log.contains("[forbidden]"), "{}{}", seen.output, seen.log);
    let name = test.name("p");
    let registered = run(&admin, &["register", &source, &function.url(), "--name", &name]);
    assert!(registered.status.success(), "{}", registered.log);
    test.client().produce(&source, numbers(0..5));
    function.wait_count(1);

    assert!(first.stop().success());
    wait::until_true("the twin to be heard once the first has left", || twin.is_ready());
    test.client().produce(&source, numbers(5..10));
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &[10]);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn find(folder: &Path, worker: &Worker, name: &str) -> Option<PathBuf> {
    let own = worker.url().trim_start_matches("http://").replace(':', "-");
    let file = folder.join(own).join(name);
    file.exists().then_some(file)
}
