//! The server as clients find it, over real sockets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::{Limits, Server, Tls};
use crate::api::{Parts, router_within};
use crate::config::{Foundation, WorkerSettings};
use crate::control::Supervisor;
use crate::control::access::Secrets;
use crate::control::fleet::{Duty, Fleet, Here, Identity};
use crate::control::letters::Letters;

const SOON: Duration = Duration::from_millis(200);
const MIB: usize = 1 << 20;

/// The API of a worker whose store is in memory, and that runs nothing.
async fn api(answer_within: Duration) -> Router {
    let store = crate::store::open("sqlite::memory:").unwrap();
    let secrets = Secrets::new(store.clone(), None);
    let settings = WorkerSettings::by_default("w", BTreeMap::new());
    let identity = Identity::of_this_process("w", vec![Duty::Control], BTreeMap::new(), String::new());
    let here = Here {
        identity,
        foundation: Foundation::new(settings, PathBuf::new()),
        supervisor: Arc::new(Supervisor::start().unwrap()),
        files: watch::channel(Vec::new()).1,
    };
    let parts = Parts {
        fleet: Fleet::lead(
            Arc::new(here),
            store,
            secrets.clone(),
            Letters::beside("sqlite::memory:", std::path::Path::new("")).unwrap(),
        ),
        secrets,
        tokens: None,
        readiness: Arc::new(|| Ok(())),
        peers: crate::api::Peers::default(),
    };
    router_within(parts, answer_within)
}

struct Served {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Served {
    async fn start(routes: Router, limits: Limits, tls: Option<Tls>) -> Served {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), tls).await.unwrap();
        let server = Server { limits, ..server };
        let address = server.address().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let until = async {
            let _ = ended.await;
        };
        let serving = tokio::spawn(server.serve(routes, until));
        Served { address, end, serving }
    }

    async fn plain(routes: Router) -> Served {
        Served::start(routes, Limits::default(), None).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back, up to the end of the connection.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn end(self) {
        self.end.send(()).unwrap();
        soon(self.serving).await.unwrap().unwrap();
    }
}

/// What is waited for happens, or the test fails.
async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), awaited)
        .await
        .expect("it did not happen within 10 s")
}

/// What comes until the other end is through with the connection, one way or the other.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

fn get_request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n")
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn an_answer_on_its_way_is_finished_and_the_server_ends() {
    let (entered, mut inside) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let routes = Router::new().route(
        "/",
        get(move || async move {
            entered.send(()).unwrap();
            waits.notified().await;
            "done"
        }),
    );
    let served = Served::plain(routes).await;
    let mut stream = served.connect().await;
    stream
        .write_all(get_request("/", "host: localhost\r\n").as_bytes())
        .await
        .unwrap();
    inside.recv().await.unwrap();
    let address = served.address;
    let ending = tokio::spawn(served.end());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert!(rest(&mut stream).await.ends_with("done"));
    ending.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_never_ends_is_cut_off_at_the_end() {
    let forever = || async {
        Body::from_stream(stream::unfold((), |()| {
            pending::<Option<(Result<Bytes, Infallible>, ())>>()
        }))
    };
    let limits = Limits {
        end_time: SOON,
        ..Limits::default()
    };
    let served = Served::start(Router::new().route("/", get(forever)), limits, None).await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    served.end().await;
    rest(&mut stream).await;
}

#[tokio::test]
async fn a_body_of_100_mib_is_refused_without_being_read() {
    let served = Served::plain(api(Duration::from_secs(30)).await).await;
    let chunk = format!("{:x}\r\n{}\r\n", MIB / 4, "x".repeat(MIB / 4));
    for length in [
        format!("content-length: {}", 100 * MIB),
        "transfer-encoding: chunked".to_owned(),
    ] {
        let (mut reader, mut writer) = served.connect().await.into_split();
        let head = format!("POST /v1/pipelines:check HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        let chunk = chunk.clone();
        let writing = tokio::spawn(async move {
            let mut written = 0;
            while written < 100 * MIB && writer.write_all(chunk.as_bytes()).await.is_ok() {
                written += chunk.len();
            }
            written
        });
        let mut answer = vec![0; 4096];
        let read = soon(reader.read(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{length}: {answer}");
        assert!(
            answer.contains("application/problem+json") && answer.contains(r#""code":"too_large""#),
            "{answer}"
        );
        drop(reader);
        let written = soon(writing).await.unwrap();
        assert!(written < 50 * MIB, "{length}: {written}");
    }
}

#[tokio::test]
async fn a_client_that_sends_a_byte_now_and_then_is_cut_off_and_holds_up_nobody() {
    let limits = Limits {
        head_time: SOON,
        ..Limits::default()
    };
    let served = Served::start(api(SOON).await, limits, None).await;
    for head in [
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ",
        "POST /v1/pipelines:check HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n",
        "",
    ] {
        let (mut reader, mut writer) = served.connect().await.into_split();
        writer.write_all(head.as_bytes()).await.unwrap();
        let dripping = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(10));
            let mut dripped = 0;
            while writer.write_all(b"x").await.is_ok() {
                dripped += 1;
                ticks.tick().await;
            }
            dripped
        });
        let well = served.ask(&get_request("/healthz", "host: localhost\r\n")).await;
        assert!(well.ends_with("ok\n"), "{well}");
        let mut answer = Vec::new();
        let _ = soon(reader.read_to_end(&mut answer)).await;
        let answer = String::from_utf8(answer).unwrap();
        if head.starts_with("POST") {
            assert!(
                answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#""code":"too_slow""#),
                "{answer}"
            );
        }
        assert!(soon(dripping).await.unwrap() < 9999);
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off() {
    let limits = Limits {
        head_time: SOON,
        ..Limits::default()
    };
    let served = Served::start(hello(), limits, None).await;
    let mut silent = served.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut idle = served.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut idle).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    /// Says when it is gone.
    struct Poured(Option<oneshot::Sender<()>>);
    impl Drop for Poured {
        fn drop(&mut self) {
            let _ = self.0.take().map(|gone| gone.send(()));
        }
    }
    let (gone, cut_off) = oneshot::channel();
    let poured = Arc::new(std::sync::Mutex::new(Some(Poured(Some(gone)))));
    let pour = move || async move {
        let poured = poured.lock().unwrap().take();
        Body::from_stream(stream::unfold(poured, |poured| async {
            Some((Ok::<_, Infallible>(Bytes::from(vec![0; 64 * 1024])), poured))
        }))
    };
    let limits = Limits {
        write_time: SOON,
        ..Limits::default()
    };
    let served = Served::start(Router::new().route("/", get(pour)), limits, None).await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    soon(cut_off).await.unwrap();
}

#[tokio::test]
async fn there_are_only_so_many_connections() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let served = Served::start(hello(), limits, None).await;
    let mut first = served.connect().await;
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut begin = [0; 12];
    first.read_exact(&mut begin).await.unwrap();
    assert_eq!(served.ask(&get_request("/", "host: localhost\r\n")).await, "");
    drop(first);
    while !served
        .ask(&get_request("/", "host: localhost\r\n"))
        .await
        .ends_with("hello")
    {
        tokio::task::yield_now().await;
    }
}

/// A certificate for localhost in files of its own, removed at the end.
pub(super) struct CertificateFiles {
    pub(super) files: Tls,
    root: reqwest::Certificate,
}

impl CertificateFiles {
    pub(super) fn new(name: &str) -> CertificateFiles {
        let folder = std::env::temp_dir().join(format!("fnbridge-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Tls {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        let root = write_certificate(&files);
        CertificateFiles { files, root }
    }

    /// Another certificate in the same files.
    pub(super) fn write(&self) -> reqwest::Certificate {
        write_certificate(&self.files)
    }
}

impl Drop for CertificateFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.files.key.parent().unwrap());
    }
}

fn write_certificate(files: &Tls) -> reqwest::Certificate {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.certificate, pem("CERTIFICATE", cert.der())).unwrap();
    std::fs::write(&files.key, pem("PRIVATE KEY", &signing_key.serialize_der())).unwrap();
    reqwest::Certificate::from_der(cert.der()).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

/// What a client hears that trusts this certificate alone.
async fn over_tls(served: &Served, root: &reqwest::Certificate) -> reqwest::Result<String> {
    let client = reqwest::Client::builder()
        .tls_certs_only([root.clone()])
        .no_proxy()
        .build()?;
    client
        .get(format!("https://localhost:{}/", served.address.port()))
        .send()
        .await?
        .text()
        .await
}

#[tokio::test]
async fn with_a_certificate_routes_are_served_over_tls_alone() {
    let certificate = CertificateFiles::new("alone");
    let served = Served::start(hello(), Limits::default(), Some(certificate.files.clone())).await;
    assert_eq!(over_tls(&served, &certificate.root).await.unwrap(), "hello");
    assert!(
        !served
            .ask(&get_request("/", "host: localhost\r\n"))
            .await
            .contains("hello")
    );
    let other = CertificateFiles::new("other");
    assert!(over_tls(&served, &other.root).await.is_err());
    served.end().await;
}

#[tokio::test]
async fn a_certificate_that_changes_is_served_without_a_restart() {
    let certificate = CertificateFiles::new("changes");
    let limits = Limits {
        look_every: Duration::from_millis(5),
        ..Limits::default()
    };
    let served = Served::start(hello(), limits, Some(certificate.files.clone())).await;
    assert_eq!(over_tls(&served, &certificate.root).await.unwrap(), "hello");
    let renewed = certificate.write();
    soon(async {
        while over_tls(&served, &renewed).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(over_tls(&served, &certificate.root).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_is_no_use_is_said_at_start() {
    let (one, other) = (CertificateFiles::new("one"), CertificateFiles::new("two"));
    let said = async |certificate: &std::path::Path, key: &std::path::Path| {
        let tls = Tls {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Server::bind(([127, 0, 0, 1], 0).into(), Some(tls)).await.unwrap_err()
    };
    let mixed = said(&one.files.certificate, &other.files.key).await;
    assert!(mixed.contains("don't go together"), "{mixed}");
    let swapped = said(&one.files.key, &one.files.certificate).await;
    assert!(swapped.contains("key.pem holds no certificate"), "{swapped}");
    let keyless = said(&one.files.certificate, &one.files.certificate).await;
    assert!(keyless.contains("holds no key that can be read"), "{keyless}");
    let away = said(std::path::Path::new("/nothing.pem"), &one.files.key).await;
    assert!(away.contains("/nothing.pem can't be read"), "{away}");
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_error() {
    let first = Server::bind(([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let taken = first.address().unwrap();
    let error = Server::bind(taken, None).await.unwrap_err();
    assert_eq!(
        error,
        format!("listen: {taken} is in use by another process: stop it, or set `listen` to a free port")
    );
}
