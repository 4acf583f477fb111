//! Records on their way into one object: the list that a plan will hold, and the object's bytes as far as they are
//! made. The bytes may be dropped and made again; the list decides.

use super::list::ListBuilder;
use super::plan::Reason;
use crate::compress;
use crate::deliver::{Body, Spool, body::Scratch};
use crate::format::Encoder;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub struct Buffer {
    pub list: ListBuilder,
    pub reasons: Vec<Reason>,
    /// Bytes of the records as they came, before format and compression: what `buffer.size` counts.
    pub bytes: u64,
    pub oldest_arrival_ms: u64,
    /// Steady time at which the first record entered.
    pub opened: Duration,
    pub filling: Filling,
}

/// An object's bytes being made.
pub struct Filling {
    encoder: Encoder,
    compress: compress::Encoder,
    spool: Spool,
}

impl Filling {
    pub fn new(encoder: Encoder, compress: compress::Encoder, scratch: &Arc<Scratch>) -> Self {
        Filling { encoder, compress, spool: Spool::new(scratch) }
    }

    /// Lets `write` append rows through the encoder.
    pub fn write(&mut self, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        write(&mut self.encoder, self.compress.raw(self.spool.tail()));
        self.compress.settle(self.spool.tail());
        // A full scratch disk keeps the bytes in memory, where the stream's cap on them stops reading.
        let _ = self.spool.settle();
    }

    pub fn finish(mut self) -> Body {
        self.encoder.finish(self.compress.raw(self.spool.tail()));
        self.compress.finish(self.spool.tail());
        let _ = self.spool.settle();
        self.spool.finish()
    }

    pub fn memory_bytes(&self) -> usize {
        self.encoder.memory_bytes() + self.compress.memory_bytes() + self.spool.memory_bytes()
    }
}

impl Buffer {
    pub fn new(filling: Filling, opened: Duration) -> Self {
        Buffer {
            list: ListBuilder::default(),
            reasons: Vec::new(),
            bytes: 0,
            oldest_arrival_ms: u64::MAX,
            opened,
            filling,
        }
    }
}
