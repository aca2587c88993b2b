//! The least that does the job: polls, posts, produces and commits, and nothing else. What goes over the wire is in `wire`.
//! It stops at the first thing that goes wrong.
//!
//! `raw_loop BROKERS SOURCE SINK URL GROUP RECORDS_A_CALL`

mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: usize = 12;
const MOST_QUEUED: usize = PARTITIONS * 2000;
const NONE: i64 = -1;
static QUEUED: AtomicUsize = AtomicUsize::new(0);
static ACKED: [AtomicI64; PARTITIONS] = [const { AtomicI64::new(NONE) }; PARTITIONS];

struct Acks;

struct Batch {
    partition: usize,
    next: i64,
    left: AtomicUsize,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        assert!(result.is_ok(), "a record was not produced");
        if batch.left.fetch_sub(1, Relaxed) == 1 {
            ACKED[batch.partition].fetch_max(batch.next, Relaxed);
        }
    }
}

#[derive(Clone)]
struct Loop {
    client: Client<HttpConnector, Full<Bytes>>,
    producer: Arc<ThreadedProducer<Acks>>,
    wire: wire::Wire,
    size: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, source, sink, url, group, size] = args.try_into().expect("six arguments");
    let reading = "auto.offset.reset=earliest enable.auto.commit=false fetch.message.max.bytes=262144 \
                   queued.max.messages.kbytes=8192 partition.assignment.strategy=cooperative-sticky";
    let writing = "acks=all enable.idempotence=true linger.ms=5 message.timeout.ms=0 partitioner=murmur2_random";
    let consumer: BaseConsumer = config(&brokers, reading).set("group.id", group).create().unwrap();
    let producer = config(&brokers, writing).create_with_context(Acks).unwrap();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let the_loop = Loop {
        client: Client::builder(TokioExecutor::new()).build(connector),
        producer: Arc::new(producer),
        wire: wire::Wire::new(&source, &sink, &url),
        size: size.parse().unwrap(),
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let lanes: [_; PARTITIONS] = std::array::from_fn(|partition| {
        let (sender, records) = unbounded_channel();
        runtime.spawn(the_loop.clone().lane(partition, records));
        sender
    });
    consumer.subscribe(&[&source]).unwrap();
    std::thread::spawn(move || poll(&consumer, &source, &lanes));
    runtime.block_on(std::future::pending::<()>());
}

fn config(brokers: &str, properties: &str) -> ClientConfig {
    let properties = properties.split(' ').filter_map(|p| p.split_once('='));
    let all = [("bootstrap.servers", brokers)].into_iter().chain(properties);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn poll(consumer: &BaseConsumer, source: &str, lanes: &[UnboundedSender<Vec<wire::Record>>]) {
    let mut commit_at = Instant::now();
    loop {
        let mut burst: [Vec<wire::Record>; PARTITIONS] = Default::default();
        let mut wait = Duration::from_millis(50);
        for _ in 0..500 {
            let Some(message) = consumer.poll(wait) else { break };
            let message = message.unwrap();
            burst[message.partition() as usize].push(wire::Record::of(&message));
            wait = Duration::ZERO;
        }
        for (lane, records) in lanes.iter().zip(burst).filter(|(_, records)| !records.is_empty()) {
            QUEUED.fetch_add(records.len(), Relaxed);
            lane.send(records).unwrap();
        }
        if commit_at.elapsed() > Duration::from_secs(1) {
            let acked = ACKED.iter().map(|acked| Offset::Offset(acked.load(Relaxed)));
            let all = acked.enumerate().filter(|(_, acked)| *acked != Offset::Offset(NONE));
            let named = all.map(|(partition, acked)| ((source.to_owned(), partition as i32), acked));
            let offsets = TopicPartitionList::from_topic_map(&named.collect()).unwrap();
            if offsets.count() > 0 {
                consumer.commit(&offsets, CommitMode::Async).unwrap();
            }
            commit_at = Instant::now();
        }
        while QUEUED.load(Relaxed) > MOST_QUEUED {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Loop {
    async fn lane(self, partition: usize, mut records: UnboundedReceiver<Vec<wire::Record>>) {
        let mut held = VecDeque::new();
        loop {
            while held.len() < self.size {
                held.extend(records.recv().await.unwrap());
            }
            let batch: Vec<wire::Record> = held.drain(..self.size).collect();
            QUEUED.fetch_sub(self.size, Relaxed);
            let call = self.wire.call(partition, batch);
            let answer = self.client.request(call.request()).await.unwrap();
            assert!(answer.status().is_success());
            let answer = answer.into_body().collect().await.unwrap().to_bytes();
            let (next, left) = (call.next(), AtomicUsize::new(self.size));
            let acks = Arc::new(Batch { partition, next, left });
            for mut result in call.results(&answer, &acks) {
                while let Err((_, full)) = self.producer.send(result) {
                    result = full;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}
