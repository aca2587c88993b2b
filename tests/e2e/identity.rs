//! Who calls: tokens and keys that end soon, from stand-ins of the endpoints where clouds give them out, at the addresses that
//! their own tools' variables name. The functions here refuse whatever has ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::load::{Load, numbers};
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::worker::Setting;

suite![
    three_workers_whose_tokens_live_five_seconds_let_no_401_reach_a_record,
    the_role_of_an_aws_container_signs_and_is_renewed_ahead_of_its_end,
    the_role_of_an_aws_instance_signs_and_is_renewed_ahead_of_its_end,
    the_role_of_an_alibaba_pod_signs_before_that_of_its_node_and_is_renewed_ahead_of_its_end,
    the_role_of_an_alibaba_instance_signs_and_is_renewed_ahead_of_its_end,
    keys_in_the_environment_and_in_files_sign,
];

const ATTEMPTS: &str = "fnbridge_attempts_total";

/// What gives out tokens or keys, numbered, and remembers when each ends.
#[derive(Clone, Default)]
struct Lender(Arc<Mutex<BTreeMap<String, Instant>>>);

impl Lender {
    /// The next one.
    fn lend(&self, prefix: &str, lives: Duration) -> String {
        let mut lent = self.0.lock().unwrap();
        let name = format!("{prefix}{}", lent.len() + 1);
        lent.insert(name.clone(), Instant::now() + lives);
        name
    }

    /// A key as clouds write one, and when it ends, in whole seconds as they do.
    fn lend_key(&self) -> (String, String) {
        let now = jiff::Timestamp::now();
        let ends = jiff::Timestamp::from_second(now.as_second() + 6).unwrap();
        let lives = ends.duration_since(now).unsigned_abs();
        (self.lend("AKID", lives), ends.to_string())
    }

    fn is_good(&self, name: &str) -> bool {
        self.0
            .lock()
            .unwrap()
            .get(name)
            .is_some_and(|ends| Instant::now() < *ends)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn three_workers_whose_tokens_live_five_seconds_let_no_401_reach_a_record(test: &Test) {
    const LIVES: Duration = Duration::from_secs(5);
    let (source, out) = (test.topic("in", 6), test.topic("out", 6));
    let lender = Lender::default();
    let lends = lender.clone();
    let endpoint = Server::start(move |_| {
        let token = lends.lend("t-", LIVES);
        Reply::json(&json!({"access_token": token, "expires_in": LIVES.as_secs()})).taking(Duration::from_millis(200))
    });
    let knows = lender.clone();
    let function = Server::start(
        move |request| match request.header("authorization").strip_prefix("Bearer ") {
            Some(token) if knows.is_good(token) => Reply::echo(request),
            _ => Reply::of(401, "expired"),
        },
    );
    let auth = json!({"type": "oidc", "token_url": endpoint.url(), "client_id": "fnbridge", "client_secret": "s"});
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("function.auth", auth).set("batch.max_records", 10);
    let workers = [(); 3].map(|()| test.worker(&pipeline));
    let (began, load) = (Instant::now(), Load::start(test.client(), &source, 6));
    for worker in &workers {
        worker.await_metric(ATTEMPTS, &[r#"outcome="success""#], 1.0);
    }
    let (asked_before, began_all) = (endpoint.count(), Instant::now());
    while began_all.elapsed() < LIVES * 4 {
        thread::park_timeout(LIVES * 4 - began_all.elapsed());
    }
    let asked = endpoint.count() - asked_before;
    let produced = load.end();
    test.client().await_committed(&pipeline.group(), &source, &produced);

    let refused = function
        .requests()
        .iter()
        .filter(|request| !is_lent(request, &lender))
        .count();
    // Tokens are renewed a second ahead of their end: a machine that stands still for longer may show some late, which is told to the
    // worker and to no record. Where they are renewed only once they are refused, 14 of 794 calls have shown one late.
    let calls = function.count();
    assert!(
        refused * 100 <= calls,
        "{refused} of {calls} calls with a token that had ended"
    );
    for worker in &workers {
        let metrics = worker.metrics();
        let all = metrics.sum(ATTEMPTS, &[]);
        assert_eq!(
            metrics.sum(ATTEMPTS, &[r#"outcome="success""#]),
            all,
            "no other answer reached a record"
        );
        assert!(all > 20.0, "each worker works: {all} calls");
    }
    let total: i64 = produced.iter().sum();
    assert_eq!(test.client().read_all(&out).len(), usize::try_from(total).unwrap());
    // Each worker renews with a fifth of the time left: every 4 s, and once more for each that was refused.
    assert!(
        (3 * 3..=3 * 6 + refused).contains(&asked),
        "{asked} tokens in {:?}",
        began.elapsed()
    );
    assert!(endpoint.most_in_flight() <= 3, "one refresh at a time in each worker");
}

/// Whether it carries a token that was given out at all; one that had ended was answered 401.
fn is_lent(request: &Request, lender: &Lender) -> bool {
    let token = request.header("authorization").trim_start_matches("Bearer ").to_owned();
    lender
        .0
        .lock()
        .unwrap()
        .get(&token)
        .is_some_and(|ends| request.at < *ends)
}

fn the_role_of_an_aws_container_signs_and_is_renewed_ahead_of_its_end(test: &Test) {
    let lender = Lender::default();
    let lends = lender.clone();
    let agent = Server::start(move |request| {
        assert_eq!(request.header("authorization"), "pod-token");
        aws_key(&lends.lend_key())
    });
    let token = file(test, "token", "pod-token");
    let setting = alone(test)
        .environment(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}v1/credentials", agent.url()),
        )
        .environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token.display().to_string());
    signs_and_renews(test, &setting, &aws(), &lender, &agent);
}

fn the_role_of_an_aws_instance_signs_and_is_renewed_ahead_of_its_end(test: &Test) {
    let lender = Lender::default();
    let lends = lender.clone();
    let metadata = Server::start(move |request| match request.uri.path() {
        "/latest/api/token" => Reply::of(200, "session"),
        _ if request.header("x-aws-ec2-metadata-token") != "session" => Reply::of(401, ""),
        "/latest/meta-data/iam/security-credentials/" => Reply::of(200, "fnbridge"),
        "/latest/meta-data/iam/security-credentials/fnbridge" => aws_key(&lends.lend_key()),
        _ => Reply::of(404, ""),
    });
    let address = metadata.url();
    let setting = alone(test).environment("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.trim_end_matches('/'));
    signs_and_renews(test, &setting, &aws(), &lender, &metadata);
}

fn the_role_of_an_alibaba_pod_signs_before_that_of_its_node_and_is_renewed_ahead_of_its_end(test: &Test) {
    let lender = Lender::default();
    let lends = lender.clone();
    let sts = Server::start(move |request| {
        let query = request.uri.query().unwrap_or_default();
        for part in [
            "Action=AssumeRoleWithOIDC",
            "OIDCToken=pod-token",
            "RoleArn=acs%3Aram%3A%3A1%3Arole%2Ffnbridge",
        ] {
            assert!(query.contains(part), "{query}");
        }
        let (id, ends) = lends.lend_key();
        Reply::json(
            &json!({"Credentials": {"AccessKeyId": id, "AccessKeySecret": "s", "SecurityToken": "lent", "Expiration": ends}}),
        )
    });
    let node = alibaba_metadata(Lender::default());
    let token = file(test, "token", "pod-token");
    let setting = alone(test)
        .environment("ALIBABA_CLOUD_STS_ENDPOINT", &sts.url())
        .environment("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/fnbridge")
        .environment("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack")
        .environment("ALIBABA_CLOUD_OIDC_TOKEN_FILE", &token.display().to_string())
        .environment(
            "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
            node.url().trim_end_matches('/'),
        );
    signs_and_renews(test, &setting, &json!({"type": "aliyun_acs3"}), &lender, &sts);
    assert_eq!(node.count(), 0, "the node's role is not asked for");
}

fn the_role_of_an_alibaba_instance_signs_and_is_renewed_ahead_of_its_end(test: &Test) {
    let lender = Lender::default();
    let metadata = alibaba_metadata(lender.clone());
    let address = metadata.url();
    let setting = alone(test).environment(
        "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
        address.trim_end_matches('/'),
    );
    signs_and_renews(test, &setting, &json!({"type": "aliyun_acs3"}), &lender, &metadata);
}

fn keys_in_the_environment_and_in_files_sign(test: &Test) {
    let aws_file = file(
        test,
        "aws",
        "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n",
    );
    let alibaba_file = file(
        test,
        "alibaba",
        "[default]\ntype = access_key\naccess_key_id = AKIDFILE\naccess_key_secret = s\n",
    );
    let alibaba = json!({"type": "aliyun_acs3"});
    let cases = [
        (
            aws(),
            vec![
                ("AWS_ACCESS_KEY_ID", "AKIDENV".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "s".to_owned()),
            ],
            "AKIDENV",
        ),
        (
            aws(),
            vec![("AWS_SHARED_CREDENTIALS_FILE", aws_file.display().to_string())],
            "AKIDFILE",
        ),
        (
            alibaba.clone(),
            vec![
                ("ALIBABA_CLOUD_ACCESS_KEY_ID", "AKIDENV".to_owned()),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s".to_owned()),
            ],
            "AKIDENV",
        ),
        (
            alibaba,
            vec![("ALIBABA_CLOUD_CREDENTIALS_FILE", alibaba_file.display().to_string())],
            "AKIDFILE",
        ),
    ];
    let called = [0, 1, 2, 3].map(|n| {
        let (auth, environment, key) = cases[n].clone();
        let source = test.topic(&format!("in{n}"), 1);
        let function = Server::start(|_| Reply::of(204, ""));
        test.client().produce(&source, numbers(0..1));
        let pipeline = test
            .pipeline(&source)
            .set("name", test.name(&format!("p{n}")))
            .function(&function.url());
        let setting = environment
            .iter()
            .fold(alone(test), |setting, (name, value)| setting.environment(name, value));
        test.worker_not_ready(&setting, &pipeline.set("function.auth", auth));
        (function, key)
    });
    for (function, key) in called {
        let request = &function.wait_count(1)[0];
        assert_eq!(key_of(request), key);
    }
}

/// For two lives of a key and more: no call carries one that has ended, keys are asked for ahead of that and by one call at a
/// time; one that is refused before its end is renewed once, and that reaches no record either.
fn signs_and_renews(test: &Test, setting: &Setting, auth: &Value, lender: &Lender, asked: &Server) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let (knows, ended) = (lender.clone(), Arc::new(Mutex::new(0)));
    let late = Arc::clone(&ended);
    let function = Server::start(move |request| {
        let key = key_of(request);
        if key == "AKID1" {
            return expired();
        }
        if !knows.is_good(&key) {
            *late.lock().unwrap() += 1;
            return expired();
        }
        Reply::echo(request)
    });
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker_on(setting, &pipeline.clone().set("function.auth", auth.clone()));
    let load = Load::start(test.client(), &source, 2);
    function.wait("a fourth key", |requests| {
        requests.last().is_some_and(|request| key_of(request) == "AKID4")
    });
    let produced = load.end();
    test.client().await_committed(&pipeline.group(), &source, &produced);
    assert_eq!(*ended.lock().unwrap(), 0, "no call carries a key that has ended");
    let metrics = worker.metrics();
    let all = metrics.sum(ATTEMPTS, &[]);
    assert_eq!(
        metrics.sum(ATTEMPTS, &[r#"outcome="success""#]),
        all,
        "the refusal reached no record"
    );
    let used: Vec<String> = function.requests().iter().map(key_of).collect();
    assert_eq!(used[0], "AKID1");
    assert!((4..=5).contains(&lender.count()), "{} keys", lender.count());
    assert_eq!(asked.most_in_flight(), 1);
}

/// As Lambda and Function Compute say it.
fn expired() -> Reply {
    let reply = Reply::of(403, "");
    reply
        .header("x-amzn-errortype", "ExpiredTokenException")
        .header("x-fc-error-code", "SecurityTokenExpired")
}

fn key_of(request: &Request) -> String {
    let (_, credential) = request
        .header("authorization")
        .split_once("Credential=")
        .expect("a credential");
    credential.split(['/', ',']).next().unwrap().to_owned()
}

fn aws() -> Value {
    json!({"type": "aws_sigv4", "region": "eu-west-1", "service": "lambda"})
}

fn aws_key((id, ends): &(String, String)) -> Reply {
    Reply::json(
        &json!({"Code": "Success", "AccessKeyId": id, "SecretAccessKey": "s", "Token": "lent", "Expiration": ends}),
    )
}

fn alibaba_metadata(lends: Lender) -> Server {
    Server::start(move |request| match request.uri.path() {
        "/latest/api/token" => Reply::of(200, "session"),
        "/latest/meta-data/ram/security-credentials/" => Reply::of(200, "fnbridge"),
        "/latest/meta-data/ram/security-credentials/fnbridge" => {
            let (id, ends) = lends.lend_key();
            Reply::json(
                &json!({"Code": "Success", "AccessKeyId": id, "AccessKeySecret": "s", "SecurityToken": "lent",
                "Expiration": ends}),
            )
        }
        _ => Reply::of(404, ""),
    })
}

/// A worker that finds no keys but those that a test puts there.
fn alone(test: &Test) -> Setting {
    Setting::plaintext(&test.broker().bootstrap()).environment("HOME", &test.folder().display().to_string())
}

fn file(test: &Test, name: &str, text: &str) -> PathBuf {
    let file = test.folder().join(name);
    fs::write(&file, text).expect("a file");
    file
}
