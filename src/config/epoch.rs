//! The part of a stream's settings that an epoch persists: what decides which bytes a record becomes and where they go.
//!
//! The keys and their order of meaning are on disk, in every epoch: never rename one or use one for something else.
//! What is live (credentials, endpoints, time-outs, retries, buffers, budgets) is not in it.

use super::{Compress, Destination, Format, Store, StreamConfig, Transform};
use serde_json::{Value, json};
use std::path::Path;

impl StreamConfig {
    /// Canonical JSON: equal for two configurations exactly if no new epoch is needed between them. Files appear as
    /// `hash_of` their path, so that a moved file is the same and a changed one is not.
    pub fn epoch_part(&self, hash_of: &dyn Fn(&Path) -> String) -> Value {
        json!({
            "transform": self.transform.iter().map(|step| transform(step, hash_of)).collect::<Vec<_>>(),
            "partition": null,
            "format": format(&self.format, hash_of),
            "compress": compress(&self.compress),
            "time_zone": self.time_zone,
            "file_extension": self.file_extension,
            "destination": destination(&self.destination),
            "failures": failures(self),
            "backup": backup(self),
        })
    }
}

fn transform(step: &Transform, hash_of: &dyn Fn(&Path) -> String) -> Value {
    let Transform::Wasm(wasm) = step;
    json!({ "wasm": {
        "module": hash_of(&wasm.module),
        "config": wasm.config,
        "max_records": wasm.batch.max_records,
        "max_bytes": wasm.batch.max_bytes.bytes(),
        "memory": wasm.limits.memory.bytes(),
        "output": wasm.limits.output.bytes(),
        "isolate_max_calls": wasm.isolate.max_calls,
        "wasi": wasm.wasi,
    }})
}

fn format(format: &Format, hash_of: &dyn Fn(&Path) -> String) -> Value {
    match format {
        Format::Raw => json!("raw"),
        Format::Lines(_) => json!("lines"),
        Format::Parquet(parquet) => json!({ "parquet": {
            "schema": hash_of(&parquet.schema),
            "compression": parquet.compression,
        }}),
    }
}

fn compress(compress: &Compress) -> Value {
    match compress {
        Compress::None => json!("none"),
        Compress::Gzip(gzip) => json!({ "gzip": { "level": gzip.level } }),
    }
}

/// What a warehouse is told to load is live: only where objects are staged for it decides anything here.
fn destination(destination: &Destination) -> Value {
    let store = destination.store();
    json!({
        "kind": destination.kind(),
        "place": store.map_or(json!(""), place),
        "prefix": store.as_ref().map_or("", Store::prefix),
        "error_prefix": store.as_ref().and_then(Store::error_prefix),
    })
}

/// Where failures go, unless that is the destination.
fn failures(stream: &StreamConfig) -> Value {
    let (Some(backup), true) = (&stream.backup, stream.fails_into_backup()) else { return Value::Null };
    let Some(store) = backup.destination.store() else { return Value::Null };
    json!({
        "kind": store.kind(),
        "place": place(store),
        "prefix": store.prefix(),
        "error_prefix": store.error_prefix(),
        "compress": compress(&backup.compress),
    })
}

fn backup(stream: &StreamConfig) -> Value {
    let Some(backup) = stream.source_backup() else { return Value::Null };
    let Some(store) = backup.destination.store() else { return Value::Null };
    json!({
        "kind": store.kind(),
        "place": place(store),
        "prefix": store.prefix(),
        "compress": compress(&backup.compress),
    })
}

/// Bucket or folder.
fn place(store: Store<'_>) -> Value {
    match store {
        Store::S3(s3) => json!(s3.bucket),
        Store::Local(local) => json!(local.dir),
    }
}
