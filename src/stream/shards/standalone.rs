//! The shards of a stream that this node reads alone: a lane is opened when those of its shard's parents are done.

use super::directories::DONE;
use super::directories::{BEGIN, OF_LIFE, of_life, shards_of};
use super::lanes::{LanePlace, ShardLane};
use super::scheduler::ShardScheduler;
use super::{Current, ENDING, RETRY, ReadingPhase, ShardSet};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::fs::{copy_of, read};
use crate::lane::Start;
use crate::source::kinesis::client::{ListedShard, StreamSummary};
use crate::source::kinesis::lease::ShardBegin;
use crate::stream::lane::meta::META;
use crate::stream::state_log::sealed;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// The file `BEGIN`: where the shards of a stream begin to be read, decided once.
#[derive(Debug, Serialize, Deserialize)]
struct BeginFile {
    arn: String,
    /// Milliseconds since the Unix epoch; `None`: at the oldest record.
    timestamp_ms: Option<u64>,
}

impl ShardScheduler {
    pub(super) fn run_alone(&mut self) {
        let mut next_list = Instant::now();
        while self.set.phase() == ReadingPhase::Reading {
            let current = self.set.current();
            let changed = self.is_changed(current.generation);
            let Some(settings) = current.config.kinesis() else { break };
            self.set.empty_broken();
            let ended = self.set.end_lanes();
            if !ended.is_empty() || changed || Instant::now() >= next_list {
                let done = self.open_lanes(&current, settings, changed);
                if done.is_ok() {
                    self.follow(current.generation);
                }
                let every = settings.shards_interval;
                // A lane that is ending makes this loop turn often: Kinesis is not asked any sooner for that.
                next_list = Instant::now() + if done.is_ok() { every } else { RETRY.min(every) };
                self.report(done);
            }
            if !self.wait(next_list) {
                return;
            }
        }
        while self.set.phase() == ReadingPhase::Draining && !self.set.are_told_to_drain() {
            self.set.drain_lanes(false);
            if !self.wait(Instant::now() + ENDING) {
                return;
            }
        }
    }

    /// Opens the lanes of shards whose parents are done.
    fn open_lanes(&mut self, current: &Current, settings: &config::Kinesis, changed: bool) -> Result<()> {
        let kinesis = self.kinesis(settings, changed)?;
        let answers = self.set.answers();
        let summary = self.ask(kinesis.summary())?;
        let listed = self.ask(kinesis.shards())?;
        self.find_consumer(&kinesis, settings, &summary);
        match self.set.created_ms() == summary.created_ms {
            true => self.set.are_seen(answers),
            false => self.set.meet(summary.created_ms),
        }
        let dir = self.set.dir.join(summary.created_ms.to_string());
        let begin = self.set.begin(&dir, settings, &summary)?;
        self.set.end_unread();
        self.set.tell_of_closed(&listed);
        let mut failed = None;
        let left = self.set.left(&dir, &listed)?;
        // First what is left of those: their children wait for them.
        for shard in left.iter().chain(&listed) {
            if self.set.phase() != ReadingPhase::Reading {
                break;
            }
            if !self.set.lanes().contains_key(&shard.id) && self.set.is_next(shard, &listed) {
                // It may be back that was another one meanwhile: two lanes never have one directory.
                self.set.end(&[of_life(&shard.id, summary.created_ms)]);
                let start = begin.timestamp_ms.map_or(Start::TrimHorizon, Start::Timestamp);
                let dir = dir.join(&shard.id);
                let noted = self.set.note_what_was_read(&dir, &shard.id, summary.created_ms);
                let place = LanePlace { id: shard.id.clone(), dir, start, elsewhere: None, new_leases: None };
                let lane = noted.and_then(|()| self.open(current, &kinesis, place));
                match lane {
                    Ok(lane) => self.set.add(&shard.id, lane),
                    // The others are read all the same.
                    Err(e) => failed = failed.or(Some(e.during(format!("shard `{}`", shard.id)))),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

impl ShardSet {
    /// Takes note of when the stream was made. One that was deleted and made again has other shards under the same names:
    /// those of before are read no more, and deliver what they hold.
    fn meet(&self, created_ms: u64) {
        let before = std::mem::replace(&mut self.seen().created_ms, created_ms);
        if before == 0 || before == created_ms {
            return;
        }
        tracing::error!(
            stream = self.name,
            made_at_ms = created_ms,
            before_ms = before,
            "another stream of Kinesis than before is read, or it was made anew: what was not read of the old one is not \
             read any more"
        );
        let mut lanes = self.lanes();
        for (id, mut lane) in std::mem::take(&mut *lanes) {
            if let ShardLane::Open(open) = &mut lane
                && !open.reader.is_finished()
            {
                open.reader.abort();
                // What it has read is known from here on.
                let _ = self.shared.runtime.block_on(&mut open.reader);
            }
            // Lanes of other streams keep their names.
            let id = if id.contains(OF_LIFE) { id } else { of_life(&id, before) };
            lanes.insert(id, lane);
        }
    }

    /// Shards that are not listed any more, though not everything of them is settled.
    fn left(&self, dir: &Path, listed: &[ListedShard]) -> Result<Vec<ListedShard>> {
        let fs = &*self.shared.fs;
        let names = fs.list(dir).map_err(|e| Error::io(format!("list `{}`", dir.display()), e))?;
        let is_there = |path: &Path| read(fs, path).is_ok() || read(fs, &copy_of(path)).is_ok();
        let is_left = |name: &String| {
            let dir = dir.join(name);
            !listed.iter().any(|l| l.id == *name) && is_there(&dir.join(META)) && !is_there(&dir.join(DONE))
        };
        let of = |id| ListedShard { id, parents: Vec::new(), hash_keys: None, is_closed: false };
        Ok(names.into_iter().filter(is_left).map(of).collect())
    }

    /// Whether a shard may be read: its parents are done, or nothing can be read of them any more.
    fn is_next(&self, shard: &ListedShard, listed: &[ListedShard]) -> bool {
        let lanes = self.lanes();
        shard.parents.iter().all(|parent| match lanes.get(parent) {
            Some(ShardLane::Open(lane)) => lane.shard.is_gone(),
            Some(ShardLane::Done(_)) => true,
            None => !listed.iter().any(|l| l.id == *parent),
        })
    }

    /// Whether a shard was opened in the directory of a life of the stream.
    fn has_read_of(&self, dir: &Path) -> Result<bool> {
        let (of_stream, life) = (self.dir.parent().unwrap_or(&self.dir), dir.file_name().unwrap_or_default());
        Ok(!shards_of(&*self.shared.fs, of_stream, &self.name, &life.to_string_lossy())?.is_empty())
    }

    /// Where reading begins, decided when a stream is first seen.
    fn begin(&self, dir: &Path, settings: &config::Kinesis, summary: &StreamSummary) -> Result<BeginFile> {
        let fs = &*self.shared.fs;
        let path = dir.join(BEGIN);
        let act = || format!("`{}`", path.display());
        if let Some(table) = self.shared_by(dir)? {
            let message = format!(
                "nodes share the shards by the lease table `{table}`, which knows what was read, and this node alone does \
                 not: found no `coordination`, expected that table; to begin anew, and have records delivered again, remove \
                 `{}`",
                dir.display()
            );
            return Err(Error::new(Kind::Misconfigured, message));
        }
        match sealed::read_and_mend(fs, &path)? {
            Some((begin, damage)) => {
                self.seen().damage.extend(damage);
                Ok(begin)
            }
            None if self.has_read_of(dir)? => {
                let message = format!(
                    "`{}` holds shards and no `{BEGIN}`, which says where shards that were not read yet begin: put it back; \
                     to begin anew, and have records delivered again, remove `{}`",
                    dir.display(),
                    dir.display()
                );
                Err(Error::new(Kind::Corrupt, message))
            }
            None => {
                // Its clock, if it says the time: records could be missed by our own.
                let now_ms = summary.now_ms.unwrap_or_else(|| self.shared.clock.wall_ms());
                let timestamp_ms = match ShardBegin::of(settings.start, now_ms) {
                    ShardBegin::TrimHorizon => None,
                    ShardBegin::Timestamp(ms) => Some(ms),
                };
                let begin = BeginFile { arn: summary.arn.clone(), timestamp_ms };
                fs.create_dir_all(dir).map_err(|e| Error::io(act(), e))?;
                sealed::write(fs, &path, &begin)?;
                Ok(begin)
            }
        }
    }
}
