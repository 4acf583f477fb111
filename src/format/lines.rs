//! Records one after the other: exactly their bytes (Firehose's way), or with a newline where one lacks it.

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
}

impl Lines {
    pub fn encoder(self) -> Encoder {
        Encoder { newline: self.newline }
    }
}

impl Encoder {
    pub fn push(&self, records: &Batch, picked: &[u32], out: &mut Vec<u8>) {
        for &i in picked {
            if i == 3 && sabotage::on("encoder_loses_a_row") {
                continue;
            }
            self.push_record(records.get(i as usize), out);
        }
    }

    /// Appends one record.
    pub fn push_record(&self, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(record);
        if self.newline && record.last() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
}
