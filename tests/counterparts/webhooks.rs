//! Signatures of Standard Webhooks, verified by the libraries that receivers use, while keys are exchanged.

use fnbridge::auth::{AuthSettings, Secret};
use fnbridge::delivery::answer::{Answer, Failure};
use fnbridge::function::ContractKind;

use crate::calls::{call, record, settings};
use crate::servers::Host;
use crate::{Test, test};

const OLD: &str = "whsec_b2xkLWtleS1vZi10aGUtd2ViaG9vay0wMDAwMDAx";
const NEW: &str = "whsec_bmV3LWtleS1vZi10aGUtd2ViaG9vay0wMDAwMDAx";
const OTHER: &str = "whsec_b3RoZXIta2V5LW9mLWEtd2ViaG9vay0wMDAwMDAx";

/// One a language.
pub fn tests() -> Vec<Test> {
    [
        ("python", Host::Python),
        ("javascript", Host::JavaScript),
        ("go", Host::Go),
        ("java", Host::Java),
    ]
    .map(|(language, host)| test(format!("webhooks::{language}"), move || verifies(host)))
    .into()
}

/// While both keys sign, receivers with either of them verify; one with another key does not.
fn verifies(host: Host) {
    let call_with = |keys: &[&str], secret: &str| {
        let url = host.server().url(&format!("/?secret={}", secret.replace('+', "%2B")));
        let mut settings = settings(url, ContractKind::Json);
        settings.auth = AuthSettings::Hmac(keys.iter().map(|key| Secret((*key).to_owned())).collect());
        settings.pipeline = "orders;enrich".to_owned();
        call(
            settings,
            vec![record(42, r#"{"name":"Zoë","amount":1.50}"#), record(43, "null")],
        )
    };
    for (keys, secret, verifies) in [
        (&[OLD][..], OLD, true),
        (&[NEW, OLD], OLD, true),
        (&[NEW, OLD], NEW, true),
        (&[NEW], NEW, true),
        (&[NEW], OLD, false),
        (&[NEW, OLD], OTHER, false),
    ] {
        let answer = call_with(keys, secret);
        match (&answer, verifies) {
            (Answer::Verdicts(_), true) | (Answer::Misregistered(Failure { status: Some(401), .. }), false) => {}
            _ => panic!("{keys:?} for {secret}: {answer:?}"),
        }
    }
}
