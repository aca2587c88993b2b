//! What the proxy does in each weather: the suite rests on it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::proxy::{Proxy, Weather};
use crate::harness::wait::PATIENCE;

/// The tests of this file, by name.
pub const TESTS: &[(&str, fn())] = &[
    (
        "what_is_asked_in_fair_weather_is_answered",
        what_is_asked_in_fair_weather_is_answered,
    ),
    ("what_is_late_arrives_late", what_is_late_arrives_late),
    (
        "what_waits_in_still_weather_passes_afterwards",
        what_waits_in_still_weather_passes_afterwards,
    ),
    (
        "a_half_open_connection_answers_nothing_and_is_reset",
        a_half_open_connection_answers_nothing_and_is_reset,
    ),
    (
        "a_mute_way_carries_requests_and_loses_answers",
        a_mute_way_carries_requests_and_loses_answers,
    ),
    (
        "a_cut_resets_what_is_there_and_what_comes",
        a_cut_resets_what_is_there_and_what_comes,
    ),
];

const WHILE: Duration = Duration::from_millis(200);

fn what_is_asked_in_fair_weather_is_answered() {
    let (proxy, _) = echo();
    let mut client = connect(&proxy);
    assert_eq!(ask(&mut client), Ok(()));
    proxy.set(Weather::Narrow(1_000_000));
    assert_eq!(ask(&mut client), Ok(()));
}

fn what_is_late_arrives_late() {
    let (proxy, _) = echo();
    let mut client = connect(&proxy);
    proxy.set(Weather::Late(WHILE));
    let asked = Instant::now();
    assert_eq!(ask(&mut client), Ok(()));
    assert!(asked.elapsed() >= WHILE * 2, "there and back");
}

fn what_waits_in_still_weather_passes_afterwards() {
    let (proxy, _) = echo();
    let mut there = connect(&proxy);
    proxy.set(Weather::Still);
    let mut new = connect(&proxy);
    ask_in_vain(&mut there);
    ask_in_vain(&mut new);
    proxy.set(Weather::Fair);
    assert_eq!(answer(&mut there), Ok(()));
    assert_eq!(answer(&mut new), Ok(()));
}

fn a_half_open_connection_answers_nothing_and_is_reset() {
    let (proxy, asked) = echo();
    proxy.set(Weather::Dead);
    let mut client = connect(&proxy);
    ask_in_vain(&mut client);
    proxy.set(Weather::Fair);
    assert_eq!(answer(&mut client), Err(ErrorKind::ConnectionReset));
    assert!(asked.try_recv().is_err(), "nothing arrived");
    assert_eq!(ask(&mut connect(&proxy)), Ok(()));
}

fn a_mute_way_carries_requests_and_loses_answers() {
    let (proxy, asked) = echo();
    let mut client = connect(&proxy);
    proxy.set(Weather::Mute);
    ask_in_vain(&mut client);
    asked.recv_timeout(PATIENCE).expect("it arrived");
    proxy.set(Weather::Fair);
    assert_eq!(answer(&mut client), Err(ErrorKind::ConnectionReset));
}

fn a_cut_resets_what_is_there_and_what_comes() {
    let (proxy, _) = echo();
    let mut there = connect(&proxy);
    assert_eq!(ask(&mut there), Ok(()));
    proxy.set(Weather::Cut);
    assert_eq!(answer(&mut there), Err(ErrorKind::ConnectionReset));
    assert!(ask(&mut connect(&proxy)).is_err());
    proxy.set(Weather::Fair);
    let mut again = connect(&proxy);
    assert_eq!(ask(&mut again), Ok(()));
    proxy.reset();
    assert_eq!(answer(&mut again), Err(ErrorKind::ConnectionReset));
    assert_eq!(ask(&mut connect(&proxy)), Ok(()));
}

/// A server that sends back what it gets, behind a proxy, and tells of each piece.
fn echo() -> (Proxy, std::sync::mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = Proxy::to(listener.local_addr().expect("bound").port());
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut piece = [0; 64];
                while let Ok(size @ 1..) = stream.read(&mut piece) {
                    let _ = tell.send(size);
                    if stream.write_all(&piece[..size]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (proxy, told)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("a proxy takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

fn ask(stream: &mut TcpStream) -> Result<(), ErrorKind> {
    stream.write_all(b"hello").map_err(|error| error.kind())?;
    answer(stream)
}

/// Asks, and nothing comes for a while.
fn ask_in_vain(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(WHILE)).expect("a time-out");
    assert_eq!(ask(stream), Err(ErrorKind::WouldBlock));
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
}

/// The answer, or why there is none: nothing comes for a while, or the connection is gone.
fn answer(stream: &mut TcpStream) -> Result<(), ErrorKind> {
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).map_err(|error| error.kind())?;
    assert_eq!(&answer, b"hello");
    Ok(())
}
