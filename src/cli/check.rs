//! `fnbridge check`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::INVALID;
use crate::config::{self, Checked};

/// Checks pipelines, or a worker's configuration with its pipelines: every problem at once.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// A file to check; - is standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Check pipelines as this worker would run them
    #[arg(long, value_name = "FILE", env = "FNBRIDGE_CONFIG")]
    pub config: Option<PathBuf>,

    /// How problems are printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line each, for people.
    Text,
    /// One JSON object, for machines.
    Json,
}

impl CheckArgs {
    /// Checks, prints the problems on stdout and a summary on stderr.
    pub fn run(&self) -> ExitCode {
        let checked = config::check(&self.files, self.config.as_deref());
        if let Err(error) = print(&checked, self.output, &mut io::stdout().lock()) {
            eprintln!("fnbridge: problems can't be printed: {error}");
            return ExitCode::FAILURE;
        }
        eprintln!("{}", summary(&checked));
        if checked.problems.0.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(INVALID)
        }
    }
}

fn print(checked: &Checked, output: Output, out: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Text => checked
            .problems
            .0
            .iter()
            .try_for_each(|problem| writeln!(out, "{problem}")),
        Output::Json => {
            let valid = checked.problems.0.is_empty();
            let page = serde_json::json!({
                "valid": valid,
                "pipelines": checked.pipelines,
                "problems": checked.problems,
            });
            writeln!(out, "{page:#}")
        }
    }
}

fn summary(checked: &Checked) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    match checked.problems.0.len() {
        0 => format!("valid: {}", count(checked.pipelines.len(), "pipeline")),
        number => format!("invalid: {}", count(number, "problem")),
    }
}
