//! `fnbridge pipelines`.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::Output;
use super::remote::{Client, Failure, Remote};
use super::show;
use crate::api::wire::{History, Pipeline, PipelineList, PipelineStatus, PipelineSummary, SeekRequest, SkipRequest};

/// Look at pipelines, and operate them
#[derive(Args, Clone, Debug)]
pub struct PipelinesArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// List pipelines
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show a pipeline's document
    Show(Named),
    /// Tell whether a pipeline works, and if not why
    Status(Named),
    /// List a pipeline's changes, newest first
    History(Named),
    /// Keep a pipeline's partitions, and call nothing
    Pause(Named),
    /// Let a paused pipeline go on
    Resume(Named),
    /// Drain a pipeline, and start it anew
    Restart(Named),
    /// Let reading go on elsewhere: only while it is paused, or with --pause
    Seek {
        #[command(flatten)]
        named: Named,
        /// earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "WHERE")]
        to: String,
        /// Only this topic
        #[arg(long)]
        topic: Option<String>,
        /// Only this partition; may be given several times
        #[arg(long = "partition", value_name = "N")]
        partitions: Vec<i32>,
        /// Stop it for that, and let it go on afterwards
        #[arg(long)]
        pause: bool,
    },
    /// Pass over records: they go into the dead-letter topic, without a call
    Skip {
        #[command(flatten)]
        named: Named,
        /// TOPIC/PARTITION/OFFSET, or TOPIC/PARTITION/FIRST-LAST
        records: String,
        /// Why; it stands in the dead letters and in the audit log
        #[arg(long)]
        reason: String,
    },
    /// Delete a pipeline; its history stays, and so do its group's offsets unless told otherwise
    Delete {
        #[command(flatten)]
        named: Named,
        /// Delete the group's offsets, too: a pipeline of this name would read everything anew
        #[arg(long)]
        with_offsets: bool,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Args, Clone, Debug)]
struct Named {
    /// The pipeline
    name: String,

    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl PipelinesArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::List { common } => list(common).await,
            Command::Show(named) => named.show().await,
            Command::Status(named) => named.status().await,
            Command::History(named) => named.history().await,
            Command::Pause(named) => named.operate("pause", "paused").await,
            Command::Resume(named) => named.operate("resume", "resumed").await,
            Command::Restart(named) => named.operate("restart", "restarted").await,
            Command::Seek {
                named,
                to,
                topic,
                partitions,
                pause,
            } => {
                let request = SeekRequest {
                    to: to.clone(),
                    topic: topic.clone(),
                    partitions: partitions.clone(),
                    pause: *pause,
                };
                named.seek(&request).await
            }
            Command::Skip { named, records, reason } => {
                let request = SkipRequest {
                    records: records.clone(),
                    reason: reason.clone(),
                };
                named.skip(&request).await
            }
            Command::Delete {
                named,
                with_offsets,
                yes,
            } => named.delete(*with_offsets, *yes).await,
        }
    }
}

/// All pages.
pub(super) async fn all(client: &Client) -> Result<Vec<PipelineSummary>, Failure> {
    let mut pipelines = Vec::new();
    let mut query = vec![("limit", "1000".to_owned())];
    loop {
        let page = client.get::<PipelineList>(&["pipelines"], &query).await?.value;
        pipelines.extend(page.pipelines);
        let Some(next) = page.next else { return Ok(pipelines) };
        query.truncate(1);
        query.push(("after", next));
    }
}

async fn list(common: &Common) -> Result<(), Failure> {
    let pipelines = all(&common.remote.client()?).await?;
    common
        .output
        .print(&json!({ "pipelines": pipelines }), || show::list(&pipelines))
}

impl Named {
    async fn show(&self) -> Result<(), Failure> {
        let found = self.client()?.get::<Pipeline>(&["pipelines", &self.name], &[]).await?;
        self.common.output.print(&found.raw, || show::pipeline(&found.value))
    }

    async fn status(&self) -> Result<(), Failure> {
        let found = self
            .client()?
            .get::<PipelineStatus>(&["pipelines", &self.name, "status"], &[])
            .await?;
        self.common
            .output
            .print(&found.raw, || show::status(&found.value, Timestamp::now()))
    }

    async fn history(&self) -> Result<(), Failure> {
        let client = self.client()?;
        let mut all = History {
            changes: Vec::new(),
            next: None,
        };
        let mut query = vec![("limit", "1000".to_owned())];
        loop {
            let page = client
                .get::<History>(&["pipelines", &self.name, "history"], &query)
                .await?
                .value;
            all.changes.extend(page.changes);
            let Some(next) = page.next else { break };
            query.truncate(1);
            query.push(("after", next));
        }
        self.common.output.print(&json!(all), || show::history(&all))
    }

    async fn operate(&self, verb: &str, done: &str) -> Result<(), Failure> {
        let found = self
            .client()?
            .post::<Pipeline>(&["pipelines", &self.name, verb], &json!({}))
            .await?;
        self.common.output.print(&found.raw, || {
            let revision = found
                .revision
                .map_or_else(String::new, |revision| format!(", revision {revision}"));
            format!("{} {done}{revision}\n", self.name)
        })
    }

    /// Waits until the offsets were moved, and says to where.
    async fn seek(&self, request: &SeekRequest) -> Result<(), Failure> {
        let client = self.client()?;
        let ordered = client
            .post::<Pipeline>(&["pipelines", &self.name, "seek"], request)
            .await?;
        eprintln!("seek ordered; workers leave the group for it");
        loop {
            let found = client
                .get::<PipelineStatus>(&["pipelines", &self.name, "status"], &[])
                .await?;
            if let Some(failed) = found
                .value
                .remarks
                .iter()
                .find(|remark| remark.contains("seek came to nothing"))
            {
                return Err(Failure::Said(failed.clone()));
            }
            if found.value.revision > ordered.revision {
                return self
                    .common
                    .output
                    .print(&found.raw, || format!("{} goes on at {}\n", self.name, request.to));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn skip(&self, request: &SkipRequest) -> Result<(), Failure> {
        let found = self
            .client()?
            .post::<Pipeline>(&["pipelines", &self.name, "skip"], request)
            .await?;
        self.common.output.print(&found.raw, || {
            format!("{} passes over {}\n", self.name, request.records)
        })
    }

    async fn delete(&self, with_offsets: bool, yes: bool) -> Result<(), Failure> {
        let (offsets, fate) = match with_offsets {
            false => ("keep", "stay"),
            true => ("delete", "are deleted, too"),
        };
        if !yes {
            confirm(&format!(
                "Delete the pipeline {}? Its group's offsets {fate}.",
                self.name
            ))?;
        }
        let path = ["pipelines", &self.name];
        self.client()?.delete(&path, &[("offsets", offsets)]).await?;
        self.common
            .output
            .print(&Value::Null, || format!("{} deleted\n", self.name))
    }

    fn client(&self) -> Result<Client, Failure> {
        self.common.remote.client()
    }
}

/// Asks whoever sits at the terminal.
pub(super) fn confirm(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Said(
            "there is no terminal to ask at; --yes does it without asking".to_owned(),
        ));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        (Ok(_) | Err(_), _) => Err(Failure::Said("nothing was done".to_owned())),
    }
}
