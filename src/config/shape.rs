//! Holds a document against its schema. What is wrong is reported and left out of the value that comes back, so that the
//! rules between values can still be checked on the rest.

use regex::Regex;
use serde_json::{Map, Value};

use super::path::Path;
use super::problem::{Code, Report};
use super::quantity::{Size, Span};
use super::schema::{ACTS_ON, AT_LEAST, AT_MOST, FORM, KIND, is_secret};
use super::yaml::{Data, Entry, Node};

/// The document's value, less what was reported.
pub(super) fn conform(root: &Node, schema: &Value, report: &mut Report<'_>) -> Value {
    node(root, schema, &Path::root(), report).unwrap_or_else(|| Value::Object(Map::new()))
}

fn node(node: &Node, schema: &Value, path: &Path, report: &mut Report<'_>) -> Option<Value> {
    let Some(branch) = branch(schema, type_of(node)) else {
        report.value(path, Code::WrongType, wrong_type(node, schema));
        return None;
    };
    match &node.data {
        Data::Scalar(value) => {
            let checked = scalar(value, branch, schema).and_then(|()| acted_on(value, schema));
            match checked {
                Ok(()) => Some(value.clone()),
                Err((code, message)) => {
                    report.value(path, code, message);
                    None
                }
            }
        }
        Data::List(_) | Data::Map(_) => {
            if let Err((code, message)) = acted_on(&node.to_value(), schema) {
                report.value(path, code, message);
                return None;
            }
            match &node.data {
                Data::List(nodes) => list(nodes, branch, path, report),
                Data::Map(entries) => map(node, entries, branch, path, report),
                Data::Scalar(_) => None,
            }
        }
    }
}

fn list(nodes: &[Node], schema: &Value, path: &Path, report: &mut Report<'_>) -> Option<Value> {
    if let Some(least) = schema["minItems"]
        .as_u64()
        .filter(|least| (nodes.len() as u64) < *least)
    {
        report.value(
            path,
            Code::InvalidValue,
            format!("found {} elements, expected at least {least}", nodes.len()),
        );
        return None;
    }
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| nodes.len() as u64 > *most) {
        report.value(
            path,
            Code::InvalidValue,
            format!("found {} elements, expected at most {most}", nodes.len()),
        );
        return None;
    }
    let items = &schema["items"];
    let elements = nodes.iter().enumerate();
    // A broken element is kept in the count, so that the paths of those behind it stay right.
    let kept: Vec<Option<Value>> = elements
        .map(|(n, element)| node(element, items, &path.index(n), report))
        .collect();
    kept.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
}

fn map(whole: &Node, entries: &[Entry], schema: &Value, path: &Path, report: &mut Report<'_>) -> Option<Value> {
    let fields = schema["properties"].as_object();
    let others = &schema["additionalProperties"];
    let mut kept = Map::new();
    for entry in entries {
        let inner = path.key(&entry.key);
        let known = fields.and_then(|fields| fields.get(&entry.key));
        let schema = match known {
            Some(schema) => schema,
            None if others.is_object() && key_fits(entry, schema, &inner, report) => others,
            None if others.is_object() => continue,
            None => {
                report.key(
                    &inner,
                    entry.key_at,
                    Code::UnknownField,
                    unknown_field(&entry.key, fields, whole),
                );
                if let Some(meant) = meant(&entry.key, fields) {
                    // It is not missing as well.
                    report.put_aside(&path.key(meant));
                }
                continue;
            }
        };
        if let Some(value) = node(&entry.node, schema, &inner, report) {
            kept.insert(entry.key.clone(), value);
        }
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !entries.iter().any(|entry| entry.key == name) && !report.is_broken(&path.key(name)) {
            let expected = fields
                .and_then(|fields| fields.get(name))
                .map_or_else(String::new, expected);
            report.value(
                &path.key(name),
                Code::MissingField,
                format!("missing, expected {expected}"),
            );
        }
    }
    let (least, most) = (schema["minProperties"].as_u64(), schema["maxProperties"].as_u64());
    let count = entries.len() as u64;
    if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
        let names: Vec<&str> = fields.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        report.value(
            path,
            Code::InvalidValue,
            format!("found {count} of {}, expected one of them", names.join(", ")),
        );
        return None;
    }
    Some(Value::Object(kept))
}

fn key_fits(entry: &Entry, schema: &Value, path: &Path, report: &mut Report<'_>) -> bool {
    let names = &schema["propertyNames"];
    let fits = names["pattern"]
        .as_str()
        .is_none_or(|pattern| matches(pattern, &entry.key));
    if !fits {
        let form = names[FORM].as_str().unwrap_or("another name");
        report.key(
            path,
            entry.key_at,
            Code::InvalidValue,
            format!("found {:?}, expected {form}", entry.key),
        );
    }
    fits
}

type Wrong = (Code, String);

fn scalar(value: &Value, branch: &Value, schema: &Value) -> Result<(), Wrong> {
    let wrong = |hint: &str| {
        let message = format!("found {}, expected {}{hint}", show(value, schema), expected(schema));
        Err((Code::InvalidValue, message))
    };
    if let Some(choices) = choices(branch) {
        if choices.contains(&value) {
            return Ok(());
        }
        let names = choices.iter().filter_map(|choice| choice.as_str());
        let meant = value.as_str().and_then(|found| nearest(found, names));
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        return wrong(&hint);
    }
    match value {
        Value::Number(number) => {
            let found = number.as_f64().unwrap_or(f64::NAN);
            let least = branch["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
            let most = branch["maximum"].as_f64().unwrap_or(f64::INFINITY);
            if !(least..=most).contains(&found) || !quantity_fits(value, branch) {
                return wrong("");
            }
        }
        Value::String(text) => {
            let fits = branch["pattern"].as_str().is_none_or(|pattern| matches(pattern, text));
            let long = branch["minLength"]
                .as_u64()
                .is_none_or(|least| text.chars().count() as u64 >= least);
            if !fits || !long || !quantity_fits(value, branch) {
                return wrong("");
            }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
    }
    Ok(())
}

/// Whether a duration or size is one, and within its bounds.
fn quantity_fits(value: &Value, schema: &Value) -> bool {
    let read: fn(&str) -> Option<u128> = match schema[KIND].as_str() {
        Some("duration") => |text| Span::parse(text).map(|span| span.0.as_millis()),
        Some("size") => |text| Size::parse(text).map(|size| u128::from(size.0)),
        _ => return true,
    };
    let found = match value {
        Value::String(text) => read(text),
        other => other.as_u64().map(u128::from),
    };
    let bound = |name| schema[name].as_str().and_then(read);
    found.is_some_and(|found| bound(AT_LEAST).is_none_or(|b| found >= b) && bound(AT_MOST).is_none_or(|b| found <= b))
}

/// Whether this version acts on a value that has a meaning.
fn acted_on(value: &Value, schema: &Value) -> Result<(), Wrong> {
    let Some(values) = schema[ACTS_ON].as_array().filter(|values| !values.contains(value)) else {
        return Ok(());
    };
    let names: Vec<String> = values.iter().filter(|value| !value.is_null()).map(plain).collect();
    let wanted = match names.as_slice() {
        [] => "leave the field out".to_owned(),
        names => format!("expected {}, or the field left out", or(names)),
    };
    let found = show(value, schema);
    Err((
        Code::NotSupportedYet,
        format!("found {found}, which this version does not act on; {wanted}"),
    ))
}

/// The part of a schema that speaks of values of this type.
fn branch<'s>(schema: &'s Value, found: &str) -> Option<&'s Value> {
    let Some(branches) = schema["anyOf"].as_array() else {
        return allows(schema, found).then_some(schema);
    };
    branches.iter().find_map(|inner| branch(inner, found))
}

fn allows(schema: &Value, found: &str) -> bool {
    let matches = |name: &str| name == found || (name == "number" && found == "integer");
    match &schema["type"] {
        Value::String(name) => matches(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(matches),
        _ => choices(schema).is_none_or(|choices| choices.iter().any(|choice| matches(type_name(choice)))),
    }
}

/// The values of an enumeration.
fn choices(schema: &Value) -> Option<Vec<&Value>> {
    let listed = schema["enum"].as_array().map(|values| values.iter().collect());
    listed.or_else(|| {
        let variants = schema["oneOf"].as_array()?;
        // Those without a description of their own share one.
        let values = variants.iter().flat_map(|variant| match variant["enum"].as_array() {
            Some(values) => values.iter().collect(),
            None => vec![&variant["const"]],
        });
        Some(values.collect())
    })
}

fn type_of(node: &Node) -> &'static str {
    match &node.data {
        Data::Scalar(value) => type_name(value),
        Data::List(_) => "array",
        Data::Map(_) => "object",
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(node: &Node, schema: &Value) -> String {
    let found = match &node.data {
        Data::Scalar(value) => show(value, schema),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "a mapping".to_owned(),
    };
    let wanted = expected(schema);
    let scalar = matches!(&node.data, Data::Scalar(value) if !value.is_null());
    let hint = if scalar && branch(schema, "string").is_some() {
        "; put it in quotes"
    } else if scalar && branch(schema, "array").is_some() {
        "; put it in [ ]"
    } else {
        ""
    };
    format!("found {found}, expected {wanted}{hint}")
}

/// What a value has to be, in words.
pub(super) fn expected(schema: &Value) -> String {
    let bounds = bounds(schema);
    if let Some(form) = schema[FORM].as_str() {
        return format!("{form}{bounds}");
    }
    if let Some(choices) = choices(schema) {
        let choices = choices.iter().filter(|choice| !choice.is_null());
        return or(&choices.map(|choice| plain(choice)).collect::<Vec<_>>());
    }
    if let Some(branches) = schema["anyOf"].as_array() {
        let branches = branches.iter().filter(|branch| branch["type"] != "null");
        return or(&branches.map(expected).collect::<Vec<_>>());
    }
    let words = |name: &str| match name {
        "null" => "null".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => format!("a whole number{bounds}"),
        "number" => format!("a number{bounds}"),
        "string" => "text".to_owned(),
        "array" => "a list".to_owned(),
        _ => "a mapping".to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => words(name),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            or(&names.map(words).collect::<Vec<_>>())
        }
        _ => "a value".to_owned(),
    }
}

fn bounds(schema: &Value) -> String {
    let quantity = !schema[KIND].is_null();
    let (least, most) = if quantity {
        (AT_LEAST, AT_MOST)
    } else {
        ("minimum", "maximum")
    };
    let bound = |name| Some(&schema[name]).filter(|value: &&Value| !value.is_null()).map(plain);
    match (bound(least), bound(most)) {
        (None, None) => String::new(),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (Some(least), Some(most)) => format!(", from {least} to {most}"),
    }
}

fn unknown_field(name: &str, fields: Option<&Map<String, Value>>, whole: &Node) -> String {
    if let Some(hint) = meant(name, fields) {
        return format!("no such field; did you mean {hint}?");
    }
    let names = fields.into_iter().flatten().map(|(name, _)| name.as_str());
    let free: Vec<&str> = names.filter(|name| whole.get(name).is_none()).collect();
    match free.as_slice() {
        [] => "no such field, and there is none that is not used already".to_owned(),
        free => format!("no such field; others are {}", free.join(", ")),
    }
}

fn meant<'f>(name: &str, fields: Option<&'f Map<String, Value>>) -> Option<&'f str> {
    nearest(name, fields.into_iter().flatten().map(|(name, _)| name.as_str()))
}

/// A value as it stands in a message, shortened; secrets are not shown.
fn show(value: &Value, schema: &Value) -> String {
    const MOST: usize = 60;
    if is_secret(schema) {
        return "a value that is not shown".to_owned();
    }
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::String(text) if text.chars().count() > MOST => {
            format!("{:?}…", text.chars().take(MOST).collect::<String>())
        }
        other => other.to_string(),
    }
}

/// A value as it is written in YAML.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn or(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

/// The name that was probably meant.
fn nearest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.map(|name| (distance(&found.to_lowercase(), name), name));
    let (distance, name) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.len() / 4).then_some(name)
}

/// How many characters have to be put in, taken out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().take(40).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_a_finger_slipped_on() {
        let names = ["topics", "topic_pattern", "group", "start"];
        assert_eq!(nearest("topcis", names.into_iter()), Some("topics"));
        assert_eq!(nearest("Topics", names.into_iter()), Some("topics"));
        assert_eq!(nearest("topicpattern", names.into_iter()), Some("topic_pattern"));
        assert_eq!(nearest("bootstrap", names.into_iter()), None);
    }
}
