//! `fnbridge dev`: broker, function, traffic and a live view in one process.

mod args;
mod feeder;
mod sample;
mod screen;
mod tail;
mod traffic;
mod view;

pub use args::DevArgs;
