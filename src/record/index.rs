//! Where records stand in the body that was made of them, and when they arrived. It never outlives the process.

/// The records of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// In milliseconds since the Unix epoch.
    pub arrivals: Series,
    pub stand: Stand,
    /// Whether the body is gzip of what the records stand in.
    pub gzip: bool,
}

/// How records stand in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// As [`elements`](super::elements).
    Elements,
    /// One after the other. Of each record twice its length, and one more if a newline that is not its own follows it.
    Lines(Series),
}

impl Index {
    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        let lengths = match &self.stand {
            Stand::Elements => 0,
            Stand::Lines(lengths) => lengths.memory_bytes(),
        };
        self.arrivals.memory_bytes() + lengths
    }
}

/// Numbers of which each is near the one before: a varint for each difference, one byte for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    differences: Vec<u8>,
    last: u64,
}

impl Series {
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    pub fn push(&mut self, number: u64) {
        let difference = number.wrapping_sub(self.last) as i64;
        self.last = number;
        let mut rest = (difference << 1 ^ difference >> 63) as u64;
        while rest >= 0x80 {
            self.differences.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.differences.push(rest as u8);
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let (mut bytes, mut number) = (self.differences.iter(), 0u64);
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
            number = number.wrapping_add(folded >> 1 ^ (folded & 1).wrapping_neg());
            Some(number)
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
        fn numbers_come_back_whatever_they_are(given: Vec<u64>) {
            let mut series = Series::default();
            given.iter().for_each(|number| series.push(*number));
            prop_assert_eq!(series.iter().collect::<Vec<_>>(), given);
        }
    }
}
