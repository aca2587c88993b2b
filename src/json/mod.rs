//! JSON text: checking it, writing it, and how bytes stand in it.

mod format;

pub use format::{Format, Formats};
