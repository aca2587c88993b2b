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
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::header::HeaderValue;

use super::settings::FunctionSettings;
pub use settings::{AuthSettings, AwsSettings, BasicSettings, CloudKeys, OidcSettings, Secret, TokenRequest};

/// Puts what proves who calls into requests.
pub(super) trait Auth: Debug + Send + Sync {
    /// Signs a request that is otherwise complete, and says which proof was used.
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, now: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>>;

    /// A function refused this proof. True where another one is had for the next request.
    fn renew(&self, _refused: Proof) -> bool {
        false
    }
}

/// Names what a request was signed with, so that it is thrown away once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof(u64);

/// Why a request can't be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
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

/// How the function's calls are signed, if they are.
///
/// # Errors
/// What can't work.
pub(super) fn of(settings: &FunctionSettings) -> Result<Option<Box<dyn Auth>>, String> {
    Ok(Some(match &settings.auth {
        AuthSettings::None => return Ok(None),
        AuthSettings::Bearer(token) => Box::new(bearer::Bearer::new(token)?),
        AuthSettings::Basic(basic) => Box::new(basic::Basic::new(basic)?),
        AuthSettings::Hmac(keys) => Box::new(hmac::Hmac::new(keys)?),
        AuthSettings::Oidc(oidc) => Box::new(oidc::Oidc::new(oidc.clone(), settings)),
        AuthSettings::AliyunAcs3(keys) => Box::new(aliyun_acs3::AliyunAcs3::new(keys.clone())?),
        AuthSettings::AwsSigv4(aws) => Box::new(aws_sigv4::AwsSigv4::new(aws.clone())?),
    }))
}

/// A header's value that is shown nowhere.
fn hidden(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the credentials have characters that can't be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
