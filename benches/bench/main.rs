//! Measures fnbridge against the raw loop, on a broker that runs already: `bench BROKERS FNBRIDGE RAW_LOOP FOLDER ROW…`.

mod contender;
mod contracts;
mod delay;
mod function;
mod keys;
mod memory;
mod neighbour;
mod pairs;
mod process;
mod topics;

use std::path::PathBuf;

use crate::topics::Cluster;

/// Partitions of every source topic.
pub const PARTITIONS: i32 = 12;

/// What a run is made with.
pub struct Bench {
    /// A broker that runs already.
    pub cluster: Cluster,
    /// The program that is measured.
    pub fnbridge: PathBuf,
    /// The program that it is measured against.
    pub raw_loop: PathBuf,
    /// For configurations and logs.
    pub folder: PathBuf,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().unwrap_or_else(|| panic!("expected {what}"));
    let bench = Bench {
        cluster: Cluster::new(&next("BROKERS")),
        fnbridge: next("FNBRIDGE").into(),
        raw_loop: next("RAW_LOOP").into(),
        folder: next("FOLDER").into(),
    };
    for row in args {
        match row.as_str() {
            "json" => pairs::run(&bench, &pairs::JSON),
            "raw" => pairs::run(&bench, &pairs::RAW),
            "exactly_once" => pairs::run(&bench, &pairs::EXACTLY_ONCE),
            "contracts" => contracts::run(&bench),
            "filter" => contracts::run_filter(&bench),
            "delay" => delay::run(&bench),
            "keys" => keys::run(&bench),
            "memory" => memory::run_down(&bench),
            "idle" => memory::run_idle(&bench),
            "neighbour" => neighbour::run(&bench),
            other => {
                panic!(
                    "found row {other}, expected json, raw, exactly_once, contracts, filter, delay, keys, memory, idle or neighbour"
                )
            }
        }
    }
}

/// The value in the middle, of an odd number of values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that this share of all values is not above.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}
