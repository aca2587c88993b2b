//! The built binary, running `serve`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::children::{await_end, free_port, signal, start};
use super::metrics::{Metrics, get};
use super::pipeline::Pipeline;
use super::wait;

/// One worker.
pub struct Worker {
    name: String,
    address: String,
    folder: PathBuf,
    child: Mutex<Child>,
    log: Lines,
    output: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

/// What a worker is started with, besides its pipeline.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The `clusters.default` of its configuration.
    pub cluster: Value,
    /// More of its configuration, put beside the rest.
    pub more: Value,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Setting {
    /// A plaintext cluster.
    pub fn plaintext(bootstrap: &str) -> Setting {
        Setting {
            cluster: json!({"bootstrap_servers": bootstrap, "properties": {}}),
            more: json!({}),
            environment: Vec::new(),
        }
    }

    /// With an environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Setting {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With more of the worker's configuration.
    pub fn with(mut self, field: &str, value: Value) -> Setting {
        self.more[field] = value;
        self
    }

    /// With more of its cluster's configuration.
    pub fn with_cluster(mut self, field: &str, value: Value) -> Setting {
        self.cluster[field] = value;
        self
    }

    /// With a librdkafka property.
    pub fn property(mut self, name: &str, value: &str) -> Setting {
        self.cluster["properties"][name] = json!(value);
        self
    }
}

/// A run of the binary that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it printed on stdout.
    pub output: String,
    /// What it printed on stderr.
    pub log: String,
}

impl Worker {
    /// Runs the binary to its end, in this folder.
    pub fn run(folder: &Path, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fnbridge"));
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start(command);
        let output = read_whole(child.stdout.take().expect("piped"));
        let log = read_whole(child.stderr.take().expect("piped"));
        let status = await_end(&mut child, &format!("fnbridge {arguments:?}"));
        Ended {
            status,
            output: output.join().expect("text"),
            log: log.join().expect("text"),
        }
    }

    /// Starts `fnbridge serve` in a folder of its own.
    pub fn start(name: &str, folder: &Path, setting: &Setting, pipeline: Option<&Pipeline>) -> Worker {
        let address = format!("127.0.0.1:{}", free_port());
        let config = write_configuration(folder, &address, setting, pipeline);
        let mut command = Command::new(env!("CARGO_BIN_EXE_fnbridge"));
        command.arg("serve").arg("--config").arg(config).current_dir(folder);
        command.envs(setting.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = start(command);
        Worker {
            name: name.to_owned(),
            folder: folder_of(folder, &address),
            address,
            log: collect(child.stderr.take().expect("piped")),
            output: collect(child.stdout.take().expect("piped")),
            child: Mutex::new(child),
        }
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs a command against it, which has to succeed; what it printed on stdout.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> String {
        let url = self.url();
        let ended = Worker::run(folder, &[arguments, &["--url", &url]].concat());
        assert!(
            ended.status.success(),
            "fnbridge {arguments:?}: {}{}",
            ended.output,
            ended.log
        );
        ended.output
    }

    /// What the API answers to a command with `-o json`.
    pub fn answer(&self, folder: &Path, arguments: &[&str]) -> Value {
        let text = self.command(folder, &[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits until `/readyz` says that it is ready.
    pub fn await_ready(&self) {
        wait::until(&format!("worker {} to be ready", self.name), || {
            self.assert_runs();
            self.is_ready().then_some(())
        });
    }

    /// Whether `/readyz` says that it is ready.
    pub fn is_ready(&self) -> bool {
        get(&self.address, "/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// Whether `/healthz` says that it is well.
    pub fn is_healthy(&self) -> bool {
        get(&self.address, "/healthz").is_some_and(|(status, _)| status == 200)
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> Metrics {
        let answer = get(&self.address, "/metrics").filter(|(status, _)| *status == 200);
        answer.map_or_else(Metrics::default, |(_, text)| Metrics::parse(&text))
    }

    /// Waits until the metrics are such.
    pub fn await_metrics(&self, what: &str, mut holds: impl FnMut(&Metrics) -> bool) {
        wait::until_true(what, || holds(&self.metrics()));
    }

    /// Waits until a metric, summed over the series with these labels, is at least this.
    pub fn await_metric(&self, name: &str, labels: &[&str], at_least: f64) {
        self.await_metrics(&format!("{name} {labels:?} of {at_least}"), |metrics| {
            metrics.sum(name, labels) >= at_least
        });
    }

    /// Waits for a line in the log that has all these parts.
    pub fn await_log(&self, parts: &[&str]) -> String {
        wait::until(&format!("a line in the log with {parts:?}"), || self.log_line(parts))
    }

    /// The first line in the log that has all these parts.
    pub fn log_line(&self, parts: &[&str]) -> Option<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .find(|line| parts.iter().all(|part| line.contains(part)))
            .cloned()
    }

    /// What it printed on stdout.
    pub fn output(&self) -> Vec<String> {
        self.output.lock().unwrap().clone()
    }

    /// All lines of the log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// From now on files may not grow beyond this many bytes, as on a disk that is full; `None`: they may again.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = libc::rlimit {
            rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: libc::RLIM_INFINITY,
        };
        let id = libc::pid_t::try_from(self.child.lock().unwrap().id()).expect("a process id");
        // SAFETY: the limit is read, nothing is written; the child has not been waited for, so the id is still its own.
        let set = unsafe { libc::prlimit(id, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) };
        assert_eq!(set, 0, "a limit on files: {}", std::io::Error::last_os_error());
    }

    /// SIGKILL.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        if child.try_wait().expect("a child of ours").is_none() {
            signal(&child, libc::SIGKILL);
            await_end(&mut child, &self.name);
        }
    }

    /// SIGSTOP: it holds its breath.
    pub fn freeze(&self) {
        signal(&self.child.lock().unwrap(), libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        signal(&self.child.lock().unwrap(), libc::SIGCONT);
    }

    /// SIGTERM, and waits until it has drained and ended.
    pub fn stop(&self) -> ExitStatus {
        self.ask_to_stop();
        self.await_end()
    }

    /// Its resident memory, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = format!("/proc/{}/status", self.child.lock().unwrap().id());
        let status = fs::read_to_string(status).expect("a live process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("KiB");
        kib / 1024.0
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        signal(&self.child.lock().unwrap(), libc::SIGTERM);
    }

    /// SIGINT, as a person at a terminal stops it.
    pub fn interrupt(&self) {
        signal(&self.child.lock().unwrap(), libc::SIGINT);
    }

    /// Gives it another pipeline in a file's place.
    pub fn replace_pipeline(&self, name: &str, other: &Pipeline) {
        let file = self.folder.join("pipelines").join(name).with_extension("yaml");
        fs::write(file, other.text()).expect("the pipeline's file");
    }

    /// Waits until it has ended.
    pub fn await_end(&self) -> ExitStatus {
        await_end(&mut self.child.lock().unwrap(), &self.name)
    }

    /// The last lines of its log, for a test that failed.
    pub fn last_words(&self) -> String {
        const LINES: usize = 40;
        let log = self.log.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let last = log.iter().skip(log.len().saturating_sub(LINES));
        let lines: String = last.map(|line| format!("  {line}\n")).collect();
        format!("log of worker {}:\n{lines}", self.name)
    }

    /// Its process.
    #[allow(dead_code)] // The chaos suite's.
    pub fn process_id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().expect("a child of ours")
    }

    fn assert_runs(&self) {
        if let Some(status) = self.ended() {
            panic!("worker {} ended with {status}", self.name);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn write_configuration(folder: &Path, address: &str, setting: &Setting, pipeline: Option<&Pipeline>) -> PathBuf {
    let folder = folder_of(folder, address);
    fs::create_dir_all(&folder).expect("a folder for the worker");
    let mut config = json!({
        "listen": address,
        "clusters": {"default": setting.cluster},
    });
    for (name, value) in setting.more.as_object().expect("an object") {
        config[name] = value.clone();
    }
    fs::create_dir_all(folder.join("pipelines")).expect("a folder for the pipeline");
    if let Some(pipeline) = pipeline {
        config["pipelines"] = json!([folder.join("pipelines/*.yaml")]);
        let file = folder.join("pipelines").join(pipeline.name()).with_extension("yaml");
        fs::write(file, pipeline.text()).expect("a pipeline's file");
    }
    let file = folder.join("fnbridge.yaml");
    fs::write(&file, format!("{config:#}\n")).expect("a configuration");
    file
}

fn folder_of(folder: &Path, address: &str) -> PathBuf {
    folder.join(address.replace(':', "-"))
}

fn collect(stream: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
    lines
}

fn read_whole(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        text
    })
}
