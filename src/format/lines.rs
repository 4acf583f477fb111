//! Records one after the other: exactly their bytes (Firehose's way), or with a newline where one lacks it.

use crate::compress::{self, Compress};
use crate::record::Batch;
use crate::sabotage;

/// Settings of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Ends each record with a newline unless it has one.
    pub newline: bool,
}

/// One object of concatenated records.
pub struct Encoder {
    newline: bool,
    compress: compress::Encoder,
}

impl Lines {
    pub fn encoder(self, compress: Compress) -> Encoder {
        Encoder { newline: self.newline, compress: compress.encoder() }
    }
}

impl Encoder {
    pub fn push(&mut self, records: &Batch, picked: &[u32], out: &mut Vec<u8>) {
        for &i in picked {
            if i == 3 && sabotage::on("encoder_loses_a_row") {
                continue;
            }
            self.push_record(records.get(i as usize), out);
        }
    }

    /// Appends one record.
    pub fn push_record(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let raw = self.compress.raw(out);
        raw.extend_from_slice(record);
        if self.newline && record.last() != Some(&b'\n') {
            raw.push(b'\n');
        }
        self.compress.settle(out);
    }

    pub fn finish(self, out: &mut Vec<u8>) {
        self.compress.finish(out);
    }

    pub fn memory_bytes(&self) -> usize {
        self.compress.memory_bytes()
    }
}
