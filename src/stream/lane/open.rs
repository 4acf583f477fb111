//! A stream's directory, opened: its identity, its state, and the epoch that its configuration asks for.

use super::meta::{EPOCHS, Meta, mend_meta};
use super::resources::LaneResources;
use crate::config::StreamConfig;
use crate::error::{Error, Kind, Result};
use crate::fs::Fs;
use crate::journal::{self, Budget, Journal, Writer};
use crate::lane::{Lane, Start};
use crate::source::kinesis::shard::Shard;
use crate::stream::engine::home::{Bounds, Home};
use crate::stream::engine::{Engine, EngineSettings};
use crate::stream::pipeline::load::Loader;
use crate::stream::pipeline::settings::{default_live, definition, live, live_transform};
use crate::stream::plan::Entry;
use crate::stream::state_log::blobs::Blobs;
use crate::stream::state_log::log::StateLog;
use crate::stream::state_log::objects::StateObjects;
use crate::stream::state_log::plan_log::{self, PlanLog};
use crate::stream::state_log::shared_log::SharedLog;
use std::io::ErrorKind::NotFound;
use std::path::Path;
use std::sync::Arc;

/// Of each plan log file of a shard: there may be a thousand of them.
const SHARD_RESERVE_BYTES: u64 = 16 << 10;

/// A stream's state, ready to run.
pub struct Opened {
    pub engine: Engine,
    pub writer: Writer,
    pub budget: Arc<Budget>,
}

/// What a lane is opened from.
pub struct LaneToOpen<'a> {
    pub common: &'a LaneResources,
    pub dir: &'a Path,
    pub meta: &'a Meta,
    /// Without one, it goes on under the one that it had last.
    pub config: Option<&'a StreamConfig>,
}

/// Opens a stream's lane.
pub fn open(lane: &LaneToOpen) -> Result<Opened> {
    let LaneToOpen { common, dir, meta, config } = *lane;
    let shared = &common.shared;
    let incarnation = *meta.incarnation.as_bytes();
    let bounds = Bounds::default();
    let fs = shared.fs.clone();
    let journal_dir = dir.join("journal");
    refuse_without_plans(&*fs, dir)?;
    let log = PlanLog::open(fs.clone(), dir, incarnation, bounds.reserve_bytes)?;
    let budget = Budget::new("stream", disk_limit(config), Some(shared.budget.clone()));
    fs.create_dir_all(&journal_dir).map_err(|e| Error::io("create the journal's directory", e))?;
    let (floor, was_noted) = (log.state().floor(), log.was_noted());
    let (journal, writer, recovered) =
        Journal::open(fs.clone(), &journal_dir, incarnation, journal::JournalLimits::default(), budget.clone(), floor)?;
    if recovered.records_rewritten > 0 {
        tracing::info!(stream = meta.name, ?recovered, "journal recovered");
    }
    let mut engine = engine(lane, bounds, log.into(), journal, None)?;
    engine.note_damage(recovered.damage(&journal_dir));
    engine.note_damage(
        (was_noted && !recovered.is_noted).then(|| journal::missing_note(&journal_dir)).into_iter().collect(),
    );
    Ok(Opened { engine, writer, budget })
}

/// A lane has plans before its first segment and before its first epoch: without them all that it holds, or what is read for
/// it, would be delivered again.
fn refuse_without_plans(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let list = |dir: &Path| match fs.list(dir) {
        Err(e) if e.kind() == NotFound => Ok(Vec::new()),
        names => names.map_err(|e| Error::io(format!("list `{}`", dir.display()), e)),
    };
    let has_segments = list(&dir.join("journal"))?.iter().any(|name| journal::segment::number_of(name).is_some());
    let has_epochs = !list(&dir.join(EPOCHS))?.is_empty();
    if (has_segments || has_epochs) && !list(dir)?.iter().any(|name| plan_log::is_file(name)) {
        let message = format!(
            "`{}` has {} and no plan log: what was delivered is not known; put `plans.*` back, or see `hydrant repair`",
            dir.display(),
            if has_segments { "a journal" } else { "epochs" }
        );
        return Err(Error::new(Kind::Corrupt, message));
    }
    Ok(())
}

/// Where the state of a shard's lane is kept, if not beside it.
pub struct Elsewhere {
    pub log: SharedLog,
    pub objects: Arc<StateObjects>,
}

/// Opens the lane of a shard. `begin`: where to begin to read it, if it was not opened before.
pub fn open_shard(lane: &LaneToOpen, begin: Start, elsewhere: Option<Elsewhere>) -> Result<(Engine, Arc<Shard>)> {
    let LaneToOpen { common, dir, meta, .. } = *lane;
    let shared = &common.shared;
    let bounds = Bounds { reserve_bytes: SHARD_RESERVE_BYTES, ..Bounds::default() };
    let (mut log, objects): (StateLog, _) = match elsewhere {
        Some(elsewhere) => (elsewhere.log.into(), Some(elsewhere.objects)),
        None => {
            refuse_without_plans(&*shared.fs, dir)?;
            (PlanLog::open(shared.fs.clone(), dir, *meta.incarnation.as_bytes(), bounds.reserve_bytes)?.into(), None)
        }
    };
    let start = match log.state().start.clone() {
        Some(start) => start,
        None => {
            // Durable before the first record is read: a restart begins where we did.
            log.commit(vec![Entry::Start(begin.clone())])?;
            begin
        }
    };
    let shard = Shard::new(&start, log.state().floor());
    let engine = engine(lane, bounds, log, shard.clone(), objects)?;
    Ok((engine, shard))
}

/// The engine of a lane, with where its state is kept and what it reads.
fn engine(
    opened: &LaneToOpen,
    bounds: Bounds,
    log: StateLog,
    lane: Arc<dyn Lane>,
    objects: Option<Arc<StateObjects>>,
) -> Result<Engine> {
    let LaneToOpen { common, dir, meta, config } = *opened;
    let shared = &common.shared;
    let fs = shared.fs.clone();
    let memory_bytes_max = bounds.memory_bytes_max.max(shared.memory.stream_bytes());
    let bounds = Bounds { memory_bytes_max, ..bounds };
    if let Err(e) = mend_meta(&*fs, dir, meta) {
        // What can be read is enough; a full disk is no reason not to open.
        tracing::warn!(stream = meta.name, error = %e, "`META` has no copy");
    }
    let mut damage: Vec<String> = meta.damage.iter().cloned().collect();
    damage.extend_from_slice(log.damage());
    let blobs = Blobs::open(fs.clone(), dir.join(EPOCHS), objects.clone())?;
    let definition = match config {
        Some(config) => definition(config, &blobs)?,
        None => match log.state().epochs.last() {
            Some(epoch) => blobs.get(&epoch.hash)?,
            None => return Err(Error::new(Kind::Misconfigured, "it never had a configuration")),
        },
    };
    #[expect(clippy::disallowed_methods, reason = "where an engine's randomness comes from")]
    let home = Home {
        fs,
        dir: dir.to_path_buf(),
        incarnation: *meta.incarnation.as_bytes(),
        objects,
        stream: meta.name.clone(),
        clock: shared.clock.clone(),
        random: Box::new(rand::random),
        workers: shared.workers.clone(),
        memory: shared.memory.stream(),
        bounds,
    };
    let loader = Box::new(loader(common, &meta.name, config));
    let settings = EngineSettings { live: config.map_or_else(default_live, live), loader, definition };
    let mut engine = Engine::open(home, settings, log, lane)?;
    engine.note_damage(damage);
    Ok(engine)
}

/// Bytes of disk that a stream may use.
pub fn disk_limit(config: Option<&StreamConfig>) -> u64 {
    config.and_then(|c| c.disk_budget).map_or(u64::MAX, |b| b.bytes())
}

/// The loader of the routes of a stream's configuration.
pub fn loader(common: &LaneResources, stream: &str, config: Option<&StreamConfig>) -> Loader {
    let module_cache = Some(common.shared.module_cache.clone());
    Loader {
        stream: stream.to_owned(),
        live: live_transform(config),
        module_cache,
        routes: Some(common.routes.clone()),
    }
}
