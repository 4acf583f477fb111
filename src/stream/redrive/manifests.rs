//! Manifests that are loaded again: their objects under the plans that they name, or, where a table does not take some of an
//! object's records, all of these as records, so that each comes to its own end.

use super::errors::cannot_read;
use super::frames::{FrameFilling, runs};
use super::run::{PutLines, RedriveRun};
use crate::deliver::records::{self, BodyRecords};
use crate::deliver::warehouse::manifest;
use crate::deliver::{Attempt, Body, Shipment, Sink};
use crate::error::{Error, Kind, Result};
use crate::record::EntryPoint as Stage;
use crate::stream::pipeline::route::MANIFESTS;
use crate::stream::plan::Outlet;
use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

impl RedriveRun<'_> {
    /// Loads what a manifest names that was not loaded again yet.
    pub(super) fn manifest(&mut self, name: &str, mut bytes: impl Read, taken: &HashSet<u64>) -> Result<PutLines> {
        let mut text = Vec::new();
        bytes.read_to_end(&mut text).map_err(|e| cannot_read(name, e))?;
        let manifest = manifest::read(&text).map_err(|why| Error::new(Kind::Corrupt, why))?;
        let selected = self.selection.code.is_none()
            || manifest.error.as_ref().is_some_and(|(code, _)| Some(code) == self.selection.code.as_ref());
        let (mut lines, mut records, mut in_log, mut ends) = (Vec::new(), 0, Vec::new(), None);
        for (i, load) in (0..).zip(manifest.loads) {
            let of_records = self.taken_of(&load.object)?;
            // The plan log forgets what was taken of an object only when a mark says so of the whole of it.
            let was_in_log = (!of_records.is_empty()).then(|| load.object.clone());
            if taken.contains(&i) {
                self.stream.progress().before += load.outputs;
                in_log.extend(was_in_log);
                continue;
            }
            if !selected {
                self.stream.progress().not_selected += load.outputs;
                continue;
            }
            if self.selection.dry_run {
                self.loaded(load.outputs);
                continue;
            }
            let loaded = match of_records.is_empty() {
                true => self.load(&load),
                false => Ok(false),
            };
            let done = match loaded {
                Ok(true) => {
                    self.loaded(load.outputs);
                    Ok(())
                }
                Ok(false) => self.records_of(&load, &of_records).map(|()| in_log.push(load.object.clone())),
                Err(e) => Err(e),
            };
            if let Err(e) = done {
                // The journal, or the stream, takes nothing more.
                if matches!(e.kind, Kind::Poisoned | Kind::Stopping) {
                    return Err(e);
                }
                ends = self.leave(name, e).err();
                if ends.is_some() {
                    break;
                }
                continue;
            }
            self.refused = 0;
            lines.push((i, 1));
            records += load.outputs;
        }
        Ok(PutLines { lines, records: Some(records), in_log, ends })
    }

    /// Which records of an object an earlier run has put in instead of loading it.
    fn taken_of(&self, object: &str) -> Result<HashSet<u64>> {
        let object = object.to_owned();
        let takes = self.stream.ask(move |engine, _| engine.takes_of(&object))?;
        Ok(runs(&takes.taken).flat_map(|(first, count)| first..first + count).collect())
    }

    fn loaded(&self, records: u64) {
        let mut progress = self.stream.progress();
        progress.records += records;
        *progress.steps.entry(MANIFESTS.to_owned()).or_default() += records;
    }

    /// Where a manifest's object is staged: the sink that loads it, and its bytes.
    fn staged(&self, load: &manifest::Load) -> Result<(Arc<dyn Sink>, Body)> {
        // Objects are staged where the destination's settings lead; failures may be elsewhere.
        let staged = format!("s3://{}", load.bucket);
        if self.destination.split_once('+').is_none_or(|(_, store)| store != staged) {
            let message = format!("`s3://{}/{}` is not where the stream stages its objects", load.bucket, load.object);
            return Err(Error::new(Kind::Invalid, message));
        }
        let store = self.destination.clone();
        let (sink, stage) = self.stream.ask(move |_, sinks| {
            Ok::<_, Error>((sinks.sink(Outlet::Destination, &store)?, sinks.shelf(Outlet::Destination, &staged)?))
        })??;
        let body = self.fetch(&*stage, &load.object)?;
        Ok((sink, records::indexed(body).map_err(|e| cannot_read(&load.object, e))?))
    }

    /// Loads an object. `false`: nothing of it is loaded, since some of its records are not taken.
    fn load(&self, load: &manifest::Load) -> Result<bool> {
        let (sink, body) = self.staged(load)?;
        let gzip = load.content_encoding.as_deref() == Some("gzip");
        let shipment = Shipment {
            plan: 0,
            id: load.plan,
            outputs: load.outputs,
            digest: load.digest,
            name: load.object.clone(),
            planned_ms: 0,
            content_encoding: gzip.then_some("gzip"),
            body: Arc::new(body),
            only_look: false,
        };
        match sink.attempt(&shipment) {
            Attempt::Stored { .. } => Ok(true),
            Attempt::Rejected { .. } => Ok(false),
            Attempt::Refused { code, message, .. } => {
                Err(Error::new(Kind::Retry, format!("`{}`: {code}: {message}", load.object)))
            }
            other => Err(Error::new(Kind::Retry, format!("`{}`: {other:?}", load.object))),
        }
    }

    /// Puts in an object's records, each of which then ends for itself. Nobody loads it from then on.
    fn records_of(&mut self, load: &manifest::Load, taken: &HashSet<u64>) -> Result<()> {
        let (_, body) = self.staged(load)?;
        let mut records = BodyRecords::new(&body).map_err(|e| cannot_read(&load.object, e))?;
        let mut filling = FrameFilling::default();
        for number in 0.. {
            let Some((_, record)) = records.read().map_err(|e| cannot_read(&load.object, e))? else { break };
            match taken.contains(&number) {
                true => self.stream.progress().before += 1,
                false => self.add(&load.object, &mut filling, (number, Stage::Deliver, record))?,
            }
        }
        self.finish(&load.object, filling).map(drop)
    }
}
