//! The JSON Schemas, made of the types that documents are read into. They are what documents are held against, what
//! `fnbridge schema` prints, and what the pages in `docs/` say.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::document::{PipelineDoc, WorkerDoc};

/// The values that this version acts on; others have a meaning, and are refused.
pub(super) const ACTS_ON: &str = "x-fnbridge-acts-on";
/// What a value has to look like, in words.
pub(super) const FORM: &str = "x-fnbridge-form";
/// `duration` or `size`.
pub(super) const KIND: &str = "x-fnbridge-kind";
/// The least duration or size.
pub(super) const AT_LEAST: &str = "x-fnbridge-at-least";
/// The greatest duration or size.
pub(super) const AT_MOST: &str = "x-fnbridge-at-most";
/// The value appears in no message.
pub(super) const SECRET: &str = "x-fnbridge-secret";

static PIPELINE: LazyLock<Value> = LazyLock::new(schema_of::<PipelineDoc>);
static WORKER: LazyLock<Value> = LazyLock::new(schema_of::<WorkerDoc>);

/// The JSON Schema of a pipeline's document. `x-fnbridge-acts-on` lists the values of a field that this version acts on.
pub fn pipeline_schema() -> &'static Value {
    &PIPELINE
}

/// The JSON Schema of a worker's configuration.
pub fn worker_schema() -> &'static Value {
    &WORKER
}

/// Whether what follows the schema may be a secret.
pub(super) fn is_secret(schema: &Value) -> bool {
    let inside = schema["anyOf"].as_array();
    schema[SECRET] == Value::Bool(true) || inside.is_some_and(|branches| branches.iter().any(is_secret))
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    title_first(schema)
}

fn title_first(schema: Value) -> Value {
    const FIRST: [&str; 3] = ["$schema", "title", "description"];
    let Value::Object(mut rest) = schema else { return schema };
    let first: Vec<_> = FIRST.iter().filter_map(|name| rest.shift_remove_entry(*name)).collect();
    Value::Object(first.into_iter().chain(rest).collect())
}

/// Leaves out what says nothing: defaults of fields that must be there, defaults that repeat what the fields inside say,
/// formats of integers, and ends of lines in texts.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(tidy),
        Value::Object(object) => {
            let required: Vec<String> = (object.get("required").and_then(Value::as_array).into_iter().flatten())
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            if let Some(Value::Object(fields)) = object.get_mut("properties") {
                for (name, field) in fields.iter_mut().filter_map(|(n, f)| Some((n, f.as_object_mut()?))) {
                    if field.contains_key("properties") || required.contains(name) {
                        field.shift_remove("default");
                    }
                }
            }
            if object
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint"))
            {
                object.shift_remove("format");
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            for (name, inner) in object.iter_mut() {
                if !["default", "examples", "enum", "required", ACTS_ON].contains(&name.as_str()) {
                    tidy(inner);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
