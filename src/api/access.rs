//! Tokens and secrets.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Sent, allow, allow_all};
use super::problem::{Kind, Problem};
use super::wire::{CreatedToken, ProblemDocument, Secret, SecretList, SecretRequest, Token, TokenList, TokenRequest};
use super::{App, now_ms, rfc3339};
use crate::control::access::{self, Caller, CreateError, Role, SecretError, Tokens, referred_secrets};

/// Longer text than this is no secret.
const MAX_SECRET_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(tokens, create_token))
        .routes(routes!(revoke_token))
        .routes(routes!(secrets))
        .routes(routes!(set_secret, delete_secret))
}

/// Lists the tokens.
#[utoipa::path(get, path = "/v1/tokens", tag = "access", responses(
    (status = 200, body = TokenList),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn tokens(State(app): State<App>, caller: Caller) -> Result<Json<TokenList>, Problem> {
    allow_all(&caller, Role::Admin)?;
    let tokens = Tokens::list(&**app.fleet.store()).await?;
    Ok(Json(TokenList {
        tokens: tokens.into_iter().map(token).collect(),
    }))
}

/// Creates a token. Its secret is in the answer, and is not shown again.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", request_body = TokenRequest, responses(
    (status = 201, body = CreatedToken),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn create_token(
    State(app): State<App>,
    caller: Caller,
    Sent(request): Sent<TokenRequest>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    allow_all(&caller, Role::Admin)?;
    if request.name.trim().is_empty() || request.name.len() > 100 {
        return Err(Problem::new(Kind::InvalidRequest, "expected a name of 1 to 100 characters").at("name"));
    }
    let scope = (request.role, request.prefix.as_str());
    let created = Tokens::create(&**app.fleet.store(), &request.name, scope, (&caller.name, now_ms())).await;
    let (created, secret) = created.map_err(|error| match error {
        CreateError::NoRandomness => Problem::new(Kind::Internal, error.to_string()),
        CreateError::Store(error) => error.into(),
    })?;
    let answer = CreatedToken {
        token: token(created),
        secret,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", params(("id" = String, Path)), responses(
    (status = 204, description = "Revoked."),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn revoke_token(State(app): State<App>, caller: Caller, Name(id): Name) -> Result<StatusCode, Problem> {
    allow_all(&caller, Role::Admin)?;
    match Tokens::revoke(&**app.fleet.store(), &id, (&caller.name, now_ms())).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(
            Kind::NotFound,
            format!("found no token with the id {id:?}; GET /v1/tokens lists them"),
        )),
    }
}

/// Lists the secrets, without what is secret of them.
#[utoipa::path(get, path = "/v1/secrets", tag = "access", responses(
    (status = 200, body = SecretList),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn secrets(State(app): State<App>, caller: Caller) -> Result<Json<SecretList>, Problem> {
    let pipelines = app.fleet.registry().all().await?;
    let secrets = app.secrets.list().await.map_err(of_secret)?;
    let secrets = secrets
        .into_iter()
        .filter(|secret| caller.may(Role::Viewer, &secret.name))
        .map(|secret| Secret {
            used_by: (pipelines
                .iter()
                .filter(|pipeline| referred_secrets(&pipeline.document).contains(secret.name.as_str())))
            .map(|pipeline| pipeline.name.clone())
            .collect(),
            name: secret.name,
            changed: rfc3339(secret.changed_ms),
            changed_by: secret.changed_by,
        });
    Ok(Json(SecretList {
        secrets: secrets.collect(),
    }))
}

/// Writes a secret. It is never read back; pipelines refer to it as `{secret: name}`.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "access", params(("name" = String, Path, example = "orders")),
    request_body = SecretRequest,
    responses(
        (status = 204, description = "Written."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn set_secret(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Sent(request): Sent<SecretRequest>,
) -> Result<StatusCode, Problem> {
    allow(&caller, Role::Editor, &name)?;
    if !is_name(&name) {
        let detail = "expected a name of 1 to 63 small letters, digits and -, beginning with a letter or digit";
        return Err(Problem::new(Kind::InvalidRequest, detail).at("name"));
    }
    if request.value.is_empty() || request.value.len() > MAX_SECRET_BYTES {
        let detail = format!("found {} bytes, expected 1 to {MAX_SECRET_BYTES}", request.value.len());
        return Err(Problem::new(Kind::InvalidRequest, detail).at("value"));
    }
    app.secrets
        .set(&name, &request.value, (&caller.name, now_ms()))
        .await
        .map_err(of_secret)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a secret. Pipelines that refer to it go on with what they have, and can't be started anew.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "access", params(("name" = String, Path, example = "orders")), responses(
    (status = 204, description = "Deleted."),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn delete_secret(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<StatusCode, Problem> {
    allow(&caller, Role::Editor, &name)?;
    match app
        .secrets
        .delete(&name, (&caller.name, now_ms()))
        .await
        .map_err(of_secret)?
    {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(
            Kind::NotFound,
            format!("found no secret named {name:?}; GET /v1/secrets lists them"),
        )),
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(is_letter) && name.len() <= 63 && name.chars().all(|c| is_letter(c) || c == '-')
}

fn of_secret(error: SecretError) -> Problem {
    match error {
        SecretError::Store(error) => error.into(),
        SecretError::NoKey | SecretError::OtherKey(_) => Problem::new(Kind::NoSecretsKey, error.to_string()),
    }
}

fn token(token: access::Token) -> Token {
    Token {
        id: token.id,
        name: token.name,
        role: token.role,
        prefix: token.prefix,
        created: rfc3339(token.created_ms),
        created_by: token.created_by,
    }
}
