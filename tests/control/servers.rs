//! Real servers, each in a folder and on a port of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::children::{await_end, free_port, start};
use super::wait;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
    Etcd,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Etcd];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
            Kind::Etcd => "etcd",
        }
    }
}

/// A server that runs, or a file.
pub struct Server {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

static SHARED: Mutex<Vec<Server>> = Mutex::new(Vec::new());

/// The URL of a store of one's own, on the server that tests share.
pub fn shared(kind: Kind, name: &str) -> String {
    let mut servers = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !servers.iter().any(|server| server.kind == kind) {
        servers.push(Server::start(kind));
    }
    let server = servers
        .iter()
        .find(|server| server.kind == kind)
        .expect("it was started");
    server.url(name)
}

/// Ends the servers that tests share.
pub fn stop_shared() {
    SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
}

impl Server {
    /// Starts one, and waits until it answers.
    pub fn start(kind: Kind) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fnbridge-control-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut server = Server {
            kind,
            folder,
            port: free_port(),
            child: None,
        };
        if kind == Kind::Postgres {
            server.init_postgres();
        }
        server.resume();
        server
    }

    /// The URL of a store of one's own on this server.
    pub fn url(&self, name: &str) -> String {
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        match self.kind {
            Kind::Sqlite => format!("sqlite://{}/{name}.db", self.folder.display()),
            Kind::Postgres => {
                let database = &name[name.len().saturating_sub(60)..];
                self.psql(&format!("CREATE DATABASE {database}"));
                format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
            }
            Kind::Etcd => format!("etcd://127.0.0.1:{}/{name}", self.port),
        }
    }

    /// Kills it, without a goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child of ours");
            await_end(&mut child, self.kind.name());
        }
    }

    /// Starts it again on its folder and port.
    pub fn resume(&mut self) {
        let mut command = match self.kind {
            Kind::Sqlite => return,
            Kind::Postgres => self.postgres("postgres"),
            Kind::Etcd => self.etcd(),
        };
        if self.kind == Kind::Postgres {
            // Left behind by a kill.
            let _ = fs::remove_file(self.folder.join("data/postmaster.pid"));
            command.args([
                "-D",
                "data",
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ]);
            command.args(["-c", "fsync=off", "-p", &self.port.to_string()]);
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log);
        self.child = Some(start(command));
        wait::until(&format!("{} to answer", self.kind.name()), || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            match self.kind {
                Kind::Postgres => self.try_psql("SELECT 1").then_some(()),
                Kind::Sqlite | Kind::Etcd => Some(()),
            }
        });
    }

    fn etcd(&self) -> Command {
        let mut command = Command::new(found("etcd", &["/usr/bin"]));
        let peer = free_port();
        let (client, peer) = (
            format!("http://127.0.0.1:{}", self.port),
            format!("http://127.0.0.1:{peer}"),
        );
        command
            .current_dir(&self.folder)
            .args(["--data-dir", "data", "--log-level", "error", "--unsafe-no-fsync"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer]);
        if cfg!(target_arch = "aarch64") {
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        if !etcd_knows(&command, "--unsafe-no-fsync") {
            let args: Vec<_> = command
                .get_args()
                .filter(|arg| *arg != "--unsafe-no-fsync")
                .map(ToOwned::to_owned)
                .collect();
            let mut plain = Command::new(command.get_program());
            plain.current_dir(&self.folder).args(args);
            return plain;
        }
        command
    }

    /// PostgreSQL does not run as root.
    fn postgres(&self, program: &str) -> Command {
        let program = found(program, &newest_postgres());
        let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
                "--pdeathsig",
                "KILL",
            ]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.folder);
        command
    }

    fn init_postgres(&self) {
        let given = Command::new("chown").arg("postgres").arg(&self.folder).status();
        // Where this is not root, the folder is ours and stays so.
        let _ = given;
        let mut command = self.postgres("initdb");
        command.args(["-D", "data", "-U", "postgres", "--auth=trust", "--no-sync"]);
        let made = command.output().expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    fn psql(&self, statement: &str) {
        assert!(self.try_psql(statement), "psql: {statement}");
    }

    fn try_psql(&self, statement: &str) -> bool {
        let mut command = self.postgres("psql");
        command.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
            "-c",
            statement,
        ]);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program on the path, or in one of these folders.
fn found(program: &str, folders: &[impl AsRef<Path>]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(program));
    let mut places = folders
        .iter()
        .map(|folder| folder.as_ref().join(program))
        .chain(on_path);
    places
        .find(|place| place.is_file())
        .unwrap_or_else(|| panic!("{program} is not installed; `./run tests control` installs it on Debian"))
}

fn newest_postgres() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}

fn etcd_knows(command: &Command, flag: &str) -> bool {
    let help = Command::new(command.get_program()).arg("--help").output();
    help.is_ok_and(|help| {
        [help.stdout, help.stderr]
            .iter()
            .any(|text| String::from_utf8_lossy(text).contains(flag))
    })
}
