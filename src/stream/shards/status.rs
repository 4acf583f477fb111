//! How the shards of a stream stand: those that are read here, and those of other nodes.

use super::Shards;
use super::directories::{OF_LIFE, of_life};
use super::lanes::{OpenLane, ShardLane};
use crate::alarm::{Alarm, AlarmKind, headline};
use crate::stream::lane::status::{ShardStatus, Status};
use std::collections::BTreeSet;

/// What decides which shards nobody reads.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::stream) struct ReadShards {
    /// The stream that is read; `None`: none is, or it cannot be told which.
    pub(in crate::stream) created_ms: Option<u64>,
    /// Names of open lanes.
    pub(in crate::stream) open: BTreeSet<String>,
}

impl Shards {
    /// What is read now; `None` if that is not known yet.
    pub(in crate::stream) fn reading(&self) -> Option<ReadShards> {
        let (created_ms, cannot_be_read) = {
            let seen = self.set.seen();
            (seen.created_ms, seen.alarm.is_some())
        };
        if created_ms == 0 && !cannot_be_read && !self.are_draining() {
            return None;
        }
        let is_open = |lane: &ShardLane| match lane {
            ShardLane::Open(lane) => !(self.are_draining() && lane.running.has_ended()),
            ShardLane::Done(_) => true,
        };
        let lanes = self.set.lanes();
        let open = lanes.iter().filter(|(_, lane)| is_open(lane)).map(|(id, _)| match id.contains(OF_LIFE) {
            true => id.clone(),
            false => of_life(id, created_ms),
        });
        let is_read = created_ms != 0 && !self.are_draining();
        Some(ReadShards { created_ms: is_read.then_some(created_ms), open: open.collect() })
    }

    /// Adds how each shard stands, and what keeps shards from being read.
    pub(in crate::stream) fn add_to(&self, status: &mut Status) {
        let worker = {
            let seen = self.set.seen();
            seen.alarm.iter().for_each(|alarm| status.raise(alarm.clone()));
            status.damage.extend(seen.damage.iter().cloned());
            seen.worker.clone()
        };
        for (id, lane) in self.set.lanes().iter() {
            match lane {
                // What it holds still is known from its files.
                ShardLane::Open(lane) if self.are_draining() && lane.running.has_ended() => {}
                ShardLane::Open(lane) => {
                    let known = ShardStatus {
                        owner: worker.clone(),
                        position: lane.shard.position().map(|position| position.to_string()),
                        behind_ms: lane.shard.behind_ms(),
                        ..ShardStatus::default()
                    };
                    status.add_shard(id.clone(), self.of_lane(lane), known);
                }
                ShardLane::Done(done) => {
                    let known = ShardStatus { state: "done".into(), ..ShardStatus::default() };
                    status.add_shard(id.clone(), (**done).clone(), known);
                }
            }
        }
        for lease in &self.set.seen().elsewhere {
            status.add_lease(&lease.shard, lease.owner.clone(), &lease.checkpoint, lease.is_ended());
        }
    }

    fn of_lane(&self, lane: &OpenLane) -> Status {
        let mut status = lane.running.status();
        let waits = self.are_draining() && status.pending + status.backup_pending > 0;
        let draining = waits.then(|| {
            let detail = "what was read of it is still being delivered, and nothing more is read: if that does not end, \
                          have the configuration read its stream again";
            Alarm::new(AlarmKind::ShardNotRead, detail)
        });
        status.alarms.extend(lane.shard.alarms().into_iter().chain(draining));
        status.alarm = headline(&status.alarms);
        status
    }
}
