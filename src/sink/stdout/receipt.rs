//! Lines that were written are stored; a closed pipe is said, and waited for.

use std::io;

use crate::delivery::answer::{Failure, Receipt};

pub(super) fn receipts(items: usize, written: io::Result<()>) -> Vec<Receipt> {
    let receipt = match written {
        Ok(()) => Receipt::Stored,
        Err(error) => Receipt::Blocked(Failure::of(format!("standard output can't be written: {error}"))),
    };
    vec![receipt; items]
}
