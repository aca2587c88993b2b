//! `fnbridge dev` as a newcomer runs it: the built binary, its lines, a Kafka client beside it, and Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn within_three_seconds_results_flow_and_dead_letters_say_why() {
    let mut dev = Dev::start(&["--port", "0"]);
    dev.wait_for("  flights/");
    dev.wait_for("the value is not JSON");
    dev.wait_for("distance: expected miles as a number above 0, found -1069");
    dev.wait_for("the function answered 500");
    let (status, lines) = dev.stop();
    assert!(status.success(), "{status}\n{lines}");
    assert!(
        lines.contains("Drained after") && lines.contains("3 dead-lettered"),
        "{lines}"
    );
    let first: f64 = between(&lines, "The first result came after ", " s.").parse().unwrap();
    assert!(first < 3.0, "the first result took {first} s");
}

#[test]
fn what_the_embedded_broker_lacks_is_said_and_any_client_reaches_it() {
    let mut dev = Dev::start(&["--port", "0", "--topic", "orders"]);
    let broker = between(&dev.wait_for("The embedded Kafka at "), "The embedded Kafka at ", " ").to_owned();
    dev.wait_for("answers no admin requests");
    dev.wait_for(&format!("kcat -b {broker} -t orders"));
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &broker).create().unwrap();
    let flight = r#"{"origin":"jfk","destination":"sfo","delay":7,"distance":2586}"#;
    producer
        .send(BaseRecord::<str, str>::to("orders").key("k").payload(flight))
        .unwrap();
    producer.flush(PATIENCE).unwrap();
    let result = dev.wait_for(r#""route":"JFK-SFO""#);
    assert!(result.contains(r#""distance_km":4162"#), "{result}");
    assert!(dev.stop().0.success());
}

#[test]
fn each_command_works_against_it_and_what_its_broker_lacks_is_refused_by_name() {
    let mut dev = Dev::start(&["--port", "0", "--partitions", "1"]);
    let api = between(&dev.wait_for("/metrics"), "http://", "/metrics").to_owned();
    let steps = ["  inspect ", "  try     fnbridge", "  redrive "].map(|step| dev.wait_for(step));
    let url = format!("http://{api}");
    let run = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fnbridge"));
        let command = command.args(words.split_whitespace()).args(["--url", &url]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let works = |words: &str, expected: &str| {
        let (code, said) = run(words);
        assert!(code == Some(0) && said.contains(expected), "{words}: {code:?} {said}");
    };
    let refused = |words: &str, expected: &str| {
        let (code, said) = run(words);
        assert!(code == Some(1) && said.contains(expected), "{words}: {code:?} {said}");
    };
    let await_said = |words: &str, expected: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !run(words).1.contains(expected) && Instant::now() < deadline {}
        works(words, expected);
    };
    await_said("pipelines status flights", "flights/0");
    works("pipelines list", "flights");
    works("pipelines show flights", "flights.dead-letter");
    works("pipelines status flights", "flights/0");
    works("fleet", "dev");
    works("events flights", "pipeline starts");
    works("audit-log", "pipeline.created");
    works("try flights --at flights/0/0", "200");
    await_said("dlq groups", "the value is not JSON");
    works("dlq list flights --stage convert", "flights.dead-letter/0/");
    works("dlq show flights.dead-letter/0/0", "given up");
    works("try flights --at flights.dead-letter/0/0", "dead letter");
    let command = |line: String| {
        line.split("fnbridge ")
            .nth(1)
            .unwrap()
            .split("   ")
            .next()
            .unwrap()
            .to_owned()
    };
    let [inspect, tried, redriven] = steps.map(command);
    let without_url = |command: &str| command.replace(&format!(" --url {url}"), "");
    works(&without_url(&inspect), "division by zero");
    works(&without_url(&tried), "1 result is delivered");
    works(&without_url(&redriven), "1 delivered");
    works(&without_url(&inspect), "and delivered");
    works("pipelines pause flights", "");
    works("pipelines history flights", "paused");
    works("pipelines resume flights", "");
    works("pipelines restart flights", "");
    works("pipelines skip flights flights/0/100000 --reason later", "");
    works("tokens list", "");
    works(
        concat!("secrets set key --from-file ", env!("CARGO_MANIFEST_DIR"), "/LICENSE"),
        "key written",
    );
    works("secrets list", "key");
    works("secrets delete key --yes", "");
    refused("secrets delete nothing --yes", "[not_found]");
    refused(
        "pipelines seek flights --to earliest --pause",
        "the embedded broker can't move a group's offsets",
    );
    refused(
        "pipelines delete flights --with-offsets --yes",
        "the embedded broker can't delete a group",
    );
    works("pipelines delete flights --yes", "");
    assert!(dev.stop().0.success());
}

#[test]
fn lines_of_stdin_are_fed_and_every_one_is_accounted_for() {
    let mut dev = Dev::start(&["--port", "0", "--topic", "orders", "--input", "-", "--partitions", "1"]);
    let mut stdin = dev.child.stdin.take().unwrap();
    for n in 0..500 {
        let delay = if n % 5 == 0 { "null" } else { "3" };
        writeln!(stdin, r#"{{"delay":{delay},"distance":{}}}"#, n + 1).unwrap();
    }
    drop(stdin);
    dev.wait_for("delivered 400  dropped 100  unsettled 0");
    assert!(dev.stop().0.success());
}

#[test]
fn a_function_that_is_away_is_named_and_nothing_is_given_up() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", taken.local_addr().unwrap());
    drop(taken);
    let mut dev = Dev::start(&["--port", "0", "--url", &url]);
    dev.wait_for("the breaker is open");
    let (status, lines) = dev.stop();
    assert!(status.success(), "{status}\n{lines}");
    assert!(!lines.contains("delivered") && !lines.contains("function,"), "{lines}");
}

const CRASHES: &str = r#"
import os
import subprocess
import sys

if os.environ.get("HELPER_PID"):
    helper = subprocess.Popen(["sleep", "600"])
    with open(os.environ["HELPER_PID"], "w") as file:
        print(helper.pid, file=file)


def verdict(record):
    value = record["value"]
    if value == {"n": "raises"}:
        raise LookupError("nobody knows this one")
    if value == {"n": "dies"}:
        print("last words", file=sys.stderr)
        os._exit(3)
    return {"action": "deliver", "records": [{"value": {**value, "version": 1}}]}
"#;

#[test]
fn a_local_function_is_restarted_when_its_file_changes_and_nothing_is_given_up() {
    let folder = Folder::new("restarts");
    let file = folder.0.join("main.py");
    fs::write(&file, CRASHES).unwrap();
    let mut dev = Dev::start(&[
        "--port",
        "0",
        "--topic",
        "orders",
        "--input",
        "-",
        "--function",
        folder.path(),
    ]);
    let mut stdin = dev.child.stdin.take().unwrap();
    writeln!(stdin, r#"{{"n":1}}"#).unwrap();
    dev.wait_for(r#"{"n":1,"version":1}"#);
    fs::write(&file, "def verdict(record) oops").unwrap();
    dev.wait_for("function main.py has changed");
    dev.wait_for("  | SyntaxError");
    dev.wait_for("ended before it served");
    writeln!(stdin, r#"{{"n":2}}"#).unwrap();
    fs::write(&file, CRASHES.replace("\"version\": 1", "\"version\": 2")).unwrap();
    dev.wait_for(r#"{"n":2,"version":2}"#);
    let (status, lines) = dev.stop();
    assert!(status.success(), "{status}\n{lines}");
    assert!(
        lines.contains("2 delivered") && !lines.contains("dead-lettered"),
        "{lines}"
    );
}

#[test]
fn a_crash_shows_its_last_words_beside_the_record_that_caused_it() {
    let folder = Folder::new("crashes");
    fs::write(folder.0.join("main.py"), CRASHES).unwrap();
    let options = [
        "--port",
        "0",
        "--topic",
        "orders",
        "--partitions",
        "1",
        "--input",
        "-",
        "--function",
    ];
    let mut dev = Dev::start(&[&options[..], &[folder.path()]].concat());
    let mut stdin = dev.child.stdin.take().unwrap();
    let mut feed = |value: &str| writeln!(stdin, r#"{{"n":"{value}"}}"#).unwrap();
    feed("good");
    dev.wait_for(r#"{"n":"good","version":1}"#);
    feed("raises");
    dev.wait_for("failed orders/0/1: the function answered 500 Internal Server Error");
    dev.wait_for("  | Traceback (most recent call last):");
    dev.wait_for("  | LookupError: nobody knows this one");
    dev.wait_for("dead letter  orders/0/1");
    feed("dies");
    dev.wait_for("failed orders/0/2: the function's process ended in this call (exit status: 3)");
    dev.wait_for("  | last words");
    let letter = dev.wait_for("dead letter  orders/0/2");
    assert!(
        letter.contains("last words"),
        "the letter has the function's last words: {letter}"
    );
    feed("after");
    dev.wait_for(r#"{"n":"after","version":1}"#);
    let (status, lines) = dev.stop();
    assert!(status.success(), "{status}\n{lines}");
    assert!(lines.contains("2 delivered, 2 dead-lettered"), "{lines}");
}

#[test]
fn whatever_a_local_function_started_ends_with_dev() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new(signal);
        let pid_file = folder.0.join("helper.pid");
        fs::write(folder.0.join("main.py"), CRASHES).unwrap();
        let options = ["--port", "0", "--topic", "orders", "--function", folder.path()];
        let mut dev = Dev::start_with(fnbridge(&options).env("HELPER_PID", &pid_file));
        dev.wait_for("function serves on port");
        let helper = fs::read_to_string(&pid_file).unwrap();
        let helper = PathBuf::from(format!("/proc/{}", helper.trim()));
        let runs = || fs::read_to_string(helper.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
        assert!(runs(), "it has not started");
        assert!(dev.stop_by(signal).0.success());
        let deadline = Instant::now() + PATIENCE;
        while runs() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!runs(), "it runs on after {signal}");
    }
}

#[test]
fn what_can_not_start_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let table: [(&[&str], i32, &str); 7] = [
        (&["--port", &port], 1, "cannot listen on 127.0.0.1"),
        (
            &["--port", "0", "--input", "no-such-file.ndjson"],
            1,
            "no-such-file.ndjson",
        ),
        (&["--port", "0", "--url", "localhost"], 1, "expected http"),
        (&["--partitions", "0"], 2, "--partitions"),
        (&["--port", "0", "--function", "no-such.py"], 1, "expected a .py"),
        (
            &["--port", "0", "--function", "Cargo.toml"],
            1,
            "found Cargo.toml, expected a .py",
        ),
        (&["--contract", "raw"], 2, "--url <URL>|--function"),
    ];
    for (options, code, said) in table {
        let output = fnbridge(options).stdin(Stdio::null()).output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {talk}");
        assert!(talk.contains(said), "{options:?}: {talk}");
    }
}

/// A running `fnbridge dev`, killed when a test ends early.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Dev {
    fn start(options: &[&str]) -> Dev {
        Dev::start_with(&mut fnbridge(options))
    }

    fn start_with(command: &mut Command) -> Dev {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Dev {
            child,
            lines,
            seen: String::new(),
        }
    }

    /// The next line that holds `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(text) {
                return line;
            }
        }
        let talk = self.talk();
        panic!("no line with {text:?} came in\n{}{talk}", self.seen);
    }

    /// Ctrl-C; how it ended, and everything it printed.
    fn stop(self) -> (ExitStatus, String) {
        self.stop_by("-INT")
    }

    fn stop_by(mut self, signal: &str) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        assert!(Instant::now() < deadline, "it does not end\n{}", self.seen);
        (self.child.wait().unwrap(), std::mem::take(&mut self.seen))
    }

    fn talk(&mut self) -> String {
        // It may still run, and then would not end its talk.
        let _ = self.child.kill();
        let mut talk = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut talk);
        talk
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Mostly, it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("fnbridge-dev-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder hurts nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fnbridge(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fnbridge"));
    command
        .arg("dev")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before:?} in {text}")) + before.len();
    &text[start..start + text[start..].find(after).unwrap()]
}
