//! `fnbridge dlq`: dead letters, found, grouped and shown.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::output::Output;
use super::remote::{Failure, Remote};
use super::show;
use crate::api::wire::{DeadLetter, LetterGroups, LetterList, ShownLetter};

/// Look at dead letters
#[derive(Args, Clone, Debug)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// Oldest first
        #[arg(long)]
        oldest_first: bool,
        /// How many, at most; 0: all
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Group dead letters by how they failed
    Groups {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        common: Common,
    },
    /// Show a dead letter in full
    Show {
        /// Its id: TOPIC/PARTITION/OFFSET
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Which letters.
#[derive(Args, Clone, Debug)]
struct Wanted {
    /// Of this pipeline [default: all]
    pipeline: Option<String>,
    /// In this dead-letter topic
    #[arg(long)]
    topic: Option<String>,
    /// In this partition
    #[arg(long)]
    partition: Option<i32>,
    /// At this offset or behind it
    #[arg(long)]
    from_offset: Option<i64>,
    /// At this offset or before it
    #[arg(long)]
    to_offset: Option<i64>,
    /// Given up at this time or later: RFC 3339, or so long ago, such as 2h
    #[arg(long, value_parser = time)]
    since: Option<Timestamp>,
    /// Given up before this time
    #[arg(long, value_parser = time)]
    until: Option<Timestamp>,
    /// With this key
    #[arg(long)]
    key: Option<String>,
    /// Of this stage: convert, filter, transform, function, sink, operator
    #[arg(long)]
    stage: Option<String>,
    /// With this status that the function answered
    #[arg(long)]
    status: Option<u16>,
    /// Whose reason holds this text
    #[arg(long)]
    reason: Option<String>,
    /// Of this group
    #[arg(long)]
    fingerprint: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    remote: Remote,
}

impl Wanted {
    fn query(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.clone();
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let time = |value: Option<Timestamp>| value.map(|time| time.to_string());
        let all = [
            ("pipeline", text(&self.pipeline)),
            ("topic", text(&self.topic)),
            ("partition", number(self.partition.map(i64::from))),
            ("from_offset", number(self.from_offset)),
            ("to_offset", number(self.to_offset)),
            ("since", time(self.since)),
            ("until", time(self.until)),
            ("key", text(&self.key)),
            ("stage", text(&self.stage)),
            ("status", number(self.status.map(i64::from))),
            ("reason", text(&self.reason)),
            ("fingerprint", text(&self.fingerprint)),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

impl DlqArgs {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::List {
                wanted,
                oldest_first,
                limit,
                common,
            } => {
                let letters = list(wanted, *oldest_first, *limit, &common.remote).await?;
                common.output.print(&json!({ "letters": letters }), || {
                    show::letters(&letters, Timestamp::now())
                })
            }
            Command::Groups { wanted, common } => {
                let client = common.remote.client()?;
                let found = client
                    .get::<LetterGroups>(&["dead-letters:groups"], &wanted.query())
                    .await?;
                common
                    .output
                    .print(&found.raw, || show::groups(&found.value.groups, Timestamp::now()))
            }
            Command::Show { id, common } => {
                let client = common.remote.client()?;
                let found = client.get::<ShownLetter>(&["dead-letters", id], &[]).await?;
                common.output.print(&found.raw, || show::letter(&found.value))
            }
        }
    }
}

async fn list(wanted: &Wanted, oldest_first: bool, limit: usize, remote: &Remote) -> Result<Vec<DeadLetter>, Failure> {
    const PAGE: usize = 1000;
    let client = remote.client()?;
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let left = if limit == 0 { PAGE } else { limit - letters.len() };
        let mut query = wanted.query();
        query.extend([
            ("oldest_first", oldest_first.to_string()),
            ("limit", left.min(PAGE).to_string()),
        ]);
        query.extend(after.map(|after| ("after", after)));
        let page = client.get::<LetterList>(&["dead-letters"], &query).await?.value;
        letters.extend(page.letters);
        after = page.next;
        if after.is_none() || (limit > 0 && letters.len() >= limit) {
            return Ok(letters);
        }
    }
}

/// An RFC 3339 time, or so long ago.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: Result<jiff::SignedDuration, _> = text.parse();
    let time = ago.ok().and_then(|ago| Timestamp::now().checked_sub(ago).ok());
    time.ok_or_else(|| "expected a time such as 2026-01-31T12:00:00Z, or so long ago, such as 90m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_stated_or_counted_back_from_now() {
        assert_eq!(
            time("2026-01-31T12:00:00Z").unwrap().to_string(),
            "2026-01-31T12:00:00Z"
        );
        let ago = time("2h").unwrap().duration_until(Timestamp::now());
        assert!((7200..7260).contains(&ago.as_secs()), "{ago}");
        assert!(time("yesterday").is_err());
    }
}
