//! Nothing is accepted and ignored: each field that the schemas know changes what is built, or is refused.

use std::hash::{Hash, Hasher};

use serde_json::{Value, json};

use crate::config::document::{PipelineDoc, WorkerDoc};
use crate::config::load::read;
use crate::config::problem::{Code, Problem, Report};
use crate::config::{build, pipeline_schema, worker_schema, yaml};
use crate::sink::SinkSettings;

/// All fields of both documents, such as `sinks[].kafka.topic`.
pub(super) fn all_fields() -> Vec<String> {
    let mut fields = leaves(pipeline_schema());
    fields.extend(leaves(worker_schema()));
    fields.into_iter().map(|(path, _)| path).collect()
}

#[test]
fn each_field_of_a_pipeline_changes_what_is_built_or_is_refused() {
    let base = json!({
        "name": "a",
        "source": {"topics": ["t"]},
        "batch": {"max_records": 1},
        "function": {"url": "http://127.0.0.1:1/"},
        "sinks": [{"kafka": {"topic": "o"}}, {"http": {"url": "http://127.0.0.1:2/"}}],
    });
    let others = |path: &str| match path {
        "name" => Some(json!("other")),
        "source.cluster" | "sinks[].kafka.cluster" => Some(json!("second")),
        "source.topics" => Some(json!(["other"])),
        "source.topic_pattern" => Some(json!("o.*")),
        "filter" => Some(json!("value.amount > 0")),
        path if path.contains(".auth.") => Some(match path.rsplit('.').next().unwrap() {
            "type" => json!("aliyun_acs3"),
            "keys[]" => json!("whsec_AgICAgICAgICAgICAgICAgICAgICAgIC"),
            "token_file" => json!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")),
            "token_url" => json!("http://127.0.0.1:3/"),
            _ => json!("other"),
        }),
        "source.start" => Some(json!("latest")),
        "function.url" | "sinks[].http.url" => Some(json!("http://127.0.0.1:9/")),
        "sinks[].stdout" => Some(json!({})),
        _ => None,
    };
    let prepare = |path: &str, document: &mut Value| match path {
        "source.topic_pattern" => drop(document["source"].as_object_mut().unwrap().remove("topics")),
        "sinks[].stdout" => drop(document["sinks"][0].as_object_mut().unwrap().remove("kafka")),
        "delivery" => document["sinks"].as_array_mut().unwrap().truncate(1),
        "function.batch_item_failures" => document["function"]["contract"] = json!("aws_lambda"),
        "function.event_format" | "function.event_account" => document["function"]["contract"] = json!("aliyun_fc"),
        "function.event_type" | "function.event_source" => {
            document["function"]["contract"] = json!("cloudevents_binary")
        }
        "function.auth.type" | "sinks[].http.auth.type" => {}
        auth if auth.starts_with("sinks[].http.auth.") => document["sinks"][1]["http"]["auth"] = auth_with(auth),
        auth if auth.starts_with("function.auth.") => document["function"]["auth"] = auth_with(auth),
        _ => {}
    };
    walk(pipeline_schema(), &base, &others, &prepare, &built_pipeline);
}

#[test]
fn each_field_of_a_worker_changes_what_is_built_or_is_refused() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let security = json!({
        "protocol": "sasl_ssl", "mechanism": "PLAIN", "username": "u", "password": "p", "ca": here, "certificate": here,
        "key": here, "key_password": "k",
    });
    let base = json!({
        "clusters": {"x": {"bootstrap_servers": "a:1", "security": security}},
        "access": {"tls": {"certificate": "c", "key": "k"}},
    });
    let asking = json!({"roles": ["worker"], "control": {"urls": ["https://a"]}});
    let elsewhere = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    let others = |path: &str| match path {
        "worker.id" | "worker.control.ca" | "worker.control.token" => Some(json!("other")),
        "worker.control.urls" => Some(json!(["https://b"])),
        // The other way round, one with the role control asks nobody.
        "worker.roles" => Some(json!(["worker"])),
        "listen" => Some(json!("127.0.0.1:1")),
        "advertise" => Some(json!("https://w-1:8470")),
        "access.tls.certificate" | "access.tls.key" => Some(json!("other")),
        "access.behind_tls_proxy" => Some(json!(true)),
        "access.secrets_key" => Some(json!("other")),
        "store" => Some(json!("postgres://h/d")),
        "clusters.x.bootstrap_servers" => Some(json!("b:2")),
        "clusters.x.security.ca" | "clusters.x.security.certificate" | "clusters.x.security.key" => {
            Some(json!(elsewhere))
        }
        "clusters.x.security.protocol" => Some(json!("sasl_plaintext")),
        "clusters.x.dead_letter_topics" => Some(json!(["connect-errors"])),
        "clusters.x.properties" => Some(json!({"linger.ms": 3})),
        "telemetry.otlp_endpoint" => Some(json!("http://127.0.0.1:4318")),
        "functions.allow" | "functions.deny" => Some(json!(["10.0.0.0/8"])),
        "pipelines" => Some(json!(["other.yaml"])),
        _ => None,
    };
    let prepare = |path: &str, document: &mut Value| match path {
        "clusters.x.security.protocol" => {
            document["clusters"]["x"]["security"] = json!({"mechanism": "PLAIN", "username": "u", "password": "p"});
        }
        "worker.roles" | "worker.control.urls" | "worker.control.ca" | "worker.control.token" => {
            document["worker"] = asking.clone();
        }
        _ => {}
    };
    walk(worker_schema(), &base, &others, &prepare, &built_worker);
}

/// Authentication that a field belongs to, complete without it or with it as something else.
fn auth_with(path: &str) -> Value {
    let key = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    match path.rsplit('.').next().unwrap() {
        "token" => json!({"type": "bearer", "token": "t"}),
        "username" | "password" => json!({"type": "basic", "username": "u", "password": "p"}),
        "keys[]" => json!({"type": "hmac", "keys": [key]}),
        "token_file" => json!({"type": "oidc", "token_file": concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")}),
        "token_url" | "client_id" | "client_secret" | "scope" | "audience" => {
            json!({"type": "oidc", "token_url": "http://127.0.0.1:1/", "client_id": "c", "client_secret": "s"})
        }
        "access_key_secret" | "security_token" => {
            json!({"type": "aliyun_acs3", "access_key_id": "i", "access_key_secret": "s"})
        }
        _ => json!({"type": "aws_sigv4", "region": "r", "access_key_id": "i", "secret_access_key": "s"}),
    }
}

/// What the leader reads of the document itself, and what only says that another field may be.
const NOT_BUILT: [&str; 3] = ["tasks", "placement.labels", "access.behind_tls_proxy"];

type Built = Result<String, Vec<Problem>>;

fn walk(
    schema: &Value,
    base: &Value,
    others: &dyn Fn(&str) -> Option<Value>,
    prepare: &dyn Fn(&str, &mut Value),
    build: &dyn Fn(&Value) -> Built,
) {
    build(base).unwrap();
    let fields = leaves(schema);
    assert!(fields.len() > 15, "{fields:?}");
    for (path, field) in fields
        .into_iter()
        .filter(|(path, _)| !NOT_BUILT.contains(&path.as_str()))
    {
        let values = others(&path).map_or_else(|| candidates(&field), |value| vec![value]);
        assert!(!values.is_empty(), "{path}: there is no value to try");
        let mut outcomes = Vec::new();
        for value in values {
            let mut document = base.clone();
            prepare(&path, &mut document);
            let before = match path.starts_with("function.") || path.contains(".auth.") || path == "delivery" {
                true => build(&document).unwrap(),
                false => build(base).unwrap(),
            };
            put(&mut document, &path, value.clone());
            if document == *base {
                continue;
            }
            outcomes.push(match build(&document) {
                Ok(after) => after != before,
                Err(problems) => problems.iter().any(|problem| problem.code == Code::NotSupportedYet),
            });
            // The value that is the default changes nothing, and each other one does something.
            let is_default = value == field["default"] || happens_anyway(&path, &value);
            assert!(
                is_default || outcomes.last() == Some(&true),
                "{path}: {value}: {:?}",
                build(&document)
            );
        }
        assert!(outcomes.contains(&true), "{path}: no value changed anything");
    }
}

/// Written out, these say what is done without them.
fn happens_anyway(path: &str, value: &Value) -> bool {
    (path == "access.tokens" && *value == json!(false))
        || (path == "source.value.format" && value == "json")
        || (path == "function.batch_item_failures" && value == "from_first")
        || (path == "function.event_format" && value == "objects")
}

fn built_pipeline(document: &Value) -> Built {
    let text = document.to_string();
    let root = yaml::read(&text).documents.remove(0);
    let mut report = Report::new("f", &root);
    let doc: PipelineDoc = read(&root, pipeline_schema(), &mut report);
    let policy = std::sync::Arc::default();
    let around = build::Surroundings {
        worker: "w",
        id_lasts: false,
        clusters: None,
        policy: &policy,
        base: std::path::Path::new(""),
    };
    let settings = build::pipeline(&doc, "r".to_owned(), &around, &mut report);
    let Some(settings) = settings else {
        return Err(report.into_problems());
    };
    // Its own text leaves out what may hold secrets.
    let function = settings.function.as_ref().map(|function| {
        let request = (
            &function.url,
            &function.headers,
            function.timeout,
            function.max_response_bytes,
        );
        let meaning = (
            &function.overrides,
            &function.sinks,
            function.formats,
            function.max_in_flight,
        );
        let mut auth = std::hash::DefaultHasher::new();
        function.auth.hash(&mut auth);
        format!("{request:?} {meaning:?} {}", auth.finish())
    });
    let mut auths = std::hash::DefaultHasher::new();
    for (_, sink) in &settings.sinks {
        if let SinkSettings::Http(http) = sink {
            http.auth.hash(&mut auths);
        }
    }
    Ok(format!("{settings:?} {function:?} {}", auths.finish()))
}

fn built_worker(document: &Value) -> Built {
    let text = document.to_string();
    let root = yaml::read(&text).documents.remove(0);
    let mut report = Report::new("f", &root);
    let mut doc: WorkerDoc = read(&root, worker_schema(), &mut report);
    doc.worker.id.get_or_insert("w".to_owned());
    let (settings, clusters) = build::worker(&doc, std::path::Path::new(""), &mut report);
    let clients: Vec<String> = (clusters.values().flatten())
        .map(|cluster| {
            let config = cluster.client_config();
            let mut properties: Vec<String> = config
                .config_map()
                .keys()
                .map(|name| format!("{name}={:?}", config.get(name)))
                .collect();
            properties.sort();
            properties.join("\n")
        })
        .collect();
    if !report.is_clean() {
        return Err(report.into_problems());
    }
    Ok(format!("{settings:?} {clients:?} {:?}", doc.pipelines))
}

/// Paths and schemas of everything that holds no further fields; `x` is a name in a mapping.
fn leaves(schema: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect("", schema, &mut found);
    found
}

fn collect(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    let inner = |schema: &Value| -> Option<Value> {
        let branches = schema["anyOf"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![schema.clone()]);
        let has_fields = |branch: &&Value| {
            branch["properties"]
                .as_object()
                .is_some_and(|fields| !fields.is_empty())
        };
        branches.iter().find(has_fields).cloned()
    };
    let secret =
        schema["x-fnbridge-form"] == "text, {env: NAME} or {file: PATH}" || schema.to_string().contains("\"env\":");
    let is_text = secret && schema["properties"].is_null();
    if let Some(object) = inner(schema).filter(|_| !is_text) {
        for (name, field) in object["properties"].as_object().unwrap() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            collect(&path, field, found);
        }
    } else if inner(&schema["items"]).is_some() {
        collect(&format!("{path}[]"), &schema["items"], found);
    } else if inner(&schema["additionalProperties"]).is_some() && schema["additionalProperties"]["anyOf"].is_null() {
        collect(&format!("{path}.x"), &schema["additionalProperties"], found);
    } else {
        found.push((path.to_owned(), schema.clone()));
    }
}

/// Values to try, from what the schema says.
fn candidates(schema: &Value) -> Vec<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return values.clone();
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants
            .iter()
            .flat_map(|variant| {
                variant["enum"]
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![variant["const"].clone()])
            })
            .collect();
    }
    match schema["x-fnbridge-kind"].as_str() {
        Some("size") => return vec![json!("3MiB"), json!(2_000_000)],
        Some(_) => return vec![json!("7s")],
        None => {}
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        return branches
            .iter()
            .filter(|branch| branch["type"] != "null")
            .flat_map(candidates)
            .collect();
    }
    let types = schema["type"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![schema["type"].clone()]);
    match types.first().and_then(Value::as_str) {
        Some("boolean") => vec![json!(true), json!(false)],
        Some("integer" | "number") => vec![json!(7)],
        Some("string") => vec![json!("other")],
        Some("array") => candidates(&schema["items"])
            .into_iter()
            .map(|value| json!([value]))
            .collect(),
        Some("object") => {
            let key = if schema["propertyNames"].is_object() {
                "409"
            } else {
                "x"
            };
            let inner = candidates(&schema["additionalProperties"]);
            inner.into_iter().map(|value| json!({key: value})).collect()
        }
        _ => Vec::new(),
    }
}

/// Puts a value at a path. In the list of sinks, the element of that kind is meant.
fn put(document: &mut Value, path: &str, value: Value) {
    let mut at = document;
    for key in path.split('.') {
        let (key, is_list) = key.strip_suffix("[]").map_or((key, false), |key| (key, true));
        at = &mut at[key];
        if is_list {
            at = &mut at[usize::from(key == "sinks" && path.contains(".http"))];
        }
    }
    *at = value;
}
