//! What the fleet is to run, kept in a store, and seen to.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod files;
pub mod fleet;
mod keeper;
pub mod letters;
pub mod redrives;
pub mod registry;
mod supervisor;

pub use supervisor::{Supervisor, Wish};
