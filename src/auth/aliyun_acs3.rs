//! `aliyun_acs3`: Alibaba Cloud's ACS3-HMAC-SHA256, for InvokeFunction and for HTTP triggers.

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqsign_aliyun_oss::{
    AssumeRoleCredentialProvider, AssumeRoleWithOidcCredentialProvider, ConfigFileCredentialProvider, Credential,
    CredentialsFileCredentialProvider, CredentialsUriCredentialProvider, DefaultCredentialProvider,
    EcsRamRoleCredentialProvider, EnvCredentialProvider, OssProfileCredentialProvider,
};
use reqsign_core::ProvideCredentialChain;

use super::cloud::{Found, Keys, signed};
use super::{Auth, CloudKeys, Proof, Secret, Unproven, hidden};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
/// The API that InvokeFunction belongs to, by the beginning of its paths.
const API_VERSION: &str = "2023-03-30";
const ACTION: &str = "InvokeFunction";
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');

#[derive(Debug)]
pub(super) struct AliyunAcs3 {
    keys: Keys<DefaultCredentialProvider>,
}

impl AliyunAcs3 {
    pub(super) fn new(keys: Option<CloudKeys>) -> Result<AliyunAcs3, String> {
        Ok(AliyunAcs3 {
            keys: Keys::new(keys, DefaultCredentialProvider::with_chain(identities()))?,
        })
    }
}

/// Where the worker's identity is looked for. A pod's own role comes before all else: the library's order would ask the node
/// that it runs on first, and call with what that may do.
fn identities() -> ProvideCredentialChain<Credential> {
    ProvideCredentialChain::new()
        .push(AssumeRoleWithOidcCredentialProvider::new())
        .push(AssumeRoleCredentialProvider::new())
        .push(EnvCredentialProvider::new())
        .push(OssProfileCredentialProvider::new())
        .push(CredentialsFileCredentialProvider::new())
        .push(ConfigFileCredentialProvider::new())
        .push(CredentialsUriCredentialProvider::new())
        .push(EcsRamRoleCredentialProvider::new())
}

impl Auth for AliyunAcs3 {
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, now: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>> {
        async move {
            let (keys, proof) = self.keys.get("Alibaba Cloud", found).await?;
            let nonce = format!("{:032x}", fastrand::u128(..));
            signed(sign_with(request, &keys, now, &nonce), proof)
        }
        .boxed()
    }

    fn renew(&self, refused: Proof) -> bool {
        self.keys.renew(refused)
    }
}

/// Adds the signature. The API's covers the body; a trigger's does not.
pub(super) fn sign_with(
    request: &mut Request<Bytes>,
    keys: &CloudKeys,
    now: SystemTime,
    nonce: &str,
) -> Result<(), String> {
    let is_api = request.uri().path().starts_with(&format!("/{API_VERSION}/"));
    let now = jiff::Timestamp::try_from(now).map_err(|error| error.to_string())?;
    let mut own = vec![
        ("x-acs-date", format!("{now:.0}")),
        ("x-acs-signature-nonce", nonce.to_owned()),
    ];
    let payload = if is_api {
        hex(digest::digest(&digest::SHA256, request.body()).as_ref())
    } else {
        String::new()
    };
    if is_api {
        own.push(("x-acs-action", ACTION.to_owned()));
        own.push(("x-acs-version", API_VERSION.to_owned()));
        own.push(("x-acs-content-sha256", payload.clone()));
    }
    if let Some(token) = &keys.token {
        own.push(("x-acs-accesskey-id", keys.id.clone()));
        own.push(("x-acs-security-token", token.0.clone()));
    }
    for (name, value) in own {
        request
            .headers_mut()
            .insert(HeaderName::from_static(name), hidden(&value)?);
    }
    let (canonical, names) = canonical_headers(request);
    let text = [
        request.method().as_str(),
        &canonical_path(request.uri().path()),
        &canonical_query(request.uri().query().unwrap_or_default()),
        &canonical,
        &names,
        &payload,
    ]
    .join("\n");
    let to_sign = format!(
        "{ALGORITHM}\n{}",
        hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, keys.secret.0.as_bytes());
    let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    let authorization = format!(
        "{ALGORITHM} Credential={},SignedHeaders={names},Signature={signature}",
        keys.id
    );
    request.headers_mut().insert(AUTHORIZATION, hidden(&authorization)?);
    Ok(())
}

/// Headers that are signed, a line each, and their names.
fn canonical_headers(request: &Request<Bytes>) -> (String, String) {
    let host = request
        .uri()
        .authority()
        .map(|authority| ("host".to_owned(), authority.to_string()));
    let signed = request
        .headers()
        .iter()
        .filter_map(|(name, value): (&HeaderName, &HeaderValue)| {
            let is_signed = *name == CONTENT_TYPE || name.as_str().starts_with("x-acs-");
            let value = value.to_str().ok().filter(|_| is_signed)?;
            Some((name.as_str().to_owned(), value.trim().to_owned()))
        });
    let mut headers: Vec<(String, String)> = host.into_iter().chain(signed).collect();
    headers.sort();
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    (lines, names.join(";"))
}

fn canonical_path(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    utf8_percent_encode(&decoded, IN_PATH).to_string()
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8_lossy();
            format!("{name}={}", utf8_percent_encode(&value, IN_QUERY))
        })
        .collect();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn found(credential: Credential) -> Found {
    let keys = CloudKeys {
        id: credential.access_key_id,
        secret: Secret(credential.access_key_secret),
        token: credential.security_token.map(Secret),
    };
    (keys, credential.expires_in.map(|ends| ends.as_system_time()))
}
