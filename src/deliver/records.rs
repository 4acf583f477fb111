//! The records of a body that holds their elements, one after the other, without holding all of them.

use super::{Body, Spool};
use crate::compress::Compress;
use crate::record::elements::{self, Arrivals, CLOSE, OPEN};
use std::io::{self, BufRead, Read};

/// Base64 of text hardly repeats: more effort than the least gains a few percent at several times the cost.
const GZIP: Compress = Compress::Gzip { level: 1 };

/// How the elements of requests are compressed.
pub fn compress(gzip: bool) -> Compress {
    if gzip { GZIP } else { Compress::None }
}

/// See the module.
pub struct Records<'b> {
    text: Box<dyn BufRead + 'b>,
    arrivals: Box<dyn Iterator<Item = u64> + 'b>,
    is_first: bool,
    record: Vec<u8>,
}

impl<'b> Records<'b> {
    pub fn new(body: &'b Body) -> io::Result<Self> {
        let arrivals = body.arrivals().ok_or_else(|| io::Error::other("a body holds no records"))?;
        let (text, arrivals) = (body.plain()?, Box::new(arrivals.iter()));
        Ok(Records { text, arrivals, is_first: true, record: Vec::new() })
    }

    /// The next record with its arrival in milliseconds since the Unix epoch. `None` behind the last one.
    pub fn read(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let broken = |_| io::Error::other("a body of records is broken");
        let Some(arrival) = self.arrivals.next() else { return Ok(None) };
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

    fn pass(&mut self, expected: &[u8]) -> io::Result<()> {
        let mut found = [0; 16];
        let found = &mut found[..expected.len()];
        self.text.read_exact(found)?;
        if found == expected { Ok(()) } else { Err(io::Error::other("a body of records is broken")) }
    }
}

/// A body of records made elsewhere than on their way through a stream.
pub struct Building {
    compress: crate::compress::Encoder,
    arrivals: Arrivals,
    spool: Spool,
}

impl Building {
    pub fn new(spool: Spool, gzip: bool) -> Building {
        Building { compress: compress(gzip).encoder(), arrivals: Arrivals::default(), spool }
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
        self.compress.end(self.spool.tail());
        self.spool.finish(to_scratch).of_elements(self.arrivals)
    }
}
