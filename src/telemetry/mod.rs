//! The only place that logs, counts and traces: one function a noteworthy event, which does what of the three it deserves.
//!
//! A pipeline has a [`PipelineTelemetry`], the worker a [`WorkerTelemetry`]. Counting on the hot path is an addition to a
//! number that was found when the partition was assigned; gauges are worked out when somebody looks.

mod events;
mod log;
mod metrics;
mod pipeline;
mod repeats;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod trace;

pub use self::events::WorkerTelemetry;
pub use self::log::{LogFormat, LogLevel, LogSettings, init_log, log_lines};
pub use self::metrics::{attempts, metrics_page, render_metrics};
pub use self::pipeline::PipelineTelemetry;
pub use self::server::{OpsServer, Readiness};
pub use self::trace::{AttemptSpan, Tracing, init_tracing};
