//! The pages on documents, written from the schemas.

use std::fmt::Write;

use serde_json::Value;

use super::schema::{ACTS_ON, AT_LEAST, AT_MOST, KIND, pipeline_schema, worker_schema};
use super::shape::expected;

const PIPELINE_INTRO: &str = include_str!("intro/pipeline.md");
const WORKER_INTRO: &str = include_str!("intro/worker.md");

/// `docs/pipeline.md`.
pub fn pipeline_page() -> String {
    page(PIPELINE_INTRO, pipeline_schema())
}

/// `docs/worker.md`.
pub fn worker_page() -> String {
    page(WORKER_INTRO, worker_schema())
}

fn page(intro: &str, schema: &Value) -> String {
    let mut page = format!("{intro}\n## Fields\n");
    table("", schema, &mut page);
    page
}

/// A table of an object's fields, then one for each object in it.
fn table(path: &str, schema: &Value, page: &mut String) {
    let Some(fields) = schema["properties"].as_object().filter(|fields| !fields.is_empty()) else {
        return;
    };
    if !path.is_empty() {
        let _ = write!(page, "\n### `{path}`\n");
    }
    page.push_str("\n| field | value | default | meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> = (schema["required"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in fields {
        let default = if required.contains(&name.as_str()) {
            "required".to_owned()
        } else {
            default(field)
        };
        let row = [format!("`{name}`"), value(field), default, meaning(field)].map(|cell| cell.replace('|', r"\|"));
        let _ = writeln!(page, "| {} |", row.join(" | "));
    }
    for (name, field) in fields {
        let inner = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if !is_refused(field) {
            inside(&inner, field, page);
        }
    }
}

fn inside(path: &str, field: &Value, page: &mut String) {
    let branches = field["anyOf"]
        .as_array()
        .map_or_else(|| vec![field], |branches| branches.iter().collect());
    if field["x-fnbridge-secret"] == true {
        return;
    }
    for branch in branches {
        table(path, branch, page);
        if branch["items"]["properties"].is_object() {
            table(&format!("{path}[]"), &branch["items"], page);
        }
        if branch["additionalProperties"]["properties"].is_object() {
            table(&format!("{path}.<name>"), &branch["additionalProperties"], page);
        }
    }
}

/// No value of it is acted on, but for those that say nothing.
fn is_refused(field: &Value) -> bool {
    let says = |value: &Value| !value.is_null() && !value.as_object().is_some_and(serde_json::Map::is_empty);
    field[ACTS_ON].as_array().is_some_and(|values| !values.iter().any(says))
}

fn value(field: &Value) -> String {
    let kind = match field[KIND].as_str() {
        Some(kind) => format!("{kind}{}", limits(field, AT_LEAST, AT_MOST)),
        None => expected(field),
    };
    let element = &field["items"];
    let inner = &field["additionalProperties"];
    match (element.is_object(), inner.is_object()) {
        (true, _) => format!("a list, each {}", expected(element)),
        (_, true) => format!("a mapping, each {}", expected(inner)),
        _ => kind,
    }
}

fn limits(field: &Value, least: &str, most: &str) -> String {
    match (field[least].as_str(), field[most].as_str()) {
        (None, None) => String::new(),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (Some(least), Some(most)) => format!(", {least} to {most}"),
    }
}

fn default(field: &Value) -> String {
    match &field["default"] {
        Value::Null => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn meaning(field: &Value) -> String {
    let mut meaning = field["description"].as_str().unwrap_or_default().to_owned();
    for variant in variants(field) {
        if let (Some(name), Some(says)) = (variant["const"].as_str(), variant["description"].as_str()) {
            let _ = write!(meaning, " `{name}`: {says}");
        }
    }
    let acted_on: Vec<String> = (field[ACTS_ON].as_array().into_iter().flatten())
        .filter(|value| !value.is_null())
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
        })
        .collect();
    if is_refused(field) {
        meaning.push_str(" *Not acted on by this version: refused.*");
    } else if !acted_on.is_empty() {
        let _ = write!(meaning, " *This version acts on {}.*", acted_on.join(", "));
    }
    meaning
}

fn variants(field: &Value) -> impl Iterator<Item = &Value> {
    let inside = field["anyOf"].as_array().into_iter().flatten();
    let schemas = std::iter::once(field)
        .chain(inside)
        .chain([&field["additionalProperties"]]);
    schemas.filter_map(|schema| schema["oneOf"].as_array()).flatten()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check;

    /// Set to write the pages anew.
    const REWRITE: &str = "FNBRIDGE_WRITE_DOCS";

    #[test]
    fn the_pages_in_docs_are_current() {
        for (name, page) in [("pipeline.md", pipeline_page()), ("worker.md", worker_page())] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
            if std::env::var_os(REWRITE).is_some() {
                std::fs::write(&file, &page).unwrap();
            }
            let found = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                found == page,
                "docs/{name} is not current: run the tests once with {REWRITE}=1"
            );
        }
    }

    #[test]
    fn the_examples_of_the_pages_are_valid() {
        let folder = std::env::temp_dir().join(format!("fnbridge-pages-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut files = Vec::new();
        for (page, intro) in [("pipeline", PIPELINE_INTRO), ("worker", WORKER_INTRO)] {
            for (n, example) in intro.split("```yaml\n").skip(1).enumerate() {
                let file = folder.join(format!("{page}-{n}.yaml"));
                std::fs::write(&file, example.split("```").next().unwrap()).unwrap();
                files.push(file);
            }
        }
        let checked = check(&files, None);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(files.len() >= 3);
        assert_eq!(checked.problems.to_string(), "");
    }
}
