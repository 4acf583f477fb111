//! The records of a body that holds them packed, one after the other, without holding all of them.

use super::{Body, PIECE_BYTES};
use crate::record::packed;
use std::io;

/// See the module.
pub struct Records<'b> {
    body: &'b Body,
    /// Read from the body and not yet taken.
    bytes: Vec<u8>,
    at: usize,
    /// Where in the body the next piece begins.
    next: u64,
}

impl<'b> Records<'b> {
    pub fn new(body: &'b Body) -> Self {
        Records { body, bytes: Vec::new(), at: 0, next: 0 }
    }

    /// The next record with its arrival in milliseconds since the Unix epoch. `None` behind the last one.
    pub fn read(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        const PIECE: u64 = PIECE_BYTES as u64 / 16;
        while packed::take(&mut &self.bytes[self.at..]).is_none() {
            let left = self.body.len() - self.next;
            if left == 0 {
                let cut_short = self.at < self.bytes.len();
                let error = || io::Error::other("a body ends within a record");
                return if cut_short { Err(error()) } else { Ok(None) };
            }
            // As much as is here already again, so that a record of many pieces is not gone through for each of them.
            let more = left.min(PIECE.max((self.bytes.len() - self.at) as u64));
            self.bytes.drain(..self.at);
            self.at = 0;
            let held = self.bytes.len();
            self.bytes.resize(held + more as usize, 0);
            self.body.read_into(self.next, &mut self.bytes[held..])?;
            self.next += more;
        }
        let mut rest = &self.bytes[self.at..];
        let (arrival, record) = packed::take(&mut rest).expect("just seen");
        self.at = self.bytes.len() - rest.len();
        Ok(Some((arrival, record)))
    }
}
