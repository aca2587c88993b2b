//! Signatures of the clouds, compared with what their owners' own signers make of the same request at the same time.

use fnbridge::auth::{AuthSettings, AwsSettings, CloudKeys, Secret};
use fnbridge::delivery::answer::Answer;
use fnbridge::function::{AliyunEventFormat, AliyunFcSettings, AwsLambdaSettings, ContractKind, ItemFailures};

use crate::calls::{call, record, settings};
use crate::servers::Host;
use crate::{Test, test};

/// The same as the server's.
const SECRET: &str = "counterparts-secret";

/// One a cloud.
pub fn tests() -> Vec<Test> {
    vec![
        test("signers::botocore_sigv4", botocore),
        test("signers::alibaba_acs3", alibaba),
    ]
}

fn botocore() {
    let lambda = ContractKind::AwsLambda(AwsLambdaSettings {
        bootstrap_servers: "b-1:9092".to_owned(),
        cluster_arn: None,
        item_failures: ItemFailures::FromFirst,
    });
    let paths = [
        "/2015-03-31/functions/enrich/invocations",
        "/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:enrich/invocations",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aenrich/invocations?Qualifier=$LATEST",
        "/",
        "/a/../b//c/?z=1&a=2&a=1&empty=&name=Zo%C3%AB%20%2B",
    ];
    for (path, service) in paths.iter().flat_map(|path| [(path, "lambda"), (path, "execute-api")]) {
        agrees(path, &lambda, |keys| {
            AuthSettings::AwsSigv4(AwsSettings {
                region: "eu-west-1".to_owned(),
                service: service.to_owned(),
                keys: Some(keys),
            })
        });
    }
}

fn alibaba() {
    let fc = ContractKind::AliyunFc(AliyunFcSettings {
        format: AliyunEventFormat::Objects,
        instance: "alikafka_post-cn-1".to_owned(),
        account: "1234567890".to_owned(),
    });
    for path in [
        "/2023-03-30/functions/enrich/invocations",
        "/2023-03-30/functions/enrich/invocations?qualifier=LATEST",
        "/",
        "/hook/%E8%AE%A2%E5%8D%95?z=1&a=2&empty=&name=Zo%C3%AB%20%2B~",
    ] {
        agrees(path, &fc, |keys| AuthSettings::AliyunAcs3(Some(keys)));
    }
}

/// With lasting keys and with lent ones, a body of any text included.
fn agrees(path: &str, contract: &ContractKind, auth: impl Fn(CloudKeys) -> AuthSettings) {
    for token in [None, Some("lent/token+of==")] {
        let keys = CloudKeys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Secret(SECRET.to_owned()),
            token: token.map(|token| Secret(token.to_owned())),
        };
        let mut settings = settings(Host::Python.server().url(path), contract.clone());
        settings.auth = auth(keys);
        settings.headers = vec![("x-team".to_owned(), "payments".to_owned())];
        let answer = call(settings, vec![record(42, r#"{"name":"Zoë"}"#)]);
        match answer {
            Answer::Verdicts(_) => {}
            Answer::Misregistered(failure) => {
                panic!(
                    "{path}: the signatures differ:\n{}",
                    String::from_utf8_lossy(&failure.response)
                )
            }
            other => panic!("{path}: {other:#?}"),
        }
    }
}
