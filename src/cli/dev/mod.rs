//! `fnbridge dev`: broker, function, traffic and a live view in one process.

mod args;
mod counts;
mod feeder;
mod line;
mod model;
mod pipeline;
mod sample;
mod screen;
mod session;
mod stop;
mod tail;
mod traffic;
mod view;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;

use crate::api::Server;
use crate::kafka::admin::TopicPlan;
use crate::kafka::embedded::EmbeddedBroker;
use crate::kafka::{Admin, ClusterSettings};
use crate::telemetry::{self, LogLevel, LogSettings};

use self::args::{Kafka, Plan, Source};
use self::feeder::Feeder;
use self::model::{Feeding, Model, Setup};
use self::pipeline::Running;
use self::sample::SampleFunction;
use self::screen::Screen;
use self::session::Session;
use self::stop::Stop;
use self::tail::Tail;
use self::traffic::Traffic;

pub use args::DevArgs;

/// Where a worker listens by default.
const USUAL_PORT: u16 = 8470;

/// A topic that is made on an existing Kafka gets so many.
const NEW_TOPIC_PARTITIONS: i32 = 4;

/// Runs until Ctrl-C, then drains and says what there was.
///
/// # Errors
/// Whatever keeps a piece from starting, as a sentence.
pub async fn run(args: DevArgs) -> Result<(), String> {
    let started = Instant::now();
    let plan = args.plan();
    let mut stop = Stop::listen().map_err(|error| format!("Ctrl-C can't be listened for: {error}"))?;

    let traffic = open_traffic(&plan.feed).await?;
    let (broker, cluster) = open_kafka(&plan).await?;
    let sample = match &args.url {
        Some(_) => None,
        None => Some(
            SampleFunction::start()
                .await
                .map_err(|error| format!("the sample function did not start: {error}"))?,
        ),
    };
    let url = sample
        .as_ref()
        .map(SampleFunction::url)
        .or(args.url)
        .unwrap_or_default();

    let server = bind().await;
    let address = server.as_ref().and_then(|server| server.address().ok());
    let (_tail, sightings) = Tail::start(cluster.client_config(), &plan.results, &plan.dead_letters)
        .map_err(|error| format!("the results can't be watched: {error}"))?;
    let feeder = Feeder::open(cluster.client_config(), &plan.topic, broker.is_some());
    let feeder = Arc::new(feeder.map_err(|error| format!("records can't be fed: {error}"))?);
    let log = start_log();
    let pipeline = Running::start(&plan, &cluster, &url, address).await?;
    if let Some(server) = server {
        tokio::spawn(server.serve(pipeline.routes(), std::future::pending()));
    }
    let setup = Setup {
        broker: cluster.bootstrap_servers.clone(),
        embedded: broker.is_some(),
        sample_function: sample.is_some(),
        url,
        topic: plan.topic.clone(),
        results: plan.results.clone(),
        dead_letters: plan.dead_letters.clone(),
        api: address.map(|address| format!("http://{address}")),
    };
    let model = Model::new(
        setup,
        if traffic.is_some() {
            Feeding::Going
        } else {
            Feeding::Nothing
        },
    );
    let feeding = traffic.map(|traffic| {
        let feeder = feeder.clone();
        tokio::spawn(async move { feeder.run(traffic, plan.records_per_second).await })
    });
    let screen =
        Screen::open(&view::opening(&model.setup)).map_err(|error| format!("the view can't be shown: {error}"))?;
    for line in view::next_steps(&model) {
        // Where stdout is no terminal; the first line that can't be written ends the session below.
        let _ = screen.print(&line);
    }
    let session = Session {
        model,
        screen,
        pipeline,
        feeder,
        feeding,
        sightings,
        log,
        started,
    };
    session
        .run(&mut stop)
        .await
        .map_err(|error| format!("the view can't be shown: {error}"))
}

async fn open_traffic(feed: &Source) -> Result<Option<Traffic>, String> {
    match feed {
        Source::Sample => Ok(Some(Traffic::sample())),
        Source::Elsewhere => Ok(None),
        Source::Input(path) => match Traffic::lines(path).await {
            Ok(traffic) => Ok(Some(traffic)),
            Err(error) => Err(format!("--input {}: {error}", path.display())),
        },
    }
}

/// The broker, where it is ours to run, and how it is reached.
async fn open_kafka(plan: &Plan) -> Result<(Option<EmbeddedBroker>, Arc<ClusterSettings>), String> {
    match &plan.kafka {
        Kafka::Embedded { port, partitions } => {
            let broker = EmbeddedBroker::start(*port).await.map_err(|error| error.to_string())?;
            for topic in [&plan.topic, &plan.results, &plan.dead_letters] {
                broker
                    .create_topic(topic, *partitions)
                    .map_err(|error| error.to_string())?;
            }
            let cluster = Arc::new(broker.cluster());
            Ok((Some(broker), cluster))
        }
        Kafka::Existing { bootstrap_servers } => {
            let cluster = Arc::new(ClusterSettings::plaintext("dev", bootstrap_servers));
            if plan.feed != Source::Elsewhere {
                create_topic(&cluster, &plan.topic).await?;
            }
            Ok((None, cluster))
        }
    }
}

/// Makes the topic that is to be fed, where it is missing.
async fn create_topic(cluster: &Arc<ClusterSettings>, topic: &str) -> Result<(), String> {
    let admin = Admin::open(cluster.clone(), "fnbridge-dev").map_err(|error| error.to_string())?;
    if admin
        .describe_topic(topic)
        .await
        .map_err(|error| error.to_string())?
        .is_none()
    {
        let plan = TopicPlan {
            name: topic.to_owned(),
            partitions: NEW_TOPIC_PARTITIONS,
            replication: None,
            config: Vec::new(),
            dry_run: false,
        };
        admin.create_topic(&plan).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Warnings go into the view, or to stderr where there is none.
fn start_log() -> Option<Receiver<String>> {
    if Screen::is_live() {
        return Some(telemetry::log_lines(LogLevel::Warn));
    }
    telemetry::init_log(&LogSettings {
        level: LogLevel::Warn,
        ..LogSettings::default()
    });
    None
}

/// Takes a worker's usual port for API and metrics, or a free one. Without a port there are none.
async fn bind() -> Option<Server> {
    match Server::bind((Ipv4Addr::LOCALHOST, USUAL_PORT).into(), None).await {
        Ok(server) => Some(server),
        Err(_) => Server::bind((Ipv4Addr::LOCALHOST, 0).into(), None).await.ok(),
    }
}
