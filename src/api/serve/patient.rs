//! Connections that are given up where they do not move on, and of which there are only so many.

use std::future::{Future, Ready, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Lets connections in while there is room.
#[derive(Clone, Debug)]
pub(super) struct Doorkeeper {
    room: Arc<Semaphore>,
    write_time: Duration,
}

impl Doorkeeper {
    /// At most `connections` at once; one whose other end takes nothing for `write_time` is given up.
    pub(super) fn new(connections: usize, write_time: Duration) -> Doorkeeper {
        Doorkeeper {
            room: Arc::new(Semaphore::new(connections)),
            write_time,
        }
    }
}

impl<S> Accept<TcpStream, S> for Doorkeeper {
    type Stream = Patient;
    type Service = S;
    type Future = Ready<io::Result<(Patient, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let patient = || {
            let full = io::Error::new(io::ErrorKind::ConnectionRefused, "there are too many connections");
            stream.set_nodelay(true)?;
            Ok(Patient {
                _place: self.room.clone().try_acquire_owned().map_err(|_| full)?,
                write_time: self.write_time,
                stalled: None,
                stream,
            })
        };
        ready(patient().map(|patient| (patient, service)))
    }
}

/// A connection whose other end has to take what is written within some time.
pub(super) struct Patient {
    stream: TcpStream,
    write_time: Duration,
    /// Runs while the other end takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Patient {
    fn patiently<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let write_time = self.write_time;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_time)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.patiently(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patiently(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.patiently(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.patiently(cx, polled)
    }
}
