//! `fnbridge serve`: a worker.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::config::{self, Loaded};
use crate::pipeline::{Pipeline, PipelineState, Shards};
use crate::shutdown::Shutdown;
use crate::telemetry::{OpsServer, Readiness, WorkerTelemetry, init_log, init_tracing};

/// Runs a worker with the pipelines that its configuration names.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The worker's configuration
    #[arg(long, value_name = "FILE", env = "FNBRIDGE_CONFIG", default_value = "fnbridge.yaml")]
    pub config: PathBuf,
}

/// Why a worker did not run to its end.
#[derive(Debug)]
pub enum ServeError {
    /// Its configuration has problems; each is a line.
    Invalid(String),
    /// Something else, in a sentence.
    Failed(String),
}

/// Runs a worker until a signal ends it, and drains.
///
/// # Errors
/// A configuration with problems, an address in use, an endpoint that can't be used.
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let Loaded { worker, pipelines } =
        config::load(&args.config).map_err(|problems| ServeError::Invalid(problems.to_string()))?;
    init_log(&worker.log);
    let tracing = init_tracing(worker.otlp_endpoint.as_deref(), &worker.id).map_err(ServeError::Failed)?;
    let server = OpsServer::bind(worker.listen).await.map_err(ServeError::Failed)?;
    let address = server.address().map_err(failed)?;
    let shutdown = Shutdown::on_signals().map_err(failed)?;
    let shards = Shards::start().map_err(failed)?;
    let telemetry = WorkerTelemetry;
    telemetry.started(&worker.id, address, pipelines.len());

    let running: Vec<Pipeline> = pipelines
        .into_iter()
        .map(|pipeline| Pipeline::start(pipeline, &shards))
        .collect();
    let pictures = running.iter().map(Pipeline::watch).collect::<Vec<_>>();
    let ready: Readiness = Arc::new(move || {
        let waiting = pictures.iter().find_map(|picture| match &picture.borrow().state {
            PipelineState::Starting => Some("a pipeline is starting".to_owned()),
            PipelineState::Waiting(reason) => Some(reason.clone()),
            PipelineState::Running | PipelineState::Stopped => None,
        });
        waiting.map_or(Ok(()), Err)
    });
    let (stop_serving, served) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(ready, async {
        // The sender is dropped where the worker ends otherwise.
        let _ = served.await;
    }));
    telemetry.stopping(shutdown.asked().await);
    drain(running).await;
    let _ = stop_serving.send(());
    serving.await.map_err(failed)?.map_err(failed)?;
    telemetry.stopped();
    tokio::task::spawn_blocking(move || drop(tracing)).await.map_err(failed)
}

async fn drain(mut pipelines: Vec<Pipeline>) {
    pipelines.iter().for_each(Pipeline::close);
    for pipeline in &mut pipelines {
        pipeline.ended().await;
    }
}

impl From<String> for ServeError {
    fn from(reason: String) -> ServeError {
        ServeError::Failed(reason)
    }
}

fn failed(error: impl std::fmt::Display) -> ServeError {
    ServeError::Failed(error.to_string())
}
