//! The HTTP client that functions and HTTP sinks are called with: pooled, bounded, and exact about how a call ended.

mod answer;
mod check;
mod client;
mod connector;
mod policy;
mod pool;
mod reading;
mod retry_after;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use answer::{HttpAnswer, HttpError};
pub use check::{check_header, check_url};
pub use client::{HttpClient, HttpSettings};
pub use connector::reach;
pub use policy::AddressPolicy;
pub use pool::{AnswerPool, Lease};
pub use retry_after::retry_after;
