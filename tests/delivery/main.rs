//! The delivery core against a naive model.

mod promises;
mod rules;
mod script;
mod timing;
