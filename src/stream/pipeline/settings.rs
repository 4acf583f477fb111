//! From a configuration to what is in force: the definition of its epoch, and what applies at once.

use super::live::{Live, PlanLimits};
use super::load::LiveTransform;
use crate::config::{DIRECTORY_SHIPMENTS_MAX, DeliverySettings, Store, StreamConfig, Transform};
use crate::destination::RequestMax;
use crate::error::{Error, Kind, Result};
use crate::stream::state_log::blobs::{Blobs, hash, hex};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Of a stream without a configuration: Firehose's defaults.
pub fn default_live() -> Live {
    let (size, interval) = (5 << 20, Duration::from_secs(300));
    let delivery = DeliverySettings::of_store(DIRECTORY_SHIPMENTS_MAX);
    Live {
        size_bytes: size,
        object_bytes: None,
        interval,
        backup_size_bytes: size,
        backup_interval: interval,
        failures_with_backup: false,
        limits: PlanLimits::NONE,
        shipments_max: [delivery.shipments_max; 3],
        shipments_of_lanes_max: [delivery.shipments_of_lanes_max; 3],
        adaptive: delivery.is_adaptive,
        ordered: delivery.is_ordered,
        gzip_requests: delivery.gzips_requests,
        patience: delivery.patience,
    }
}

/// The settings that apply at once.
pub fn live(config: &StreamConfig) -> Live {
    let store = |store: Option<Store>| {
        store.map_or_else(|| DeliverySettings::of_store(DIRECTORY_SHIPMENTS_MAX), Store::delivery)
    };
    let destination = config.destination.settings().delivery();
    let backup_store = config.backup.as_ref().and_then(|b| b.destination.store());
    // By `Gate`.
    let deliveries = [destination.clone(), store(config.failures()), store(backup_store)];
    let buffer = config.backup.as_ref().map_or(&config.buffer, |b| &b.buffer);
    let size_bytes = config.buffer.size.bytes();
    // For S3 the size is a hint; receivers of requests have limits of their own.
    let request_max = config.destination.kind().spec().request_max;
    let limits = |max: RequestMax| PlanLimits { outputs_max: max.records, bytes_max: size_bytes.min(max.bytes) };
    Live {
        size_bytes,
        object_bytes: config.buffer.object_size.map(|size| size.bytes()),
        interval: config.buffer.interval,
        backup_size_bytes: buffer.size.bytes(),
        backup_interval: buffer.interval,
        failures_with_backup: config.fails_into_backup(),
        limits: request_max.map_or(PlanLimits::NONE, limits),
        shipments_max: deliveries.each_ref().map(|delivery| delivery.shipments_max),
        shipments_of_lanes_max: deliveries.each_ref().map(|delivery| delivery.shipments_of_lanes_max),
        adaptive: destination.is_adaptive,
        ordered: destination.is_ordered,
        gzip_requests: destination.gzips_requests,
        patience: destination.patience,
    }
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
    if let Some(schema) = config.format.schema() {
        let columns =
            crate::config::load_columns(schema).map_err(|e| Error::new(Kind::Misconfigured, format!("schema: {e}")))?;
        let columns: Vec<Vec<&str>> =
            columns.iter().map(|c| [&*c.name, &*c.type_text].into_iter().chain(c.key.as_deref()).collect()).collect();
        let bytes = serde_json::to_vec(&columns).expect("texts always serialise into memory");
        hashes.insert(schema.clone(), hex(&blobs.put(&bytes)?));
    }
    Ok(config.definition(&|path| hashes.get(path).cloned().unwrap_or_default()).to_json())
}
