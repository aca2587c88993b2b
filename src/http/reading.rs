//! Reading an answer, within a time and a number of bytes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep};

use super::answer::{HttpAnswer, HttpError, causes};
use super::pool::Lease;

/// An answer that is not 2xx is read this far and cut, as its status says it all.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// What is set aside before the first byte of a body came, whatever its length is said to be.
const FIRST_ROOM_BYTES: usize = 256 * 1024;

/// A deadline that is noticed so late was passed while nothing here ran: the process was stopped, or starved.
const NOTICED_LATE: Duration = Duration::from_millis(500);
/// What came meanwhile is read within this.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What `future` comes to, or nothing once `deadline` has passed. Time in which this process stood still is not the callee's: its
/// answer may have been waiting to be read.
pub(super) async fn before<F: Future>(mut deadline: Pin<&mut Sleep>, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            ready!(deadline.as_mut().poll(cx));
            let now = Instant::now();
            if now.duration_since(deadline.deadline()) < NOTICED_LATE {
                return Poll::Ready(None);
            }
            deadline.as_mut().reset(now + CATCH_UP);
            deadline.as_mut().poll(cx).map(|()| None)
        }
    })
    .await
}

/// An answer's body on its way in.
pub(super) struct Reading<'a> {
    pub(super) deadline: Pin<&'a mut Sleep>,
    pub(super) timeout: Duration,
    pub(super) lease: Lease,
}

impl Reading<'_> {
    pub(super) async fn whole(
        mut self,
        response: Response<Incoming>,
        max_bytes: usize,
    ) -> Result<HttpAnswer, HttpError> {
        let (head, body) = response.into_parts();
        let body = match head.status.is_success() {
            true => (self.body(body, max_bytes).await).map_err(|broken| broken.at(head.status, max_bytes))?,
            false => self.beginning(body, max_bytes.min(MAX_ERROR_BYTES)).await,
        };
        Ok(HttpAnswer {
            status: head.status,
            headers: head.headers,
            body,
            lease: self.lease,
        })
    }

    async fn body(&mut self, mut body: Incoming, max_bytes: usize) -> Result<Bytes, Broken> {
        let announced = body.size_hint().lower();
        if announced > max_bytes as u64 {
            return Err(Broken::TooLarge(Some(announced)));
        }
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let mut whole = BytesMut::with_capacity((announced as usize).min(FIRST_ROOM_BYTES));
        while let Some(piece) = self.piece(&mut body).await? {
            if whole.len() + piece.len() > max_bytes {
                return Err(Broken::TooLarge(None));
            }
            self.room(piece.len()).await;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// As much of a body as comes, up to `max_bytes`.
    async fn beginning(&mut self, mut body: Incoming, max_bytes: usize) -> Bytes {
        let mut beginning = BytesMut::new();
        while let Ok(Some(piece)) = self.piece(&mut body).await {
            let taken = piece.len().min(max_bytes - beginning.len());
            self.room(taken).await;
            beginning.extend_from_slice(&piece[..taken]);
            if beginning.len() == max_bytes {
                break;
            }
        }
        beginning.freeze()
    }

    async fn piece(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Broken> {
        loop {
            let frame = match before(self.deadline.as_mut(), body.frame()).await {
                None => return Err(Broken::TimedOut(self.timeout)),
                Some(None) => return Ok(None),
                Some(Some(Err(error))) => return Err(Broken::Lost(causes(&error))),
                Some(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers, and pieces that bring nothing: there could be more of them without an end.
                _ if Instant::now() >= self.deadline.deadline() => return Err(Broken::TimedOut(self.timeout)),
                _ => {}
            }
        }
    }

    /// Takes room for what came. Waiting for it is not the callee's time.
    async fn room(&mut self, bytes: usize) {
        if !self.lease.try_grow(bytes) {
            let since = Instant::now();
            self.lease.grow(bytes).await;
            let until = self.deadline.deadline() + since.elapsed();
            self.deadline.as_mut().reset(until);
        }
    }
}

/// Why a body did not come whole.
enum Broken {
    TooLarge(Option<u64>),
    Lost(String),
    TimedOut(Duration),
}

impl Broken {
    fn at(self, status: StatusCode, max_bytes: usize) -> HttpError {
        let code = status.as_u16();
        match self {
            Broken::TooLarge(announced) => {
                let found = announced.map_or("more than that".to_owned(), |bytes| format!("{bytes} bytes"));
                let reason = format!("the answer ({code}) is larger than {max_bytes} bytes: found {found}");
                HttpError::TooLarge { reason, status }
            }
            Broken::Lost(why) => HttpError::Lost(format!("the connection was lost within the answer ({code}): {why}")),
            Broken::TimedOut(timeout) => {
                HttpError::TimedOut(format!("the answer ({code}) was not complete within {timeout:?}"))
            }
        }
    }
}
