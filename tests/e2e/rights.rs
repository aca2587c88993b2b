//! TLS, passwords and ACLs: it works; and where a right is missing, log and metrics name it and nothing is committed.

use crate::harness::checker::{self, Found};
use crate::harness::pipeline::Pipeline;
use crate::harness::secured::{self, user};
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![
    scram_over_tls_reads_writes_and_commits,
    plain_over_tls_reads_writes_and_commits,
    a_wrong_password_is_named_and_nothing_is_committed,
    without_the_right_to_read_nothing_is_committed_and_the_right_is_named,
    without_the_right_to_use_the_group_nothing_is_committed_and_the_right_is_named,
    without_the_right_to_write_the_sink_nothing_is_committed_and_the_right_is_named,
    without_the_right_to_write_dead_letters_nothing_is_committed_and_the_right_is_named,
];

fn scram_over_tls_reads_writes_and_commits(test: &Test) {
    works_for(test, user::ABLE);
}

fn plain_over_tls_reads_writes_and_commits(test: &Test) {
    works_for(test, user::PLAIN);
}

fn works_for(test: &Test, user: &str) {
    let (secured, pipeline, function) = prepare(test);
    let client = secured.admin();
    function.answer(|request| {
        if request.place().1.contains(&7) {
            Reply::of(422, "no")
        } else {
            Reply::echo(request)
        }
    });
    test.worker_on(&secured.setting(user), &pipeline);
    client.await_committed(&pipeline.group(), &test.topic_name("src"), &[20]);
    let others = (0..20).filter(|offset| *offset != 7).collect();
    let read = client.read_all(&test.topic_name("out"));
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 19, again: 0 }
    );
    assert_eq!(client.read_all(&test.topic_name("dlt")).len(), 1);
}

fn a_wrong_password_is_named_and_nothing_is_committed(test: &Test) {
    let (secured, pipeline, _function) = prepare(test);
    let mut setting = secured.setting(user::ABLE);
    setting.cluster["security"]["password"] = "nobody-set-this".into();
    let worker = test.worker_not_ready(&setting, &pipeline);
    worker.await_log(&["default", "user and password"]);
    assert!(worker.is_healthy(), "it goes on trying");
    assert!(worker.log_line(&["nobody-set-this"]).is_none(), "no password in a log");
    nothing_was_done(test, &pipeline);
}

fn without_the_right_to_read_nothing_is_committed_and_the_right_is_named(test: &Test) {
    let function = lacks(
        test,
        user::NO_READ,
        &format!("Read on topic `{}`", test.topic_name("src")),
    );
    assert_eq!(function.count(), 0);
}

fn without_the_right_to_use_the_group_nothing_is_committed_and_the_right_is_named(test: &Test) {
    let group = format!("fnbridge-{}", test.name("p"));
    let function = lacks(test, user::NO_GROUP, &format!("Read on group `{group}`"));
    assert_eq!(function.count(), 0);
}

fn without_the_right_to_write_the_sink_nothing_is_committed_and_the_right_is_named(test: &Test) {
    let function = lacks(
        test,
        user::NO_SINK,
        &format!("Write on topic `{}`", test.topic_name("out")),
    );
    let calls = function.requests();
    let called: usize = calls.iter().map(|request| request.records().len()).sum();
    assert!(
        called <= 20,
        "the function is not called again for a sink's sake: {called} records called"
    );
}

fn without_the_right_to_write_dead_letters_nothing_is_committed_and_the_right_is_named(test: &Test) {
    let function = lacks(
        test,
        user::NO_LETTERS,
        &format!("Write on topic `{}`", test.topic_name("dlt")),
    );
    assert_eq!(function.count(), 0, "no record is taken before letters can be written");
}

/// Runs a pipeline as a user who lacks a right; gives the function.
fn lacks(test: &Test, user: &str, right: &str) -> Server {
    let (secured, pipeline, function) = prepare(test);
    let worker = test.worker_not_ready(&secured.setting(user), &pipeline);
    worker.await_log(&[pipeline.name(), right]);
    worker.await_metric("fnbridge_missing_right", &[&format!("right=\"{right}\"")], 1.0);
    nothing_was_done(test, &pipeline);
    assert!(worker.is_healthy(), "it goes on trying");
    function
}

fn nothing_was_done(test: &Test, pipeline: &Pipeline) {
    let client = secured::shared().admin();
    let committed = client.committed(&pipeline.group(), &test.topic_name("src"));
    assert!(committed.values().all(|(offset, _)| *offset == 0), "{committed:?}");
    for topic in ["out", "dlt"] {
        assert!(client.read_all(&test.topic_name(topic)).is_empty(), "{topic}");
    }
}

fn prepare(test: &Test) -> (&'static secured::Secured, Pipeline, Server) {
    let secured = secured::shared();
    let client = secured.admin();
    for part in ["src", "out", "dlt"] {
        client.create(&test.topic_name(part), 1, &[("retention.ms", "-1")]);
    }
    client.produce(&test.topic_name("src"), (0..20).map(|n| Entry::value(n.to_string())));
    let function = Server::echo();
    let pipeline = Pipeline::new(&test.name("p"), &test.topic_name("src"))
        .function(&function.url())
        .topic_sink(&test.topic_name("out"))
        .set("dead_letter.topic", test.topic_name("dlt"));
    (secured, pipeline, function)
}
