//! Reading a lane in order: the tail from the committer's memory, the rest from the segments.

use super::frame;
use super::segment::{HEADER_BLOCK, Segment};
use super::{Journal, Recent};
use crate::error::{Error, Result};
use crate::lane::{Cursor, Read};
use std::sync::Arc;

impl Journal {
    /// See [`Lane::read`](crate::lane::Lane::read).
    pub(super) fn read_frame(&self, cursor: &mut Cursor) -> Result<Read> {
        let (segment, end) = {
            let shared = self.shared();
            if cursor.offset >= shared.durable {
                return Ok(Read::End);
            }
            if shared.tail.front().is_some_and(|r| r.frame.first <= cursor.offset) {
                let i = shared.tail.partition_point(|r| r.frame.end() <= cursor.offset);
                let Recent { frame, behind } = &shared.tail[i];
                *cursor = Cursor { offset: frame.end(), place: Some(*behind) };
                return Ok(Read::Frame(frame.clone()));
            }
            let i = shared.segments.partition_point(|s| s.first <= cursor.offset);
            if i == 0 {
                // What nobody needs any more lies below every cursor: this was there, and was taken away.
                let Some(oldest) = shared.segments.front() else { return Ok(lost(cursor, shared.durable)) };
                return Ok(match cursor.offset < oldest.previous_end {
                    true => lost(cursor, oldest.previous_end),
                    false => gap(cursor, oldest.first),
                });
            }
            let end = match shared.segments.get(i) {
                Some(next) if cursor.offset >= next.previous_end => return Ok(gap(cursor, next.first)),
                Some(next) => next.previous_end,
                None => shared.durable,
            };
            (shared.segments[i - 1].clone(), end)
        };
        let read = self.read_segment(&segment, end, cursor);
        read.map_err(|e| Error::io(format!("read segment {} in `{}`", segment.number, self.dir.display()), e))
    }

    fn read_segment(&self, segment: &Segment, end: u64, cursor: &mut Cursor) -> std::io::Result<Read> {
        let seed = frame::seed(&self.incarnation, segment.number);
        let mut expected = segment.first;
        let mut at = HEADER_BLOCK;
        if let Some((_, byte)) = cursor.place.filter(|(number, _)| *number == segment.number) {
            (expected, at) = (cursor.offset, byte);
        }
        loop {
            match segment.frame_at(seed, at)? {
                Some((f, _, behind)) if f.first == expected && f.end() <= end => {
                    at = behind;
                    expected = f.end();
                    if f.end() > cursor.offset {
                        *cursor = Cursor { offset: f.end(), place: Some((segment.number, at)) };
                        return Ok(Read::Frame(Arc::new(f)));
                    }
                }
                _ => {
                    // Also the expected one may stand further on: in a segment that was rebuilt without its first frame.
                    let resume = segment.find_frame(seed, at, expected)?;
                    let resume = resume.filter(|(f, _, _)| f.end() <= end);
                    let (to, byte) = resume.map_or((end, None), |(f, _, byte)| (f.first, Some(byte)));
                    self.shared().damaged.insert(segment.number);
                    if to > cursor.offset {
                        let from = expected.max(cursor.offset);
                        *cursor = Cursor { offset: to, place: byte.map(|b| (segment.number, b)) };
                        return Ok(Read::Lost { from, to });
                    }
                    (expected, at) = (to, byte.unwrap_or(segment.size));
                }
            }
        }
    }
}

fn lost(cursor: &mut Cursor, to: u64) -> Read {
    let from = std::mem::replace(cursor, Cursor::at(to)).offset;
    Read::Lost { from, to }
}

fn gap(cursor: &mut Cursor, to: u64) -> Read {
    let from = std::mem::replace(cursor, Cursor::at(to)).offset;
    Read::Gap { from, to }
}
