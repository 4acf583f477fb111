//! How large objects become when they are encoded. `buffer.object_size` asks for that size, which is known only when an
//! object has ended: until then it follows from what its encoder expects, and from how earlier objects kept to that.

use crate::format::column_file::ExpectedBytes;

/// What a newer object counts against all earlier ones while they are alike.
const NEWER: f64 = 0.25;
/// Bytes of records after which every encoder knows something of an object.
const FIRST_BYTES: u64 = 256 << 10;
/// The part of the size that is asked for which an object may lack when it ends, and by which it may miss what was predicted: half
/// of what is promised.
const NEAR: f64 = 0.05;
/// What an object might become, at most and for what is predicted of it, while sizes are not steady.
const UNSTEADY: f64 = 1.25;

/// What the objects of an epoch have shown of their sizes.
#[derive(Default)]
pub(super) struct EncodedSizes {
    /// Encoded bytes for each byte of records.
    ratio: Option<f64>,
    /// What became of each byte that an encoder could still change.
    correction: Option<f64>,
    /// Whether the last object had the size that was predicted for it.
    is_steady: bool,
}

/// One object, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectSoFar {
    /// Bytes of records that it was given.
    pub(super) given: u64,
    /// What its encoder expects of them, as far as it can tell.
    pub(super) expected: Option<ExpectedBytes>,
    /// It was settled before its end because sizes were not steady, and has shown by that whether they are.
    pub(super) is_judged: bool,
}

impl ObjectSoFar {
    pub(super) const EMPTY: ObjectSoFar = ObjectSoFar { given: 0, expected: None, is_judged: false };
}

impl EncodedSizes {
    /// Whether an object's size can be told before its end.
    pub(super) fn are_steady(&self) -> bool {
        self.is_steady
    }

    /// Bytes of records at which an object will have `wanted` bytes.
    pub(super) fn record_bytes(&self, wanted: u64, object: ObjectSoFar) -> u64 {
        let ratio = match object.expected.filter(|_| object.given > 0) {
            // Rather too early than too late: it goes on if it is too small when it is settled.
            Some(ExpectedBytes { settled, open }) if !self.is_steady => {
                (settled + open * UNSTEADY * self.correction.unwrap_or(1.0).max(1.0)) / object.given as f64
            }
            Some(expected) => self.corrected(expected) / object.given as f64,
            None => match self.ratio {
                Some(ratio) => ratio,
                // Without compression its encoder will know at once.
                None if object.given == 0 => return wanted,
                None => return wanted.max(FIRST_BYTES),
            },
        };
        (wanted as f64 / ratio) as u64
    }

    fn corrected(&self, ExpectedBytes { settled, open }: ExpectedBytes) -> f64 {
        settled + open * self.correction.unwrap_or(1.0)
    }

    /// Takes note that an object was settled before its end, because sizes were not steady: it has `encoded` bytes now. Returns
    /// whether it should end: what it lacks of `wanted` is not worth a row group of its own.
    pub(super) fn learn_early(&mut self, wanted: u64, object: ObjectSoFar, encoded: f64) -> bool {
        self.judge(object, encoded);
        self.learn(object, encoded);
        encoded >= wanted as f64 * (1.0 - NEAR)
    }

    /// Takes note of what became of an object: it has `encoded` bytes. One that ended for another reason than its size says
    /// little of those that do not.
    pub(super) fn learn_whole(&mut self, object: ObjectSoFar, encoded: u64, ended_by_size: bool) {
        if !ended_by_size && self.ratio.is_some() {
            return;
        }
        self.judge(object, encoded as f64);
        self.learn(object, encoded as f64);
    }

    fn judge(&mut self, object: ObjectSoFar, encoded: f64) {
        let predicted = match object.expected {
            // Of the rest of an object less is predicted than of a whole one.
            _ if object.is_judged => return,
            Some(expected) => self.corrected(expected),
            None => self.ratio.unwrap_or(0.0) * object.given as f64,
        };
        self.is_steady = (encoded - predicted).abs() <= encoded * NEAR;
    }

    fn learn(&mut self, object: ObjectSoFar, encoded: f64) {
        if object.given == 0 || encoded == 0.0 {
            return;
        }
        let newer = if self.is_steady { NEWER } else { 1.0 };
        let learn = |known: &mut Option<f64>, new: f64, newer: f64| match known {
            Some(known) => *known += newer * (new - *known),
            None => *known = Some(new),
        };
        learn(&mut self.ratio, encoded / object.given as f64, newer);
        if let Some(ExpectedBytes { settled, open }) = object.expected.filter(|expected| expected.open > 0.0) {
            // What was predicted of little of an object says little.
            learn(&mut self.correction, (encoded - settled).max(0.0) / open, newer * open / (settled + open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(given: u64, settled: f64, open: f64) -> ObjectSoFar {
        ObjectSoFar { given, expected: Some(ExpectedBytes { settled, open }), is_judged: false }
    }

    #[test]
    fn what_an_encoder_expects_is_corrected_by_what_came_of_it() {
        let mut sizes = EncodedSizes::default();
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 1000);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar { given: 10, ..ObjectSoFar::EMPTY }), FIRST_BYTES);
        assert_eq!(sizes.record_bytes(1000, object(1000, 0.0, 250.0)), 3200);
        sizes.learn_whole(object(4000, 0.0, 1000.0), 800, true);
        assert_eq!(sizes.record_bytes(1000, object(1000, 0.0, 250.0)), 3200, "it may become larger now");
        sizes.is_steady = true;
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 5000);
        assert_eq!(sizes.record_bytes(1000, object(1000, 0.0, 250.0)), 5000);
        assert_eq!(sizes.record_bytes(1000, object(1000, 100.0, 125.0)), 5000, "what is settled stays");
        sizes.learn_whole(object(40, 0.0, 10.0), 100, false);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 5000, "what the interval ended says little");
        sizes.learn_whole(object(4000, 0.0, 1000.0), 80, true);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 50_000, "data may change");
    }

    #[test]
    fn sizes_are_steady_while_objects_become_what_was_predicted() {
        let mut sizes = EncodedSizes::default();
        assert!(!sizes.are_steady());
        assert!(!sizes.learn_early(1000, object(4000, 0.0, 1000.0), 800.0), "it goes on");
        assert!(!sizes.are_steady(), "1000 were predicted");
        assert_eq!(sizes.record_bytes(1000, object(4000, 800.0, 0.0)), 5000);
        let judged = |object| ObjectSoFar { is_judged: true, ..object };
        assert!(sizes.learn_early(1000, judged(object(4900, 800.0, 200.0)), 960.0), "it is near enough");
        assert!(!sizes.are_steady(), "little of it was predicted");
        assert!(sizes.learn_early(1000, object(4900, 0.0, 1200.0), 960.0));
        assert!(sizes.are_steady());
        sizes.learn_whole(object(5000, 0.0, 1250.0), 1020, true);
        assert!(sizes.are_steady());
        sizes.learn_whole(object(5000, 0.0, 1250.0), 900, true);
        assert!(!sizes.are_steady());
        sizes.learn_whole(judged(object(5000, 1000.0, 0.0)), 1000, true);
        assert!(!sizes.are_steady(), "what was settled says nothing of predictions");
    }
}
