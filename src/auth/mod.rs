//! Who calls: what proves it is put into each request. One file each.

mod aliyun_acs3;
mod aws_sigv4;
mod basic;
mod bearer;
mod cached;
mod cloud;
mod hmac;
mod oidc;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};

use crate::http::{AddressPolicy, HttpAnswer, HttpError};
pub use settings::{AuthSettings, AwsSettings, BasicSettings, CloudKeys, OidcSettings, Secret, TokenRequest};

/// Puts what proves who calls into requests.
pub(crate) trait Auth: Debug + Send + Sync {
    /// Signs a request that is otherwise complete, and says which proof was used.
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, now: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>>;

    /// This proof was refused. True where another one is had for the next request.
    fn renew(&self, _refused: Proof) -> bool {
        false
    }
}

/// Names what a request was signed with, so that it is thrown away once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof(u64);

/// Why a request can't be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// Whoever gives proof out is away.
    Away(String),
    /// It gives none, or what is set does not work.
    Wrong(String),
}

/// Checks what is known to be wrong before anything is signed.
///
/// # Errors
/// What was found and what was expected; secrets are not shown.
pub fn check_auth(settings: &AuthSettings) -> Result<(), String> {
    match settings {
        AuthSettings::None | AuthSettings::Oidc(_) | AuthSettings::AliyunAcs3(_) | AuthSettings::AwsSigv4(_) => Ok(()),
        AuthSettings::Bearer(token) => bearer::Bearer::new(token).map(|_| ()),
        AuthSettings::Basic(basic) => basic::Basic::new(basic).map(|_| ()),
        AuthSettings::Hmac(keys) => hmac::Hmac::new(keys).map(|_| ()),
    }
}

/// How requests are signed, if they are. Token endpoints are where `policy` permits.
///
/// # Errors
/// What can't work.
pub(crate) fn of(settings: &AuthSettings, policy: &Arc<AddressPolicy>) -> Result<Option<Box<dyn Auth>>, String> {
    Ok(Some(match settings {
        AuthSettings::None => return Ok(None),
        AuthSettings::Bearer(token) => Box::new(bearer::Bearer::new(token)?),
        AuthSettings::Basic(basic) => Box::new(basic::Basic::new(basic)?),
        AuthSettings::Hmac(keys) => Box::new(hmac::Hmac::new(keys)?),
        AuthSettings::Oidc(oidc) => Box::new(oidc::Oidc::new(oidc.clone(), policy)),
        AuthSettings::AliyunAcs3(keys) => Box::new(aliyun_acs3::AliyunAcs3::new(keys.clone())?),
        AuthSettings::AwsSigv4(aws) => Box::new(aws_sigv4::AwsSigv4::new(aws.clone())?),
    }))
}

/// Why a signed request got no whole answer.
pub(crate) enum NotAnswered {
    /// It was not sent.
    Unproven(Unproven),
    /// It was, or could not be.
    Http(HttpError),
}

/// Signs a request and sends it. One that is refused for what proved who calls is signed anew and sent once more, where there
/// may be newer proof.
pub(crate) async fn send<F>(
    auth: Option<&dyn Auth>,
    mut request: Request<Bytes>,
    send: impl Fn(Request<Bytes>) -> F,
) -> Result<HttpAnswer, NotAnswered>
where
    F: Future<Output = Result<HttpAnswer, HttpError>>,
{
    let Some(auth) = auth else {
        return send(request).await.map_err(NotAnswered::Http);
    };
    let mut again = request.clone();
    let proof = auth.sign(&mut request, SystemTime::now()).await;
    let proof = proof.map_err(NotAnswered::Unproven)?;
    let answer = send(request).await.map_err(NotAnswered::Http)?;
    if !refuses(&answer) || !auth.renew(proof) {
        return Ok(answer);
    }
    drop(answer);
    let signed = auth.sign(&mut again, SystemTime::now()).await;
    signed.map_err(NotAnswered::Unproven)?;
    send(again).await.map_err(NotAnswered::Http)
}

/// Whether an answer says that whoever calls did not prove who it is, or with something that has ended.
fn refuses(answer: &HttpAnswer) -> bool {
    let named = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let error = named("x-amzn-errortype")
        .or(named("x-fc-error-code"))
        .unwrap_or_default();
    let has_ended = ["Expired", "UnrecognizedClient", "InvalidSecurityToken"]
        .iter()
        .any(|word| error.contains(word));
    answer.status == StatusCode::UNAUTHORIZED || (answer.status == StatusCode::FORBIDDEN && has_ended)
}

/// A header's value that is shown nowhere.
fn hidden(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the credentials have characters that can't be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
