//! Records side by side: one buffer of bytes and the end of each record, never a vector of vectors.

pub mod elements;
pub mod index;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Many records in one buffer. Record `i` is `data[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Records {
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Records { data: Vec::with_capacity(bytes), ends: Vec::with_capacity(records) }
    }

    /// Takes over a buffer and the ends in it. `None` if the ends do not rise or pass the buffer.
    pub fn from_parts(data: Vec<u8>, ends: Vec<u32>) -> Option<Self> {
        let rising = ends.windows(2).all(|w| w[0] <= w[1]);
        (rising && ends.last().copied().unwrap_or(0) as usize == data.len()).then_some(Records { data, ends })
    }

    pub fn push(&mut self, record: &[u8]) {
        self.data.extend_from_slice(record);
        self.end_record();
    }

    /// The buffer, to append the next record's bytes to; [`Records::end_record`] closes it.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    pub fn end_record(&mut self) {
        self.ends.push(u32::try_from(self.data.len()).expect("a batch is bounded far below 4 GiB"));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, i: usize) -> &[u8] {
        &self.data[self.place(i)]
    }

    /// Where a record stands in [`Records::bytes`].
    pub fn place(&self, i: usize) -> Range<usize> {
        self.start(i)..self.ends[i] as usize
    }

    fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1] as usize }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// All records' bytes, in order.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The bytes of records `from..to`.
    pub fn bytes_of(&self, from: usize, to: usize) -> &[u8] {
        if from == to { &[] } else { &self.data[self.start(from)..self.ends[to - 1] as usize] }
    }
}

/// Records that know their partition keys on their way through the journal: the length of the keys' JSON (u32, little
/// endian), the keys, the record.
pub mod keyed {
    use super::Records;

    /// Names and values.
    pub type Keys = Vec<(String, String)>;

    pub fn pack(keys: &Keys, record: &[u8]) -> Vec<u8> {
        let json = serde_json::to_vec(keys).expect("texts always serialise into memory");
        let length = u32::try_from(json.len()).expect("keys are bounded far below 4 GiB");
        [&length.to_le_bytes(), json.as_slice(), record].concat()
    }

    /// Takes one apart: keys, and record. `None` if it was not packed so.
    pub fn unpack_one(packed: &[u8]) -> Option<(Keys, &[u8])> {
        let (length, rest) = packed.split_first_chunk::<4>()?;
        let (json, record) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some((serde_json::from_slice(json).ok()?, record))
    }

    /// Takes keys and records apart. `None` if they were not packed so.
    pub fn unpack(packed: &Records) -> Option<(Records, Vec<Keys>)> {
        let mut records = Records::with_capacity(packed.len(), packed.bytes().len());
        let mut keys = Vec::with_capacity(packed.len());
        for packed in packed.iter() {
            let (its_keys, record) = unpack_one(packed)?;
            keys.push(its_keys);
            records.push(record);
        }
        Some((records, keys))
    }
}

/// Where on the path a record enters. Numbers are on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum EntryPoint {
    /// As a source gave it: before the transform.
    #[default]
    Source = 0,
    /// After the transform: what a redriven conversion failure holds.
    Format = 1,
    /// As a source gave it, but redriven: a redrive that was cut short finds what it had put by this.
    Again = 2,
    /// To the destination as it is: what a redriven failure of the destination holds.
    Deliver = 3,
    /// After the transform, with the partition keys that it gave in front (see [`keyed`]).
    Keyed = 4,
}

impl EntryPoint {
    pub fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(EntryPoint::Source),
            1 => Some(EntryPoint::Format),
            2 => Some(EntryPoint::Again),
            3 => Some(EntryPoint::Deliver),
            4 => Some(EntryPoint::Keyed),
            _ => None,
        }
    }

    /// Whether the transform is still to come.
    pub fn is_before_transform(self) -> bool {
        matches!(self, EntryPoint::Source | EntryPoint::Again)
    }
}

/// One client batch as a lane holds it: records `first .. first + batch.len()`, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u64,
    /// Milliseconds since the Unix epoch at which the batch was taken.
    pub arrival_ms: u64,
    pub entry: EntryPoint,
    /// Shared with whoever works on the records.
    pub batch: Arc<Records>,
    /// Where in somebody else's log each record stands; empty where the log is ours.
    pub origins: Vec<Origin>,
}

/// Where in somebody else's log a record stands, and what was said of it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The shard's id.
    pub shard: Arc<str>,
    pub position: Position,
    pub partition_key: Arc<str>,
}

/// A place in a shard of Kinesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// A decimal number without leading zeros, of any length.
    pub sequence: Arc<str>,
    /// Which of the records of an aggregate, from 0.
    pub sub_sequence: u64,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |p: &Position| p.sequence.len();
        let by_sequence = key(self).cmp(&key(other)).then_with(|| self.sequence.cmp(&other.sequence));
        by_sequence.then(self.sub_sequence.cmp(&other.sub_sequence))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sequence, self.sub_sequence)
    }
}

impl Frame {
    /// One above the last record's offset.
    pub fn end(&self) -> u64 {
        self.first + self.batch.len() as u64
    }
}
