//! An object's bytes in pieces, as they were before compression.

use crate::deliver::Shipment;
use flate2::bufread::MultiGzDecoder;
use std::io::{BufReader, Read};

/// Compressed bytes read at once.
const COMPRESSED_BYTES: usize = 256 << 10;

/// A reader that never holds more of the object than it is asked for, and a buffer.
pub(super) fn bytes(shipment: &Shipment) -> Box<dyn Read + Send + '_> {
    let bytes = shipment.body.reader();
    match shipment.content_encoding {
        Some("gzip") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BYTES, bytes))),
        _ => Box::new(bytes),
    }
}
