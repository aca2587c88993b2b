//! Clouds' access keys: stated, or what environment, files, and the roles of instances and pods give.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqsign_core::{Context, Error, ErrorKind, FileRead, HttpSend, OsEnv, ProvideCredential};

use super::cached::{Cached, Fetched};
use super::{CloudKeys, Proof, Unproven};

/// Roles answer from nearby.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Keys that are there, or are fetched.
#[derive(Debug)]
pub(super) enum Keys<P> {
    Stated(CloudKeys),
    Found {
        provider: P,
        context: Context,
        cached: Box<Cached<CloudKeys>>,
    },
}

/// What signing with keys came to, `proof` being that of the keys.
pub(super) fn signed(outcome: Result<(), String>, proof: Proof) -> Result<Proof, Unproven> {
    outcome
        .map(|()| proof)
        .map_err(|error| Unproven::Wrong(format!("the call can't be signed: {error}")))
}

/// What a provider finds, and when it ends.
pub(super) type Found = (CloudKeys, Option<SystemTime>);

impl<P: ProvideCredential> Keys<P> {
    pub(super) fn new(stated: Option<CloudKeys>, provider: P) -> Result<Keys<P>, String> {
        if let Some(keys) = stated {
            return Ok(Keys::Stated(keys));
        }
        // The worker asks for its own identity: where functions may be says nothing of that.
        let http = reqwest::Client::builder().timeout(TIMEOUT).build();
        let http = http.map_err(|error| format!("no HTTP client for credentials: {error}"))?;
        Ok(Keys::Found {
            provider,
            context: Context::new()
                .with_env(OsEnv)
                .with_file_read(Files)
                .with_http_send(Http(http)),
            cached: Box::new(Cached::new()),
        })
    }

    pub(super) async fn get(&self, of: &str, read: fn(P::Credential) -> Found) -> Result<(CloudKeys, Proof), Unproven> {
        match self {
            Keys::Stated(keys) => Ok((keys.clone(), Proof::default())),
            Keys::Found {
                provider,
                context,
                cached,
            } => {
                let fetch = async {
                    let found = provider
                        .provide_credential(context)
                        .await
                        .map_err(|error| unproven(of, &error))?;
                    let nowhere = || {
                        Unproven::Wrong(format!(
                            "no credentials for {of} in the worker's environment, files, or the role of its instance or pod"
                        ))
                    };
                    let (value, ends) = read(found.ok_or_else(nowhere)?);
                    let valid_for = ends.map(|ends| ends.duration_since(SystemTime::now()).unwrap_or_default());
                    Ok(Fetched { value, valid_for })
                };
                cached.get(fetch).await
            }
        }
    }

    pub(super) fn renew(&self, refused: Proof) -> bool {
        match self {
            Keys::Stated(_) => false,
            Keys::Found { cached, .. } => cached.renew(refused),
        }
    }
}

fn unproven(of: &str, error: &Error) -> Unproven {
    let said = format!("no credentials for {of}: {error}");
    match error.kind() {
        ErrorKind::CredentialInvalid | ErrorKind::PermissionDenied | ErrorKind::ConfigInvalid
            if !error.is_retryable() =>
        {
            Unproven::Wrong(said)
        }
        _ => Unproven::Away(said),
    }
}

#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        let read = tokio::fs::read(path).await;
        read.map_err(|error| Error::config_invalid(format!("{path} can't be read")).with_source(error))
    }
}

#[derive(Debug)]
struct Http(reqwest::Client);

impl HttpSend for Http {
    async fn http_send(&self, request: hyper::Request<Bytes>) -> reqsign_core::Result<hyper::Response<Bytes>> {
        let failed = |error: reqwest::Error| {
            Error::unexpected("the request failed")
                .with_source(error)
                .set_retryable(true)
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let answer = self.0.execute(request).await.map_err(failed)?;
        let mut response = hyper::Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = answer.bytes().await.map_err(failed)?;
        Ok(response)
    }
}
