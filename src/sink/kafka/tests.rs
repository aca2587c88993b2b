//! The sink against an embedded broker: where results land, and as which bytes.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{KafkaSink, KafkaSinkSettings};
use crate::delivery::answer::Receipt;
use crate::delivery::event::Store;
use crate::kafka::embedded::{EmbeddedBroker, Port};
use crate::sink::Sink;
use crate::sink::testing::{output, record, store};

/// What Java's `Utils.murmur2` gives for these keys, from its own test.
const JAVA: [(&str, i32); 6] = [
    ("21", -973932308),
    ("foobar", -790332482),
    ("a-little-bit-long-string", -985981536),
    ("a-little-bit-longer-string", -1486304829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ("abc", 479470107),
];

fn settings(broker: &EmbeddedBroker, topic: &str) -> KafkaSinkSettings {
    KafkaSinkSettings {
        cluster: Arc::new(broker.cluster()),
        topic: topic.into(),
        client_id: "test".into(),
        window_bytes: 1 << 20,
        max_message_bytes: 4000,
        linger: Duration::ZERO,
    }
}

/// A record as it was read: partition, key, value, the names and values of its headers.
type Read = (i32, Option<String>, Option<String>, Vec<String>);

/// Reads `count` records of a topic, by partition and offset.
async fn read(broker: &EmbeddedBroker, topic: &'static str, partitions: i32, count: usize) -> Vec<Read> {
    let address = broker.address().to_string();
    let reading = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("group.id", "test")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Vec::new();
        while found.len() < count {
            let message = consumer
                .poll(Duration::from_secs(20))
                .expect("a record within 20 s")
                .unwrap();
            let headers = message.headers().map(|headers| {
                let header = |h: rdkafka::message::Header<'_, &[u8]>| {
                    format!("{}={}", h.key, h.value.map_or("null".into(), text))
                };
                headers.iter().map(header).collect()
            });
            let at = (message.partition(), message.offset());
            let read = (
                message.partition(),
                message.key().map(text),
                message.payload().map(text),
                headers.unwrap_or_default(),
            );
            found.push((at, read));
        }
        found.sort();
        found.into_iter().map(|(_, read)| read).collect()
    };
    tokio::task::spawn_blocking(reading).await.unwrap()
}

#[tokio::test]
async fn a_key_goes_where_java_puts_it() {
    let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
    broker.create_topic("out", 12).unwrap();
    let sink = KafkaSink::open(settings(&broker, "out")).unwrap();
    let outputs = JAVA.map(|(key, _)| output(Some(key), "1")).into();
    assert_eq!(
        sink.store(store(vec![(record(0, 1), outputs)])).await,
        [Receipt::Stored]
    );
    let found = read(&broker, "out", 12, JAVA.len()).await;
    for (key, hash) in JAVA {
        let partition = (hash & 0x7fff_ffff) % 12;
        assert!(
            found
                .iter()
                .any(|read| read.0 == partition && read.1.as_deref() == Some(key)),
            "{key}: {found:?}"
        );
    }
}

#[tokio::test]
async fn results_without_a_key_follow_their_source_and_every_result_names_it() {
    let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
    broker.create_topic("out", 4).unwrap();
    let sink = KafkaSink::open(settings(&broker, "out")).unwrap();
    let mut tombstone = output(None, "");
    tombstone.value = None;
    let items = vec![
        (record(7, 42), vec![output(None, " {\"a\": 1}\n"), tombstone]),
        (record(6, 43), vec![output(None, "2")]),
    ];
    assert_eq!(sink.store(store(items)).await, [Receipt::Stored, Receipt::Stored]);
    let source = |text: &str| vec![format!("fnbridge.source={text}")];
    let expected = [
        (2, None, Some("2".to_owned()), source("orders/6/43#0")),
        (3, None, Some(" {\"a\": 1}\n".to_owned()), source("orders/7/42#0")),
        (3, None, None, source("orders/7/42#1")),
    ];
    assert_eq!(read(&broker, "out", 4, 3).await, expected);
}

#[tokio::test]
async fn a_result_that_is_too_large_is_refused_and_nothing_is_stored_twice_or_out_of_order() {
    let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
    broker.create_topic("out", 1).unwrap();
    let sink = KafkaSink::open(settings(&broker, "out")).unwrap();
    let mut large = output(None, "");
    large.value = Some(vec![b'x'; 5000].into());
    let items = vec![
        (record(0, 1), vec![output(None, "1")]),
        (record(0, 2), vec![output(None, "2"), large, output(None, "3")]),
        (record(0, 3), vec![output(None, "4")]),
    ];
    let whole = store(items);
    let receipts = sink.store(whole.clone()).await;
    assert_eq!(receipts[0], Receipt::Stored);
    assert!(matches!(receipts[1], Receipt::Refused { index: 1, .. }), "{receipts:?}");
    assert!(matches!(receipts[2], Receipt::TryAgain(_)), "{receipts:?}");

    // As the task asks again: behind the refused result, and for what was not sent.
    let mut rest = Store {
        items: whole.items[1..].into(),
        ..whole
    };
    rest.items[0].from = 2;
    assert_eq!(sink.store(rest).await, [Receipt::Stored, Receipt::Stored]);
    let values: Vec<_> = read(&broker, "out", 1, 4)
        .await
        .into_iter()
        .filter_map(|read| read.2)
        .collect();
    assert_eq!(values, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_sink_says_how_its_cluster_is() {
    let broker = EmbeddedBroker::start(Port::Exactly(0)).await.unwrap();
    let sink = KafkaSink::open(settings(&broker, "out")).unwrap();
    assert_eq!(*sink.health().unwrap().borrow(), crate::kafka::Health::Fine);
}
