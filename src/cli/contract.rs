//! The contracts, as the commands take them.

use clap::ValueEnum;

/// The shape of request and answer that a function speaks; `docs/functions.md` describes each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Contract {
    /// A batch as JSON, a verdict a record.
    #[default]
    Json,
    /// One record's bytes, and bytes back.
    Raw,
    /// An array of CloudEvents.
    CloudeventsBatch,
    /// One CloudEvent as JSON.
    CloudeventsStructured,
    /// One CloudEvent, its attributes in headers.
    CloudeventsBinary,
    /// The event of Lambda's own Kafka mappings.
    AwsLambda,
    /// The events of Alibaba Cloud's Kafka triggers.
    AliyunFc,
}

impl Contract {
    /// Its name in `function.contract`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Contract::Json => "json",
            Contract::Raw => "raw",
            Contract::CloudeventsBatch => "cloudevents_batch",
            Contract::CloudeventsStructured => "cloudevents_structured",
            Contract::CloudeventsBinary => "cloudevents_binary",
            Contract::AwsLambda => "aws_lambda",
            Contract::AliyunFc => "aliyun_fc",
        }
    }

    /// The contract of that name.
    pub(super) fn named(name: &str) -> Option<Contract> {
        Contract::from_str(name, false).ok()
    }

    /// A call carries one record.
    pub(super) fn takes_one_record(self) -> bool {
        match self {
            Contract::Raw | Contract::CloudeventsStructured | Contract::CloudeventsBinary => true,
            Contract::Json | Contract::CloudeventsBatch | Contract::AwsLambda | Contract::AliyunFc => false,
        }
    }

    /// Where a function that runs locally is called: the cloud's own path, where there is one.
    pub(super) fn path(self) -> &'static str {
        match self {
            Contract::AwsLambda => "/2015-03-31/functions/function/invocations",
            Contract::AliyunFc => "/invoke",
            _ => "/",
        }
    }

    /// What a file exports that is a handler of this contract, and no server.
    pub(super) fn handler(self) -> Option<&'static str> {
        match self {
            Contract::Json => Some("verdict"),
            Contract::AwsLambda | Contract::AliyunFc => Some("handler"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check_text;

    #[test]
    fn a_pipeline_takes_each_contract_by_the_name_that_commands_take() {
        for contract in Contract::value_variants() {
            let said = contract.to_possible_value().unwrap();
            assert_eq!(said.get_name(), contract.name());
            let one = if contract.takes_one_record() { 1 } else { 2 };
            let pipeline = format!(
                "name: p\nsource: {{topics: [t]}}\nbatch: {{max_records: {one}}}\nfunction: {{url: 'http://h/', contract: {}}}\n",
                contract.name()
            );
            let problems = check_text("p", &pipeline).problems;
            assert!(problems.0.is_empty(), "{problems}");
        }
    }
}
