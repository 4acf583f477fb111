//! Shards that nobody reads although plans of theirs are open, since their stream is not read any more, or was deleted or made
//! anew.

use super::audit::{account, survey_of_shard};
use super::lane::meta::identity;
use super::lane::status::{Settled, ShardStatus, Status};
use super::plan::Track;
use super::plan::state::State;
use super::shards::Shards;
use super::shards::directories::{lives, of_life, shards_of};
use super::shards::status::ReadShards;
use super::state_log::plan_log::recover;
use crate::alarm::{Alarm, AlarmKind};
use crate::error::{Error, Result};
use crate::fs::Fs;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two looks at shards that nobody reads: somebody may have removed them.
const LOOKS_APART: Duration = Duration::from_secs(10);

/// Shards that nobody reads although they hold what is not delivered.
#[derive(Default)]
pub(super) struct Unread {
    /// How they stand, by the time of creation of their stream and their ids.
    shards: BTreeMap<String, Status>,
    /// What was read when they were last looked for, and when that was.
    looked: Option<(Option<ReadShards>, Instant)>,
}

impl Unread {
    /// Looks for them again if there may be others than the last time. `shards`: those that are read.
    pub(super) fn look(&mut self, fs: &dyn Fs, dir: &Path, stream: &str, shards: Option<&Shards>) {
        let reading = match shards.map(Shards::reading) {
            None => None,
            Some(Some(reading)) => Some(reading),
            // It will be known soon, or why not.
            Some(None) => return,
        };
        let is_known = self.looked.as_ref().is_some_and(|(before, when)| {
            *before == reading && (self.shards.is_empty() || when.elapsed() < LOOKS_APART)
        });
        if is_known {
            return;
        }
        let created_ms = reading.as_ref().and_then(|reading| reading.created_ms);
        let is_read = |life: &str| created_ms.is_some_and(|ms| life == ms.to_string());
        let is_open = |life: &str, shard: &str| {
            let of_life = of_life(shard, life.parse().unwrap_or_default());
            reading.as_ref().is_some_and(|reading| reading.open.contains(&of_life))
        };
        // Nobody should be told to remove what is opened as soon as Kinesis answers.
        let is_awaited = created_ms.is_none() && shards.is_some_and(|shards| !shards.are_draining());
        self.shards = look((fs, dir, stream), is_awaited, is_read, is_open);
        self.looked = Some((reading, Instant::now()));
    }

    /// Adds them to how their stream stands.
    pub(super) fn add_to(&self, status: &mut Status) {
        for (name, of_shard) in &self.shards {
            let known = ShardStatus { state: "unread".into(), ..ShardStatus::default() };
            status.add_shard(name.clone(), of_shard.clone(), known);
        }
    }
}

/// Looks for shards that nobody reads, though plans of theirs are open, in the directory of a stream. Shards whose state is in
/// a lease table are not known here. What cannot be looked at is alarmed as one that is not read.
///
/// `is_awaited`: they are read when Kinesis answers. `is_read`: whether the stream that was made then is read now. `is_open`: whether a lane is open for a shard of another one.
fn look(
    (fs, dir, stream): (&dyn Fs, &Path, &str),
    is_awaited: bool,
    is_read: impl Fn(&str) -> bool,
    is_open: impl Fn(&str, &str) -> bool,
) -> BTreeMap<String, Status> {
    let mut unread = BTreeMap::new();
    let unknown = |e: Error| Status::default().with(Alarm::new(AlarmKind::ShardNotRead, e.to_string()));
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
                Ok(state) if state.open_plans().next().is_none() && backup_pending(&state) == 0 => continue,
                Ok(state) => status(stream, &state, &found.dir, is_awaited),
                Err(e) => unknown(e),
            };
            unread.insert(format!("{life}/{shard}"), status);
        }
    }
    unread
}

fn state(fs: &dyn Fs, dir: &Path) -> Result<State> {
    let Some(meta) = identity(fs, dir)? else { return Ok(State::default()) };
    Ok(recover::find(fs, dir, meta.incarnation.as_bytes())?.state)
}

/// Records that were read and are in no settled plan of the backup.
fn backup_pending(state: &State) -> u64 {
    let low = state.low[Track::Backup as usize];
    let settled = state.plans.values().filter(|plan| plan.outlet.track() == Track::Backup && !plan.is_open());
    let settled =
        settled.flat_map(|plan| plan.list.items()).map(|item| item.end().saturating_sub(item.offset().max(low)));
    let end = if state.backup_from.is_some() { state.floor() } else { low };
    end.saturating_sub(low).saturating_sub(settled.sum())
}

fn status(stream: &str, state: &State, dir: &Path, is_awaited: bool) -> Status {
    let (account, backup_pending) = (account(stream.to_owned(), state, &survey_of_shard(state)), backup_pending(state));
    let backup = if backup_pending > 0 { format!(", and {backup_pending} are not backed up") } else { String::new() };
    let waits_for = match is_awaited {
        true => "they are when its stream can be read; if it was deleted for good, take it out of the configuration"
            .to_owned(),
        false => format!(
            "since their stream is not read: have the configuration read it again, or remove `{}` to give them up",
            dir.display()
        ),
    };
    let detail = format!("{} records that were read are not delivered{backup}, {waits_for}", account.pending);
    let status = Status {
        accepted: account.accepted,
        pending: account.pending,
        gap: account.gap,
        lost: account.lost,
        backup_pending,
        outlets: Settled::of_all(state),
        open_plans: state.open_plans().count() as u64,
        ..Status::default()
    };
    status.with(Alarm::new(AlarmKind::ShardNotRead, detail))
}
