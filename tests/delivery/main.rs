//! The delivery core against a naive model.
