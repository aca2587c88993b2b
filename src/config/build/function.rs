//! A function's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::auth::auth;
use super::pipeline::Surroundings;
use super::places::{headers, url};
use crate::config::document::{ContractDoc, EventFormatDoc, FunctionDoc, ItemFailuresDoc, PipelineDoc, ResponseDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::convert::Formats;
use crate::function::{
    AliyunEventFormat, AliyunFcSettings, AwsLambdaSettings, CloudEventsMode, CloudEventsSettings, ContractKind,
    FunctionSettings, ItemFailures, Override,
};
use crate::kafka::ClusterSettings;

const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What Knative calls records that were no events.
const DEFAULT_EVENT_TYPE: &str = "dev.knative.kafka.event";

/// A function, or `None` where something is wrong with it, which was reported. It knows of no sinks and formats yet.
pub(super) fn function(
    doc: &PipelineDoc,
    function: &FunctionDoc,
    cluster: Option<&ClusterSettings>,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<FunctionSettings> {
    let path = Path::of("function");
    let headers = headers(&function.headers, &path.key("headers"), around.base, report);
    let url = url(&function.url, &path.key("url"), around.policy, report);
    let auth = auth(&function.auth, url.as_ref(), &path.key("auth"), around, report);
    refuse_options_of_others(function, &path, report);
    Some(FunctionSettings {
        pipeline: doc.name.clone(),
        url: url?,
        contract: contract(doc, function, cluster, &path, report),
        connect_timeout: MAX_CONNECT_TIMEOUT.min(function.timeout.0),
        timeout: function.timeout.0,
        max_response_bytes: function.max_response_bytes.bytes(),
        auth: auth?,
        headers,
        overrides: overrides(&doc.responses),
        sinks: Vec::new(),
        formats: Formats::default(),
        max_in_flight: doc.concurrency.max_in_flight as usize,
        policy: around.policy.clone(),
    })
}

fn contract(
    doc: &PipelineDoc,
    function: &FunctionDoc,
    cluster: Option<&ClusterSettings>,
    path: &Path,
    report: &mut Report<'_>,
) -> ContractKind {
    let events = |mode| {
        ContractKind::CloudEvents(CloudEventsSettings {
            mode,
            source: (function.event_source.clone()).unwrap_or_else(|| format!("/fnbridge/{}", doc.name)),
            kind: (function.event_type.clone()).unwrap_or_else(|| DEFAULT_EVENT_TYPE.to_owned()),
        })
    };
    match function.contract {
        ContractDoc::Json => ContractKind::Json,
        ContractDoc::Raw => ContractKind::Raw,
        ContractDoc::CloudeventsBinary => events(CloudEventsMode::Binary),
        ContractDoc::CloudeventsStructured => events(CloudEventsMode::Structured),
        ContractDoc::CloudeventsBatch => events(CloudEventsMode::Batch),
        ContractDoc::AwsLambda => {
            let wrong = |arn: &&String| !arn.starts_with("arn:");
            if let Some(found) = function.event_source.as_ref().filter(wrong) {
                let message = format!("found {found:?}, expected the ARN of an MSK cluster, or the field left out");
                report.value(&path.key("event_source"), Code::InvalidValue, message);
            }
            ContractKind::AwsLambda(AwsLambdaSettings {
                bootstrap_servers: cluster.map_or_else(String::new, |cluster| cluster.bootstrap_servers.clone()),
                cluster_arn: function.event_source.clone(),
                item_failures: match function.batch_item_failures {
                    None | Some(ItemFailuresDoc::FromFirst) => ItemFailures::FromFirst,
                    Some(ItemFailuresDoc::Listed) => ItemFailures::Listed,
                },
            })
        }
        ContractDoc::AliyunFc => ContractKind::AliyunFc(AliyunFcSettings {
            format: match function.event_format {
                None | Some(EventFormatDoc::Objects) => AliyunEventFormat::Objects,
                Some(EventFormatDoc::Strings) => AliyunEventFormat::Strings,
                Some(EventFormatDoc::RawData) => AliyunEventFormat::RawData,
            },
            instance: (function.event_source.clone()).unwrap_or_else(|| doc.source.cluster.clone()),
            account: function.event_account.clone().unwrap_or_default(),
        }),
    }
}

/// Nothing is accepted and ignored: what speaks of one contract is refused beside another.
fn refuse_options_of_others(function: &FunctionDoc, path: &Path, report: &mut Report<'_>) {
    use ContractDoc::{AliyunFc, AwsLambda, CloudeventsBatch, CloudeventsBinary, CloudeventsStructured};
    const EVENTS: [ContractDoc; 3] = [CloudeventsBatch, CloudeventsStructured, CloudeventsBinary];
    let with_source = [&EVENTS[..], &[AwsLambda, AliyunFc]].concat();
    let options: [(&str, bool, &[ContractDoc], &str); 5] = [
        (
            "batch_item_failures",
            function.batch_item_failures.is_some(),
            &[AwsLambda],
            "aws_lambda",
        ),
        (
            "event_format",
            function.event_format.is_some(),
            &[AliyunFc],
            "aliyun_fc",
        ),
        (
            "event_account",
            function.event_account.is_some(),
            &[AliyunFc],
            "aliyun_fc",
        ),
        ("event_type", function.event_type.is_some(), &EVENTS, "cloudevents_*"),
        (
            "event_source",
            function.event_source.is_some(),
            &with_source,
            "cloudevents_*, aws_lambda or aliyun_fc",
        ),
    ];
    for (name, is_stated, contracts, of) in options {
        if is_stated && !contracts.contains(&function.contract) {
            let message =
                format!("it is about the contract {of}, which is not this function's; expected it to be left out");
            report.between(&[&path.key(name), &path.key("contract")], Code::Conflict, message);
        }
    }
}

fn overrides(responses: &BTreeMap<String, ResponseDoc>) -> BTreeMap<u16, Override> {
    let meaning = |response: &ResponseDoc| match response {
        ResponseDoc::Retry => Override::Retry,
        ResponseDoc::Drop => Override::Drop,
        ResponseDoc::DeadLetter => Override::DeadLetter,
        ResponseDoc::DeliverNothing => Override::DeliverNothing,
        ResponseDoc::Block => Override::Block,
    };
    let statuses = responses
        .iter()
        .filter_map(|(status, response)| Some((status.parse().ok()?, meaning(response))));
    statuses.collect()
}
