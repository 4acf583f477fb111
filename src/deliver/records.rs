//! The records of a body that knows where they stand, one after the other, without holding all of them.

use super::{Body, Spool};
use crate::compress::Compression;
use crate::record::elements::{self, CLOSE, OPEN};
use crate::record::index::{Index, Series, Stand};
use std::io::{self, BufRead, Read};

/// Base64 of text hardly repeats: more effort than the least gains a few percent at several times the cost.
const GZIP: Compression = Compression::Gzip { level: 1 };

/// How the elements of requests are compressed.
pub fn compress(gzip: bool) -> Compression {
    if gzip { GZIP } else { Compression::None }
}

/// A body's records, one after the other.
pub struct BodyRecords<'b> {
    text: Box<dyn BufRead + 'b>,
    arrivals: Box<dyn Iterator<Item = u64> + 'b>,
    /// Of records that stand one after the other; see [`Stand::Lines`].
    lengths: Option<Box<dyn Iterator<Item = u64> + 'b>>,
    is_first: bool,
    adds_newline: bool,
    record: Vec<u8>,
}

impl<'b> BodyRecords<'b> {
    pub fn new(body: &'b Body) -> io::Result<Self> {
        let index = body.index().ok_or_else(|| io::Error::other("a body holds no records"))?;
        let lengths = match &index.stand {
            Stand::Elements => None,
            Stand::Lines(lengths) => Some(Box::new(lengths.iter()) as Box<dyn Iterator<Item = u64>>),
        };
        let (text, arrivals) = (body.plain()?, Box::new(index.arrivals.iter()));
        Ok(BodyRecords { text, arrivals, lengths, is_first: true, adds_newline: false, record: Vec::new() })
    }

    /// The next record with its arrival in milliseconds since the Unix epoch. `None` behind the last one.
    pub fn read(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let broken = |_| io::Error::other("a body of records is broken");
        let Some(arrival) = self.arrivals.next() else { return Ok(None) };
        if let Some(lengths) = &mut self.lengths {
            let length = lengths.next().ok_or_else(|| io::Error::other("a body of records is broken"))?;
            self.record.resize((length >> 1) as usize, 0);
            self.text.read_exact(&mut self.record)?;
            self.adds_newline = length & 1 == 1;
            if self.adds_newline {
                self.pass(b"\n")?;
            }
            return Ok(Some((arrival, &self.record)));
        }
        if !self.is_first {
            self.pass(b",")?;
        }
        self.is_first = false;
        self.pass(OPEN)?;
        self.record.clear();
        self.text.read_until(CLOSE[0], &mut self.record)?;
        self.pass(&CLOSE[1..])?;
        self.record.pop();
        let decoded = base64_simd::STANDARD.decode_inplace(&mut self.record).map_err(broken)?;
        Ok(Some((arrival, decoded)))
    }

    /// Whether a newline that is not its own follows the record that was read last.
    pub fn adds_newline(&self) -> bool {
        self.adds_newline
    }

    fn pass(&mut self, expected: &[u8]) -> io::Result<()> {
        let mut found = [0; 16];
        let found = &mut found[..expected.len()];
        self.text.read_exact(found)?;
        if found == expected { Ok(()) } else { Err(io::Error::other("a body of records is broken")) }
    }
}

/// Of lines that are looked at together, and of one.
const SEVERAL_LINES_BYTES_MAX: usize = 1 << 20;
const LINE_BYTES_MAX: u64 = 512 << 20;

/// A body of which nobody has noted where its records stand, with that: each is a JSON value, or else a line, or as many lines
/// as a field in quotes has. When they arrived is not known.
pub fn indexed(body: Body) -> io::Result<Body> {
    let (mut lengths, mut arrivals) = (Series::default(), Series::default());
    let mut text = body.plain()?;
    let (mut record, mut ends) = (Vec::new(), Vec::new());
    loop {
        let before = record.len();
        (&mut text).take(LINE_BYTES_MAX).read_until(b'\n', &mut record)?;
        let is_end = record.len() == before;
        if !is_end {
            ends.push(record.len());
        }
        let is = Together::of(&record);
        if is == Together::Cut && !is_end && record.len() < SEVERAL_LINES_BYTES_MAX {
            continue;
        }
        // Lines that are nothing together are as many records.
        let all = if is == Together::Whole { ends_of_values(&record) } else { ends };
        let mut from = 0;
        for end in all.into_iter().filter(|end| *end > 0) {
            let has_newline = record[end - 1] == b'\n';
            lengths.push((end - from - has_newline as usize) as u64 * 2 + has_newline as u64);
            arrivals.push(0);
            from = end;
        }
        (record, ends) = (Vec::new(), Vec::new());
        if is_end {
            break;
        }
    }
    drop(text);
    let gzip = body.is_gzip()?;
    Ok(body.of_records(Index { arrivals, stand: Stand::Lines(lengths), gzip }))
}

/// Where the values end that lines hold, the last with all that stands behind it.
fn ends_of_values(lines: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    if Together::is_json(lines) {
        let mut values = serde_json::Deserializer::from_slice(lines).into_iter::<serde::de::IgnoredAny>();
        while let Some(Ok(_)) = values.next() {
            let end = values.byte_offset();
            ends.push(end + (lines.get(end) == Some(&b'\n')) as usize);
        }
        ends.pop();
    }
    ends.push(lines.len());
    ends
}

/// What lines are together.
#[derive(PartialEq, Eq)]
enum Together {
    Whole,
    /// Their end is missing.
    Cut,
    Nothing,
}

impl Together {
    fn is_json(lines: &[u8]) -> bool {
        matches!(lines.trim_ascii_start().first(), Some(b'{' | b'['))
    }

    fn of(lines: &[u8]) -> Together {
        if !Together::is_json(lines) {
            let quotes = memchr::memchr_iter(b'"', lines).count();
            return if quotes.is_multiple_of(2) { Together::Whole } else { Together::Cut };
        }
        let mut values = serde_json::Deserializer::from_slice(lines).into_iter::<serde::de::IgnoredAny>();
        match values.find_map(Result::err) {
            None => Together::Whole,
            Some(e) if e.is_eof() => Together::Cut,
            Some(_) => Together::Nothing,
        }
    }
}

/// A body of records made elsewhere than on their way through a stream.
pub struct Building {
    compress: crate::compress::CompressEncoder,
    arrivals: Series,
    spool: Spool,
}

impl Building {
    pub fn new(spool: Spool, gzip: bool) -> Building {
        Building { compress: compress(gzip).encoder(), arrivals: Series::default(), spool }
    }

    /// Adds a record. Without room for scratch it stays in memory.
    pub fn push(&mut self, arrival_ms: u64, record: &[u8]) {
        elements::push(self.compress.raw(self.spool.tail()), self.arrivals.is_empty(), record);
        self.arrivals.push(arrival_ms);
        while let Some(piece) = self.compress.piece() {
            self.spool.tail().append(&mut piece.compress());
        }
        let _ = self.spool.settle();
    }

    pub fn finish(mut self, to_scratch: bool) -> Body {
        if let Some(last) = self.compress.rest() {
            self.spool.tail().append(&mut last.compress());
        }
        let gzip = matches!(self.compress, crate::compress::CompressEncoder::Gzip(_));
        self.compress.end(self.spool.tail());
        self.spool.finish(to_scratch).of_records(Index { arrivals: self.arrivals, stand: Stand::Elements, gzip })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Vec<Vec<u8>> {
        let body = indexed(Body::of(text.to_vec())).unwrap();
        let (mut records, mut found) = (BodyRecords::new(&body).unwrap(), Vec::new());
        while let Some((_, record)) = records.read().unwrap() {
            found.push(record.to_vec());
        }
        found
    }

    #[test]
    fn records_are_found_where_nobody_has_noted_where_they_stand() {
        let of = |records: &[&str]| records.iter().map(|r| r.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(found(b"{\"a\":1}{\"a\":2}\n{\n\"a\":3}\n"), of(&["{\"a\":1}", "{\"a\":2}", "{\n\"a\":3}"]));
        // A broken one among them is a line of its own.
        assert_eq!(found(b"{\"a\":1}\n{\"a\":\n{\"a\":3}\n"), of(&["{\"a\":1}", "{\"a\":", "{\"a\":3}"]));
        assert_eq!(found(b"1,a\n2,\"b\nb\"\n3,c"), of(&["1,a", "2,\"b\nb\"", "3,c"]));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20));
        assert_eq!(found(format!("{long}\n{long}{long}").as_bytes()), of(&[&long, &long, &long]));
        assert_eq!(found(b""), of(&[]));
    }
}
