//! `fnbridge fleet`, `events` and `audit-log`.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::output::Output;
use super::remote::{Failure, Remote};
use super::show;
use crate::api::wire::{AuditLog, PipelineEvent, WorkerList};

/// List the workers, what they run and how far they are behind
#[derive(Args, Clone, Debug)]
pub struct FleetArgs {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl FleetArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.remote.client()?;
        let mut workers = Vec::new();
        let mut query = vec![("limit", "1000".to_owned())];
        loop {
            let page = client.get::<WorkerList>(&["workers"], &query).await?.value;
            workers.extend(page.workers);
            let Some(next) = page.next else { break };
            query.truncate(1);
            query.push(("after", next));
        }
        self.output.print(&json!({ "workers": workers }), || {
            show::workers(&workers, Timestamp::now())
        })
    }
}

/// Tell what happened lately to a pipeline, or to all
#[derive(Args, Clone, Debug)]
pub struct EventsArgs {
    /// The pipeline [default: all]
    pipeline: Option<String>,

    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,

    /// How it is printed; json is an event a line
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl EventsArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let path = match &self.pipeline {
            Some(name) => vec!["pipelines", name.as_str(), "events"],
            None => vec!["events"],
        };
        let query = [("follow", self.follow.to_string())];
        let each = |data: &str| {
            let event: PipelineEvent = serde_json::from_str(data)
                .map_err(|error| Failure::Said(format!("found an event that this version does not know: {error}")))?;
            match self.output {
                Output::Table => self.output.print(&json!(null), || show::event(&event)),
                Output::Json => Output::Table.print(&json!(null), || format!("{data}\n")),
                Output::Yaml => Output::Yaml.print(&json!([event]), String::new),
            }
        };
        self.remote.client()?.stream(&path, &query, each).await
    }
}

/// List who changed what, newest first
#[derive(Args, Clone, Debug)]
pub struct AuditLogArgs {
    /// How many entries, at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,

    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl AuditLogArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.remote.client()?;
        let mut entries = Vec::new();
        let mut query = vec![("limit", self.limit.clamp(1, 1000).to_string())];
        while entries.len() < self.limit {
            let page = client.get::<AuditLog>(&["audit-log"], &query).await?.value;
            entries.extend(page.entries);
            let Some(next) = page.next else { break };
            query.truncate(1);
            query.push(("after", next));
        }
        entries.truncate(self.limit);
        self.output
            .print(&json!({ "entries": entries }), || show::audit_log(&entries))
    }
}
