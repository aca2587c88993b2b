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

/// The reason with `#` for each word that holds a digit or an `@`, and for each list of such words, and `"…"` for each
/// quoted value.
fn normalised(reason: &str) -> String {
    let mut out = String::with_capacity(reason.len());
    let mut rest = reason;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = quoted(rest, in_word) {
            out.push_str("\"…\"");
            rest = behind;
            in_word = false;
            continue;
        }
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        in_word = word > 0;
        if !in_word {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (text, behind) = rest.split_at(word);
        match text.contains(|c: char| c.is_ascii_digit() || c == '@') {
            true => push_id(&mut out),
            false => out.push_str(text),
        }
        rest = behind;
    }
    out
}

/// What stands behind a quoted value, where the text begins with one. An apostrophe within a word quotes nothing.
fn quoted(text: &str, in_word: bool) -> Option<&str> {
    let first = text.chars().next()?;
    let end = match first {
        '\'' if in_word => return None,
        '"' | '\'' | '`' => first,
        '“' => '”',
        _ => return None,
    };
    let inside = &text[first.len_utf8()..];
    inside.find(end).map(|at| &inside[at + end.len_utf8()..])
}

/// `1,2, 3` is one list, however long.
fn push_id(out: &mut String) {
    let before = out.trim_end_matches([',', ' ']).len();
    if out[..before].ends_with('#') {
        out.truncate(before);
    } else {
        out.push('#');
    }
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
            ["no such users: 1, 2, 3", "no such users: 17"],
            ["1,234.50 is too much", "12 is too much"],
            ["bob@example.com is unknown", "eve@example.org is unknown"],
            ["can't find 'Bob' here", "can't find 'Eve' here"],
            ["“bolts” are sold out", "“nuts” are sold out"],
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
    fn an_apostrophe_does_not_swallow_the_words_between_two() {
        let of = |reason| fingerprint("function", None, reason);
        assert_ne!(of("can't read, won't write"), of("can't delete, won't write"));
        assert_eq!(normalised("it's 'a' 'b"), "it's \"…\" 'b");
    }

    #[test]
    fn any_text_has_a_fingerprint() {
        for reason in ["", "\"", "“", "'é", "#", "1,", ", 1 2", "é1é\"é\"é"] {
            assert_eq!(fingerprint("function", None, reason).len(), 16, "{reason}");
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
