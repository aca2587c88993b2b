//! What goes wrong when somebody starts a worker: one clear line each, refused or retried, never a silent wait.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use crate::harness::children::free_port;
use crate::harness::server::Server;
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::worker::{Setting, Worker};

suite![
    five_mistakes_are_five_problems_in_one_run,
    a_port_in_use_is_named,
    a_topic_that_does_not_exist_is_named_and_waited_for,
    a_broker_that_is_away_is_named_and_waited_for,
];

fn five_mistakes_are_five_problems_in_one_run(test: &Test) {
    let pipeline = test.folder().join("pipeline.yaml");
    let mistakes = "name: Orders!\nsource: {topics: [orders], topix: 1}\nbatch: {max_records: 0}\n\
        retry: {max_attempts: many}\nfunction: {url: not-a-url}\n";
    fs::write(&pipeline, mistakes).expect("a pipeline");
    let config = test.folder().join("fnbridge.yaml");
    let clusters = json!({"default": {"bootstrap_servers": test.broker().bootstrap()}});
    let text = json!({"listen": "127.0.0.1:0", "clusters": clusters, "pipelines": [pipeline]});
    fs::write(&config, text.to_string()).expect("a configuration");
    let fields = [
        "name",
        "source.topix",
        "batch.max_records",
        "retry.max_attempts",
        "function.url",
    ];
    for arguments in [["check", "-f", "pipeline.yaml"], ["serve", "--config", "fnbridge.yaml"]] {
        let ended = Worker::run(test.folder(), &arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        let said = format!("{}\n{}", ended.output, ended.log);
        for field in fields {
            assert!(said.contains(field), "{arguments:?} says nothing of {field}: {said}");
        }
    }
}

fn a_port_in_use_is_named(test: &Test) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let config = json!({"listen": address, "clusters": {"default": {"bootstrap_servers": test.broker().bootstrap()}}});
    fs::write(test.folder().join("fnbridge.yaml"), config.to_string()).expect("a configuration");
    let ended = Worker::run(test.folder(), &["serve", "--config", "fnbridge.yaml"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(
        ended.log.contains(&address) && ended.log.contains("in use"),
        "{ended:?}"
    );
}

fn a_topic_that_does_not_exist_is_named_and_waited_for(test: &Test) {
    let source = test.name("in");
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url());
    let setting = Setting::plaintext(&test.broker().bootstrap());
    let worker = test.worker_not_ready(&setting, &pipeline);
    worker.await_log(&[&source, "does not exist"]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    test.client().create(&source, 1, &[]);
    test.client().produce(&source, [Entry::value("1")]);
    test.client().await_committed(&pipeline.group(), &source, &[1]);
    assert_eq!(function.count(), 1);
}

fn a_broker_that_is_away_is_named_and_waited_for(test: &Test) {
    let address = format!("127.0.0.1:{}", free_port());
    let function = Server::echo();
    let pipeline = test.pipeline("orders").function(&function.url());
    let worker = test.worker_not_ready(&Setting::plaintext(&address), &pipeline);
    worker.await_log(&["default", &address]);
    assert!(worker.is_healthy());
    assert!(worker.stop().success(), "and it ends when it is told to");
}
