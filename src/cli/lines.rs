//! Lines of a file, or of standard input, as records.

use crate::api::wire::RECORD_BYTES_MAX;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Of CRLF.
const LINE_END_BYTES_MAX: u64 = 2;
/// What gzip begins with, and no text.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file, or standard input for `-`.
pub(super) fn open(file: &Path) -> Result<Box<dyn Read + Send>, String> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file).map_err(|e| format!("open `{}`: {e}", file.display()))?;
    Ok(Box::new(opened))
}

/// The same; what is gzip is unpacked.
pub(super) fn open_unpacked(file: &Path) -> Result<Box<dyn BufRead + Send>, String> {
    let mut input = BufReader::new(open(file)?);
    let beginning = input.fill_buf().map_err(|e| format!("read `{}`: {e}", file.display()))?;
    Ok(match beginning.starts_with(&GZIP) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(input))),
        false => Box::new(input),
    })
}

/// A record, or why the next line is none.
pub(super) type InputRecord = Result<Vec<u8>, String>;

/// The lines of the input as records.
pub(super) struct InputLines<R> {
    input: R,
    newline: bool,
    /// Of a record.
    bytes_max: usize,
    /// Of the line read last, from 1.
    number: u64,
}

impl<R: BufRead> InputLines<R> {
    /// `newline`: whether the end of each line belongs to its record. Records are what a put takes.
    pub(super) fn new(input: R, newline: bool) -> InputLines<R> {
        InputLines { input, newline, bytes_max: RECORD_BYTES_MAX, number: 0 }
    }

    /// The same with records of up to so many bytes.
    pub(super) fn of_at_most(self, bytes_max: usize) -> InputLines<R> {
        InputLines { bytes_max, ..self }
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> Option<InputRecord> {
        loop {
            self.number += 1;
            let number = self.number;
            let mut line = Vec::new();
            // A line that is too long is not read to its end, which may be that of a disk.
            let mut bounded = (&mut self.input).take(self.bytes_max as u64 + LINE_END_BYTES_MAX);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) => return Some(Err(format!("read line {number}: {e}"))),
            }
            let text = without_end(&line).len();
            if text == 0 {
                continue;
            }
            if !self.newline {
                line.truncate(text);
            }
            let bytes_max = self.bytes_max;
            return Some(match line.len() <= bytes_max {
                true => Ok(line),
                false => Err(format!("line {number}: found more than {bytes_max} bytes, expected at most that")),
            });
        }
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let Some(line) = line.strip_suffix(b"\n") else { return line };
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8], newline: bool) -> Vec<InputRecord> {
        let mut lines = InputLines::new(text, newline);
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_are_records_with_or_without_their_ends() {
        assert_eq!(records(b"a\n\nb", false), [Ok(b"a".to_vec()), Ok(b"b".to_vec())]);
        assert_eq!(records(b"a\r\n\r\nb\r", false), [Ok(b"a".to_vec()), Ok(b"b\r".to_vec())]);
        assert_eq!(records(b"a\n\nb\r\n", true), [Ok(b"a\n".to_vec()), Ok(b"b\r\n".to_vec())]);
        for end in [&b"\n"[..], b"\r\n"] {
            let largest = [&vec![b'x'; RECORD_BYTES_MAX], end, b"y\n"].concat();
            let found = records(&largest, false);
            assert_eq!(found[0].as_ref().map(Vec::len), Ok(RECORD_BYTES_MAX));
            assert_eq!(found[1..], [Ok(b"y".to_vec())]);
            assert!(records(&largest, true)[0].is_err(), "with its end it is too long");
            let longer = [&vec![b'x'; RECORD_BYTES_MAX + 1], end].concat();
            assert!(records(&longer, false)[0].is_err(), "it is a byte too long");
        }
    }
}
