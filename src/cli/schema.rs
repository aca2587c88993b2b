//! `fnbridge schema`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::config::{pipeline_schema, worker_schema};

/// Prints the JSON Schema of a pipeline's document.
///
/// `x-fnbridge-acts-on` lists the values that this version acts on; others are refused.
#[derive(Args, Clone, Debug)]
pub struct SchemaArgs {
    /// Of a worker's configuration instead
    #[arg(long)]
    pub worker: bool,
}

impl SchemaArgs {
    /// Prints it.
    pub fn run(&self) -> ExitCode {
        let schema = if self.worker {
            worker_schema()
        } else {
            pipeline_schema()
        };
        match writeln!(std::io::stdout(), "{schema:#}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}
