//! `bearer`: a token that does not change.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};

use super::{Auth, Proof, Secret, Unproven, hidden};

#[derive(Debug)]
pub(super) struct Bearer(HeaderValue);

impl Bearer {
    pub(super) fn new(token: &Secret) -> Result<Bearer, String> {
        Ok(Bearer(hidden(&format!("Bearer {}", token.0))?))
    }
}

impl Auth for Bearer {
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, _: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>> {
        request.headers_mut().insert(AUTHORIZATION, self.0.clone());
        ready(Ok(Proof::default())).boxed()
    }
}
