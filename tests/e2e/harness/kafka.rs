//! Apache Kafka itself: formatted, started, stopped, killed and started again.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::children::{await_end, free_port, signal, start};
use super::topics::Client;
use super::wait::{self, PATIENCE};

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";

static SHARED: OnceLock<Broker> = OnceLock::new();

/// A node of Kafka, broker and controller in one.
pub struct Broker {
    port: u16,
    folder: PathBuf,
    heap: &'static str,
    process: Mutex<Option<Child>>,
}

/// The broker that all tests share which do nothing to the broker itself.
pub fn shared() -> &'static Broker {
    SHARED.get_or_init(|| Broker::start(&[]))
}

/// Stops the shared broker, if any test needed it.
pub fn stop_shared() {
    if let Some(broker) = SHARED.get() {
        broker.remove();
    }
}

impl Broker {
    /// Formats and starts a broker on free ports, with `properties` besides the ordinary ones.
    ///
    /// # Panics
    /// If Kafka's jars or Java are missing, or the broker does not come up.
    pub fn start(properties: &[(&str, String)]) -> Broker {
        let broker = Broker::format(free_port(), "PLAINTEXT", properties, &[]);
        broker.resume();
        broker
    }

    /// Formats a broker whose clients connect to a listener of this protocol, and does not start it.
    pub fn format(port: u16, protocol: &str, properties: &[(&str, String)], format_arguments: &[&str]) -> Broker {
        let alone = [&["--standalone"], format_arguments].concat();
        Broker::format_node(
            port,
            "512m",
            single_node(port, protocol).into_iter().chain(given(properties)),
            &alone,
        )
    }

    /// Formats a node with these properties and the ordinary ones, and does not start it.
    pub fn format_node(
        port: u16,
        heap: &'static str,
        properties: impl Iterator<Item = String>,
        format_arguments: &[&str],
    ) -> Broker {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("fnbridge-e2e-{}-kafka-{count}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the broker");
        let config = folder.join("server.properties");
        let ordinary = ORDINARY.iter().map(|line| (*line).to_owned());
        let logs = format!("log.dirs={}", folder.join("data").display());
        let lines: Vec<String> = ordinary.chain([logs]).chain(properties).collect();
        fs::write(&config, lines.join("\n") + "\n").expect("the broker's properties");
        let broker = Broker {
            port,
            folder,
            heap,
            process: Mutex::new(None),
        };
        let mut format = broker.java("kafka.tools.StorageTool", "128m");
        format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&config);
        let formatted = format.args(format_arguments).output().expect("java runs");
        assert!(
            formatted.status.success(),
            "Kafka's storage could not be formatted: {}{}",
            String::from_utf8_lossy(&formatted.stdout),
            String::from_utf8_lossy(&formatted.stderr)
        );
        broker
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process, on the same port and data, and waits until it answers.
    pub fn resume(&self) {
        self.spawn();
        self.await_answer(&Client::new(&self.bootstrap()));
    }

    /// Starts the process.
    pub fn spawn(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "the broker runs");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("broker.log"))
            .expect("the broker's log");
        let mut kafka = self.java("kafka.Kafka", self.heap);
        kafka
            .arg(self.folder.join("server.properties"))
            .current_dir(&self.folder);
        kafka
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        *process = Some(start(kafka));
    }

    /// Waits until the broker answers this client, and its group coordinator too.
    pub fn await_answer(&self, client: &Client) {
        let answered = wait::patiently(PATIENCE, || {
            if let Some(status) = self.process().as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("the broker ended with {status}: {}", self.log());
            }
            client.answers().then_some(())
        });
        assert!(answered.is_some(), "the broker does not answer: {}", self.log());
    }

    /// Ends the broker as an operator does.
    pub fn stop(&self) {
        self.end(libc::SIGTERM);
    }

    /// Ends the broker as a power cut does.
    pub fn kill(&self) {
        self.end(libc::SIGKILL);
    }

    /// Runs one of Kafka's own tools, a class with a `main`.
    ///
    /// # Panics
    /// If it fails.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let output = self.java(class, "128m").args(arguments).output().expect("java runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} {arguments:?} failed: {said}");
        said
    }

    /// Produces values with Kafka's console producer.
    pub fn produce_with_its_own_tool(&self, topic: &str, values: impl Iterator<Item = String>) {
        let mut java = self.java("org.apache.kafka.tools.ConsoleProducer", "128m");
        java.args(["--bootstrap-server", &self.bootstrap(), "--topic", topic])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = start(java);
        let mut stdin = child.stdin.take().expect("piped");
        values.for_each(|value| writeln!(stdin, "{value}").expect("the producer reads"));
        drop(stdin);
        let output = child.wait_with_output().expect("a child of ours");
        assert!(
            output.status.success(),
            "the console producer failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The broker's folder, for files that its configuration names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn end(&self, with: libc::c_int) {
        if let Some(mut child) = self.process().take() {
            signal(&child, with);
            await_end(&mut child, "the broker");
        }
    }

    /// Kills the broker, and removes what it left.
    pub fn remove(&self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default()
    }

    fn java(&self, class: &str, heap: &str) -> Command {
        let mut java = Command::new("java");
        java.arg(format!("-Xmx{heap}"))
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
            .arg(libraries().join("*"))
            .arg(class);
        java
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.remove();
    }
}

fn libraries() -> PathBuf {
    let folder = match env::var_os("FNBRIDGE_TEST_KAFKA_LIBS") {
        Some(folder) => PathBuf::from(folder),
        None => env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".cache")))
            .expect("HOME or XDG_CACHE_HOME is set")
            .join("fnbridge/kafka-4.1.1"),
    };
    assert!(
        folder.is_dir(),
        "Kafka's jars are not in {}; `./run tests e2e` fetches them",
        folder.display()
    );
    folder
}

fn single_node(port: u16, protocol: &str) -> Vec<String> {
    let controller = free_port();
    vec![
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller}"),
        format!("listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
        format!("advertised.listeners={protocol}://127.0.0.1:{port}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("inter.broker.listener.name={protocol}"),
        format!("listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocol}:{protocol}"),
    ]
}

fn given(properties: &[(&str, String)]) -> impl Iterator<Item = String> {
    properties.iter().map(|(name, value)| format!("{name}={value}"))
}

/// As quick as Kafka can be about groups, compaction and ending; one node, where nothing else is said.
const ORDINARY: [&str; 15] = [
    "auto.create.topics.enable=false",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=4",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=2",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    "group.min.session.timeout.ms=1000",
    "log.cleaner.backoff.ms=100",
    "log.cleaner.dedupe.buffer.size=4194304",
    "log.initial.task.delay.ms=100",
    "controlled.shutdown.enable=false",
    "num.network.threads=2",
];
