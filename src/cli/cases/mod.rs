//! `fnbridge test`: calls a function with cases as a pipeline would, and compares what would become of each record.

mod compare;
mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::compare::{Became, became, differences};
use self::file::{Case, Expected};
use super::contract::Contract;
use super::local::{Output as Written, Process, Way, free_port, until_listening};
use super::output::Output;
use super::{INVALID, on_runtime};
use crate::config::{Foundation, WorkerSettings};
use crate::delivery::answer::Answer;
use crate::delivery::event::{Assignment, Call, CallId};
use crate::delivery::record::{Record, TopicPartition};
use crate::function::Function;
use crate::http::AnswerPool;
use crate::kafka::ClusterSettings;

/// A function that does not serve by then won't.
const PATIENCE: Duration = Duration::from_secs(60);

/// Timestamps of the cases' records begin here: a time that says nothing.
const BEGIN_MS: i64 = 1_764_000_000_000;

/// How many lines of a function that did not serve are shown.
const WRITTEN_SHOWN: usize = 20;

/// Answers that are read at once, in bytes.
const ANSWERS_BYTES: usize = 64 << 20;

/// Call a function with cases, and compare what would become of each record
///
/// A file of cases is a JSON list. Each case has a `name`, a record's `value`, perhaps its `key` and `attempt`, and one of: `deliver` (the
/// value of the one result), `records` (the results: `value`, and what else they name of `key` and `headers`), `drop: true`, `retry`
/// (milliseconds, or null), `dead_letter` (the reason). Each is called alone; under json, all are called once more as one batch. Exit status:
/// 0 all pass, 1 some fail, 2 it can't be tried.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("own").required(true).args(["url", "function"]))]
pub struct TestArgs {
    /// The cases
    #[arg(long, value_name = "FILE")]
    pub cases: PathBuf,

    /// The function, where it runs already
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// The function, started for this: a file, a folder, or a command, as `fnbridge dev --function` takes it
    #[arg(long, value_name = "PATH|COMMAND")]
    pub function: Option<String>,

    /// What it speaks [default: what the pipeline.yaml beside it says, else json]
    #[arg(long, value_enum, value_name = "CONTRACT")]
    pub contract: Option<Contract>,

    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// How one check went.
#[derive(Clone, Debug, PartialEq)]
struct Checked {
    name: String,
    found: Option<Became>,
    differences: Vec<String>,
}

impl TestArgs {
    /// Tries the cases, and prints how each went.
    pub fn run(&self) -> ExitCode {
        let checked = match on_runtime(self.check()) {
            Ok(checked) => checked,
            Err(reason) => {
                eprintln!("error: {reason}");
                return ExitCode::from(INVALID);
            }
        };
        let failed = checked.iter().filter(|one| !one.differences.is_empty()).count();
        let passed = checked.len() - failed;
        if let Err(failure) = self.output.print(&page(&checked, passed, failed), || lines(&checked)) {
            eprintln!("error: {failure}");
            return ExitCode::FAILURE;
        }
        eprintln!("{passed} passed, {failed} failed");
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    async fn check(&self) -> Result<Vec<Checked>, String> {
        let cases = file::read(&self.cases)?;
        let way = match &self.function {
            Some(function) => Some(Way::of(function, self.contract).map_err(|why| format!("--function: {why}"))?),
            None => None,
        };
        let contract = way
            .as_ref()
            .map_or(self.contract.unwrap_or_default(), |way| way.contract);
        let running = match &way {
            Some(way) => Some(serving(way).await?),
            None => None,
        };
        let local = running.as_ref().map(|(_, url)| url.clone());
        let url = local.or(self.url.clone()).unwrap_or_default();
        let function = function(&url, contract)?;
        let checked = check_all(&function, contract, &cases).await;
        if let Some((process, _)) = running {
            process.stop().await;
        }
        Ok(checked)
    }
}

/// Starts a function, and waits until it serves.
async fn serving(way: &Way) -> Result<(Process, String), String> {
    let written = Written::default();
    let mut process = Process::start(way, free_port()?, &written)?;
    let port = process.port();
    let problem = tokio::select! {
        served = timeout(PATIENCE, until_listening(port)) => match served {
            Ok(at) => return Ok((process, format!("http://{at}{}", way.contract.path()))),
            Err(_) => format!("does not serve on port {port} within {} s", PATIENCE.as_secs()),
        },
        ended = process.ended() => match ended {
            Ok(status) => format!("ended before it served ({status})"),
            Err(error) => format!("is lost: {error}"),
        },
    };
    // What it wrote last is on its way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut text = format!(
        "{} {problem}; expected a server on the port that the environment variable PORT names",
        way.shown
    );
    let lines = written.errors_since(0);
    for line in &lines[lines.len().saturating_sub(WRITTEN_SHOWN)..] {
        text.push_str(&format!("\n  | {line}"));
    }
    Err(text)
}

/// A function as a pipeline with one sink would call it.
fn function(url: &str, contract: Contract) -> Result<Function, String> {
    let cluster = Arc::new(ClusterSettings::plaintext("default", "127.0.0.1:9092"));
    let clusters = BTreeMap::from([("default".to_owned(), cluster)]);
    let foundation = Foundation::new(WorkerSettings::by_default("test", clusters), PathBuf::new());
    let mut document = json!({
        "name": "cases",
        "source": {"topics": ["t"]},
        "function": {"url": url, "contract": contract.name()},
        "sinks": [{"stdout": {}}],
    });
    if contract.takes_one_record() {
        document["batch"] = json!({"max_records": 1});
    }
    let registration = foundation
        .pipeline(&document.to_string(), &BTreeMap::new())
        .map_err(|problems| {
            let messages: Vec<&str> = problems.0.iter().map(|problem| problem.message.as_str()).collect();
            format!("--url {url}: {}", messages.join("; "))
        })?;
    let settings = registration
        .settings
        .function
        .ok_or("the pipeline of the cases has no function")?;
    Function::new(settings, AnswerPool::new(ANSWERS_BYTES))
}

async fn check_all(function: &Function, contract: Contract, cases: &[Case]) -> Vec<Checked> {
    let mut checked = Vec::with_capacity(cases.len() + 1);
    for (offset, case) in cases.iter().enumerate() {
        let answer = call(function, &[(offset, case)]).await;
        let found = became(answer, 1).into_iter().next();
        checked.push(Checked {
            name: case.name.clone(),
            differences: (found.as_ref())
                .map_or_else(|| vec!["found no verdict".to_owned()], |found| differences(case, found)),
            found,
        });
    }
    if contract == Contract::Json {
        checked.extend(together(function, cases).await);
    }
    checked
}

/// All cases of one attempt in one call: each gets the same verdict as alone. A batch may be refused for a record in it, which halving finds.
async fn together(function: &Function, cases: &[Case]) -> Option<Checked> {
    let batch: Vec<(usize, &Case)> = cases.iter().enumerate().filter(|(_, case)| case.attempt == 1).collect();
    if batch.len() < 2 {
        return None;
    }
    let answer = call(function, &batch).await;
    let names_one = batch
        .iter()
        .any(|(_, case)| matches!(case.expected, Expected::DeadLetter(_)));
    let mut found = Vec::new();
    if !(names_one && matches!(answer, Answer::Refused(_))) {
        for ((_, case), became) in batch.iter().zip(became(answer, batch.len())) {
            let lines = differences(case, &became).into_iter();
            found.extend(lines.map(|line| format!("{}: {line}", case.name)));
        }
    }
    Some(Checked {
        name: format!("{} of them as one batch", batch.len()),
        found: None,
        differences: found,
    })
}

async fn call(function: &Function, cases: &[(usize, &Case)]) -> Answer {
    let call = Call {
        id: CallId(0),
        assignment: Assignment(0),
        records: cases
            .iter()
            .map(|(offset, case)| Arc::new(record(case, *offset)))
            .collect(),
        attempt: cases.iter().map(|(_, case)| case.attempt).max().unwrap_or(1),
        probe: false,
    };
    function.call(&call, None).await
}

fn record(case: &Case, offset: usize) -> Record {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    Record {
        source: TopicPartition {
            topic: Arc::from("t"),
            partition: 0,
        },
        offset,
        generation: 0,
        timestamp_ms: BEGIN_MS + offset,
        key: case.key.clone().map(Bytes::from),
        value: (!case.value.is_null()).then(|| Bytes::from(case.value.to_string())),
        headers: Vec::new(),
    }
}

fn page(checked: &[Checked], passed: usize, failed: usize) -> Value {
    let cases = checked.iter().map(|one| {
        let passed = one.differences.is_empty();
        json!({"name": one.name, "passed": passed, "found": one.found, "differences": one.differences})
    });
    json!({"passed": passed, "failed": failed, "cases": cases.collect::<Vec<_>>()})
}

fn lines(checked: &[Checked]) -> String {
    let mut text = String::new();
    for one in checked {
        let how = if one.differences.is_empty() {
            "ok     "
        } else {
            "FAILED "
        };
        text.push_str(&format!("{how}{}\n", one.name));
        one.differences
            .iter()
            .for_each(|line| text.push_str(&format!("         {line}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_fails_shows_what_differs_below_its_name() {
        let checked = [
            Checked {
                name: "good".to_owned(),
                found: Some(Became::Drop),
                differences: vec![],
            },
            Checked {
                name: "bad".to_owned(),
                found: Some(Became::Retry(Some(7))),
                differences: vec![
                    "expected to be dropped".to_owned(),
                    "found    it is called again after 7 ms".to_owned(),
                ],
            },
        ];
        let expected = "ok     good\nFAILED bad\n         expected to be dropped\n         found    it is called again after 7 ms\n";
        assert_eq!(lines(&checked), expected);
        let page = page(&checked, 1, 1);
        assert_eq!(
            (&page["failed"], &page["cases"][1]["found"]["retry"]),
            (&json!(1), &json!(7))
        );
    }

    #[test]
    fn a_null_is_a_tombstone_and_a_text_is_json() {
        let case = |value| Case {
            name: String::new(),
            key: None,
            value,
            attempt: 1,
            expected: Expected::Drop,
        };
        assert_eq!(record(&case(Value::Null), 0).value, None);
        assert_eq!(record(&case(json!("a")), 0).value.as_deref(), Some(&b"\"a\""[..]));
    }

    #[test]
    fn every_contract_is_called_as_a_pipeline_would() {
        use clap::ValueEnum;
        for contract in Contract::value_variants() {
            assert!(
                function("http://127.0.0.1:1/", *contract).is_ok(),
                "{}",
                contract.name()
            );
        }
        assert!(
            function("localhost", Contract::Json)
                .unwrap_err()
                .starts_with("--url localhost: ")
        );
    }
}
