//! `fnbridge dev` as a newcomer runs it: the built binary, its lines, a Kafka client beside it, and Ctrl-C.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
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
    works("secrets list", "");
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

#[test]
fn what_can_not_start_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let table: [(&[&str], i32, &str); 4] = [
        (&["--port", &port], 1, "cannot listen on 127.0.0.1"),
        (
            &["--port", "0", "--input", "no-such-file.ndjson"],
            1,
            "no-such-file.ndjson",
        ),
        (&["--port", "0", "--url", "localhost"], 1, "expected http"),
        (&["--partitions", "0"], 2, "--partitions"),
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
        let mut child = fnbridge(options).spawn().unwrap();
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
    fn stop(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
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
