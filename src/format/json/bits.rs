//! Bits, one after the other.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

/// Bits in words; those of the last word that do not count are 0.
#[derive(Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
}

/// Which values of a column are null. Only nulls are noted: what came behind the last one is not null.
#[derive(Default)]
pub(super) struct Validity {
    bits: Bits,
}

impl Bits {
    #[inline(always)]
    pub(super) fn push(&mut self, bit: bool) {
        let at = self.len % 64;
        if at == 0 {
            self.words.push(u64::from(bit));
        } else if let Some(last) = self.words.last_mut() {
            *last |= u64::from(bit) << at;
        }
        self.len += 1;
    }

    #[inline(always)]
    fn push_many(&mut self, bit: bool, count: usize) {
        let at = self.len % 64;
        if at > 0 && count <= 64 - at {
            if let (true, Some(last)) = (bit && count > 0, self.words.last_mut()) {
                *last |= ones(count) << at;
            }
            self.len += count;
            return;
        }
        self.push_words(bit, count);
    }

    #[inline(never)]
    fn push_words(&mut self, bit: bool, count: usize) {
        let at = self.len % 64;
        let here = if at == 0 { 0 } else { count.min(64 - at) };
        if let (true, Some(last)) = (bit && here > 0, self.words.last_mut()) {
            *last |= ones(here) << at;
        }
        self.len += count;
        if count > here {
            self.words.resize(self.len.div_ceil(64), if bit { u64::MAX } else { 0 });
            self.clear_rest();
        }
    }

    /// Bits of the last word that do not count are 0.
    fn clear_rest(&mut self) {
        if let (Some(last), 1..) = (self.words.last_mut(), self.len % 64) {
            *last &= ones(self.len % 64);
        }
    }

    pub(super) fn get(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.push_many(false, count);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.words.truncate(self.len.div_ceil(64));
        self.clear_rest();
    }

    /// The bits so far; none are left.
    pub(super) fn take(&mut self) -> BooleanBuffer {
        let next = Vec::with_capacity(self.words.len());
        let words = std::mem::replace(&mut self.words, next);
        BooleanBuffer::new(Buffer::from_vec(words), 0, std::mem::take(&mut self.len))
    }
}

/// So many ones, at most 63.
fn ones(count: usize) -> u64 {
    (1 << count) - 1
}

impl Validity {
    /// Adds nulls behind the first `len` values.
    pub(super) fn push_nulls(&mut self, len: usize, count: usize) {
        self.bits.push_many(true, len - self.bits.len);
        self.bits.zeros(count);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bits.truncate(len);
    }

    /// Whether one of `len` values is not null.
    pub(super) fn has_value(&self, len: usize) -> bool {
        len > self.bits.len || self.bits.words.iter().any(|word| *word != 0)
    }

    /// What Arrow needs of it for `len` values; nothing is left.
    pub(super) fn take(&mut self, len: usize) -> Option<NullBuffer> {
        if self.bits.len == 0 {
            return None;
        }
        self.bits.push_many(true, len - self.bits.len);
        Some(NullBuffer::new(self.bits.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_what_was_pushed_and_not_taken_back() {
        let (mut bits, mut expected) = (Bits::default(), Vec::new());
        for round in 0..500usize {
            let (bit, count) = (round % 3 == 0, round * 7 % 150);
            bits.push_many(bit, count);
            expected.extend(std::iter::repeat_n(bit, count));
            bits.push(!bit);
            expected.push(!bit);
            if round % 4 == 0 {
                let len = expected.len() - expected.len() % 97;
                bits.truncate(len);
                expected.truncate(len);
            }
        }
        assert_eq!(bits.take().iter().collect::<Vec<_>>(), expected);
        assert_eq!(bits.take().len(), 0);
    }

    #[test]
    fn a_column_without_nulls_has_no_buffer_for_them() {
        let mut validity = Validity::default();
        assert!(validity.take(200).is_none());
        validity.push_nulls(200, 3);
        validity.truncate(202);
        let nulls = validity.take(270).expect("there was a null");
        assert_eq!((nulls.len(), nulls.null_count(), nulls.is_null(200), nulls.is_null(202)), (270, 2, true, false));
        assert!(validity.take(1).is_none());
        validity.push_nulls(0, 2);
        assert!(!validity.has_value(2) && validity.has_value(3));
    }
}
