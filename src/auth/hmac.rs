//! `hmac`: Standard Webhooks 1.0.0. Each key signs, so that keys can be exchanged: first the function accepts both, then the
//! old one is left out here.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hyper::Request;
use hyper::header::{HeaderName, HeaderValue};

use super::{Auth, Proof, Secret, Unproven};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

pub(super) struct Hmac {
    keys: Vec<hmac::Key>,
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hmac({} keys)", self.keys.len())
    }
}

impl Hmac {
    pub(super) fn new(keys: &[Secret]) -> Result<Hmac, String> {
        let keys: Result<_, String> = keys
            .iter()
            .map(|key| Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes(&key.0)?)))
            .collect();
        Ok(Hmac { keys: keys? })
    }

    /// `v1,<base64>` for each key, with spaces between them.
    fn signatures(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(head.as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        let signatures: Vec<String> = self.keys.iter().map(sign).collect();
        signatures.join(" ")
    }
}

impl Auth for Hmac {
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, now: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>> {
        let id = request
            .headers()
            .get("idempotency-key")
            .cloned()
            .unwrap_or(HeaderValue::from_static("-"));
        let timestamp = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let signatures = self.signatures(&String::from_utf8_lossy(id.as_bytes()), timestamp, request.body());
        let headers = request.headers_mut();
        headers.insert(ID, id);
        headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
        if let Ok(signatures) = HeaderValue::from_str(&signatures) {
            headers.insert(SIGNATURE, signatures);
        }
        ready(Ok(Proof::default())).boxed()
    }
}

/// The bytes of a key.
///
/// # Errors
/// What is wrong with it; the key itself is not shown.
fn bytes(key: &str) -> Result<Vec<u8>, String> {
    const EXPECTED: &str = "expected whsec_ and 24 to 64 bytes in base64";
    let encoded = key
        .strip_prefix("whsec_")
        .ok_or_else(|| format!("a key without whsec_ before it, {EXPECTED}"))?;
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| format!("a key that is not base64, {EXPECTED}"))?;
    match bytes.len() {
        24..=64 => Ok(bytes),
        found => Err(format!("a key of {found} bytes, {EXPECTED}")),
    }
}
