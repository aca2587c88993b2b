//! Dead letters, sent through again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::load::numbers;
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    a_group_is_redriven_once_the_function_is_fixed_and_then_all_others,
    a_letter_that_fails_again_is_another_letter_until_the_loop_guard_holds_it,
    a_letter_that_a_sink_refused_goes_to_that_sink_alone_with_the_kept_result,
    a_job_is_carried_on_where_its_worker_died_and_says_what_may_have_been_sent_twice,
    a_job_waits_goes_on_ends_and_stops_by_itself,
    a_letter_is_edited_or_discarded_and_the_audit_log_says_who_and_why,
    letters_go_to_the_source_topic_when_asked_and_say_where_they_came_from,
];

/// A function that refuses every tenth record until it is fixed.
struct Function {
    server: Server,
    fixed: Arc<AtomicBool>,
}

impl Function {
    fn start() -> Function {
        let fixed: Arc<AtomicBool> = Arc::default();
        let is_fixed = fixed.clone();
        let server = Server::start(move |request| {
            Reply::verdicts(request, |record| {
                let number = record["value"].as_i64().unwrap_or_default();
                match number % 10 == 0 && !is_fixed.load(Ordering::SeqCst) {
                    true => {
                        json!({"action": "dead_letter", "reason": format!("{} {number}", ["no customer", "no stock"][number as usize / 10 % 2])})
                    }
                    false => json!({"action": "deliver", "records": [{"value": number}]}),
                }
            })
        });
        Function { server, fixed }
    }

    fn fix(&self) {
        self.fixed.store(true, Ordering::SeqCst);
    }
}

/// A pipeline from a topic through the function to another topic.
struct Setup {
    source: String,
    sink: String,
    name: String,
}

fn register(test: &Test, worker: &Worker, function: &Server, partitions: i32) -> Setup {
    let (source, sink, name) = (
        test.topic("in", partitions),
        test.topic("out", partitions),
        test.name("p"),
    );
    let to = format!("kafka:{sink}");
    worker.command(
        test.folder(),
        &["register", &source, &function.url(), "--name", &name, "--sink", &to],
    );
    Setup { source, sink, name }
}

fn letters(test: &Test, worker: &Worker, arguments: &[&str]) -> Vec<Value> {
    let all = [&["dlq", "list", "--limit", "0"], arguments].concat();
    worker.answer(test.folder(), &all)["letters"]
        .as_array()
        .unwrap()
        .clone()
}

fn await_letters(test: &Test, worker: &Worker, arguments: &[&str], count: usize) -> Vec<Value> {
    wait::until(&format!("{count} letters {arguments:?}"), || {
        let found = letters(test, worker, arguments);
        (found.len() == count).then_some(found)
    })
}

fn id(letter: &Value) -> String {
    letter["id"].as_str().unwrap().to_owned()
}

fn redrive(test: &Test, worker: &Worker, arguments: &[&str]) -> Value {
    worker.answer(test.folder(), &[&["dlq", "redrive"], arguments].concat())
}

fn refused(test: &Test, worker: &Worker, arguments: &[&str]) -> String {
    let (url, all) = (worker.url(), [&["dlq"], arguments].concat());
    let ended = Worker::run(test.folder(), &[&all[..], &["--url", &url]].concat());
    assert!(!ended.status.success(), "{arguments:?} is refused");
    ended.log
}

fn a_group_is_redriven_once_the_function_is_fixed_and_then_all_others(test: &Test) {
    let function = Function::start();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let Setup { source, sink, name } = register(test, &worker, &function.server, 2);
    let entries = numbers(0..400).map(|entry| {
        let partition = i32::from(entry.text().ends_with("50"));
        let key = format!("k{}", entry.text());
        entry.key(key).to(partition)
    });
    test.client().produce(&source, entries);
    let open = await_letters(test, &worker, &[&name], 40);
    let group = open[0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(open[0]["mark"], json!("open"));

    let plan = redrive(test, &worker, &[&name, "--group", &group, "--dry-run"]);
    assert_eq!(
        (&plan["letters"], &plan["sends"], &plan["refused"]),
        (&json!(20), &json!(20), &json!([])),
        "{plan}"
    );
    assert_eq!(letters(test, &worker, &[&name]).len(), 40, "a dry run sends nothing");
    assert!(
        refused(test, &worker, &["redrive", &name]).contains("--all"),
        "which is to be said"
    );

    function.fix();
    let before = function.server.count();
    let done = redrive(test, &worker, &[&name, "--group", &group, "--why", "fixed"]);
    assert_eq!(
        (&done["state"], &done["delivered"], &done["done"]),
        (&json!("done"), &json!(20), &json!(20)),
        "{done}"
    );
    assert_eq!(letters(test, &worker, &[&name]).len(), 20, "the other group is open");
    let marked = letters(test, &worker, &[&name, "--mark", "redriven"]);
    assert_eq!(marked.len(), 20);
    assert_eq!(
        (&marked[0]["redrive"], &marked[0]["outcome"]),
        (&done["id"], &json!("delivered"))
    );
    let keys: BTreeSet<String> = function.server.requests()[before..]
        .iter()
        .map(|request| request.header("idempotency-key").to_owned())
        .collect();
    assert!(
        keys.iter().all(|key| key.contains(";g=")),
        "a redrive has keys of its own: {keys:?}"
    );

    let ids: Vec<String> = marked.iter().map(id).collect();
    let again = refused(test, &worker, &["redrive", &ids[0], &ids[1]]);
    assert!(
        again.contains("it is redriven already") && again.contains("[nothing_to_redrive]"),
        "{again}"
    );

    let rest = redrive(test, &worker, &[&name, "--all"]);
    assert_eq!(
        (&rest["state"], &rest["delivered"]),
        (&json!("done"), &json!(20)),
        "{rest}"
    );
    assert_eq!(
        letters(test, &worker, &[&name]),
        Vec::<Value>::new(),
        "no letter is open"
    );
    let read = test.client().read_count(&sink, 400);
    let mut sources: Vec<&str> = read.iter().map(|entry| entry.header_text("fnbridge.source")).collect();
    sources.sort_unstable();
    sources.dedup();
    assert_eq!(sources.len(), 400, "each record has its result, under its own name");
    let shown = worker.command(test.folder(), &["dlq", "show", &ids[0]]);
    assert!(
        shown.contains("redriven") && shown.contains("by anonymous, and delivered"),
        "{shown}"
    );
}

fn a_letter_that_fails_again_is_another_letter_until_the_loop_guard_holds_it(test: &Test) {
    let function = Function::start();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let Setup { source, name, .. } = register(test, &worker, &function.server, 1);
    test.client().produce(&source, numbers(0..1));
    for redrives in 0..3 {
        let open = await_letters(test, &worker, &[&name], 1);
        assert_eq!(open[0]["redrives"], json!(redrives));
        assert_eq!(
            open[0]["source"],
            json!(format!("{source}/0/0")),
            "it is the same record"
        );
        let done = redrive(test, &worker, &[&id(&open[0])]);
        assert_eq!(
            (&done["state"], &done["dead_lettered"]),
            (&json!("done"), &json!(1)),
            "{done}"
        );
        assert_eq!(done["failures"][0]["reason"], json!("no customer 0"));
    }
    let last = await_letters(test, &worker, &[&name], 1);
    assert_eq!(last[0]["redrives"], json!(3));
    let guard = refused(test, &worker, &["redrive", &name, "--all"]);
    assert!(
        guard.contains("redriven 3 times, and `dead_letter.max_redrives` is 3"),
        "{guard}"
    );
}

fn a_letter_that_a_sink_refused_goes_to_that_sink_alone_with_the_kept_result(test: &Test) {
    let function = Server::start(|request| {
        Reply::verdicts(
            request,
            |record| json!({"action": "deliver", "records": [{"value": {"n": record["value"]}}]}),
        )
    });
    let takes: Arc<AtomicBool> = Arc::default();
    let is_open = takes.clone();
    let picky = Server::start(move |request: &Request| match is_open.load(Ordering::SeqCst) {
        true => Reply::of(200, ""),
        false if request.json().to_string().contains("{\"n\":3}") => Reply::of(422, "not this one"),
        false => Reply::of(200, ""),
    });
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let (source, sink, name) = (test.topic("in", 1), test.topic("out", 1), test.name("p"));
    let to = format!("kafka:{sink}");
    worker.command(
        test.folder(),
        &[
            "register",
            &source,
            &function.url(),
            "--name",
            &name,
            "--sink",
            &to,
            "--sink",
            &picky.url(),
        ],
    );
    test.client()
        .produce(&source, numbers(0..5).map(|entry| entry.key("k")));
    let open = await_letters(test, &worker, &[&name], 1);
    assert_eq!(
        (&open[0]["stage"], &open[0]["status"]),
        (&json!("sink"), &json!(422)),
        "{open:?}"
    );
    takes.store(true, Ordering::SeqCst);
    let (calls, stored) = (function.count(), picky.count());
    let plan = redrive(test, &worker, &[&name, "--all", "--dry-run"]);
    assert_eq!(plan["to_sink"], json!(1));
    let done = redrive(test, &worker, &[&name, "--all"]);
    assert_eq!(
        (&done["state"], &done["delivered"]),
        (&json!("done"), &json!(1)),
        "{done}"
    );
    assert_eq!(function.count(), calls, "the function is not called again");
    let request = &picky.wait_count(stored + 1)[stored];
    assert!(request.json().to_string().contains("{\"n\":3}"), "{}", request.json());
    assert_eq!(
        test.client().read_all(&sink).len(),
        5,
        "the other sink gets nothing twice"
    );
}

fn a_job_is_carried_on_where_its_worker_died_and_says_what_may_have_been_sent_twice(test: &Test) {
    let function = Function::start();
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", json!(store));
    let (first, second) = (test.member(&setting), test.member(&setting));
    let Setup { source, sink, name } = register(test, &first, &function.server, 2);
    let entries = numbers(0..1200).map(|entry| {
        let number: i32 = entry.text().parse().unwrap();
        entry.to(number / 10 % 2)
    });
    test.client().produce(&source, entries);
    let has_index = |worker: &Worker| {
        Worker::run(test.folder(), &["dlq", "list", "--url", &worker.url()])
            .status
            .success()
    };
    let leader = if has_index(&first) { &first } else { &second };
    await_letters(test, leader, &[&name], 120);
    function.fix();
    let before = function.server.count();
    let started = redrive(test, leader, &[&name, "--all", "--rate", "20", "--detach"]);
    let job = id(&started);
    let shown = |worker: &Worker| worker.answer(test.folder(), &["dlq", "redrives", &job]);
    let half = wait::within(Duration::from_secs(40), "a third of the letters to be done", || {
        let job = shown(&first);
        (job["done"].as_u64() >= Some(40)).then_some(job)
    });
    let (dies, lives) = match half["worker"] == json!(worker_id(&first)) {
        true => (&first, &second),
        false => (&second, &first),
    };
    dies.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(test.folder().join(format!("fleet-letters.db{suffix}")));
    }
    let done = wait::within(Duration::from_secs(90), "the other worker to carry it on", || {
        let job = shown(lives);
        (job["state"] == json!("done")).then_some(job)
    });
    assert_eq!(
        (&done["worker"], &done["delivered"]),
        (&json!(worker_id(lives)), &json!(120)),
        "{done}"
    );

    let mut calls: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for request in &function.server.requests()[before..] {
        request
            .ids()
            .into_iter()
            .for_each(|id| *calls.entry(id).or_default() += 1);
    }
    let twice = calls.values().filter(|times| **times > 1).count() as u64;
    let said = done["repeated"].as_u64().unwrap();
    assert_eq!(calls.len(), 120, "each was sent");
    assert!(
        twice <= said,
        "{twice} were sent twice, and {said} may have been: {done}"
    );
    assert!(said <= 40, "no more than what was on its way: {said}");
    await_letters(test, lives, &[&name], 0);
    let read = test.client().read_all(&sink);
    let sources: BTreeSet<&str> = read.iter().map(|entry| entry.header_text("fnbridge.source")).collect();
    assert_eq!(sources.len(), 1200, "the output is complete");
}

fn worker_id(worker: &Worker) -> String {
    let fleet: Value = reqwest::blocking::get(format!("{}/v1/workers", worker.url()))
        .unwrap()
        .json()
        .unwrap();
    let address = worker.url().replace("http://", "");
    let workers = fleet["workers"].as_array().unwrap();
    let own = workers.iter().find(|found| {
        found["address"]
            .as_str()
            .is_some_and(|at| address.ends_with(at) || at.ends_with(&address))
    });
    own.unwrap_or_else(|| panic!("{address} in {fleet}"))["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn a_job_waits_goes_on_ends_and_stops_by_itself(test: &Test) {
    let function = Function::start();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let Setup { source, name, .. } = register(test, &worker, &function.server, 1);
    test.client().produce(&source, numbers(0..1000));
    await_letters(test, &worker, &[&name], 100);
    let told = |id: &str, what: &str| worker.answer(test.folder(), &["dlq", "redrives", id, what]);
    let show = |id: &str| worker.answer(test.folder(), &["dlq", "redrives", id]);

    let job = id(&redrive(
        test,
        &worker,
        &[&name, "--all", "--rate", "5", "--max-failed", "1", "--detach"],
    ));
    wait::until_true("some letters to be done", || show(&job)["done"].as_u64() >= Some(5));
    assert_eq!(told(&job, "--pause")["state"], json!("paused"));
    std::thread::sleep(Duration::from_secs(3));
    let paused = show(&job)["done"].as_u64();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(show(&job)["done"].as_u64(), paused, "a paused job sends nothing");
    assert_eq!(told(&job, "--resume")["state"], json!("running"));
    wait::until_true("it to go on", || show(&job)["done"].as_u64() > paused);
    assert_eq!(told(&job, "--cancel")["state"], json!("cancelled"));
    let over = refused(test, &worker, &["redrives", &job, "--resume"]);
    assert!(
        over.contains("the redrive is cancelled: it can't be resumed") && over.contains("[wrong_state]"),
        "{over}"
    );
    let listed = worker.command(test.folder(), &["dlq", "redrives"]);
    assert!(listed.contains(&job) && listed.contains("cancelled"), "{listed}");

    // All fail again: it stops long before the end.
    let stops = refused(test, &worker, &["redrive", &name, "--all", "--rate", "50"]);
    assert!(
        stops.contains("stopped by itself") && stops.contains("letters failed again, and at most 50% may: no "),
        "{stops}"
    );
    let capped = redrive(test, &worker, &[&name, "--all", "--max", "3", "--max-failed", "1"]);
    assert_eq!(
        (&capped["state"], &capped["done"]),
        (&json!("done"), &json!(3)),
        "{capped}"
    );
}

fn a_letter_is_edited_or_discarded_and_the_audit_log_says_who_and_why(test: &Test) {
    let function = Function::start();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let Setup { source, sink, name } = register(test, &worker, &function.server, 1);
    test.client().produce(
        &source,
        [
            Entry::value("0").key("a"),
            Entry::value("20").key("b"),
            Entry::value("30").key("c"),
        ],
    );
    let open = await_letters(test, &worker, &[&name, "--oldest-first"], 3);
    let same = refused(test, &worker, &["edit", &id(&open[0]), "--value", "0"]);
    assert!(same.contains("the value is the one that it has"), "{same}");
    let raw = worker.command(test.folder(), &["dlq", "show", &id(&open[0]), "--raw"]);
    assert_eq!(raw, "0", "nothing but the value");
    let edited = worker.answer(
        test.folder(),
        &["dlq", "edit", &id(&open[0]), "--value", "7", "--why", "typo"],
    );
    assert_eq!(
        (&edited["state"], &edited["delivered"]),
        (&json!("done"), &json!(1)),
        "{edited}"
    );
    let result = &test.client().read_count(&sink, 1)[0];
    assert_eq!(
        (result.text(), result.header_text("fnbridge.source")),
        ("7", format!("{source}/0/0#0").as_str())
    );
    let shown = worker.answer(test.folder(), &["dlq", "show", &id(&open[0])]);
    assert_eq!(
        (&shown["mark"], &shown["marked"]["differences"]),
        (&json!("edited"), &json!([{"field": "", "from": 0, "to": 7}]))
    );

    let discarded = worker.answer(
        test.folder(),
        &["dlq", "discard", &name, "--key", "b", "--why", "a test order"],
    );
    assert_eq!(discarded["letters"], json!(1));
    let shown = worker.command(test.folder(), &["dlq", "show", &id(&open[1])]);
    assert!(
        shown.contains("discarded") && shown.contains("by anonymous: a test order"),
        "{shown}"
    );
    let left = letters(test, &worker, &[&name]);
    assert_eq!(left.iter().map(id).collect::<Vec<_>>(), [id(&open[2])]);
    let gone = refused(test, &worker, &["redrive", &id(&open[1])]);
    assert!(gone.contains("it is discarded already"), "{gone}");
    let log = worker.command(test.folder(), &["audit-log"]);
    for part in [
        "dead_letter.edited",
        "typo",
        "dead_letter.discarded",
        "a test order",
        "redrive.done",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
}

fn letters_go_to_the_source_topic_when_asked_and_say_where_they_came_from(test: &Test) {
    let function = Function::start();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let Setup { source, name, .. } = register(test, &worker, &function.server, 2);
    test.client()
        .produce(&source, [Entry::value("10").key("a").to(1).header("trace", Some(b"t"))]);
    let open = await_letters(test, &worker, &[&name], 1);
    let done = redrive(test, &worker, &[&id(&open[0]), "--to", "source"]);
    assert_eq!(
        (&done["state"], &done["to_source"]),
        (&json!("done"), &json!(1)),
        "{done}"
    );
    let read = test.client().read_count(&source, 2);
    let again = &read[1];
    assert_eq!((again.text(), again.header_text("trace")), ("10", "t"));
    assert_eq!(again.header_text("fnbridge.origin"), format!("{source}/1/0"));
    let open = await_letters(test, &worker, &[&name], 1);
    assert_eq!(
        (&open[0]["source"], &open[0]["redrives"]),
        (&json!(format!("{source}/1/1")), &json!(1))
    );
    let shown = worker.answer(test.folder(), &["dlq", "show", &id(&open[0])]);
    let origin = json!({"name": "fnbridge.origin", "value": format!("{source}/1/0")});
    assert!(
        shown["headers"].as_array().unwrap().contains(&origin),
        "the first id goes along: {shown}"
    );
}
