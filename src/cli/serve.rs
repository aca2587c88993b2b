//! `fnbridge serve`: a worker.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::config::{self, Loaded};
use crate::control::{Supervisor, Wish};
use crate::pipeline::PipelineSettings;
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
    let Loaded { worker, pipelines, .. } =
        config::load(&args.config).map_err(|problems| ServeError::Invalid(problems.to_string()))?;
    init_log(&worker.log);
    let tracing = init_tracing(worker.otlp_endpoint.as_deref(), &worker.id).map_err(ServeError::Failed)?;
    let server = OpsServer::bind(worker.listen).await.map_err(ServeError::Failed)?;
    let address = server.address().map_err(failed)?;
    let shutdown = Shutdown::on_signals().map_err(failed)?;
    let supervisor = Arc::new(Supervisor::start().map_err(failed)?);
    let telemetry = WorkerTelemetry;
    telemetry.started(&worker.id, address, pipelines.len());

    supervisor.set(held_by_files(config::share_out(pipelines, &worker)));
    let supervised = supervisor.clone();
    let ready: Readiness = Arc::new(move || supervised.ready());
    let (stop_serving, served) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(ready, async {
        // The sender is dropped where the worker ends otherwise.
        let _ = served.await;
    }));
    telemetry.stopping(shutdown.asked().await);
    supervisor.close().await;
    let _ = stop_serving.send(());
    serving.await.map_err(failed)?.map_err(failed)?;
    telemetry.stopped();
    tokio::task::spawn_blocking(move || drop(tracing)).await.map_err(failed)
}

fn held_by_files(pipelines: Vec<PipelineSettings>) -> Vec<Wish> {
    let wish = |settings: PipelineSettings| Wish {
        run: settings.revision.clone(),
        settings,
    };
    pipelines.into_iter().map(wish).collect()
}

impl From<String> for ServeError {
    fn from(reason: String) -> ServeError {
        ServeError::Failed(reason)
    }
}

fn failed(error: impl std::fmt::Display) -> ServeError {
    ServeError::Failed(error.to_string())
}
