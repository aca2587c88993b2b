//! How requests to functions and sinks are authenticated.

use std::path::Path as FilePath;

use hyper::Uri;

use super::pipeline::Surroundings;
use super::places::{file, text, url};
use crate::auth::{
    AuthSettings, AwsSettings, BasicSettings, CloudKeys, OidcSettings, Secret, TokenRequest, check_auth,
};
use crate::config::document::{AuthDoc, AuthKindDoc, TextDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};

/// Authentication, or `None` where something is wrong with it, which was reported.
pub(super) fn auth(
    doc: &AuthDoc,
    its_url: Option<&Uri>,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<AuthSettings> {
    refuse_fields_of_others(doc, path, report);
    let mut read = Reader {
        path,
        base: around.base,
        kind: doc.kind,
        report,
    };
    let settings = match doc.kind {
        AuthKindDoc::None => AuthSettings::None,
        AuthKindDoc::Bearer => AuthSettings::Bearer(read.secret("token", doc.token.as_ref())?),
        AuthKindDoc::Basic => {
            let username = read.secret("username", doc.username.as_ref());
            let password = read.secret("password", doc.password.as_ref());
            AuthSettings::Basic(BasicSettings {
                username: username?.0,
                password: password?,
            })
        }
        AuthKindDoc::Hmac => {
            if doc.keys.is_empty() {
                read.missing("keys");
            }
            let keys = doc.keys.iter().enumerate();
            let keys: Vec<Option<Secret>> = keys
                .map(|(n, key)| read.text(&path.key("keys").index(n), key))
                .collect();
            AuthSettings::Hmac(keys.into_iter().collect::<Option<_>>()?)
        }
        AuthKindDoc::Oidc => AuthSettings::Oidc(oidc(doc, &mut read, around)?),
        AuthKindDoc::AliyunAcs3 => {
            let named = ["access_key_secret", "security_token"];
            let stated = [&doc.access_key_id, &doc.access_key_secret, &doc.security_token];
            AuthSettings::AliyunAcs3(read.keys(named, stated)?)
        }
        AuthKindDoc::AwsSigv4 => {
            let named = ["secret_access_key", "session_token"];
            let stated = [&doc.access_key_id, &doc.secret_access_key, &doc.session_token];
            let keys = read.keys(named, stated);
            let region = doc.region.clone().or_else(|| region_of(its_url?));
            if region.is_none() && its_url.is_some() {
                read.missing("region");
            }
            AuthSettings::AwsSigv4(AwsSettings {
                region: region?,
                service: doc.service.clone().unwrap_or_else(|| "lambda".to_owned()),
                keys: keys?,
            })
        }
    };
    if let Err(wrong) = check_auth(&settings) {
        report.value(path, Code::InvalidValue, wrong);
        return None;
    }
    Some(settings)
}

fn oidc(doc: &AuthDoc, read: &mut Reader<'_, '_, '_>, around: &Surroundings<'_>) -> Option<OidcSettings> {
    let path = read.path;
    let token_file = file(
        doc.token_file.as_ref(),
        &path.key("token_file"),
        around.base,
        read.report,
    );
    let Some(stated) = &doc.token_url else {
        for (name, is_stated) in [
            ("client_id", doc.client_id.is_some()),
            ("client_secret", doc.client_secret.is_some()),
            ("scope", doc.scope.is_some()),
            ("audience", doc.audience.is_some()),
        ] {
            if is_stated {
                let message = "it is for a token endpoint, and there is none; expected token_url beside it";
                read.report.between(&[&path.key(name)], Code::Conflict, message);
            }
        }
        if doc.token_file.is_none() {
            read.missing("token_url");
        }
        return token_file.map(OidcSettings::File);
    };
    let token_url = url(stated, &path.key("token_url"), around.policy, read.report);
    let client_id = read.secret("client_id", doc.client_id.as_ref());
    let client_secret = match (&doc.client_secret, &doc.token_file) {
        (None, Some(_)) => None,
        (Some(_), Some(_)) => {
            let message = "both prove who the client is; expected one of them";
            let paths = [&path.key("client_secret"), &path.key("token_file")];
            read.report.between(&paths, Code::Conflict, message);
            return None;
        }
        (secret, None) => Some(read.secret("client_secret", secret.as_ref())?),
    };
    Some(OidcSettings::Endpoint(TokenRequest {
        url: token_url?,
        client_id: client_id?.0,
        client_secret,
        token_file,
        scope: doc.scope.clone(),
        audience: doc.audience.clone(),
    }))
}

/// Reads what a kind needs.
struct Reader<'a, 'r, 'n> {
    path: &'a Path,
    base: &'a FilePath,
    kind: AuthKindDoc,
    report: &'r mut Report<'n>,
}

impl Reader<'_, '_, '_> {
    fn secret(&mut self, name: &str, doc: Option<&TextDoc>) -> Option<Secret> {
        match doc {
            Some(doc) => self.text(&self.path.key(name), doc),
            None => {
                self.missing(name);
                None
            }
        }
    }

    /// A cloud's keys, if they are stated: id, secret, and a token where they are lent.
    fn keys(&mut self, names: [&str; 2], stated: [&Option<TextDoc>; 3]) -> Option<Option<CloudKeys>> {
        if stated.iter().all(|stated| stated.is_none()) {
            return Some(None);
        }
        let [id, secret, token] = stated;
        let id = self.secret("access_key_id", id.as_ref());
        let secret = self.secret(names[0], secret.as_ref());
        let token = match token {
            Some(token) => Some(self.text(&self.path.key(names[1]), token)?),
            None => None,
        };
        Some(Some(CloudKeys {
            id: id?.0,
            secret: secret?,
            token,
        }))
    }

    fn text(&mut self, path: &Path, doc: &TextDoc) -> Option<Secret> {
        text(doc, path, self.base, self.report).map(Secret)
    }

    fn missing(&mut self, name: &str) {
        let message = format!("missing, expected it for the type {}", type_name(self.kind));
        self.report.value(&self.path.key(name), Code::MissingField, message);
    }
}

/// The region in the name of a host of AWS.
fn region_of(url: &Uri) -> Option<String> {
    let labels: Vec<&str> = url.host()?.split('.').collect();
    let behind = |service: &str| {
        let at = labels.iter().position(|label| *label == service)?;
        labels.get(at + 1).filter(|_| labels.len() > at + 2)
    };
    let region = behind("lambda-url")
        .or_else(|| behind("lambda"))
        .or_else(|| behind("execute-api"))?;
    Some((*region).to_owned())
}

/// Nothing is accepted and ignored: what belongs to another kind is refused.
fn refuse_fields_of_others(doc: &AuthDoc, path: &Path, report: &mut Report<'_>) {
    use AuthKindDoc::{AliyunAcs3, AwsSigv4, Basic, Bearer, Hmac, Oidc};
    let key_of = if doc.kind == AliyunAcs3 { AliyunAcs3 } else { AwsSigv4 };
    let fields = [
        ("token", doc.token.is_some(), Bearer),
        ("username", doc.username.is_some(), Basic),
        ("password", doc.password.is_some(), Basic),
        ("keys", !doc.keys.is_empty(), Hmac),
        ("token_url", doc.token_url.is_some(), Oidc),
        ("client_id", doc.client_id.is_some(), Oidc),
        ("client_secret", doc.client_secret.is_some(), Oidc),
        ("scope", doc.scope.is_some(), Oidc),
        ("audience", doc.audience.is_some(), Oidc),
        ("token_file", doc.token_file.is_some(), Oidc),
        ("region", doc.region.is_some(), AwsSigv4),
        ("service", doc.service.is_some(), AwsSigv4),
        ("access_key_id", doc.access_key_id.is_some(), key_of),
        ("secret_access_key", doc.secret_access_key.is_some(), AwsSigv4),
        ("session_token", doc.session_token.is_some(), AwsSigv4),
        ("access_key_secret", doc.access_key_secret.is_some(), AliyunAcs3),
        ("security_token", doc.security_token.is_some(), AliyunAcs3),
    ];
    for (name, is_stated, kind) in fields {
        if is_stated && kind != doc.kind {
            let of = type_name(kind);
            let message = format!("it belongs to the type {of}, and the type is {}", type_name(doc.kind));
            report.between(&[&path.key(name), &path.key("type")], Code::Conflict, message);
        }
    }
}

fn type_name(kind: AuthKindDoc) -> &'static str {
    match kind {
        AuthKindDoc::None => "none",
        AuthKindDoc::Bearer => "bearer",
        AuthKindDoc::Basic => "basic",
        AuthKindDoc::Hmac => "hmac",
        AuthKindDoc::Oidc => "oidc",
        AuthKindDoc::AliyunAcs3 => "aliyun_acs3",
        AuthKindDoc::AwsSigv4 => "aws_sigv4",
    }
}
