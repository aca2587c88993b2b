//! Functions that are gone, lie, hang, or say too much.

use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{assert_nothing_committed, numbers};
use crate::harness::checker::{self, Found};
use crate::harness::secured::pem;
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::worker::Setting;

suite![
    a_function_whose_name_is_gone_from_dns_is_waited_for,
    a_function_whose_certificate_has_expired_is_waited_for,
    a_redirect_is_not_followed_and_nothing_is_given_up,
    with_default_settings_a_function_that_fails_loses_nothing,
    a_function_that_hangs_within_its_answer_is_called_again,
    an_answer_that_is_cut_off_is_no_answer,
    an_answer_that_is_too_large_or_a_bomb_is_a_failed_attempt,
    a_200_that_says_that_the_function_failed_is_a_failed_attempt,
    a_function_that_never_answers_is_seen_to_hold_its_partition,
];

fn a_function_whose_name_is_gone_from_dns_is_waited_for(test: &Test) {
    let source = test.topic("in", 1);
    test.client().produce(&source, numbers(20));
    let pipeline = test.pipeline(&source).function("http://fn.gone.invalid:8080/");
    let worker = test.worker(&pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    worker.await_metric("fnbridge_attempts_total", &[r#"outcome="away""#], 3.0);
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
}

fn a_function_whose_certificate_has_expired_is_waited_for(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = TlsFunction::start(test);
    test.client().produce(&source, numbers(20));
    let pipeline = test.pipeline(&source).function(&function.url).topic_sink(&out);
    let setting = Setting::plaintext(&test.broker().bootstrap());
    let worker = test.worker_on(&setting.environment("SSL_CERT_FILE", &function.authority), &pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    function.renew();
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[20]), Found { first: 20, again: 0 });
}

fn a_redirect_is_not_followed_and_nothing_is_given_up(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let elsewhere = Server::echo();
    let url = elsewhere.url();
    let function = Server::start(move |_| Reply::of(308, "").header("location", &url));
    test.client().produce(&source, numbers(20));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("retry.max_attempts", 2);
    let worker = test.worker(&pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    function.wait_count(5);
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    function.answer(Reply::echo);
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    assert_eq!(elsewhere.count(), 0, "nothing went where the redirect led");
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[20]), Found { first: 20, again: 0 });
}

fn with_default_settings_a_function_that_fails_loses_nothing(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let function = Server::start(|request| match request.number {
        0..4 => Reply::of(500, "boom"),
        _ => Reply::echo(request),
    });
    test.client()
        .produce(&source, (0..200).map(|n| Entry::value((n / 2).to_string()).to(n % 2)));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("retry", serde_json::Value::Null);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[100, 100]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_counts(&read, &[100, 100]),
        Found { first: 200, again: 0 }
    );
}

fn a_function_that_hangs_within_its_answer_is_called_again(test: &Test) {
    half_an_answer(test, |request| Reply::echo(request).hanging());
}

fn an_answer_that_is_cut_off_is_no_answer(test: &Test) {
    half_an_answer(test, |request| Reply::echo(request).cut());
}

/// The first answer comes by half; its records are called again, and delivered once.
fn half_an_answer(test: &Test, half: fn(&Request) -> Reply) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(move |request| match request.number {
        0 => half(request),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, numbers(30));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("function.timeout", "1s")
        .set("batch.linger", "300ms");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[30]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let requests = function.requests();
    assert_eq!(requests[1].header("fnbridge-attempt"), "2");
    assert_eq!(requests[0].batch(), requests[1].batch());
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[30]), Found { first: 30, again: 0 });
}

/// Eight kilobytes that become eight megabytes where somebody inflates them.
const BOMB: &[u8] = include_bytes!("../../corpus/answers/bomb.json.gz");

fn an_answer_that_is_too_large_or_a_bomb_is_a_failed_attempt(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.place().1[..] {
        [2] => Reply::of(200, "[".to_owned() + &" ".repeat(1 << 20) + "1]"),
        [5] => Reply::of(200, BOMB).header("content-encoding", "gzip"),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, numbers(8));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("batch.max_records", 1)
        .set("retry.max_attempts", 2)
        .set("function.max_response_bytes", "64KiB");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[8]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    let texts: Vec<&str> = letters.iter().map(Entry::text).collect();
    assert_eq!(texts, ["2", "5"]);
    let reason = |at: usize| letters[at].header_text("fnbridge.reason");
    assert_eq!(
        reason(0),
        "the answer (200) is larger than 65536 bytes: found 1048579 bytes"
    );
    assert!(
        reason(1).contains("its body has the encoding gzip, which was not asked for"),
        "{}",
        reason(1)
    );
    let others = vec![0, 1, 3, 4, 6, 7];
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 6, again: 0 }
    );
}

fn a_200_that_says_that_the_function_failed_is_a_failed_attempt(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        let reply = Reply::echo(request);
        match request.place().1.contains(&3) {
            true => reply.header("x-amz-function-error", "Unhandled"),
            false => reply,
        }
    });
    test.client().produce(&source, numbers(8));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 1).set("retry.max_attempts", 2);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[8]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].text(), letters[0].header_text("fnbridge.attempts")),
        ("3", "2")
    );
    let read = test.client().read_all(&out);
    let others = (0..8).filter(|offset| *offset != 3).collect();
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 7, again: 0 }
    );
}

fn a_function_that_never_answers_is_seen_to_hold_its_partition(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::start(|request| match request.number {
        0 => Reply::echo(request).taking(Duration::from_secs(600)),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, numbers(10));
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline.set("function.timeout", "10s").set("batch.linger", "300ms");
    let worker = test.worker(&pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
    assert_eq!(function.requests()[1].header("fnbridge-attempt"), "2");
}

/// A function behind TLS whose certificate has expired, until it is renewed.
struct TlsFunction {
    url: String,
    /// The file of the authority that both certificates are of.
    authority: String,
    served: Arc<Mutex<Arc<ServerConfig>>>,
    renewed: Arc<ServerConfig>,
}

impl TlsFunction {
    fn start(test: &Test) -> TlsFunction {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "fnbridge test authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(authority, key).expect("an authority");
        let file = test.folder().join("authority.pem");
        fs::write(&file, pem("CERTIFICATE", issuer.der())).expect("a file");
        let served = Arc::new(Mutex::new(config(&issuer, 2020)));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://127.0.0.1:{}/", listener.local_addr().expect("bound").port());
        let serving = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&serving.lock().expect("not poisoned"));
                thread::spawn(move || serve(config, stream));
            }
        });
        TlsFunction {
            url,
            authority: file.display().to_string(),
            served,
            renewed: config(&issuer, 2090),
        }
    }

    fn renew(&self) {
        *self.served.lock().expect("not poisoned") = Arc::clone(&self.renewed);
    }
}

/// What is served with a certificate that is good until a year.
fn config(issuer: &CertifiedIssuer<'_, KeyPair>, until: i32) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .expect("a certificate and its key");
    Arc::new(config)
}

/// Answers requests by echoing each record's value as a result, one request at a time.
fn serve(config: Arc<ServerConfig>, stream: std::net::TcpStream) {
    use std::io::{BufRead, BufReader, Read, Write};
    let Ok(connection) = ServerConnection::new(config) else {
        return;
    };
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if !matches!(stream.read_line(&mut line), Ok(read) if read > 0) {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let request: serde_json::Value = serde_json::from_slice(&body).expect("a batch");
        let results = request["records"].as_array().expect("records").iter().map(|record| {
            serde_json::json!({"id": record["id"], "action": "deliver", "records": [{"value": record["value"]}]})
        });
        let answer = serde_json::json!({"results": results.collect::<Vec<_>>()}).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        if stream.get_mut().write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}
