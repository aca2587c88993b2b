//! Those who are measured, and how they are started.

use std::fs;

use serde_json::{Value, json};

use crate::Bench;
use crate::process::Process;

/// Starts fnbridge with one pipeline: `pipeline` is its document, less what all of them have in common.
pub fn fnbridge(bench: &Bench, run: &str, pipeline: Value) -> Process {
    fnbridge_with(bench, run, vec![pipeline])
}

pub fn fnbridge_with(bench: &Bench, run: &str, pipelines: Vec<Value>) -> Process {
    let folder = bench.folder.join(run);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for configurations");
    let mut files = Vec::new();
    for (n, pipeline) in pipelines.iter().enumerate() {
        let file = folder.join(format!("pipeline-{n}.yaml"));
        fs::write(&file, pipeline.to_string()).expect("a file");
        files.push(file);
    }
    let config = json!({
        "listen": "127.0.0.1:0",
        "clusters": {"default": {"bootstrap_servers": bench.cluster.brokers}},
        "pipelines": files,
    });
    let file = folder.join("fnbridge.yaml");
    fs::write(&file, config.to_string()).expect("a file");
    let args = ["serve", "--config", file.to_str().expect("UTF-8")];
    Process::start(&bench.fnbridge, &args, &folder.join("fnbridge.log"))
}

/// Starts the raw loop.
pub fn raw_loop(bench: &Bench, run: &str, source: &str, sink: &str, url: &str, records_a_call: usize) -> Process {
    let args = [
        &*bench.cluster.brokers,
        source,
        sink,
        url,
        run,
        &records_a_call.to_string(),
    ];
    Process::start(&bench.raw_loop, &args, &bench.folder.join(format!("{run}.log")))
}
