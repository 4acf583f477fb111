//! `redrive`: failed records are put in again where they failed, each once.
//!
//! Their objects stay as they are. What was taken of one is in the plan log, frame by frame (see `take`), until a mark
//! beside the failures, `_hydrant/redriven/STREAM/OBJECT/…`, says it for good; a second run reads both. Objects may be
//! ours or AWS's: every line says at which step its record failed. Manifests are loaded again under the plans they name.

pub mod backed_up;
mod backup;
mod errors;
mod frames;
mod manifests;
pub mod marks;
pub mod progress;
mod records;
mod run;

use self::backed_up::BACKUP;
use self::progress::{RedriveProgress, Selection};
use self::run::RedriveRun;
use crate::error::{Error, Kind, Result};
use crate::partition::object_name::is_object_of;
use crate::stream::pipeline::route::MANIFESTS;
use crate::stream::plan::Outlet;
use crate::stream::supervise::Stream;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Stream {
    /// Begins to put failed records in again. One run at a time.
    pub fn redrive(self: &Arc<Self>, selection: Selection) -> Result<()> {
        let mut progress = self.progress();
        if progress.running {
            return Err(Error::new(Kind::Invalid, format!("a redrive of stream `{}` is under way", self.name)));
        }
        *progress = RedriveProgress { running: true, ..RedriveProgress::default() };
        drop(progress);
        let stream = self.clone();
        let thread = std::thread::Builder::new().name(format!("redrive {}", self.name));
        let thread = thread.spawn(move || {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&stream, selection)));
            let done = done.unwrap_or_else(|_| Err(Error::new(Kind::Bug, "the redrive panicked (see the log)")));
            let mut progress = stream.progress();
            (progress.running, progress.ended) = (false, done.is_ok());
            progress.error = done.err().map(|e| e.to_string());
        });
        thread.map(drop).map_err(|e| Error::io("start a thread", e))
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, RedriveProgress> {
        self.redrive.lock().expect("nobody panics holding it")
    }

    /// How the last run stands. Blocks.
    pub fn redrive_progress(&self) -> Result<RedriveProgress> {
        let (became, pending) = self.ask(|engine, _| engine.redriven())?;
        Ok(RedriveProgress { became, pending, ..self.progress().clone() })
    }
}

fn run(stream: &Stream, selection: Selection) -> Result<()> {
    if stream.is_broken() {
        // A frame that could not be written may be found in the journal when it is opened again.
        let message = format!("stream `{}` is to be opened again: repeat this when it is", stream.name);
        return Err(Error::new(Kind::Stopping, message));
    }
    let begun = stream.ask(|engine, _| {
        engine.begin_redrive()?;
        let (route, scratch) = engine.places()?;
        Ok::<_, Error>((route, scratch, engine.journal_end()))
    })?;
    let (route, scratch, behind) = begun?;
    let (places, of_backup) = (route.failure_places(), route.backup.as_ref().map(|b| b.prefix.beginning("")));
    let known: Vec<&str> = places.iter().map(|(kind, _)| *kind).chain(of_backup.is_some().then_some(BACKUP)).collect();
    if let Some(kind) = selection.kind.as_deref().filter(|kind| !known.contains(kind)) {
        let message = format!("found the kind `{kind}`, expected one of {}", known.join(", "));
        return Err(Error::new(Kind::Invalid, message));
    }
    let wants_backup = selection.kind.as_deref() == Some(BACKUP);
    let is_of_records = selection.code.is_some() || selection.from_ms.is_some() || selection.to_ms.is_some();
    let refused = match () {
        () if wants_backup && is_of_records => Some("a backup tells of its records neither code nor arrival"),
        () if !wants_backup && selection.prefix.is_some() && selection.prefix == of_backup => {
            Some("this is the backup: its objects are put in again with the kind `backup`")
        }
        () => None,
    };
    if let Some(message) = refused {
        return Err(Error::new(Kind::Invalid, message));
    }
    let outlet = if wants_backup { Outlet::Backup } else { Outlet::ProcessingFailed };
    let (store, destination) = (route.store(outlet).to_string(), route.store.to_string());
    let of = store.clone();
    let shelf = stream.ask(move |_, sinks| sinks.shelf(outlet, &of))??;
    let lines = BTreeMap::new();
    let mut run = RedriveRun { stream, selection, shelf, scratch, destination, lines, refused: 0, told: None, behind };
    let mut names = BTreeSet::new();
    let chosen = |kind: &str| run.selection.kind.as_deref().is_none_or(|wanted| wanted == kind);
    match &run.selection.prefix {
        prefix if wants_backup => {
            let found = run.list(prefix.as_deref().or(of_backup.as_deref()).unwrap_or_default())?;
            run.lines = run.lines_of_backup(&store)?;
            names.extend(found.into_iter().filter(|name| run.lines.contains_key(name)));
        }
        Some(prefix) => names.extend(run.list(prefix)?),
        None => {
            for (kind, begins) in places.iter().filter(|(kind, _)| chosen(kind)) {
                let found = run.list(begins)?;
                // Streams may share a place for their failures.
                names.extend(found.into_iter().filter(|name| is_object_of(name, &stream.name, *kind != MANIFESTS)));
            }
        }
    }
    names.retain(|name| !name.starts_with("_hydrant/") && !name.starts_with("_ledger/"));
    stream.progress().objects = names.len() as u64;
    for name in names {
        match run.object(&name) {
            // It cannot be read. What was put in of its records is in the plan log.
            Err(e) if matches!(e.kind, Kind::Corrupt | Kind::Misconfigured) => run.leave(&name, e)?,
            done => done?,
        }
        stream.progress().objects_done += 1;
    }
    Ok(())
}
