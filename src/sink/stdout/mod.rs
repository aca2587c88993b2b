//! Results onto standard output: one line of JSON each, by one thread of the process, so that a reader who does not read
//! stops no pipeline but his own.

mod receipt;
mod request;

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::Sink;
use crate::delivery::answer::Receipt;
use crate::delivery::event::Store;

/// Where all pipelines' lines go. What waits is bounded by the requests that a task has on the wire.
static WRITER: OnceLock<Result<Sender<Lines>, String>> = OnceLock::new();

/// The lines of one request, and who waits for them.
struct Lines {
    text: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

pub(super) struct StdoutSink(Sender<Lines>);

impl StdoutSink {
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn open() -> Result<StdoutSink, String> {
        let writer = WRITER.get_or_init(|| start(io::stdout()));
        writer.clone().map(StdoutSink)
    }
}

impl Sink for StdoutSink {
    fn store(&self, store: Store) -> BoxFuture<'static, Vec<Receipt>> {
        let items = store.items.len();
        let (written, outcome) = oneshot::channel();
        let text = request::lines(&store);
        // A writer that is gone drops what waits for it, which is told below.
        let _ = self.0.send(Lines { text, written });
        async move {
            let gone = || Err(io::Error::other("the thread that writes it has ended"));
            receipt::receipts(items, outcome.await.unwrap_or_else(|_| gone()))
        }
        .boxed()
    }
}

fn start(out: impl Write + Send + 'static) -> Result<Sender<Lines>, String> {
    let (sender, lines) = channel();
    let thread = std::thread::Builder::new().name("fnb-stdout".into());
    let started = thread.spawn(move || write(out, &lines));
    (started.map(|_| sender)).map_err(|error| format!("standard output can't be written: no thread: {error}"))
}

fn write(mut out: impl Write, lines: &Receiver<Lines>) {
    for Lines { text, written } in lines {
        // Who was cut off by now sends the same lines by another way.
        if !written.is_closed() {
            let _ = written.send(out.write_all(&text).and_then(|()| out.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::sink::testing::{output, record, store};

    /// Takes so many bytes, as a pipe whose reader goes away.
    #[derive(Clone)]
    struct Pipe(Arc<Mutex<Vec<u8>>>, usize);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.0.lock().unwrap();
            if taken.len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn lines_stand_in_the_order_of_requests_and_a_closed_pipe_blocks() {
        let pipe = Pipe(Arc::default(), 120);
        let sink = StdoutSink(start(pipe.clone()).unwrap());
        let request = |offset| store(vec![(record(3, offset), vec![output(None, "1")])]);
        let (first, second, third) = (request(1), request(2), request(3));
        let stored = [sink.store(first), sink.store(second), sink.store(third)];
        let [first, second, third] = futures_util::future::join_all(stored).await.try_into().unwrap();
        assert_eq!((first, second), (vec![Receipt::Stored], vec![Receipt::Stored]));
        assert!(matches!(&third[..], [Receipt::Blocked(failure)] if failure.reason.contains("broken pipe")));
        let line = |offset| format!("{{\"id\":\"orders/3/{offset}#0\",\"key\":null,\"value\":1,\"headers\":{{}}}}\n");
        assert_eq!(
            String::from_utf8(pipe.0.lock().unwrap().clone()).unwrap(),
            line(1) + &line(2)
        );
    }
}
