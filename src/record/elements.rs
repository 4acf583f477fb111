//! Records as the elements of the `records` array of Firehose's requests to endpoints (contract §8.1), with nothing around
//! them: `{"data":"<base64>"},{"data":"…"}`. It is what a plan's body holds where records are taken rather than objects; it
//! never outlives the process. When each record arrived is no part of the text and stands beside it.

/// What stands before a record's Base64.
pub const OPEN: &[u8] = b"{\"data\":\"";
/// What stands behind it.
pub const CLOSE: &[u8] = b"\"}";

/// Appends a record to elements, of which there are none if it `is_first`.
pub fn push(out: &mut Vec<u8>, is_first: bool, record: &[u8]) {
    if !is_first {
        out.push(b',');
    }
    out.extend_from_slice(OPEN);
    base64_simd::STANDARD.encode_append(record, out);
    out.extend_from_slice(CLOSE);
}

/// When records arrived, in milliseconds since the Unix epoch: a varint for each difference, one byte for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    differences: Vec<u8>,
    last_ms: u64,
}

impl Arrivals {
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    pub fn push(&mut self, arrival_ms: u64) {
        let difference = arrival_ms.wrapping_sub(self.last_ms) as i64;
        self.last_ms = arrival_ms;
        let mut rest = (difference << 1 ^ difference >> 63) as u64;
        while rest >= 0x80 {
            self.differences.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.differences.push(rest as u8);
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let (mut bytes, mut at) = (self.differences.iter(), 0u64);
        std::iter::from_fn(move || {
            let (mut folded, mut shift) = (0u64, 0);
            loop {
                let byte = *bytes.next()?;
                folded |= ((byte & 0x7F) as u64) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            at = at.wrapping_add(folded >> 1 ^ (folded & 1).wrapping_neg());
            Some(at)
        })
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        self.differences.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arrivals_come_back_whatever_they_are(given: Vec<u64>) {
            let mut arrivals = Arrivals::default();
            given.iter().for_each(|at| arrivals.push(*at));
            prop_assert_eq!(arrivals.iter().collect::<Vec<_>>(), given);
        }
    }
}
