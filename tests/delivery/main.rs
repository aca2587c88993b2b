//! The delivery core against a naive model.

mod invariants;
mod promises;
mod rules;
mod script;
mod timing;
mod world;
