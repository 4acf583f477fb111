//! Lanes of shards that are ended: those that nobody reads for any more, to be opened again, and those whose shards are not
//! read any more, since the process ends, or the configuration does not name their stream or has it take puts. What was read
//! of the latter is delivered.

use super::lanes::ShardLane;
use super::{ReadingPhase, ShardSet, Shards};

impl Shards {
    /// Reads nothing more, and begins to deliver what is held. `is_ending`: the process ends, and the next one reads again
    /// what plans list.
    pub(in crate::stream) fn drain(&self, is_ending: bool) {
        self.enter(ReadingPhase::Draining);
        self.set.drain_lanes(is_ending);
    }

    /// Whether they are not read any more.
    pub(in crate::stream) fn are_draining(&self) -> bool {
        self.set.phase() == ReadingPhase::Draining
    }

    /// Whether every lane's thread has ended.
    pub(in crate::stream) fn have_ended(&self) -> bool {
        self.set.lanes().values().all(|lane| match lane {
            ShardLane::Open(lane) => lane.running.has_ended(),
            ShardLane::Done(_) => true,
        })
    }
}

impl ShardSet {
    /// Has lanes deliver what they hold, and read nothing more. One that has not yet read again what its plans list does so
    /// before, and is told the next time; if somebody else will, another node or the next process, it ends.
    pub(super) fn drain_lanes(&self, is_left_to_others: bool) {
        for lane in self.lanes().values_mut() {
            let ShardLane::Open(lane) = lane else { continue };
            let can_read = !lane.reader.is_finished() && !lane.shard.is_to_be_read_again();
            let reads_again = lane.shard.is_behind_plans() && can_read;
            match is_left_to_others {
                _ if lane.is_draining => continue,
                true if reads_again => lane.end(),
                false if reads_again => continue,
                _ => {
                    lane.reader.abort();
                    lane.running.drain();
                }
            }
            lane.is_draining = true;
        }
    }

    /// Whether every lane was told to deliver what it holds.
    pub(super) fn are_told_to_drain(&self) -> bool {
        self.lanes().values().all(|lane| !matches!(lane, ShardLane::Open(lane) if !lane.is_draining))
    }

    /// Takes from lanes that an error has ended what they hold: others need the room.
    pub(super) fn empty_broken(&self) {
        for lane in self.lanes().values() {
            if let ShardLane::Open(lane) = lane
                && lane.running.has_ended()
            {
                lane.shard.let_go();
            }
        }
    }

    /// Ends lanes that nobody reads for any more, though there may be more to read: they are to be opened again.
    pub(super) fn end_unread(&self) {
        let created_ms = self.created_ms();
        let is_unread = |lane: &ShardLane| match lane {
            ShardLane::Open(lane) => {
                let has_no_reader = lane.reader.is_finished() && !lane.shard.is_at_end() && !lane.shard.is_gone();
                lane.created_ms == created_ms
                    && (has_no_reader || lane.shard.is_to_be_read_again())
                    && !lane.running.has_ended()
            }
            ShardLane::Done(_) => false,
        };
        for lane in self.lanes().values() {
            if let ShardLane::Open(lane) = lane
                && lane.shard.is_to_be_read_again()
            {
                // What is in buffers would begin to wait for its interval once more.
                let _ = lane.running.ask(|engine, _| engine.flush());
            }
        }
        let unread: Vec<String> =
            self.lanes().iter().filter(|(_, lane)| is_unread(lane)).map(|(id, _)| id.clone()).collect();
        self.end(&unread);
    }
}
