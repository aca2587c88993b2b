//! Simulated worlds that put the delivery rules to the test: the real tasks and desks, and a model of everything around
//! them, driven by seeded dice.

pub mod dice;
pub mod history;
mod invariants;
pub mod live;
pub mod plan;
pub mod promises;
pub mod shrink;
pub mod world;

/// Seeds of worlds that once broke a promise, each with what broke.
pub fn kept_seeds() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines();
    lines
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}
