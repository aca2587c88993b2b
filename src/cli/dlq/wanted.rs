//! Which letters a command is about.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::api::wire::LetterQuery;
use crate::cli::remote::Failure;
use crate::cli::time::time;
use crate::letters::place_of;

/// What letters have in common.
#[derive(Args, Clone, Debug)]
pub(super) struct Wanted {
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
    /// Of this group, as `dlq groups` names it
    #[arg(long, visible_alias = "fingerprint")]
    group: Option<String>,
    /// That stand so: open, unknown, redriven, discarded, edited, several with commas, or all [default: open,unknown]
    #[arg(long)]
    mark: Option<String>,
    /// That this redrive sent
    #[arg(long)]
    redrive: Option<String>,
    /// Whose record has this header: NAME or NAME=VALUE (list and export)
    #[arg(long)]
    header: Option<String>,
    /// Whose JSON value holds this: PATH=VALUE, such as '$.order.id=42' (list and export)
    #[arg(long)]
    value: Option<String>,
}

impl Wanted {
    /// What to ask for.
    pub(super) fn query(&self, pipeline: Option<String>) -> LetterQuery {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        LetterQuery {
            pipeline,
            topic: self.topic.clone(),
            partition: self.partition,
            from_offset: self.from_offset,
            to_offset: self.to_offset,
            since: time(self.since),
            until: time(self.until),
            key: self.key.clone(),
            stage: self.stage.clone(),
            status: self.status,
            reason: self.reason.clone(),
            fingerprint: self.group.clone(),
            mark: self.mark.clone(),
            redrive: self.redrive.clone(),
            header: self.header.clone(),
            value: self.value.clone(),
        }
    }

    /// The same as parameters behind a path.
    pub(super) fn parameters(&self, pipeline: Option<String>) -> Parameters {
        match serde_json::to_value(self.query(pipeline)) {
            Ok(Value::Object(fields)) => Parameters(fields),
            _ => Parameters(Map::new()),
        }
    }
}

/// Parameters behind a path.
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Each by its name.
    pub(super) fn pairs(&self) -> Vec<(&str, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), text(value)))
            .collect()
    }
}

/// Letters by their ids, or a pipeline's by what they have in common.
#[derive(Args, Clone, Debug)]
pub(super) struct Chosen {
    /// The pipeline, or letters' ids: TOPIC/PARTITION/OFFSET
    #[arg(required = true, value_name = "PIPELINE|ID")]
    which: Vec<String>,
    /// All of the pipeline's letters that somebody has to see to
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wanted: Wanted,
}

/// What a request says of them.
pub(super) struct Said {
    pub(super) pipeline: Option<String>,
    pub(super) ids: Vec<String>,
    pub(super) matching: Option<LetterQuery>,
    pub(super) all: bool,
}

impl Chosen {
    /// What a request says of them.
    ///
    /// # Errors
    /// What is missing, or is too much.
    pub(super) fn said(&self) -> Result<Said, Failure> {
        let wanted = self.wanted.query(None);
        let says_something = wanted != LetterQuery::default();
        let wrong = |sentence: &str| Err(Failure::Said(sentence.to_owned()));
        match &self.which[..] {
            [name] if place_of(name).is_none() => {
                if !says_something && !self.all {
                    return wrong(
                        "expected which of the pipeline's letters are meant: --group, --since, --key, …, or --all for all of them",
                    );
                }
                if says_something && self.all {
                    return wrong("found --all beside what letters have in common, expected one of the two");
                }
                Ok(Said {
                    pipeline: Some(name.clone()),
                    ids: Vec::new(),
                    matching: says_something.then_some(wanted),
                    all: self.all,
                })
            }
            ids => {
                if let Some(other) = ids.iter().find(|id| place_of(id).is_none()) {
                    return Err(Failure::Said(format!(
                        "found {other:?} among several, expected letters' ids: TOPIC/PARTITION/OFFSET"
                    )));
                }
                if says_something || self.all {
                    return wrong("found ids and what letters have in common, expected one of the two");
                }
                Ok(Said {
                    pipeline: None,
                    ids: ids.to_vec(),
                    matching: None,
                    all: false,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        chosen: Chosen,
    }

    fn said(line: &[&str]) -> Result<Said, String> {
        let words = std::iter::once(&"dlq").chain(line);
        let chosen = Line::try_parse_from(words).unwrap().chosen;
        chosen.said().map_err(|failure| failure.to_string())
    }

    #[test]
    fn letters_are_chosen_in_one_way() {
        let ids = said(&["d/0/1", "d/0/2"]).ok().unwrap();
        assert_eq!((ids.pipeline, ids.ids.len()), (None, 2));
        let group = said(&["orders", "--group", "f1"]).ok().unwrap();
        assert_eq!(group.pipeline.as_deref(), Some("orders"));
        assert_eq!(group.matching.unwrap().fingerprint.as_deref(), Some("f1"));
        assert!(said(&["orders", "--all"]).ok().unwrap().all);
        for wrong in [
            &["orders"][..],
            &["orders", "--all", "--key", "k"],
            &["d/0/1", "orders"],
            &["d/0/1", "--all"],
        ] {
            assert!(
                said(wrong).err().is_some_and(|error| error.contains("expected")),
                "{wrong:?}"
            );
        }
    }
}
