//! `fnbridge serve`: a worker.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use clap::Args;
use tokio::sync::watch;

use crate::api::{self, Server, Tls};
use crate::config::{self, Loaded, WorkerSettings};
use crate::control::access::{Secrets, SecretsKey, Tokens};
use crate::control::fleet::{Duty, Fleet, Here, Identity, Member, Remote, Standing};
use crate::control::letters::Letters;
use crate::control::{Supervisor, files};
use crate::kafka::Leave;
use crate::shutdown::{Shutdown, TERMINATED};
use crate::store::{self, Store, StoreError};
use crate::telemetry::{WorkerTelemetry, init_log, init_tracing};

/// Runs a worker: pipelines from its files, and those that the fleet places on it
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
/// A configuration with problems, an address in use, a store or an endpoint that can't be used.
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let loaded = config::load(&args.config).map_err(|problems| ServeError::Invalid(problems.to_string()))?;
    let (files, following) = files::follow(args.config, &loaded);
    let Loaded { worker, foundation, .. } = loaded;
    init_log(&worker.log);
    let tracing = init_tracing(worker.otlp_endpoint.as_deref(), &worker.id).map_err(ServeError::Failed)?;
    let tls = worker
        .access
        .tls
        .clone()
        .map(|(certificate, key)| Tls { certificate, key });
    let server = Server::bind(worker.listen, tls).await.map_err(ServeError::Failed)?;
    let address = server.address().map_err(failed)?;
    let shutdown = Shutdown::on_signals().map_err(failed)?;
    let supervisor = Arc::new(Supervisor::start().map_err(failed)?);
    let telemetry = WorkerTelemetry;
    let here = Arc::new(Here {
        identity: identity(&worker, address),
        foundation,
        supervisor: supervisor.clone(),
        files,
    });
    let Joined { fleet, member, routes } = join(&worker, here.clone()).await?;
    telemetry.started(&worker.id, address, here.files.borrow().len());

    let (stop_serving, served) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(routes, async {
        // The sender is dropped where the worker ends otherwise.
        let _ = served.await;
    }));
    let leave = tokio::select! {
        signal = shutdown.asked() => {
            let leave = leave_on(signal, &worker);
            telemetry.stopping(signal, leave == Leave::ToComeBack);
            leave
        }
        reason = stuck(member.standing()) => give_up(&reason),
    };
    following.abort();
    member.drain(leave);
    supervisor.close(leave).await;
    member.leave().await;
    if let Some(fleet) = fleet {
        fleet.resign().await;
    }
    let _ = stop_serving.send(());
    serving.await.map_err(failed)?.map_err(failed)?;
    telemetry.stopped();
    tokio::task::spawn_blocking(move || drop(tracing)).await.map_err(failed)
}

/// What a worker is in its fleet.
struct Joined {
    /// Where it has the control role.
    fleet: Option<Arc<Fleet>>,
    member: Member,
    routes: Router,
}

async fn join(worker: &WorkerSettings, here: Arc<Here>) -> Result<Joined, ServeError> {
    let Some(control) = &worker.control else {
        let store = open_store(worker).await?;
        let secrets = Secrets::new(store.clone(), secrets_key(worker)?);
        let letters = Letters::beside(&worker.store.0, here.foundation.base()).map_err(failed)?;
        let fleet = Fleet::lead(here.clone(), store.clone(), secrets.clone(), letters);
        let member = fleet.join();
        let routes = api::router(api::Parts {
            fleet: fleet.clone(),
            secrets,
            tokens: tokens(worker, store)?,
            readiness: readiness(&member, &here),
            peers: peers(worker).map_err(failed)?,
        });
        return Ok(Joined {
            fleet: Some(fleet),
            member,
            routes,
        });
    };
    let ca = control.ca.as_ref().map(|file| {
        let unreadable = |error| failed(format!("worker.control.ca: {} can't be read: {error}", file.display()));
        std::fs::read(file).map_err(unreadable)
    });
    let plane = Remote::new(
        control.urls.clone(),
        control.token.clone(),
        ca.transpose()?.as_deref(),
        &here.identity,
    );
    let plane = plane.map_err(|reason| failed(format!("worker.control: {reason}")))?;
    let member = Member::join(here.clone(), plane);
    let urls: Vec<&str> = control.urls.iter().map(reqwest::Url::as_str).collect();
    Ok(Joined {
        fleet: None,
        routes: api::router_without_control(readiness(&member, &here), &urls.join(" or ")),
        member,
    })
}

/// One whose id lasts is taken to be started again, unless a person stops it.
fn leave_on(signal: &str, worker: &WorkerSettings) -> Leave {
    match worker.id_lasts && signal == TERMINATED {
        true => Leave::ToComeBack,
        false => Leave::ForGood,
    }
}

fn readiness(member: &Member, here: &Arc<Here>) -> api::Readiness {
    let (standing, here) = (member.standing(), here.clone());
    Arc::new(move || ready(&standing.borrow(), &here.supervisor))
}

/// Comes back with what is stuck, once that is clear.
async fn stuck(mut standing: watch::Receiver<Standing>) -> String {
    loop {
        if let Standing::Stuck(reason) = &*standing.borrow_and_update() {
            return reason.clone();
        }
        if standing.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// A task that is stuck can't be drained: what it holds goes to others when the process ends.
fn give_up(reason: &str) -> ! {
    WorkerTelemetry.failed(&format_args!(
        "{reason}; this process ends, so that others take its partitions"
    ));
    std::process::exit(1)
}

/// A store that can't be used ends the worker; one that is away is waited for, while pipelines from files run.
async fn open_store(worker: &WorkerSettings) -> Result<Arc<dyn Store>, ServeError> {
    let store = store::open(&worker.store.0).map_err(|error| failed(format!("store: {error}")))?;
    match store.get("leader").await {
        Err(StoreError::Unusable(reason)) => Err(failed(format!("store: {reason}"))),
        Ok(_) | Err(StoreError::Away(_)) => Ok(store),
    }
}

fn tokens(worker: &WorkerSettings, store: Arc<dyn Store>) -> Result<Option<Tokens>, ServeError> {
    if !worker.access.tokens {
        return Ok(None);
    }
    let first = std::env::var("FNBRIDGE_ADMIN_TOKEN").ok();
    Tokens::follow(store, first.as_deref()).map(Some).map_err(failed)
}

fn secrets_key(worker: &WorkerSettings) -> Result<Option<SecretsKey>, ServeError> {
    let key = worker.access.secrets_key.as_deref().map(SecretsKey::read);
    key.transpose()
        .map_err(|reason| failed(format!("access.secrets_key: {reason}")))
}

/// Other workers show certificates like this one's.
fn peers(worker: &WorkerSettings) -> Result<api::Peers, String> {
    let Some((chain, _)) = &worker.access.tls else {
        return Ok(api::Peers::default());
    };
    let read = std::fs::read(chain).map_err(|error| error.to_string());
    read.and_then(|pem| api::Peers::trusting(&pem))
        .map_err(|reason| format!("access.tls.certificate: {}: {reason}", chain.display()))
}

fn identity(worker: &WorkerSettings, address: std::net::SocketAddr) -> Identity {
    let scheme = if worker.access.tls.is_some() { "https" } else { "http" };
    let stated = worker.advertise.as_ref().map(|url| url.to_string());
    let by_address = || (!address.ip().is_unspecified()).then(|| format!("{scheme}://{address}"));
    let duties = [(worker.controls, Duty::Control), (worker.works, Duty::Worker)];
    let duties = duties.into_iter().filter(|(has, _)| *has).map(|(_, duty)| duty);
    Identity {
        url: stated.or_else(by_address),
        ..Identity::of_this_process(&worker.id, duties.collect(), worker.labels.clone(), address.to_string())
    }
}

fn ready(standing: &Standing, supervisor: &Supervisor) -> Result<(), String> {
    match standing {
        Standing::Joining => Err("the fleet has not been heard of yet".to_owned()),
        Standing::Refused(reason) | Standing::Stuck(reason) => Err(reason.clone()),
        // What runs goes on without the store.
        Standing::Joined | Standing::Away(_) => supervisor.ready(),
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
