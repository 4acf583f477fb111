//! A plan's records as the body of a request: what stands around the elements that the plan's body holds.

use crate::compress::gzip::Around;
use crate::deliver::feed::BodyPart;
use crate::deliver::records::{BodyRecords, Building};
use crate::deliver::{Body, Shipment};
use std::io;
use std::sync::Arc;

/// `{"requestId":…,"timestamp":…,"records":[{"data":…},…]}` (docs/firehose.md: "HTTP endpoints"), compressed or not. The same
/// plan gives the same text.
pub(super) struct Request {
    front: Vec<u8>,
    elements: Arc<Body>,
    back: Vec<u8>,
    gzip: bool,
}

impl Request {
    pub(super) fn new(shipment: &Shipment, gzip: bool) -> io::Result<Request> {
        let (id, timestamp) = (shipment.id, shipment.planned_ms);
        let before = format!("{{\"requestId\":\"{id}\",\"timestamp\":{timestamp},\"records\":[").into_bytes();
        let behind = b"]}";
        let elements = match shipment.body.is_gzip()? == gzip {
            true => shipment.body.clone(),
            // The setting was another one when the body was made.
            false => Arc::new(recoded(&shipment.body, gzip)?),
        };
        if !gzip {
            return Ok(Request { front: before, elements, back: behind.to_vec(), gzip });
        }
        let mut back = [0; Around::BACK_BYTES];
        elements.read_into(elements.len() - back.len() as u64, &mut back)?;
        let Around { front, back } = Around::new(&before, &back, behind);
        Ok(Request { front, elements, back, gzip })
    }

    /// One after the other.
    pub(super) fn parts(&self) -> [BodyPart<'_>; 3] {
        let (from, to) = match self.gzip {
            true => (Around::FRONT_BYTES as u64, self.elements.len() - Around::BACK_BYTES as u64),
            false => (0, self.elements.len()),
        };
        [BodyPart::Bytes(&self.front), BodyPart::Body(&self.elements, from..to), BodyPart::Bytes(&self.back)]
    }
}

fn recoded(body: &Body, gzip: bool) -> io::Result<Body> {
    let mut building = Building::new(body.spool(), gzip);
    let mut records = BodyRecords::new(body)?;
    while let Some((arrival, record)) = records.read()? {
        building.push(arrival, record);
    }
    Ok(building.finish(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Spool;
    use crate::deliver::body::Scratch;
    use crate::fs::fake::FakeFs;
    use std::io::Read;

    fn text(request: &Request) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in request.parts() {
            match part {
                BodyPart::Bytes(some) => bytes.extend_from_slice(some),
                BodyPart::Body(body, range) => {
                    bytes.extend(body.read(range.start, (range.end - range.start) as usize).unwrap())
                }
            }
        }
        if request.gzip {
            let mut text = Vec::new();
            flate2::bufread::GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).unwrap();
            return text;
        }
        bytes
    }

    #[test]
    fn a_body_is_what_firehose_sends_whatever_its_records_and_however_it_was_made() {
        let scratch = Scratch::open(Arc::new(FakeFs::new()), "scratch".into(), 1 << 10).unwrap();
        let given: Vec<Vec<u8>> = [0, 1, 2, 3, 70_000, 3 << 20, 0, 5].map(|n| vec![b'x'; n]).into();
        for made in [false, true] {
            let mut building = Building::new(Spool::new(&scratch), made);
            (1000..).zip(&given).for_each(|(at, record)| building.push(at, record));
            let shipment = Shipment {
                plan: 1,
                id: uuid::Uuid::from_u128(5),
                outputs: given.len() as u64,
                digest: 0,
                name: String::new(),
                planned_ms: 1_578_090_901_599,
                content_encoding: None,
                body: Arc::new(building.finish(true)),
                only_look: false,
            };
            for sent in [false, true] {
                let text = text(&Request::new(&shipment, sent).unwrap());
                assert!(text.starts_with(
                    b"{\"requestId\":\"00000000-0000-0000-0000-000000000005\",\"timestamp\":1578090901599,\
                      \"records\":[{\"data\":\"\"},"
                ));
                let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
                let found = json["records"].as_array().unwrap().iter().map(|r| r["data"].as_str().unwrap());
                let found: Vec<Vec<u8>> = found.map(|d| base64_simd::STANDARD.decode_to_vec(d).unwrap()).collect();
                assert!(found == given, "made {made}, sent {sent}");
            }
            let mut records = BodyRecords::new(&shipment.body).unwrap();
            for (i, record) in (1000..).zip(&given) {
                assert!(records.read().unwrap() == Some((i, record.as_slice())));
            }
            assert_eq!(records.read().unwrap(), None);
        }
    }
}
