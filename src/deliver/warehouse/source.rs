//! An object's bytes in pieces, as they were before compression.

use crate::deliver::{Body, Shipment};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Read};

/// Compressed bytes read at once.
const COMPRESSED_BYTES: usize = 256 << 10;

/// A reader that never holds more of the object than it is asked for, and a buffer.
pub(super) fn bytes(shipment: &Shipment) -> Box<dyn Read + Send + '_> {
    let bytes = Bytes { body: &shipment.body, at: 0 };
    match shipment.content_encoding {
        Some("gzip") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BYTES, bytes))),
        _ => Box::new(bytes),
    }
}

struct Bytes<'b> {
    body: &'b Body,
    at: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (self.body.len() - self.at).min(buffer.len() as u64) as usize;
        let piece = self.body.read(self.at, n)?;
        buffer[..n].copy_from_slice(&piece);
        self.at += n as u64;
        Ok(n)
    }
}
