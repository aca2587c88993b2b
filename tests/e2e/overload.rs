//! More than the function can take, or more than memory can: it is called less at once, and what waits waits in Kafka.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server::{Gate, Reply, Request, Server};
use crate::harness::test::{Suite, Test};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Worker;

/// The tests of this file.
pub fn tests() -> Suite {
    Suite::new()
        .with(
            "e2e::overload::a_function_that_is_busy_is_called_less_at_once_in_order_and_no_sooner_than_it_asked",
            a_function_that_is_busy_is_called_less_at_once_in_order_and_no_sooner_than_it_asked,
        )
        .with(
            "e2e::overload::an_autoscaler_is_told_of_what_no_worker_has_taken_up",
            an_autoscaler_is_told_of_what_no_worker_has_taken_up,
        )
        .with(
            "e2e::overload::memory_stays_flat_with_256_mib_to_do_and_the_function_down",
            |test| memory_stays_flat(test, 256),
        )
        .with_long(
            "e2e::overload::memory_stays_flat_with_1_gib_to_do_and_the_function_down",
            |test| {
                memory_stays_flat(test, 1024);
            },
        )
}

const KEYS: usize = 40;
const RECORDS: usize = 800;
/// What the function can do at once, and how long it takes.
const AT_ONCE: usize = 4;
const TAKES: Duration = Duration::from_millis(50);
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn a_function_that_is_busy_is_called_less_at_once_in_order_and_no_sooner_than_it_asked(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let function = few_at_once();
    let pipeline = (test.pipeline(&source).function(&function.server.url()).topic_sink(&out))
        .set("ordering", "key")
        .set("batch.max_records", 1)
        .set("concurrency.max_in_flight", 16)
        .set("retry.max_attempts", 20);
    let entries = (0..RECORDS).map(|n| {
        Entry::value(n.to_string())
            .key(format!("k{}", n % KEYS))
            .to((n % 2) as i32)
    });
    test.client().produce(&source, entries);
    let worker = test.worker(&pipeline);

    let told = wait::until("the status to tell how many calls may be on the wire", || {
        calls_now(test, &worker, pipeline.name())
    });
    assert!(told < 16.0, "fewer than the 16 that are configured: {told}");
    assert!(worker.metrics().sum("fnbridge_limit", &["concurrency.max_in_flight"]) == 16.0);
    let shown = wait::until("the command line to show it", || {
        let shown = worker.command(test.folder(), &["pipelines", "status", pipeline.name()]);
        shown.contains(" of 16 (just now ").then_some(shown)
    });
    assert!(shown.contains("concurrency.max_in_flight"), "{shown}");
    let read = test.client().read_count(&out, RECORDS);

    let mut by_key: HashMap<Vec<u8>, Vec<i64>> = HashMap::new();
    for entry in read {
        let offset = crate::harness::checker::place_of(&entry).1;
        by_key.entry(entry.key.unwrap()).or_default().push(offset);
    }
    assert_eq!(by_key.len(), KEYS);
    assert!(
        by_key.values().all(|offsets| offsets.is_sorted()),
        "each key's results stand in order"
    );
    let asked = function.asked_to_wait.lock().unwrap();
    let mut last: BTreeMap<(i32, i64), Instant> = BTreeMap::new();
    for request in function.server.requests() {
        let place = (request.place().0, request.place().1[0]);
        if let Some(refused) = last.remove(&place) {
            let waited = request.at - refused;
            assert!(waited >= RETRY_AFTER, "{place:?} was called again after {waited:?}");
        }
        if asked.contains(&request.number) {
            last.insert(place, request.at);
        }
    }
    // Unadapted, twelve of sixteen calls at once would be told so, over and over.
    let (calls, busy) = (function.server.count(), asked.len());
    println!(
        "a function that does {AT_ONCE} at once of 16: {busy} of {calls} calls came too many, {told} at once seen"
    );
    assert!(busy * 3 < calls, "{busy} of {calls} calls were too many");
}

/// The calls that may be on the wire just now, where that is less than configured.
fn calls_now(test: &Test, worker: &Worker, pipeline: &str) -> Option<f64> {
    let status = worker.answer(test.folder(), &["pipelines", "status", pipeline]);
    let limits = status["tasks"][0]["limits"].as_array()?.clone();
    let calls = limits
        .into_iter()
        .find(|limit| limit["limit"] == json!("concurrency.max_in_flight"))?;
    assert_eq!(calls["of"], json!(16.0), "{calls}");
    calls["now"].as_f64()
}

/// A function that does so much at once, and says of more that it is busy.
struct FewAtOnce {
    server: Server,
    /// The requests that were told to come again.
    asked_to_wait: Arc<Mutex<Vec<usize>>>,
}

fn few_at_once() -> FewAtOnce {
    let asked_to_wait: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (doing, told) = (Mutex::new(Vec::<Instant>::new()), Arc::clone(&asked_to_wait));
    let answer = move |request: &Request| {
        let mut doing = doing.lock().unwrap();
        doing.retain(|until| *until > request.at);
        if doing.len() >= AT_ONCE {
            told.lock().unwrap().push(request.number);
            return Reply::of(429, "busy").header("retry-after", &RETRY_AFTER.as_secs().to_string());
        }
        doing.push(request.at + TAKES);
        Reply::echo(request).taking(TAKES)
    };
    FewAtOnce {
        server: Server::start(answer),
        asked_to_wait,
    }
}

fn an_autoscaler_is_told_of_what_no_worker_has_taken_up(test: &Test) {
    const RECORDS: i64 = 60;
    let source = test.topic("in", 4);
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| Reply::echo(request).behind(&held));
    let pipeline = (test.pipeline(&source).function(&function.url()))
        .set("batch.max_records", 1)
        .set("concurrency.max_in_flight", 2);
    test.client().produce(
        &source,
        (0..RECORDS).map(|n| Entry::value(n.to_string()).to((n % 4) as i32)),
    );
    let worker = test.worker(&pipeline);
    let scaler = |query: &str| -> Value {
        let answer = reqwest::blocking::get(format!("{}/v1/scaler{query}", worker.url()));
        answer.expect("an answer").json().expect("an object")
    };
    let busy = wait::until("both calls to be on the wire, and the rest to be told of", || {
        let told = scaler("");
        (told["undispatched_records"] == RECORDS - 2 && told["wanted_workers"] == 2).then_some(told)
    });
    assert_eq!(busy["workers"], 1, "{busy}");
    assert!(busy["oldest_undispatched_seconds"].as_f64() > Some(0.0), "{busy}");
    assert_eq!(scaler(&format!("?pipeline={}", pipeline.name()))["workers"], 1);
    assert_eq!(scaler("?pipeline=nobodys")["code"], "not_found");
    assert_eq!(scaler("?within_seconds=0")["code"], "invalid_request");

    // A function that does not work is helped by no worker.
    function.stop();
    let down = wait::until("the function to be found down", || {
        let told = scaler("");
        (told["undispatched_records"] == 0).then_some(told)
    });
    assert_eq!(
        (&down["wanted_workers"], &down["workers"]),
        (&json!(1), &json!(1)),
        "{down}"
    );
    gate.open();
    function.listen();
    test.client().await_committed(&pipeline.group(), &source, &[15; 4]);
    let done = wait::until("nothing to wait", || {
        let told = scaler("");
        (told["undispatched_records"] == 0).then_some(told)
    });
    assert_eq!(
        (&done["wanted_workers"], &done["oldest_undispatched_seconds"]),
        (&json!(1), &json!(0.0)),
        "{done}"
    );
}

const PARTITIONS: i32 = 4;
const MOST_OVER_IDLE_MIB: f64 = 150.0;
/// What the resident size may grow by once the worker holds what it may: pages that an allocator touches anew.
const MOST_GROWTH_MIB: f64 = 4.0;
const WATCHED_FOR: Duration = Duration::from_secs(12);

fn memory_stays_flat(test: &Test, backlog_mib: usize) {
    let source = test.topic("in", PARTITIONS);
    let function = Server::not_started(Reply::echo);
    let pipeline = test.pipeline(&source).function(&function.url());
    let worker = test.worker(&pipeline);
    worker.await_metric("fnbridge_assigned_partitions", &[], f64::from(PARTITIONS));
    let idle = worker.resident_mib();

    let value = format!("\"{}\"", "x".repeat(1022));
    for _ in 0..backlog_mib / 16 {
        let one = (0..16 << 10).map(|n| Entry::value(value.as_str()).to(n % PARTITIONS));
        test.client().produce(&source, one);
    }
    worker.await_metric("fnbridge_paused", &[], f64::from(PARTITIONS));
    let seen = watch(&worker);
    let held = worker.metrics().sum("fnbridge_held_bytes", &[]) / f64::from(1 << 20);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = seen.split_at(seen.len() / 2);
    let most = seen.iter().copied().fold(0.0, f64::max);
    let growth = mean(last) - mean(first);
    println!(
        "{backlog_mib} MiB to do and the function down: {idle:.1} MiB idle, {most:.1} MiB at most, of which {held:.1} MiB are \
         records; {growth:+.2} MiB from the first half of {WATCHED_FOR:?} to the second"
    );
    assert!(held > 8.0, "there is a backlog: {held:.1} MiB held");
    assert!(most - idle <= MOST_OVER_IDLE_MIB, "{most:.1} MiB, {idle:.1} idle");
    assert!(growth <= MOST_GROWTH_MIB, "{seen:.1?}");
}

/// The resident size, again and again.
fn watch(worker: &Worker) -> Vec<f64> {
    let until = Instant::now() + WATCHED_FOR;
    let mut seen = Vec::new();
    while Instant::now() < until {
        seen.push(worker.resident_mib());
        thread::park_timeout(Duration::from_millis(200));
    }
    seen
}
