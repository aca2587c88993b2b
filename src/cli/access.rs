//! `fnbridge secrets` and `tokens`.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::Output;
use super::pipelines::confirm;
use super::remote::{Failure, Remote};
use super::show;
use crate::api::wire::{CreatedToken, SecretList, TokenList, TokenRequest};
use crate::control::access::{Role, Tokens};
use crate::store;

/// Write secrets that pipelines refer to as {secret: NAME}; they are never read back
#[derive(Args, Clone, Debug)]
pub struct SecretsArgs {
    #[command(subcommand)]
    command: SecretsCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum SecretsCommand {
    /// Write a secret, from a file or from standard input
    Set {
        /// Its name
        name: String,
        /// The file that holds it [default: standard input]
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List secrets, without what is secret of them
    List {
        /// How it is printed
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a secret
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

impl SecretsArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        match &self.command {
            SecretsCommand::Set {
                name,
                from_file,
                remote,
            } => {
                let value = read(from_file.as_ref())?;
                let body = json!({ "value": value });
                remote.client()?.put(&["secrets", name], &body).await?;
                eprintln!("secret {name} written");
                Ok(())
            }
            SecretsCommand::List { output, remote } => {
                let found = remote.client()?.get::<SecretList>(&["secrets"], &[]).await?;
                output.print(&found.raw, || show::secrets(&found.value.secrets))
            }
            SecretsCommand::Delete { name, yes, remote } => {
                if !yes {
                    confirm(&format!(
                        "Delete the secret {name}? Pipelines that refer to it can't be started anew."
                    ))?;
                }
                remote.client()?.delete(&["secrets", name], &[]).await?;
                eprintln!("secret {name} deleted");
                Ok(())
            }
        }
    }
}

/// A secret's text; an end of line at its end is left out.
fn read(file: Option<&PathBuf>) -> Result<String, Failure> {
    let text = match file {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| format!("{} can't be read: {error}", file.display()))?
        }
        None => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| format!("standard input can't be read: {error}"))?;
            text
        }
    };
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Give access to the API
#[derive(Args, Clone, Debug)]
pub struct TokensArgs {
    #[command(subcommand)]
    command: TokensCommand,
}

#[derive(Subcommand, Clone, Debug)]
enum TokensCommand {
    /// Create a token; its secret is printed once
    Create {
        /// What it is for
        name: String,
        /// What its bearer may do
        #[arg(long, value_enum)]
        role: RoleArg,
        /// Only to pipelines whose names begin like this
        #[arg(long, default_value = "")]
        prefix: String,
        /// Write it into the store itself: for the first token, which no API gives
        #[arg(long, value_name = "STORE-URL", conflicts_with_all = ["url", "token", "context"])]
        store: Option<String>,
        /// How it is printed; the table is the secret alone
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        #[command(flatten)]
        remote: Remote,
    },
    /// List tokens, without their secrets
    List {
        /// How it is printed
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        #[command(flatten)]
        remote: Remote,
    },
    /// Revoke a token
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// What a token's bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// Look
    Viewer,
    /// Also pause, resume, restart, and see to dead letters
    Operator,
    /// Also register, change and delete, and write secrets
    Editor,
    /// Also tokens and the audit log
    Admin,
    /// Join as a worker without a store of its own, and nothing else
    Worker,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Role {
        match role {
            RoleArg::Viewer => Role::Viewer,
            RoleArg::Operator => Role::Operator,
            RoleArg::Editor => Role::Editor,
            RoleArg::Admin => Role::Admin,
            RoleArg::Worker => Role::Worker,
        }
    }
}

impl TokensArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        match &self.command {
            TokensCommand::Create {
                name,
                role,
                prefix,
                store: Some(store),
                ..
            } => first(store, name, (*role).into(), prefix).await,
            TokensCommand::Create {
                name,
                role,
                prefix,
                output,
                remote,
                ..
            } => {
                let request = TokenRequest {
                    name: name.clone(),
                    role: (*role).into(),
                    prefix: prefix.clone(),
                };
                let found = remote.client()?.post::<CreatedToken>(&["tokens"], &request).await?;
                eprintln!(
                    "token {} created; this is the only time that it is shown",
                    found.value.token.id
                );
                output.print(&found.raw, || format!("{}\n", found.value.secret))
            }
            TokensCommand::List { output, remote } => {
                let found = remote.client()?.get::<TokenList>(&["tokens"], &[]).await?;
                output.print(&found.raw, || show::tokens(&found.value.tokens))
            }
            TokensCommand::Revoke { id, remote } => {
                remote.client()?.delete(&["tokens", id], &[]).await?;
                eprintln!("token {id} revoked");
                Ok(())
            }
        }
    }
}

async fn first(url: &str, name: &str, role: Role, prefix: &str) -> Result<(), Failure> {
    let store = store::open(url).map_err(|error| error.to_string())?;
    let by = (
        "fnbridge tokens create --store",
        jiff::Timestamp::now().as_millisecond(),
    );
    let created = Tokens::create(&*store, name, (role, prefix), by)
        .await
        .map_err(|error| error.to_string())?;
    eprintln!("token {} created; this is the only time that it is shown", created.0.id);
    Output::Table.print(&Value::Null, || format!("{}\n", created.1))
}
