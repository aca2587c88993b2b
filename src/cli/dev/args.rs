//! What `fnbridge dev` is asked for, and what that comes to.

use std::path::PathBuf;

use clap::Args;

use crate::cli::pipeline_name;
use crate::kafka::embedded::Port;

const SAMPLE_TOPIC: &str = "flights";
const SAMPLE_RATE: u32 = 100;

/// A broker, a function and traffic on this machine, with nothing installed.
///
/// Without options: an embedded Kafka, a sample function and sample records of a public data set. Each of the three can be replaced by
/// your own.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// The topic to read; you feed it, unless --input does [default: flights, fed with sample records]
    #[arg(long, value_parser = topic)]
    pub topic: Option<String>,

    /// Your function instead of the sample one
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Feed the topic from a file, a record a line; - is stdin
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// An existing Kafka instead of the embedded one
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["port", "partitions"])]
    pub broker: Option<String>,

    /// The embedded broker's port; 0 is any free one [default: 9092, or where that is taken any free one]
    #[arg(long)]
    pub port: Option<u16>,

    /// Partitions of the embedded broker's topics
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=64))]
    pub partitions: i32,

    /// Records fed a second, at most [default: 100 of the sample records, no limit for --input]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// Where records are read from and written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) pipeline: String,
    pub(super) topic: String,
    pub(super) results: String,
    pub(super) dead_letters: String,
    pub(super) kafka: Kafka,
    pub(super) feed: Source,
    pub(super) records_per_second: Option<u32>,
}

/// Which Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kafka {
    /// The embedded one.
    Embedded { port: Port, partitions: i32 },
    /// One that runs already.
    Existing { bootstrap_servers: String },
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The sample.
    Sample,
    /// A file, or stdin.
    Input(PathBuf),
    /// Others.
    Elsewhere,
}

impl DevArgs {
    /// What the options come to.
    pub(super) fn plan(&self) -> Plan {
        let topic = self.topic.clone().unwrap_or_else(|| SAMPLE_TOPIC.to_owned());
        let pipeline = pipeline_name(&topic);
        let feed = match (&self.input, &self.topic) {
            (Some(input), _) => Source::Input(input.clone()),
            (None, None) => Source::Sample,
            (None, Some(_)) => Source::Elsewhere,
        };
        Plan {
            results: format!("{topic}-results"),
            dead_letters: format!("{pipeline}.dead-letter"),
            kafka: match &self.broker {
                Some(broker) => Kafka::Existing {
                    bootstrap_servers: broker.clone(),
                },
                None => Kafka::Embedded {
                    port: self.port.map_or(Port::UsualOrFree, Port::Exactly),
                    partitions: self.partitions,
                },
            },
            records_per_second: self.rate.or((feed == Source::Sample).then_some(SAMPLE_RATE)),
            feed,
            pipeline,
            topic,
        }
    }
}

fn topic(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 241 || matches!(name, "." | "..") || !name.chars().all(allowed) {
        return Err(
            "expected 1 to 241 of a-z A-Z 0-9 . _ - (its results go to a topic with -results at the end)".to_owned(),
        );
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        dev: DevArgs,
    }

    fn plan(line: &str) -> Plan {
        let words = std::iter::once("dev").chain(line.split_whitespace());
        Cli::try_parse_from(words).unwrap().dev.plan()
    }

    #[test]
    fn without_options_sample_records_go_through_an_embedded_broker() {
        let plan = plan("");
        assert_eq!(plan.topic, "flights");
        assert_eq!(plan.results, "flights-results");
        assert_eq!(plan.dead_letters, "flights.dead-letter");
        assert_eq!(plan.feed, Source::Sample);
        assert_eq!(plan.records_per_second, Some(SAMPLE_RATE));
    }

    #[test]
    fn a_topic_of_ones_own_is_not_fed_unless_asked() {
        assert_eq!(plan("--topic orders").feed, Source::Elsewhere);
        assert_eq!(plan("--topic orders --input -").feed, Source::Input("-".into()));
        assert_eq!(plan("--topic orders --input -").records_per_second, None);
        assert_eq!(plan("--url http://localhost:3000/").feed, Source::Sample);
    }

    #[test]
    fn a_pipelines_name_is_made_of_any_topics() {
        for (topic, name) in [
            ("orders", "orders"),
            ("Orders.V1_x", "orders-v1-x"),
            ("_", "pipeline"),
            ("-a-", "a"),
        ] {
            assert_eq!(pipeline_name(topic), name);
        }
        assert_eq!(pipeline_name(&"x".repeat(200)).len(), 63);
    }

    #[test]
    fn what_kafka_would_refuse_is_refused_at_once() {
        for line in ["--topic a/b", "--partitions 0", "--rate 0", "--broker h:1 --port 2"] {
            let words = std::iter::once("dev").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
