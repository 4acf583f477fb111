//! The shards of a stream that several nodes read: this node's lanes follow from its leases.

use super::coordinator::Coordinator;
use super::directories::{BEGIN, SHARED};
use super::lanes::{LanePlace, ShardLane};
use super::scheduler::ShardScheduler;
use super::{Current, RETRY, ReadingPhase, ShardSet};
use crate::error::{Error, Kind, Result};
use crate::fs::{copy_of, read, write_atomically};
use crate::source::kinesis::client::{KinesisClient, ListedShard};
use crate::source::kinesis::lease::{Lease, ShardBegin};
use std::path::Path;
use std::time::{Duration, Instant};

/// While lanes deliver what they hold, to end.
const DRAIN_LOOKS_APART: Duration = Duration::from_millis(200);

/// The stream of Kinesis as it was last looked at.
#[derive(Default)]
struct SeenShards {
    shards: Vec<ListedShard>,
    /// When that was, by its own clock if it says the time; in milliseconds since the Unix epoch.
    now_ms: u64,
}

impl ShardSet {
    /// The lease table by which nodes share, or have shared, the shards in the directory of a life of the stream.
    pub(super) fn shared_by(&self, dir: &Path) -> Result<Option<String>> {
        let path = dir.join(SHARED);
        match read(&*self.shared.fs, &path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("`{}`", path.display()), e)),
        }
    }

    /// Whether a table has been in use here, for any life of the stream.
    fn was_shared_by(&self, table: &str) -> Result<bool> {
        let lives = match self.shared.fs.list(&self.dir) {
            Ok(lives) => lives,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io(format!("list `{}`", self.dir.display()), e)),
        };
        lives
            .iter()
            .try_fold(false, |was, life| Ok(was || self.shared_by(&self.dir.join(life))?.as_deref() == Some(table)))
    }

    /// Takes note, for good, that the shards in `dir` are shared by a table: what was read is known there and nowhere else.
    fn note_table(&self, dir: &Path, table: &str) -> Result<()> {
        let known = self.shared_by(dir)?;
        if known.as_deref() == Some(table) {
            return Ok(());
        }
        let fs = &*self.shared.fs;
        let dir_name = dir.display();
        let wrong = |message| Err(Error::new(Kind::Misconfigured, message));
        if let Some(known) = known {
            return wrong(format!(
                "the lease table `{known}` knows what was read of the shards: found the table `{table}`, expected that one; \
                 to begin anew, and have records delivered again, remove `{dir_name}`"
            ));
        }
        if [dir.join(BEGIN), copy_of(&dir.join(BEGIN))].iter().any(|path| read(fs, path).is_ok()) {
            return wrong(format!(
                "`{dir_name}` has what this node knows of the shards from when it read them alone, and nodes that share them \
                 would read everything again: without `coordination`, have it deliver what it has read, and stop it; give \
                 the leases of the table `{table}` the positions that `hydrant status` has shown; then remove `{dir_name}`"
            ));
        }
        let during = |e| Error::io(format!("`{dir_name}`"), e);
        fs.create_dir_all(dir).map_err(during)?;
        write_atomically(fs, &dir.join(SHARED), table.as_bytes()).map_err(during)
    }

    /// Ends lanes whose leases are not ours any more.
    fn drop_lost(&self, sharing: &mut Coordinator) {
        let lost = sharing.take_lost();
        // As the library calls them.
        let labels = [("DeliveryStreamName", self.name.clone())];
        metrics::counter!("hydrant_LostLeases", &labels).increment(lost.len() as u64);
        metrics::gauge!("hydrant_CurrentLeases", &labels).set(sharing.held() as f64);
        for shard in &lost {
            tracing::warn!(stream = self.name, shard, "the lease was lost: another node reads the shard");
        }
        self.end(&lost);
    }

    /// Lets go of lanes that ended by an error, or because another node has them: they are opened again if their leases are
    /// ours. Whether there were any.
    fn drop_broken(&self) -> bool {
        let is_broken = |lane: &ShardLane| matches!(lane, ShardLane::Open(lane) if lane.running.has_ended());
        let broken: Vec<String> =
            self.lanes().iter().filter(|(_, lane)| is_broken(lane)).map(|(id, _)| id.clone()).collect();
        self.end(&broken);
        !broken.is_empty()
    }

    /// Gives up the leases of lanes that have delivered what they held, and those whose lanes were not opened yet.
    fn release_drained(&self, sharing: &mut Coordinator) {
        let is_at_work = |lane: &ShardLane| matches!(lane, ShardLane::Open(lane) if !lane.running.has_ended());
        let at_work: Vec<String> =
            self.lanes().iter().filter(|(_, lane)| is_at_work(lane)).map(|(shard, _)| shard.clone()).collect();
        sharing.release_all_but(&at_work);
    }
}

impl ShardScheduler {
    /// Looks after leases and their lanes until it is told to stop. Leases are renewed whatever else happens.
    pub(super) fn run_shared(&mut self) {
        let mut sharing = loop {
            match self.connect_sharing() {
                Ok(sharing) => break sharing,
                Err(e) => self.report(Err(e)),
            }
            if !self.wait(Instant::now() + RETRY) || self.set.phase() == ReadingPhase::Stopped {
                return;
            }
        };
        self.set.seen().worker = Some(sharing.worker().to_owned());
        let mut seen = SeenShards::default();
        let (mut next_look, mut next_list) = (Instant::now(), Instant::now());
        while self.set.phase() != ReadingPhase::Stopped {
            let ended = self.set.end_lanes();
            ended.iter().for_each(|shard| sharing.release(shard));
            self.set.drop_lost(&mut sharing);
            if self.set.phase() == ReadingPhase::Draining {
                self.set.drain_lanes(true);
                self.set.release_drained(&mut sharing);
                next_look = Instant::now() + DRAIN_LOOKS_APART;
            } else if self.set.drop_broken()
                || !ended.is_empty()
                || self.is_changed(self.set.generation())
                || Instant::now() >= next_look
            {
                next_look = Instant::now() + sharing.looks_apart();
                let due = !ended.is_empty() || Instant::now() >= next_list;
                let done = self.share(&mut sharing, &mut seen, due);
                if due {
                    let every = self.set.current().config.kinesis().map_or(RETRY, |settings| settings.shards_interval);
                    next_list = Instant::now() + if done.is_ok() { every } else { RETRY.min(every) };
                }
                self.report(done);
            }
            if !self.wait(next_look) {
                break;
            }
        }
        self.set.end_all();
        sharing.release_all_but(&[]);
    }

    fn connect_sharing(&self) -> Result<Coordinator> {
        let Current { config, common, .. } = self.set.current();
        Coordinator::connect(&common, &self.set.name, &config, &self.wake)
    }

    /// Looks which shards there are, of which life of their stream, and makes leases of those that have none.
    fn look_at_shards(
        &self,
        sharing: &mut Coordinator,
        seen: &mut SeenShards,
        leases: &[Lease],
        kinesis: &KinesisClient,
    ) -> Result<()> {
        let current = self.set.current();
        let Some(settings) = current.config.kinesis() else { return Ok(()) };
        let answers = self.set.answers();
        let summary = self.ask(kinesis.summary())?;
        let now_ms = summary.now_ms.unwrap_or_else(|| self.set.shared.clock.wall_ms());
        *seen = SeenShards { shards: self.ask(kinesis.shards())?, now_ms };
        self.find_consumer(kinesis, settings, &summary);
        if let Err(e) = sharing.belong(leases, &summary) {
            self.set.seen().created_ms = 0;
            // The lanes are not of what is read there now.
            self.set.end_all();
            sharing.release_all_but(&[]);
            return Err(e);
        }
        self.set.are_seen(answers);
        self.set.note_table(&self.set.dir.join(summary.created_ms.to_string()), sharing.table())?;
        sharing.make(leases, &seen.shards, &summary, || ShardBegin::of(settings.start, seen.now_ms))?;
        self.set.seen().created_ms = summary.created_ms;
        self.set.tell_of_closed(&seen.shards);
        Ok(())
    }

    /// Makes leases of new shards if they are `due` to be looked for, takes what is due to this node, and opens their lanes.
    fn share(&mut self, sharing: &mut Coordinator, seen: &mut SeenShards, due: bool) -> Result<()> {
        let current = self.set.current();
        let changed = self.is_changed(current.generation);
        let Some(settings) = current.config.kinesis() else { return Ok(()) };
        let kinesis = self.kinesis(settings, changed)?;
        if changed {
            sharing.reconnect(&current.common, &self.set.name, &current.config, settings)?;
            self.follow(current.generation);
        }
        // It may be another stream now.
        let due = due || changed;
        let known_in = self.set.was_shared_by(sharing.table())?.then_some(&*self.set.dir);
        let mut leases = sharing.look(known_in)?;
        // Which life of the stream the leases are of has been looked at before anything is opened.
        if due || self.set.created_ms() == 0 {
            self.look_at_shards(sharing, seen, &leases, &kinesis)?;
            leases = sharing.look(Some(&self.set.dir))?;
        }
        let (ours, mut failed) = sharing.take(&leases, &seen.shards);
        let elsewhere = leases.iter().filter(|l| !ours.contains(&l.shard) && !self.set.lanes().contains_key(&l.shard));
        let elsewhere: Vec<Lease> = elsewhere.cloned().collect();
        self.set.seen().elsewhere = elsewhere;
        let created_ms = self.set.created_ms();
        let dir = self.set.dir.join(created_ms.to_string());
        self.set.end_unread();
        for lease in leases.iter().filter(|l| ours.contains(&l.shard)) {
            if self.set.phase() != ReadingPhase::Reading {
                break;
            }
            if matches!(self.set.lanes().get(&lease.shard), Some(ShardLane::Open(_))) {
                continue;
            }
            let opened = sharing.elsewhere(&lease.shard, created_ms).and_then(|(elsewhere, lease, name)| {
                let start = lease.start(|| ShardBegin::of(settings.start, seen.now_ms));
                let new_leases = Some(sharing.new_leases(&leases));
                let place = LanePlace {
                    id: lease.shard.clone(),
                    dir: dir.join(name),
                    start,
                    elsewhere: Some(elsewhere),
                    new_leases,
                };
                self.open(&current, &kinesis, place)
            });
            sharing.opened(&lease.shard, opened.as_ref().err());
            match opened {
                Ok(lane) => self.set.add(&lease.shard, lane),
                // The others are read all the same.
                Err(e) => failed = failed.or(Some(e.during(format!("shard `{}`", lease.shard)))),
            }
        }
        // What is left to others and nobody has taken is read by nobody.
        failed.or_else(|| sharing.left_unread(&leases)).map_or(Ok(()), Err)
    }
}
