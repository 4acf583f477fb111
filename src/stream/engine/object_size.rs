//! How large objects become when they are encoded. `buffer.object_size` asks for that size, which is known only when an
//! object has ended: until then it follows from what its encoder expects, and from how earlier objects kept to that.

use crate::format::column_file::ExpectedBytes;

/// What a newer object counts against all earlier ones.
const NEWER: f64 = 0.25;
/// Bytes of records after which every encoder knows something of an object.
const FIRST_BYTES: u64 = 256 << 10;

/// What the objects of an epoch have shown of their sizes.
#[derive(Default)]
pub(super) struct EncodedSizes {
    /// Encoded bytes for each byte of records.
    ratio: Option<f64>,
    /// What became of each byte that an encoder could still change.
    correction: Option<f64>,
}

/// One object, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectSoFar {
    /// Bytes of records that it was given.
    pub(super) given: u64,
    /// What its encoder expects of them, as far as it can tell.
    pub(super) expected: Option<ExpectedBytes>,
}

impl ObjectSoFar {
    pub(super) const EMPTY: ObjectSoFar = ObjectSoFar { given: 0, expected: None };
}

impl EncodedSizes {
    /// Whether no object has shown anything yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.ratio.is_none()
    }

    /// Bytes of records at which an object will have `wanted` bytes.
    pub(super) fn record_bytes(&self, wanted: u64, object: ObjectSoFar) -> u64 {
        let ratio = match object.expected.filter(|_| object.given > 0) {
            Some(ExpectedBytes { settled, open }) => {
                (settled + open * self.correction.unwrap_or(1.0)) / object.given as f64
            }
            None => match self.ratio {
                Some(ratio) => ratio,
                // Without compression its encoder will know at once.
                None if object.given == 0 => return wanted,
                None => return wanted.max(FIRST_BYTES),
            },
        };
        (wanted as f64 / ratio) as u64
    }

    /// Takes note of what became of an object: it has `encoded` bytes. One that ended for another reason than its size says
    /// little of those that do not.
    pub(super) fn learn(&mut self, object: ObjectSoFar, encoded: u64, ended_by_size: bool) {
        if object.given == 0 || encoded == 0 {
            return;
        }
        let learn = |known: &mut Option<f64>, new: f64| match known {
            Some(known) if ended_by_size => *known += NEWER * (new - *known),
            Some(_) => {}
            None => *known = Some(new),
        };
        learn(&mut self.ratio, encoded as f64 / object.given as f64);
        if let Some(ExpectedBytes { settled, open }) = object.expected.filter(|expected| expected.open > 0.0) {
            learn(&mut self.correction, (encoded as f64 - settled).max(0.0) / open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(given: u64, settled: f64, open: f64) -> ObjectSoFar {
        ObjectSoFar { given, expected: Some(ExpectedBytes { settled, open }) }
    }

    #[test]
    fn what_an_encoder_expects_is_corrected_by_what_came_of_it() {
        let mut sizes = EncodedSizes::default();
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 1000);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar { given: 10, expected: None }), FIRST_BYTES);
        assert_eq!(sizes.record_bytes(1000, object(1000, 0.0, 250.0)), 4000);
        sizes.learn(object(4000, 0.0, 1000.0), 800, true);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 5000);
        assert_eq!(sizes.record_bytes(1000, object(1000, 0.0, 250.0)), 5000);
        assert_eq!(sizes.record_bytes(1000, object(1000, 100.0, 125.0)), 5000, "what is settled stays");
        sizes.learn(object(40, 0.0, 10.0), 100, false);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 5000, "what the interval ended says little");
        (0..30).for_each(|_| sizes.learn(object(4000, 0.0, 1000.0), 80, true));
        assert!((45_000..=50_000).contains(&sizes.record_bytes(1000, ObjectSoFar::EMPTY)), "data may change");
    }
}
