//! `fnbridge dlq redrive`: letters are sent through again, and watched on their way.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::Common;
use super::wanted::Chosen;
use crate::api::wire::{Redrive, RedriveList, RedrivePlan, RedriveRequest, RedriveTo};
use crate::cli::remote::{Client, Failure};
use crate::cli::show;

const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Send dead letters through their pipeline again
#[derive(Args, Clone, Debug)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Say what would be sent, and what would not and why; send nothing
    #[arg(long)]
    dry_run: bool,
    /// Where to: a letter that a sink refused goes to that sink alone, unless `function` is said; `source` is the source topic,
    /// where all of its readers see it again
    #[arg(long, value_enum, default_value_t)]
    to: To,
    /// At most so many letters a second
    #[arg(long)]
    rate: Option<f64>,
    /// At most so many letters
    #[arg(long)]
    max: Option<u64>,
    /// Stop where more than this part fails again, from 0 to 1
    #[arg(long, default_value_t = 0.5)]
    max_failed: f64,
    /// Send also letters that are older than the store, of which nobody knows whether they were redriven
    #[arg(long)]
    unknown: bool,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    why: String,
    /// Do not wait until it is done
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    common: Common,
}

/// Where letters go.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum To {
    #[default]
    Pipeline,
    Function,
    Source,
}

/// List redrives, or show one and tell it to wait, to go on or to end
#[derive(Args, Clone, Debug)]
pub(super) struct RedrivesArgs {
    /// The redrive [default: lists all]
    id: Option<String>,
    /// Let it wait: what is on the wire comes to its end
    #[arg(long, requires = "id", group = "change")]
    pause: bool,
    /// Let it go on
    #[arg(long, requires = "id", group = "change")]
    resume: bool,
    /// End it: letters that were not sent stay as they are
    #[arg(long, requires = "id", group = "change")]
    cancel: bool,
    /// Watch it until it stands still
    #[arg(long, requires = "id")]
    watch: bool,
    /// Of this pipeline
    #[arg(long)]
    pipeline: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl RedriveArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let said = self.chosen.said()?;
        let client = self.common.remote.client()?;
        let request = RedriveRequest {
            pipeline: said.pipeline,
            ids: said.ids,
            matching: said.matching,
            all: said.all,
            to: match self.to {
                To::Pipeline => RedriveTo::Pipeline,
                To::Function => RedriveTo::Function,
                To::Source => RedriveTo::Source,
            },
            unknown: self.unknown,
            rate: self.rate,
            max: self.max,
            max_failed: Some(self.max_failed),
            reason: self.why.clone(),
            dry_run: self.dry_run,
        };
        if self.dry_run {
            let plan = client.post::<RedrivePlan>(&["redrives"], &request).await?;
            return self.common.output.print(&plan.raw, || show::redrive_plan(&plan.value));
        }
        if matches!(self.to, To::Source) {
            tell_readers(&client, &request).await?;
        }
        let started = client.post::<Redrive>(&["redrives"], &request).await?.value;
        follow(&client, &started.id, self.detach, &self.common).await
    }
}

/// Who else reads the source topic is told before anything is sent.
async fn tell_readers(client: &Client, request: &RedriveRequest) -> Result<(), Failure> {
    let dry = RedriveRequest {
        dry_run: true,
        ..request.clone()
    };
    let plan = client.post::<RedrivePlan>(&["redrives"], &dry).await?.value;
    if !plan.other_groups.is_empty() {
        eprintln!(
            "these groups read the source topic, too, and will see the records again: {}",
            plan.other_groups.join(", ")
        );
    }
    Ok(())
}

/// Watches a redrive until it stands still, unless it is to be left alone.
pub(super) async fn follow(client: &Client, id: &str, detach: bool, common: &Common) -> Result<(), Failure> {
    let bar = bar(detach);
    let found = loop {
        let found = client.get::<Redrive>(&["redrives", id], &[]).await?;
        let redrive = &found.value;
        bar.set_length(redrive.letters);
        bar.set_position(redrive.done);
        bar.set_message(
            redrive
                .waits
                .as_ref()
                .map_or_else(String::new, |waits| format!("waits: {waits}")),
        );
        if detach || redrive.state != "running" {
            break found;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => {
                bar.finish_and_clear();
                eprintln!("the redrive goes on: fnbridge dlq redrives {id} shows it, and --pause or --cancel there stops it");
                return Ok(());
            }
        }
    };
    bar.finish_and_clear();
    common.output.print(&found.raw, || show::redrive(&found.value))?;
    match found.value.state.as_str() {
        "stopped" => Err(Failure::Said(format!(
            "the redrive {id} stopped by itself: {}",
            found.value.said
        ))),
        _ => Ok(()),
    }
}

fn bar(detach: bool) -> ProgressBar {
    if detach || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {per_sec}  {eta} left  {msg}");
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl RedrivesArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.common.remote.client()?;
        let Some(id) = &self.id else {
            let query: Vec<(&str, String)> = self.pipeline.iter().map(|name| ("pipeline", name.clone())).collect();
            let found = client.get::<RedriveList>(&["redrives"], &query).await?;
            return self
                .common
                .output
                .print(&found.raw, || show::redrives(&found.value.redrives, Timestamp::now()));
        };
        let change = match (self.pause, self.resume, self.cancel) {
            (true, ..) => Some("pause"),
            (_, true, _) => Some("resume"),
            (.., true) => Some("cancel"),
            _ => None,
        };
        if let Some(change) = change {
            let nothing = serde_json::Map::new();
            client.post::<Redrive>(&["redrives", id, change], &nothing).await?;
        }
        follow(&client, id, !self.watch, &self.common).await
    }
}
