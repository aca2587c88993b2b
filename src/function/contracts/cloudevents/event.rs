//! One event: what it is, and its three shapes.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::value::RawValue;

use super::super::text::Object;
use super::is_json;
use crate::delivery::record::{Header, Output, Record};
use crate::function::reply::{base64_of, kind, members, slice, text_of, with_traceparent};
use crate::json::{check, push_base64, push_string};

/// An event with more than these is none.
const MAX_ATTRIBUTES: usize = 200;
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// What a header's value can't hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// An event. Attributes are text in all shapes but one, where they may also be numbers and booleans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// In the order in which they were found; `datacontenttype` is not among them.
    attributes: Vec<(String, String)>,
    content_type: Option<String>,
    /// `None`: it has no data.
    data: Option<Bytes>,
    /// The data are known to be JSON.
    is_json: bool,
}

impl Event {
    /// An event of parts that are known to be right.
    pub(super) fn of_parts(
        attributes: Vec<(String, String)>,
        content_type: Option<String>,
        data: Option<Bytes>,
        is_json: bool,
    ) -> Event {
        Event {
            attributes,
            content_type,
            data,
            is_json,
        }
    }

    /// An event of parts that others wrote.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn new(
        attributes: Vec<(String, String)>,
        content_type: Option<String>,
        data: Option<Bytes>,
        is_json: bool,
    ) -> Result<Event, String> {
        let event = Event::of_parts(attributes, content_type, data, is_json);
        if event.attributes.len() > MAX_ATTRIBUTES {
            return Err(format!("has more than {MAX_ATTRIBUTES} attributes"));
        }
        if let Some(missing) = REQUIRED
            .iter()
            .find(|name| event.attribute(name).is_none_or(str::is_empty))
        {
            return Err(format!("has no {missing}"));
        }
        match event.attribute("specversion") {
            Some(version) if version.starts_with("1.") => Ok(event),
            _ => Err("has a specversion that is not 1.0".to_owned()),
        }
    }

    /// A request or an answer in binary mode.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn of_http(headers: &HeaderMap, body: &Bytes) -> Result<Event, String> {
        let mut attributes = Vec::new();
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix("ce-") else {
                continue;
            };
            let value = percent_decode_str(value.to_str().unwrap_or_default()).decode_utf8();
            let value = value.map_err(|_| format!("has a ce-{name} that is not UTF-8"))?;
            attributes.push((checked_name(name)?, value.into_owned()));
        }
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let data = Some(body.clone()).filter(|body| !body.is_empty());
        Event::new(attributes, content_type.map(str::to_owned), data, false)
    }

    /// JSON in structured mode; `json` is a part of `body`.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn of_json(body: &Bytes, json: &RawValue) -> Result<Event, String> {
        let members = members(json).ok_or_else(|| format!("is {}, expected an object", kind(json)))?;
        let (mut attributes, mut content_type) = (Vec::new(), None);
        let (mut data, mut data_base64) = (None, None);
        for (name, value) in members {
            match (name.as_str(), value.get()) {
                (_, "null") => {}
                ("data", _) => data = Some(value),
                ("data_base64", _) => data_base64 = Some(value),
                ("datacontenttype", _) => content_type = Some(attribute_of(&name, value)?),
                _ => attributes.push((checked_name(&name)?, attribute_of(&name, value)?)),
            }
        }
        let holds_json = content_type.as_deref().is_none_or(is_json);
        let (data, is_json) = match (data, data_base64) {
            (None, None) => (None, false),
            (Some(_), Some(_)) => return Err("has both data and data_base64, expected one of them".to_owned()),
            (None, Some(encoded)) => {
                let decoded = base64_of(encoded).map_err(|found| format!("has {found} as its data_base64"))?;
                (Some(decoded), false)
            }
            (Some(data), None) => match text_of(data) {
                Ok(text) if !holds_json => (Some(text_in(body, text)), false),
                Ok(_) | Err(_) => (Some(slice(body, data)), true),
            },
        };
        if content_type.is_none() && is_json {
            content_type = Some("application/json".to_owned());
        }
        Event::new(attributes, content_type, data, is_json)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Binary mode: the headers of a request, without its content type.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.attributes.len());
        for (name, value) in &self.attributes {
            let value = Cow::from(utf8_percent_encode(value, ENCODED)).into_owned();
            let name = HeaderName::try_from(format!("ce-{name}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// The data's type, if it can be sent.
    pub(super) fn content_type(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.content_type.as_deref()?).ok()
    }

    pub(super) fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// Structured mode. Data that are not what their type says travel as the bytes that they are.
    pub(super) fn push_json(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        for (name, value) in &self.attributes {
            object.text(name, value);
        }
        if let Some(content_type) = &self.content_type {
            object.text("datacontenttype", content_type);
        }
        if let Some(data) = &self.data {
            let says_json = self.content_type.as_deref().is_none_or(is_json);
            match std::str::from_utf8(data) {
                Ok(json) if self.is_json || (says_json && check(data).is_ok()) => {
                    object.member("data").extend_from_slice(json.as_bytes());
                }
                Ok(text) if !says_json => push_string(object.member("data"), text),
                Ok(_) | Err(_) => push_base64(object.member("data_base64"), data),
            }
        }
        object.end();
    }

    /// The event as a record in binary mode: its key is its `partitionkey`, else the source's.
    pub(super) fn into_output(self, record: &Record, traceparent: Option<&Bytes>) -> Output {
        let key = self
            .attribute("partitionkey")
            .map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let mut headers = Vec::with_capacity(self.attributes.len() + 2);
        for (name, value) in self.attributes {
            headers.push(Header {
                name: format!("ce_{name}"),
                value: Some(Bytes::from(value)),
            });
        }
        if let Some(content_type) = self.content_type {
            headers.push(Header {
                name: CONTENT_TYPE.as_str().to_owned(),
                value: Some(Bytes::from(content_type)),
            });
        }
        Output {
            sink: None,
            key: key.or_else(|| record.key.clone()),
            value: self.data,
            headers: with_traceparent(headers, record, traceparent),
            timestamp_ms: record.timestamp_ms,
        }
    }
}

/// The name of an attribute, in lower case as all are.
pub(super) fn checked_name(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_name {
        true => Ok(name.to_ascii_lowercase()),
        false => {
            let name: String = name.chars().take(40).collect();
            Err(format!("has an attribute {name:?}, expected letters and digits"))
        }
    }
}

/// Text, a number or a boolean, as text.
fn attribute_of(name: &str, json: &RawValue) -> Result<String, String> {
    match (text_of(json), json.get().as_bytes().first()) {
        (Ok(text), _) => Ok(text.into_owned()),
        (Err(found), Some(b'{' | b'[' | b'"')) => Err(format!("has {found} as its {name}")),
        (Err(_), _) => Ok(json.get().to_owned()),
    }
}

fn text_in(body: &Bytes, text: Cow<'_, str>) -> Bytes {
    match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    }
}
