//! What a dead letter is when it is sent through again.

use super::headers::{REDRIVES, header};
use super::{source_headers, told};
use crate::delivery::record::Record;

/// The record that a dead letter was made of, as far as the letter says which.
pub fn given_up(letter: Record) -> Record {
    let told = told(&letter);
    let headers = source_headers(&letter).cloned().collect();
    Record {
        source: told.source.unwrap_or_else(|| letter.source.clone()),
        offset: told.offset.unwrap_or(letter.offset),
        headers,
        ..letter
    }
}

/// A record that carries how often it was redriven: should it be given up again, its letter says so.
pub fn redriven(record: &Record, redrives: u32) -> Record {
    let mut carrying = record.clone();
    carrying.headers.retain(|header| header.name != REDRIVES);
    carrying.headers.push(header(REDRIVES, redrives.to_string()));
    carrying
}
