//! A plan's records as the body of a request.

use crate::deliver::records::Records;
use crate::deliver::{Body, Shipment, Spool};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// What is gathered before it is compressed or put aside.
const PIECE_BYTES: usize = 256 << 10;

/// Base64 of text hardly repeats: more effort than the least gains a few percent at several times the cost.
const LEVEL: u32 = 1;

/// Of a request that has no room in scratch: there may be many at once, and a small one has to get through.
const UNSPILLED_BYTES_MAX: usize = 8 << 20;

/// Where the text goes.
struct Out {
    gzip: Option<GzEncoder<Vec<u8>>>,
    spool: Spool,
}

impl Out {
    /// Takes over a piece and empties it.
    fn take(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.gzip {
            None => self.spool.tail().extend_from_slice(piece),
            Some(encoder) => {
                encoder.write_all(piece)?;
                self.spool.tail().append(encoder.get_mut());
            }
        }
        piece.clear();
        match self.spool.settle() {
            Err(e) if self.spool.memory_bytes() > UNSPILLED_BYTES_MAX => Err(io::Error::other(e.to_string())),
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> io::Result<Body> {
        if let Some(encoder) = self.gzip {
            self.spool.tail().append(&mut encoder.finish()?);
        }
        Ok(self.spool.finish(false))
    }
}

/// `{"requestId":…,"timestamp":…,"records":[{"data":…},…]}` (contract §8.1). The same plan gives the same bytes.
pub(super) fn body(shipment: &Shipment, gzip: bool) -> io::Result<Body> {
    let spool = shipment.body.spool();
    let encoder = gzip.then(|| GzEncoder::new(Vec::new(), Compression::new(LEVEL)));
    let mut out = Out { gzip: encoder, spool };
    let mut piece = Vec::with_capacity(PIECE_BYTES + (64 << 10));
    let (id, timestamp) = (shipment.id, shipment.planned_ms);
    write!(piece, "{{\"requestId\":\"{id}\",\"timestamp\":{timestamp},\"records\":[")?;
    let mut records = Records::new(&shipment.body);
    let mut is_first = true;
    while let Some((_, record)) = records.read()? {
        piece.extend_from_slice(if is_first { b"{\"data\":\"" } else { b",{\"data\":\"" });
        is_first = false;
        base64_simd::STANDARD.encode_append(record, &mut piece);
        piece.extend_from_slice(b"\"}");
        if piece.len() >= PIECE_BYTES {
            out.take(&mut piece)?;
        }
    }
    piece.extend_from_slice(b"]}");
    out.take(&mut piece)?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::body::Scratch;
    use crate::fs::fake::FakeFs;
    use crate::record::packed;
    use std::io::Read;
    use std::sync::Arc;

    #[test]
    fn a_body_is_what_firehose_sends_whatever_the_size_of_its_records() {
        let scratch = Scratch::open(Arc::new(FakeFs::new()), "scratch".into(), 1 << 10).unwrap();
        let given: Vec<Vec<u8>> = [0, 1, 2, 3, 70_000, 3 << 20, 0, 5].map(|n| vec![b'x'; n]).into();
        let mut spool = Spool::new(&scratch);
        for record in &given {
            packed::push(spool.tail(), 7, record);
            spool.settle().unwrap();
        }
        let shipment = Shipment {
            plan: 1,
            id: uuid::Uuid::from_u128(5),
            outputs: given.len() as u64,
            digest: 0,
            name: String::new(),
            planned_ms: 1_578_090_901_599,
            content_encoding: None,
            body: Arc::new(spool.finish(true)),
            only_look: false,
        };
        let plain = body(&shipment, false).unwrap();
        let plain = plain.read(0, plain.len() as usize).unwrap();
        assert!(plain.starts_with(
            b"{\"requestId\":\"00000000-0000-0000-0000-000000000005\",\"timestamp\":1578090901599,\"records\":[{\"data\":\"\"},"
        ));
        let json: serde_json::Value = serde_json::from_slice(&plain).unwrap();
        let found = json["records"].as_array().unwrap().iter().map(|r| r["data"].as_str().unwrap());
        let found: Vec<Vec<u8>> = found.map(|d| base64_simd::STANDARD.decode_to_vec(d).unwrap()).collect();
        assert!(found == given);
        let gzip = body(&shipment, true).unwrap();
        let gzip = gzip.read(0, gzip.len() as usize).unwrap();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(gzip.as_slice()).read_to_end(&mut text).unwrap();
        assert!(text == plain);
    }
}
