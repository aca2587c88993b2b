//! Processes that never outlive the tests.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;

use super::wait;

type Order = (Command, Sender<std::io::Result<Child>>);

/// A child is killed when the thread that started it ends, so that one thread starts them all and never ends.
static NURSERY: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(orders)
});

/// Starts a process that is killed, at the latest, when this one ends, however it ends.
///
/// # Panics
/// If it can't be started.
pub fn start(mut command: Command) -> Child {
    die_with_parent(&mut command);
    let name = command.get_program().to_string_lossy().into_owned();
    let (answer, child) = channel();
    NURSERY
        .lock()
        .unwrap()
        .send((command, answer))
        .expect("the nursery never ends");
    child
        .recv()
        .expect("the nursery answers")
        .unwrap_or_else(|error| panic!("{name} did not start: {error}"))
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl and signal are async-signal-safe, and nothing else runs between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // A file that may not grow is an error to whoever writes, as a full disk is, and not the end.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: libc::c_int) {
    let id = libc::pid_t::try_from(child.id()).expect("a process id");
    // SAFETY: the child has not been waited for, so the id is still its own.
    let sent = unsafe { libc::kill(id, signal) };
    assert_eq!(sent, 0, "signal {signal} to process {id}");
}

/// Waits for a child to end.
///
/// # Panics
/// If it has not ended in time.
pub fn await_end(child: &mut Child, what: &str) -> std::process::ExitStatus {
    wait::until(&format!("{what} to end"), || child.try_wait().expect("a child of ours"))
}

/// Below those that systems give to connections that go out: one of them would take the port of a server that is down.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A TCP port on loopback that nobody listened on just now, and that stays free while its server is killed and started.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let port = fastrand::u16(PORTS);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.push(port);
            return port;
        }
    }
}
