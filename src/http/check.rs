//! What a person may say of a request.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

/// Checks that a function or HTTP sink can be called at `url`.
///
/// # Errors
/// What was found and what was expected.
pub fn check_url(url: &Uri) -> Result<(), String> {
    match url.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(format!("the URL's scheme is {other}, expected http or https")),
        None => return Err("the URL has no scheme, expected http://… or https://…".to_owned()),
    }
    match url.authority() {
        None => Err("the URL has no host".to_owned()),
        Some(authority) if authority.as_str().contains('@') => {
            Err("the URL holds a user or password, which are not sent; expected them in auth".to_owned())
        }
        Some(_) => Ok(()),
    }
}

/// Checks a header that a user sets.
///
/// # Errors
/// What was found and what was expected; values are not shown.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is not the name of a header: expected letters, digits and dashes"))?;
    if is_ours(&parsed) {
        return Err(format!("the header {name} is set by fnbridge and can't be set here"));
    }
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of the header {name} has characters that can't be sent"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Headers that say what a call is or how it is sent.
fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 9] = [
        "connection",
        "content-length",
        "content-type",
        "expect",
        "idempotency-key",
        "te",
        "traceparent",
        "transfer-encoding",
        "upgrade",
    ];
    OURS.contains(&name.as_str()) || name.as_str().starts_with("fnbridge-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_has_a_host_and_holds_no_password() {
        let checked = |url: &str| check_url(&url.parse().unwrap());
        assert_eq!(checked("https://fn.example.com/enrich?a=b"), Ok(()));
        assert_eq!(checked("http://[::1]:8080/"), Ok(()));
        for wrong in ["ftp://example.com/", "/enrich", "http://user:password@example.com/"] {
            let reason = checked(wrong).unwrap_err();
            assert!(!reason.contains("password@"), "{reason}");
        }
    }

    #[test]
    fn headers_that_fnbridge_sets_are_not_set_twice() {
        assert!(check_header("x-team", "payments").is_ok());
        assert!(check_header("Authorization", "Bearer t").is_ok());
        for ours in [
            "Idempotency-Key",
            "fnbridge-attempt",
            "content-length",
            "traceparent",
            "Content-Type",
        ] {
            assert!(
                check_header(ours, "1").unwrap_err().contains("set by fnbridge"),
                "{ours}"
            );
        }
        assert!(check_header("x team", "1").is_err());
        let reason = check_header("x-secret", "hidden\nvalue").unwrap_err();
        assert!(!reason.contains("hidden"), "{reason}");
    }
}
