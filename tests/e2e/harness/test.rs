//! One test: its own names for topics and groups, its workers, and their last words if it fails.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libtest_mimic::{Failed, Trial};

use super::kafka::{self, Broker};
use super::page;
use super::pipeline::Pipeline;
use super::topics::Client;
use super::worker::{Setting, Worker};

/// The tests of one file.
pub struct Suite {
    trials: Vec<Trial>,
}

impl Suite {
    /// An empty one.
    pub fn new() -> Suite {
        Suite { trials: Vec::new() }
    }

    /// With one more test.
    pub fn with(mut self, name: &'static str, test: fn(&Test)) -> Suite {
        self.trials.push(Trial::test(short(name), move || run(name, test)));
        self
    }

    /// With one more test that runs only when it is asked for.
    pub fn with_long(mut self, name: &'static str, test: fn(&Test)) -> Suite {
        self.trials
            .push(Trial::test(short(name), move || run(name, test)).with_ignored_flag(true));
        self
    }

    /// All of them.
    pub fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}

/// Lists the tests of a file: `suite![first_promise, second_promise]`.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        /// The tests of this file.
        pub fn tests() -> crate::harness::test::Suite {
            crate::harness::test::Suite::new()
                $(.with(concat!(module_path!(), "::", stringify!($test)), $test))*
        }
    };
}
pub(crate) use suite;

thread_local! {
    /// Where this thread panicked last.
    static WHERE: Cell<String> = const { Cell::new(String::new()) };
}

/// A test that fails says where, in its report; nothing is printed between other tests' lines.
pub fn keep_panics_for_the_report() {
    panic::set_hook(Box::new(|info| {
        WHERE.set(info.location().map_or_else(String::new, ToString::to_string))
    }));
}

/// What a test works with. Names are made of the test's own, so that tests never meet.
pub struct Test {
    name: &'static str,
    id: String,
    folder: PathBuf,
    workers: RefCell<Vec<Rc<Worker>>>,
}

impl Test {
    /// A name of this test's own, for a topic or a pipeline.
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.id)
    }

    /// A name of this test's own that begins with a part, for rights that go by prefix.
    pub fn topic_name(&self, part: &str) -> String {
        format!("{part}-{}", self.id)
    }

    /// The broker that tests share.
    pub fn broker(&self) -> &'static Broker {
        kafka::shared()
    }

    /// A client of the shared broker.
    pub fn client(&self) -> Client {
        Client::new(&self.broker().bootstrap())
    }

    /// Creates a topic of this test's own on the shared broker, and gives its name.
    pub fn topic(&self, part: &str, partitions: i32) -> String {
        self.topic_with(part, partitions, &[])
    }

    /// The same, with a configuration of the topic's own.
    pub fn topic_with(&self, part: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let topic = self.name(part);
        self.client().create(&topic, partitions, config);
        topic
    }

    /// A pipeline of this test's own that reads this topic.
    pub fn pipeline(&self, topic: &str) -> Pipeline {
        Pipeline::new(&self.name("p"), topic)
    }

    /// Starts a worker on the shared broker.
    pub fn worker(&self, pipeline: &Pipeline) -> Rc<Worker> {
        self.worker_on(&Setting::plaintext(&self.broker().bootstrap()), pipeline)
    }

    /// Starts a worker, and waits until it is ready.
    pub fn worker_on(&self, setting: &Setting, pipeline: &Pipeline) -> Rc<Worker> {
        let worker = self.worker_not_ready(setting, pipeline);
        worker.await_ready();
        worker
    }

    /// Starts a worker that may have to wait before it is ready.
    pub fn worker_not_ready(&self, setting: &Setting, pipeline: &Pipeline) -> Rc<Worker> {
        self.start(setting, Some(pipeline))
    }

    /// Starts a worker without a pipeline of its own, and waits until it is ready.
    pub fn member(&self, setting: &Setting) -> Rc<Worker> {
        let worker = self.start(setting, None);
        worker.await_ready();
        worker
    }

    /// The same, and it may have to wait before it is ready.
    pub fn member_not_ready(&self, setting: &Setting) -> Rc<Worker> {
        self.start(setting, None)
    }

    fn start(&self, setting: &Setting, pipeline: Option<&Pipeline>) -> Rc<Worker> {
        let mut workers = self.workers.borrow_mut();
        let name = (workers.len() + 1).to_string();
        let worker = Rc::new(Worker::start(&name, &self.folder, setting, pipeline));
        workers.push(Rc::clone(&worker));
        worker
    }

    /// A folder of this test's own, removed after it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until the worker shows what the page of failures says that it does in this test's situation.
    pub fn sees_what_the_page_says(&self, worker: &Worker, pipeline: &str) {
        page::await_seen(self.name, worker, pipeline, self.folder());
    }

    fn last_words(&self) -> String {
        self.workers.borrow().iter().map(|worker| worker.last_words()).collect()
    }
}

fn run(name: &'static str, test: fn(&Test)) -> Result<(), Failed> {
    let id = identify(name);
    let folder = std::env::temp_dir().join(format!("fnbridge-e2e-{}-{id}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the test");
    let context = Test {
        name: short(name),
        id,
        folder,
        workers: RefCell::default(),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| test(&context)));
    let place = WHERE.take();
    let failure = ended
        .err()
        .map(|panic| format!("{place}: {}\n{}", message(&*panic), context.last_words()));
    drop(context.workers);
    let _ = fs::remove_dir_all(&context.folder);
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// A short name that no other test has, fit for a pipeline: letters of the test's name, and a number made of all of it.
fn identify(name: &str) -> String {
    let number = name
        .bytes()
        .fold(7_u32, |n, byte| n.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let letters: String = short(name)
        .replace("::", "-")
        .replace('_', "-")
        .chars()
        .take(36)
        .collect();
    format!("{}-{:05x}", letters.trim_end_matches('-'), number & 0xf_ffff)
}

fn short(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, rest)| rest)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".to_owned())
}
