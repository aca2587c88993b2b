//! Functions that the Functions Frameworks host, which print what they were given.

use fnbridge::function::CloudEventsMode;
use serde_json::{Value, json};

use crate::calls::{call, record, results, settings};
use crate::cloudevents::contract;
use crate::servers::Host;
use crate::{Test, test};

/// One a language.
pub fn tests() -> Vec<Test> {
    [
        ("python", Host::PythonFramework),
        ("javascript", Host::JavaScriptFramework),
        ("go", Host::GoFramework),
    ]
    .map(|(language, host)| test(format!("frameworks::{language}"), move || hosts(host)))
    .into()
}

/// The function is called with the event in both modes, and what the framework answers is an answer.
fn hosts(host: Host) {
    for (offset, mode) in [(42, CloudEventsMode::Binary), (43, CloudEventsMode::Structured)] {
        let mut settings = settings(host.server().url("/"), contract(mode));
        settings.sinks = Vec::new();
        let value = format!(r#"{{"order":{offset},"name":"Zoë"}}"#);
        let accepted = results(call(settings, vec![record(offset, value)]));
        assert_eq!(accepted, [vec![]]);

        let id = format!("partition:3/offset:{offset}");
        let line = host.server().await_line(&id);
        let mut printed: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let data = printed.as_object_mut().unwrap().remove("data");
        assert_eq!(data, Some(json!({"order": offset, "name": "Zoë"})), "{line}");
        let attributes = printed.get("attributes").unwrap_or(&printed);
        let told = ["id", "source", "type", "subject"].map(|name| attributes[name].as_str());
        let subject = format!("partition:3#{offset}");
        assert_eq!(
            told,
            [Some(&*id), Some("/shop#orders"), Some("order.raw"), Some(&subject)]
        );
    }
}
