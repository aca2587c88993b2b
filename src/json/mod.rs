//! JSON text: checking it, writing it, and how bytes stand in it. Values travel as slices of text, never as trees.

mod check;
mod format;
mod write;

pub use check::{check, explain};
pub use format::{Format, Formats};
pub use write::{push_base64, push_headers, push_named, push_string};
