//! The commands.

#[allow(dead_code)]
pub mod dev;
