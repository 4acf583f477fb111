//! How the shards of a stream stand: those that are read here, those of other nodes, and those that nobody reads although
//! plans of theirs are open, since their stream is not read any more, or was deleted or made anew.

use super::audit::{account, identity, lives, shards_of, survey_of_shard};
use super::plan::State;
use super::plan_log::recover;
use super::shards::{Lane, OpenLane, Shards};
use super::status::{Settled, ShardStatus, Status};
use crate::error::{Error, Result};
use crate::fs::Fs;
use std::collections::BTreeMap;
use std::path::Path;

/// How shards stand that nobody reads, though plans of theirs are open: by the time of creation of their stream and their ids.
pub(super) type Unread = BTreeMap<String, Status>;

/// Looks for shards that nobody reads, though plans of theirs are open, in the directory of a stream. Shards whose state is in
/// a lease table are not known here. What cannot be looked at is alarmed as one that is not read.
///
/// `is_read`: whether the stream that was made then is read now. `is_open`: whether a lane is open for a shard of another one.
pub(super) fn look(
    fs: &dyn Fs,
    dir: &Path,
    stream: &str,
    is_read: impl Fn(&str) -> bool,
    is_open: impl Fn(&str, &str) -> bool,
) -> Unread {
    let mut unread = Unread::new();
    let unknown = |e: Error| Status { alarm: Some(e.to_string()), ..Status::default() };
    for life in lives(fs, dir).unwrap_or_else(|e| {
        unread.insert("all".into(), unknown(e));
        Vec::new()
    }) {
        if is_read(&life) {
            continue;
        }
        let shards = shards_of(fs, dir, stream, &life).unwrap_or_else(|e| {
            unread.insert(life.clone(), unknown(e));
            Vec::new()
        });
        for found in shards.into_iter().filter(|found| !found.is_shared) {
            let shard = found.dir.file_name().unwrap_or_default().display().to_string();
            let status = match state(fs, &found.dir) {
                _ if is_open(&life, &shard) => continue,
                Ok(state) if state.open_plans().next().is_none() => continue,
                Ok(state) => status(stream, &state, &found.dir),
                Err(e) => unknown(e),
            };
            unread.insert(format!("{life}/{shard}"), status);
        }
    }
    unread
}

/// Adds shards that nobody reads to how their stream stands.
pub(super) fn add(unread: &Unread, status: &mut Status) {
    for (name, of_shard) in unread {
        let known = ShardStatus { state: "unread".into(), ..ShardStatus::default() };
        status.add_shard(name.clone(), of_shard.clone(), known);
    }
}

impl Shards {
    /// Adds how each shard stands, and what keeps shards from being read.
    pub(super) fn add_to(&self, status: &mut Status) {
        let alarm = self.shared.alarm.lock().expect("nobody panics holding it").clone();
        status.alarm = status.alarm.take().or(alarm);
        status.damage.extend(self.shared.damage.lock().expect("nobody panics holding it").iter().cloned());
        for (id, lane) in self.shared.lanes().iter() {
            match lane {
                Lane::Open(lane) => {
                    let known = ShardStatus {
                        owner: self.shared.worker.get().cloned(),
                        position: lane.shard.position().map(|position| position.to_string()),
                        behind_ms: lane.shard.behind_ms(),
                        ..ShardStatus::default()
                    };
                    status.add_shard(id.clone(), self.of_lane(lane), known);
                }
                Lane::Done(done) => {
                    let known = ShardStatus { state: "done".into(), ..ShardStatus::default() };
                    status.add_shard(id.clone(), (**done).clone(), known);
                }
            }
        }
        for lease in self.shared.elsewhere.lock().expect("nobody panics holding it").iter() {
            status.add_lease(&lease.shard, lease.owner.clone(), &lease.checkpoint, lease.is_ended());
        }
        add(&self.shared.unread.lock().expect("nobody panics holding it"), status);
    }

    fn of_lane(&self, lane: &OpenLane) -> Status {
        let mut status = lane.running.status();
        let waits = self.are_draining() && status.pending + status.backup_pending > 0;
        let draining = waits.then(|| {
            "what was read of it is still being delivered, and nothing more is read: if that does not end, have the \
             configuration read its stream again"
                .to_owned()
        });
        let alarms: Vec<String> = [status.alarm.take(), lane.shard.alarm(), draining].into_iter().flatten().collect();
        status.alarm = (!alarms.is_empty()).then(|| alarms.join("; "));
        status
    }
}

fn state(fs: &dyn Fs, dir: &Path) -> Result<State> {
    let Some(meta) = identity(fs, dir)? else { return Ok(State::default()) };
    Ok(recover::find(fs, dir, meta.incarnation.as_bytes())?.state)
}

fn status(stream: &str, state: &State, dir: &Path) -> Status {
    let (account, open_plans) =
        (account(stream.to_owned(), state, &survey_of_shard(state)), state.open_plans().count());
    let alarm = format!(
        "{open_plans} open plans with {} records are not delivered, since their stream is not read: have the configuration \
         read it again, or remove `{}` to give them up",
        account.pending,
        dir.display()
    );
    Status {
        alarm: Some(alarm),
        accepted: account.accepted,
        pending: account.pending,
        gap: account.gap,
        lost: account.lost,
        outlets: Settled::of_all(state),
        open_plans: open_plans as u64,
        ..Status::default()
    }
}
