//! The commands.

mod access;
mod apply;
mod audit;
mod cases;
mod check;
mod context;
mod contract;
pub mod dev;
mod dlq;
mod fleet;
mod local;
mod new;
mod output;
mod pipelines;
mod register;
mod remote;
mod schema;
mod serve;
mod show;
mod time;
mod trial;

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use remote::Failure;
use tokio::runtime::Runtime;

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
    New(new::NewArgs),
    Test(cases::TestArgs),
    Serve(serve::ServeArgs),
    Register(register::RegisterArgs),
    Apply(apply::ApplyArgs),
    Pipelines(pipelines::PipelinesArgs),
    Try(trial::TryArgs),
    Fleet(fleet::FleetArgs),
    Events(fleet::EventsArgs),
    Audit(audit::AuditArgs),
    AuditLog(fleet::AuditLogArgs),
    Dlq(Box<dlq::DlqArgs>),
    Secrets(access::SecretsArgs),
    Tokens(access::TokensArgs),
    Context(context::ContextArgs),
    Check(check::CheckArgs),
    Schema(schema::SchemaArgs),
    Completion(CompletionArgs),
}

/// Print a script that completes commands in a shell
#[derive(Args, Clone, Debug)]
struct CompletionArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Dev(args) => finish(until_drained(dev::run(args))),
        Command::New(args) => args.run(),
        Command::Test(args) => args.run(),
        Command::Serve(args) => served(until_drained(serve::run(args))),
        Command::Register(args) => done(on_runtime(args.run())),
        Command::Apply(args) => done(on_runtime(args.run())),
        Command::Pipelines(args) => done(on_runtime(args.run())),
        Command::Try(args) => done(on_runtime(args.run())),
        Command::Fleet(args) => done(on_runtime(args.run())),
        Command::Events(args) => done(on_runtime(args.run())),
        Command::Audit(args) => done(on_runtime(args.run())),
        Command::AuditLog(args) => done(on_runtime(args.run())),
        Command::Dlq(args) => done(on_runtime(args.run())),
        Command::Secrets(args) => done(on_runtime(args.run())),
        Command::Tokens(args) => done(on_runtime(args.run())),
        Command::Context(args) => done(args.run()),
        Command::Check(args) => args.run(),
        Command::Schema(args) => args.run(),
        Command::Completion(args) => {
            clap_complete::generate(args.shell, &mut Cli::command(), "fnbridge", &mut io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// A pipeline's name made of a topic's: `[a-z0-9][a-z0-9-]{0,62}`.
fn pipeline_name(topic: &str) -> String {
    let tame = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    let name: String = topic.chars().map(tame).take(63).collect();
    match name.trim_matches('-') {
        "" => "pipeline".to_owned(),
        name => name.to_owned(),
    }
}

fn on_runtime<T, E: From<String>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    runtime()?.block_on(command)
}

/// The same for a worker, whose process ends as soon as it has drained: what its threads still ask a cluster, which may take
/// seconds to answer, and what it would read of stdin, is nobody's question any more, and whoever starts the worker again waits for its
/// end.
fn until_drained<T, E: From<String>>(command: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

fn runtime() -> Result<Runtime, String> {
    Runtime::new().map_err(|error| format!("no threads to run on: {error}"))
}

fn done(outcome: Result<(), Failure>) -> ExitCode {
    finish(outcome.map_err(|failure| failure.to_string()))
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
