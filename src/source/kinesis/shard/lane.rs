//! A shard as a lane reads it.

use super::{Shard, frame_bytes};
use crate::error::{Error, Kind, Result};
use crate::lane::{Cursor, Lane, Read, Start};

impl Lane for Shard {
    fn read(&self, cursor: &mut Cursor) -> Result<Read> {
        let state = self.state();
        if cursor.offset >= state.end {
            return Ok(Read::End);
        }
        let i = state.frames.partition_point(|f| f.end() <= cursor.offset);
        match state.frames.get(i).filter(|f| f.first <= cursor.offset) {
            Some(frame) => {
                *cursor = Cursor::at(frame.end());
                Ok(Read::Frame(frame.clone()))
            }
            None if state.expired.contains(&cursor.offset) => {
                let (from, to) = (cursor.offset, state.expired.end);
                *cursor = Cursor::at(to);
                Ok(Read::Lost { from, to })
            }
            None => Err(Error::new(Kind::Bug, format!("record {} of a shard is not held any more", cursor.offset))),
        }
    }

    fn durable(&self) -> u64 {
        self.state().end
    }

    fn accepted(&self) -> u64 {
        let state = self.state();
        state.end.max(state.known)
    }

    fn records_from(&self, from: u64) -> u64 {
        self.accepted().saturating_sub(from)
    }

    fn trim_tail(&self, offset: u64, bytes_max: usize) -> usize {
        let mut state = self.state();
        state.bytes_max = bytes_max;
        while let Some(frame) = state.frames.front().filter(|f| f.end() <= offset) {
            state.bytes -= frame_bytes(frame);
            state.frames.pop_front();
        }
        let passed = state.parts.partition_point(|(end, _)| *end <= offset);
        state.parts.drain(..passed);
        if state.has_room() {
            self.room.notify_waiters();
        }
        // The room counts them.
        0
    }

    fn recycle(&self, low: u64) -> Result<u64> {
        let mut state = self.state();
        let passed = state.anchors.partition_point(|(offset, _)| *offset <= low);
        state.anchors.drain(..passed.saturating_sub(1));
        Ok(0)
    }

    fn is_full(&self) -> bool {
        !self.state().has_room()
    }

    fn read_again(&self) {
        self.state().to_be_read_again = true;
    }

    fn anchor(&self, low: u64) -> Option<Start> {
        let state = self.state();
        if state.at_end && low >= state.end && state.end >= state.known {
            return Some(Start::End { offset: low });
        }
        let passed = state.anchors.partition_point(|(offset, _)| *offset <= low);
        let (offset, position) = state.anchors.get(passed.checked_sub(1)?)?;
        Some(Start::After { offset: *offset, position: position.clone() })
    }
}
