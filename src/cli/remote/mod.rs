//! The fleet that a command talks to: where it is, and what it answers.

mod client;
pub(super) mod contexts;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::Args;

pub(super) use client::{Client, Failure, Found};

/// Where a worker listens by default.
pub(super) const USUAL: &str = "http://127.0.0.1:8470";

/// Which fleet, and how what it answers is printed.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// A worker of the fleet [default: the context's, or http://127.0.0.1:8470]
    #[arg(
        long,
        value_name = "URL",
        env = "FNBRIDGE_URL",
        alias = "server",
        help_heading = "Fleet"
    )]
    pub url: Option<String>,

    /// A token, where the fleet asks for one
    #[arg(
        long,
        value_name = "TOKEN",
        env = "FNBRIDGE_TOKEN",
        hide_env_values = true,
        help_heading = "Fleet"
    )]
    pub token: Option<String>,

    /// A file of certificates (PEM) that the fleet's may chain to, beside the system's
    #[arg(long, value_name = "FILE", env = "FNBRIDGE_CA", help_heading = "Fleet")]
    pub ca: Option<PathBuf>,

    /// A context other than the current one; `fnbridge context list` shows them
    #[arg(long, value_name = "NAME", env = "FNBRIDGE_CONTEXT", help_heading = "Fleet")]
    pub context: Option<String>,
}

impl Remote {
    /// A client of that fleet. Flags and environment come before the context.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.client_of(&contexts::load()?)
    }

    fn client_of(&self, contexts: &contexts::Contexts) -> Result<Client, Failure> {
        let context = contexts.find(self.context.as_deref())?;
        let url = self.url.as_ref().or(context.map(|context| &context.url));
        // What a context knows is for its own fleet alone.
        let own = context.filter(|context| self.url.as_ref().is_none_or(|url| *url == context.url));
        let token = match (&self.token, own) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(context)) => context.token()?,
            (None, None) => None,
        };
        let ca = self.ca.as_ref().or(own.and_then(|context| context.ca.as_ref()));
        Client::new(url.map_or(USUAL, String::as_str), token, ca.map(PathBuf::as_path))
    }
}
