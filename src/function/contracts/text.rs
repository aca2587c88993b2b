//! JSON objects, written member by member.

use crate::delivery::record::Record;
use crate::json::{push_base64, push_string};

/// An object that is being written.
pub(super) struct Object<'o> {
    pub(super) out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        Object { out, is_empty: true }
    }

    /// A member whose value is written to what comes back.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        push_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        push_string(self.member(name), text);
    }

    pub(super) fn number(&mut self, name: &str, number: impl itoa::Integer) {
        push_number(self.member(name), number);
    }

    /// Bytes in base64, or null.
    pub(super) fn base64(&mut self, name: &str, bytes: Option<&[u8]>) {
        let out = self.member(name);
        match bytes {
            Some(bytes) => push_base64(out, bytes),
            None => out.extend_from_slice(b"null"),
        }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes an array.
pub(super) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

pub(super) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A record's time as RFC 3339 with milliseconds, if it has one.
pub(super) fn rfc3339(record: &Record) -> Option<String> {
    let has_time = record.timestamp_ms >= 0;
    let time = jiff::Timestamp::from_millisecond(record.timestamp_ms)
        .ok()
        .filter(|_| has_time)?;
    Some(format!("{time:.3}"))
}
