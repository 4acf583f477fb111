//! From an epoch's definition on disk to the route it describes. The definition is canonical JSON (see
//! `config::StreamConfig::epoch_part`); files it needs are named by hash and kept beside it.

use super::known::Known;
use super::route::{BackupRoute, FailureRoute, HTTP_ENDPOINT, Payload, Route};
use crate::compress::Compress;
use crate::error::{Error, Kind, Result};
use crate::format::{Format, lines::Lines, parquet::Parquet, schema};
use crate::partition::prefix::{Prefix, PrefixKind};
use crate::stream::plan::Outlet;
use crate::stream::state_log::blobs::{Blobs, hash, unhex};
use crate::transform::Transform;
use crate::transform::wasm::{Module, Settings, WasmTransform};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where Firehose leaves the manifests of what a warehouse did not take (contract §9.3).
const MANIFESTS_PLACE: &str = "errors/manifests/";

/// Builds a route from an epoch's definition.
pub trait Routes: Send {
    fn load(&self, definition: &[u8], blobs: &Blobs) -> Result<Arc<Route>>;
}

/// Loads routes; what is live of a transform (time-outs, retries) is not in definitions and comes from here.
pub struct Loader {
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
        let json: Value = serde_json::from_slice(definition)
            .map_err(|e| Error::new(Kind::Corrupt, format!("an epoch's definition is not JSON: {e}")))?;
        let destination = &json["destination"];
        let prefix_text = text(destination, "prefix")?;
        // Definitions of before there were other places for failures have none.
        let failures = Some(&json["failures"]).filter(|f| !f.is_null()).unwrap_or(destination);
        let error_prefix = match failures["error_prefix"].as_str() {
            Some(given) if !given.is_empty() => Prefix::parse(given, PrefixKind::Errors),
            _ => Prefix::errors_default(text(failures, "prefix")?),
        };
        let invalid = |e: crate::partition::prefix::PrefixError| Error::new(Kind::Misconfigured, e.to_string());
        Ok(Route {
            transform: self.transform(&json["transform"], blobs)?,
            prefix: Prefix::parse(prefix_text, PrefixKind::Objects).map_err(invalid)?,
            error_prefix: error_prefix.map_err(invalid)?,
            format: format(&json["format"], blobs)?,
            compress: compress(&json["compress"])?,
            extension: json["file_extension"].as_str().filter(|e| !e.is_empty()).map(str::to_owned),
            time_zone: time_zone(&json["time_zone"])?,
            store: store(destination)?,
            takes: match text(destination, "kind")? {
                "http" => Payload::Records,
                "redshift" | "postgres" => Payload::Rows,
                _ => Payload::Objects,
            },
            failures: FailureRoute {
                store: objects_store(failures)?,
                compress: match &failures["compress"] {
                    Value::Null => Compress::None,
                    given => compress(given)?,
                },
                undelivered: match text(destination, "kind")? {
                    "http" => "http-endpoint-failed",
                    "redshift" => "redshift-failed",
                    "postgres" => "postgres-failed",
                    _ => Outlet::DeliveryFailed.name(),
                },
                manifests: match text(destination, "kind")? {
                    "redshift" | "postgres" => {
                        Some(Prefix::parse(MANIFESTS_PLACE, PrefixKind::Objects).map_err(invalid)?)
                    }
                    _ => None,
                },
            },
            backup: match &json["backup"] {
                Value::Null => None,
                backup => Some(BackupRoute {
                    store: objects_store(backup)?,
                    prefix: Prefix::parse(text(backup, "prefix")?, PrefixKind::Objects).map_err(invalid)?,
                    compress: compress(&backup["compress"])?,
                }),
            },
        })
    }

    fn transform(&self, steps: &Value, blobs: &Blobs) -> Result<Option<Box<dyn Transform>>> {
        let Some(step) = steps.get(0).map(|s| &s["wasm"]) else { return Ok(None) };
        let bytes = blob(step, "module", blobs)?;
        let number = |key: &str| step[key].as_u64().ok_or_else(|| missing(key)).map(|n| n as usize);
        let settings = Settings {
            config: Some(step["config"].clone()).filter(|c| !c.is_null()),
            max_records: number("max_records")?,
            max_bytes: number("max_bytes")?,
            memory_bytes: number("memory")?,
            output_bytes: number("output")?,
            isolate_max_calls: number("isolate_max_calls")? as u32,
            allow_wasi: step["wasi"] != "deny",
            timeout: self.live.timeout,
            timeout_per_record: self.live.timeout_per_record,
            retries: self.live.retries,
            log_lines: self.live.log_lines,
            metric_names: self.live.metric_names,
        };
        let module = Module::load(&bytes, self.module_cache.as_deref())?;
        Ok(Some(Box::new(WasmTransform::new(module, settings)?)))
    }
}

fn missing(key: &str) -> Error {
    Error::new(Kind::Corrupt, format!("an epoch's definition lacks `{key}`"))
}

fn text<'a>(json: &'a Value, key: &str) -> Result<&'a str> {
    json[key].as_str().ok_or_else(|| missing(key))
}

/// The contents that `json[key]` names by hash.
fn blob(json: &Value, key: &str, blobs: &Blobs) -> Result<Vec<u8>> {
    let hash = unhex(text(json, key)?).ok_or_else(|| missing(key))?;
    blobs.get(&hash)
}

/// A destination's name: what a plan keeps, through every change of endpoint and credentials.
fn store(json: &Value) -> Result<String> {
    match text(json, "kind")? {
        "http" => Ok(HTTP_ENDPOINT.to_owned()),
        // What is staged there is also loaded.
        kind @ ("redshift" | "postgres") => Ok(format!("{kind}+{}", objects_store(json)?)),
        _ => objects_store(json),
    }
}

/// The same of a place that takes objects: of a warehouse, where they are staged.
fn objects_store(json: &Value) -> Result<String> {
    let place = text(json, "place")?;
    Ok(match text(json, "kind")? {
        "local" => format!("file://{place}"),
        _ => format!("s3://{place}"),
    })
}

fn compress(json: &Value) -> Result<Compress> {
    match json {
        Value::String(none) if none == "none" => Ok(Compress::None),
        _ => {
            let level = json["gzip"]["level"].as_u64().ok_or_else(|| missing("compress"))?;
            Ok(Compress::Gzip { level: level as u32 })
        }
    }
}

fn format(json: &Value, blobs: &Blobs) -> Result<Format> {
    if let Some(name) = json.as_str() {
        return Ok(Format::Lines(Lines { newline: name == "lines" }));
    }
    let parquet = &json["parquet"];
    let columns: Vec<(String, String)> = serde_json::from_slice(&blob(parquet, "schema", blobs)?)
        .map_err(|e| Error::new(Kind::Corrupt, format!("an epoch's schema: {e}")))?;
    let schema = schema::schema(&columns).map_err(|e| Error::new(Kind::Misconfigured, format!("schema: {e}")))?;
    let compression = match text(parquet, "compression")? {
        "gzip" => parquet::basic::Compression::GZIP(Default::default()),
        "uncompressed" => parquet::basic::Compression::UNCOMPRESSED,
        _ => parquet::basic::Compression::SNAPPY,
    };
    Ok(Format::Parquet(Box::new(Parquet::new(schema, compression))))
}

fn time_zone(json: &Value) -> Result<jiff::tz::TimeZone> {
    match json.as_str().filter(|name| !name.is_empty()) {
        None => Ok(jiff::tz::TimeZone::UTC),
        Some(name) => jiff::tz::TimeZone::get(name).map_err(|e| Error::new(Kind::Misconfigured, e.to_string())),
    }
}
