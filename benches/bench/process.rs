//! A process that is measured, by what Linux says of it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A second has so many of the ticks in which `/proc` counts CPU time, on every Linux there is.
const TICKS_A_SECOND: f64 = 100.0;

pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program; what it says goes to a file.
    pub fn start(program: &Path, args: &[&str], log: &Path) -> Process {
        let said = File::create(log).expect("a log file");
        let child = Command::new(program)
            .args(args)
            // librdkafka's allocator keeps an arena a thread otherwise.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a log file"))
            .stderr(said)
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", program.display()));
        let name = format!("{} (its log is {})", program.display(), log.display());
        Process { child, name }
    }

    /// Panics when the process has ended by itself.
    pub fn must_live(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child of ours") {
            panic!("{} ended: {status}", self.name);
        }
    }

    /// CPU time used so far, in user and kernel.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a live process");
        let after_name = &stat[stat.rfind(')').expect("a name") + 2..];
        let ticks: u64 = after_name
            .split(' ')
            .skip(11)
            .take(2)
            .map(|t| t.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_secs_f64(ticks as f64 / TICKS_A_SECOND)
    }

    /// Resident memory in MiB: now, and at most so far.
    pub fn memory_mib(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a live process");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("KiB");
            kib / 1024.0
        };
        (of("VmRSS:"), of("VmHWM:"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
