//! Ctrl-C, SIGTERM, and a terminal that is closed.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whoever asks this process to stop.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    /// Listens from now on; the process does not end by itself any more.
    ///
    /// # Errors
    /// Where the system does not let it listen.
    pub(super) fn listen() -> std::io::Result<Stop> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until it is asked, once more each time.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
