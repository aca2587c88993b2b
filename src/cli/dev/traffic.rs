//! What is fed into the topic: the sample flights, or lines of a file.

use std::path::Path;

use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

/// All flights of one day of snow; `data/README.md` says where they are from.
const FLIGHTS: &str = include_str!("data/flights.ndjson");

/// What Kafka takes by default, less what a record is wrapped in.
const MAX_LINE_BYTES: usize = 1_000_000;

/// Three records that go wrong, each its own way, among the first flights: `(after this many flights, value)`.
const POISON: [(usize, &str); 3] = [
    // Not JSON: a dead letter before any call.
    (40, r#"{"scheduled":"2013-12-10T06:10","carrier":"UA","flight":"#),
    // The function says no, with its reason.
    (
        60,
        r#"{"scheduled":"2013-12-10T06:29","carrier":"B6","flight":801,"origin":"JFK","destination":"FLL","delay":-9,"distance":-1069,"air_time":159}"#,
    ),
    // The function fails on it: retried, its batch halved until it stands alone.
    (
        80,
        r#"{"scheduled":"2013-12-10T06:30","carrier":"AA","flight":303,"origin":"LGA","destination":"ORD","delay":4,"distance":733,"air_time":0}"#,
    ),
];

/// One record to feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feed {
    /// The key, if it has one.
    pub(super) key: Option<String>,
    /// The value.
    pub(super) value: Vec<u8>,
}

/// Where records come from.
pub(super) enum Traffic {
    /// The sample flights, over and over.
    Sample(Sample),
    /// Lines.
    Lines(Box<dyn AsyncBufRead + Send + Unpin>),
}

impl Traffic {
    /// The sample flights.
    pub(super) fn sample() -> Traffic {
        Traffic::Sample(Sample {
            flights: FLIGHTS.lines().map(flight).collect(),
            sent: 0,
            poisoned: 0,
        })
    }

    /// The lines of a file, or of stdin where the path is `-`.
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub(super) async fn lines(input: &Path) -> std::io::Result<Traffic> {
        if input == Path::new("-") {
            return Ok(Traffic::Lines(Box::new(BufReader::new(tokio::io::stdin()))));
        }
        Ok(Traffic::Lines(Box::new(BufReader::new(File::open(input).await?))))
    }

    /// The next record; `None` at the end. Empty lines are no records.
    ///
    /// # Errors
    /// Where reading fails, or a line is longer than a broker takes.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Feed>> {
        match self {
            Traffic::Sample(sample) => Ok(Some(sample.next())),
            Traffic::Lines(lines) => next_line(lines).await,
        }
    }
}

/// The sample flights, over and over; those that go wrong come only once.
pub(super) struct Sample {
    flights: Vec<Feed>,
    sent: usize,
    poisoned: usize,
}

impl Sample {
    fn next(&mut self) -> Feed {
        if let Some((_, value)) = POISON.get(self.poisoned).filter(|(after, _)| self.sent >= *after) {
            self.poisoned += 1;
            return Feed {
                key: Some("poison".to_owned()),
                value: value.as_bytes().to_vec(),
            };
        }
        let feed = self.flights[self.sent % self.flights.len()].clone();
        self.sent += 1;
        feed
    }
}

fn flight(line: &str) -> Feed {
    let carrier = serde_json::from_str(line)
        .ok()
        .and_then(|flight: Value| flight["carrier"].as_str().map(str::to_owned));
    Feed {
        key: carrier,
        value: line.as_bytes().to_vec(),
    }
}

async fn next_line(lines: &mut (dyn AsyncBufRead + Send + Unpin)) -> std::io::Result<Option<Feed>> {
    loop {
        let mut value = Vec::new();
        let bound = MAX_LINE_BYTES as u64 + 1;
        if (&mut *lines).take(bound).read_until(b'\n', &mut value).await? == 0 {
            return Ok(None);
        }
        value.truncate(value.trim_ascii_end().len());
        if value.len() > MAX_LINE_BYTES {
            let problem = format!("a line of the input is longer than the {MAX_LINE_BYTES} bytes that a broker takes");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem));
        }
        if !value.is_empty() {
            return Ok(Some(Feed { key: None, value }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_sample_flight_has_a_key_and_each_poison_comes_once() {
        let mut traffic = Traffic::sample();
        let Traffic::Sample(Sample { flights, .. }) = &traffic else {
            unreachable!()
        };
        let flights = flights.len();
        let mut fed = Vec::new();
        for _ in 0..2 * flights + POISON.len() {
            fed.push(traffic.next().await.unwrap().unwrap());
        }
        let poison = |feed: &&Feed| feed.key.as_deref() == Some("poison");
        assert_eq!(fed.iter().filter(poison).count(), POISON.len());
        let sound: Vec<&Feed> = fed.iter().filter(|feed| !poison(feed)).collect();
        assert_eq!(sound[..flights], sound[flights..]);
        for feed in sound {
            assert!(serde_json::from_slice::<Value>(&feed.value).unwrap().is_object());
            assert_eq!(feed.key.as_ref().map(String::len), Some(2));
        }
    }

    #[tokio::test]
    async fn lines_are_records_byte_for_byte_and_empty_lines_are_none() {
        let mut traffic = Traffic::Lines(Box::new(&b"{\"a\":1}\r\n\n  \n not json\nlast"[..]));
        let mut values = Vec::new();
        while let Some(feed) = traffic.next().await.unwrap() {
            values.push(String::from_utf8(feed.value).unwrap());
        }
        assert_eq!(values, ["{\"a\":1}", " not json", "last"]);
    }

    #[tokio::test]
    async fn a_line_longer_than_a_broker_takes_is_an_error_and_not_read_whole() {
        let endless = tokio::io::BufReader::new(tokio::io::repeat(b'x'));
        let error = Traffic::Lines(Box::new(endless)).next().await.unwrap_err();
        assert!(error.to_string().contains("longer than the 1000000 bytes"), "{error}");
    }
}
