//! A worker without a store of its own: it asks those that have it, over their API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::plane::{Plane, Unheard, Work};
use super::report::{Identity, Report};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one answer may take, beside what it was told to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a question for work waits for something new.
const WAIT: Duration = Duration::from_secs(10);
/// How long a worker that was not heard waits before it asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The way to the control plane over HTTP: work is asked for all the time, each question waiting for something new.
#[derive(Debug)]
pub struct Remote {
    asker: Arc<Asker>,
    heard: watch::Receiver<Option<Result<Work, Unheard>>>,
    asking: JoinHandle<()>,
}

impl Remote {
    /// The way to the control plane at these URLs, asked in turn. `ca`: certificates (PEM) that theirs may chain to, beside
    /// the system's. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Certificates that can't be used, in a sentence.
    pub fn new(
        urls: Vec<Url>,
        token: Option<String>,
        ca: Option<&[u8]>,
        identity: &Identity,
    ) -> Result<Remote, String> {
        // Another part of the process may have chosen the provider already; it is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if let Some(ca) = ca {
            let certificates = Certificate::from_pem_bundle(ca).map_err(|error| error.to_string())?;
            builder = builder.tls_certs_merge(certificates);
        }
        let asker = Arc::new(Asker {
            http: builder.build().map_err(|error| error.to_string())?,
            urls,
            at: AtomicUsize::new(0),
            token,
            worker: identity.id.clone(),
            incarnation: identity.incarnation,
        });
        let (sender, heard) = watch::channel(None);
        let asking = tokio::spawn(keep_asking(asker.clone(), sender));
        Ok(Remote { asker, heard, asking })
    }
}

impl Plane for Remote {
    async fn tell(&mut self, report: &Report) -> Result<(), Unheard> {
        let request = |asker: &Asker| asker.request(Method::PUT, &[]).json(report);
        self.asker.answer(request).await.map(|_| ())
    }

    async fn hear(&mut self) -> Result<Work, Unheard> {
        let heard = self.heard.wait_for(Option::is_some).await;
        let heard = heard.ok().and_then(|heard| heard.clone());
        heard.unwrap_or_else(|| Err(Unheard::Away("nobody asks for work any more".to_owned())))
    }

    async fn changed(&mut self) {
        if self.heard.changed().await.is_err() {
            std::future::pending().await
        }
    }

    async fn leave(&mut self) {
        self.asking.abort();
        let request = |asker: &Asker| {
            let incarnation = [("incarnation", asker.incarnation)];
            asker.request(Method::DELETE, &[]).query(&incarnation)
        };
        // Where nobody hears it, the lease ends by itself.
        let _ = self.asker.answer(request).await;
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

async fn keep_asking(asker: Arc<Asker>, sender: watch::Sender<Option<Result<Work, Unheard>>>) {
    let mut tag = None;
    loop {
        match asker.work(tag.as_ref()).await {
            Ok(Some((new, work))) => {
                tag = new;
                sender.send_replace(Some(Ok(work)));
            }
            Ok(None) => {}
            Err(unheard) => {
                tag = None;
                sender.send_replace(Some(Err(unheard)));
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// Asks the control plane.
#[derive(Debug)]
struct Asker {
    http: Client,
    urls: Vec<Url>,
    /// The URL that is asked: the last that answered.
    at: AtomicUsize,
    token: Option<String>,
    worker: String,
    incarnation: i64,
}

/// What of a problem matters here.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Asker {
    fn url(&self) -> &Url {
        &self.urls[self.at.load(Ordering::Relaxed) % self.urls.len()]
    }

    fn request(&self, method: Method, rest: &[&str]) -> RequestBuilder {
        let mut url = self.url().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "workers", &self.worker]).extend(rest);
        }
        let request = self.http.request(method, url).timeout(ANSWER_WITHIN);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answer(&self, request: impl Fn(&Asker) -> RequestBuilder) -> Result<Response, Unheard> {
        let response = request(self).send().await;
        let response = response.map_err(|error| self.away(&chain(&error)))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(match response.json::<Problem>().await {
            Ok(problem) if problem.code == super::WORKER_ID_IN_USE => Unheard::Twin(problem.detail),
            Ok(problem) => self.away(&format!("{status}: {}", problem.detail)),
            Err(_) => self.away(&status.to_string()),
        })
    }

    /// The next time another is asked.
    fn away(&self, reason: &str) -> Unheard {
        let said = format!("the control plane at {} can't be used: {reason}", self.url());
        self.at.fetch_add(1, Ordering::Relaxed);
        Unheard::Away(said)
    }

    /// Work and its entity tag; `None`: it is what it was, after a while.
    async fn work(&self, known: Option<&HeaderValue>) -> Result<Option<(Option<HeaderValue>, Work)>, Unheard> {
        let request = |asker: &Asker| {
            let request = (asker.request(Method::GET, &["work"]))
                .query(&[("wait", WAIT.as_secs())])
                .timeout(WAIT + ANSWER_WITHIN);
            match known {
                Some(tag) => request.header(IF_NONE_MATCH, tag.clone()),
                None => request,
            }
        };
        let response = self.answer(request).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let tag = response.headers().get(ETAG).cloned();
        let work = response.json().await.map_err(|error| self.away(&chain(&error)))?;
        Ok(Some((tag, work)))
    }
}

/// An error with what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}
