//! What the fleet is to run, kept in a store, and seen to.

mod keeper;
pub mod registry;
mod supervisor;

pub use supervisor::{Supervisor, Wish};
