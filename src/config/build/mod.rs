//! From documents that have the right shape to settings that can be trusted: the rules between values are checked here,
//! as what they are about is built.

mod auth;
mod cluster;
mod exactly_once;
mod filter;
mod function;
mod pipeline;
mod places;
mod sinks;
mod source;
mod worker;

pub(crate) use pipeline::{Surroundings, pipeline};
pub use worker::{AccessSettings, StoreUrl, WorkerSettings};
pub(crate) use worker::{Clusters, worker};
