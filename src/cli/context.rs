//! `fnbridge context`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::Output;
use super::remote::Failure;
use super::remote::contexts::{self, Context, Contexts};

/// Name fleets, and choose between them
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum ContextCommand {
    /// List the contexts; * is the current one
    List,
    /// Use a context from now on
    Use {
        /// Its name
        name: String,
    },
    /// Add a context, or change it
    Add {
        /// Its name
        name: String,
        /// A worker of the fleet
        #[arg(long)]
        url: String,
        /// A file with a token
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// A file of certificates (PEM) that the fleet's may chain to, beside the system's
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Remove a context
    Remove {
        /// Its name
        name: String,
    },
}

impl ContextArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut all = contexts::load()?;
        match &self.command {
            ContextCommand::List => return Output::Table.print(&Value::Null, || listed(&all)),
            ContextCommand::Use { name } => {
                known(&all, name)?;
                all.current = Some(name.clone());
            }
            ContextCommand::Add {
                name,
                url,
                token_file,
                ca,
            } => {
                let context = Context {
                    url: url.clone(),
                    token_file: from_anywhere(token_file.as_ref())?,
                    ca: from_anywhere(ca.as_ref())?,
                };
                all.contexts.insert(name.clone(), context);
                all.current.get_or_insert_with(|| name.clone());
            }
            ContextCommand::Remove { name } => {
                known(&all, name)?;
                all.contexts.remove(name);
                all.current = all.current.filter(|current| current != name);
            }
        }
        contexts::save(&all)
    }
}

/// A path that means the same file in whatever folder a command is run.
fn from_anywhere(file: Option<&PathBuf>) -> Result<Option<PathBuf>, Failure> {
    let absolute = file.map(std::path::absolute).transpose();
    absolute.map_err(|error| Failure::Said(format!("the path can't be used: {error}")))
}

fn known(all: &Contexts, name: &str) -> Result<(), Failure> {
    if all.contexts.contains_key(name) {
        return Ok(());
    }
    let names: Vec<&str> = all.contexts.keys().map(String::as_str).collect();
    Err(Failure::Said(format!(
        "found no context named {name:?}; there are: {}",
        names.join(", ")
    )))
}

fn listed(all: &Contexts) -> String {
    let contexts: &BTreeMap<String, Context> = &all.contexts;
    if contexts.is_empty() {
        return "no contexts; `fnbridge context add NAME --url URL` makes one\n".to_owned();
    }
    let mark = |name: &String| if all.current.as_ref() == Some(name) { "*" } else { " " };
    contexts
        .iter()
        .map(|(name, context)| format!("{} {name}  {}\n", mark(name), context.url))
        .collect()
}
