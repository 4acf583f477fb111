//! Records one after the other: exactly their bytes (Firehose's way), or with a newline where one lacks it.
//!
//! A record that is gzip gets none: records of gzip one after the other are gzip again, with something between they are not.

use crate::record::Records;
use crate::record::index::{Index, Series, Stand};
use crate::sabotage;

/// What gzip begins with, and no text.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Settings of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinesFormat {
    /// Ends each record with a newline unless it has one.
    pub newline: bool,
}

/// One object of concatenated records.
pub struct LinesEncoder {
    newline: bool,
    /// Arrivals, and lengths as [`Stand::Lines`] has them, if somebody will want to find the records again.
    index: Option<Box<(Series, Series)>>,
}

impl LinesFormat {
    pub fn encoder(self) -> LinesEncoder {
        LinesEncoder { newline: self.newline, index: None }
    }

    /// One that notes where the records stand.
    pub fn indexing_encoder(self) -> LinesEncoder {
        LinesEncoder { index: Some(Default::default()), ..self.encoder() }
    }
}

impl LinesEncoder {
    /// Appends the picked records, which arrived at `arrivals`.
    pub fn push(&mut self, records: &Records, picked: &[u32], arrivals: &[u64], out: &mut Vec<u8>) {
        for (at, &i) in picked.iter().enumerate() {
            if i == 3 && sabotage::on("encoder_loses_a_row") {
                continue;
            }
            let record = records.get(i as usize);
            self.push_record(record, out);
            if let Some(index) = &mut self.index {
                let (arrived, lengths) = &mut **index;
                arrived.push(arrivals[at]);
                lengths.push((record.len() as u64) << 1 | lacks_newline(self.newline, record) as u64);
            }
        }
    }

    /// Appends one record.
    pub fn push_record(&self, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(record);
        if lacks_newline(self.newline, record) {
            out.push(b'\n');
        }
    }

    /// Where the records stand, if that was noted.
    pub fn index(self) -> Option<Index> {
        let (arrivals, lengths) = *self.index?;
        Some(Index { arrivals, stand: Stand::Lines(lengths), gzip: false })
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.0.memory_bytes() + index.1.memory_bytes())
    }
}

fn lacks_newline(newline: bool, record: &[u8]) -> bool {
    newline && record.last() != Some(&b'\n') && !record.starts_with(&GZIP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(records: &[&[u8]], newline: bool) -> Vec<u8> {
        let (encoder, mut out) = (LinesFormat { newline }.encoder(), Vec::new());
        records.iter().for_each(|record| encoder.push_record(record, &mut out));
        out
    }

    #[test]
    fn a_newline_ends_what_is_no_gzip() {
        assert_eq!(lines(&[b"a", b"b\n", b"", b"c"], true), b"a\nb\n\nc\n");
        assert_eq!(lines(&[b"a", b"b\n", b"", b"c"], false), b"ab\nc");
        let gzip = b"\x1f\x8b\x08compressed".as_slice();
        assert_eq!(lines(&[gzip, gzip, b"a", gzip], true), [gzip, gzip, b"a\n", gzip].concat());
        assert_eq!(lines(&[b"\x1f", b"\x8b\x1f\x8b"], true), b"\x1f\n\x8b\x1f\x8b\n");
    }
}
