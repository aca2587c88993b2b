//! README's chapter on registering, word for word: its commands are read from the page and run in their order.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::commands::commands;
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::worker::{Setting, Worker};

suite![what_the_readme_says_of_registering_works_as_it_stands];

/// The one record that the chapter passes over.
const POISON: (i32, i64) = (0, 42);

fn what_the_readme_says_of_registering_works_as_it_stands(test: &Test) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let mut commands = commands(&page, "## Register on a running worker");
    let mut next = |begins: &str| {
        let command = commands
            .pop_front()
            .unwrap_or_else(|| panic!("no command left for {begins}"));
        assert!(command.starts_with(begins), "found {command:?}, expected {begins} …");
        command
    };
    ["orders", "orders-out"]
        .iter()
        .for_each(|topic| test.client().create(topic, 1, &[]));
    // The function has nothing against any record but one, and wants to see that one later, again and again.
    let function = Server::start(|request| match request.place() {
        (partition, offsets) if partition == POISON.0 && offsets.contains(&POISON.1) => Reply::of(503, ""),
        _ => Reply::echo(request),
    });
    let results = |count: usize| test.client().read_count("orders-out", count).len();

    next("fnbridge serve --config fnbridge.yaml");
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()).property("session.timeout.ms", "6000"));
    let run = |command: &str, more: &[&str]| {
        let command = command.replace("http://localhost:3000/", &function.url());
        let words: Vec<&str> = command.split_whitespace().skip(1).chain(more.iter().copied()).collect();
        let url = worker.url();
        let ended = Worker::run(test.folder(), &[&words[..], &["--url", &url]].concat());
        assert!(ended.status.success(), "{command}: {}{}", ended.output, ended.log);
        ended.output + &ended.log
    };
    let said = run(&next("fnbridge register orders "), &[]);
    assert!(said.contains("orders runs: 1 partition on "), "{said}");
    test.broker()
        .produce_with_its_own_tool("orders", (0..20).map(|n| n.to_string()));
    assert_eq!(results(20), 20);
    let status = run(&next("fnbridge pipelines status orders"), &[]);
    assert!(status.contains("running") && status.contains("orders/0"), "{status}");

    run(&next("fnbridge pipelines pause orders"), &[]);
    test.broker()
        .produce_with_its_own_tool("orders", (20..40).map(|n| n.to_string()));
    run(&next("fnbridge pipelines resume orders"), &[]);
    assert_eq!(results(40), 40);
    run(&next("fnbridge pipelines seek orders --to earliest --pause"), &[]);
    assert_eq!(results(80), 80, "everything once more");

    test.broker()
        .produce_with_its_own_tool("orders", (40..50).map(|n| n.to_string()));
    function.wait("a call with the record that the function does not take", |requests| {
        requests.iter().any(|request| request.place().1.contains(&POISON.1))
    });
    run(&next("fnbridge pipelines skip orders orders/0/42 "), &[]);
    assert_eq!(results(89), 89, "all but the one");
    let letters = test.client().read_count("orders.dead-letter", 1);
    assert_eq!(
        (letters[0].text(), letters[0].header_text("fnbridge.stage")),
        ("42", "operator")
    );

    fs::create_dir_all(test.folder().join("pipelines")).unwrap();
    let changed = json!({
        "name": "orders", "source": {"topics": ["orders"]}, "function": {"url": function.url()},
        "sinks": [{"kafka": {"topic": "orders-out"}}], "batch": {"max_records": 5},
    });
    fs::write(test.folder().join("pipelines/orders.yaml"), changed.to_string()).unwrap();
    let difference = run(&next("fnbridge apply -f pipelines/ --dry-run"), &[]);
    assert!(
        difference.contains("batch") && !difference.contains("state"),
        "{difference}"
    );
    run(&next("fnbridge pipelines delete orders"), &["--yes"]);
    worker.await_log(&["orders", "pipeline stopped"]);
    assert!(commands.is_empty(), "nothing was left out: {commands:?}");
}
