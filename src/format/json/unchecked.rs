//! Three things that the compiler cannot check, and without which reading takes half as long again.

use super::text::BLOCK;
use arrow_array::StringArray;
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// A bit for each byte of a block that is not plain within a string.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "intrinsics of a feature that every x86-64 has")]
pub(super) fn specials(block: &[u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let half = |at: usize| i64::from_le_bytes(*block[at..].first_chunk().expect("a block has two halves"));
    // SAFETY: SSE2 is part of x86-64, and no pointer is involved.
    unsafe {
        let (bytes, control) = (_mm_set_epi64x(half(8), half(0)), _mm_set1_epi8(0x1f));
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, control), control);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn specials(block: &[u8; BLOCK]) -> u32 {
    let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    (0..BLOCK).fold(0, |found, at| found | u32::from(is_special(block[at])) << at)
}

/// Where strings or lists end, with a 0 before the first.
#[allow(unsafe_code, reason = "comparing each end with the next costs two hundredths of all reading")]
pub(super) fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    // SAFETY: the first is 0, and each was the length of what had been read by then; none is taken back but with all behind it.
    unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(ends)) }
}

/// Strings that were read from records.
#[allow(unsafe_code, reason = "looking through every string a second time costs a tenth of all reading")]
pub(super) fn strings(ends: OffsetBuffer<i32>, bytes: Buffer, nulls: Option<NullBuffer>) -> StringArray {
    // SAFETY: every string was copied out of a record that is UTF-8 between ASCII characters, or put together from characters
    // and such pieces; each `end` stands behind a whole one, and none is taken back but whole.
    unsafe { StringArray::new_unchecked(ends, bytes, nulls) }
}
