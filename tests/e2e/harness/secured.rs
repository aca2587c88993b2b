//! A broker behind SASL_SSL with SCRAM-SHA-512, PLAIN and ACLs, and one user for each right that can be missing.

use std::fs;
use std::sync::OnceLock;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

use super::children::free_port;
use super::kafka::Broker;
use super::topics::Client;
use super::worker::Setting;

/// Of every user.
const PASSWORD: &str = "correct-horse";

static SHARED: OnceLock<Secured> = OnceLock::new();

/// The broker.
pub struct Secured {
    broker: Broker,
}

/// Who may do what: topics that are read begin with `src-`, results with `out-`, dead letters with `dlt-`.
pub mod user {
    /// Everything that a pipeline needs.
    pub const ABLE: &str = "able";
    /// The same, by the mechanism PLAIN.
    pub const PLAIN: &str = "plain";
    /// All but to read the source.
    pub const NO_READ: &str = "no-read";
    /// All but to use the group.
    pub const NO_GROUP: &str = "no-group";
    /// All but to write results.
    pub const NO_SINK: &str = "no-sink";
    /// All but to write dead letters.
    pub const NO_LETTERS: &str = "no-letters";

    pub(super) const ALL: [&str; 6] = [ABLE, PLAIN, NO_READ, NO_GROUP, NO_SINK, NO_LETTERS];
}

/// The broker that the tests of rights share.
pub fn shared() -> &'static Secured {
    SHARED.get_or_init(Secured::start)
}

/// Stops it, if any test needed it.
pub fn stop_shared() {
    if let Some(secured) = SHARED.get() {
        secured.broker.remove();
    }
}

impl Secured {
    fn start() -> Secured {
        let scram_users = user::ALL.iter().chain(&["admin"]).filter(|name| **name != user::PLAIN);
        let format: Vec<String> = scram_users
            .flat_map(|name| {
                [
                    "-S".to_owned(),
                    format!("SCRAM-SHA-512=[name={name},password={PASSWORD}]"),
                ]
            })
            .collect();
        let format: Vec<&str> = format.iter().map(String::as_str).collect();
        let broker = Broker::format(free_port(), "SASL_SSL", &properties(), &format);
        write_certificates(&broker);
        let secured = Secured { broker };
        secured.broker.spawn();
        secured.broker.await_answer(&secured.admin());
        secured.grant();
        secured
    }

    /// A client that may do everything.
    pub fn admin(&self) -> Client {
        Client::new(&self.broker.bootstrap()).with(&[
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "admin"),
            ("sasl.password", PASSWORD),
            ("ssl.ca.location", &self.authority()),
        ])
    }

    /// What a worker connects with as this user.
    pub fn setting(&self, user: &str) -> Setting {
        let mechanism = if user == user::PLAIN { "PLAIN" } else { "SCRAM-SHA-512" };
        let mut setting = Setting::plaintext(&self.broker.bootstrap());
        setting.cluster["security"] = json!({
            "protocol": "sasl_ssl",
            "mechanism": mechanism,
            "username": user,
            "password": PASSWORD,
            "ca": self.authority(),
        });
        setting
    }

    fn authority(&self) -> String {
        self.broker.folder().join("ca.pem").display().to_string()
    }

    /// Kafka's own tool takes a second or two a call, so the calls run side by side.
    fn grant(&self) {
        let all_but = |denied: &[&str]| -> Vec<String> {
            let able = user::ALL.iter().filter(|name| !denied.contains(*name));
            able.flat_map(|name| ["--allow-principal".to_owned(), format!("User:{name}")])
                .collect()
        };
        let rights = [
            (
                all_but(&[]),
                "--operation Describe --operation DescribeConfigs --topic *",
            ),
            (
                all_but(&[user::NO_READ]),
                "--operation Read --topic src- --resource-pattern-type prefixed",
            ),
            (all_but(&[user::NO_GROUP]), "--operation Read --group *"),
            (
                all_but(&[user::NO_SINK]),
                "--operation Write --topic out- --resource-pattern-type prefixed",
            ),
            (
                all_but(&[user::NO_LETTERS]),
                "--operation Write --topic dlt- --resource-pattern-type prefixed",
            ),
        ];
        let config = self.broker.folder().join("admin.properties");
        let login = login_module("scram.ScramLoginModule", "admin");
        let lines = [
            "security.protocol=SASL_SSL".to_owned(),
            "sasl.mechanism=SCRAM-SHA-512".to_owned(),
            format!("sasl.jaas.config={login}"),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.authority()),
        ];
        fs::write(&config, lines.join("\n")).expect("the tool's configuration");
        let (bootstrap, config) = (self.broker.bootstrap(), config.display().to_string());
        let to = ["--bootstrap-server", &bootstrap, "--command-config", &config, "--add"];
        thread::scope(|scope| {
            for (who, what) in &rights {
                let who = who.iter().map(String::as_str);
                let arguments: Vec<&str> = to.iter().copied().chain(who).chain(what.split(' ')).collect();
                scope.spawn(move || self.broker.tool("org.apache.kafka.tools.AclCommand", &arguments));
            }
        });
    }
}

fn properties() -> Vec<(&'static str, String)> {
    let plain_users: String = [user::PLAIN]
        .map(|name| format!(" user_{name}=\"{PASSWORD}\""))
        .concat();
    let plain = login_module("plain.PlainLoginModule", "admin").replace(';', &format!("{plain_users};"));
    vec![
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512,PLAIN".to_owned()),
        ("sasl.mechanism.inter.broker.protocol", "SCRAM-SHA-512".to_owned()),
        (
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config",
            login_module("scram.ScramLoginModule", "admin"),
        ),
        ("listener.name.sasl_ssl.plain.sasl.jaas.config", plain),
        ("ssl.keystore.type", "PEM".to_owned()),
        ("ssl.keystore.location", "broker.pem".to_owned()),
        ("ssl.truststore.type", "PEM".to_owned()),
        ("ssl.truststore.location", "ca.pem".to_owned()),
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        ),
        ("super.users", "User:admin;User:ANONYMOUS".to_owned()),
    ]
}

fn login_module(class: &str, user: &str) -> String {
    format!("org.apache.kafka.common.security.{class} required username=\"{user}\" password=\"{PASSWORD}\";")
}

/// An authority of our own, and the broker's key and certificate, in the broker's folder.
fn write_certificates(broker: &Broker) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.distinguished_name.push(DnType::CommonName, "fnbridge tests");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let params = CertificateParams::new(names).expect("names");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let ca = pem("CERTIFICATE", authority.der());
    let all = pem("PRIVATE KEY", key.serialized_der()) + &pem("CERTIFICATE", certificate.der()) + &ca;
    fs::write(broker.folder().join("broker.pem"), all).expect("the broker's certificate");
    fs::write(broker.folder().join("ca.pem"), ca).expect("the authority's certificate");
}

/// A certificate or key as text.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("ASCII"));
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.collect::<Vec<_>>().join("\n")
    )
}
