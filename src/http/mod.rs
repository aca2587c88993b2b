//! The HTTP client that functions and HTTP sinks are called with: pooled, bounded, and exact about how a call ended.

mod client;
mod connector;
mod policy;
mod pool;

pub use client::{HttpAnswer, HttpClient, HttpError, HttpSettings};
pub use policy::AddressPolicy;
pub use pool::{AnswerPool, Lease};
