//! What is said of how calls are authenticated, validated.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

/// Text that is shown nowhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How requests to functions and sinks are authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthSettings {
    /// They are not.
    None,
    /// A token that does not change.
    Bearer(Secret),
    /// A user and a password.
    Basic(BasicSettings),
    /// Standard Webhooks: a signature for each of these keys, `whsec_…`.
    Hmac(Vec<Secret>),
    /// A token that is fetched and renewed, or that stands in a file.
    Oidc(OidcSettings),
    /// Alibaba Cloud's ACS3-HMAC-SHA256; `None`: with what environment, files or roles give.
    AliyunAcs3(Option<CloudKeys>),
    /// AWS's Signature Version 4.
    AwsSigv4(AwsSettings),
}

/// How AWS's signatures are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsSettings {
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// The service, such as `lambda`.
    pub service: String,
    /// `None`: what environment, files or roles give.
    pub keys: Option<CloudKeys>,
}

/// A cloud's access key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloudKeys {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// The token of a key that is lent.
    pub token: Option<Secret>,
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BasicSettings {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OidcSettings {
    /// A token endpoint, for what the client shows there.
    Endpoint(TokenRequest),
    /// A file that something else renews, such as a pod's service account token.
    File(PathBuf),
}

/// A client's request for a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    /// The token endpoint.
    pub url: Uri,
    /// The client's id.
    pub client_id: String,
    /// The client's secret; `None`: a token in a file proves who it is.
    pub client_secret: Option<Secret>,
    /// A file with a token that proves who the client is.
    pub token_file: Option<PathBuf>,
    /// What the token is to be good for, with spaces between them.
    pub scope: Option<String>,
    /// Whom the token is for.
    pub audience: Option<String>,
}
