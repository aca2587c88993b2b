//! `fnbridge register`: a function on a topic, in one line.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Method;
use reqwest::header::IF_NONE_MATCH;
use serde_json::{Map, Value, json};

use super::remote::{Client, Failure, Remote};
use crate::api::wire::{Pipeline, PipelineStatus, Probed};

/// How often it is looked whether partitions were assigned.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Attach a function to a topic, and wait until it is given records
///
/// The short form of a pipeline's document; `fnbridge apply -f FILE` takes the long one.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  fnbridge register orders http://localhost:3000/\n  \
                        fnbridge register orders https://fn.example.com/enrich --sink kafka:orders-enriched")]
pub struct RegisterArgs {
    /// The topic to read
    topic: String,

    /// The function to call
    function: String,

    /// The pipeline's name [default: made of the topic's]
    #[arg(long)]
    name: Option<String>,

    /// Where results go: kafka:TOPIC, http(s)://…, or stdout; may be given several times
    #[arg(long = "sink", value_name = "SINK", value_parser = sink)]
    sinks: Vec<Value>,

    /// Do not wait for the first partition
    #[arg(long)]
    no_wait: bool,

    /// How long to wait for the first partition, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,

    #[command(flatten)]
    remote: Remote,
}

impl RegisterArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.remote.client()?;
        let document = self.document();
        let name = document["name"].as_str().unwrap_or_default().to_owned();
        let create_only = Some((IF_NONE_MATCH, "*".to_owned()));
        let sent = client
            .send::<Pipeline>(Method::PUT, &["pipelines", &name], document.to_string(), create_only)
            .await;
        match sent {
            Ok(_) => eprintln!("registered {name}: {} → {}", self.topic, self.function),
            Err(Failure::Problem(problem)) if problem.code == "name_in_use" => {
                self.same(&client, &name, &document).await?
            }
            Err(other) => return Err(other),
        }
        if let Ok(probed) = client.post::<Probed>(&["pipelines", &name, "probe"], &json!({})).await
            && let Some(reason) = probed.value.in_the_way
        {
            eprintln!("warning: {reason}; records wait until the function can be reached");
        }
        match self.no_wait {
            true => Ok(()),
            false => wait(&client, &name, Duration::from_secs(self.timeout)).await,
        }
    }

    /// The same registration again is no mistake.
    async fn same(&self, client: &Client, name: &str, document: &Value) -> Result<(), Failure> {
        let found = client.get::<Pipeline>(&["pipelines", name], &[]).await?;
        if Value::Object(found.value.document) == *document {
            eprintln!("{name} is registered already, with the same document");
            return Ok(());
        }
        Err(Failure::Said(format!(
            "a pipeline named {name} is registered, with another document: give this one another --name, or change that one with \
             `fnbridge apply`"
        )))
    }

    fn document(&self) -> Value {
        let name = self.name.clone().unwrap_or_else(|| super::pipeline_name(&self.topic));
        let mut document = Map::new();
        document.insert("name".to_owned(), json!(name));
        document.insert("source".to_owned(), json!({"topics": [self.topic]}));
        document.insert("function".to_owned(), json!({"url": self.function}));
        if !self.sinks.is_empty() {
            document.insert("sinks".to_owned(), json!(self.sinks));
        }
        Value::Object(document)
    }
}

/// Waits until a partition is assigned, and says so; or says what is in the way.
async fn wait(client: &Client, name: &str, most: Duration) -> Result<(), Failure> {
    let started = Instant::now();
    let mut told = None;
    loop {
        let status = client
            .get::<PipelineStatus>(&["pipelines", name, "status"], &[])
            .await?
            .value;
        let summary = status.summary;
        if summary.partitions > 0 {
            let partitions = if summary.partitions == 1 {
                "partition"
            } else {
                "partitions"
            };
            println!(
                "{name} runs: {} {partitions} on {}",
                summary.partitions,
                summary.workers.join(", ")
            );
            return Ok(());
        }
        let late = started.elapsed() >= most;
        if let Some(reason) = summary.reason.filter(|reason| told.as_ref() != Some(reason)) {
            if !late {
                eprintln!("waiting: {reason}");
            }
            told = Some(reason);
        }
        if late {
            let reason = told.unwrap_or_else(|| "no partition was assigned, and nothing says why".to_owned());
            return Err(Failure::Said(format!(
                "{name} is registered, and has no partition after {} s: {reason}. It goes on trying; `fnbridge pipelines status \
                 {name}` tells how it stands",
                most.as_secs()
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn sink(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        None if text == "stdout" => Ok(json!({"stdout": {}})),
        Some(("kafka", topic)) if !topic.is_empty() => Ok(json!({"kafka": {"topic": topic}})),
        Some(("http" | "https", _)) => Ok(json!({"http": {"url": text}})),
        Some(_) | None => Err("expected kafka:TOPIC, http://…, https://… or stdout".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_have_a_short_form() {
        assert_eq!(sink("kafka:out"), Ok(json!({"kafka": {"topic": "out"}})));
        assert_eq!(sink("https://h/p"), Ok(json!({"http": {"url": "https://h/p"}})));
        assert_eq!(sink("stdout"), Ok(json!({"stdout": {}})));
        assert!(sink("kafka:").is_err() && sink("out").is_err());
    }
}
