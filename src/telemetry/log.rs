//! The log: to stderr, as text or JSON, and only what this module's own functions say. Libraries are not let in, at any
//! level: some write headers and bodies.

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::recent::KeepRecent;

/// How the log looks, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least that is said.
    pub level: LogLevel,
    /// Also what functions say of single records, which may hold pieces of them.
    pub records: bool,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least that is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// Each failed call, each commit.
    Debug,
    /// Each call.
    Trace,
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<LogLevel, String> {
        match text {
            "off" => Ok(LogLevel::Off),
            "error" => Ok(LogLevel::Error),
            "warn" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            "trace" => Ok(LogLevel::Trace),
            other => Err(format!(
                "found {other:?}, expected off, error, warn, info, debug or trace"
            )),
        }
    }
}

/// Whether what functions say of single records may stand in the log.
static RECORDS: AtomicBool = AtomicBool::new(false);

pub(super) fn tells_of_records() -> bool {
    RECORDS.load(Ordering::Relaxed)
}

/// Starts the log of this process. Where one was started already, that one stays.
pub fn init_log(settings: &LogSettings) {
    RECORDS.store(settings.records, Ordering::Relaxed);
    let only_ours = only_ours(filter(settings.level));
    let registry = tracing_subscriber::registry().with(KeepRecent.with_filter(self::only_ours(LevelFilter::INFO)));
    let started = match settings.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let lines = fmt::layer()
                .with_writer(std::io::stderr)
                .with_target(false)
                .with_ansi(colours);
            registry.with(lines.with_filter(only_ours)).try_init()
        }
        LogFormat::Json => {
            let lines = fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr)
                .with_target(false);
            registry.with(lines.with_filter(only_ours)).try_init()
        }
    };
    // The only way to fail is that there is one.
    drop(started);
}

/// Starts the log of this process as lines for whoever owns the screen. Lines that are not taken in time are passed over;
/// where a log was started already, that one stays and no line comes.
pub fn log_lines(level: LogLevel) -> Receiver<String> {
    const WAITING: usize = 256;
    let (lines, receiver) = channel(WAITING);
    let only_ours = only_ours(filter(level));
    let plain = fmt::layer()
        .with_writer(move || Line(lines.clone()))
        .with_target(false)
        .with_ansi(false)
        .without_time();
    let kept = KeepRecent.with_filter(self::only_ours(LevelFilter::INFO));
    drop(
        tracing_subscriber::registry()
            .with(kept)
            .with(plain.with_filter(only_ours))
            .try_init(),
    );
    receiver
}

/// Each write is a line.
struct Line(Sender<String>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A full channel is a screen that can't follow.
        let _ = self.0.try_send(String::from_utf8_lossy(line.trim_ascii()).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn only_ours(level: LevelFilter) -> Targets {
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), level)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
