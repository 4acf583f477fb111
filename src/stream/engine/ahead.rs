//! Chunks of the main track that are read and judged before it is their turn, so that the streams' worker threads judge
//! while earlier chunks are encoded. Only a cache: nothing is decided here, the track stands where its cursor stands, and
//! what was judged under a configuration that has changed since is forgotten and read again.

use crate::error::Result;
use crate::lane::Cursor;
use crate::stream::pipeline::route::{Chunk, Judged};
use crate::stream::pipeline::workers::Job;
use std::collections::VecDeque;
use std::sync::Arc;

/// A frame of this size is a chunk by itself and is not copied; smaller ones are put together.
pub(super) const WHOLE_FRAME_BYTES: usize = 128 << 10;

/// A chunk on its way.
pub(super) struct Judging {
    pub(super) chunk: Arc<Chunk>,
    /// Where the track goes on behind it.
    pub(super) behind: Cursor,
    pub(super) judged: Job<Result<Judged>>,
}

/// Chunks that were judged before it is their turn. In the order of the lane, all under one epoch, the first at the main
/// track's cursor.
#[derive(Default)]
pub(super) struct JudgedAhead(pub(super) VecDeque<Judging>);

/// What a track finds next.
pub(super) enum Next {
    /// Records of one epoch, and the cursor behind them.
    Chunk(Chunk, Cursor),
    /// Offsets that were never given to a record, up to the cursor.
    Gap(Cursor),
    Lost {
        from: u64,
        to: u64,
        behind: Cursor,
    },
    /// Nothing that may be read now.
    End,
}

impl JudgedAhead {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Judging {
    pub(super) fn finish(self) -> Result<(Arc<Chunk>, Judged, Cursor)> {
        Ok((self.chunk, self.judged.finish()?, self.behind))
    }
}
