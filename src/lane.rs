//! A lane: one ordered, replayable log that a stream reads. Its own journal is one, a shard of Kinesis is another.

use crate::error::Result;
use crate::record::{Frame, Position};
use std::sync::Arc;

/// A reader's place. Cheap to copy; any number of them may read at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// The next offset to read.
    pub offset: u64,
    /// Where the lane keeps that offset's frame, in its own terms, if known.
    pub(crate) place: Option<(u64, u64)>,
}

impl Cursor {
    pub fn at(offset: u64) -> Self {
        Cursor { offset, place: None }
    }
}

/// What stands at a cursor.
pub enum Read {
    /// The frame that holds the cursor's offset (which may lie inside it).
    Frame(Arc<Frame>),
    /// Offsets that were never given to a record.
    Gap { from: u64, to: u64 },
    /// Records that were acknowledged and are no longer what was written.
    Lost { from: u64, to: u64 },
    /// Nothing more is durable yet.
    End,
}

/// Where a lane whose log is somebody else's begins to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record there is.
    TrimHorizon,
    /// At the first record that arrived at or after this time, in milliseconds since the Unix epoch.
    Timestamp(u64),
    /// Behind this record; the next one has this offset.
    After { offset: u64, position: Position },
    /// Nowhere: it was read to its end, which is this offset, and everything is settled.
    End { offset: u64 },
}

impl Start {
    /// The offset of the first record that is new.
    pub fn offset(&self) -> u64 {
        match self {
            Start::TrimHorizon | Start::Timestamp(_) => 0,
            Start::After { offset, .. } | Start::End { offset } => *offset,
        }
    }
}

/// An ordered, replayable log that a stream reads. Offsets are dense but where `Read` says otherwise, and never reused.
pub trait Lane: Send + Sync {
    /// What stands at the cursor, which moves past it. Never shows an offset that is not durable. An error leaves the
    /// cursor where it was.
    fn read(&self, cursor: &mut Cursor) -> Result<Read>;

    /// One above the last record's offset that can be read.
    fn durable(&self) -> u64;

    /// Records ever accepted.
    fn accepted(&self) -> u64;

    /// Records with offsets from `from` on.
    fn records_from(&self, from: u64) -> u64;

    /// Gives up the memory of frames below `offset`, which every reader has passed, and holds no more than about
    /// `bytes_max` from now on. The bytes that are left, but for those that are counted elsewhere.
    fn trim_tail(&self, offset: u64, bytes_max: usize) -> usize;

    /// Nothing below `low` is read again, and that is durable. How much was given back.
    fn recycle(&self, low: u64) -> Result<u64>;

    /// The last place at or below `low` from which it can begin again, if its log is somebody else's: to be persisted
    /// together with `low`.
    fn anchor(&self, _low: u64) -> Option<Start> {
        None
    }

    /// Whether it takes in nothing more until readers have passed what it holds.
    fn is_full(&self) -> bool {
        false
    }

    /// A reader has to go on with records that are not held any more: it is to be opened again, where that one stands.
    fn read_again(&self) {}

    /// Lets go of what it does not need while nothing is to be done.
    fn rest(&self) {}

    /// Bytes it occupies on our disk.
    fn disk_bytes(&self) -> u64 {
        0
    }

    /// Gives back to a full disk what it holds for later. Whether there was any.
    fn give_back(&self) -> Result<bool> {
        Ok(false)
    }

    /// Makes room ahead of need, while nothing else is to do.
    fn prepare_spare(&self) -> Result<()> {
        Ok(())
    }
}

/// What became of a commit of a lane's state to a place that other nodes may write to, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Done,
    /// The lane is somebody else's, or its state another one.
    Fenced(String),
    /// Nothing was written.
    Refused(String),
    /// It may have been written, or may yet be.
    Unknown(String),
}
