//! What is said of each mistake.

use super::{LEAST, problems};

/// The only problem of the least pipeline with these lines after it, in line 4 and on.
fn with(lines: &str) -> String {
    let mut problems = problems(&format!("{LEAST}{lines}"));
    assert_eq!(problems.len(), 1, "{lines}: {problems:#?}");
    problems.remove(0)
}

/// The only problem of a document.
fn of(text: &str) -> String {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
    problems.remove(0)
}

#[test]
fn wrong_types_say_what_would_be_right() {
    assert_eq!(
        with("sinks: {}"),
        "4:8: sinks: found a mapping, expected a list [wrong_type]"
    );
    assert_eq!(
        with("state: [x]"),
        "4:8: state: found a list, expected running or paused [wrong_type]"
    );
    assert_eq!(
        with("labels: {a: 1}"),
        "4:13: labels.a: found 1, expected text; put it in quotes [wrong_type]"
    );
    assert_eq!(
        with("batch: null"),
        "4:8: batch: found null, expected a mapping [wrong_type]"
    );
    assert_eq!(
        of("name: a\nsource: {topics: t}\nsinks: [stdout: {}]"),
        r#"2:18: source.topics: found "t", expected a list; put it in [ ] [wrong_type]"#
    );
    assert_eq!(of("[1, 2]"), "1:1: found a list, expected a mapping [wrong_type]");
}

#[test]
fn values_out_of_bounds_say_the_bounds() {
    assert_eq!(
        with("concurrency: {max_in_flight: 0}"),
        "4:30: concurrency.max_in_flight: found 0, expected a whole number, from 1 to 4096 [invalid_value]"
    );
    assert_eq!(
        with("batch: {linger: 1h}"),
        r#"4:17: batch.linger: found "1h", expected a duration with its unit, such as 200ms, 30s or 15m, at most 5m [invalid_value]"#
    );
    assert_eq!(
        with("ordering: keys"),
        r#"4:11: ordering: found "keys", expected partition, key or none; did you mean key? [invalid_value]"#
    );
    assert_eq!(
        with("responses: {'999': drop}"),
        r#"4:13: responses.999: found "999", expected an HTTP status from 100 to 599 [invalid_value]"#
    );
}

#[test]
fn what_this_version_does_not_act_on_is_refused_by_name() {
    assert_eq!(
        of("name: a\nsource: {topics: [t], value: {format: avro}}\nsinks: [stdout: {}]"),
        r#"2:39: source.value.format: found "avro", which this version does not act on; expected bytes, string or json, or the field left out [not_supported_yet]"#
    );
}

#[test]
fn exactly_once_takes_topics_of_the_sources_cluster_and_committed_records() {
    let beside = |sinks: &str, source: &str| {
        problems(&format!(
            "name: a\ndelivery: exactly_once\nsource: {{topics: [t]{source}}}\nsinks: [{sinks}]\n"
        ))
    };
    assert_eq!(
        beside("kafka: {topic: out}, kafka: {topic: other, cluster: default}", ""),
        [""; 0]
    );
    assert_eq!(
        beside(
            "http: {url: 'http://h/'}, stdout: {}, kafka: {topic: out, cluster: far}",
            ", isolation: read_uncommitted"
        ),
        [
            "3:34: source.isolation: found read_uncommitted beside delivery: exactly_once; expected read_committed [conflict]",
            "4:15: sinks[0].http: found an HTTP sink beside delivery: exactly_once; expected a topic of the source's cluster \
             [conflict]",
            "4:43: sinks[1].stdout: found stdout beside delivery: exactly_once; expected a topic of the source's cluster \
             [conflict]",
            "4:76: sinks[2].kafka.cluster: found a topic of cluster far beside delivery: exactly_once; expected one of the \
             source's cluster, default [conflict]",
        ]
    );
}

#[test]
fn limits_are_above_nothing() {
    assert_eq!(
        [
            with("limits: {records_per_second: 0}"),
            with("limits: {bytes_per_second: 0}"),
            with("limits: {records_per_second: -1}"),
        ],
        [
            "4:30: limits.records_per_second: found 0, expected a number, from 0.001 to 1000000000 [invalid_value]",
            "4:28: limits.bytes_per_second: found 0, expected a number of bytes, such as 65536, 512KiB or 1MiB, from 1B to \
             1024GiB [invalid_value]",
            "4:30: limits.records_per_second: found -1, expected a number, from 0.001 to 1000000000 [invalid_value]",
        ]
    );
}

#[test]
fn defaults_that_happen_anyway_may_be_written_out() {
    let written = "filter: null\ntasks: null\ndelivery: at_least_once\nplacement: {labels: {}}\ndrain_timeout: null\n\
                   limits: {records_per_second: null, bytes_per_second: null, weight: 1}\nretry: {max_age: null}\n";
    assert_eq!(problems(&format!("{LEAST}{written}")), [""; 0]);
    assert_eq!(
        problems("worker: {id: null, roles: [control, worker], labels: {}, control: null}\naccess: null\n"),
        [""; 0]
    );
}

#[test]
fn a_worker_has_a_store_or_asks_those_that_have_one() {
    let worker = |rest: &str| problems(&format!("worker: {rest}\n"));
    for right in [
        "{roles: [worker], control: {urls: [\"https://a:8470\", \"https://b:8470\"], token: t, ca: ca.pem}}",
        "{roles: [worker], control: {urls: [\"http://127.0.0.1:8470\"]}}\nlisten: 0.0.0.0:80",
        "{roles: [control]}",
    ] {
        assert_eq!(worker(right), [""; 0], "{right}");
    }
    for (wrong, said) in [
        (
            "{roles: [worker]}",
            "worker.roles: found no worker.control beside roles without control",
        ),
        (
            "{control: {urls: [\"https://a\"]}}",
            "worker.control: found worker.control beside the role control",
        ),
        (
            "{roles: [worker], control: {urls: [\"https://a\"]}}\nstore: postgres://p/f",
            "store: found a store beside worker.control",
        ),
        (
            "{roles: [worker], control: {urls: [\"http://10.0.0.1:8470\"]}}",
            "worker.control.urls[0]: found \"http://10.0.0.1:8470\", expected https://HOST:PORT",
        ),
        ("{roles: [worker], control: {}}", "worker.control"),
        ("{roles: [worker], control: {urls: []}}", "worker.control.urls"),
    ] {
        let found = worker(wrong);
        assert!(found.len() == 1 && found[0].contains(said), "{wrong}: {found:?}");
    }
}

#[test]
fn others_reach_a_worker_only_by_tls_and_with_tokens() {
    let listen = |access: &str| problems(&format!("listen: 0.0.0.0:80\naccess: {access}\n"));
    for safe in [
        "{tls: {certificate: c, key: k}}",
        "{behind_tls_proxy: true}",
        "{behind_tls_proxy: true, tokens: true}",
    ] {
        assert_eq!(listen(safe), [""; 0], "{safe}");
    }
    for unsafe_ in ["null", "{tokens: true}", "{behind_tls_proxy: true, tokens: false}"] {
        assert!(
            listen(unsafe_)[0].starts_with("1:9: listen: found 0.0.0.0:80, which others can reach"),
            "{unsafe_}"
        );
    }
}

#[test]
fn a_pipeline_does_not_read_what_it_writes() {
    let text = "name: a\nsource: {topics: [in, a.dead-letter, out]}\nsinks: [kafka: {topic: out}]";
    assert_eq!(
        problems(text),
        [
            "2:23: source.topics[1]: a.dead-letter is the pipeline's own dead-letter topic; expected another topic [conflict]",
            "2:38: source.topics[2]: out is the pipeline's own output, by its sink kafka; expected another topic [conflict]",
        ]
    );
    let elsewhere = "name: a\nsource: {topics: [t]}\nsinks: [kafka: {topic: t, cluster: other}]";
    assert_eq!(problems(elsewhere), [""; 0]);
}

#[test]
fn sources_name_topics_in_one_way() {
    let source = |source: &str| of(&format!("name: a\nsource: {{{source}}}\nsinks: [stdout: {{}}]"));
    assert_eq!(
        source(""),
        "2:9: source.topics: no topics; expected a list of names, or a topic_pattern beside it [missing_field]"
    );
    assert_eq!(
        source("topics: [t], topic_pattern: t.*"),
        "2:38: source.topic_pattern: stands beside source.topics; expected one of them [conflict]"
    );
    assert!(source("topic_pattern: 'a)(b'").contains("source.topic_pattern: this is no regular expression"));
    assert!(source("topics: [a/b]").contains(r#"source.topics[0]: found "a/b", expected a topic's name"#));
    assert!(source("topics: [t, t]").contains("source.topics[1]: t stands here a second time"));
}

#[test]
fn a_sink_is_of_one_kind_and_has_a_name_of_its_own() {
    assert_eq!(
        with("sinks: [{name: x}]"),
        "4:9: sinks[0]: no kind of sink; expected kafka, http or stdout [missing_field]"
    );
    assert_eq!(
        with("sinks: [{kafka: {topic: o}, stdout: {}}]"),
        "4:9: sinks[0]: 2 kinds of sink in one element; expected one, and an element for each [conflict]"
    );
    assert_eq!(
        with("sinks: [{name: x, stdout: {}}, {name: x, kafka: {topic: o}}]"),
        "4:39: sinks[1].name: another sink is called x; expected names that differ [conflict]"
    );
    assert_eq!(
        problems(&format!("{LEAST}sinks:\n  - stdout:\n  - stdout: {{}}\n")),
        [""; 0]
    );
}

#[test]
fn rules_between_fields_name_both() {
    let raw = "name: a\nsource: {topics: [t]}\nfunction: {url: 'http://h/', contract: raw}\n";
    assert_eq!(problems(raw), [""; 0]);
    assert_eq!(
        of(&format!("{raw}batch: {{max_records: 2}}")),
        "4:22: batch.max_records: found 2, expected 1, as the contract raw takes one record a call [conflict]"
    );
    assert_eq!(
        with("drain_timeout: 5m"),
        "4:16: drain_timeout: a drain may take 300 s, expected less than 300 s, the max.poll.interval.ms of the cluster: after it, the group gives the partitions away [conflict]"
    );
    let slow = of("name: a\nsource: {topics: [t]}\nfunction: {url: 'http://h/', timeout: 5m}");
    assert!(
        slow.starts_with("3:39: function.timeout: a drain may take 305 s"),
        "{slow}"
    );
    assert!(with("batch: {max_bytes: 64MiB}").contains("batch.max_bytes: a batch may have 64MiB"));
    let nowhere = of("name: a\nsource: {topics: [t]}");
    assert!(nowhere.contains("function: neither a function nor a sink"), "{nowhere}");
}

#[test]
fn urls_are_checked_without_being_called() {
    let url = |url: &str| of(&format!("name: a\nsource: {{topics: [t]}}\nfunction: {{url: '{url}'}}"));
    assert!(url("ftp://h/").contains("function.url: the URL's scheme is ftp, expected http or https"));
    assert!(url("http://169.254.169.254/latest").contains("which functions.deny lists"));
    assert!(!url("http://u:hunter2@h/").contains("hunter2"));
    assert!(url("not a url").contains("function.url: this is no URL"));
}

#[test]
fn a_workers_mistakes_are_told_at_once() {
    let text = "\
listen: 0.0.0.0:80
clusters:
  default:
    bootstrap_servers: kafka
    security: {protocol: sasl_ssl, username: x, password: {env: FNBRIDGE_TEST_NOT_SET}}
    properties: {acks: 1, no.such: 2}
  plain:
    bootstrap_servers: kafka:9092
    security: {username: x}
access: {tokens: true}
store: mysql://x
functions: {deny: [nowhere]}
";
    let problems = problems(text);
    let begins = [
        "1:9: listen: found 0.0.0.0:80, which others can reach; expected access.tls",
        r#"4:24: clusters.default.bootstrap_servers: found "kafka", expected host:port"#,
        "5:15: clusters.default.security.mechanism: missing, which this protocol needs",
        "5:59: clusters.default.security.password: the environment variable FNBRIDGE_TEST_NOT_SET is not set",
        "6:24: clusters.default.properties.acks: may not be set here",
        r#"6:36: clusters.default.properties["no.such"]: "#,
        "9:26: clusters.plain.security.username: this protocol does not use it",
        "11:8: store: found a URL that begins with \"mysql\"",
        r#"12:20: functions.deny[0]: found "nowhere", expected a network"#,
    ];
    assert_eq!(problems.len(), begins.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem}");
    }
}

#[test]
fn what_speaks_of_one_contract_is_refused_beside_another() {
    let function = |more: &str| {
        let text = format!("name: a\nsource: {{topics: [t]}}\nfunction: {{url: 'http://h/', {more}}}");
        problems(&text)
    };
    assert_eq!(
        function(
            "batch_item_failures: listed, event_format: strings, event_type: t, event_source: s, event_account: a"
        ),
        [
            "3:51: function.batch_item_failures: it is about the contract aws_lambda, which is not this function's; expected it to be left out [conflict]",
            "3:73: function.event_format: it is about the contract aliyun_fc, which is not this function's; expected it to be left out [conflict]",
            "3:94: function.event_type: it is about the contract cloudevents_*, which is not this function's; expected it to be left out [conflict]",
            "3:111: function.event_source: it is about the contract cloudevents_*, aws_lambda or aliyun_fc, which is not this function's; expected it to be left out [conflict]",
            "3:129: function.event_account: it is about the contract aliyun_fc, which is not this function's; expected it to be left out [conflict]",
        ]
    );
    for fine in [
        "contract: aws_lambda, batch_item_failures: listed, event_source: 'arn:aws:kafka:us-east-1:1:cluster/c/u'",
        "contract: aliyun_fc, event_format: raw_data, event_source: alikafka-1, event_account: '12'",
        "contract: cloudevents_batch, event_source: /shop, event_type: order",
        "contract: cloudevents_binary",
    ] {
        assert_eq!(function(fine), [""; 0], "{fine}");
    }
    assert_eq!(
        function("contract: aws_lambda, event_source: orders"),
        [
            r#"3:66: function.event_source: found "orders", expected the ARN of an MSK cluster, or the field left out [invalid_value]"#
        ]
    );
}

#[test]
fn contracts_of_one_record_a_call_take_no_larger_batch() {
    for contract in ["raw", "cloudevents_binary", "cloudevents_structured"] {
        let text = format!(
            "name: a\nsource: {{topics: [t]}}\nbatch: {{max_records: 2}}\nfunction: {{url: 'http://h/', contract: {contract}}}"
        );
        assert_eq!(
            of(&text),
            format!(
                "3:22: batch.max_records: found 2, expected 1, as the contract {contract} takes one record a call [conflict]"
            )
        );
    }
}

#[test]
fn a_filter_is_checked_with_all_that_is_known_of_a_record() {
    assert_eq!(
        with("filter: value.amount >"),
        "4:9: filter: at its character 15: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER} [invalid_value]"
    );
    assert_eq!(
        with("filter: vaule.amount > 0 && value.region == reg"),
        "4:9: filter: at its character 1: there is no vaule, expected key, value, headers or timestamp; at its character 37: \
         there is no reg, expected key, value, headers or timestamp [invalid_value]"
    );
    assert_eq!(
        with("filter: size(value)"),
        "4:9: filter: it is a number, expected true or false for each record [invalid_value]"
    );
    assert_eq!(
        with("filter: true"),
        "4:9: filter: found true, expected text; put it in quotes [wrong_type]"
    );
    assert_eq!(
        of("name: a\nsource: {topics: [t], value: {format: bytes}}\nfilter: value.a > 0\nsinks: [stdout: {}]"),
        "3:9: filter: at its character 6: bytes has no fields such as a (source.value.format: json makes it JSON) [invalid_value]"
    );
    assert_eq!(
        problems(&format!("{LEAST}filter: has(value.a) && value.a > 0 || key == 'k'")),
        [""; 0]
    );
}

#[test]
fn authentication_says_what_its_type_lacks_and_what_belongs_to_another_and_shows_no_secret() {
    let auth = |more: &str| {
        let text = format!("name: a\nsource: {{topics: [t]}}\nfunction: {{url: 'http://h/', auth: {{{more}}}}}");
        let problems = problems(&text);
        assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        problems
    };
    assert_eq!(
        auth("type: bearer"),
        ["3:36: function.auth.token: missing, expected it for the type bearer [missing_field]"]
    );
    assert_eq!(
        auth("type: basic, token: hunter2"),
        [
            "3:36: function.auth.username: missing, expected it for the type basic [missing_field]",
            "3:36: function.auth.password: missing, expected it for the type basic [missing_field]",
            "3:57: function.auth.token: it belongs to the type bearer, and the type is basic [conflict]",
        ]
    );
    assert_eq!(
        auth("type: hmac, keys: [hunter2]"),
        [
            "3:36: function.auth: a key without whsec_ before it, expected whsec_ and 24 to 64 bytes in base64 [invalid_value]"
        ]
    );
    assert_eq!(
        auth("type: oidc, client_secret: hunter2"),
        [
            "3:36: function.auth.token_url: missing, expected it for the type oidc [missing_field]",
            "3:64: function.auth.client_secret: it is for a token endpoint, and there is none; expected token_url beside it [conflict]",
        ]
    );
    assert_eq!(
        auth("type: aws_sigv4, access_key_id: AKID"),
        [
            "3:36: function.auth.secret_access_key: missing, expected it for the type aws_sigv4 [missing_field]",
            "3:36: function.auth.region: missing, expected it for the type aws_sigv4 [missing_field]",
        ]
    );
    for fine in [
        "type: none",
        "type: bearer, token: hunter2",
        "type: basic, username: u, password: hunter2",
        "type: hmac, keys: [whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB]",
        "type: oidc, token_url: 'https://issuer/token', client_id: c, client_secret: hunter2, scope: s",
        "type: aliyun_acs3",
        "type: aliyun_acs3, access_key_id: a, access_key_secret: hunter2, security_token: t",
        "type: aws_sigv4, region: eu-west-1",
    ] {
        assert_eq!(auth(fine), [""; 0], "{fine}");
    }
    let aws = "name: a\nsource: {topics: [t]}\nfunction: {auth: {type: aws_sigv4}, url: ";
    for host in ["lambda.eu-west-1.amazonaws.com", "abc.lambda-url.eu-west-1.on.aws"] {
        assert_eq!(problems(&format!("{aws}'https://{host}/'}}")), [""; 0], "{host}");
    }
}
