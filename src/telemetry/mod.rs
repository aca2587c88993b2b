//! The only place that logs, counts and traces: one function a noteworthy event, which does what of the three it deserves.
//!
//! A pipeline has a [`PipelineTelemetry`], the worker a [`WorkerTelemetry`]. Counting on the hot path is an addition to a
//! number that was found when the partition was assigned; gauges are worked out when somebody looks.

mod events;
mod log;
mod metrics;
mod pipeline;
mod recent;
mod repeats;
pub mod status;
#[cfg(test)]
mod tests;
mod trace;
mod troubles;

pub use self::events::WorkerTelemetry;
pub use self::log::{LogFormat, LogLevel, LogSettings, init_log, log_lines};
pub use self::metrics::letters::Depth;
pub use self::metrics::{attempts, metrics_page, render_metrics};
pub use self::pipeline::PipelineTelemetry;
pub use self::recent::{PipelineEvent, live_events, recent_events};
pub use self::trace::{AttemptSpan, Tracing, init_tracing};
pub use self::troubles::{Outlet, Voice};
