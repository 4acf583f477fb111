//! How a stream stands, as its admin page and `hydrant status` show it.

use crate::alarm::Alarm;
use crate::stream::plan::Outlet;
use crate::stream::plan::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a stream stands. Counts are of records unless they say otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub stream: String,
    /// `opening`, `running`, `paused`, `retired` (not in the configuration any more) or `stopped` (see `alarm`).
    pub state: String,
    /// What the first of the alarms says, or those of its lane together.
    pub alarm: Option<String>,
    /// What needs a person, that of its shards too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<Alarm>,
    /// The last put was not taken, and the alarm says why.
    #[serde(default)]
    pub refuses_puts: bool,
    /// What was found damaged when it was opened: read from copies, or lost and counted as that. A sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<String>,
    pub accepted: u64,
    /// Unread, in buffers and in open plans: counted, not subtracted.
    pub pending: u64,
    /// `accepted - settled - pending`: 0.
    pub gap: i64,
    pub lost: u64,
    pub backup_pending: u64,
    /// Of those that were to be backed up.
    #[serde(default)]
    pub lost_of_backup: u64,
    /// Values of which digits were rounded away since the stream was opened, because their columns have no room for them.
    #[serde(default)]
    pub values_rounded: u64,
    /// Objects that ended before their size and their interval since the stream was opened, because memory was scarce or too many
    /// were open.
    #[serde(default)]
    pub objects_cut_early: u64,
    pub outlets: BTreeMap<String, Settled>,
    pub open_plans: u64,
    pub epoch: u32,
    pub disk_bytes: u64,
    /// Seconds since the oldest record that is not settled arrived; 0 if there is none.
    pub freshness_s: u64,
    /// The same for the backup.
    #[serde(default)]
    pub backup_freshness_s: u64,
    pub lane: String,
    /// Of a stream that reads from Kinesis: its shards, whose records are counted above too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shards: BTreeMap<String, ShardStatus>,
}

/// How a shard stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ShardStatus {
    /// As a stream's, or `done`: read to its end and settled; or `elsewhere`: another node's, or nobody's yet; or `unread`:
    /// its stream is not read any more, and plans of it are open.
    pub state: String,
    /// The node that has its lease, if several nodes share the shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub alarm: Option<String>,
    pub accepted: u64,
    pub pending: u64,
    pub gap: i64,
    /// Where the last record stands that was read (sequence number / which of an aggregate); of another node's, its checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Milliseconds that the last answer was behind the newest record.
    pub behind_ms: u64,
    pub lane: String,
}

impl Status {
    /// The same with a further alarm, which is less than those before.
    pub fn with(mut self, alarm: Alarm) -> Status {
        self.raise(alarm);
        self
    }

    /// Adds an alarm, which is less than those before.
    pub fn raise(&mut self, alarm: Alarm) {
        self.alarm.get_or_insert_with(|| alarm.detail.clone());
        self.alarms.push(alarm);
    }

    /// Adds an alarm, which is more than those before.
    pub fn raise_first(&mut self, alarm: Alarm) {
        self.alarm = Some(alarm.detail.clone());
        self.alarms.insert(0, alarm);
    }

    /// Adds how one of the stream's shards stands: as a lane, and as far as the lane does not know it.
    pub fn add_shard(&mut self, id: String, shard: Status, known: ShardStatus) {
        self.accepted += shard.accepted;
        self.pending += shard.pending;
        self.gap += shard.gap;
        self.lost += shard.lost;
        self.lost_of_backup += shard.lost_of_backup;
        self.backup_pending += shard.backup_pending;
        self.values_rounded += shard.values_rounded;
        self.objects_cut_early += shard.objects_cut_early;
        self.open_plans += shard.open_plans;
        self.damage.extend(shard.damage.iter().map(|damage| format!("shard `{id}`: {damage}")));
        self.disk_bytes += shard.disk_bytes;
        self.freshness_s = self.freshness_s.max(shard.freshness_s);
        self.backup_freshness_s = self.backup_freshness_s.max(shard.backup_freshness_s);
        for (outlet, settled) in shard.outlets {
            let sum = self.outlets.entry(outlet).or_default();
            sum.objects += settled.objects;
            sum.records += settled.records;
            sum.bytes += settled.bytes;
            sum.object_bytes += settled.object_bytes;
        }
        let alarm = shard.alarm.as_ref().map(|alarm| format!("shard `{id}`: {alarm}"));
        self.alarm = self.alarm.take().or(alarm);
        self.alarms.extend(shard.alarms.into_iter().map(|alarm| alarm.of_shard(&id)));
        let Status { alarm, accepted, pending, gap, lane, .. } = shard;
        let state = if known.state.is_empty() { shard.state } else { known.state.clone() };
        self.shards.insert(id, ShardStatus { state, alarm, accepted, pending, gap, lane, ..known });
    }

    /// Adds a shard that another node has.
    pub fn add_lease(&mut self, id: &str, owner: Option<String>, checkpoint: &str, is_ended: bool) {
        let state = if is_ended { "done" } else { "elsewhere" }.to_owned();
        let position = Some(checkpoint.to_owned());
        self.shards.insert(id.to_owned(), ShardStatus { state, owner, position, ..ShardStatus::default() });
    }
}

/// What an outlet has settled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settled {
    pub objects: u64,
    pub records: u64,
    pub bytes: u64,
    pub object_bytes: u64,
}

impl Settled {
    /// What each outlet has settled, by its name.
    pub(in crate::stream) fn of_all(state: &State) -> BTreeMap<String, Settled> {
        let of = |outlet: Outlet| {
            let t = state.totals[outlet as usize];
            Settled { objects: t.objects, records: t.records, bytes: t.bytes, object_bytes: t.object_bytes }
        };
        Outlet::ALL.iter().map(|&outlet| (outlet.name().to_owned(), of(outlet))).collect()
    }
}
