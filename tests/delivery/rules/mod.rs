//! The rules of delivery, in plain words.

mod ahead;
mod answers;
mod batches;
mod bounds;
mod breaker;
mod exactly_once;
mod guards;
mod hand_over;
mod limits;
mod memos;
mod sinks;
mod skips;
mod stopped;
