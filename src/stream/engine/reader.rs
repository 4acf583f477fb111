//! One track's way through a lane: where it stands, what plans of an earlier life say of the records ahead of it, and what the
//! medium did not give back.

use super::ahead::JudgedAhead;
use super::reread::{Bound, RereadRecords};
use crate::lane::Cursor;
use crate::sabotage;
use crate::stream::pipeline::route::Chunk;
use crate::stream::plan::Track;
use crate::stream::plan::replay::{ListedOutput, Replay};
use crate::stream::plan::state::State;
use std::ops::{Index, IndexMut, Range};

/// One track's way through a lane.
pub(super) struct TrackReader {
    /// The next record.
    cursor: Cursor,
    replay: Replay,
    /// The epoch of what is in the track's buffers.
    epoch: u32,
    lost: LostOffsets,
    /// Chunks behind the cursor that are being judged. Only the main track's are.
    pub(super) ahead: JudgedAhead,
    /// Records read again that cannot be placed yet.
    pub(super) waiting: Option<RereadRecords>,
}

impl TrackReader {
    fn new(state: &State, track: Track) -> TrackReader {
        let low = state.low_of(track);
        TrackReader {
            cursor: Cursor::at(low),
            replay: Replay::new(state, track, low),
            epoch: 0,
            lost: LostOffsets::default(),
            ahead: JudgedAhead::default(),
            waiting: None,
        }
    }

    /// The next record's offset.
    pub(super) fn offset(&self) -> u64 {
        self.cursor.offset
    }

    /// Where the next record stands.
    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Where the next record stands that is not being judged.
    pub(super) fn next_to_judge(&self) -> Cursor {
        self.ahead.0.back().map_or(self.cursor, |last| last.behind)
    }

    /// Goes on there.
    pub(super) fn move_to(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Whether plans of an earlier life may list the next record.
    pub(super) fn is_behind_plans(&self) -> bool {
        self.cursor.offset < self.replay.end()
    }

    /// What plans of an earlier life list of the record at `offset`. Offsets must rise from call to call; `found` is emptied
    /// first.
    pub(super) fn listed_at(&mut self, offset: u64, found: &mut Vec<ListedOutput>) {
        self.replay.at(offset, found);
    }

    /// Records that plans of an earlier life list and that are not placed again yet.
    pub(super) fn listed_unread(&self) -> u64 {
        self.replay.unread() + self.waiting.as_ref().map_or(0, |waiting| waiting.listed)
    }

    /// The epoch of what is in the track's buffers.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What is read from now on is of this epoch.
    pub(super) fn enter(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    /// Offsets that could not be read in this life.
    pub(super) fn lost(&self) -> &LostOffsets {
        &self.lost
    }

    /// Takes note of offsets behind all those before that cannot be read.
    pub(super) fn lose(&mut self, offsets: Range<u64>) {
        self.lost.0.push(offsets);
    }

    /// Looks up what plans of an earlier life list of a chunk, behind which the track goes on at `cursor`. The plan decides:
    /// what it lists ends there.
    pub(super) fn look_up(&mut self, chunk: &Chunk, cursor: Cursor, state: &State) -> RereadRecords {
        let mut again = RereadRecords {
            chunk: Chunk { entry: chunk.entry, ..Chunk::default() },
            bounds: Vec::new(),
            cursor,
            listed: 0,
        };
        let mut listed = Vec::new();
        for (i, &offset) in chunk.offsets.iter().enumerate() {
            self.replay.at(offset, &mut listed);
            again.listed += !listed.is_empty() as u64;
            let bound = bound(&listed, state);
            if !matches!(bound, Some(Bound::Done)) {
                again.chunk.push_of(chunk, i);
                again.bounds.push(bound);
            }
        }
        again
    }
}

fn bound(listed: &[ListedOutput], state: &State) -> Option<Bound> {
    let first = listed.first()?;
    let settled = |l: &&ListedOutput| !state.plans[&l.plan].is_open();
    if sabotage::on("open_plans_record_skipped")
        || sabotage::on("one_output_is_all") && listed.iter().any(|l| settled(&l))
    {
        return Some(Bound::Done);
    }
    if listed.iter().filter(settled).count() as u32 == first.of {
        return Some(Bound::Done);
    }
    let outlet = state.plans[&first.plan].outlet;
    Some(if outlet.is_failure() { Bound::Failure(first.plan) } else { Bound::Outputs(listed.to_vec()) })
}

/// Offsets that the medium did not give back, in order.
#[derive(Default)]
pub(super) struct LostOffsets(Vec<Range<u64>>);

impl LostOffsets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, offset: u64) -> bool {
        let i = self.0.partition_point(|range| range.end <= offset);
        self.0.get(i).is_some_and(|range| range.contains(&offset))
    }
}

/// The readers of a lane's two tracks.
pub(super) struct TrackReaders([TrackReader; 2]);

impl TrackReaders {
    /// Both begin where everything below is settled.
    pub(super) fn new(state: &State) -> TrackReaders {
        TrackReaders([Track::Main, Track::Backup].map(|track| TrackReader::new(state, track)))
    }
}

impl Index<Track> for TrackReaders {
    type Output = TrackReader;

    fn index(&self, track: Track) -> &TrackReader {
        &self.0[track as usize]
    }
}

impl IndexMut<Track> for TrackReaders {
    fn index_mut(&mut self, track: Track) -> &mut TrackReader {
        &mut self.0[track as usize]
    }
}
