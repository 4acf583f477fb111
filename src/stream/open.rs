//! A stream's directory, opened: its identity, its state, and the epoch that its configuration asks for.

use super::common::Common;
use super::engine::{Bounds, Engine, Home, floor};
use super::epoch::{Blobs, hash, hex};
use super::live::{Gate, Limits, Live};
use super::load::{LiveTransform, Loader};
use super::log::Log;
use super::objects::Objects;
use super::plan::Entry;
use super::plan_log::{self, PlanLog};
use super::sealed;
use super::shared_log::SharedLog;
use crate::config::{ContentEncoding, Destination, Format, Store, StreamConfig, Transform};
use crate::deliver::http;
use crate::deliver::retry::{Pace, Patience};
use crate::error::{Error, Kind, Result};
use crate::fs::{Fs, copy_of, read};
use crate::journal::{self, Budget, Journal, Writer};
use crate::lane::{Lane, Start};
use crate::source::kinesis::shard::Shard;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const META_FORMAT: u32 = 1;
/// Of each plan log file of a shard: there may be a thousand of them.
const SHARD_RESERVE_BYTES: u64 = 16 << 10;
/// Of a directory: what one disk does well.
const SHIPMENTS_MAX: usize = 4;
/// Of all lanes of a stream, to a store that takes any number of them.
const SHIPMENTS_OF_LANES_MAX: usize = 32;

/// The directory of what epochs refer to.
pub(super) const EPOCHS: &str = "epochs";

/// The file that says whose a directory is; see [`Meta`].
pub(super) const META: &str = "META";

/// The file `META` of a stream's directory, durable there before anything else is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    pub format: u32,
    pub name: String,
    /// Fresh each time a journal is created: a replaced disk never looks like one that was delivered.
    pub incarnation: Uuid,
    /// What was wrong with the file, if it was read from its copy.
    #[serde(skip)]
    pub damage: Option<String>,
}

/// A stream's state, ready to run.
pub struct Opened {
    pub engine: Engine,
    pub writer: Writer,
    pub budget: Arc<Budget>,
}

/// Opens the stream in `dir`; without a configuration under the one it had last.
pub fn open(common: &Common, dir: &Path, meta: &Meta, config: Option<&StreamConfig>) -> Result<Opened> {
    let shared = &common.shared;
    let incarnation = *meta.incarnation.as_bytes();
    let bounds = Bounds::default();
    let fs = shared.fs.clone();
    let journal_dir = dir.join("journal");
    refuse_without_plans(&*fs, dir)?;
    let log = PlanLog::open(fs.clone(), dir, incarnation, bounds.reserve_bytes)?;
    let budget = Budget::new("stream", disk_limit(config), Some(shared.budget.clone()));
    fs.create_dir_all(&journal_dir).map_err(|e| Error::io("create the journal's directory", e))?;
    let floor = floor(log.state());
    let (journal, writer, recovered) =
        Journal::open(fs.clone(), &journal_dir, incarnation, journal::Limits::default(), budget.clone(), floor)?;
    if recovered.records_rewritten > 0 {
        tracing::info!(stream = meta.name, ?recovered, "journal recovered");
    }
    let mut engine = engine(common, dir, meta, config, bounds, log.into(), journal, None)?;
    engine.note_damage(recovered.damage(&journal_dir));
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
    pub objects: Arc<Objects>,
}

/// Opens the lane of a shard in `dir`. `begin`: where to begin to read it, if it was not opened before.
pub fn open_shard(
    common: &Common,
    dir: &Path,
    meta: &Meta,
    config: &StreamConfig,
    begin: Start,
    elsewhere: Option<Elsewhere>,
) -> Result<(Engine, Arc<Shard>)> {
    let shared = &common.shared;
    let bounds = Bounds { reserve_bytes: SHARD_RESERVE_BYTES, ..Bounds::default() };
    let (mut log, objects): (Log, _) = match elsewhere {
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
    let shard = Shard::new(&start, floor(log.state()));
    let engine = engine(common, dir, meta, Some(config), bounds, log, shard.clone(), objects)?;
    Ok((engine, shard))
}

#[expect(clippy::too_many_arguments, reason = "all of them are what a lane is made of")]
fn engine(
    common: &Common,
    dir: &Path,
    meta: &Meta,
    config: Option<&StreamConfig>,
    bounds: Bounds,
    log: Log,
    lane: Arc<dyn Lane>,
    objects: Option<Arc<Objects>>,
) -> Result<Engine> {
    let shared = &common.shared;
    let fs = shared.fs.clone();
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
    let live = config.map_or_else(default_live, live);
    let loader = Box::new(loader(common, config));
    let mut engine = Engine::open(home, live, log, lane, loader, &definition)?;
    engine.note_damage(damage);
    Ok(engine)
}

/// Bytes of disk that a stream may use.
pub fn disk_limit(config: Option<&StreamConfig>) -> u64 {
    config.and_then(|c| c.disk_budget).map_or(u64::MAX, |b| b.bytes())
}

pub(super) fn default_live() -> Live {
    let (size, interval) = (5 << 20, Duration::from_secs(300));
    Live {
        size_bytes: size,
        interval,
        backup_size_bytes: size,
        backup_interval: interval,
        failures_with_backup: false,
        limits: Limits::NONE,
        shipments_max: [SHIPMENTS_MAX; 3],
        shipments_of_lanes_max: [SHIPMENTS_OF_LANES_MAX; 3],
        adaptive: false,
        ordered: false,
        gzip_requests: false,
        patience: None,
    }
}

/// The settings that apply at once.
pub fn live(config: &StreamConfig) -> Live {
    let backup = config.backup.as_ref().map_or(&config.buffer, |b| &b.buffer);
    let shipments = |store: Option<Store>| match store {
        Some(Store::S3(s3)) => s3.concurrency as usize,
        _ => SHIPMENTS_MAX,
    };
    let backup_store = config.backup.as_ref().and_then(|b| b.destination.store());
    let shipments_max = [config.destination.store(), config.failures(), backup_store].map(shipments);
    let mut live = Live {
        size_bytes: config.buffer.size.bytes(),
        interval: config.buffer.interval,
        backup_size_bytes: backup.size.bytes(),
        backup_interval: backup.interval,
        failures_with_backup: config.fails_into_backup(),
        shipments_max,
        shipments_of_lanes_max: shipments_max.map(|one_lane| one_lane.max(SHIPMENTS_OF_LANES_MAX)),
        ..default_live()
    };
    if let Destination::Http(http) = &config.destination {
        // For S3 the size is a hint; receivers of requests have limits of their own.
        live.limits = Limits { outputs_max: http::RECORDS_MAX, bytes_max: live.size_bytes.min(http::BYTES_MAX) };
        live.shipments_max[Gate::Destination as usize] = if http.ordered { 1 } else { http.concurrency as usize };
        // It is the receiver that is to be spared.
        live.shipments_of_lanes_max[Gate::Destination as usize] = http.concurrency as usize;
        (live.adaptive, live.ordered) = (true, http.ordered);
        live.gzip_requests = http.content_encoding == ContentEncoding::Gzip;
        let pace = Pace::Doubling { first: http.retry_first, max: http.retry_max };
        live.patience = Some(Patience { duration: http.retry_duration, pace });
    }
    if let Some(warehouse) = config.destination.warehouse() {
        // The next object is staged while the ones before it are loaded; the sink keeps the loads apart.
        live.shipments_max[Gate::Destination as usize] = warehouse.concurrency as usize + 1;
        live.shipments_of_lanes_max[Gate::Destination as usize] = warehouse.concurrency as usize + 1;
        let (duration, pace) = (warehouse.retry_duration, Pace::Every(warehouse.retry_every));
        live.patience = Some(Patience { duration, pace });
    }
    live
}

/// The loader of a configuration's routes.
pub fn loader(common: &Common, config: Option<&StreamConfig>) -> Loader {
    let module_cache = Some(common.shared.module_cache.clone());
    Loader { live: live_transform(config), module_cache, common: Some(common.clone()) }
}

/// What applies at once of a configuration's transform.
pub fn live_transform(config: Option<&StreamConfig>) -> LiveTransform {
    let live = config.and_then(|c| c.transform.first()).map(|step| {
        let Transform::Wasm(wasm) = step;
        LiveTransform {
            timeout: wasm.limits.timeout,
            timeout_per_record: wasm.limits.timeout_per_record,
            retries: wasm.retries,
            log_lines: wasm.limits.log_lines as usize,
            metric_names: wasm.limits.metric_names as usize,
        }
    });
    live.unwrap_or_default()
}

/// The definition of the epoch that a configuration asks for, its files kept beside it. A new version of the program is
/// a new epoch, since it may do the same thing differently.
pub fn definition(config: &StreamConfig, blobs: &Blobs) -> Result<Vec<u8>> {
    let mut hashes: BTreeMap<PathBuf, String> = BTreeMap::new();
    for Transform::Wasm(wasm) in &config.transform {
        let bytes = std::fs::read(&wasm.module)
            .map_err(|e| Error::new(Kind::Misconfigured, format!("module `{}`: {e}", wasm.module.display())))?;
        let found = hex(&hash(&bytes));
        if let Some(pin) = wasm.sha256.as_ref().filter(|pin| !pin.eq_ignore_ascii_case(&found)) {
            let message = format!("module `{}`: SHA-256 is {found}, expected {pin}", wasm.module.display());
            return Err(Error::new(Kind::Misconfigured, message));
        }
        hashes.insert(wasm.module.clone(), hex(&blobs.put(&bytes)?));
    }
    if let Format::Parquet(parquet) = &config.format {
        let columns = crate::config::load_columns(&parquet.schema)
            .map_err(|e| Error::new(Kind::Misconfigured, format!("schema: {e}")))?;
        let columns: Vec<(&str, &str)> = columns.iter().map(|c| (&*c.name, &*c.type_text)).collect();
        let bytes = serde_json::to_vec(&columns).expect("texts always serialise into memory");
        hashes.insert(parquet.schema.clone(), hex(&blobs.put(&bytes)?));
    }
    let mut part = config.epoch_part(&|path| hashes.get(path).cloned().unwrap_or_default());
    part["hydrant"] = env!("CARGO_PKG_VERSION").into();
    Ok(part.to_string().into_bytes())
}

/// The stream's `META`, made if the directory is new: with a `name` for it, and nothing in it that a stream wrote.
pub fn read_or_make_meta(fs: &dyn Fs, dir: &Path, name: Option<&str>) -> Result<Meta> {
    let path = dir.join(META);
    if let Some((meta, damage)) = sealed::read::<Meta>(fs, &path)? {
        if meta.format != META_FORMAT {
            let message = format!("read `{}`: format {}, expected {META_FORMAT}", path.display(), meta.format);
            return Err(Error::new(Kind::Invalid, message));
        }
        return Ok(Meta { damage, ..meta });
    }
    if is_used(fs, dir)? {
        let message = format!("`{}` holds a stream's files and no `META` that says whose", dir.display());
        return Err(Error::new(Kind::Corrupt, message));
    }
    let Some(name) = name else { return Err(Error::io(format!("read `{}`", path.display()), NotFound.into())) };
    let meta = Meta { format: META_FORMAT, name: name.to_owned(), incarnation: Uuid::new_v4(), damage: None };
    sealed::write(fs, &path, &meta)?;
    Ok(meta)
}

/// Whether a directory holds what only a stream writes, which has a `META` before.
pub fn is_used(fs: &dyn Fs, dir: &Path) -> Result<bool> {
    let names = fs.list(dir).map_err(|e| Error::io(format!("list `{}`", dir.display()), e))?;
    Ok(names.iter().any(|name| plan_log::is_file(name) || ["journal", "ledger", EPOCHS].contains(&&**name)))
}

/// Writes a `META` again of which the file or its copy was damaged or is not there.
fn mend_meta(fs: &dyn Fs, dir: &Path, meta: &Meta) -> Result<()> {
    let path = dir.join(META);
    let stands = |path: &Path| read(fs, path).is_ok_and(|bytes| sealed::parse::<Meta>(&bytes).is_ok());
    match stands(&path) && stands(&copy_of(&path)) {
        true => Ok(()),
        false => sealed::write(fs, &path, meta),
    }
}
