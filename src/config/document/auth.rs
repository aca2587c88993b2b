use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::TextDoc;

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthDoc {
    /// The kind of authentication.
    #[serde(rename = "type")]
    pub(crate) kind: AuthKindDoc,
    /// `bearer`: the token.
    pub(crate) token: Option<TextDoc>,
    /// `basic`: the user.
    pub(crate) username: Option<TextDoc>,
    /// `basic`: the password.
    pub(crate) password: Option<TextDoc>,
    /// `hmac`: keys, each `whsec_` and 24 to 64 bytes in base64. All of them sign, so that keys can be exchanged.
    #[schemars(length(max = 8))]
    pub(crate) keys: Vec<TextDoc>,
    /// `oidc`: the token endpoint. Without one, the token in `token_file` is sent as it is.
    #[schemars(length(min = 1))]
    pub(crate) token_url: Option<String>,
    /// `oidc`: the client's id at the token endpoint.
    pub(crate) client_id: Option<TextDoc>,
    /// `oidc`: the client's secret at the token endpoint.
    pub(crate) client_secret: Option<TextDoc>,
    /// `oidc`: what the token is to be good for, with spaces between them.
    #[schemars(length(min = 1))]
    pub(crate) scope: Option<String>,
    /// `oidc`: whom the token is for.
    #[schemars(length(min = 1))]
    pub(crate) audience: Option<String>,
    /// `oidc`: a file with a token that something else renews, such as a pod's service account token. It is sent as it is, or
    /// proves to the token endpoint who the client is.
    #[schemars(length(min = 1))]
    pub(crate) token_file: Option<String>,
    /// `aws_sigv4`: the region; by default the one in the URL's host name.
    #[schemars(length(min = 1))]
    pub(crate) region: Option<String>,
    /// `aws_sigv4`: the service that the signature is for; by default `lambda`.
    #[schemars(length(min = 1))]
    pub(crate) service: Option<String>,
    /// `aws_sigv4`, `aliyun_acs3`: the id of an access key. Without one, what the worker's environment, files, and the role of
    /// its instance or pod give.
    pub(crate) access_key_id: Option<TextDoc>,
    /// `aws_sigv4`: the key's secret.
    pub(crate) secret_access_key: Option<TextDoc>,
    /// `aws_sigv4`: the token of a key that is lent.
    pub(crate) session_token: Option<TextDoc>,
    /// `aliyun_acs3`: the key's secret.
    pub(crate) access_key_secret: Option<TextDoc>,
    /// `aliyun_acs3`: the token of a key that is lent.
    pub(crate) security_token: Option<TextDoc>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthKindDoc {
    #[default]
    None,
    /// A token that does not change.
    Bearer,
    /// A user and a password.
    Basic,
    /// Signatures as Standard Webhooks has them.
    Hmac,
    /// A token that is fetched and renewed, by client credentials or workload identity.
    Oidc,
    /// Alibaba Cloud's ACS3-HMAC-SHA256, for InvokeFunction and HTTP triggers.
    AliyunAcs3,
    /// AWS's Signature Version 4.
    AwsSigv4,
}
