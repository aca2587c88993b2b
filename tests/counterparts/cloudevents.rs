//! Events that the CloudEvents SDKs read in each mode, and events that they answer with. Each server answers with events that
//! hold what it read, so that one look at the results shows both ways.

use fnbridge::delivery::record::{Output, Record};
use fnbridge::function::{CloudEventsMode, CloudEventsSettings, ContractKind};
use serde_json::{Value, json};

use crate::calls::{call, json, record, results, settings, with_header};
use crate::servers::Host;
use crate::{Test, test};

/// What an SDK does in its own way.
#[derive(Clone, Copy)]
struct Sdk {
    language: &'static str,
    host: Host,
    /// It has the batched mode.
    batches: bool,
    /// It decodes percent-encoded attributes of the binary mode, and encodes its own, as the HTTP binding says.
    decodes: bool,
}

const SDKS: [Sdk; 4] = [
    Sdk {
        language: "python",
        host: Host::Python,
        batches: false,
        decodes: true,
    },
    Sdk {
        language: "javascript",
        host: Host::JavaScript,
        batches: true,
        decodes: false,
    },
    Sdk {
        language: "go",
        host: Host::Go,
        batches: true,
        decodes: false,
    },
    Sdk {
        language: "java",
        host: Host::Java,
        batches: true,
        decodes: false,
    },
];

/// One a language and mode.
pub fn tests() -> Vec<Test> {
    let modes = [
        ("binary", CloudEventsMode::Binary),
        ("structured", CloudEventsMode::Structured),
        ("batch", CloudEventsMode::Batch),
    ];
    let each = SDKS
        .into_iter()
        .flat_map(|sdk| modes.map(|(name, mode)| (sdk, name, mode)));
    each.filter(|(sdk, _, mode)| sdk.batches || *mode != CloudEventsMode::Batch)
        .map(|(sdk, name, mode)| {
            test(format!("cloudevents::{}::{name}", sdk.language), move || {
                speaks(sdk, mode)
            })
        })
        .collect()
}

/// Every record in this mode, and every answer that the SDK can give to it.
fn speaks(sdk: Sdk, mode: CloudEventsMode) {
    if mode == CloudEventsMode::Batch {
        let events = events();
        let records = events.iter().map(|(record, ..)| record.clone()).collect();
        let answered = results(call(function(sdk, mode, "batch"), records));
        assert_eq!(answered.len(), events.len());
        for (results, event) in answered.iter().zip(&events) {
            tells(sdk, mode, event, results);
        }
        return;
    }
    for answer in ["binary", "structured", "batch"] {
        if answer == "batch" && !sdk.batches {
            continue;
        }
        for event in events() {
            let answered = results(call(function(sdk, mode, answer), vec![event.0.clone()]));
            tells(sdk, mode, &event, &answered[0]);
        }
    }
}

fn function(sdk: Sdk, mode: CloudEventsMode, answer: &str) -> fnbridge::function::FunctionSettings {
    let url = sdk.host.server().url(&format!("/events?answer={answer}"));
    settings(url, contract(mode))
}

/// The contract of this mode.
pub fn contract(mode: CloudEventsMode) -> ContractKind {
    ContractKind::CloudEvents(CloudEventsSettings {
        mode,
        source: "/shop".to_owned(),
        kind: "order.raw".to_owned(),
    })
}

/// The result is the SDK's event, and holds what the SDK read.
fn tells(sdk: Sdk, mode: CloudEventsMode, (record, attributes, data): &Event, results: &[Output]) {
    let [result] = results else {
        panic!("{}: expected one result, found {results:?}", record.id())
    };
    let header = |name: &str| {
        let found = result.headers.iter().find(|header| header.name == name);
        found
            .and_then(|header| header.value.as_deref())
            .map(String::from_utf8_lossy)
    };
    assert_eq!(header("ce_id").as_deref(), attributes["id"].as_str());
    assert_eq!(header("ce_type").as_deref(), Some("counterpart.read"));
    assert_eq!(
        header("ce_source").as_deref(),
        Some(&*format!("/counterparts/{}", sdk.language))
    );
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let key = if sdk.decodes { "p \"ë\" 50%" } else { "p 50%" };
    assert_eq!(result.key.as_deref(), Some(key.as_bytes()));

    let mut read = json(result);
    let read_attributes = read["attributes"].as_object_mut().unwrap();
    if let Some(time) = read_attributes.get_mut("time") {
        let at: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
        *time = json!(at.to_string());
    }
    let mut expected = attributes.clone();
    if mode == CloudEventsMode::Binary && !sdk.decodes {
        for name in ["key", "kafkaheadershop"] {
            if let Some(text) = expected.get_mut(name) {
                *text = json!(encoded(text.as_str().unwrap()));
            }
        }
    }
    assert_eq!(read["attributes"], expected, "{}", record.id());
    assert_eq!(read["data"], *data, "{}", record.id());
}

/// As the HTTP binding of CloudEvents writes an attribute's value.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b' ' | b'"' | b'%' | 0x7f.. => format!("%{byte:02X}"),
        plain => char::from(plain).to_string(),
    };
    text.bytes().map(encode).collect()
}

/// A record, and the attributes and data of its event.
type Event = (Record, Value, Value);

/// Records that are no events: JSON, text, bytes, nothing; and records that are, in both modes of Kafka.
pub fn events() -> Vec<Event> {
    let mut json_value = with_header(record(42, r#"{"amount":7,"name":"Zoë"}"#), "shop", "Zoë's 50% \"off\"");
    json_value.key = Some("k 1%".into());
    let mut tombstone = record(45, "");
    tombstone.value = None;
    let binary = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e-46"),
        ("ce_source", "/shop/orders"),
        ("ce_type", "order.made"),
        ("ce_time", "2025-11-24T17:00:00+01:00"),
        ("ce_comexampleextension1", "42"),
        ("content-type", "application/xml"),
    ];
    let binary = binary
        .into_iter()
        .fold(record(46, "<order/>"), |record, (name, value)| {
            with_header(record, name, value)
        });
    let structured = r#"{"specversion":"1.0","id":"e-47","source":"/shop/orders","type":"order.made","time":"2025-11-24T16:00:00Z","comexampleextension1":"v","datacontenttype":"application/json","data":{"n":1.5}}"#;
    let structured = with_header(
        record(47, structured),
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    );
    let mut all = vec![
        (
            json_value,
            wrapped(
                42,
                json!({"key": "k 1%", "kafkaheadershop": "Zoë's 50% \"off\"", "datacontenttype": "application/json"}),
            ),
            json!({"amount": 7, "name": "Zoë"}),
        ),
        (
            record(43, "not JSON"),
            wrapped(43, json!({"datacontenttype": "text/plain"})),
            json!("not JSON"),
        ),
        (
            record(44, &b"\xff\x00\x80"[..]),
            wrapped(44, json!({"datacontenttype": "application/octet-stream"})),
            json!({"base64": "/wCA"}),
        ),
        (tombstone, wrapped(45, json!({})), Value::Null),
    ];
    let of_shop = |id: &str, kind: &str, extension: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/shop/orders", "type": "order.made",
            "time": "2025-11-24T16:00:00Z", "datacontenttype": kind, "comexampleextension1": extension})
    };
    all.push((binary, of_shop("e-46", "application/xml", "42"), json!("<order/>")));
    all.push((structured, of_shop("e-47", "application/json", "v"), json!({"n": 1.5})));
    all
}

/// The attributes of a record that was no event.
fn wrapped(offset: i64, more: Value) -> Value {
    let mut attributes = json!({
        "specversion": "1.0",
        "id": format!("partition:3/offset:{offset}"),
        "source": "/shop#orders",
        "type": "order.raw",
        "subject": format!("partition:3#{offset}"),
        "time": "2025-11-24T16:00:00.123Z",
    });
    let more = more.as_object().unwrap().clone();
    attributes.as_object_mut().unwrap().extend(more);
    attributes
}
