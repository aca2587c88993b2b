//! `fnbridge apply`: pipelines as files say.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::output::Output;
use super::remote::{Client, Failure, Found, Remote};
use super::show;
use crate::api::wire::{Checked, Pipeline};
use crate::config;

/// Create or change pipelines as files say, and show what differs
///
/// All documents are checked before the first one is sent.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// A file or a folder of *.yaml, *.yml and *.json; - is standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Only show what would change
    #[arg(long)]
    dry_run: bool,

    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

/// A document, and what the fleet says of it.
struct Planned {
    file: String,
    document: Value,
    checked: Found<Checked>,
}

impl ApplyArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.remote.client()?;
        let mut plan = Vec::new();
        let mut refused = 0;
        for (file, document) in self.documents()? {
            match check(&client, &document).await {
                Ok(checked) if checked.value.valid => plan.push(Planned {
                    file,
                    document,
                    checked,
                }),
                Ok(checked) => {
                    refused += 1;
                    for problem in &checked.value.problems {
                        eprintln!("{file}: {}: {} [{}]", problem.field, problem.message, problem.code);
                    }
                }
                Err(problem @ Failure::Problem(_)) => {
                    refused += 1;
                    eprintln!("{file}: {problem}");
                }
                Err(other) => return Err(other),
            }
        }
        if refused > 0 {
            return Err(Failure::Said(format!(
                "{refused} of {} documents are refused; nothing was changed",
                refused + plan.len()
            )));
        }
        let raw: Vec<&Value> = plan.iter().map(|planned| &planned.checked.raw).collect();
        self.output.print(&serde_json::json!(raw), || {
            plan.iter().map(|planned| shown(planned, self.dry_run)).collect()
        })?;
        if self.dry_run {
            return Ok(());
        }
        for planned in plan {
            let name = planned.checked.value.name.unwrap_or_default();
            let sent = client
                .send::<Pipeline>(Method::PUT, &["pipelines", &name], planned.document.to_string(), None)
                .await;
            sent.map_err(|failure| Failure::Said(format!("{}: {failure}", planned.file)))?;
        }
        Ok(())
    }

    fn documents(&self) -> Result<Vec<(String, Value)>, Failure> {
        let mut all = Vec::new();
        for named in &self.files {
            for file in files(named)? {
                let documents = config::documents(&file).map_err(|problems| Failure::Said(problems.to_string()))?;
                let shown = file.display().to_string();
                all.extend(documents.into_iter().map(|document| (shown.clone(), document)));
            }
        }
        match all.is_empty() {
            true => Err(Failure::Said("found no document in the files named".to_owned())),
            false => Ok(all),
        }
    }
}

async fn check(client: &Client, document: &Value) -> Result<Found<Checked>, Failure> {
    client
        .send(Method::POST, &["pipelines:check"], document.to_string(), None)
        .await
}

/// A folder's files, in the order of their names; any other path is itself.
fn files(named: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !named.is_dir() {
        return Ok(vec![named.to_owned()]);
    }
    let unreadable = |error: std::io::Error| Failure::Said(format!("{} can't be read: {error}", named.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(named).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        if matches!(kind, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn shown(planned: &Planned, dry_run: bool) -> String {
    let checked = &planned.checked.value;
    let name = checked.name.as_deref().unwrap_or_default();
    let did = match (checked.would.as_deref(), dry_run) {
        (Some("create"), false) => "created",
        (Some("create"), true) => "would be created",
        (Some("change"), false) => "changed",
        (Some("change"), true) => "would be changed",
        (_, _) => "unchanged",
    };
    format!("{name}: {did}\n{}", show::differences(&checked.changes, "  "))
}
