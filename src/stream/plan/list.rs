//! The records of a plan, listed explicitly: runs of offsets, and single outputs of records that have several.
//!
//! Encoded as it is kept in memory and on disk, items in order of (offset, output), each a varint `gap * 2 + several`
//! (gap: distance from the end of the item before, 0 for another output of the same record) followed by the length of
//! the run, or by output and count of outputs. A record of its own takes two bytes.

use super::codec::{put_varint, take_varint};
use crate::error::{Error, Kind, Result};

/// One listed run or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListItem {
    /// Records `first .. first + count`, whole: each has this one output.
    Whole { first: u64, count: u64 },
    /// Output `output` (from 0) of the `of` outputs of the record at `offset`.
    Part { offset: u64, output: u32, of: u32 },
}

impl ListItem {
    /// The first offset named.
    pub fn offset(&self) -> u64 {
        match *self {
            ListItem::Whole { first, .. } => first,
            ListItem::Part { offset, .. } => offset,
        }
    }

    /// One above the last offset named.
    pub fn end(&self) -> u64 {
        match *self {
            ListItem::Whole { first, count } => first + count,
            ListItem::Part { offset, .. } => offset + 1,
        }
    }
}

/// A finished list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetList {
    encoded: Box<[u8]>,
    first: u64,
    end: u64,
    outputs: u64,
    digest: u128,
}

/// Builds a list from outputs in order of (offset, output).
#[derive(Clone, Debug, Default)]
pub struct ListBuilder {
    encoded: Vec<u8>,
    /// The run not yet encoded: first offset and length.
    run: (u64, u64),
    /// Where the last encoded item ended, and the last part's offset if it was a part.
    end: u64,
    first: Option<u64>,
    last_end: u64,
    outputs: u64,
    digest: u128,
}

/// A 128-bit hash of one output's position, summed over a list: the sum over all plans of a range must equal the sum
/// over the range, so a missing output and a doubled one both show.
pub fn position_hash(offset: u64, output: u32) -> u128 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let low = mix(offset.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ (output as u64).rotate_left(40));
    let high = mix(low ^ offset.rotate_left(32).wrapping_mul(0xD6E8_FEB8_6659_FD93));
    (high as u128) << 64 | low as u128
}

impl ListBuilder {
    /// Adds output `output` of the `of` outputs of the record at `offset`.
    pub fn push(&mut self, offset: u64, output: u32, of: u32) {
        self.first.get_or_insert(offset);
        self.last_end = offset + 1;
        self.outputs += 1;
        self.digest = self.digest.wrapping_add(position_hash(offset, output));
        if of == 1 {
            if self.run.1 > 0 && self.run.0 + self.run.1 == offset {
                self.run.1 += 1;
                return;
            }
            self.close_run();
            self.run = (offset, 1);
            return;
        }
        self.close_run();
        // Parts of one record follow each other: their end is their own offset, so that the gap can be 0.
        put_varint(&mut self.encoded, (offset - self.end) << 1 | 1);
        put_varint(&mut self.encoded, output as u64);
        put_varint(&mut self.encoded, of as u64);
        self.end = offset;
    }

    fn close_run(&mut self) {
        let (first, count) = std::mem::take(&mut self.run);
        if count > 0 {
            put_varint(&mut self.encoded, (first - self.end) << 1);
            put_varint(&mut self.encoded, count);
            self.end = first + count;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn outputs(&self) -> u64 {
        self.outputs
    }

    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// One above the last record pushed.
    pub fn behind(&self) -> u64 {
        self.last_end
    }

    pub fn finish(mut self) -> OffsetList {
        self.close_run();
        OffsetList {
            encoded: self.encoded.into_boxed_slice(),
            first: self.first.unwrap_or(0),
            end: self.last_end,
            outputs: self.outputs,
            digest: self.digest,
        }
    }
}

impl OffsetList {
    /// Checks and adopts an encoded list.
    pub fn from_encoded(encoded: Vec<u8>) -> Result<OffsetList> {
        let mut list = OffsetList { encoded: encoded.into_boxed_slice(), ..OffsetList::default() };
        let mut items = list.items();
        let (mut first, mut end, mut outputs, mut digest) = (None, 0, 0, 0u128);
        for item in items.by_ref() {
            first.get_or_insert(item.offset());
            end = item.end();
            match item {
                ListItem::Whole { first, count } => {
                    outputs += count;
                    for offset in first..first + count {
                        digest = digest.wrapping_add(position_hash(offset, 0));
                    }
                }
                ListItem::Part { offset, output, .. } => {
                    outputs += 1;
                    digest = digest.wrapping_add(position_hash(offset, output));
                }
            }
        }
        if !items.rest.is_empty() {
            return Err(Error::new(Kind::Corrupt, "a plan's list of records cannot be decoded"));
        }
        (list.first, list.end, list.outputs, list.digest) = (first.unwrap_or(0), end, outputs, digest);
        Ok(list)
    }

    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub fn first(&self) -> u64 {
        self.first
    }

    /// One above the highest listed offset.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Listed outputs.
    pub fn outputs(&self) -> u64 {
        self.outputs
    }

    /// See [`position_hash`].
    pub fn digest(&self) -> u128 {
        self.digest
    }

    pub fn items(&self) -> Items<'_> {
        Items { rest: &self.encoded, end: 0 }
    }
}

/// The items of a list, in order.
pub struct Items<'a> {
    rest: &'a [u8],
    end: u64,
}

impl Items<'_> {
    /// The place reached, to go on from with [`OffsetList::items_from`].
    pub fn position(&self, list: &OffsetList) -> (usize, u64) {
        (list.encoded.len() - self.rest.len(), self.end)
    }
}

impl OffsetList {
    /// Every output: offset, number, of how many.
    pub fn outputs_of(&self) -> impl Iterator<Item = (u64, u32, u32)> {
        self.items().flat_map(|item| {
            let (first, count, output, of) = match item {
                ListItem::Whole { first, count } => (first, count, 0, 1),
                ListItem::Part { offset, output, of } => (offset, 1, output, of),
            };
            (first..first + count).map(move |offset| (offset, output, of))
        })
    }

    /// Goes on where an earlier iteration stopped.
    pub fn items_from(&self, position: (usize, u64)) -> Items<'_> {
        Items { rest: &self.encoded[position.0..], end: position.1 }
    }
}

impl Iterator for Items<'_> {
    type Item = ListItem;

    fn next(&mut self) -> Option<ListItem> {
        let mut rest = self.rest;
        let head = take_varint(&mut rest)?;
        let offset = self.end.checked_add(head >> 1)?;
        let item = if head & 1 == 0 {
            let count = take_varint(&mut rest)?;
            self.end = offset.checked_add(count)?;
            ListItem::Whole { first: offset, count }
        } else {
            let output = u32::try_from(take_varint(&mut rest)?).ok()?;
            let of = u32::try_from(take_varint(&mut rest)?).ok()?;
            self.end = offset;
            ListItem::Part { offset, output, of }
        };
        self.rest = rest;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_gives_back_what_was_pushed(records in proptest::collection::vec((0u64..5, 1u32..4), 0..200)) {
            let mut builder = ListBuilder::default();
            let (mut pushed, mut offset) = (Vec::new(), 0);
            for (gap, of) in records {
                offset += gap;
                for output in 0..of {
                    builder.push(offset, output, of);
                    pushed.push((offset, output, of));
                }
                offset += 1;
            }
            let list = builder.finish();
            let read = OffsetList::from_encoded(list.encoded().to_vec()).unwrap();
            prop_assert_eq!(&read, &list);
            let mut found = Vec::new();
            for item in list.items() {
                match item {
                    ListItem::Whole { first, count } => found.extend((first..first + count).map(|o| (o, 0, 1))),
                    ListItem::Part { offset, output, of } => found.push((offset, output, of)),
                }
            }
            prop_assert_eq!(list.outputs(), found.len() as u64);
            prop_assert_eq!(list.end(), found.last().map_or(0, |f| f.0 + 1));
            prop_assert_eq!(found, pushed);
        }
    }

    #[test]
    fn a_missing_or_doubled_record_changes_the_digest() {
        let digest = |offsets: &[u64]| offsets.iter().fold(0u128, |sum, &o| sum.wrapping_add(position_hash(o, 0)));
        let whole = digest(&[0, 1, 2, 3]);
        assert_eq!(digest(&[2, 3]).wrapping_add(digest(&[0, 1])), whole);
        assert_ne!(digest(&[0, 1, 3]), whole);
        assert_ne!(digest(&[0, 1, 1, 3]), whole);
    }
}
