//! Asking the process to end: once to drain, twice to end at once.

use std::io;

use tokio::sync::watch;

/// The exit status of a process that a second signal ended: 128 and SIGINT's number.
const ENDED_BY_SIGNAL: i32 = 130;

/// The signal of whoever runs services: of those that are to stop, and of those that are to be started again.
pub const TERMINATED: &str = "SIGTERM";

/// A request to end that everybody can wait for. Clones are the same.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: watch::Sender<Option<&'static str>>,
}

impl Shutdown {
    /// Nothing has been asked yet, and signals are left alone.
    pub fn new() -> Shutdown {
        let (asked, _) = watch::channel(None);
        Shutdown { asked }
    }

    /// SIGINT and SIGTERM ask; a second one ends the process at once.
    ///
    /// # Errors
    /// Where the system lets no signals be listened to.
    pub fn on_signals() -> io::Result<Shutdown> {
        let shutdown = Shutdown::new();
        let mut signals = Signals::listen()?;
        let ours = shutdown.clone();
        tokio::spawn(async move {
            ours.ask(signals.next().await);
            signals.next().await;
            std::process::exit(ENDED_BY_SIGNAL);
        });
        Ok(shutdown)
    }

    /// Asks everybody to end, and says why. Only the first time counts.
    pub fn ask(&self, why: &'static str) {
        self.asked.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(why);
            first
        });
    }

    /// Waits until it is asked, and says why.
    pub async fn asked(&self) -> &'static str {
        let mut asked = self.asked.subscribe();
        let why = asked.wait_for(Option::is_some).await;
        // The sender lives as long as this handle.
        why.ok().and_then(|why| *why).unwrap_or("the end of the process")
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown::new()
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_the_first_reason() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.asked().await }
        });
        shutdown.ask("SIGTERM");
        shutdown.ask("SIGINT");
        assert_eq!(waiting.await.unwrap(), "SIGTERM");
        assert_eq!(shutdown.asked().await, "SIGTERM");
    }
}
