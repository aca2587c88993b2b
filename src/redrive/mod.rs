//! Redriving: which dead letters may be sent through again, and how a job that does it comes along. Pure: no clock, no IO.

mod cursor;
mod job;
mod way;

pub use cursor::Cursors;
pub use job::{Became, Counts, Edit, Job, Progress, State, Wanted, WrongState};
pub use way::{Ask, Pipeline, Refused, To, Way};
