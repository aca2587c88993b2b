//! Documents for those who may not see what is secret in them.

use serde_json::Value;

use super::schema::{is_secret, pipeline_schema};

/// Pipelines' documents with `(hidden N)` in the place of each text that may be a secret and stands there itself. Equal texts have equal
/// numbers, so that documents which are hidden together differ wherever they did.
pub fn hidden<const N: usize>(documents: [&Value; N]) -> [Value; N] {
    let mut texts = Vec::new();
    documents.map(|document| {
        let mut document = document.clone();
        hide(&mut document, pipeline_schema(), &mut texts);
        document
    })
}

/// Whether a text stands for one that was hidden.
pub(super) fn is_hidden(text: &str) -> bool {
    let number = text.strip_prefix("(hidden ").and_then(|rest| rest.strip_suffix(')'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn hide(value: &mut Value, schema: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if is_secret(schema) => {
            let known = texts.iter().position(|known| known == text);
            let number = known.unwrap_or_else(|| {
                texts.push(text.clone());
                texts.len() - 1
            });
            *text = format!("(hidden {})", number + 1);
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let own = schema["properties"].get(name);
                hide(field, own.unwrap_or(&schema["additionalProperties"]), texts);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, &schema["items"], texts)),
        _ => {}
    }
    if matches!(value, Value::Object(_) | Value::Array(_)) {
        ways(schema).for_each(|way| hide(value, way, texts));
    }
}

/// The schemas of which a value may follow any.
fn ways(schema: &Value) -> impl Iterator<Item = &Value> {
    let words = ["anyOf", "oneOf"].into_iter();
    words.filter_map(|word| schema[word].as_array()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::schema::SECRET;

    #[test]
    fn texts_that_may_be_secret_are_hidden_and_references_are_not() {
        let document = json!({
            "name": "orders",
            "source": {"topics": ["orders"]},
            "function": {"url": "http://f/", "headers": {"x-key": "k", "x-team": {"env": "TEAM"}}, "auth": {"type": "hmac", "keys": ["a", "b", {"secret": "c"}]}},
            "sinks": [{"http": {"url": "http://s/", "auth": {"type": "bearer", "token": "b"}}}, {"kafka": {"topic": "out"}}],
        });
        let [shown] = hidden([&document]);
        assert_eq!(
            shown,
            json!({
                "name": "orders",
                "source": {"topics": ["orders"]},
                "function": {"url": "http://f/", "headers": {"x-key": "(hidden 1)", "x-team": {"env": "TEAM"}},
                    "auth": {"type": "hmac", "keys": ["(hidden 2)", "(hidden 3)", {"secret": "c"}]}},
                "sinks": [{"http": {"url": "http://s/", "auth": {"type": "bearer", "token": "(hidden 3)"}}}, {"kafka": {"topic": "out"}}],
            })
        );
    }

    #[test]
    fn documents_that_differ_in_a_secret_alone_still_differ() {
        let with = |token: &str| json!({"function": {"auth": {"token": token}}});
        let token = |document: &Value| document["function"]["auth"]["token"].clone();
        let [before, after, again] = hidden([&with("one"), &with("two"), &with("one")]);
        assert_eq!(
            [token(&before), token(&after), token(&again)],
            ["(hidden 1)", "(hidden 2)", "(hidden 1)"]
        );
    }

    /// What the schema says is secret is all that [`hide`] goes by: none of it stands where it does not look.
    #[test]
    fn no_secret_of_the_schema_is_out_of_reach() {
        fn count(schema: &Value) -> usize {
            match schema {
                Value::Object(object) if object.contains_key(SECRET) => 1,
                Value::Object(object) => object.values().map(count).sum(),
                Value::Array(items) => items.iter().map(count).sum(),
                _ => 0,
            }
        }
        fn reached(schema: &Value) -> usize {
            if !schema.is_object() {
                return 0;
            }
            if schema[SECRET] == true {
                return 1;
            }
            let fields = schema["properties"]
                .as_object()
                .into_iter()
                .flat_map(|fields| fields.values());
            let inside = fields.chain([&schema["items"], &schema["additionalProperties"]]);
            inside.chain(ways(schema)).map(reached).sum()
        }
        assert!(count(pipeline_schema()) > 10);
        assert_eq!(reached(pipeline_schema()), count(pipeline_schema()));
    }

    #[test]
    fn what_was_hidden_is_known_again() {
        for (text, expected) in [
            ("(hidden 1)", true),
            ("(hidden 12)", true),
            ("(hidden )", false),
            ("(hidden one)", false),
            ("hidden 1", false),
        ] {
            assert_eq!(is_hidden(text), expected, "{text}");
        }
    }
}
