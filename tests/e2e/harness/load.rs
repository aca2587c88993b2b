//! Records that keep coming.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::topics::{Client, Entry};

/// Produces on and on, in even shares.
pub struct Load {
    ended: Arc<AtomicBool>,
    producing: thread::JoinHandle<i64>,
    partitions: usize,
}

impl Load {
    /// Starts producing.
    pub fn start(client: Client, topic: &str, partitions: i32) -> Load {
        let ended = Arc::new(AtomicBool::new(false));
        let (until, topic) = (Arc::clone(&ended), topic.to_owned());
        let producing = thread::spawn(move || {
            let mut each = 0;
            while !until.load(Ordering::SeqCst) {
                let next = numbers(each..each + 50).flat_map(|entry| (0..partitions).map(move |p| entry.clone().to(p)));
                client.produce(&topic, next.collect::<Vec<_>>());
                each += 50;
                thread::park_timeout(Duration::from_millis(120));
            }
            each
        });
        Load {
            ended,
            producing,
            partitions: usize::try_from(partitions).unwrap(),
        }
    }

    /// Stops producing; how many records each partition has got.
    pub fn end(self) -> Vec<i64> {
        self.ended.store(true, Ordering::SeqCst);
        self.producing.thread().unpark();
        vec![self.producing.join().expect("the load was produced"); self.partitions]
    }
}

/// Records with these numbers as their values.
pub fn numbers(range: std::ops::Range<i64>) -> impl Iterator<Item = Entry> {
    range.map(|n| Entry::value(n.to_string()))
}
