//! A tap on the way to a broker, which knows one request of Kafka's protocol from another and can hold any of them, or its
//! answer, until the test has done what it wants to do just then.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::children::free_port;
use super::kafka::Broker;
use super::wait::PATIENCE;

/// A request of Kafka's protocol, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Api {
    /// Records.
    Produce = 0,
    /// A producer asks who it is, and ends what is left of whoever it was before.
    InitProducerId = 22,
    /// The first records of a partition in a transaction.
    AddPartitionsToTxn = 24,
    /// The first offsets of a group in a transaction.
    AddOffsetsToTxn = 25,
    /// The end of a transaction.
    EndTxn = 26,
    /// Offsets in a transaction.
    TxnOffsetCommit = 28,
}

/// On which side of the broker it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The broker has not seen it.
    Request,
    /// The broker has done it, and the client has no answer.
    Answer,
}

/// The broker that tests share which look into its clients' requests, behind a tap.
pub struct Tapped {
    broker: Broker,
    tap: Tap,
}

impl Tapped {
    /// Starts a broker that sends its clients to the tap.
    pub fn start(properties: &[(&str, String)]) -> Tapped {
        let port = free_port();
        let mut all = properties.to_vec();
        all.push(("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")));
        let broker = Broker::format(free_port(), "PLAINTEXT", &all, &[]);
        let tap = Tap::start(port, broker.bootstrap());
        broker.resume();
        Tapped { broker, tap }
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> String {
        self.tap.bootstrap()
    }

    /// The tap.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Kills the broker, and removes what it left.
    pub fn remove(&self) {
        self.broker.remove();
    }
}

/// The tap.
pub struct Tap {
    port: u16,
    rules: Arc<Rules>,
}

/// One that is to be held, or is.
pub struct Held {
    rule: Arc<Rule>,
}

#[derive(Default)]
struct Rules(Mutex<Vec<Arc<Rule>>>);

struct Rule {
    client: String,
    api: Api,
    side: Side,
    left: Mutex<u32>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    NotYet,
    Held,
    Passed,
    Dropped,
}

impl Tap {
    fn start(port: u16, broker: String) -> Tap {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the tap's port");
        let rules = Arc::new(Rules::default());
        let shared = Arc::clone(&rules);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A broker that is not up yet refuses, and so does the tap.
                if let Ok(broker) = TcpStream::connect(&broker) {
                    join(client, broker, &shared);
                }
            }
        });
        Tap { port, rules }
    }

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Holds the `nth` such request from now on, from 1, of clients in whose id `client` stands.
    pub fn hold(&self, client: &str, api: Api, side: Side, nth: u32) -> Held {
        let rule = Arc::new(Rule {
            client: client.to_owned(),
            api,
            side,
            left: Mutex::new(nth),
            state: Mutex::new(State::NotYet),
            changed: Condvar::new(),
        });
        self.rules.all().push(Arc::clone(&rule));
        Held { rule }
    }
}

impl Held {
    /// Waits until it is held.
    ///
    /// # Panics
    /// If it does not come in time.
    pub fn wait(&self) {
        let Rule { api, side, client, .. } = &*self.rule;
        let state = self.rule.state();
        let not_yet = |state: &mut State| *state == State::NotYet;
        let (state, late) = self.rule.changed.wait_timeout_while(state, PATIENCE, not_yet).unwrap();
        drop(state);
        assert!(!late.timed_out(), "{client} has not come to the {side:?} of {api:?}");
    }

    /// Lets it go on its way.
    pub fn pass(&self) {
        self.end(State::Passed);
    }

    /// Loses it, and its connection with it.
    pub fn lose(&self) {
        self.end(State::Dropped);
    }

    fn end(&self, state: State) {
        *self.rule.state() = state;
        self.rule.changed.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.rule.state();
        if matches!(*state, State::NotYet | State::Held) {
            *state = State::Passed;
            self.rule.changed.notify_all();
        }
    }
}

impl Rules {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Rule>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The rule that holds this one.
    fn of(&self, client: &str, api: i16) -> Option<Arc<Rule>> {
        let mut all = self.all();
        let applies = |rule: &&Arc<Rule>| rule.api as i16 == api && client.contains(&rule.client);
        let mut found = None;
        for rule in all.iter().filter(applies) {
            let mut left = rule.left.lock().unwrap();
            *left -= 1;
            if *left == 0 {
                found = Some(Arc::clone(rule));
            }
        }
        all.retain(|rule| *rule.left.lock().unwrap() > 0);
        found
    }
}

impl Rule {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Holds until the test says what to do. True: on it goes.
    fn hold(&self) -> bool {
        let mut state = self.state();
        if *state == State::NotYet {
            *state = State::Held;
            self.changed.notify_all();
        }
        let held = |state: &mut State| *state == State::Held;
        let (state, late) = self.changed.wait_timeout_while(state, 2 * PATIENCE, held).unwrap();
        *state == State::Passed || late.timed_out()
    }
}

/// Requests whose answers are to be held, by their numbers on a connection.
type Awaited = Arc<Mutex<HashMap<i32, Arc<Rule>>>>;

fn join(client: TcpStream, broker: TcpStream, rules: &Arc<Rules>) {
    for stream in [&client, &broker] {
        stream.set_nodelay(true).expect("no delay");
    }
    let awaited = Awaited::default();
    let copy = |stream: &TcpStream| stream.try_clone().expect("another handle");
    let (from, to, rules, waits) = (copy(&client), copy(&broker), Arc::clone(rules), Arc::clone(&awaited));
    thread::spawn(move || {
        let (from_end, to_end) = (copy(&from), copy(&to));
        let _ = pump(from, to, |frame| on_request(frame, &rules, &waits));
        let _ = (from_end.shutdown(Shutdown::Both), to_end.shutdown(Shutdown::Both));
    });
    thread::spawn(move || {
        let (from_end, to_end) = (copy(&broker), copy(&client));
        let _ = pump(broker, client, |frame| on_answer(frame, &awaited));
        let _ = (from_end.shutdown(Shutdown::Both), to_end.shutdown(Shutdown::Both));
    });
}

/// Copies frames until one side ends or one is lost.
fn pump(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    const MOST: usize = 64 << 20;
    loop {
        let mut size = [0; 4];
        from.read_exact(&mut size)?;
        let length = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(io::Error::other("this is not Kafka's protocol"));
        }
        let mut frame = vec![0; length];
        from.read_exact(&mut frame)?;
        if !goes_on(&frame) {
            return Ok(());
        }
        to.write_all(&size)?;
        to.write_all(&frame)?;
    }
}

/// A request begins with its api, version and number, and its client's id.
fn on_request(frame: &[u8], rules: &Rules, awaited: &Awaited) -> bool {
    let Some((api, number, client)) = header(frame) else {
        return true;
    };
    match rules.of(&client, api) {
        Some(rule) if rule.side == Side::Request => rule.hold(),
        Some(rule) => {
            awaited.lock().unwrap().insert(number, rule);
            true
        }
        None => true,
    }
}

fn on_answer(frame: &[u8], awaited: &Awaited) -> bool {
    let number = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    let rule = number.and_then(|number| awaited.lock().unwrap().remove(&number));
    rule.is_none_or(|rule| rule.hold())
}

fn header(frame: &[u8]) -> Option<(i16, i32, String)> {
    let two = |at: usize| Some(i16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let number = i32::from_be_bytes(frame.get(4..8)?.try_into().ok()?);
    let length = usize::try_from(two(8)?).unwrap_or(0);
    let client = String::from_utf8_lossy(frame.get(10..10 + length)?).into_owned();
    Some((two(0)?, number, client))
}
