//! Groups the same failure: what differs from record to record does not split a group.

use sha2::{Digest, Sha256};

/// A short name for a failure: 16 hexadecimal digits of the SHA-256 of stage, status, and the reason without its numbers,
/// ids and quoted values.
pub fn fingerprint(stage: &str, status: Option<u16>, reason: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(stage.as_bytes());
    digest.update([0]);
    digest.update(status.map_or(String::new(), |status| status.to_string()).as_bytes());
    digest.update([0]);
    digest.update(normalised(reason).as_bytes());
    digest
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The reason with `#` for each word that holds a digit and `"…"` for each quoted value.
fn normalised(reason: &str) -> String {
    let mut out = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        if matches!(first, '"' | '\'' | '`')
            && let Some(end) = rest[1..].find(first)
        {
            out.push_str("\"…\"");
            rest = &rest[end + 2..];
            continue;
        }
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if word == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (text, behind) = rest.split_at(word);
        match text.contains(|c: char| c.is_ascii_digit()) {
            true => out.push('#'),
            false => out.push_str(text),
        }
        rest = behind;
    }
    out
}

/// Ids hang together by these.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.' | ':' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ids_and_quoted_values_do_not_split_a_group() {
        let groups = [
            ["no customer 4711", "no customer 12"],
            ["unknown sku \"A-1\" in cart", "unknown sku \"bolts\" in cart"],
            ["id 8e215af8-1c2d-4f6a is taken", "id 00ffeedd-1 is taken"],
            ["orders/3/42 has no verdict", "orders/11/7 has no verdict"],
            ["field `amount` is missing", "field `price` is missing"],
        ];
        for [one, other] in groups {
            assert_eq!(
                fingerprint("function", None, one),
                fingerprint("function", None, other),
                "{one}"
            );
        }
    }

    #[test]
    fn stage_status_and_words_do() {
        let base = fingerprint("function", Some(500), "no customer");
        assert_eq!(base.len(), 16);
        assert_ne!(base, fingerprint("sink", Some(500), "no customer"));
        assert_ne!(base, fingerprint("function", Some(502), "no customer"));
        assert_ne!(base, fingerprint("function", Some(500), "no order"));
    }
}
