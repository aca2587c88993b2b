//! A TCP proxy in the test's hands: what passes through it is late, held up, swallowed or cut off.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

const CHUNK_BYTES: usize = 64 << 10;

/// One thread carries what all proxies carry.
static CARRIERS: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
});

/// What becomes of the bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    Fair,
    /// They pass so much later, both ways.
    Late(Duration),
    /// They pass at so many bytes a second and connection, each way.
    Narrow(u32),
    /// They wait, and pass once the weather is another. New connections are taken, and wait too.
    Still,
    /// Half-open: connections are taken and nothing ever answers. Once the weather is another, they are reset.
    Dead,
    /// What is asked passes, and what is answered is lost. Once the weather is another, such connections are reset.
    Mute,
    /// Connections are reset, and so are new ones.
    Cut,
}

#[derive(Clone, Copy, Debug)]
struct Sky {
    weather: Weather,
    resets: u64,
}

/// A listener that carries connections to one address.
pub struct Proxy {
    address: SocketAddr,
    sky: watch::Sender<Sky>,
    listening: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of loopback, for connections to a port of loopback.
    pub fn to(port: u16) -> Proxy {
        let listener = CARRIERS
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port for a proxy");
        let address = listener.local_addr().expect("bound");
        let sky = watch::Sender::new(Sky {
            weather: Weather::Fair,
            resets: 0,
        });
        let listening = CARRIERS.spawn(listen(listener, port, sky.clone())).abort_handle();
        Proxy {
            address,
            sky,
            listening,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the weather, for connections that are there and for new ones.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| sky.weather = weather);
    }

    /// Resets every connection that is there.
    pub fn reset(&self) {
        self.sky.send_modify(|sky| sky.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.set(Weather::Cut);
    }
}

async fn listen(listener: TcpListener, port: u16, sky: watch::Sender<Sky>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(carry(client, port, sky.subscribe()));
            }
            // As when there are no descriptors left: a test that has come this far will say so elsewhere.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Carries one connection to its end.
async fn carry(mut client: TcpStream, port: u16, mut sky: watch::Receiver<Sky>) {
    let began = *sky.borrow_and_update();
    let server = match began.weather {
        Weather::Cut => None,
        _ => TcpStream::connect(("127.0.0.1", port)).await.ok(),
    };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let swallowed = AtomicBool::new(false);
    let reset = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            ended = pump(from_client, to_server, sky.clone(), false, &swallowed) => ended.is_err(),
            ended = pump(from_server, to_client, sky.clone(), true, &swallowed) => ended.is_err(),
            () = until_reset(sky, began, &swallowed) => true,
        }
    };
    if reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Copies what comes one way until that side ends.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut sky: watch::Receiver<Sky>,
    answers: bool,
    swallowed: &AtomicBool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let size = from.read(&mut chunk).await?;
        // An end is news too: it does not get through where nothing does.
        let still = |sky: &Sky| sky.weather == Weather::Still || (size == 0 && swallows(sky.weather, answers));
        let weather = match sky.wait_for(|sky| !still(sky)).await {
            Ok(sky) => sky.weather,
            Err(_) => return Ok(()),
        };
        if swallows(weather, answers) {
            swallowed.store(true, Ordering::Relaxed);
            continue;
        }
        match weather {
            Weather::Late(time) => tokio::time::sleep(time).await,
            Weather::Narrow(bytes) => {
                tokio::time::sleep(Duration::from_secs_f64(size as f64 / f64::from(bytes.max(1)))).await;
            }
            Weather::Fair | Weather::Still | Weather::Dead | Weather::Mute | Weather::Cut => {}
        }
        if size == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..size]).await?;
    }
}

fn swallows(weather: Weather, answers: bool) -> bool {
    weather == Weather::Dead || (weather == Weather::Mute && answers)
}

/// Waits until a connection can't go on: it is cut off, or what it lost would be missed.
async fn until_reset(mut sky: watch::Receiver<Sky>, began: Sky, swallowed: &AtomicBool) {
    let mut before = began.weather;
    let over = |sky: &Sky| {
        let changed = sky.weather != before;
        before = sky.weather;
        sky.weather == Weather::Cut || sky.resets != began.resets || (changed && swallowed.load(Ordering::Relaxed))
    };
    let _ = sky.wait_for(over).await;
}
