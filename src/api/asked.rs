//! What a request says: each part that can't be understood is a problem, never a plain text.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use super::{App, MAX_BODY_BYTES};
use crate::control::access::{Caller, Role};
use crate::control::registry::Precondition;

/// A name in the path.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<App> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Name, Problem> {
        match Path::<String>::from_request_parts(parts, app).await {
            Ok(Path(name)) => Ok(Name(name)),
            Err(error) => Err(Problem::new(
                Kind::InvalidRequest,
                format!("the path can't be read: {error}"),
            )),
        }
    }
}

/// Parameters behind the path.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Params<T>, Problem> {
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(error) => Err(Problem::new(Kind::InvalidRequest, error.body_text())),
        }
    }
}

/// A body as text.
pub(super) struct Text(pub(super) String);

impl FromRequest<App> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &App) -> Result<Text, Problem> {
        let stated = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let too_large = || {
            Problem::new(
                Kind::TooLarge,
                format!("expected a body of at most {MAX_BODY_BYTES} bytes"),
            )
        };
        if stated.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(too_large());
        }
        let bytes = to_bytes(request.into_body(), MAX_BODY_BYTES)
            .await
            .map_err(|_| too_large())?;
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) if text.trim().is_empty() => Err(Problem::new(
                Kind::InvalidRequest,
                "found an empty body, expected what the route takes",
            )),
            Ok(text) => Ok(Text(text)),
            Err(_) => Err(Problem::new(Kind::InvalidRequest, "the body is not UTF-8")),
        }
    }
}

/// A body in JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, app: &App) -> Result<Sent<T>, Problem> {
        let Text(text) = Text::from_request(request, app).await?;
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Sent(value)),
            Err(error) => Err(Problem::new(
                Kind::InvalidRequest,
                format!("the body is not what the route takes: {error}"),
            )),
        }
    }
}

/// Who asks. The guard has found out.
impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Caller, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Problem::new(Kind::Unauthenticated, "the request has no token"))
    }
}

/// Whether the caller may do what takes this role, to something of this name.
pub(super) fn allow(caller: &Caller, role: Role, name: &str) -> Result<(), Problem> {
    if caller.may(role, name) {
        return Ok(());
    }
    Err(forbidden(caller, role, &format!("for {name}")))
}

/// Whether the caller may do what takes this role and concerns the fleet as a whole.
pub(super) fn allow_all(caller: &Caller, role: Role) -> Result<(), Problem> {
    if caller.may_all(role) {
        return Ok(());
    }
    Err(forbidden(caller, role, "for the whole fleet"))
}

fn forbidden(caller: &Caller, role: Role, reach: &str) -> Problem {
    let reaches = match caller.prefix.as_str() {
        "" => String::new(),
        prefix => format!(" for names that begin with {prefix}"),
    };
    let detail = format!(
        "the token {} has the role {}{reaches}; expected {}, {reach}",
        caller.name,
        caller.role.name(),
        match role {
            Role::Admin => role.name().to_owned(),
            Role::Worker => "worker or admin".to_owned(),
            Role::Viewer | Role::Operator | Role::Editor => format!("{} or more", role.name()),
        }
    );
    Problem::new(Kind::Forbidden, detail)
}

/// `If-None-Match: *` and `If-Match: "<revision>"`.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let text = |name| -> Result<Option<&str>, Problem> {
        let value = headers.get(&name).map(|value| value.to_str());
        value
            .transpose()
            .map_err(|_| Problem::new(Kind::InvalidRequest, format!("the header {name} is not text")))
    };
    let wrong = |name: &str, found: &str, expected: &str| {
        Problem::new(
            Kind::InvalidRequest,
            format!("found {name}: {found}, expected {expected}"),
        )
    };
    match (text(header::IF_NONE_MATCH)?, text(header::IF_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some("*"), None) => Ok(Precondition::Absent),
        (None, Some(found)) => match found.trim_matches('"').parse() {
            Ok(revision) => Ok(Precondition::At(revision)),
            Err(_) => Err(wrong("If-Match", found, "a revision in quotes, such as \"3\"")),
        },
        (Some(found), None) => Err(wrong("If-None-Match", found, "*")),
        (Some(_), Some(_)) => Err(Problem::new(
            Kind::InvalidRequest,
            "found If-Match and If-None-Match, expected at most one of them",
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(name: header::HeaderName, value: &'static str) -> Result<Precondition, Problem> {
        precondition(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
    }

    #[test]
    fn preconditions_are_read_from_their_headers() {
        assert_eq!(precondition(&HeaderMap::new()), Ok(Precondition::None));
        assert_eq!(of(header::IF_NONE_MATCH, "*"), Ok(Precondition::Absent));
        assert_eq!(of(header::IF_MATCH, "\"12\""), Ok(Precondition::At(12)));
        let wrong = of(header::IF_MATCH, "W/\"a\"").unwrap_err().document();
        assert_eq!((wrong.status, wrong.code.as_str()), (400, "invalid_request"));
    }
}
