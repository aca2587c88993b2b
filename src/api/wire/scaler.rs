//! What an autoscaler reads.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What is scaled for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ScalerQuery {
    /// One pipeline; all of them where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(example = "orders")]
    pub pipeline: Option<String>,
    /// Within how many seconds what waits is to be dispatched: 30 if nothing is said, at least 1, at most 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 86400)]
    pub within_seconds: Option<u32>,
}

/// The work that waits for workers. Records that are with the function, or wait for it to be asked again, count as lag and not here; nor do those
/// of a pipeline that is paused, or waits for its function, a sink or an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scaler {
    /// Records that no call has carried yet and none carries now.
    pub undispatched_records: u64,
    /// The age of the oldest of them, in seconds.
    pub oldest_undispatched_seconds: f64,
    /// Workers that run what was asked for.
    pub workers: u64,
    /// How many there should be: what the pipeline that asks for most asks for.
    pub wanted_workers: u64,
}
