//! A function on this machine: what runs it, and its process.

mod exports;
mod folder;
mod output;
mod process;
mod way;

pub(super) use output::{Output, Said};
pub(super) use process::{Process, free_port, until_listening};
pub(super) use way::Way;
