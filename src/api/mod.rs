//! The API under `/v1`.

pub mod wire;
