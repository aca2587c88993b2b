//! How Kafka clusters are reached.

use std::path::Path as FilePath;

use super::places::{file, text};
use crate::config::document::{ClusterDoc, MechanismDoc, PropertyDoc, ProtocolDoc, SecurityDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::kafka::{ClusterSettings, Mechanism, Password, Sasl, Security, Tls};

/// A cluster, or `None` where something is wrong with it, which was reported.
pub(super) fn cluster(
    name: &str,
    doc: &ClusterDoc,
    path: &Path,
    base: &FilePath,
    report: &mut Report<'_>,
) -> Option<ClusterSettings> {
    let properties = doc
        .properties
        .iter()
        .map(|(name, value)| (name.clone(), property(value)));
    let mut settings = ClusterSettings {
        name: name.to_owned(),
        bootstrap_servers: servers(&doc.bootstrap_servers, &path.key("bootstrap_servers"), report),
        security: Security::Plaintext,
        properties: properties.collect(),
        embedded: false,
    };
    for (name, what) in settings.wrong_properties() {
        report.value(&path.key("properties").key(&name), Code::InvalidValue, what);
    }
    settings.security = security(&doc.security, &path.key("security"), base, report)?;
    Some(settings)
}

fn servers(text: &str, path: &Path, report: &mut Report<'_>) -> String {
    let servers: Vec<&str> = text.split(',').map(str::trim).collect();
    let port = |server: &str| server.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    if let Some(wrong) = servers.iter().find(|server| port(server).is_none_or(|port| port == 0)) {
        let message = format!("found the port of {wrong:?}, expected one from 1 to 65535");
        report.value(path, Code::InvalidValue, message);
    }
    servers.join(",")
}

fn property(value: &PropertyDoc) -> String {
    match value {
        PropertyDoc::Switch(on) => on.to_string(),
        PropertyDoc::Whole(number) => number.to_string(),
        PropertyDoc::Fraction(number) => number.to_string(),
        PropertyDoc::Text(text) => text.clone(),
    }
}

fn security(doc: &SecurityDoc, path: &Path, base: &FilePath, report: &mut Report<'_>) -> Option<Security> {
    let (with_tls, with_password) = match doc.protocol {
        ProtocolDoc::Plaintext => (false, false),
        ProtocolDoc::Ssl => (true, false),
        ProtocolDoc::SaslPlaintext => (false, true),
        ProtocolDoc::SaslSsl => (true, true),
    };
    let tls = ["ca", "certificate", "key", "key_password", "verify_hostname"];
    let password = ["mechanism", "username", "password"];
    refuse_unless(with_tls, &tls, "ssl or sasl_ssl", path, report);
    refuse_unless(with_password, &password, "sasl_plaintext or sasl_ssl", path, report);
    let tls = if with_tls {
        self::tls(doc, path, base, report)
    } else {
        Some(Tls::default())
    };
    let sasl = if with_password {
        Some(sasl(doc, path, base, report))
    } else {
        None
    };
    Some(match (doc.protocol, sasl) {
        (ProtocolDoc::SaslPlaintext, Some(sasl)) => Security::SaslPlaintext(sasl?),
        (ProtocolDoc::SaslSsl, Some(sasl)) => Security::SaslSsl(sasl?, tls?),
        (ProtocolDoc::Ssl, _) => Security::Ssl(tls?),
        (ProtocolDoc::Plaintext | ProtocolDoc::SaslPlaintext | ProtocolDoc::SaslSsl, _) => Security::Plaintext,
    })
}

/// What the protocol has no use for would be accepted and ignored.
fn refuse_unless(used: bool, fields: &[&str], protocols: &str, path: &Path, report: &mut Report<'_>) {
    for field in fields {
        let inner = path.key(field);
        if !used && report.is_stated(&inner) {
            let message =
                format!("this protocol does not use it; expected it to be left out, or protocol: {protocols}");
            report.between(&[&inner, &path.key("protocol")], Code::Conflict, message);
        }
    }
}

fn tls(doc: &SecurityDoc, path: &Path, base: &FilePath, report: &mut Report<'_>) -> Option<Tls> {
    let pair = [("certificate", "key"), ("key", "certificate")];
    for (one, other) in pair.map(|(one, other)| (path.key(one), path.key(other))) {
        if report.is_stated(&one) && !report.is_stated(&other) {
            let message = format!("stands alone; expected {other} beside it");
            report.between(&[&one, &other], Code::Conflict, message);
        }
    }
    let key_password = doc
        .key_password
        .as_ref()
        .map(|doc| text(doc, &path.key("key_password"), base, report));
    Some(Tls {
        ca: file(doc.ca.as_ref(), &path.key("ca"), base, report),
        certificate: file(doc.certificate.as_ref(), &path.key("certificate"), base, report),
        key: file(doc.key.as_ref(), &path.key("key"), base, report),
        key_password: match key_password {
            Some(password) => Some(Password(password?)),
            None => None,
        },
        any_hostname: !doc.verify_hostname,
    })
}

fn sasl(doc: &SecurityDoc, path: &Path, base: &FilePath, report: &mut Report<'_>) -> Option<Sasl> {
    for field in ["mechanism", "username", "password"] {
        let inner = path.key(field);
        if !report.is_stated(&inner) {
            let expected = match field {
                "mechanism" => "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
                "username" => "text, {env: NAME} or {file: PATH}",
                _ => "{env: NAME} or {file: PATH}",
            };
            let message = format!("missing, which this protocol needs; expected {expected}");
            report.between(&[&inner, &path.key("protocol")], Code::MissingField, message);
        }
    }
    let username = text(doc.username.as_ref()?, &path.key("username"), base, report);
    let password = text(doc.password.as_ref()?, &path.key("password"), base, report);
    Some(Sasl {
        mechanism: match doc.mechanism? {
            MechanismDoc::Plain => Mechanism::Plain,
            MechanismDoc::ScramSha256 => Mechanism::ScramSha256,
            MechanismDoc::ScramSha512 => Mechanism::ScramSha512,
        },
        username: username?,
        password: Password(password?),
    })
}
