//! `fnbridge dlq`: dead letters, found, grouped and shown; redriven, edited and discarded.

mod edit;
mod export;
mod redrive;
mod wanted;

use std::io::Write;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::json;

use super::output::Output;
use super::remote::{Failure, Remote};
use super::show;
use crate::api::wire::{DeadLetter, LetterGroups, LetterList, ShownLetter};
use edit::{DiscardArgs, EditArgs};
use export::ExportArgs;
use redrive::{RedriveArgs, RedrivesArgs};
use wanted::{Parameters, Wanted};

/// Look at dead letters, and send them through again
#[derive(Args, Clone, Debug)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// List dead letters, newest first
    List {
        /// Of this pipeline [default: all]
        pipeline: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
        /// Oldest first
        #[arg(long)]
        oldest_first: bool,
        /// How many, at most; 0: all
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Group dead letters by how they failed
    Groups {
        /// Of this pipeline [default: all]
        pipeline: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        common: Common,
    },
    /// Show a dead letter in full
    Show {
        /// Its id: TOPIC/PARTITION/OFFSET
        id: String,
        /// Write the value's bytes, and nothing else
        #[arg(long, conflicts_with = "output")]
        raw: bool,
        /// Do not look whether later records of the same key went through
        #[arg(long)]
        no_later: bool,
        #[command(flatten)]
        common: Common,
    },
    Export(Box<ExportArgs>),
    Redrive(Box<RedriveArgs>),
    Redrives(RedrivesArgs),
    Edit(EditArgs),
    Discard(Box<DiscardArgs>),
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl DlqArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::List {
                pipeline,
                wanted,
                oldest_first,
                limit,
                common,
            } => {
                let letters = list(
                    &wanted.parameters(pipeline.clone()),
                    *oldest_first,
                    *limit,
                    &common.remote,
                )
                .await?;
                common.output.print(&json!({ "letters": letters }), || {
                    show::letters(&letters, Timestamp::now())
                })
            }
            Command::Groups {
                pipeline,
                wanted,
                common,
            } => {
                let client = common.remote.client()?;
                let found = client
                    .get::<LetterGroups>(&["dead-letters:groups"], &wanted.parameters(pipeline.clone()).pairs())
                    .await?;
                common
                    .output
                    .print(&found.raw, || show::groups(&found.value.groups, Timestamp::now()))
            }
            Command::Show {
                id,
                raw,
                no_later,
                common,
            } => {
                let client = common.remote.client()?;
                if *raw {
                    return write(&edit::value(&client, id).await?);
                }
                let later = [("later", (!no_later).to_string())];
                let found = client.get::<ShownLetter>(&["dead-letters", id], &later).await?;
                common.output.print(&found.raw, || show::letter(&found.value))
            }
            Command::Export(args) => args.run().await,
            Command::Redrive(args) => args.run().await,
            Command::Redrives(args) => args.run().await,
            Command::Edit(args) => args.run().await,
            Command::Discard(args) => args.run().await,
        }
    }
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::Said(format!("the value can't be written: {error}")))
}

async fn list(
    wanted: &Parameters,
    oldest_first: bool,
    limit: usize,
    remote: &Remote,
) -> Result<Vec<DeadLetter>, Failure> {
    const PAGE: usize = 1000;
    let client = remote.client()?;
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut after: Option<String> = None;
    let mut looked_at = 0;
    // It is seen on a terminal alone.
    let bar = ProgressBar::new_spinner();
    loop {
        let left = if limit == 0 { PAGE } else { limit - letters.len() };
        let mut query = wanted.pairs();
        query.extend([
            ("oldest_first", oldest_first.to_string()),
            ("limit", left.min(PAGE).to_string()),
        ]);
        query.extend(after.map(|after| ("after", after)));
        let page = client.get::<LetterList>(&["dead-letters"], &query).await?.value;
        letters.extend(page.letters);
        after = page.next;
        if let Some(more) = page.looked_at {
            looked_at += more;
            bar.set_message(format!("{} found in {looked_at} letters", letters.len()));
            bar.tick();
        }
        if after.is_none() || (limit > 0 && letters.len() >= limit) {
            bar.finish_and_clear();
            return Ok(letters);
        }
    }
}
