//! How long an answer asks to be left alone.

use std::time::{Duration, SystemTime};

use hyper::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::delivery::time::Millis;

/// However long `retry-after` says.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// `retry-after` in seconds or as a date, which is held against the answer's own `date` where it has one, so that clocks
/// need not agree. Anything else is as if it were not there.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Millis> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time.
        let wait = Duration::from_secs(said.parse().unwrap_or(u64::MAX));
        return Some(wait.min(MAX_RETRY_AFTER).into());
    }
    let until = httpdate::parse_http_date(said).ok()?;
    let date = headers
        .get(DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let wait = until.duration_since(date.unwrap_or(now)).unwrap_or_default();
    Some(wait.min(MAX_RETRY_AFTER).into())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::bad_bytes::bad_bytes;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nobody_asks_for_more_than_a_quarter_of_an_hour(
            said in bad_bytes("retry-after"), date in bad_bytes("retry-after"), now in 0..i64::from(i32::MAX),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, &said), (DATE, &date)] {
                headers.extend(HeaderValue::from_bytes(value).ok().map(|value| (name, value)));
            }
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
            let wait = retry_after(&headers, now);
            prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER.into()));
            let text = String::from_utf8_lossy(&said);
            if let Ok(seconds) = text.trim().parse::<u32>() && !text.contains('+') && headers.contains_key(RETRY_AFTER) {
                prop_assert_eq!(wait, Some(Millis::secs(u64::from(seconds).min(900))));
            }
        }
    }
}
