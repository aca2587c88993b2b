//! The documents as they are written. Their types are the only place that says which fields there are, what they default
//! to and what they mean: the schema, the pages and the reading are made of them.

mod auth;
mod pipeline;
mod text;
mod worker;

pub(super) use auth::{AuthDoc, AuthKindDoc};
pub(super) use pipeline::{
    ContractDoc, DeliveryDoc, EventFormatDoc, FormatDoc, FunctionDoc, IsolationDoc, ItemFailuresDoc, LimitsDoc,
    OnExhaustedDoc, OrderingDoc, PipelineDoc, ResponseDoc, SinkDoc, SourceDoc, StateDoc,
};
pub(super) use text::TextDoc;
pub(super) use worker::{
    ClusterDoc, LogFormatDoc, LogLevelDoc, MechanismDoc, PropertyDoc, ProtocolDoc, RoleDoc, SecurityDoc, WorkerDoc,
};
