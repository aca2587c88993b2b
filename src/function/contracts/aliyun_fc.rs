//! `aliyun_fc`: lists of events as Alibaba Cloud gives them to functions that are attached to Kafka, to a function's HTTP
//! trigger, to InvokeFunction of Function Compute 3.0, or to a custom runtime's `/invoke`.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;

use super::text::{Object, push_list, rfc3339};
use super::{Batch, Contract, Encoded, Replies, header, in_offset_order, room};
use crate::delivery::answer::Verdict;
use crate::delivery::record::{Header, Output, Record};
use crate::function::reply::{inherited, slice, text_of};
use crate::function::settings::{AliyunEventFormat, AliyunFcSettings};
use crate::json::{Format, push_base64, push_string};

/// Where a custom runtime says that the function failed.
const STATUS: &str = "x-fc-status";
const CONTROL_PATH: HeaderName = HeaderName::from_static("x-fc-control-path");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-fc-request-id");
const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-fc-invocation-type");
const LOG_TYPE: HeaderName = HeaderName::from_static("x-fc-log-type");
/// Names and numbers of a record take about this much.
const RECORD_OVERHEAD_BYTES: usize = 500;

#[derive(Debug)]
pub(super) struct AliyunFc {
    settings: AliyunFcSettings,
    place: Place,
    replies: Replies,
}

/// What the URL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Trigger,
    InvokeFunction,
    CustomRuntime,
}

impl Place {
    fn of(url: &Uri) -> Place {
        match url.path() {
            "/invoke" => Place::CustomRuntime,
            path if path.starts_with("/2023-03-30/functions/") && path.ends_with("/invocations") => {
                Place::InvokeFunction
            }
            _ => Place::Trigger,
        }
    }
}

impl AliyunFc {
    pub(super) fn new(settings: AliyunFcSettings, url: &Uri, replies: Replies) -> AliyunFc {
        AliyunFc {
            settings,
            place: Place::of(url),
            replies,
        }
    }

    fn push_element(&self, out: &mut Vec<u8>, record: &Record) {
        match self.settings.format {
            AliyunEventFormat::Objects => self.push_event(out, record),
            AliyunEventFormat::RawData => self.push_data(out, record),
            AliyunEventFormat::Strings => {
                let mut event = Vec::with_capacity(record.payload_bytes() + RECORD_OVERHEAD_BYTES);
                self.push_event(&mut event, record);
                // It was written from text.
                push_string(out, &String::from_utf8_lossy(&event));
            }
        }
    }

    fn push_event(&self, out: &mut Vec<u8>, record: &Record) {
        let mut event = Object::begin(out);
        event.text("specversion", "1.0");
        event.text("id", &event_id(record));
        event.text("source", "acs:alikafka");
        event.text("type", "alikafka:Topic:Message");
        let (instance, topic) = (&self.settings.instance, &record.source.topic);
        event.text("subject", &format!("acs:alikafka:{instance}:topic:{topic}"));
        event.text("datacontenttype", "application/json; charset=utf-8");
        if let Some(time) = rfc3339(record) {
            event.text("time", &time);
        }
        event.text("aliyunaccountid", &self.settings.account);
        self.push_data(event.member("data"), record);
        event.end();
    }

    fn push_data(&self, out: &mut Vec<u8>, record: &Record) {
        let formats = &self.replies.formats;
        let mut data = Object::begin(out);
        data.text("topic", &record.source.topic);
        data.number("partition", record.source.partition);
        data.number("offset", record.offset);
        data.number("timestamp", record.timestamp_ms);
        let mut headers = Object::begin(data.member("headers"));
        push_list(headers.member("headers"), &record.headers, push_header);
        headers.member("isReadOnly").extend_from_slice(b"false");
        headers.end();
        push_text(data.member("key"), record.key.as_deref(), formats.key);
        push_text(data.member("value"), record.value.as_deref(), Some(formats.value));
        data.end();
    }
}

impl Contract for AliyunFc {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let mut out = room(batch, RECORD_OVERHEAD_BYTES);
        push_list(&mut out, in_offset_order(batch), |out, record| {
            self.push_element(out, record);
        });
        let mut headers = HeaderMap::new();
        match self.place {
            Place::Trigger => {}
            Place::InvokeFunction => {
                headers.insert(INVOCATION_TYPE, HeaderValue::from_static("Sync"));
                headers.insert(LOG_TYPE, HeaderValue::from_static("None"));
            }
            Place::CustomRuntime => {
                headers.insert(CONTROL_PATH, HeaderValue::from_static("/invoke"));
                if let Ok(id) = HeaderValue::from_str(batch.id) {
                    headers.insert(REQUEST_ID, id);
                }
            }
        }
        Encoded {
            content_type: Some(HeaderValue::from_static("application/json")),
            headers,
            body: Bytes::from(out),
        }
    }

    fn function_error(&self, headers: &HeaderMap) -> Option<String> {
        let status = header(headers, STATUS).filter(|status| *status != "200")?;
        let status: String = status.chars().take(100).collect();
        Some(format!("the function failed: it answered with {STATUS}: {status}"))
    }

    fn decode(
        &self,
        _status: u16,
        headers: &HeaderMap,
        body: &Bytes,
        batch: &Batch<'_>,
    ) -> Result<Vec<Verdict>, String> {
        let reply = self.replies.to(batch);
        if let Some(judged) = reply.verdicts_if_any(body) {
            return judged;
        }
        if body.is_empty() || reply.is_for_nobody() || body.trim_ascii() == b"null" {
            return Ok(reply.accepted());
        }
        if is_html(headers, body) {
            return Err("its body looks like HTML, expected what the function returns".to_owned());
        }
        if body.trim_ascii_start().first() == Some(&b'[') {
            return reply.by_position(reply.elements(body)?, |element, record| Output {
                value: Some(element_bytes(body, element)),
                ..inherited(record, batch.traceparent)
            });
        }
        reply.by_position(vec![body.clone()], |value, record| Output {
            value: Some(value),
            ..inherited(record, batch.traceparent)
        })
    }
}

/// A record's id; where its offset named another record before, it says so.
fn event_id(record: &Record) -> String {
    match record.generation {
        0 => record.id().to_string(),
        generation => format!("{};g={generation}", record.id()),
    }
}

fn push_header(out: &mut Vec<u8>, header: &Header) {
    let mut object = Object::begin(out);
    object.text("key", &header.name);
    object.base64("value", header.value.as_deref());
    object.end();
}

/// Text as it is; bytes, where the pipeline says that they are bytes, in base64.
fn push_text(out: &mut Vec<u8>, bytes: Option<&[u8]>, format: Option<Format>) {
    match bytes {
        None => out.extend_from_slice(b"null"),
        Some(bytes) if format == Some(Format::Bytes) => push_base64(out, bytes),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => push_string(out, text),
            Err(_) => push_base64(out, bytes),
        },
    }
}

/// The text of a string, the JSON of anything else.
fn element_bytes(body: &Bytes, element: &RawValue) -> Bytes {
    match text_of(element) {
        Ok(Cow::Borrowed(text)) => body.slice_ref(text.as_bytes()),
        Ok(Cow::Owned(text)) => Bytes::from(text),
        Err(_) => slice(body, element),
    }
}

/// A page of a gateway passes for no result.
fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let said = header(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.trim_start().starts_with("text/html"));
    let begins = |with: &[u8]| {
        let body = body.trim_ascii_start();
        body.len() >= with.len() && body[..with.len()].eq_ignore_ascii_case(with)
    };
    said || begins(b"<!doctype html") || begins(b"<html")
}
