//! What the contracts `json` and `raw` put on the wire, and what a Kafka sink stores.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde::Deserialize;
use serde_json::value::RawValue;

pub struct Record {
    offset: i64,
    timestamp_ms: i64,
    key: Vec<u8>,
    value: Bytes,
}

impl Record {
    pub fn of(message: &BorrowedMessage<'_>) -> Record {
        Record {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap(),
            key: message.key().unwrap().to_vec(),
            value: Bytes::copy_from_slice(message.payload().unwrap()),
        }
    }
}

#[derive(Clone)]
pub struct Wire {
    source: String,
    sink: String,
    url: String,
}

pub struct Call<'a> {
    wire: &'a Wire,
    place: String,
    id: String,
    traceparent: String,
    batch: Vec<Record>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    records: Vec<Accepted<'a>>,
}

#[derive(Deserialize)]
struct Accepted<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

impl Wire {
    pub fn new(source: &str, sink: &str, url: &str) -> Wire {
        let [source, sink, url] = [source, sink, url].map(str::to_owned);
        Wire { source, sink, url }
    }

    pub fn call(&self, partition: usize, batch: Vec<Record>) -> Call<'_> {
        let place = format!("{}/{partition}", self.source);
        let id = match &*batch {
            [one] => format!("{place}/{}", one.offset),
            [first, .., last] => format!("{place}/{}-{}", first.offset, last.offset),
            [] => unreachable!("a batch holds a record"),
        };
        let traceparent = format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..));
        Call {
            wire: self,
            place,
            id,
            traceparent,
            batch,
        }
    }
}

impl Call<'_> {
    pub fn next(&self) -> i64 {
        self.batch[self.batch.len() - 1].offset + 1
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        let request = Request::post(&self.wire.url)
            .header("user-agent", concat!("fnbridge/", env!("CARGO_PKG_VERSION")))
            .header("fnbridge-pipeline", "bench")
            .header("idempotency-key", format!("bench/{}", self.id))
            .header("fnbridge-attempt", 1)
            .header("traceparent", &self.traceparent);
        let request = match &*self.batch {
            [record] => request
                .header("content-type", "application/octet-stream")
                .header("fnbridge-record", &self.id)
                .header("fnbridge-key", STANDARD.encode(&record.key))
                .body(record.value.clone().into()),
            _ => request
                .header("content-type", "application/json")
                .body(self.json().into()),
        };
        request.unwrap()
    }

    fn json(&self) -> String {
        let (topic, place) = (&self.wire.source, &self.place);
        let (_, partition) = place.rsplit_once('/').unwrap();
        let mut out = String::with_capacity(self.batch.len() * 1250);
        write!(out, "{{\"pipeline\":\"bench\",\"batch\":\"{}\",\"records\":[", self.id).unwrap();
        for (i, record) in self.batch.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let (key, value) = (std::str::from_utf8(&record.key), std::str::from_utf8(&record.value));
            write!(
                out,
                "{comma}{{\"id\":\"{place}/{offset}\",\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{offset},\
                 \"timestamp\":{},\"key\":\"{}\",\"value\":{},\"headers\":{{}},\"attempt\":1}}",
                record.timestamp_ms,
                key.unwrap(),
                value.unwrap(),
                offset = record.offset,
            )
            .unwrap();
        }
        out.push_str("]}");
        out
    }

    /// The function's results, ready to be produced. Each carries `opaque`.
    pub fn results<'a, T: Clone + rdkafka::util::IntoOpaque>(
        &'a self,
        answer: &'a [u8],
        opaque: &'a T,
    ) -> impl Iterator<Item = BaseRecord<'a, [u8], [u8], T>> {
        let values: Vec<&[u8]> = match self.batch.len() {
            1 => vec![answer],
            _ => {
                let answer: Answer<'_> = serde_json::from_slice(answer).unwrap();
                answer.records.iter().map(|one| one.value.get().as_bytes()).collect()
            }
        };
        assert_eq!(values.len(), self.batch.len());
        self.batch.iter().zip(values).map(|(record, value)| {
            let source = format!("{}/{}#0", self.place, record.offset);
            let headers = [("traceparent", &self.traceparent), ("fnbridge.source", &source)]
                .into_iter()
                .map(|(key, value)| Header {
                    key,
                    value: Some(value),
                })
                .fold(OwnedHeaders::new_with_capacity(2), OwnedHeaders::insert);
            BaseRecord::with_opaque_to(&self.wire.sink, opaque.clone())
                .key(&*record.key)
                .payload(value)
                .headers(headers)
                .timestamp(record.timestamp_ms)
        })
    }
}
