//! Whether bytes are JSON, without building anything of them.

use serde::de::IgnoredAny;

/// Parsers of functions and filters go about this deep.
const MAX_DEPTH: usize = 1000;

/// Checks that `bytes` are one JSON value in UTF-8, nested at most 1000 deep, and gives them back as text.
///
/// # Errors
/// What stands against it and at which byte, without any of the bytes themselves.
pub fn check(bytes: &[u8]) -> Result<&str, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("is not UTF-8 at byte {}", e.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("is not JSON {}", explain(text, &error)))?;
    if text.len() > 2 * MAX_DEPTH && brackets(text) > MAX_DEPTH && deeper_than(text, MAX_DEPTH) {
        return Err(format!("is nested more than {MAX_DEPTH} levels deep"));
    }
    Ok(text)
}

/// What serde_json found wrong in `text`, and at which byte, without any of the text itself.
pub fn explain(text: &str, error: &serde_json::Error) -> String {
    let line_starts = text.split_inclusive('\n').map(str::len);
    let before: usize = line_starts.take(error.line().saturating_sub(1)).sum();
    let at = match error.is_eof() {
        true => text.len(),
        false => (before + error.column()).saturating_sub(1).min(text.len()),
    };
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
    let what = without_data(said);
    format!("at byte {at} of {}: {what}", text.len())
}

/// serde shows the value that is of the wrong type; its kind is enough.
fn without_data(said: &str) -> String {
    let Some(found) = said
        .strip_prefix("invalid type: ")
        .or(said.strip_prefix("invalid value: "))
    else {
        return said.to_owned();
    };
    let kind = found.split(['`', '"', ',']).next().unwrap_or_default().trim();
    let expected = found
        .rsplit_once(", expected ")
        .map_or("something else", |(_, expected)| expected);
    format!("found {kind}, expected {expected}")
}

/// A count that costs next to nothing and rules out nearly everything.
fn brackets(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count()
}

/// How deep valid JSON goes is the most brackets that are open at once outside of strings.
fn deeper_than(text: &str, limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_given_back_as_it_is() {
        for json in ["null", " {\"a\":[1,2.5e3,\"\\u00e9\"]}\n", "\"\"", "0", "[[[]]]"] {
            assert_eq!(check(json.as_bytes()), Ok(json));
        }
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place_and_never_shown() {
        let table: [(&[u8], &str); 9] = [
            (b"", "is empty"),
            (b"secret", "is not JSON at byte 0 of 6: expected value"),
            (b"{\"a\":1", "is not JSON at byte 6 of 6: EOF while parsing an object"),
            (b"1 2", "is not JSON at byte 2 of 3: trailing characters"),
            (b"{\n\"a\":\n  x}", "is not JSON at byte 9 of 11: expected value"),
            (b"\"a\xff\"", "is not UTF-8 at byte 2"),
            (b"01", "is not JSON at byte 1 of 2: invalid number"),
            (b"[1,]", "is not JSON at byte 3 of 4: expected value"),
            (b"NaN", "is not JSON at byte 0 of 3: expected value"),
        ];
        for (bytes, reason) in table {
            assert_eq!(check(bytes), Err(reason.to_owned()), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_by_its_kind_and_never_shown() {
        let text = r#"{"a": "secret, expected"}"#;
        let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(text).unwrap_err();
        assert_eq!(explain(text, &error), "at byte 23 of 25: found string, expected u8");
    }

    #[test]
    fn a_bomb_of_brackets_is_refused_and_brackets_in_strings_are_not() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(1000).as_bytes()).is_ok());
        let deep = nested(1001);
        assert_eq!(
            check(deep.as_bytes()),
            Err("is nested more than 1000 levels deep".to_owned())
        );
        assert!(check(nested(200_000).as_bytes()).is_err());
        let text = format!("\"{}\\\"{}\"", "[".repeat(5000), "{".repeat(5000));
        assert!(check(text.as_bytes()).is_ok());
    }
}
