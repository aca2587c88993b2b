//! Who may talk to the API at all.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::{Kind, Problem};
use crate::control::access::Caller;

pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let caller = match &app.tokens {
        None => local(request.headers(), request.uri().host()).map(|()| Caller::anonymous()),
        Some(tokens) => match bearer(request.headers()) {
            Ok(text) => tokens
                .caller(text)
                .ok_or_else(|| Problem::new(Kind::Unauthenticated, "the token is not known, or was revoked")),
            Err(problem) => Err(problem),
        },
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |detail: &str| Problem::new(Kind::Unauthenticated, detail);
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| refused("the request has no token; send Authorization: Bearer and the token"))?;
    let text = value.to_str().map_err(|_| refused("the token is not text"))?;
    text.strip_prefix("Bearer ")
        .map(str::trim)
        .ok_or_else(|| refused("found another scheme than Bearer in Authorization"))
}

/// Without tokens, only what reaches a loopback name by that name, and no web page of another origin.
fn local(headers: &HeaderMap, target: Option<&str>) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"))
    };
    let host = target.or(text(header::HOST)).unwrap_or_default();
    let refused = |detail: String| Err(Problem::new(Kind::ForeignHost, detail));
    if !is_loopback(name_of(host)) {
        return refused(format!(
            "found the host {host:?}, expected a loopback name such as 127.0.0.1 or localhost"
        ));
    }
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if origin.split_once("://").is_some_and(|(_, authority)| authority == host) => Ok(()),
        Some(origin) => refused(format!(
            "found a request of the web page {origin:?}, expected none of another origin"
        )),
    }
}

/// Without the port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(name: &str) -> bool {
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        local(&headers, None).is_ok()
    }

    #[test]
    fn only_loopback_names_are_answered() {
        for host in ["127.0.0.1:8470", "localhost", "LOCALHOST:1", "[::1]:8470", "127.1.2.3"] {
            assert!(of(host, None), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:8470",
            "10.0.0.1",
            "localhost.evil.example",
            "",
            "[fe80::1]",
        ] {
            assert!(!of(host, None), "{host}");
        }
    }

    #[test]
    fn a_web_page_of_another_origin_is_not_answered() {
        assert!(of("127.0.0.1:8470", Some("http://127.0.0.1:8470")));
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:3000",
            "http://localhost:8470",
            "null",
        ] {
            assert!(!of("127.0.0.1:8470", Some(origin)), "{origin}");
        }
    }
}
