//! The delivery core against a naive model.

mod invariants;
mod promises;
mod world;
