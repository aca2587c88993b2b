//! What the tests hold in their hands: brokers, functions, sinks, workers, and a look into topics.

pub mod checker;
pub mod children;
// Three brokers and their wires are the chaos suite's.
#[allow(dead_code)]
pub mod cluster;
pub mod commands;
pub mod kafka;
pub mod load;
pub mod metrics;
pub mod page;
pub mod pipeline;
#[allow(dead_code)]
pub mod proxy;
pub mod secured;
pub mod server;
#[allow(dead_code)]
#[path = "../../control/servers.rs"]
pub mod stores;
pub mod tap;
pub mod test;
pub mod topics;
pub mod wait;
pub mod worker;
