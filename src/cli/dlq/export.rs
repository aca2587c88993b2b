//! `fnbridge dlq export`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::wanted::Wanted;
use crate::cli::remote::{Failure, Remote};

/// Write dead letters in full as lines of JSON, oldest first
#[derive(Args, Clone, Debug)]
pub(super) struct ExportArgs {
    /// Of this pipeline [default: all]
    pipeline: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// To this file [default: stdout]
    #[arg(long)]
    to: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl ExportArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let unwritable = |error: std::io::Error| Failure::Said(format!("the letters can't be written: {error}"));
        let mut out: Box<dyn Write> = match &self.to {
            Some(file) => Box::new(BufWriter::new(File::create(file).map_err(unwritable)?)),
            None => Box::new(BufWriter::new(std::io::stdout())),
        };
        let client = self.remote.client()?;
        let wanted = self.wanted.parameters(self.pipeline.clone());
        let query = wanted.pairs();
        let bar = match std::io::stderr().is_terminal() && self.to.is_some() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} letters, {per_sec}") {
            bar.set_style(style);
        }
        let mut last = Vec::new();
        let mut gone = 0;
        let lines = client.lines(&["dead-letters:export"], &query, |line| {
            bar.inc(1);
            gone += u64::from(line.ends_with(b"\n") && is_gone(line));
            last = line.to_vec();
            out.write_all(line).map_err(unwritable)
        });
        lines.await?;
        out.flush().map_err(unwritable)?;
        bar.finish_and_clear();
        if gone > 0 {
            eprintln!("{gone} letters were gone from their topic: their lines say so");
        }
        let error = serde_json::from_slice::<Value>(&last)
            .ok()
            .and_then(|line| Some(line.get("error")?.as_str()?.to_owned()));
        match (error, last.last()) {
            (Some(reason), _) => Err(Failure::Said(format!("the export is not complete: {reason}"))),
            (None, Some(end)) if *end != b'\n' => Err(Failure::Said(
                "the export is not complete: the answer broke off".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// Only a line that is short may be one that has no record.
fn is_gone(line: &[u8]) -> bool {
    const LONGEST: usize = 20_000;
    line.len() < LONGEST && serde_json::from_slice::<Value>(line).is_ok_and(|line| line["gone"] == Value::Bool(true))
}
