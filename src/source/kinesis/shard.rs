//! A shard as a lane: what was read of it and not yet passed by every track, in memory only. Kinesis keeps the records;
//! what is held here can always be read again from where the plan log says that the lane begins.

mod lane;

use crate::alarm::{Alarm, AlarmKind};
use crate::clock::wall_ms;
use crate::lane::Start;
use crate::record::{EntryPoint, Frame, Origin, Position, Records};
use crate::source::room::RoomPart;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Records between two places from which the lane could begin again: each costs memory, and what lies behind the last
/// one is read again after a restart.
const ANCHOR_RECORDS: u64 = 1000;

/// Answers since the stream was last looked at: of more, the last ones are remembered. Five a second can come.
const UNSEEN_MAX: usize = 1000;

/// A shard: what was read of it and is not passed by every track yet.
pub struct Shard {
    state: Mutex<ShardState>,
    /// There is room again, or the shard is closed.
    room: Notify,
}

struct ShardState {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// What frames take of the room, with the ends of those that do.
    parts: VecDeque<(u64, RoomPart)>,
    bytes_max: usize,
    /// The most of the room that is taken: others want to read too.
    part_bytes_max: usize,
    /// One above the last record's offset that was read in this life.
    end: u64,
    /// Offsets below were given out by an earlier life.
    known: u64,
    /// Of these, offsets whose records have expired before they were read again.
    expired: Range<u64>,
    /// Ends of frames and the places of their last records, in order.
    anchors: VecDeque<(u64, Position)>,
    /// The first record of each answer since the stream was last looked at, and when it arrived.
    unseen: VecDeque<(u64, Position)>,
    /// Kinesis has no more records.
    at_end: bool,
    /// Since when it is known that the shard was split or merged.
    closed_since: Option<Instant>,
    closed: bool,
    /// It is not there any more, and plans list records of it.
    gone: bool,
    /// A track has to go on with records that are not held any more.
    to_be_read_again: bool,
    alarm: Option<Alarm>,
    /// What may have been lost in this life: nothing that goes well later makes it undone.
    loss: Option<Alarm>,
    /// Milliseconds that the last answer was behind the newest record.
    behind_ms: u64,
}

/// One record of Kinesis, taken apart.
pub struct Taken<'a> {
    pub data: &'a [u8],
    pub origin: Origin,
    pub arrival_ms: u64,
}

impl Shard {
    /// `known`: one above the highest offset that any plan lists.
    pub fn new(start: &Start, known: u64) -> Arc<Shard> {
        let end = start.offset();
        let anchors = match start {
            Start::After { offset, position } => VecDeque::from([(*offset, position.clone())]),
            _ => VecDeque::new(),
        };
        let state = ShardState {
            frames: VecDeque::new(),
            bytes: 0,
            parts: VecDeque::new(),
            bytes_max: 0,
            part_bytes_max: usize::MAX,
            end,
            known: known.max(end),
            expired: 0..0,
            anchors,
            unseen: VecDeque::new(),
            at_end: matches!(start, Start::End { .. }),
            closed_since: None,
            closed: false,
            gone: false,
            to_be_read_again: false,
            alarm: None,
            loss: None,
            behind_ms: 0,
        };
        Arc::new(Shard { state: Mutex::new(state), room: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, ShardState> {
        self.state.lock().expect("no holder of a shard's state panics")
    }

    /// Appends records in the order of the shard. Records that arrived at the same time become one frame. Of `part` is kept
    /// what they take, until every track has passed them.
    pub fn push<'a>(&self, records: impl IntoIterator<Item = Taken<'a>>, part: Option<RoomPart>) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        let before = state.bytes;
        let mut frame: Option<Frame> = None;
        let mut is_first = true;
        for Taken { data, origin, arrival_ms } in records {
            if frame.as_ref().is_some_and(|f| f.arrival_ms != arrival_ms) {
                state.append(frame.take().expect("just seen"));
            }
            let first = state.end;
            if is_first {
                state.unseen.push_back((arrival_ms, origin.position.clone()));
                if state.unseen.len() > UNSEEN_MAX {
                    state.unseen.pop_front();
                }
                is_first = false;
            }
            let frame = frame.get_or_insert_with(|| Frame {
                first,
                arrival_ms,
                entry: EntryPoint::Source,
                batch: Arc::new(Records::default()),
                origins: Vec::new(),
            });
            Arc::make_mut(&mut frame.batch).push(data);
            frame.origins.push(origin);
        }
        if let Some(frame) = frame {
            state.append(frame);
        }
        if let Some(mut part) = part {
            part.shrink_to(state.bytes - before);
            let end = state.end;
            state.parts.push_back((end, part));
        }
    }

    /// Kinesis has no more records: the shard was split or merged, and everything was read.
    pub fn reached_end(&self) {
        self.state().at_end = true;
    }

    /// How many answers were taken since the stream was last looked at.
    pub fn answers(&self) -> usize {
        self.state().unseen.len()
    }

    /// So many answers are known to be of the stream that is meant.
    pub fn are_seen(&self, answers: usize) {
        let unseen = &mut self.state().unseen;
        let answers = answers.min(unseen.len());
        unseen.drain(..answers);
    }

    /// What was read of a stream that was made at that time, in milliseconds since the Unix epoch, in place of the one that is
    /// meant: the first record, and the place of the last one.
    pub fn read_of(&self, created_ms: u64) -> Option<(Position, Position)> {
        let state = self.state();
        let (_, first) = state.unseen.iter().find(|(arrival_ms, _)| *arrival_ms >= created_ms)?;
        Some((first.clone(), state.anchors.back()?.1.clone()))
    }

    /// The shard is listed as closed: what is there of it is all that there will be.
    pub fn is_listed_as_closed(&self) {
        self.state().closed_since.get_or_insert_with(Instant::now);
    }

    /// Whether it is known for so long that the shard is closed.
    pub fn is_closed_for(&self, time: Duration) -> bool {
        self.state().closed_since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Whether everything was read to the end of the shard.
    pub fn is_at_end(&self) -> bool {
        self.state().at_end
    }

    /// One above the last record's offset.
    pub fn end(&self) -> u64 {
        self.state().end
    }

    pub fn set_behind(&self, ms: u64) {
        self.state().behind_ms = ms;
    }

    /// Milliseconds that the last answer was behind the newest record.
    pub fn behind_ms(&self) -> u64 {
        self.state().behind_ms
    }

    /// Waits until there is room for more. `false`: nobody reads any more.
    pub async fn has_room(&self) -> bool {
        loop {
            let room = self.room.notified();
            {
                let state = self.state();
                if state.closed {
                    return false;
                }
                if state.has_room() {
                    return true;
                }
            }
            room.await;
        }
    }

    /// Nobody reads any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.room.notify_waiters();
    }

    /// Reads on only while no more than so many bytes of the room are taken.
    pub fn hold_at_most(&self, bytes: usize) {
        self.state().part_bytes_max = bytes;
    }

    /// Nobody reads any more, and what is held goes.
    pub fn let_go(&self) {
        self.close();
        let mut state = self.state();
        state.frames.clear();
        state.parts.clear();
        state.bytes = 0;
    }

    /// Whether records were given out by an earlier life that have not been read again.
    pub fn is_behind_plans(&self) -> bool {
        let state = self.state();
        state.end < state.known
    }

    /// Records that were given out by an earlier life and have not been read again are there no more: what is read next
    /// is behind them.
    pub fn pass_known(&self) {
        let mut state = self.state();
        if state.end < state.known {
            state.expired = state.end..state.known;
            state.end = state.known;
        }
    }

    /// Where the last record stands that was read.
    pub fn position(&self) -> Option<Position> {
        self.state().anchors.back().map(|(_, position)| position.clone())
    }

    /// What a person should know; `None` takes it back. Whether it is new.
    pub fn set_alarm(&self, alarm: Option<String>) -> bool {
        let mut state = self.state();
        let before = state.alarm.take();
        let Some(detail) = alarm else { return false };
        let is_new = before.as_ref().is_none_or(|before| before.detail != detail);
        let since_ms = before.map_or_else(wall_ms, |before| before.since_ms);
        state.alarm = Some(Alarm::new(AlarmKind::SourceNotRead, detail).since(since_ms));
        is_new
    }

    /// Nothing can be read any more, and not everything was.
    pub fn set_gone(&self) {
        self.state().gone = true;
    }

    /// Whether nothing can be read any more, though not everything was.
    pub fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// Whether it has to be opened again, where the track stands that is the furthest behind.
    pub fn is_to_be_read_again(&self) -> bool {
        self.state().to_be_read_again
    }

    /// Records may have expired before they were read.
    pub fn set_loss(&self, loss: String) {
        self.state().loss = Some(Alarm::new(AlarmKind::RecordsExpired, loss).since(wall_ms()));
    }

    /// What a person should know.
    pub fn alarms(&self) -> Vec<Alarm> {
        let state = self.state();
        state.alarm.iter().chain(&state.loss).cloned().collect()
    }
}

impl ShardState {
    fn has_room(&self) -> bool {
        let taken: usize = self.parts.iter().map(|(_, part)| part.bytes()).sum();
        self.bytes <= self.bytes_max && (taken == 0 || taken < self.part_bytes_max)
    }

    fn append(&mut self, frame: Frame) {
        self.end = frame.end();
        self.bytes += frame_bytes(&frame);
        let last = frame.origins.last().expect("a frame holds a record").position.clone();
        // The last one stays exact, those before it lie apart.
        if let [.., (before, _), (_, _)] = self.anchors.make_contiguous()
            && self.end - *before < ANCHOR_RECORDS
        {
            self.anchors.pop_back();
        }
        self.anchors.push_back((self.end, last));
        self.frames.push_back(Arc::new(frame));
    }
}

/// What a frame takes in memory, about.
fn frame_bytes(frame: &Frame) -> usize {
    frame.batch.bytes().len() + frame.batch.len() * (size_of::<Origin>() + size_of::<u32>())
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
