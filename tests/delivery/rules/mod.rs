//! The rules of DESIGN's sections 5, 7 and 8, in plain words.

mod answers;
mod batches;
mod bounds;
mod breaker;
mod guards;
mod hand_over;
mod sinks;
