//! Three brokers that replicate to each other, behind proxies.

use std::thread;
use std::time::Duration;

use super::children::free_port;
use super::kafka::Broker;
use super::proxy::Proxy;
use super::topics::Client;
use super::wait;

/// How many brokers there are; each partition has a replica on each.
pub const BROKERS: usize = 3;

/// Replicas without which nothing is taken.
pub const MIN_IN_SYNC: usize = 2;

/// Three brokers. Clients reach them directly, or by one of the ways: each way has a proxy of its own before each broker,
/// and who takes it is told those proxies' addresses only.
pub struct Cluster {
    brokers: Vec<Broker>,
    ways: Vec<Vec<Proxy>>,
}

/// Ports of one broker.
struct Ports {
    direct: u16,
    controller: u16,
    ways: Vec<u16>,
}

impl Cluster {
    /// Formats and starts it.
    ///
    /// # Panics
    /// If Kafka's jars or Java are missing, or the brokers do not come up.
    pub fn start(ways: usize) -> Cluster {
        let ports: Vec<Ports> = (0..BROKERS).map(|_| Ports::free(ways)).collect();
        let ways: Vec<Vec<Proxy>> = (0..ways)
            .map(|way| ports.iter().map(|ports| Proxy::to(ports.ways[way])).collect())
            .collect();
        let cluster = Cluster {
            brokers: side_by_side(|node| format(node, &ports, &ways)),
            ways,
        };
        cluster.brokers.iter().for_each(Broker::spawn);
        for broker in &cluster.brokers {
            broker.await_answer(&cluster.client());
        }
        cluster
    }

    /// A client that reaches the brokers directly.
    pub fn client(&self) -> Client {
        let all: Vec<String> = self.brokers.iter().map(Broker::bootstrap).collect();
        Client::new(&all.join(",")).replicating(i32::try_from(BROKERS).expect("three"))
    }

    /// Where a client connects that takes this way.
    pub fn bootstrap_by(&self, way: usize) -> String {
        let all: Vec<String> = self.ways[way].iter().map(|proxy| proxy.address().to_string()).collect();
        all.join(",")
    }

    /// What stands between those that take this way and a broker.
    pub fn between(&self, way: usize, broker: usize) -> &Proxy {
        &self.ways[way][broker]
    }

    /// One of the brokers.
    pub fn broker(&self, broker: usize) -> &Broker {
        &self.brokers[broker]
    }

    /// Starts a broker again that was killed, and waits until it has caught up with these topics.
    pub fn resume(&self, broker: usize, topics: &[String], patience: Duration) {
        let client = self.client();
        self.brokers[broker].spawn();
        self.brokers[broker].await_answer(&client);
        for topic in topics {
            wait::within(patience, &format!("replicas of {topic} to be in sync"), || {
                (client.in_sync(topic)? == BROKERS).then_some(())
            });
        }
    }
}

impl Ports {
    fn free(ways: usize) -> Ports {
        Ports {
            direct: free_port(),
            controller: free_port(),
            ways: (0..ways).map(|_| free_port()).collect(),
        }
    }
}

fn side_by_side(make: impl Fn(usize) -> Broker + Sync) -> Vec<Broker> {
    thread::scope(|scope| {
        let making: Vec<_> = (0..BROKERS)
            .map(|node| {
                let make = &make;
                scope.spawn(move || make(node))
            })
            .collect();
        let made = making.into_iter().map(|thread| thread.join().expect("a broker"));
        made.collect()
    })
}

fn format(node: usize, ports: &[Ports], ways: &[Vec<Proxy>]) -> Broker {
    let me = &ports[node];
    let voters = (1..)
        .zip(ports)
        .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller));
    let mut listeners = vec![
        format!("CONTROLLER://127.0.0.1:{}", me.controller),
        format!("DIRECT://127.0.0.1:{}", me.direct),
    ];
    let mut advertised = vec![format!("DIRECT://127.0.0.1:{}", me.direct)];
    let mut protocols = vec!["CONTROLLER:PLAINTEXT".to_owned(), "DIRECT:PLAINTEXT".to_owned()];
    for (way, port) in me.ways.iter().enumerate() {
        listeners.push(format!("WAY{way}://127.0.0.1:{port}"));
        advertised.push(format!("WAY{way}://{}", ways[way][node].address()));
        protocols.push(format!("WAY{way}:PLAINTEXT"));
    }
    let own = [
        "process.roles=broker,controller".to_owned(),
        format!("node.id={}", node + 1),
        format!("controller.quorum.voters={}", voters.collect::<Vec<_>>().join(",")),
        format!("listeners={}", listeners.join(",")),
        format!("advertised.listeners={}", advertised.join(",")),
        format!("listener.security.protocol.map={}", protocols.join(",")),
        "controller.listener.names=CONTROLLER".to_owned(),
        "inter.broker.listener.name=DIRECT".to_owned(),
    ];
    let replicated = REPLICATED.iter().map(|line| (*line).to_owned());
    Broker::format_node(me.direct, "256m", own.into_iter().chain(replicated), &[])
}

/// Everything stands on each broker, two of them are enough, and one that is dead is missed within three seconds.
const REPLICATED: [&str; 14] = [
    "default.replication.factor=3",
    "min.insync.replicas=2",
    "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=3",
    "transaction.state.log.min.isr=2",
    "share.coordinator.state.topic.replication.factor=3",
    "share.coordinator.state.topic.min.isr=2",
    "broker.session.timeout.ms=3000",
    "broker.heartbeat.interval.ms=500",
    "controller.quorum.fetch.timeout.ms=1000",
    "controller.quorum.election.timeout.ms=500",
    "replica.lag.time.max.ms=5000",
    "num.network.threads=1",
    "num.io.threads=4",
];
