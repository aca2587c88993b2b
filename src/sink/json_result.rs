//! A result as JSON text, for sinks that speak it.

use crate::delivery::record::{Output, Record};
use crate::json::{Format, check, push_base64, push_headers, push_named, push_string};

/// Writes `{"id":"<record>#<index>","key":…,"value":…,"headers":{…}}` on one line. A value that is JSON stands as it is,
/// but for line breaks, which JSON only has between its tokens; another value is `value_base64`.
pub(super) fn push(out: &mut Vec<u8>, record: &Record, index: usize, output: &Output) {
    out.extend_from_slice(b"{\"id\":");
    push_string(out, &format!("{}#{index}", record.id()));
    out.push(b',');
    push_named(out, "key", output.key.as_deref(), None);
    out.push(b',');
    match &output.value {
        Some(value) if check(value).is_err() => {
            out.extend_from_slice(b"\"value_base64\":");
            push_base64(out, value);
        }
        value => {
            let start = out.len();
            push_named(out, "value", value.as_deref(), Some(Format::Json));
            one_line(out, start);
        }
    }
    out.extend_from_slice(b",\"headers\":");
    push_headers(out, &output.headers);
    out.push(b'}');
}

/// Text that spans lines is written anew without them.
fn one_line(out: &mut Vec<u8>, start: usize) {
    if !out[start..].iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return;
    }
    let (mut in_string, mut escaped) = (false, false);
    let kept: Vec<u8> = out[start..]
        .iter()
        .copied()
        .filter(|byte| {
            let space = !in_string && matches!(byte, b'\n' | b'\r' | b' ' | b'\t');
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = !in_string,
                _ => {}
            }
            !space
        })
        .collect();
    out.truncate(start);
    out.extend_from_slice(&kept);
}
