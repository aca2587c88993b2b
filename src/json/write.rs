//! Writing JSON text into a buffer.

use std::collections::HashMap;

use base64::engine::general_purpose::STANDARD;
use base64::{Engine, encoded_len};

use super::format::Format;
use crate::delivery::record::Header;

/// Past this many headers, repeated names are looked up instead of searched for.
const SEARCHED_HEADERS: usize = 16;

/// Writes `text` as a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// Writes `bytes` as a JSON string in base64.
pub fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + encoded_len(bytes.len(), true).unwrap_or(0), 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// Writes the member `name` for `bytes` of a format: null, JSON as it is, a string, or `name` with `_base64` behind it.
/// Without a format, and where bytes are not what they are said to be, text where it is UTF-8, else base64. JSON has to
/// be checked before.
pub fn push_named(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>, format: Option<Format>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    let Some(bytes) = bytes else {
        out.extend_from_slice(b"\":null");
        return;
    };
    let text = match format {
        Some(Format::Json) => {
            out.extend_from_slice(b"\":");
            out.extend_from_slice(bytes);
            return;
        }
        Some(Format::Bytes) => None,
        Some(Format::String) | None => std::str::from_utf8(bytes).ok(),
    };
    match text {
        Some(text) => {
            out.extend_from_slice(b"\":");
            push_string(out, text);
        }
        None => {
            out.extend_from_slice(b"_base64\":");
            push_base64(out, bytes);
        }
    }
}

/// Writes headers as one JSON object, names in the order of their first occurrence. A value that is not UTF-8 is
/// `{"base64":"…"}`, a repeated name has an array of its values in order, null is null.
pub fn push_headers(out: &mut Vec<u8>, headers: &[Header]) {
    out.push(b'{');
    if headers.len() > SEARCHED_HEADERS {
        push_many_headers(out, headers);
    } else {
        for (i, header) in headers.iter().enumerate() {
            if !headers[..i].iter().any(|before| before.name == header.name) {
                push_header(out, headers[i..].iter().filter(|other| other.name == header.name));
            }
        }
    }
    out.push(b'}');
}

fn push_many_headers(out: &mut Vec<u8>, headers: &[Header]) {
    let mut order: Vec<Vec<&Header>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for header in headers {
        let place = *places.entry(header.name.as_str()).or_insert_with(|| {
            order.push(Vec::new());
            order.len() - 1
        });
        order[place].push(header);
    }
    for same_name in order {
        push_header(out, same_name.into_iter());
    }
}

/// One name with all its values.
fn push_header<'a>(out: &mut Vec<u8>, mut same_name: impl Iterator<Item = &'a Header>) {
    let Some(first) = same_name.next() else { return };
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    push_string(out, &first.name);
    out.push(b':');
    let Some(second) = same_name.next() else {
        return push_header_value(out, first);
    };
    out.push(b'[');
    push_header_value(out, first);
    for header in std::iter::once(second).chain(same_name) {
        out.push(b',');
        push_header_value(out, header);
    }
    out.push(b']');
}

fn push_header_value(out: &mut Vec<u8>, header: &Header) {
    let Some(bytes) = &header.value else {
        return out.extend_from_slice(b"null");
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => push_string(out, text),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":");
            push_base64(out, bytes);
            out.push(b'}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn header(name: &str, value: Option<&'static [u8]>) -> Header {
        Header {
            name: name.to_owned(),
            value: value.map(bytes::Bytes::from_static),
        }
    }

    #[test]
    fn bytes_stand_as_their_format_says() {
        type Row = (Option<&'static [u8]>, Option<Format>, &'static str);
        let table: [Row; 10] = [
            (None, Some(Format::Json), r#""value":null"#),
            (None, Some(Format::Bytes), r#""value":null"#),
            (None, None, r#""value":null"#),
            (Some(b"{\"a\": 1 }"), Some(Format::Json), r#""value":{"a": 1 }"#),
            (Some(b"a\"\n"), Some(Format::String), r#""value":"a\"\n""#),
            (Some(b""), Some(Format::String), r#""value":"""#),
            (Some(b"abc"), Some(Format::Bytes), r#""value_base64":"YWJj""#),
            (Some(b""), Some(Format::Bytes), r#""value_base64":"""#),
            (Some(b"k1"), None, r#""value":"k1""#),
            (Some(b"\xff"), None, r#""value_base64":"/w==""#),
        ];
        for (bytes, format, text) in table {
            assert_eq!(written(|out| push_named(out, "value", bytes, format)), text);
        }
    }

    #[test]
    fn headers_are_an_object_with_arrays_for_repeated_names() {
        let headers = [
            header("h", Some(b"v")),
            header("r", Some(b"1")),
            header("n", None),
            header("r", Some(b"\xff")),
            header("r", None),
        ];
        let text = r#"{"h":"v","r":["1",{"base64":"/w=="},null],"n":null}"#;
        assert_eq!(written(|out| push_headers(out, &headers)), text);
        assert_eq!(written(|out| push_headers(out, &[])), "{}");
    }

    #[test]
    fn many_headers_read_the_same_as_few() {
        let mut headers: Vec<Header> = (0..SEARCHED_HEADERS)
            .map(|i| header(&format!("h{i}"), Some(b"v")))
            .collect();
        let few = written(|out| push_headers(out, &headers));
        headers.push(header("h0", Some(b"w")));
        let many = written(|out| push_headers(out, &headers));
        assert_eq!(many, few.replace(r#""h0":"v""#, r#""h0":["v","w"]"#));
    }
}
