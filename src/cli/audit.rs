//! `fnbridge audit`.

use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Deserialize;

use super::output::Output;
use super::remote::{Failure, Remote};
use super::show;
use super::time::time;
use crate::api::wire::{Audit, Counting};

/// Prove that nothing was lost: hold what became of records against what the logs hold
///
/// Results and dead letters are counted in Kafka. The range is rounded to checkpoints, which are taken once a minute. Ends with
/// 1 where something does not add up.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// The pipeline
    pipeline: String,
    /// From this time on: RFC 3339, or so long ago, such as 2h [default: since the pipeline began]
    #[arg(long, value_parser = time)]
    from: Option<Timestamp>,
    /// Until this time [default: now]
    #[arg(long, value_parser = time)]
    to: Option<Timestamp>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Counting(Counting),
    Done(Box<Audit>),
}

impl AuditArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.remote.client()?;
        let times = [("from", self.from), ("to", self.to)];
        let query: Vec<(&str, String)> = (times.into_iter())
            .filter_map(|(name, time)| Some((name, time?.to_string())))
            .collect();
        let bar = ProgressBar::new_spinner();
        loop {
            let found = client
                .get::<Answer>(&["pipelines", &self.pipeline, "audit"], &query)
                .await?;
            match found.value {
                Answer::Counting(Counting { counting }) => bar.set_message(format!("{counting} records are counted")),
                Answer::Done(audit) => {
                    bar.finish_and_clear();
                    self.output.print(&found.raw, || show::audit(&audit))?;
                    return match audit.adds_up {
                        true => Ok(()),
                        false => Err(Failure::Said(format!(
                            "the account of {} does not add up",
                            self.pipeline
                        ))),
                    };
                }
            }
        }
    }
}
