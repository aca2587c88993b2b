//! `fnbridge dev`: broker, function, traffic and a live view in one process.

mod args;
mod counts;
mod feeder;
mod function;
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

use self::args::{Called, Kafka, Plan, Source};
use self::feeder::Feeder;
use self::function::LocalFunction;
use self::model::{Feeding, Model, Setup, Which};
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
    let plan = args.plan()?;
    let mut stop = Stop::listen().map_err(|error| format!("Ctrl-C can't be listened for: {error}"))?;

    let traffic = open_traffic(&plan.feed).await?;
    let (broker, cluster) = open_kafka(&plan).await?;
    let function = Function::start(&plan.function).await?;
    let url = function.url();

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
        function: function.which(),
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
        function,
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

/// What is called, and what has to run for that.
enum Function {
    Sample(SampleFunction),
    There(String),
    Here(Box<LocalFunction>),
}

impl Function {
    async fn start(called: &Called) -> Result<Function, String> {
        Ok(match called {
            Called::Sample => Function::Sample(
                SampleFunction::start()
                    .await
                    .map_err(|error| format!("the sample function did not start: {error}"))?,
            ),
            Called::There(url) => Function::There(url.clone()),
            Called::Here(way) => Function::Here(Box::new(LocalFunction::start(way.clone()).await?)),
        })
    }

    fn url(&self) -> String {
        match self {
            Function::Sample(sample) => sample.url(),
            Function::There(url) => url.clone(),
            Function::Here(local) => local.url(),
        }
    }

    fn which(&self) -> Which {
        match self {
            Function::Sample(_) => Which::Sample,
            Function::There(_) => Which::There,
            Function::Here(local) => Which::Here(local.shown().to_owned()),
        }
    }

    fn local(&self) -> Option<&LocalFunction> {
        match self {
            Function::Here(local) => Some(local),
            Function::Sample(_) | Function::There(_) => None,
        }
    }

    async fn stop(self) {
        if let Function::Here(local) = self {
            local.stop().await;
        }
    }
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
