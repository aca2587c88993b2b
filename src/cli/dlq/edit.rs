//! `fnbridge dlq edit` and `fnbridge dlq discard`.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::Common;
use super::redrive::follow;
use super::wanted::Chosen;
use crate::api::wire::{DiscardRequest, Discarded, EditRequest, Redrive, ShownLetter};
use crate::cli::remote::{Client, Failure};

/// Send a dead letter through its pipeline with a corrected value
#[derive(Args, Clone, Debug)]
pub(super) struct EditArgs {
    /// Its id: TOPIC/PARTITION/OFFSET
    id: String,
    /// The value [default: opens the value that it has in $EDITOR]
    #[arg(long, conflicts_with = "file")]
    value: Option<String>,
    /// The value is in this file; - is stdin
    #[arg(long)]
    file: Option<PathBuf>,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    why: String,
    #[command(flatten)]
    common: Common,
}

/// Say that dead letters are not needed: they stay in their topic, and are open no more
#[derive(Args, Clone, Debug)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Why: it stands with each of them, and in the audit log
    #[arg(long)]
    why: String,
    #[command(flatten)]
    common: Common,
}

impl EditArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.common.remote.client()?;
        let bytes = match (&self.value, &self.file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => read(file)?,
            (None, None) => edited(&client, &self.id).await?,
        };
        let mut request = EditRequest {
            reason: self.why.clone(),
            ..EditRequest::default()
        };
        match String::from_utf8(bytes) {
            Ok(text) => request.value = Some(text),
            Err(error) => {
                request.value_base64 = Some(STANDARD.encode(error.into_bytes()));
            }
        }
        let started = client
            .post::<Redrive>(&["dead-letters", &self.id, "edit"], &request)
            .await?;
        follow(&client, &started.value.id, false, &self.common).await
    }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::Said(format!("{} can't be read: {error}", file.display())))?;
    Ok(bytes)
}

/// Lets somebody edit the value that the letter has.
async fn edited(client: &Client, id: &str) -> Result<Vec<u8>, Failure> {
    let Ok(text) = String::from_utf8(value(client, id).await?) else {
        let sentence = "the value is no text: give the corrected one with --file";
        return Err(Failure::Said(sentence.to_owned()));
    };
    // A person edits what a person can read; what it means stays the same.
    let before = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(json) => format!("{json:#}\n"),
        Err(_) => text,
    };
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR"));
    let editor = editor
        .map_err(|_| Failure::Said("expected --value, --file, or the name of an editor in $EDITOR".to_owned()))?;
    let file = std::env::temp_dir().join(format!("fnbridge-edit-{}.json", std::process::id()));
    let failed = |error: std::io::Error| Failure::Said(format!("the value can't be edited: {error}"));
    std::fs::write(&file, &before).map_err(failed)?;
    let ended = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "edit"])
        .arg(&file)
        .status();
    let after = std::fs::read(&file);
    // What is left behind in the folder for such files goes with it.
    let _ = std::fs::remove_file(&file);
    if !ended.map_err(failed)?.success() {
        return Err(Failure::Said(format!("{editor} did not end well: nothing is sent")));
    }
    let after = after.map_err(failed)?;
    match after == before.as_bytes() {
        true => Err(Failure::Said("the value is as it was: nothing is sent".to_owned())),
        false => Ok(after),
    }
}

/// The bytes of a letter's value.
pub(super) async fn value(client: &Client, id: &str) -> Result<Vec<u8>, Failure> {
    let raw = [("raw", true.to_string())];
    let shown = client.get::<ShownLetter>(&["dead-letters", id], &raw).await?.value;
    let bytes = STANDARD.decode(shown.value_base64.unwrap_or_default());
    bytes.map_err(|error| Failure::Said(format!("the value came as no base64: {error}")))
}

impl DiscardArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let said = self.chosen.said()?;
        let client = self.common.remote.client()?;
        let request = DiscardRequest {
            pipeline: said.pipeline,
            ids: said.ids,
            matching: said.matching,
            all: said.all,
            reason: self.why.clone(),
        };
        let mut letters = 0;
        loop {
            let discarded = client
                .post::<Discarded>(&["dead-letters:discard"], &request)
                .await?
                .value;
            letters += discarded.letters;
            if !discarded.more {
                break;
            }
        }
        let raw = serde_json::json!({ "letters": letters });
        self.common
            .output
            .print(&raw, || format!("{letters} dead letters are discarded\n"))
    }
}
