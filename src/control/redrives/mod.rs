//! Redrives: jobs in the store, which any worker that runs their pipeline can carry on; and what was done about letters.

mod board;
mod marks;
mod outlet;
mod reader;
mod run;
mod shift;

pub use board::{Asked, Board, BoardError, Posted};
pub use marks::{Block, Mark, Marks, stands};
pub(super) use shift::{Around, Shift};
