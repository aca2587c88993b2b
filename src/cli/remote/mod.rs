//! The fleet that a command talks to: where it is, and what it answers.

mod client;
pub(super) mod contexts;

use clap::Args;

pub(super) use client::{Client, Failure, Found};

/// Where a worker listens by default.
const USUAL: &str = "http://127.0.0.1:8470";

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

    /// A context other than the current one; `fnbridge context list` shows them
    #[arg(long, value_name = "NAME", env = "FNBRIDGE_CONTEXT", help_heading = "Fleet")]
    pub context: Option<String>,
}

impl Remote {
    /// A client of that fleet. Flags and environment come before the context.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let context = contexts::find(self.context.as_deref())?;
        let known = context.as_ref();
        let url = self.url.clone().or_else(|| known.map(|context| context.url.clone()));
        let token = match (&self.token, known) {
            (Some(token), _) => Some(token.clone()),
            // A context's token is for its own fleet alone.
            (None, Some(context)) if self.url.as_ref().is_none_or(|url| *url == context.url) => context.token()?,
            (None, _) => None,
        };
        Client::new(url.as_deref().unwrap_or(USUAL), token)
    }
}
