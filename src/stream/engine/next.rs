//! What a track finds next in its lane, and the main track's chunks that are judged ahead of their turn.

use super::Engine;
use super::ahead::{JudgedAhead, Judging, Next, WHOLE_FRAME_BYTES};
use crate::error::Result;
use crate::lane::{Cursor, Read};
use crate::stream::pipeline::route::Chunk;
use crate::stream::plan::Track;
use std::sync::Arc;

impl Engine {
    /// The main track's chunks that are judged ahead of their turn.
    pub(super) fn ahead(&mut self) -> &mut JudgedAhead {
        &mut self.readers[Track::Main].ahead
    }

    /// The main track's next chunk, being judged, with those behind it started. `None`: there is none at the cursor, and
    /// the track has moved over offsets that hold no record to read.
    pub(super) fn next_judging(&mut self, epoch: u32) -> Result<Option<Judging>> {
        let route = self.route(epoch)?;
        let now_ms = self.home.clock.wall_ms();
        let mut cursor = self.readers[Track::Main].next_to_judge();
        while self.ahead().0.len() < self.home.bounds.chunks_ahead_max
            && self.state().epoch_at(cursor.offset).is_some_and(|e| e.number == epoch)
        {
            let (chunk, behind) = match self.next_chunk(Track::Main, cursor, route.chunk_limits())? {
                Next::Chunk(chunk, behind) => (chunk, behind),
                hole if self.ahead().0.is_empty() => {
                    self.pass(Track::Main, hole)?;
                    break;
                }
                _ => break,
            };
            let chunk = Arc::new(chunk);
            let (judge, given) = (route.clone(), chunk.clone());
            let small = chunk.records.bytes().len() < WHOLE_FRAME_BYTES && route.transform.is_none();
            let judge = move || judge.judge(&given, now_ms);
            let judged = if small { self.home.workers.later(judge) } else { self.home.workers.start(judge) };
            self.ahead().0.push_back(Judging { chunk, behind, judged });
            cursor = behind;
        }
        Ok(self.ahead().0.pop_front())
    }

    /// What stands at a cursor of a track; as many records as the limits (records, bytes) allow.
    pub(super) fn next_chunk(&self, track: Track, mut cursor: Cursor, limits: (usize, usize)) -> Result<Next> {
        let end = self.read_limit(track).unwrap_or(u64::MAX);
        let later = self.state().epochs.iter().map(|e| e.from).filter(|&from| from > cursor.offset);
        let end = later.fold(end, u64::min);
        let mut chunk = Chunk::default();
        while cursor.offset < end {
            let mut ahead = cursor;
            let frame = match self.lane.read(&mut ahead)? {
                Read::Frame(frame) => frame,
                Read::Gap { .. } if chunk.records.is_empty() => return Ok(Next::Gap(ahead)),
                Read::Lost { from, to } if chunk.records.is_empty() => {
                    return Ok(Next::Lost { from, to, behind: ahead });
                }
                Read::End | Read::Gap { .. } | Read::Lost { .. } => break,
            };
            let from = (cursor.offset.saturating_sub(frame.first)) as usize;
            let to = (end.saturating_sub(frame.first) as usize).min(frame.batch.len());
            let bytes = frame.batch.bytes_of(from, to).len();
            let full = chunk.records.len() + to - from > limits.0
                || chunk.records.bytes().len() + bytes > limits.1
                || chunk.entry != frame.entry;
            if full && !chunk.records.is_empty() {
                break;
            }
            chunk.entry = frame.entry;
            if chunk.records.is_empty() && to - from == frame.batch.len() && bytes >= WHOLE_FRAME_BYTES {
                let arrivals = vec![frame.arrival_ms; to];
                let offsets = (frame.first..frame.end()).collect();
                let origins = frame.origins.clone();
                let chunk = Chunk { records: frame.batch.clone(), offsets, arrivals, origins, entry: frame.entry };
                return Ok(Next::Chunk(chunk, ahead));
            }
            for i in from..to {
                chunk.push(frame.batch.get(i), frame.first + i as u64, frame.arrival_ms);
            }
            if !frame.origins.is_empty() {
                chunk.origins.extend_from_slice(&frame.origins[from..to]);
            }
            cursor = if to < frame.batch.len() { Cursor::at(frame.first + to as u64) } else { ahead };
        }
        Ok(if chunk.records.is_empty() { Next::End } else { Next::Chunk(chunk, cursor) })
    }

    /// The chunk at a track's cursor and the cursor behind it. `None` as for [`Engine::next_judging`].
    pub(super) fn next_or_pass(&mut self, track: Track, limits: (usize, usize)) -> Result<Option<(Chunk, Cursor)>> {
        match self.next_chunk(track, self.readers[track].cursor(), limits)? {
            Next::Chunk(chunk, behind) => Ok(Some((chunk, behind))),
            hole => self.pass(track, hole).map(|()| None),
        }
    }

    fn pass(&mut self, track: Track, hole: Next) -> Result<()> {
        let behind = match hole {
            Next::Chunk(..) | Next::End => return Ok(()),
            Next::Gap(behind) => behind,
            Next::Lost { from, to, behind } => {
                self.place_lost(track, from, to)?;
                behind
            }
        };
        self.readers[track].move_to(behind);
        self.finish_rebuilding(track)?;
        Ok(())
    }
}
