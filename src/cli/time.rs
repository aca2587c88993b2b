//! Times as people type them.

use jiff::Timestamp;

/// An RFC 3339 time, or so long ago.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: Result<jiff::SignedDuration, _> = text.parse();
    let time = ago.ok().and_then(|ago| Timestamp::now().checked_sub(ago).ok());
    time.ok_or_else(|| "expected a time such as 2026-01-31T12:00:00Z, or so long ago, such as 90m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_stated_or_counted_back_from_now() {
        assert_eq!(
            time("2026-01-31T12:00:00Z").unwrap().to_string(),
            "2026-01-31T12:00:00Z"
        );
        let ago = time("2h").unwrap().duration_until(Timestamp::now());
        assert!((7200..7260).contains(&ago.as_secs()), "{ago}");
        assert!(time("yesterday").is_err());
    }
}
