//! `basic`: a user and a password.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};

use super::{Auth, BasicSettings, Proof, Unproven, hidden};

#[derive(Debug)]
pub(super) struct Basic(HeaderValue);

impl Basic {
    pub(super) fn new(settings: &BasicSettings) -> Result<Basic, String> {
        let (username, password) = (&settings.username, &settings.password.0);
        if username.contains(':') {
            return Err("a user's name can't hold a colon in basic authentication".to_owned());
        }
        Ok(Basic(hidden(&format!(
            "Basic {}",
            STANDARD.encode(format!("{username}:{password}"))
        ))?))
    }
}

impl Auth for Basic {
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, _: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>> {
        request.headers_mut().insert(AUTHORIZATION, self.0.clone());
        ready(Ok(Proof::default())).boxed()
    }
}
