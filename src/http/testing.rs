//! A server for tests that says exactly which bytes it answers, and what it does with the connection after that.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A request as it came over the wire.
#[derive(Debug)]
pub(crate) struct Received {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of_name = |line: &'_ str| {
            line.split_once(": ")
                .filter(|(found, _)| *found == name)
                .map(|(_, v)| v.len())
        };
        self.head
            .lines()
            .find_map(|line| of_name(line).map(|bytes| &line[line.len() - bytes..]))
    }
}

/// What the server does after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Reads the next request.
    Keep,
    /// Closes the connection in order.
    Close,
    /// Resets the connection.
    Reset,
    /// Leaves it open and says nothing more.
    Hang,
    /// Goes on with the body, a chunk of 64 KiB at a time, for as long as somebody reads.
    Pour,
}

/// Scripted answers to requests.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: UnboundedReceiver<Received>,
    /// How many bytes `Then::Pour` got rid of, once somebody stopped it.
    pub(crate) poured: UnboundedReceiver<usize>,
}

impl Server {
    /// Answers the n-th request with `script(n)`.
    pub(crate) async fn start(script: impl Fn(usize) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = unbounded_channel();
        let (stopped, poured) = unbounded_channel();
        let script = Arc::new(script);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let serve = serve(stream, connection, Arc::clone(&script), seen.clone(), stopped.clone());
                tokio::spawn(serve);
            }
        });
        Server {
            address,
            requests,
            poured,
        }
    }

    /// Gives each request the same answer and keeps the connection.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Server {
        let answer = answer.into();
        Server::start(move |_| (answer.clone(), Then::Keep)).await
    }

    pub(crate) fn url(&self, path: &str) -> hyper::Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }
}

/// An answer with a length.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    script: Arc<impl Fn(usize) -> (Vec<u8>, Then) + Send + Sync + 'static>,
    seen: UnboundedSender<Received>,
    stopped: UnboundedSender<usize>,
) {
    let mut served = 0;
    while let Some((head, body)) = request(&mut stream).await {
        let nth = connection + served;
        served += 1;
        let (answer, then) = script(nth);
        let received = Received { connection, head, body };
        let _ = stream.write_all(&answer).await;
        let _ = seen.send(received);
        match then {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Then::Hang => {
                let _ = stream.read(&mut [0]).await;
                return;
            }
            Then::Pour => {
                let mut chunk = b"10000\r\n".to_vec();
                chunk.extend([b'x'; 0x10000]);
                chunk.extend(b"\r\n");
                let mut bytes = 0;
                while stream.write_all(&chunk).await.is_ok() {
                    bytes += chunk.len();
                }
                let _ = stopped.send(bytes);
                return;
            }
        }
    }
}

/// Reads one request, whose body has a length.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = (head.to_ascii_lowercase().lines())
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(head_end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let names_in_lower_case = (head.split("\r\n"))
        .map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
            None => format!("{line}\n"),
        })
        .collect();
    Some((names_in_lower_case, body))
}
