//! A night on call, as `docs/dead-letters.md` tells it: its commands are read from the page and run in their order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::commands::commands;
use crate::harness::load::numbers;
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![a_broken_deployment_is_found_repaired_redriven_and_proved_to_have_lost_nothing];

const RECORDS: i64 = 3000;
const PARTITIONS: i32 = 2;
const KEYS: i64 = 40;

fn delivers(request: &Request) -> Reply {
    Reply::verdicts(
        request,
        |record| json!({"action": "deliver", "records": [{"value": record["value"]}]}),
    )
}

/// Two records in a hundred are refused in one of three ways until it is fixed.
fn deployment(fixed: Arc<AtomicBool>) -> Server {
    Server::start(move |request| {
        if fixed.load(Ordering::SeqCst) {
            return delivers(request);
        }
        Reply::verdicts(request, |record| {
            let number = record["value"].as_i64().unwrap_or_default();
            let reason = match number % 150 {
                0 => format!("customer {number} is unknown"),
                50 => format!("amount \"{number}.50\" is below zero"),
                100 => format!("no stock for order o-{number}"),
                _ => return json!({"action": "deliver", "records": [{"value": number}]}),
            };
            json!({"action": "dead_letter", "reason": reason})
        })
    })
}

fn a_broken_deployment_is_found_repaired_redriven_and_proved_to_have_lost_nothing(test: &Test) {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dead-letters.md")).expect("the page");
    let mut commands = commands(&page, "## A night on call");
    let fixed: Arc<AtomicBool> = Arc::default();
    let (broken, next_version) = (deployment(fixed.clone()), Server::start(delivers));
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", json!(store));
    let workers = [test.member(&setting), test.member(&setting)];
    let (source, sink) = (test.topic("in", PARTITIONS), test.topic("out", PARTITIONS));
    let to = format!("kafka:{sink}");
    let register = [
        "register",
        &source,
        &broken.url(),
        "--name",
        "orders-enrich",
        "--sink",
        &to,
    ];
    workers[0].command(test.folder(), &register);
    test.client().produce(&source, numbers(0..RECORDS).map(keyed));
    let leader = workers
        .iter()
        .find(|worker| has_letters(test, worker))
        .expect("the worker that leads");
    wait::until_true("sixty letters", || open(test, leader).len() == 60);

    let group = open(test, leader)[0]["fingerprint"].as_str().unwrap().to_owned();
    let fill = |command: &str| {
        let command = command.replace("05a7452739e55487", &group);
        command.replace("http://localhost:3000/", &next_version.url())
    };
    let groups = run(test, leader, &next(&mut commands, "fnbridge dlq groups"), &fill);
    assert!(groups.contains("60 dead letters in 3 groups"), "{groups}");
    println!("{groups}");
    let some = run(test, leader, &next(&mut commands, "fnbridge dlq list"), &fill);
    assert_eq!(some.lines().count(), 6, "five letters below their heads: {some}");
    let shown = run(test, leader, &next(&mut commands, "fnbridge dlq show"), &fill);
    assert!(shown.contains("customer 0 is unknown"), "{shown}");
    println!("{shown}");
    let tried = run(test, leader, &next(&mut commands, "fnbridge try"), &fill);
    assert!(tried.contains("1 result is delivered"), "{tried}");
    // Of keys 0, 10, 20 and 30, whose first letters are the records 0, 50, 100 and 150: all that follow, but for letters.
    let first_rounds = [0, 1, 2, 3];
    let later =
        (0..RECORDS).filter(|n| n % 10 == 0 && n % 50 != 0 && n / KEYS > first_rounds[(n % KEYS / 10) as usize]);
    let behind = format!("{} later records of 4 of the same keys are done with", later.count());
    let dry_run = next(&mut commands, "fnbridge dlq redrive orders-enrich --all --dry-run");
    let plan = wait::until(&format!("a plan that says: {behind}"), || {
        Some(run(test, leader, &dry_run, &fill)).filter(|plan| plan.contains(&behind))
    });
    assert!(
        plan.starts_with("60 of 60 dead letters of orders-enrich would be sent"),
        "{plan}"
    );

    fixed.store(true, Ordering::SeqCst);
    let redrive = next(&mut commands, "fnbridge dlq redrive orders-enrich --all --rate 20") + " --detach";
    run(test, leader, &redrive, &fill);
    let job = |worker: &Worker| worker.answer(test.folder(), &["dlq", "redrives"])["redrives"][0].clone();
    let half = wait::within(Duration::from_secs(60), "half of the letters to be done", || {
        let job = job(leader);
        (job["done"].as_u64() >= Some(20)).then_some(job)
    });
    let [first, second] = &workers;
    let carries = |worker: &Worker| {
        worker
            .log_line(&["worker started", &format!("worker={}", half["worker"])])
            .is_some()
    };
    let (dies, lives) = if carries(first) {
        (first, second)
    } else {
        (second, first)
    };
    dies.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(test.folder().join(format!("fleet-letters.db{suffix}")));
    }
    let done = wait::within(Duration::from_secs(90), "the other worker to carry it on", || {
        let job = job(lives);
        (job["state"] == json!("done")).then_some(job)
    });
    assert_eq!(
        (&done["delivered"], &done["dead_lettered"]),
        (&json!(60), &json!(0)),
        "{done}"
    );
    let listed = run(test, lives, &next(&mut commands, "fnbridge dlq redrives"), &fill);
    assert!(listed.contains("done") && listed.contains("v43"), "{listed}");
    wait::until_true("the index to be read anew", || {
        has_letters(test, lives) && redriven(test, lives).len() == 60
    });
    let none = run(test, lives, &next(&mut commands, "fnbridge dlq list"), &fill);
    assert_eq!(none, "no dead letters\n");

    let results = test.client().read_all(&sink);
    let late: BTreeSet<String> = redriven(test, lives)
        .iter()
        .map(|letter| letter["source"].as_str().unwrap().to_owned())
        .collect();
    check_order(&results, &late);
    let account = next(&mut commands, "fnbridge audit");
    let audit = wait::within(Duration::from_secs(60), "all records to be settled", || {
        let audit = run(test, lives, &account, &fill);
        audit.contains("3000  records in the source log").then_some(audit)
    });
    assert!(
        audit.contains("orders-enrich adds up") && audit.contains("60  of these: the last letter is redriven"),
        "{audit}"
    );
    assert!(commands.is_empty(), "nothing was left out: {commands:?}");

    let taken = results
        .iter()
        .find(|entry| entry.partition == Some(0))
        .expect("a result");
    let id = taken
        .header_text("fnbridge.source")
        .split('#')
        .next()
        .unwrap()
        .to_owned();
    let repeats = results
        .iter()
        .filter(|entry| entry.header_text("fnbridge.source").starts_with(&format!("{id}#")))
        .count();
    assert_eq!(repeats, 1, "it stands there once");
    test.client().delete_records_before(&sink, 0, 1);
    let ended = Worker::run(test.folder(), &["audit", "orders-enrich", "--url", &lives.url()]);
    assert!(
        !ended.status.success() && ended.output.contains("does not add up"),
        "{}{}",
        ended.output,
        ended.log
    );
    assert!(ended.output.contains(&format!("; these\n  {id}\n")), "{}", ended.output);
}

fn keyed(entry: Entry) -> Entry {
    let number: i64 = entry.text().parse().unwrap();
    let key = number % KEYS;
    let partition = i32::try_from(key).unwrap() % PARTITIONS;
    entry.key(format!("k{key}")).to(partition)
}

/// Each record has its result, and a key's results stand in order but for those that came late and are named.
fn check_order(results: &[Entry], late: &BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for entry in results {
        let number: i64 = entry.text().parse().unwrap();
        let id = entry
            .header_text("fnbridge.source")
            .split('#')
            .next()
            .unwrap()
            .to_owned();
        let is_first = seen.insert(number);
        if is_first && !late.contains(&id) {
            let before = last.insert(entry.key.clone().unwrap(), number);
            assert!(
                before.is_none_or(|before| before < number),
                "{id} is out of order, and not named"
            );
        }
    }
    assert_eq!(seen.len(), usize::try_from(RECORDS).unwrap(), "the output is complete");
}

fn next(commands: &mut VecDeque<String>, begins: &str) -> String {
    let command = commands
        .pop_front()
        .unwrap_or_else(|| panic!("no command left for {begins}"));
    assert!(command.starts_with(begins), "found {command:?}, expected {begins} …");
    command
}

fn run(test: &Test, worker: &Worker, command: &str, fill: &dyn Fn(&str) -> String) -> String {
    let command = fill(command);
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    worker.command(test.folder(), &words)
}

fn has_letters(test: &Test, worker: &Worker) -> bool {
    Worker::run(test.folder(), &["dlq", "list", "--url", &worker.url()])
        .status
        .success()
}

fn open(test: &Test, worker: &Worker) -> Vec<Value> {
    let found = worker.answer(test.folder(), &["dlq", "list", "orders-enrich", "--limit", "0"]);
    found["letters"].as_array().unwrap().clone()
}

fn redriven(test: &Test, worker: &Worker) -> Vec<Value> {
    let all = ["dlq", "list", "orders-enrich", "--mark", "redriven", "--limit", "0"];
    worker.answer(test.folder(), &all)["letters"]
        .as_array()
        .unwrap()
        .clone()
}
