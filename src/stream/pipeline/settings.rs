//! From a configuration to what is in force: the definition of its epoch, and what applies at once.

use super::live::{Gate, Live, PlanLimits};
use super::load::LiveTransform;
use crate::config::{ContentEncoding, Destination, Format, Store, StreamConfig, Transform};
use crate::deliver::http;
use crate::deliver::retry::{Patience, RetryPace};
use crate::error::{Error, Kind, Result};
use crate::stream::state_log::blobs::{Blobs, hash, hex};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Of a directory: what one disk does well.
const SHIPMENTS_MAX: usize = 4;
/// Of all lanes of a stream, to a store that takes any number of them.
const SHIPMENTS_OF_LANES_MAX: usize = 32;

pub fn default_live() -> Live {
    let (size, interval) = (5 << 20, Duration::from_secs(300));
    Live {
        size_bytes: size,
        interval,
        backup_size_bytes: size,
        backup_interval: interval,
        failures_with_backup: false,
        limits: PlanLimits::NONE,
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
        live.limits = PlanLimits { outputs_max: http::RECORDS_MAX, bytes_max: live.size_bytes.min(http::BYTES_MAX) };
        live.shipments_max[Gate::Destination as usize] = if http.ordered { 1 } else { http.concurrency as usize };
        // It is the receiver that is to be spared.
        live.shipments_of_lanes_max[Gate::Destination as usize] = http.concurrency as usize;
        (live.adaptive, live.ordered) = (true, http.ordered);
        live.gzip_requests = http.content_encoding == ContentEncoding::Gzip;
        let pace = RetryPace::Doubling { first: http.retry_first, max: http.retry_max };
        live.patience = Some(Patience { duration: http.retry_duration, pace });
    }
    if let Some(warehouse) = config.destination.warehouse() {
        // The next object is staged while the ones before it are loaded; the sink keeps the loads apart.
        live.shipments_max[Gate::Destination as usize] = warehouse.concurrency as usize + 1;
        live.shipments_of_lanes_max[Gate::Destination as usize] = warehouse.concurrency as usize + 1;
        let (duration, pace) = (warehouse.retry_duration, RetryPace::Every(warehouse.retry_every));
        live.patience = Some(Patience { duration, pace });
    }
    live
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
    Ok(config.definition(&|path| hashes.get(path).cloned().unwrap_or_default()).to_json())
}
