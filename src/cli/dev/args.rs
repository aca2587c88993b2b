//! What `fnbridge dev` is asked for, and what that comes to.

use std::path::PathBuf;

use clap::Args;

use crate::cli::contract::Contract;
use crate::cli::local::Way;
use crate::cli::pipeline_name;
use crate::kafka::embedded::Port;

const SAMPLE_TOPIC: &str = "flights";
const SAMPLE_RATE: u32 = 100;

/// A broker, a function and traffic on this machine, with nothing installed.
///
/// Without options: an embedded Kafka, a sample function and sample records of a public data set. Each of the three can be replaced by
/// your own.
///
/// --function takes a file, a folder, or else a command. It is started with a free port in the environment variable PORT, where it has to
/// serve HTTP, and restarted when one of its files changes; what it writes is shown beside the records. A .py, .js or .mjs file that does
/// not ask for PORT is served for you: its `verdict(record)`, or its `handler(event, context)` under aws_lambda and aliyun_fc. A folder has a
/// go.mod, a pom.xml, a package.json with a start script, or a file named main, function, app, index or handler. What is no path is a
/// command, run by `sh` in the current folder.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// The topic to read; you feed it, unless --input does [default: flights, fed with sample records]
    #[arg(long, value_parser = topic)]
    pub topic: Option<String>,

    /// Your function instead of the sample one, where it runs already
    #[arg(long, value_name = "URL", group = "own")]
    pub url: Option<String>,

    /// Your function, started here and restarted when its files change: a file, a folder, or a command
    #[arg(long, value_name = "PATH|COMMAND", group = "own")]
    pub function: Option<String>,

    /// What your function speaks [default: what the pipeline.yaml beside it says, else json]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "CONTRACT",
        requires = "own"
    )]
    pub contract: Option<Contract>,

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
    pub(super) contract: Contract,
    /// Which function.
    pub(super) function: Called,
    pub(super) records_per_second: Option<u32>,
}

/// Which function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// The sample.
    Sample,
    /// One that runs already.
    There(String),
    /// One that runs here.
    Here(Way),
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
    ///
    /// # Errors
    /// A function that can't be run, with what was expected.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let function = match (&self.function, &self.url) {
            (Some(function), _) => {
                Called::Here(Way::of(function, self.contract).map_err(|why| format!("--function: {why}"))?)
            }
            (None, Some(url)) => Called::There(url.clone()),
            (None, None) => Called::Sample,
        };
        let contract = match &function {
            Called::Here(way) => way.contract,
            Called::There(_) | Called::Sample => self.contract.unwrap_or_default(),
        };
        let topic = self.topic.clone().unwrap_or_else(|| SAMPLE_TOPIC.to_owned());
        let pipeline = pipeline_name(&topic);
        let feed = match (&self.input, &self.topic) {
            (Some(input), _) => Source::Input(input.clone()),
            (None, None) => Source::Sample,
            (None, Some(_)) => Source::Elsewhere,
        };
        Ok(Plan {
            contract,
            function,
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
        })
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
        Cli::try_parse_from(words).unwrap().dev.plan().unwrap()
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
    fn a_function_says_its_contract_unless_it_was_said() {
        let contract = |line: &str| plan(line).contract;
        assert_eq!(contract(""), Contract::Json);
        assert_eq!(
            contract("--url http://h/ --contract cloudevents_binary"),
            Contract::CloudeventsBinary
        );
        assert_eq!(contract("--function true --contract raw"), Contract::Raw);
        let lambda = concat!(env!("CARGO_MANIFEST_DIR"), "/functions/orders/aws_lambda/handler.py");
        let found = contract(&format!("--function {lambda} --contract aws_lambda"));
        assert_eq!(found, Contract::AwsLambda);
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
        for line in [
            "--topic a/b",
            "--partitions 0",
            "--rate 0",
            "--broker h:1 --port 2",
            "--contract raw",
            "--url http://h/ --function f.py",
        ] {
            let words = std::iter::once("dev").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
