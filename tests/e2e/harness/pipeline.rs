//! A pipeline's document, as a user would write it.

use serde_json::{Map, Value, json};

/// A pipeline's document.
#[derive(Clone, Debug)]
pub struct Pipeline {
    document: Value,
}

impl Pipeline {
    /// One that reads a topic, with retries quick enough for a test.
    pub fn new(name: &str, topic: &str) -> Pipeline {
        Pipeline {
            document: json!({
                "name": name,
                "source": {"topics": [topic]},
                "retry": {"initial_backoff": "20ms", "max_backoff": "200ms"},
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.document["name"].as_str().expect("a name")
    }

    /// Its group.
    pub fn group(&self) -> String {
        let group = self.document["source"]["group"].as_str();
        group.map_or_else(|| format!("fnbridge-{}", self.name()), str::to_owned)
    }

    /// Its dead-letter topic.
    pub fn dead_letter_topic(&self) -> String {
        let topic = self.document["dead_letter"]["topic"].as_str();
        topic.map_or_else(|| format!("{}.dead-letter", self.name()), str::to_owned)
    }

    /// Sets a field by its path, for example `batch.max_records`; null removes it.
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Pipeline {
        let (parents, field) = path.rsplit_once('.').map_or((None, path), |(p, f)| (Some(p), f));
        let mut at = &mut self.document;
        for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
            at = &mut at[parent];
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
        }
        match value.into() {
            Value::Null => drop(at.as_object_mut().expect("an object").remove(field)),
            value => at[field] = value,
        }
        self
    }

    /// Calls the function at this URL.
    pub fn function(self, url: &str) -> Pipeline {
        self.set("function.url", url)
    }

    /// Its results also go to this Kafka topic.
    pub fn topic_sink(self, topic: &str) -> Pipeline {
        self.sink(json!({"kafka": {"topic": topic}}))
    }

    /// Its results also go to this URL.
    pub fn http_sink(self, url: &str) -> Pipeline {
        self.sink(json!({"http": {"url": url}}))
    }

    /// One more sink.
    pub fn sink(mut self, sink: Value) -> Pipeline {
        match self.document["sinks"].as_array_mut() {
            Some(sinks) => sinks.push(sink),
            None => self.document["sinks"] = json!([sink]),
        }
        self
    }

    /// The document's text. JSON is YAML.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.document)
    }
}
