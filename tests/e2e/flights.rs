//! The whole of it at once, on public data: 200,000 flights through twelve partitions and a Python function, while one of
//! two workers is killed half-way. Runs by `./run tests flights`.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::Value;

use crate::harness::checker;
use crate::harness::children::{self, free_port};
use crate::harness::test::{Suite, Test};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Setting;

const PARTITIONS: i32 = 12;
const SETTLED: &str = "fnbridge_settled_records_total";

/// The tests of this file.
pub fn tests() -> Suite {
    Suite::new().with_long(
        "e2e::flights::every_flight_arrives_in_order_though_a_worker_is_killed",
        every_flight_arrives_in_order_though_a_worker_is_killed,
    )
}

fn every_flight_arrives_in_order_though_a_worker_is_killed(test: &Test) {
    let flights = flights();
    assert!(flights.len() >= 100_000, "{} flights", flights.len());
    let (source, out) = (test.topic("flights", PARTITIONS), test.topic("enriched", PARTITIONS));
    let (mut ends, mut delivered) = (vec![0_i64; 12], BTreeMap::<i32, Vec<i64>>::new());
    let entries = (0..).zip(&flights).map(|(n, flight)| {
        let partition = n % PARTITIONS;
        let end = &mut ends[usize::try_from(partition).unwrap()];
        if !flight["delay"].is_null() {
            delivered.entry(partition).or_default().push(*end);
        }
        *end += 1;
        Entry::value(flight.to_string())
            .key(format!("flight-{n}"))
            .to(partition)
    });
    test.client().produce(&source, entries);

    let url = start_function();
    let pipeline = test.pipeline(&source).function(&url).topic_sink(&out);
    let setting = Setting::plaintext(&test.broker().bootstrap());
    let setting = setting
        .property("session.timeout.ms", "6000")
        .property("heartbeat.interval.ms", "500");
    let first = test.worker_on(&setting, &pipeline);
    let second = test.worker_on(&setting, &pipeline);
    let half = flights.len() as f64 / 2.0;
    wait::within(
        wait::PATIENCE * 5,
        "half of the flights to be settled by two workers",
        || {
            let of_second = second.metrics().sum(SETTLED, &[]);
            (of_second > 0.0 && first.metrics().sum(SETTLED, &[]) + of_second >= half).then_some(())
        },
    );
    second.kill();
    wait::within(wait::PATIENCE * 5, "all flights to be committed", || {
        let committed = test.client().committed(&pipeline.group(), &source);
        (0..)
            .zip(&ends)
            .all(|(p, end)| committed.get(&p).is_some_and(|(offset, _)| offset == end))
            .then_some(())
    });

    let read = test.client().read_all(&out);
    let found = checker::check_partitions(&read, &delivered);
    let expected: usize = delivered.values().map(Vec::len).sum();
    assert_eq!(found.first, expected, "every flight that has a delay is delivered");
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    for entry in &read {
        let (partition, offset) = checker::place_of(entry);
        let flight = &flights[usize::try_from(offset * i64::from(PARTITIONS) + i64::from(partition)).unwrap()];
        let enriched: Value = serde_json::from_str(entry.text()).expect("JSON");
        assert_eq!(
            (&enriched["delay"], &enriched["distance"]),
            (&flight["delay"], &flight["distance"])
        );
        assert!(
            enriched["status"].is_string() && enriched["distance_km"].is_number(),
            "{enriched}"
        );
    }
    println!(
        "{} flights: {} delivered in order of first occurrence in each of {PARTITIONS} partitions, no gap, {} twice",
        flights.len(),
        found.first,
        found.again
    );
}

fn flights() -> Vec<Value> {
    let file = env::var("FNBRIDGE_TEST_FLIGHTS").expect("`./run tests flights` fetches the data and names the file");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).expect("an array of flights")
}

/// Starts the function of `functions/flights`, and gives its URL.
fn start_function() -> String {
    let port = free_port();
    let mut python = Command::new("python3");
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions");
    python.args([functions.join("serve.py"), functions.join("flights/flights.py")]);
    python.env("PORT", port.to_string()).env("HOST", "127.0.0.1");
    python.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = children::start(python);
    wait::until("the Python function to listen", || {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            panic!("the Python function ended with {status}");
        }
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    format!("http://127.0.0.1:{port}/")
}
