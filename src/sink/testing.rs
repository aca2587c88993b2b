//! Records and results for the tests of every sink.

use std::sync::Arc;

use crate::delivery::event::{Store, StoreId, StoreItem};
use crate::delivery::record::{Output, Record, SinkId, TopicPartition};

pub(super) fn record(partition: i32, offset: i64) -> Record {
    let source = TopicPartition {
        topic: "orders".into(),
        partition,
    };
    Record {
        source,
        offset,
        generation: 0,
        timestamp_ms: 1,
        key: None,
        value: Some("{}".into()),
        headers: Vec::new(),
    }
}

pub(super) fn output(key: Option<&'static str>, value: &'static str) -> Output {
    let (key, value) = (key.map(Into::into), Some(value.into()));
    Output {
        sink: None,
        key,
        value,
        headers: Vec::new(),
        timestamp_ms: 1,
    }
}

pub(super) fn store(items: Vec<(Record, Vec<Output>)>) -> Store {
    let item = |(record, outputs)| StoreItem {
        record: Arc::new(record),
        outputs: Arc::new(outputs),
        from: 0,
        without: Vec::new(),
    };
    Store {
        id: StoreId(0),
        sink: SinkId(0),
        items: items.into_iter().map(item).collect(),
    }
}
