//! How large objects become when they are encoded. `buffer.object_size` asks for that size, which is known only when an
//! object has ended: until then it follows from what its encoder expects, and from how earlier objects kept to that. An object that
//! seems large enough is settled before it ends, which shows what it has, and goes on if that is too little.

use crate::format::column_file::ExpectedBytes;

/// What a newer object counts against all earlier ones while they are alike.
const NEWER: f64 = 0.25;
/// Bytes of records after which every encoder knows something of an object.
const FIRST_BYTES: u64 = 256 << 10;
/// The part of the size that is asked for which an object may lack when it ends, and by which objects that are alike may miss what
/// was predicted: half of what is promised.
const NEAR: f64 = 0.05;
/// The least that is believed to become of what an encoder expects: a page that is not compressed yet may become a hundredth, and
/// the next one, of other records, may not.
const CORRECTION_MIN: f64 = 0.5;
/// What the rest of an object might become, for what is predicted of it.
const REST: f64 = 1.25;

/// What the objects of an epoch have shown of their sizes.
#[derive(Default)]
pub(super) struct EncodedSizes {
    /// Encoded bytes for each byte of records, beyond what every object has.
    ratio: Option<f64>,
    /// What became of each byte that an encoder could still change.
    correction: Option<f64>,
    /// Bytes that every object has, however few its records are.
    fixed: f64,
}

/// One object, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectSoFar {
    /// Bytes of records that it was given.
    pub(super) given: u64,
    /// What its encoder expects of them, as far as it can tell.
    pub(super) expected: Option<ExpectedBytes>,
    /// What it had when it was settled.
    pub(super) settled: Option<SettledObject>,
}

/// What an object had when it was settled before its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct SettledObject {
    /// Bytes of records that it had been given.
    given: u64,
    /// Bytes that it would have had if it had ended then; 0: its format does not tell.
    encoded: f64,
}

impl ObjectSoFar {
    pub(super) const EMPTY: ObjectSoFar = ObjectSoFar { given: 0, expected: None, settled: None };
}

impl EncodedSizes {
    /// Bytes of records at which an object will have `wanted` bytes.
    pub(super) fn record_bytes(&self, wanted: u64, object: ObjectSoFar) -> u64 {
        let wanted = self.reachable(wanted as f64);
        let room = |rest: f64, ratio: f64| (rest.max(0.0) / ratio.max(f64::MIN_POSITIVE)).round() as u64;
        match (object.settled, object.expected.filter(|_| object.given > 0)) {
            // What an encoder expects of a rest says little beside what is known.
            (Some(SettledObject { given, encoded }), _) if encoded > 0.0 => {
                let ratio = (encoded - self.fixed).max(1.0) / given as f64;
                given.saturating_add(room(wanted - encoded, ratio * REST))
            }
            (_, Some(ExpectedBytes { fixed, settled, open })) => {
                let correction = self.correction.unwrap_or(1.0).max(CORRECTION_MIN);
                room(wanted - fixed, (settled - fixed + open * correction) / object.given as f64)
            }
            (settled, None) => match (self.ratio, settled) {
                (Some(ratio), _) => room(wanted - self.fixed, ratio),
                (None, None) => wanted as u64,
                (None, Some(_)) => (wanted as u64).max(FIRST_BYTES),
            },
        }
    }

    /// What can be had: at least as much of rows as of what every object has.
    fn reachable(&self, wanted: f64) -> f64 {
        wanted.max(2.0 * self.fixed)
    }

    /// Takes note of an object that was settled because it seems large enough: `now` is what its encoder expects then. Returns what it
    /// has, unless it should end: what it lacks of `wanted` is not worth a row group of its own.
    pub(super) fn learn(
        &mut self,
        wanted: u64,
        object: ObjectSoFar,
        now: Option<ExpectedBytes>,
    ) -> Option<SettledObject> {
        let encoded = now.map_or(0.0, |ExpectedBytes { settled, open, .. }| settled + open);
        if let (Some(ExpectedBytes { fixed, .. }), 1..) = (now, object.given) {
            self.fixed = fixed;
            learn(&mut self.ratio, (encoded - fixed).max(0.0) / object.given as f64, 1.0);
        }
        // Of the rest of an object less was predicted than of a whole one.
        let predicted = object.expected.filter(|expected| expected.open > 0.0 && object.settled.is_none());
        if let Some(ExpectedBytes { settled, open, .. }) = predicted.filter(|_| encoded > 0.0) {
            learn(&mut self.correction, (encoded - settled).max(0.0) / open, open / (settled + open));
        }
        let is_enough = encoded >= self.reachable(wanted as f64) * (1.0 - NEAR);
        (!is_enough).then_some(SettledObject { given: object.given, encoded })
    }

    /// Takes note of an object that ended for its size: it has `encoded` bytes. That is news if its encoder could tell nothing.
    pub(super) fn learn_end(&mut self, object: ObjectSoFar, encoded: u64) {
        if object.expected.is_none() && object.given > 0 {
            learn(&mut self.ratio, (encoded as f64 - self.fixed).max(0.0) / object.given as f64, 1.0);
        }
    }
}

/// Takes note of something new. What is not as it was is believed at once, as far as its `weight` goes.
fn learn(known: &mut Option<f64>, new: f64, weight: f64) {
    *known = Some(match *known {
        Some(known) if (new - known).abs() <= new * NEAR => known + NEWER * weight * (new - known),
        Some(known) => known + weight * (new - known),
        None => new,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(settled: f64, open: f64) -> Option<ExpectedBytes> {
        Some(ExpectedBytes { fixed: 100.0, settled, open })
    }

    fn object(given: u64, settled: f64, open: f64) -> ObjectSoFar {
        ObjectSoFar { given, expected: expected(settled, open), settled: None }
    }

    #[test]
    fn what_an_encoder_expects_is_corrected_by_what_came_of_it() {
        let mut sizes = EncodedSizes::default();
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 1000);
        assert_eq!(sizes.record_bytes(1000, object(1000, 100.0, 225.0)), 4000, "nine hundred of what is not fixed");
        let rest = sizes.learn(1000, object(4000, 100.0, 900.0), expected(820.0, 0.0)).expect("it goes on");
        let more = sizes.record_bytes(1000, ObjectSoFar { settled: Some(rest), ..object(4000, 820.0, 0.0) });
        assert_eq!(more, 4800, "180 more, of which each might be a quarter larger than those before");
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 5000);
        assert_eq!(sizes.record_bytes(1000, object(1000, 100.0, 225.0)), 5000);
        assert!(sizes.learn(1000, object(5000, 100.0, 1125.0), expected(980.0, 0.0)).is_none(), "it is near enough");
        sizes.learn(1000, object(5000, 100.0, 1125.0), expected(110.0, 0.0)).expect("it is a tenth");
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar::EMPTY), 450_000, "records may change");
        assert_eq!(sizes.record_bytes(1000, object(1000, 100.0, 225.0)), 8000, "and the next ones may be others");
    }

    #[test]
    fn objects_are_not_smaller_than_what_every_object_has() {
        let mut sizes = EncodedSizes::default();
        let wide = |settled: f64| Some(ExpectedBytes { fixed: 4000.0, settled, open: 0.0 });
        let object = ObjectSoFar { given: 100, expected: wide(4100.0), settled: None };
        assert!(sizes.learn(1000, object, object.expected).is_some(), "it has a hundred bytes of rows");
        assert_eq!(sizes.record_bytes(1000, object), 4000);
    }

    #[test]
    fn a_format_that_tells_nothing_at_first_is_given_more() {
        let mut sizes = EncodedSizes::default();
        let object = ObjectSoFar { given: 1000, ..ObjectSoFar::EMPTY };
        let settled = sizes.learn(1000, object, None);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar { settled, ..object }), FIRST_BYTES);
        sizes.learn_end(object, 100);
        assert_eq!(sizes.record_bytes(1000, ObjectSoFar { settled, ..object }), 10_000);
    }
}
