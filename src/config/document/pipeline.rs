use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::auth::AuthDoc;
use super::text::TextDoc;
use crate::config::quantity::{Size, Span};

/// A pipeline: topics, a function, sinks, and the policies between them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "A fnbridge pipeline", extend("required" = ["name", "source"]))]
pub(crate) struct PipelineDoc {
    /// The pipeline's name, unique in the fleet. It can't be changed.
    #[schemars(
        regex(pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        extend("x-fnbridge-form" = "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit")
    )]
    pub(crate) name: String,
    /// Labels, for people and for `fnbridge_pipeline_info`, which has them as `label_<name>`.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether it runs. A paused pipeline stays in its group and calls nothing.
    pub(crate) state: StateDoc,
    /// Where records come from.
    pub(crate) source: SourceDoc,
    /// A CEL expression over `key`, `value`, `headers` and `timestamp`; records for which it is false are left out, without a
    /// call. One on which it errors is a dead letter of stage `filter`: `has(value.x)` asks first.
    #[schemars(length(min = 1))]
    pub(crate) filter: Option<String>,
    /// Which records must run one after another.
    pub(crate) ordering: OrderingDoc,
    /// What happens when a worker is cut off in mid-work.
    pub(crate) delivery: DeliveryDoc,
    /// How much goes into one call.
    pub(crate) batch: BatchDoc,
    /// How much happens at once.
    pub(crate) concurrency: ConcurrencyDoc,
    /// How fast, and how much is held.
    pub(crate) limits: LimitsDoc,
    /// The function. Without one, records go to the sinks as they are.
    pub(crate) function: Option<FunctionDoc>,
    /// How often a record is tried again, and when.
    pub(crate) retry: RetryDoc,
    /// Exceptions to what a status of the function means: what is done, by status.
    #[schemars(extend("propertyNames" = {
        "pattern": "^[1-5][0-9][0-9]$",
        "x-fnbridge-form": "an HTTP status from 100 to 599"
    }))]
    pub(crate) responses: BTreeMap<String, ResponseDoc>,
    /// What happens to a record whose attempts are used up.
    pub(crate) on_exhausted: OnExhaustedDoc,
    /// Where records go that were given up, and how many may go there in a row.
    pub(crate) dead_letter: DeadLetterDoc,
    /// Where results go. Without one, every 2xx means that a record is done.
    #[schemars(length(max = 64))]
    pub(crate) sinks: Vec<SinkDoc>,
    /// How long calls on the wire and results on their way have when a partition is taken away. By default 5 s more
    /// than `function.timeout`; it has to be below the cluster's `max.poll.interval.ms`, which is 5 minutes.
    #[schemars(extend("x-fnbridge-at-least" = "1s", "x-fnbridge-at-most" = "1h"))]
    pub(crate) drain_timeout: Option<Span>,
    /// How many workers may share it; null: as many as there are partitions.
    #[schemars(range(min = 1))]
    pub(crate) tasks: Option<u32>,
    /// Workers that may run it.
    pub(crate) placement: PlacementDoc,
}

impl Default for PipelineDoc {
    fn default() -> PipelineDoc {
        PipelineDoc {
            name: String::new(),
            labels: BTreeMap::new(),
            state: StateDoc::Running,
            source: SourceDoc::default(),
            filter: None,
            ordering: OrderingDoc::Partition,
            delivery: DeliveryDoc::AtLeastOnce,
            batch: BatchDoc::default(),
            concurrency: ConcurrencyDoc::default(),
            limits: LimitsDoc::default(),
            function: None,
            retry: RetryDoc::default(),
            responses: BTreeMap::new(),
            on_exhausted: OnExhaustedDoc::DeadLetter,
            dead_letter: DeadLetterDoc::default(),
            sinks: Vec::new(),
            drain_timeout: None,
            tasks: None,
            placement: PlacementDoc::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateDoc {
    Running,
    Paused,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SourceDoc {
    /// A Kafka cluster, by its name in the worker's configuration. It can't be changed.
    #[schemars(length(min = 1))]
    pub(crate) cluster: String,
    /// The topics to read, by name. Either these or `topic_pattern`.
    #[schemars(length(max = 1000))]
    pub(crate) topics: Vec<String>,
    /// A regular expression over whole topic names; topics that appear later are found within 30 s. Internal topics,
    /// dead-letter topics and the pipeline's own outputs are never read.
    #[schemars(length(min = 1))]
    pub(crate) topic_pattern: Option<String>,
    /// The consumer group, which belongs to this pipeline alone; by default `fnbridge-<name>`. It can't be changed.
    #[schemars(length(min = 1, max = 249))]
    pub(crate) group: Option<String>,
    /// Where reading starts the first time: `earliest`, `latest`, or an RFC 3339 time.
    pub(crate) start: String,
    /// Whether records of transactions that are not committed are read.
    pub(crate) isolation: IsolationDoc,
    /// What keys are.
    pub(crate) key: KeyDoc,
    /// What values are.
    pub(crate) value: ValueDoc,
}

impl Default for SourceDoc {
    fn default() -> SourceDoc {
        SourceDoc {
            cluster: "default".to_owned(),
            topics: Vec::new(),
            topic_pattern: None,
            group: None,
            start: "earliest".to_owned(),
            isolation: IsolationDoc::ReadCommitted,
            key: KeyDoc::default(),
            value: ValueDoc::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IsolationDoc {
    ReadCommitted,
    ReadUncommitted,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeyDoc {
    /// The keys' format. A key that does not have it is a dead letter of stage `convert`. By default a key is text where
    /// it is UTF-8, else bytes.
    #[schemars(extend("x-fnbridge-acts-on" = ["bytes", "string", "json", null]))]
    pub(crate) format: Option<FormatDoc>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ValueDoc {
    /// The values' format. A value that does not have it is a dead letter of stage `convert`. By default `json` for a
    /// function of contract `json`, `string` for `aliyun_fc`; other functions, and sinks of a pipeline without one, take values
    /// as they are.
    #[schemars(extend("x-fnbridge-acts-on" = ["bytes", "string", "json", null]))]
    pub(crate) format: Option<FormatDoc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FormatDoc {
    Bytes,
    String,
    Json,
    Avro,
    Protobuf,
    JsonSchema,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderingDoc {
    /// All records of a partition, one batch at a time.
    Partition,
    /// All records of one key in a partition; keys run in parallel.
    Key,
    /// As parallel as allowed.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryDoc {
    /// Nothing is lost; what was not committed is called and delivered again.
    AtLeastOnce,
    /// Results stand in the sinks exactly once, for readers with `isolation.level=read_committed`; calls may be repeated.
    /// Every sink is a topic of the source's cluster.
    ExactlyOnce,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BatchDoc {
    /// Records in one call, at most. By default 100, and 1 for contracts that take no more: `raw`, `cloudevents_binary`,
    /// `cloudevents_structured`.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) max_records: Option<u32>,
    /// Bytes of keys, values and headers in one call, at most; a record larger than this travels alone. Less where the
    /// contract bounds requests: 6 MiB for `aws_lambda`, 16 MiB for `aliyun_fc`.
    #[schemars(extend("x-fnbridge-at-least" = "1KiB", "x-fnbridge-at-most" = "256MiB"))]
    pub(crate) max_bytes: Size,
    /// How long a batch that is not full waits for more records.
    #[schemars(extend("x-fnbridge-at-most" = "5m"))]
    pub(crate) linger: Span,
}

impl Default for BatchDoc {
    fn default() -> BatchDoc {
        BatchDoc {
            max_records: None,
            max_bytes: Size::mib(1),
            linger: Span::millis(0),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConcurrencyDoc {
    /// Calls in flight for the pipeline on one worker, at most.
    #[schemars(range(min = 1, max = 4096))]
    pub(crate) max_in_flight: u32,
}

impl Default for ConcurrencyDoc {
    fn default() -> ConcurrencyDoc {
        ConcurrencyDoc { max_in_flight: 16 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsDoc {
    /// Records a second that go to the function for the first time, or to the sinks where there is none, at most, on one
    /// worker. What is left over of a second may go in the next; a batch goes once a record may, and the next ones wait for
    /// it.
    #[schemars(range(min = 0.001, max = 1_000_000_000))]
    pub(crate) records_per_second: Option<f64>,
    /// Bytes of their keys, values and headers a second, at most, on one worker.
    #[schemars(extend("x-fnbridge-at-least" = "1B", "x-fnbridge-at-most" = "1024GiB"))]
    pub(crate) bytes_per_second: Option<Size>,
    /// Bytes of records, requests, answers and held results, at most; less where the worker's are shared (`weight`).
    #[schemars(extend("x-fnbridge-at-least" = "64KiB", "x-fnbridge-at-most" = "16GiB"))]
    pub(crate) in_flight_bytes: Size,
    /// The pipeline's weight where those of a worker share its `limits`: twice the weight is twice the bytes, up to its own
    /// `in_flight_bytes`; what it can't use goes to the others. Its part follows as pipelines come and go, but for what is
    /// fetched ahead, which is fixed when it starts.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) weight: u32,
}

impl Default for LimitsDoc {
    fn default() -> LimitsDoc {
        LimitsDoc {
            records_per_second: None,
            bytes_per_second: None,
            in_flight_bytes: Size::mib(32),
            weight: 1,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(crate) struct FunctionDoc {
    /// Where the function is: an absolute URL, http or https.
    #[schemars(extend("x-fnbridge-form" = "an absolute URL, http or https"))]
    pub(crate) url: String,
    /// The shape of request and answer that the function speaks.
    pub(crate) contract: ContractDoc,
    /// What a partial answer of contract `aws_lambda` means.
    pub(crate) batch_item_failures: Option<ItemFailuresDoc>,
    /// How an event of contract `aliyun_fc` stands in its list; by default `objects`.
    pub(crate) event_format: Option<EventFormatDoc>,
    /// Where events come from, as they say themselves. Contract `aws_lambda`: the ARN of an MSK cluster; without one, events
    /// are those of a self-managed cluster. `aliyun_fc`: the instance's id, by default `source.cluster`. CloudEvents: the
    /// `source` of records that are no events yet, less the topic, by default `/fnbridge/<pipeline>`.
    #[schemars(length(min = 1))]
    pub(crate) event_source: Option<String>,
    /// The `type` of CloudEvents made of records that are none yet; by default `dev.knative.kafka.event`.
    #[schemars(length(min = 1))]
    pub(crate) event_type: Option<String>,
    /// The account's id in events of contract `aliyun_fc`; by default empty.
    #[schemars(length(min = 1))]
    pub(crate) event_account: Option<String>,
    /// For a whole call, from the first byte to the last.
    #[schemars(extend("x-fnbridge-at-least" = "1ms", "x-fnbridge-at-most" = "15m"))]
    pub(crate) timeout: Span,
    /// An answer larger than this is not read to its end: a failed attempt.
    #[schemars(extend("x-fnbridge-at-least" = "1KiB", "x-fnbridge-at-most" = "1GiB"))]
    pub(crate) max_response_bytes: Size,
    /// Headers of each request.
    pub(crate) headers: BTreeMap<String, TextDoc>,
    /// How calls are authenticated.
    pub(crate) auth: AuthDoc,
}

impl Default for FunctionDoc {
    fn default() -> FunctionDoc {
        FunctionDoc {
            url: String::new(),
            contract: ContractDoc::Json,
            batch_item_failures: None,
            event_format: None,
            event_source: None,
            event_type: None,
            event_account: None,
            timeout: Span::secs(30),
            max_response_bytes: Size::mib(8),
            headers: BTreeMap::new(),
            auth: AuthDoc::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContractDoc {
    /// A batch of records as JSON, results as JSON.
    Json,
    /// One record's value as it is, and bytes back.
    Raw,
    /// An array of CloudEvents as JSON.
    CloudeventsBatch,
    /// One CloudEvent as JSON.
    CloudeventsStructured,
    /// One CloudEvent, its attributes in headers.
    CloudeventsBinary,
    /// A batch as AWS Lambda's event source mapping for Kafka gives it, to a function URL or the Invoke API.
    AwsLambda,
    /// A list of events as Alibaba Cloud gives it, to an HTTP trigger, InvokeFunction or a custom runtime's `/invoke`.
    AliyunFc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ItemFailuresDoc {
    /// The function stopped at the first record that it lists: those behind it are called again as well (the default).
    FromFirst,
    /// It went on: only those listed are called again.
    Listed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventFormatDoc {
    /// As an object.
    Objects,
    /// As a string that holds the object's JSON.
    Strings,
    /// Only its `data`.
    RawData,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetryDoc {
    /// Calls that may carry a record before it is given up, or its batch halved.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) max_attempts: u32,
    /// The bound of the first wait; each further one is twice as long. A wait is anything between nothing and its bound.
    #[schemars(extend("x-fnbridge-at-least" = "1ms", "x-fnbridge-at-most" = "1h"))]
    pub(crate) initial_backoff: Span,
    /// The bound of every wait.
    #[schemars(extend("x-fnbridge-at-least" = "1ms", "x-fnbridge-at-most" = "1h"))]
    pub(crate) max_backoff: Span,
    /// A record older than this is given up at its next failure.
    #[schemars(extend("x-fnbridge-at-least" = "1s"))]
    pub(crate) max_age: Option<Span>,
}

impl Default for RetryDoc {
    fn default() -> RetryDoc {
        RetryDoc {
            max_attempts: 5,
            initial_backoff: Span::millis(200),
            max_backoff: Span::secs(30),
            max_age: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResponseDoc {
    /// A failed attempt.
    Retry,
    /// The record is dropped; a larger batch is halved first.
    Drop,
    /// The record is given up; a larger batch is halved first.
    DeadLetter,
    /// The whole batch is delivered, with no results.
    DeliverNothing,
    /// The batch's lanes wait for an operator.
    Block,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnExhaustedDoc {
    /// It becomes a dead letter.
    DeadLetter,
    /// Its lane waits for an operator.
    Block,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeadLetterDoc {
    /// The topic, on the source's cluster; by default `<name>.dead-letter`.
    #[schemars(length(min = 1))]
    pub(crate) topic: Option<String>,
    /// How often a dead letter may be sent through again.
    pub(crate) max_redrives: u32,
    /// How many records may be given up in a row before the pipeline waits instead.
    pub(crate) guard: GuardDoc,
}

impl Default for DeadLetterDoc {
    fn default() -> DeadLetterDoc {
        DeadLetterDoc {
            topic: None,
            max_redrives: 3,
            guard: GuardDoc::default(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GuardDoc {
    /// Of records given up for failed attempts, without a success between.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) failed: u32,
    /// Of records that were refused, without one that passed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) refused: u32,
}

impl Default for GuardDoc {
    fn default() -> GuardDoc {
        GuardDoc {
            failed: 3,
            refused: 100,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SinkDoc {
    /// A name that results of the function can choose; by default the sink's kind, with a number from the second of it on.
    #[schemars(
        regex(pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        extend("x-fnbridge-form" = "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit")
    )]
    pub(crate) name: Option<String>,
    /// A topic.
    pub(crate) kafka: Option<KafkaSinkDoc>,
    /// A URL that takes JSON arrays of results.
    pub(crate) http: Option<HttpSinkDoc>,
    /// A JSON line a result, on the worker's standard output.
    #[serde(deserialize_with = "present")]
    pub(crate) stdout: Option<StdoutSinkDoc>,
}

/// `stdout:` with nothing behind it is a sink too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StdoutSinkDoc>, D::Error> {
    Value::deserialize(deserializer).map(|_| Some(StdoutSinkDoc {}))
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["topic"]))]
pub(crate) struct KafkaSinkDoc {
    /// The topic.
    #[schemars(length(min = 1))]
    pub(crate) topic: String,
    /// A Kafka cluster, by its name in the worker's configuration; by default the source's.
    #[schemars(length(min = 1))]
    pub(crate) cluster: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(crate) struct HttpSinkDoc {
    /// An absolute URL, http or https.
    #[schemars(extend("x-fnbridge-form" = "an absolute URL, http or https"))]
    pub(crate) url: String,
    /// Headers of each request.
    pub(crate) headers: BTreeMap<String, TextDoc>,
    /// How requests are authenticated, as a function's calls are.
    pub(crate) auth: AuthDoc,
    /// For a whole request, from the first byte to the last.
    #[schemars(extend("x-fnbridge-at-least" = "1ms", "x-fnbridge-at-most" = "15m"))]
    pub(crate) timeout: Span,
}

impl Default for HttpSinkDoc {
    fn default() -> HttpSinkDoc {
        HttpSinkDoc {
            url: String::new(),
            headers: BTreeMap::new(),
            auth: AuthDoc::default(),
            timeout: Span::secs(30),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StdoutSinkDoc {}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlacementDoc {
    /// Labels that a worker must have.
    pub(crate) labels: BTreeMap<String, String>,
}
