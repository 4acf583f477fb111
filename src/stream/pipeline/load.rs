//! From an epoch's definition on disk to the route it describes. The definition is canonical JSON (see
//! [`Definition`]); files it needs are named by hash and kept beside it.

use super::columns;
use super::known::Known;
use super::route::{BackupRoute, FailureRoute, Route};
use crate::compress::Compression;
use crate::config::Wasi;
use crate::config::definition::{CompressDefinition, Definition, FailuresDefinition, StepDefinition};
use crate::destination::{DestinationKind, Payload, StoreName};
use crate::error::{Error, Kind, Result};
use crate::partition::prefix::{Prefix, PrefixError, PrefixKind};
use crate::stream::state_log::blobs::{Blobs, hash, unhex};
use crate::transform::RecordTransform;
use crate::transform::wasm::{Module, Settings, WasmTransform};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where Firehose leaves the manifests of what a warehouse did not take (docs/firehose.md: "Redshift").
const MANIFESTS_PLACE: &str = "errors/manifests/";

/// Builds a route from an epoch's definition.
pub trait Routes: Send {
    fn load(&self, definition: &[u8], blobs: &Blobs) -> Result<Arc<Route>>;
}

/// Loads routes; what is live of a transform (time-outs, retries) is not in definitions and comes from here.
pub struct Loader {
    /// The stream's name.
    pub stream: String,
    pub live: LiveTransform,
    /// Compiled modules are cached here, if anywhere.
    pub module_cache: Option<PathBuf>,
    /// Where other lanes of the stream find what is loaded, if there are any.
    pub routes: Option<Known<[u8; 32], Route>>,
}

/// The live settings of a transform.
#[derive(Clone, Debug)]
pub struct LiveTransform {
    pub timeout: Duration,
    pub timeout_per_record: Duration,
    pub retries: u32,
    pub log_lines: usize,
    pub metric_names: usize,
}

impl Default for LiveTransform {
    fn default() -> Self {
        let s = Settings::default();
        LiveTransform {
            timeout: s.timeout,
            timeout_per_record: s.timeout_per_record,
            retries: s.retries,
            log_lines: s.log_lines,
            metric_names: s.metric_names,
        }
    }
}

impl Routes for Loader {
    fn load(&self, definition: &[u8], blobs: &Blobs) -> Result<Arc<Route>> {
        let load = || self.route(definition, blobs);
        let load = || load().map(Arc::new);
        match &self.routes {
            Some(routes) => routes.get(hash(definition), load),
            None => load(),
        }
    }
}

impl Loader {
    fn route(&self, definition: &[u8], blobs: &Blobs) -> Result<Route> {
        let definition: Definition = serde_json::from_slice(definition)
            .map_err(|e| Error::new(Kind::Corrupt, format!("an epoch's definition cannot be read: {e}")))?;
        let destination = &definition.destination;
        let spec = destination.kind.spec();
        let invalid = |e: PrefixError| Error::new(Kind::Misconfigured, e.to_string());
        let objects = |text: &str| Prefix::parse(text, PrefixKind::Objects).map_err(invalid);
        let backup = definition.backup.as_ref().map(|backup| {
            let (store, compress) = (objects_store(backup.kind, &backup.place)?, compress(&backup.compress));
            Ok(BackupRoute { store, prefix: objects(&backup.prefix)?, compress })
        });
        // Definitions of before there were other places for failures have none.
        let failures = definition.failures.unwrap_or_else(|| FailuresDefinition {
            kind: destination.kind,
            place: destination.place.clone(),
            prefix: destination.prefix.clone(),
            error_prefix: destination.error_prefix.clone(),
            compress: CompressDefinition::None,
        });
        let error_prefix = match failures.error_prefix.as_deref() {
            Some(given) if !given.is_empty() => Prefix::parse(given, PrefixKind::Errors),
            _ => Prefix::errors_default(&failures.prefix),
        };
        let manifests = (spec.payload == Payload::Rows).then(|| objects(MANIFESTS_PLACE)).transpose()?;
        Ok(Route {
            transform: self.transform(definition.transform.first(), blobs)?,
            prefix: objects(&destination.prefix)?,
            error_prefix: error_prefix.map_err(invalid)?,
            format: columns::format(&definition.format, blobs, &self.stream)?,
            compress: compress(&definition.compress),
            extension: definition.file_extension.filter(|extension| !extension.is_empty()),
            time_zone: time_zone(definition.time_zone.as_deref())?,
            store: StoreName::of(destination.kind, &destination.place),
            takes: spec.payload,
            failures: FailureRoute {
                store: objects_store(failures.kind, &failures.place)?,
                compress: compress(&failures.compress),
                undelivered: spec.undelivered,
                manifests,
            },
            backup: backup.transpose()?,
        })
    }

    fn transform(&self, step: Option<&StepDefinition>, blobs: &Blobs) -> Result<Option<Box<dyn RecordTransform>>> {
        let Some(StepDefinition::Wasm(wasm)) = step else { return Ok(None) };
        let settings = Settings {
            config: wasm.config.clone().filter(|config| !config.is_null()),
            max_records: wasm.max_records as usize,
            max_bytes: wasm.max_bytes as usize,
            memory_bytes: wasm.memory as usize,
            output_bytes: wasm.output as usize,
            isolate_max_calls: wasm.isolate_max_calls,
            allow_wasi: wasm.wasi != Wasi::Deny,
            timeout: self.live.timeout,
            timeout_per_record: self.live.timeout_per_record,
            retries: self.live.retries,
            log_lines: self.live.log_lines,
            metric_names: self.live.metric_names,
        };
        let module = Module::load(&blob(&wasm.module, blobs)?, self.module_cache.as_deref())?;
        Ok(Some(Box::new(WasmTransform::new(module, settings)?)))
    }
}

/// The contents that a definition names by hash.
pub(super) fn blob(name: &str, blobs: &Blobs) -> Result<Vec<u8>> {
    let message = || format!("an epoch's definition names `{name}`, expected a SHA-256 in hexadecimal");
    blobs.get(&unhex(name).ok_or_else(|| Error::new(Kind::Corrupt, message()))?)
}

/// Where a destination's objects are: of a warehouse, where they are staged.
fn objects_store(kind: DestinationKind, place: &str) -> Result<StoreName> {
    let message = || format!("an epoch's definition has objects go to a destination of kind `{}`", kind.spec().key);
    let store = StoreName::of(kind, place);
    store.objects().cloned().ok_or_else(|| Error::new(Kind::Corrupt, message()))
}

fn compress(definition: &CompressDefinition) -> Compression {
    match *definition {
        CompressDefinition::None => Compression::None,
        CompressDefinition::Gzip { level } => Compression::Gzip { level },
    }
}

fn time_zone(name: Option<&str>) -> Result<jiff::tz::TimeZone> {
    match name.filter(|name| !name.is_empty()) {
        None => Ok(jiff::tz::TimeZone::UTC),
        Some(name) => jiff::tz::TimeZone::get(name).map_err(|e| Error::new(Kind::Misconfigured, e.to_string())),
    }
}
