//! The delivery rules: what is called when, what is retried, what is settled, what is committed.
//!
//! Nothing here has a clock, does IO, waits, rolls dice or logs. A [`Task`](event) is handed an [`event::Event`] and the
//! time, and asks for [`event::Effect`]s.

pub mod answer;
pub mod event;
pub mod identity;
pub mod record;
pub mod settings;
pub mod time;
