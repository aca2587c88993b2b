//! What became of the records of one request: one completion for all of them, and nothing allocated for a success but
//! the record's place.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::SendError;

type Results = Vec<Result<(), SendError>>;

/// Records that were sent together.
pub(super) struct Request {
    records: usize,
    pending: AtomicUsize,
    failures: Mutex<Vec<(usize, SendError)>>,
    done: Mutex<Option<oneshot::Sender<Results>>>,
}

/// One record's place in its request. Dropped without a report, it reports that nothing is known.
pub struct Place {
    request: Option<Arc<Request>>,
    index: usize,
}

/// What became of each record, in the order they were sent, once all are known. Dropping it recalls nothing.
#[must_use = "nothing else says what became of the records"]
pub struct Deliveries(oneshot::Receiver<Results>, usize);

impl Request {
    pub(super) fn new(records: usize) -> (Arc<Request>, Deliveries) {
        let (done, receiver) = oneshot::channel();
        let request = Arc::new(Request {
            records,
            pending: AtomicUsize::new(records),
            failures: Mutex::new(Vec::new()),
            done: Mutex::new(Some(done)),
        });
        if records == 0 {
            request.complete();
        }
        (request, Deliveries(receiver, records))
    }

    fn complete(&self) {
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        let mut results = vec![Ok(()); self.records];
        for (index, error) in failures {
            results[index] = Err(error);
        }
        if let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = done.send(results);
        }
    }
}

impl Place {
    pub(super) fn new(request: &Arc<Request>, index: usize) -> Place {
        Place {
            request: Some(Arc::clone(request)),
            index,
        }
    }

    pub(super) fn report(mut self, result: Result<(), SendError>) {
        self.settle(result);
    }

    fn settle(&mut self, result: Result<(), SendError>) {
        let Some(request) = self.request.take() else { return };
        if let Err(error) = result {
            let mut failures = request.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push((self.index, error));
        }
        if request.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            request.complete();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle(Err(SendError::Purged));
    }
}

impl Deliveries {
    /// Waits for all of them, on a thread that may.
    pub(super) fn wait(self) -> Vec<Result<(), SendError>> {
        let Deliveries(receiver, records) = self;
        (receiver.blocking_recv()).unwrap_or_else(|_| vec![Err(SendError::Purged); records])
    }
}

impl Future for Deliveries {
    type Output = Vec<Result<(), SendError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Every place reports, if only when it is dropped, so that the sender can't go without a word.
        let records = self.1;
        (Pin::new(&mut self.0).poll(cx)).map(|r| r.unwrap_or_else(|_| vec![Err(SendError::Purged); records]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_record_gets_its_own_result_in_the_order_of_sending() {
        let (request, deliveries) = Request::new(3);
        let places: Vec<Place> = (0..3).map(|i| Place::new(&request, i)).collect();
        for (place, result) in places.into_iter().zip([Ok(()), Err(SendError::Full), Ok(())]).rev() {
            place.report(result);
        }
        assert_eq!(deliveries.await, [Ok(()), Err(SendError::Full), Ok(())]);
    }

    #[tokio::test]
    async fn a_record_that_is_dropped_unreported_counts_as_purged() {
        let (request, deliveries) = Request::new(1);
        drop(Place::new(&request, 0));
        assert_eq!(deliveries.await, [Err(SendError::Purged)]);
    }

    #[tokio::test]
    async fn an_empty_request_is_done() {
        assert_eq!(Request::new(0).1.await, []);
    }
}
