//! The function of `--function`: its process, watched, restarted, and called through a gate.

mod crash;
mod gate;
mod supervise;
mod watch;

use std::time::Duration;

use tokio::sync::{oneshot, watch as latest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::crash::last_words;
use self::gate::{Gate, Standing};
use self::supervise::{Effect, Event, Supervisor};
use self::watch::Watch;
use crate::cli::local::{Output, Process, Said, Way, free_port, until_listening};

/// The running function. Its process ends when this is dropped.
pub(super) struct LocalFunction {
    url: String,
    shown: String,
    output: Output,
    standing: latest::Receiver<Standing>,
    end: Option<oneshot::Sender<()>>,
    runs: JoinHandle<()>,
}

impl LocalFunction {
    /// Starts it; it need not serve yet.
    ///
    /// # Errors
    /// What keeps it from starting, or its files from being watched.
    pub(super) async fn start(way: Way) -> Result<LocalFunction, String> {
        let output = Output::default();
        let (board, standing) = latest::channel(Standing::Starts);
        let gate = Gate::open(standing.clone(), output.clone()).await;
        let gate = gate.map_err(|error| format!("no port for the function: {error}"))?;
        let (end, asked_to_end) = oneshot::channel();
        let url = format!("http://{}{}", gate.address(), way.contract.path());
        let shown = way.shown.clone();
        let mut keeper = Keeper {
            supervisor: Supervisor::new(),
            watch: Watch::start(&way.watched)?,
            way,
            gate,
            output: output.clone(),
            board,
            process: None,
            run: 0,
            began: Instant::now(),
            mark: 0,
        };
        // What can't be started at all is said at once.
        keeper.spawn()?;
        Ok(LocalFunction {
            url,
            shown,
            output,
            standing,
            end: Some(end),
            runs: tokio::spawn(keeper.run(asked_to_end)),
        })
    }

    /// Where it is called.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// What runs.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What it says, and what is said of it.
    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// How it stands, in words.
    pub(super) fn standing(&self) -> String {
        match &*self.standing.borrow() {
            Standing::Starts => "starts".to_owned(),
            Standing::Serves { run: 1, .. } => "serves".to_owned(),
            Standing::Serves { run, .. } => format!("serves, started {run} times"),
            Standing::Restarts => "restarts".to_owned(),
            Standing::Ended { how, .. } => format!("has ended ({how})"),
        }
    }

    /// Ends its process, and waits for that.
    pub(super) async fn stop(mut self) {
        drop(self.end.take());
        // A keeper that panicked has dropped the process.
        let _ = self.runs.await;
    }
}

/// Does what the supervisor decides.
struct Keeper {
    way: Way,
    supervisor: Supervisor,
    watch: Watch,
    gate: Gate,
    output: Output,
    board: latest::Sender<Standing>,
    process: Option<Process>,
    /// How many processes were started.
    run: u32,
    began: Instant,
    /// Where the output of the process begins.
    mark: u64,
}

/// What the keeper waited for.
enum Came {
    End,
    Ended(String),
    Listens(std::net::SocketAddr),
    Changed(String),
    Idle,
    Time,
}

impl Keeper {
    async fn run(mut self, mut asked_to_end: oneshot::Receiver<()>) {
        loop {
            while let Some(effect) = self.supervisor.poll(self.now()) {
                self.act(effect).await;
            }
            match self.next(&mut asked_to_end).await {
                Came::End => break,
                Came::Time => {}
                came => self.take_in(came),
            }
        }
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn note(&self, text: String) {
        self.output.push(Said::Note(text));
    }

    async fn next(&mut self, asked_to_end: &mut oneshot::Receiver<()>) -> Came {
        let wakeup = self.supervisor.next_wakeup().map(|at| self.began + at);
        let port = self.process.as_ref().map_or(0, Process::port);
        let is_closed = matches!(*self.board.borrow(), Standing::Restarts);
        tokio::select! {
            _ = asked_to_end => Came::End,
            how = ended(&mut self.process) => Came::Ended(how),
            at = until_listening(port), if self.supervisor.is_silent() => Came::Listens(at),
            file = self.watch.changed() => Came::Changed(file),
            () = self.gate.idle(), if is_closed && self.process.is_some() => Came::Idle,
            () = sleep_until(wakeup.unwrap_or(self.began)), if wakeup.is_some() => Came::Time,
        }
    }

    fn take_in(&mut self, came: Came) {
        let now = self.now();
        match came {
            Came::Ended(how) => self.ended_by_itself(how, now),
            Came::Listens(at) => {
                self.note(format!("serves on port {}", at.port()));
                self.board.send_replace(Standing::Serves { run: self.run, at });
                self.supervisor.handle(Event::Listens, now);
            }
            Came::Changed(file) => {
                if !self.supervisor.has_change() {
                    self.note(format!("{file} has changed"));
                }
                self.supervisor.handle(Event::Changed, now);
            }
            Came::Idle => self.supervisor.handle(Event::Idle, now),
            Came::End | Came::Time => {}
        }
    }

    fn ended_by_itself(&mut self, how: String, now: Duration) {
        let was_silent = self.supervisor.is_silent();
        self.process = None;
        self.supervisor.handle(Event::Ended, now);
        let lines = last_words(&self.output.errors_since(self.mark));
        let before = match (was_silent, lines.is_empty()) {
            (false, _) => "ended",
            (true, false) => "ended before it served",
            (true, true) => {
                "ended before it served; expected a server on the port that the environment variable PORT names"
            }
        };
        let wait = self.supervisor.wait().as_secs_f64();
        self.note(format!(
            "{before} ({how}); starts again in {wait} s, or when a file changes"
        ));
        self.board.send_replace(Standing::Ended { how, lines });
    }

    async fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Start => {
                if let Err(reason) = self.spawn() {
                    self.note(reason.clone());
                    let lines = Vec::new();
                    self.board.send_replace(Standing::Ended { how: reason, lines });
                    self.supervisor.handle(Event::Ended, self.now());
                }
            }
            Effect::Close => {
                self.board.send_replace(Standing::Restarts);
            }
            Effect::Stop => {
                self.board.send_replace(Standing::Restarts);
                if let Some(process) = self.process.take() {
                    process.stop().await;
                }
                self.supervisor.handle(Event::Ended, self.now());
            }
            Effect::SayLate => {
                let port = self.process.as_ref().map_or(0, Process::port);
                self.note(format!(
                    "does not serve yet; expected a server on port {port}, which the environment variable PORT names"
                ));
            }
        }
    }

    fn spawn(&mut self) -> Result<(), String> {
        self.mark = self.output.mark();
        self.process = Some(Process::start(&self.way, free_port()?, &self.output)?);
        self.run += 1;
        self.board.send_if_modified(|standing| match standing {
            // Until it serves, calls that it cut off are told how it ended.
            Standing::Ended { .. } => false,
            other => {
                *other = Standing::Starts;
                true
            }
        });
        self.supervisor.handle(Event::Started, self.now());
        Ok(())
    }
}

async fn ended(process: &mut Option<Process>) -> String {
    match process {
        Some(process) => match process.ended().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        },
        None => std::future::pending().await,
    }
}
