//! The other ends: one process for each library or host, started when a test first needs it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use hyper::Uri;

use crate::{children, wait};

/// One of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// The Python libraries.
    Python,
    /// The JavaScript libraries.
    JavaScript,
    /// The Go libraries.
    Go,
    /// The Java libraries.
    Java,
    /// The Functions Framework for Python.
    PythonFramework,
    /// The Functions Framework for Node.js.
    JavaScriptFramework,
    /// The Functions Framework for Go.
    GoFramework,
}

/// A process that listens, and what it has printed.
pub struct Server {
    child: Mutex<Child>,
    port: u16,
    said: Said,
}

/// Lines of standard output and of standard error.
type Said = Arc<Mutex<Vec<String>>>;

impl Host {
    /// Its process, which is started once.
    ///
    /// # Panics
    /// If it can't be started, or does not listen in time.
    pub fn server(self) -> Arc<Server> {
        type Slot = Arc<OnceLock<Arc<Server>>>;
        static ALL: Mutex<BTreeMap<Host, Slot>> = Mutex::new(BTreeMap::new());
        let slot = Arc::clone(ALL.lock().unwrap().entry(self).or_default());
        Arc::clone(slot.get_or_init(|| {
            let server = Arc::new(Server::start(self));
            STARTED.lock().unwrap().push(Arc::clone(&server));
            server
        }))
    }

    fn command(self, port: u16) -> Command {
        let mut command = match self {
            Host::Python => with_file(Command::new(fetched("python/bin/python")), "python/server.py"),
            Host::JavaScript => with_file(Command::new("node"), "javascript/server.js"),
            Host::Go => Command::new(fetched("go/server")),
            Host::Java => {
                let mut java = Command::new("java");
                java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
                java.arg(format!("{}/*", fetched("java").display()));
                with_file(java, "java/Server.java")
            }
            Host::PythonFramework => {
                let mut framework = hosts_python();
                framework.args([
                    "-m",
                    "functions_framework",
                    "--target",
                    "receive",
                    "--host",
                    "127.0.0.1",
                ]);
                framework.args(["--port", &port.to_string(), "--source"]);
                with_file(framework, "python/framework.py")
            }
            Host::JavaScriptFramework => {
                let mut framework = Command::new(fetched("javascript/node_modules/.bin/functions-framework"));
                framework.args(["--target=receive", "--signature-type=cloudevent"]);
                framework.arg(format!("--port={port}"));
                framework.arg(format!("--source={}", source("javascript/framework.js").display()));
                framework
            }
            Host::GoFramework => {
                let mut framework = Command::new(fetched("go/framework"));
                framework.env("FUNCTION_TARGET", "receive");
                framework
            }
        };
        command.env("PORT", port.to_string());
        command.env("NODE_PATH", fetched("javascript/node_modules"));
        command
    }
}

static STARTED: Mutex<Vec<Arc<Server>>> = Mutex::new(Vec::new());

/// Ends what was started.
pub fn stop_all() {
    for server in STARTED.lock().unwrap().drain(..) {
        let mut child = server.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Server {
    fn start(host: Host) -> Server {
        let port = children::free_port();
        let (mut child, said) = start(host.command(port));
        wait::until(&format!("{host:?} to listen"), || {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                panic!("{host:?} ended with {status}:\n{}", said.lock().unwrap().join("\n"));
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Server {
            child: Mutex::new(child),
            port,
            said,
        }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> Uri {
        format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }

    /// The first line printed that holds this.
    ///
    /// # Panics
    /// If none is printed in time.
    pub fn await_line(&self, holds: &str) -> String {
        let said = || {
            self.said
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains(holds))
                .cloned()
        };
        wait::until(&format!("a line that holds {holds}"), said)
    }
}

/// Starts a process, and keeps the lines that it prints.
pub fn start(mut command: Command) -> (Child, Said) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = children::start(command);
    let said = Said::default();
    keep_lines(child.stdout.take().expect("a pipe"), &said);
    keep_lines(child.stderr.take().expect("a pipe"), &said);
    (child, said)
}

fn keep_lines(from: impl Read + Send + 'static, said: &Said) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            said.lock().unwrap().push(line);
        }
    });
}

/// Python with what hosts functions.
pub fn hosts_python() -> Command {
    Command::new(folder("FNBRIDGE_TEST_HOSTS").join("bin/python"))
}

/// A file of these tests.
pub fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/counterparts")
        .join(file)
}

fn with_file(mut command: Command, file: &str) -> Command {
    command.arg(source(file));
    command
}

fn fetched(file: &str) -> PathBuf {
    folder("FNBRIDGE_TEST_COUNTERPARTS").join(file)
}

fn folder(variable: &str) -> PathBuf {
    let folder = std::env::var_os(variable);
    folder
        .unwrap_or_else(|| panic!("{variable} is not set: ./run tests counterparts sets it"))
        .into()
}
