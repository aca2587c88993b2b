//! Everything that runs: brokers, a store, workers, the function and the HTTP sink, each behind proxies.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::function::{Function, Posts, since};
use crate::harness::cluster::{Cluster, MIN_IN_SYNC};
use crate::harness::proxy::Proxy;
use crate::harness::server::Server;
use crate::harness::stores::{self, Kind};
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};
use crate::history::{Lanes, Ms, Who};
use crate::schedule::SLOTS;

/// Partitions of every topic.
pub const PARTITIONS: i32 = 6;

/// What a pipeline is about.
#[derive(Clone, Copy)]
pub struct Line {
    pub name: &'static str,
    pub lanes: Lanes,
    pub exactly_once: bool,
    /// Its results also go to the HTTP sink.
    pub posts: bool,
}

/// The pipelines, which run all at the same time.
pub const LINES: [Line; 4] = [
    Line {
        name: "by-partition",
        lanes: Lanes::Partitions,
        exactly_once: false,
        posts: false,
    },
    Line {
        name: "by-key",
        lanes: Lanes::Keys,
        exactly_once: false,
        posts: true,
    },
    Line {
        name: "in-parallel",
        lanes: Lanes::Records,
        exactly_once: false,
        posts: false,
    },
    Line {
        name: "exactly-once",
        lanes: Lanes::Partitions,
        exactly_once: true,
        posts: false,
    },
];

impl Line {
    pub fn source(&self) -> String {
        format!("{}-in", self.name)
    }

    pub fn sink(&self) -> String {
        format!("{}-out", self.name)
    }

    pub fn letters(&self) -> String {
        format!("{}.dead-letter", self.name)
    }

    pub fn group(&self) -> String {
        format!("fnbridge-{}", self.name)
    }

    fn document(&self, function: &Proxy, posts: &Proxy) -> Value {
        let mut sinks = vec![json!({"kafka": {"topic": self.sink()}})];
        if self.posts {
            let url = format!("http://{}/", posts.address());
            sinks.push(json!({"http": {"url": url, "timeout": "4s"}}));
        }
        let ordering = match self.lanes {
            Lanes::Partitions => "partition",
            Lanes::Keys => "key",
            Lanes::Records => "none",
        };
        json!({
            "name": self.name,
            "source": {"topics": [self.source()]},
            "ordering": ordering,
            "delivery": if self.exactly_once { "exactly_once" } else { "at_least_once" },
            "function": {
                "url": format!("http://{}/{}", function.address(), self.name),
                "timeout": "4s",
                "headers": {"x-worker": {"env": WORKER}},
            },
            "batch": {"max_records": 20},
            "retry": {"initial_backoff": "50ms", "max_backoff": "1s"},
            "sinks": sinks,
        })
    }
}

/// The variable by which a worker knows which one it is; it says so with each call.
const WORKER: &str = "CHAOS_WORKER";

pub struct Stage {
    began: Instant,
    began_at_epoch: Ms,
    pub folder: PathBuf,
    pub cluster: Cluster,
    pub store: Mutex<stores::Server>,
    store_url: String,
    pub store_way: Proxy,
    pub functions: Vec<Arc<Function>>,
    pub function_ways: Vec<Proxy>,
    pub posts: Arc<Posts>,
    pub posts_way: Proxy,
    servers: Vec<Server>,
    pub slots: Vec<Slot>,
}

/// A worker's place in the fleet.
#[derive(Default)]
pub struct Slot {
    worker: Mutex<Option<(Who, Arc<Worker>)>>,
    lives: Mutex<usize>,
}

impl Stage {
    /// Starts everything, and waits until the pipelines run.
    pub fn set(folder: PathBuf) -> Stage {
        let began = Instant::now();
        let began_at_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a date")
            .as_millis();
        let cluster = Cluster::start(SLOTS);
        create_topics(&cluster);
        let store = stores::Server::start(Kind::Postgres);
        let (store_way, store_url) = behind_a_proxy(&store.url("chaos"));
        let functions: Vec<_> = LINES.iter().map(|_| Arc::new(Function::new(began))).collect();
        let posts = Arc::new(Posts::new(began));
        let mut servers: Vec<Server> = functions.iter().map(serve_function).collect();
        let function_ways = servers.iter().map(|server| Proxy::to(server.port())).collect();
        servers.push(serve_posts(&posts));
        let posts_way = Proxy::to(servers.last().expect("just pushed").port());
        let stage = Stage {
            began,
            began_at_epoch: Ms::try_from(began_at_epoch).expect("a date"),
            folder,
            cluster,
            store: Mutex::new(store),
            store_url,
            store_way,
            functions,
            function_ways,
            posts,
            posts_way,
            servers,
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
        };
        (0..SLOTS).for_each(|slot| stage.start_worker(slot));
        stage.register();
        stage
    }

    /// Milliseconds since the run began.
    pub fn now(&self) -> Ms {
        since(self.began)
    }

    /// The same, of a broker's or a worker's time.
    pub fn at(&self, epoch_ms: i64) -> Ms {
        epoch_ms - self.began_at_epoch
    }

    /// Starts a worker in an empty place.
    pub fn start_worker(&self, slot: usize) {
        let mut life = lock(&self.slots[slot].lives);
        *life += 1;
        let who = Who { slot, life: *life };
        let setting = Setting::plaintext(&self.cluster.bootstrap_by(slot))
            .property("session.timeout.ms", "6000")
            .property("heartbeat.interval.ms", "500")
            .with("store", json!(self.store_url))
            .environment(WORKER, &who.to_string());
        let worker = Arc::new(Worker::start(&who.to_string(), &self.folder, &setting, None));
        *lock(&self.slots[slot].worker) = Some((who, worker));
    }

    /// The worker in a place, if there is one.
    pub fn worker(&self, slot: usize) -> Option<(Who, Arc<Worker>)> {
        lock(&self.slots[slot].worker).clone()
    }

    /// Takes the worker out of a place, for good. Its log is kept.
    pub fn take_worker(&self, slot: usize) -> Option<(Who, Arc<Worker>)> {
        lock(&self.slots[slot].worker).take()
    }

    /// Writes what a worker said into the run's folder.
    pub fn keep_log(&self, who: Who, worker: &Worker) {
        let file = self.folder.join(format!("worker-{who}.log"));
        fs::write(file, worker.log().join("\n") + "\n").expect("a worker's log");
    }

    /// Ends what answers calls, so that nothing is noted any more.
    pub fn end(&self) {
        for slot in 0..SLOTS {
            if let Some((who, worker)) = self.take_worker(slot) {
                worker.kill();
                self.keep_log(who, &worker);
            }
        }
        self.servers.iter().for_each(Server::stop);
    }

    fn register(&self) {
        let (_, worker) = self.worker(0).expect("it was started");
        worker.await_ready();
        for (line, function) in LINES.iter().zip(&self.function_ways) {
            let file = self.folder.join(format!("{}.json", line.name));
            fs::write(&file, line.document(function, &self.posts_way).to_string()).expect("a pipeline's file");
            worker.command(&self.folder, &["apply", "-f", &file.display().to_string()]);
        }
        for slot in 0..SLOTS {
            let (who, worker) = self.worker(slot).expect("it was started");
            wait::until_true(&format!("worker {who} to hold partitions of each pipeline"), || {
                let metrics = worker.metrics();
                LINES.iter().all(|line| {
                    let label = format!(r#"pipeline="{}""#, line.name);
                    metrics.sum("fnbridge_assigned_partitions", &[&label]) > 0.0
                })
            });
        }
    }
}

/// A proxy before what a URL names, and the URL that leads through it.
fn behind_a_proxy(url: &str) -> (Proxy, String) {
    let (host, path) = url.rsplit_once('/').expect("a path");
    let (host, port) = host.rsplit_once(':').expect("a port");
    let way = Proxy::to(port.parse().expect("a port"));
    let url = format!("{host}:{}/{path}", way.port());
    (way, url)
}

/// Sinks and dead letters have the broker's time, so that it is known when each was stored.
fn create_topics(cluster: &Cluster) {
    let client = cluster.client();
    let in_sync = MIN_IN_SYNC.to_string();
    let in_sync = ("min.insync.replicas", in_sync.as_str());
    let stored = ("message.timestamp.type", "LogAppendTime");
    for line in &LINES {
        client.create(&line.source(), PARTITIONS, &[in_sync]);
        client.create(&line.sink(), PARTITIONS, &[in_sync, stored]);
        client.create(&line.letters(), PARTITIONS, &[in_sync, stored, ("retention.ms", "-1")]);
    }
}

fn serve_function(function: &Arc<Function>) -> Server {
    let function = Arc::clone(function);
    Server::start_forgetful(move |request| function.answer(request))
}

fn serve_posts(posts: &Arc<Posts>) -> Server {
    let posts = Arc::clone(posts);
    Server::start_forgetful(move |request| posts.answer(request))
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
