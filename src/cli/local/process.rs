//! A function's process, in a group of its own: whatever it starts ends with it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::output::{Output, Said};
use super::way::Way;

/// How long it may take to end by itself when it is told to.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often it is looked for whoever is to listen.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// A line is shown up to here; what is longer is several lines.
const LINE_BYTES: u64 = 4096;

/// A process that runs, and all that it started. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::cli) struct Process {
    child: Child,
    group: Option<Pid>,
    port: u16,
}

impl Process {
    /// Starts it. What it writes goes to `output`; where it is to listen is in its environment.
    ///
    /// # Errors
    /// What keeps it from starting, as a sentence.
    pub(in crate::cli) fn start(way: &Way, port: u16, output: &Output) -> Result<Process, String> {
        let mut command = Command::new(&way.program);
        command
            .args(&way.args)
            .current_dir(&way.folder)
            .envs(way.environment.iter().map(|(name, value)| (name, value)))
            .env("PORT", port.to_string())
            .env("FC_SERVER_PORT", port.to_string())
            .env("HOST", Ipv4Addr::LOCALHOST.to_string())
            // Lines are to be seen when they are written.
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!(
                "{} is not on the PATH: it has to be installed to run this function",
                way.program
            ),
            _ => format!("{} can't be started: {error}", way.program),
        })?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(keep(stdout, output.clone(), Said::Out));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep(stderr, output.clone(), Said::Err));
        }
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Process { child, group, port })
    }

    /// Where it is to listen.
    pub(in crate::cli) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for its end. Nothing is lost where the wait is given up.
    pub(in crate::cli) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Tells it and all that it started to end, and sees to it.
    pub(in crate::cli) async fn stop(mut self) {
        self.signal(Signal::TERM);
        // The rest of its group is killed as this is dropped.
        let _ = timeout(LAST_WORDS, self.child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Waits until somebody listens on a port of `localhost`, in either family.
pub(in crate::cli) async fn until_listening(port: u16) -> SocketAddr {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    loop {
        for address in [v4, v6] {
            if TcpStream::connect(address).await.is_ok() {
                return address;
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// A port that nobody listens on.
///
/// # Errors
/// Where the system has none.
pub(in crate::cli) fn free_port() -> Result<u16, String> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| format!("no free port for the function: {error}"))?;
    Ok(address.port())
}

async fn keep(stream: impl AsyncRead + Unpin, output: Output, said: fn(String) -> Said) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut stream).take(LINE_BYTES).read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        output.push(said(text.trim_end_matches(['\n', '\r']).to_owned()));
        line.clear();
    }
}
