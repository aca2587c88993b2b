//! fnbridge attaches a function to a Kafka topic.
//!
//! The modules stand in reading order: each may use those above it, never those below.

pub mod telemetry;

pub mod shutdown;

pub mod json;

pub mod http;

pub mod auth;

pub mod kafka;

pub mod convert;

pub mod filter;

pub mod function;

pub mod sink;

pub mod deadletter;

pub mod pipeline;

pub mod config;

pub mod database;

pub mod store;

pub mod letters;

pub mod redrive;

pub mod audit;

pub mod control;

pub mod api;

pub mod cli;

pub use fnbridge_delivery as delivery;

#[cfg(test)]
mod bad_bytes;
