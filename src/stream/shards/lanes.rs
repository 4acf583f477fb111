//! The lanes of shards that are read here: opened, and ended when their shard is read to its end and settled.

use super::directories::DONE;
use super::passed::passed;
use super::scheduler::ShardScheduler;
use super::{Current, ShardSet};
use crate::error::{Error, Result};
use crate::lane::Start;
use crate::source::kinesis::client::KinesisClient;
use crate::source::kinesis::leases::NewLeases;
use crate::source::kinesis::reader::ShardReader;
use crate::source::kinesis::shard::Shard;
use crate::stream::lane::handle::LaneHandle;
use crate::stream::lane::meta::read_or_make_meta;
use crate::stream::lane::open::{Elsewhere, LaneToOpen, open_shard};
use crate::stream::lane::reached::ReachedBy;
use crate::stream::lane::sinks::Sinks;
use crate::stream::lane::status::Status;
use crate::stream::state_log::sealed;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

/// The lane of a shard that is read here.
pub(super) enum ShardLane {
    Open(Box<OpenLane>),
    /// Read to its end and settled: how it stood then.
    Done(Box<Status>),
}

/// A lane, and who reads for it.
pub(super) struct OpenLane {
    pub(super) running: LaneHandle,
    pub(super) shard: Arc<Shard>,
    pub(super) reader: tokio::task::JoinHandle<()>,
    pub(super) dir: PathBuf,
    /// Of the stream that it reads.
    pub(super) created_ms: u64,
    /// The configuration that it was opened with.
    pub(super) generation: u64,
    /// It was told to deliver what it holds, and reads nothing more.
    pub(super) is_draining: bool,
    /// Whether its stream was paused when it was opened, and whether it was itself before that.
    paused: bool,
    was_paused: bool,
}

impl OpenLane {
    /// Has it follow what was said of its stream while it was opened. Where shards are shared only its own pause is taken back:
    /// another one may have been said elsewhere.
    pub(super) fn follow(&self, paused: bool, is_shared: bool) -> Result<()> {
        let is_followed = paused == self.paused || !paused && is_shared && self.was_paused;
        if is_followed { Ok(()) } else { self.running.ask(move |engine, _| engine.pause(paused))? }
    }

    /// Has it end; it is waited for when it is dropped.
    pub(super) fn end(&self) {
        self.shard.close();
        self.reader.abort();
        self.running.tell_to_stop();
    }
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        self.end();
        self.running.stop();
    }
}

/// What a lane is opened from.
pub(super) struct LanePlace {
    /// The shard's id.
    pub(super) id: String,
    pub(super) dir: PathBuf,
    /// Where it begins, if it was not opened before.
    pub(super) start: Start,
    /// Its state, if that is not in `dir`.
    pub(super) elsewhere: Option<Elsewhere>,
    /// Where the leases of its children are made, if its state is in one.
    pub(super) new_leases: Option<NewLeases>,
}

impl ShardSet {
    /// Ends lanes that were read to the end of their shard and are settled. Which.
    pub(super) fn end_lanes(&self) -> Vec<String> {
        let is_shared = self.is_shared();
        let mut lanes = self.lanes();
        let mut done = Vec::new();
        for (id, lane) in lanes.iter() {
            let ShardLane::Open(lane) = lane else { continue };
            if !lane.shard.is_at_end() {
                continue;
            }
            // Its children wait: what is in buffers becomes objects at once.
            let is_done = lane
                .running
                .ask(|engine, _| engine.flush().map(|_| matches!(engine.state().start, Some(Start::End { .. }))));
            if matches!(is_done, Ok(Ok(true))) {
                let mut status = lane.running.status();
                // Where lanes are shared, their leases say so.
                let noted = match is_shared {
                    true => Ok(()),
                    false => sealed::write(&*self.shared.fs, &lane.dir.join(DONE), &status),
                };
                // What this life may have lost.
                lane.shard.alarms().into_iter().for_each(|alarm| status.raise(alarm));
                match noted {
                    Ok(()) => done.push((id.clone(), status)),
                    Err(e) => {
                        tracing::warn!(stream = self.name, shard = id, error = %e, "the note that the shard is done cannot be written")
                    }
                }
            }
        }
        let ended = done.iter().map(|(id, _)| id.clone()).collect();
        for (id, status) in done {
            tracing::info!(stream = self.name, shard = id, "the shard was read to its end, and everything is settled");
            lanes.insert(id, ShardLane::Done(Box::new(status)));
        }
        ended
    }
}

impl ShardScheduler {
    /// Opens the lane of a shard, and begins to read it.
    pub(super) fn open(&self, current: &Current, kinesis: &KinesisClient, place: LanePlace) -> Result<ShardLane> {
        let (set, shared, Current { generation, config, common }) = (&self.set, &self.set.shared, current);
        let LanePlace { id, dir, start: begin, elsewhere, new_leases } = place;
        shared.fs.create_dir_all(&dir).map_err(|e| Error::io(format!("`{}`", dir.display()), e))?;
        if elsewhere.is_none()
            && let Some((mut status, damage)) = sealed::read_and_mend::<Box<Status>>(&*shared.fs, &dir.join(DONE))?
        {
            status.damage.extend(damage);
            return Ok(ShardLane::Done(status));
        }
        let meta = read_or_make_meta(&*shared.fs, &dir, Some(&set.name))?;
        let lane = LaneToOpen { common, dir: &dir, meta: &meta, config: Some(config) };
        let (mut engine, shard) = open_shard(&lane, begin, elsewhere)?;
        shard.hold_at_most(self.room.part_bytes_max());
        // Of a lane that others run, too, it may have been said elsewhere.
        let (paused, was_paused) = (set.paused.load(Ordering::Relaxed), engine.state().paused);
        if paused || !set.is_shared() {
            engine.pause(paused)?;
        }
        let state = engine.state();
        let start = state.start.clone().expect("it is persisted before the lane is opened");
        let bound = state.plans.values().any(|p| p.list.end() > state.low[p.outlet.track() as usize]);
        let name = format!("{}/{id}", set.name);
        let mut sinks = Sinks::new(common, &set.name);
        // Of a lane that others run, too, nothing here is known to be the last word.
        if !set.is_shared() {
            engine.note_damage(sinks.remember(&dir, &engine.open_stores(), ReachedBy::Shard).into_iter().collect());
        }
        // What can fail comes first: nobody would end a lane that runs.
        let (passed, damage) = passed(&*shared.fs, &dir)?.unzip();
        engine.note_damage(damage.flatten().into_iter().collect());
        let running = LaneHandle::start(shared, &name, (engine, sinks), &set.retired, set.pool()?.threads());
        let created_ms = set.created_ms();
        let tell = teller(running.teller(), shard.clone(), self.wake.clone());
        let reader = ShardReader {
            kinesis: kinesis.clone(),
            stream: set.name.clone(),
            id: id.clone(),
            shard: shard.clone(),
            created_ms,
            start,
            bound,
            consumer: self.consumer.clone(),
            room: self.room.clone(),
            up_to_date: None,
            put_off: None,
            passed,
            new_leases,
            tell,
        };
        let reader = shared.runtime.spawn(reader.run());
        tracing::info!(stream = set.name, shard = id, "the shard is read");
        Ok(ShardLane::Open(Box::new(OpenLane {
            running,
            shard,
            reader,
            dir,
            created_ms,
            generation: *generation,
            is_draining: false,
            paused,
            was_paused,
        })))
    }
}

/// Tells a lane of records, and who opens lanes of the shard's end.
fn teller(tell: impl Fn() + Send + Sync + 'static, shard: Arc<Shard>, wake: Sender<()>) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        tell();
        if shard.is_at_end() {
            let _ = wake.send(());
        }
    })
}
