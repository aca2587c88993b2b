//! Text that may stand elsewhere.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Text, or where it is found.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum TextDoc {
    Here(String),
    Elsewhere {
        #[serde(default)]
        env: Option<String>,
        #[serde(default)]
        file: Option<String>,
        #[serde(default)]
        secret: Option<String>,
    },
}

impl fmt::Debug for TextDoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TextDoc(…)")
    }
}

impl JsonSchema for TextDoc {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "env": { "type": "string", "minLength": 1, "description": "The name of an environment variable." },
                        "file": {
                            "type": "string",
                            "minLength": 1,
                            "description": "A file's path; an end of line at its end is left out.",
                        },
                        "secret": {
                            "type": "string",
                            "minLength": 1,
                            "description": "The name of a secret in the store; for pipelines that are registered there.",
                        },
                    },
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
            "x-fnbridge-form": "text, {env: NAME}, {file: PATH} or {secret: NAME}",
            "x-fnbridge-secret": true,
        })
    }
}
