//! The only place that logs, counts and traces: one function a noteworthy event.
