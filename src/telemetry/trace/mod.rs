//! One span an attempt, sent by OTLP over HTTP; without an endpoint only a trace context for the function, which costs
//! a few random bytes.

mod context;
mod export;
mod span;
#[cfg(test)]
mod tests;

pub use self::export::{Tracing, init_tracing};
pub use self::span::AttemptSpan;
