//! The commands.

mod check;
pub mod dev;
mod schema;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit code for wrong usage and invalid input; clap's own is the same.
const INVALID: u8 = 2;

/// Attach a function to a Kafka topic: in order, retried, dead-lettered, and without losing a record.
#[derive(Debug, Parser)]
#[command(name = "fnbridge", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Schema(schema::SchemaArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Dev(args) => finish(on_runtime(dev::run(args))),
        Command::Serve(args) => served(on_runtime(serve::run(args))),
        Command::Check(args) => args.run(),
        Command::Schema(args) => args.run(),
    }
}

fn on_runtime<T, E: From<String>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("no threads to run on: {error}"))?;
    runtime.block_on(command)
}

fn served(outcome: Result<(), serve::ServeError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(serve::ServeError::Failed(reason)) => finish(Err(reason)),
        Err(serve::ServeError::Invalid(problems)) => {
            eprintln!("{problems}");
            ExitCode::from(INVALID)
        }
    }
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}
