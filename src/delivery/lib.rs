//! The delivery rules: what is called when, what is retried, what is settled, what is committed.
//!
//! Nothing here has a clock, does IO, waits, rolls dice or logs. A [`Task`] is handed an [`event::Event`] and the
//! time, and asks for [`event::Effect`]s.

pub mod answer;
mod breaker;
mod concurrency;
pub mod event;
pub mod group;
mod guard;
pub mod identity;
mod invariants;
mod lane;
pub mod memo;
mod offsets;
mod outage;
mod partition;
pub mod rate;
pub mod record;
mod restored;
pub mod retry;
pub mod settings;
mod share;
pub mod skips;
mod task;
mod throttle;
pub mod time;
pub mod transaction;
mod work;

pub use task::Task;

#[cfg(test)]
#[allow(dead_code)]
#[path = "../bad_bytes.rs"]
mod bad_bytes;
