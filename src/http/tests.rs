use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::connector::tls_with_roots;
use super::testing::{Server, Then, answer};
use super::*;

/// Far more than a call on loopback takes.
const AMPLE: Duration = Duration::from_secs(20);
/// For calls that end by their time-out.
const SHORT: Duration = Duration::from_millis(80);
const MIB: usize = 1 << 20;

fn post(uri: Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from_static(b"{}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request
}

fn settings(connect_timeout: Duration) -> HttpSettings {
    HttpSettings {
        connect_timeout,
        ..HttpSettings::default()
    }
}

async fn call(uri: Uri, timeout: Duration) -> Result<HttpAnswer, HttpError> {
    let client = HttpClient::new(&settings(timeout));
    client.send(post(uri), timeout, MIB, &AnswerPool::new(16 * MIB)).await
}

/// How a call ends that one answer of `bytes` is sent to.
async fn ended(bytes: &[u8], then: Then, timeout: Duration) -> Result<HttpAnswer, HttpError> {
    let bytes = bytes.to_vec();
    let server = Server::start(move |_| (bytes.clone(), then)).await;
    call(server.url("/"), timeout).await
}

#[tokio::test]
async fn an_answer_comes_whole_and_the_connection_is_used_again() {
    let mut server = Server::answering(answer(201, "x-a: b\r\n", "hello")).await;
    let (client, pool) = (HttpClient::new(&HttpSettings::default()), AnswerPool::new(MIB));
    for _ in 0..3 {
        let answer = client
            .send(post(server.url("/a?b=c")), AMPLE, MIB, &pool)
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.headers["x-a"], "b");
        assert_eq!(&answer.body[..], b"hello");
        let request = server.requests.recv().await.unwrap();
        assert_eq!(request.connection, 0);
        assert!(request.head.starts_with("POST /a?b=c HTTP/1.1\n"), "{}", request.head);
        assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
        assert_eq!(request.body, b"{}");
    }
    assert_eq!(pool.leased(), 0);
}

#[tokio::test]
async fn a_body_in_chunks_is_put_together() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = ended(chunked, Then::Keep, AMPLE).await.unwrap();
    assert_eq!(&answer.body[..], b"abcde");
}

#[tokio::test]
async fn nobody_listening_is_away() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = call(format!("http://127.0.0.1:{port}/").parse().unwrap(), AMPLE)
        .await
        .unwrap_err();
    let HttpError::Away(reason) = error else {
        panic!("{error:?}")
    };
    assert!(
        reason.starts_with(&format!("no connection to 127.0.0.1:{port}: ")),
        "{reason}"
    );
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_away() {
    let error = call(Uri::from_static("http://fn.invalid/"), AMPLE).await.unwrap_err();
    assert!(
        matches!(&error, HttpError::Away(reason) if reason.starts_with("no connection to fn.invalid: ")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_away() {
    let talks_first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("https://{}/", talks_first.local_addr().unwrap())
        .parse()
        .unwrap();
    let (error, _) = tokio::join!(call(uri, AMPLE), async {
        let (mut stream, _) = talks_first.accept().await.unwrap();
        stream.write_all(b"220 mail.example.com ESMTP\r\n").await.unwrap();
    });
    assert!(matches!(error, Err(HttpError::Away(_))), "{error:?}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("https://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let client = HttpClient::new(&settings(SHORT));
    let error = client
        .send(post(uri), AMPLE, MIB, &AnswerPool::new(MIB))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HttpError::Away(reason) if reason.ends_with("no connection within 80ms")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_denied_address_is_not_connected_to_by_number_or_name() {
    let policy = AddressPolicy {
        allow: vec![],
        deny: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
    };
    let client = HttpClient::new(&HttpSettings {
        policy: Arc::new(policy),
        ..HttpSettings::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"] {
        let uri = format!("http://{host}:{port}/").parse().unwrap();
        let error = client
            .send(post(uri), AMPLE, MIB, &AnswerPool::new(MIB))
            .await
            .unwrap_err();
        let HttpError::Denied(reason) = error else {
            panic!("{host}: {error:?}")
        };
        assert!(reason.contains("functions.deny"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_timed_out() {
    let error = ended(b"", Then::Hang, SHORT).await.unwrap_err();
    let HttpError::TimedOut(reason) = error else {
        panic!("{error:?}")
    };
    assert!(reason.ends_with("gave no answer within 80ms"), "{reason}");
}

#[tokio::test]
async fn headers_that_never_end_are_timed_out() {
    let error = ended(b"HTTP/1.1 200 OK\r\nx-a: b\r\n", Then::Hang, SHORT)
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::TimedOut(_)), "{error:?}");
}

#[tokio::test]
async fn a_body_that_stands_still_is_timed_out() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let error = ended(half, Then::Hang, SHORT).await.unwrap_err();
    let expected = "the answer (200) was not complete within 80ms";
    assert_eq!(error, HttpError::TimedOut(expected.to_owned()));
}

#[tokio::test]
async fn half_a_body_is_lost() {
    for half in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhalf",
    ] {
        let error = ended(half, Then::Close, AMPLE).await.unwrap_err();
        let HttpError::Lost(reason) = error else {
            panic!("{error:?}")
        };
        assert!(
            reason.starts_with("the connection was lost within the answer (200)"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_request_is_lost_whatever_way_it_goes() {
    for then in [Then::Close, Then::Reset] {
        let error = ended(b"", then, AMPLE).await.unwrap_err();
        let HttpError::Lost(reason) = error else {
            panic!("{then:?}: {error:?}")
        };
        assert!(reason.contains("gave no answer"), "{reason}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_lost() {
    let error = ended(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Then::Close, AMPLE)
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_large_is_not_read() {
    let huge = b"HTTP/1.1 200 OK\r\ncontent-length: 3221225472\r\n\r\n";
    let error = ended(huge, Then::Hang, AMPLE).await.unwrap_err();
    let HttpError::TooLarge { reason, status } = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        reason,
        "the answer (200) is larger than 1048576 bytes: found 3221225472 bytes"
    );
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_without_an_end_is_read_up_to_the_bound_and_no_further() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let mut server = Server::start(move |_| (head.clone(), Then::Pour)).await;
    let error = call(server.url("/"), AMPLE).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge { .. }), "{error:?}");
    let poured = server.poured.recv().await.unwrap();
    assert!(
        poured < 32 * MIB,
        "the connection is closed, not drained: {poured} bytes"
    );
}

#[tokio::test]
async fn an_error_keeps_its_status_however_its_body_ends() {
    let answer = ended(
        b"HTTP/1.1 429 X\r\nretry-after: 3\r\ncontent-length: 10\r\n\r\nhalf",
        Then::Close,
        AMPLE,
    );
    let answer = answer.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (429, &b"half"[..]));
    assert_eq!(answer.headers["retry-after"], "3");
    let answer = ended(b"HTTP/1.1 500 X\r\ncontent-length: 10\r\n\r\nhalf", Then::Hang, SHORT)
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (500, &b"half"[..]));
    let answer = ended(
        b"HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n\r\n",
        Then::Pour,
        AMPLE,
    )
    .await
    .unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (400, 64 * 1024));
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let answer = ended(&answer(302, "location: http://127.0.0.1:1/\r\n", ""), Then::Keep, AMPLE)
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_call() {
    let server = Server::start(|_| (answer(200, "", "ok"), Then::Close)).await;
    let (client, pool) = (HttpClient::new(&HttpSettings::default()), AnswerPool::new(MIB));
    for _ in 0..3 {
        let answer = client.send(post(server.url("/")), AMPLE, MIB, &pool).await.unwrap();
        assert_eq!(&answer.body[..], b"ok");
        // Another connection's round trip: by then the closing has been seen.
        call(server.url("/"), AMPLE).await.unwrap();
    }
}

#[tokio::test]
async fn time_spent_waiting_for_room_is_not_the_functions() {
    let server = Server::answering(answer(200, "", "0123456789")).await;
    let (client, pool) = (HttpClient::new(&HttpSettings::default()), AnswerPool::new(5));
    let mut other = pool.lease();
    assert!(other.try_grow(6), "one lease may go past the limit");
    let mut waiting = std::pin::pin!(client.send(post(server.url("/")), SHORT, MIB, &pool));
    let too_early = tokio::time::timeout(2 * SHORT, waiting.as_mut()).await;
    assert!(too_early.is_err(), "there is no room yet: {too_early:?}");
    drop(other);
    let answer = waiting.await.unwrap();
    assert_eq!(&answer.body[..], b"0123456789");
    assert_eq!(pool.leased(), 10);
    drop(answer);
    assert_eq!(pool.leased(), 0);
}

/// As by SIGSTOP, or a virtual machine that is paused.
async fn stand_still(calling: impl Future) {
    tokio::select! {
        biased;
        _ = calling => panic!("it has ended"),
        () = async { std::thread::sleep(SHORT + Duration::from_millis(700)) } => {}
    }
}

#[tokio::test]
async fn time_in_which_this_process_stood_still_is_not_the_functions() {
    let server = Server::answering(answer(200, "", "in time")).await;
    let (client, pool) = (HttpClient::new(&HttpSettings::default()), AnswerPool::new(MIB));
    let mut calling = std::pin::pin!(client.send(post(server.url("/")), SHORT, MIB, &pool));
    stand_still(calling.as_mut()).await;
    let answer = calling.await.unwrap();
    assert_eq!(&answer.body[..], b"in time");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_timed_out_though_this_process_stood_still() {
    let server = Server::start(|_| (Vec::new(), Then::Hang)).await;
    let (client, pool) = (HttpClient::new(&HttpSettings::default()), AnswerPool::new(MIB));
    let mut calling = std::pin::pin!(client.send(post(server.url("/")), SHORT, MIB, &pool));
    stand_still(calling.as_mut()).await;
    let ended = tokio::time::timeout(AMPLE, calling).await.expect("it ends");
    assert!(matches!(ended, Err(HttpError::TimedOut(_))), "{ended:?}");
}

#[tokio::test]
async fn an_abandoned_call_leaves_nothing_behind() {
    let mut server =
        Server::start(|_| (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec(), Then::Hang)).await;
    let (client, pool) = (HttpClient::new(&HttpSettings::default()), AnswerPool::new(MIB));
    {
        let mut abandoned = std::pin::pin!(client.send(post(server.url("/")), AMPLE, MIB, &pool));
        tokio::select! {
            _ = &mut abandoned => panic!("it never ends"),
            request = server.requests.recv() => assert!(request.is_some()),
        }
    }
    assert_eq!(pool.leased(), 0);
    assert_eq!(client.calls(), 0);
}

mod http2 {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Full;
    use hyper::Response;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio::sync::Barrier;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A TLS server that answers once `together` requests wait, and counts its connections.
    struct TlsServer {
        uri: Uri,
        roots: rustls::RootCertStore,
        connections: Arc<AtomicUsize>,
    }

    impl TlsServer {
        async fn start(protocols: &[&str], together: usize) -> TlsServer {
            let rcgen::CertifiedKey { cert, signing_key } =
                rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
            let mut roots = rustls::RootCertStore::empty();
            roots.add(cert.der().clone()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![cert.der().clone()], key.into())
                .unwrap();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let connections = Arc::new(AtomicUsize::new(0));
            tokio::spawn(accept(
                listener,
                acceptor,
                Arc::clone(&connections),
                Arc::new(Barrier::new(together)),
            ));
            TlsServer {
                uri: format!("https://localhost:{port}/").parse().unwrap(),
                roots,
                connections,
            }
        }

        fn client(&self, max_in_flight: usize) -> HttpClient {
            let settings = HttpSettings {
                max_in_flight,
                ..HttpSettings::default()
            };
            HttpClient::with_tls(&settings, tls_with_roots(self.roots.clone()))
        }
    }

    async fn accept(
        listener: TcpListener,
        acceptor: TlsAcceptor,
        connections: Arc<AtomicUsize>,
        barrier: Arc<Barrier>,
    ) {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, connections, barrier) = (acceptor.clone(), Arc::clone(&connections), Arc::clone(&barrier));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                connections.fetch_add(1, Ordering::Relaxed);
                let service = service_fn(move |request: Request<Incoming>| {
                    let barrier = Arc::clone(&barrier);
                    async move {
                        barrier.wait().await;
                        let version = format!("{:?}", request.version());
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(version))))
                    }
                });
                let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                builder.http2().max_concurrent_streams(100);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    #[tokio::test]
    async fn tls_negotiates_http2_where_the_server_speaks_it() {
        for (protocols, version) in [
            (vec!["h2", "http/1.1"], Version::HTTP_2),
            (vec!["http/1.1"], Version::HTTP_11),
        ] {
            let server = TlsServer::start(&protocols, 1).await;
            let (client, pool) = (server.client(1), AnswerPool::new(MIB));
            let answer = client.send(post(server.uri.clone()), AMPLE, MIB, &pool).await.unwrap();
            assert_eq!(answer.body, format!("{version:?}"));
        }
    }

    #[tokio::test]
    async fn more_calls_than_a_connection_has_streams_are_on_the_wire_at_once() {
        let calls = 250;
        let server = TlsServer::start(&["h2"], calls).await;
        let (client, pool) = (server.client(calls), AnswerPool::new(MIB));
        let mut connections = 0;
        for wave in 0..2 {
            let sent = (0..calls).map(|_| client.send(post(server.uri.clone()), AMPLE, MIB, &pool));
            for answer in futures_util::future::join_all(sent).await {
                assert_eq!(answer.unwrap().body, "HTTP/2.0");
            }
            // The first calls connect each for itself, not knowing yet that they can share.
            let before = std::mem::replace(&mut connections, server.connections.load(Ordering::Relaxed));
            assert!(
                wave == 0 || connections == before,
                "{connections} connections after {before}"
            );
        }
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_vouches_for_is_away() {
        let server = TlsServer::start(&["h2"], 1).await;
        let client = HttpClient::with_tls(&HttpSettings::default(), tls_with_roots(rustls::RootCertStore::empty()));
        let error = client
            .send(post(server.uri.clone()), AMPLE, MIB, &AnswerPool::new(MIB))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, HttpError::Away(reason) if reason.contains("certificate")),
            "{error:?}"
        );
    }
}
