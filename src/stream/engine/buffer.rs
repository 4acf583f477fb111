//! Records on their way into one object: the list that a plan will hold, and the object's bytes as far as they are
//! made. The bytes may be dropped and made again; the list decides.

use super::filling::Filling;
use super::object_size::{ObjectSoFar, SettledObject};
use crate::partition::key::Key;
use crate::record::Origin;
use crate::stream::pipeline::route::Chunk;
use crate::stream::plan::lengths::Lengths;
use crate::stream::plan::list::ListBuilder;
use crate::stream::plan::span::Span;
use crate::stream::plan::{Outlet, Reason};
use std::time::Duration;

/// Where a buffer belongs. Failures have one key an outlet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BufferSlot {
    pub(super) outlet: Outlet,
    pub(super) key: Key,
    /// 0: it is filled. Others are as large as their sink allows and about to be cut.
    pub(super) closed: u32,
}

impl BufferSlot {
    pub(super) fn open(outlet: Outlet, key: Key) -> BufferSlot {
        BufferSlot { outlet, key, closed: 0 }
    }
}

/// Records on their way into one object.
pub(super) struct KeyBuffer {
    pub list: ListBuilder,
    pub reasons: Vec<Reason>,
    /// Of a backup.
    pub lengths: Lengths,
    /// Bytes of the records as they came, before format and compression: what `buffer.size` counts.
    pub bytes: u64,
    pub oldest_arrival_ms: u64,
    /// Where the first and the last record stand, if that is somebody else's log.
    pub span: Option<Span>,
    /// Steady time at which the first record entered.
    pub opened: Duration,
    pub filling: Filling,
    /// What it had when it was last settled before its end, to see how large it is.
    pub settled: Option<SettledObject>,
}

impl KeyBuffer {
    /// How large it is, and is expected to become.
    pub(super) fn so_far(&self) -> ObjectSoFar {
        ObjectSoFar { given: self.bytes, expected: self.filling.expected_bytes(), settled: self.settled }
    }

    pub(super) fn new(filling: Filling, opened: Duration) -> Self {
        KeyBuffer {
            list: ListBuilder::default(),
            reasons: Vec::new(),
            lengths: Lengths::default(),
            bytes: 0,
            oldest_arrival_ms: u64::MAX,
            span: None,
            opened,
            filling,
            settled: None,
        }
    }

    /// Lists an output of record `i` of a chunk, which took `bytes` bytes.
    pub(super) fn push(&mut self, chunk: &Chunk, i: usize, (output, of): (u32, u32), bytes: usize) {
        self.list.push(chunk.offsets[i], output, of);
        self.bytes += bytes as u64;
        if let Some(Origin { position, .. }) = chunk.origins.get(i) {
            let at = || Span { first: position.clone(), last: position.clone() };
            self.span.get_or_insert_with(at).last = position.clone();
        }
    }
}
