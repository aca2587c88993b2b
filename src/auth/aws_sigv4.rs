//! `aws_sigv4`: AWS's Signature Version 4, by AWS's own library.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqsign_aws_core::{Credential, DefaultCredentialProvider};

use super::cloud::{Found, Keys, signed};
use super::{Auth, AwsSettings, CloudKeys, Proof, Secret, Unproven};

#[derive(Debug)]
pub(super) struct AwsSigv4 {
    region: String,
    service: String,
    keys: Keys<DefaultCredentialProvider>,
}

impl AwsSigv4 {
    pub(super) fn new(settings: AwsSettings) -> Result<AwsSigv4, String> {
        Ok(AwsSigv4 {
            region: settings.region,
            service: settings.service,
            keys: Keys::new(settings.keys, DefaultCredentialProvider::new())?,
        })
    }

    /// Adds the signature. What proxies may change on the way is not signed.
    pub(super) fn sign_with(
        &self,
        request: &mut Request<Bytes>,
        keys: &CloudKeys,
        now: SystemTime,
    ) -> Result<(), String> {
        let token = keys.token.as_ref().map(|token| token.0.clone());
        let identity = Credentials::new(&keys.id, &keys.secret.0, token, None, "fnbridge").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let signed = |(name, value): (&'_ HeaderName, &'_ HeaderValue)| {
            let is_signed = *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())).filter(|_| is_signed)
        };
        let headers: Vec<(String, String)> = request.headers().iter().filter_map(signed).collect();
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(request.body()),
        );
        let signable = signable.map_err(|error| error.to_string())?;
        let (instructions, _) = sign(signable, &params).map_err(|error| error.to_string())?.into_parts();
        let added: Vec<(String, String)> = instructions
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for (name, value) in added {
            let mut value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            request
                .headers_mut()
                .insert(HeaderName::try_from(name).map_err(|error| error.to_string())?, value);
        }
        Ok(())
    }
}

impl Auth for AwsSigv4 {
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, now: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>> {
        async move {
            let (keys, proof) = self.keys.get("AWS", found).await?;
            signed(self.sign_with(request, &keys, now), proof)
        }
        .boxed()
    }

    fn renew(&self, refused: Proof) -> bool {
        self.keys.renew(refused)
    }
}

fn found(credential: Credential) -> Found {
    let keys = CloudKeys {
        id: credential.access_key_id,
        secret: Secret(credential.secret_access_key),
        token: credential.session_token.map(Secret),
    };
    (keys, credential.expires_in.map(|ends| ends.as_system_time()))
}
