//! A worker's file with the files of its pipelines.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{Foundation, WorkerSettings, check, load, share_out};
use crate::kafka::{ClusterSettings, Topics};
use crate::pipeline::PipelineSettings;

/// A folder of files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fnbridge-config-{}-{count}", std::process::id()));
        fs::create_dir_all(folder.join("pipelines")).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WORKER: &str =
    "limits: {in_flight_bytes: 48MiB, prefetch_bytes: 4MiB}\npipelines: [pipelines/*.yaml, pipelines/b.yaml]\n";
const A: &str = "name: a\nsource: {topics: [t]}\nsinks: [{kafka: {topic: out}}]\n";
const B: &str = "name: b\nsource: {topic_pattern: '.*'}\nfunction: {url: 'http://127.0.0.1:1/'}\n\
    sinks: [{kafka: {topic: b-out}}, {http: {url: 'http://127.0.0.1:2/', headers: {x: {file: token}}}}]\n";

fn folder() -> Folder {
    Folder::with(&[
        ("worker.yaml", WORKER),
        ("pipelines/a.yaml", A),
        ("pipelines/b.yaml", B),
        ("pipelines/token", "secret\n"),
    ])
}

#[test]
fn pipelines_share_what_the_worker_may_hold() {
    let folder = folder();
    let loaded = load(&folder.file("worker.yaml")).unwrap();
    let pipelines = share_out(loaded.pipelines, &loaded.worker);
    let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    for pipeline in &pipelines {
        assert_eq!(
            (pipeline.share_bytes, pipeline.task.in_flight_bytes),
            (24 << 20, 32 << 20)
        );
        assert_eq!(pipeline.source.prefetch_bytes, 2 << 20);
        assert_eq!(pipeline.source.worker, loaded.worker.id);
    }
}

#[test]
fn a_weight_is_a_part_of_what_is_held_and_of_what_is_fetched_ahead() {
    let folder = folder();
    let loaded = load(&folder.file("worker.yaml")).unwrap();
    let mut pipelines = loaded.pipelines;
    pipelines[1].weight = 3;
    let shares = |pipelines: &[PipelineSettings]| -> Vec<(usize, usize)> {
        let share = |pipeline: &PipelineSettings| (pipeline.share_bytes >> 20, pipeline.source.prefetch_bytes >> 20);
        pipelines.iter().map(share).collect()
    };
    // The second can use no more than its own 32 MiB of the worker's 48.
    assert_eq!(
        shares(&share_out(pipelines.clone(), &loaded.worker)),
        [(16, 1), (32, 3)]
    );
    pipelines.push(pipelines[0].clone());
    assert_eq!(
        shares(&share_out(pipelines.clone(), &loaded.worker)),
        [(9, 0), (28, 2), (9, 0)]
    );
    pipelines.truncate(1);
    assert_eq!(shares(&share_out(pipelines, &loaded.worker)), [(32, 4)]);
}

#[test]
fn a_pattern_never_names_own_outputs_and_anyones_dead_letters() {
    let folder = folder();
    let loaded = load(&folder.file("worker.yaml")).unwrap();
    let pipelines = share_out(loaded.pipelines, &loaded.worker);
    let [a, b] = pipelines.as_slice() else { panic!() };
    assert!(matches!(a.source.topics, Topics::Named(_)));
    assert_eq!(b.source.never, ["b-out", "a.dead-letter", "b.dead-letter"]);
}

#[test]
fn a_file_counts_once_however_it_is_named() {
    let folder = folder();
    let (worker, a) = (folder.file("worker.yaml"), folder.file("pipelines/../pipelines/a.yaml"));
    for checked in [
        check(&[a.clone(), a.clone()], Some(&worker)),
        check(&[worker.clone(), a], None),
    ] {
        assert_eq!(checked.problems.to_string(), "");
        assert_eq!(checked.pipelines, ["a", "b"]);
    }
}

#[test]
fn a_pipeline_is_checked_as_its_worker_would_run_it() {
    let folder = Folder::with(&[
        (
            "worker.yaml",
            "functions: {deny: [127.0.0.0/8]}\npipelines: [none.yaml]\n",
        ),
        (
            "a.yaml",
            "name: a\nsource: {cluster: other, topics: [t]}\nfunction: {url: 'http://127.0.0.1:1/'}\n",
        ),
    ]);
    let checked = check(&[folder.file("a.yaml")], Some(&folder.file("worker.yaml")));
    let said = checked
        .problems
        .to_string()
        .replace(&format!("{}/", folder.0.display()), "");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "none.yaml:1:1: the file can't be read: No such file or directory (os error 2) [unreadable_file]",
            "a.yaml:2:19: source.cluster: found \"other\", expected a cluster of the worker's: default [invalid_value]",
            "a.yaml:3:17: function.url: address 127.0.0.1 is in 127.0.0.0/8, which functions.deny lists [invalid_value]",
        ]
    );
}

#[test]
fn a_revision_names_what_a_document_says_not_how_it_is_written() {
    let revision = |text: &str| {
        let folder = Folder::with(&[("worker.yaml", "pipelines: [a.yaml]"), ("a.yaml", text)]);
        let loaded = load(&folder.file("worker.yaml")).unwrap();
        loaded.pipelines[0].revision.clone()
    };
    let first = revision(A);
    assert_eq!(first.len(), 12);
    assert_eq!(
        first,
        revision(&format!(
            "# a comment\nsinks: [kafka: {{topic: out}}]\n{}",
            &A[..A.find("sinks").unwrap()]
        ))
    );
    assert_ne!(first, revision(&A.replace("out", "elsewhere")));
}

#[test]
fn secrets_are_for_pipelines_that_are_registered() {
    let document =
        "name: a\nsource: {topics: [t]}\nfunction: {url: 'http://127.0.0.1:1/', headers: {x: {secret: s}}}\n";
    let clusters = BTreeMap::from([(
        "default".to_owned(),
        Arc::new(ClusterSettings::plaintext("default", "h:1")),
    )]);
    let foundation = Foundation::new(WorkerSettings::by_default("w", clusters), PathBuf::new());
    let unknown = foundation.pipeline(document, &BTreeMap::new()).unwrap_err().to_string();
    assert!(
        unknown.contains("function.headers.x: found no secret named s"),
        "{unknown}"
    );
    let known = |value: &str| {
        let secrets = BTreeMap::from([("s".to_owned(), value.to_owned())]);
        foundation.pipeline(document, &secrets).unwrap().settings
    };
    let (one, other) = (known("one"), known("other"));
    assert_eq!(one.function.unwrap().headers, [("x".to_owned(), "one".to_owned())]);
    assert_ne!(one.references, other.references);
    assert_eq!(other.references, known("other").references);
}

#[test]
fn the_embedded_broker_gives_nothing_exactly_once() {
    let document = "name: a\ndelivery: exactly_once\nsource: {topics: [t]}\nsinks: [kafka: {topic: o}]\n";
    let problems = |embedded: bool| {
        let cluster = ClusterSettings {
            embedded,
            ..ClusterSettings::plaintext("default", "h:1")
        };
        let clusters = BTreeMap::from([("default".to_owned(), Arc::new(cluster))]);
        let foundation = Foundation::new(WorkerSettings::by_default("w", clusters), PathBuf::new());
        let built = foundation.pipeline(document, &BTreeMap::new());
        built.map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    assert_eq!(problems(false), "");
    let refused = problems(true);
    assert!(
        refused.contains("delivery: found exactly_once on the embedded broker")
            && refused.ends_with("[not_supported_yet]"),
        "{refused}"
    );
}
