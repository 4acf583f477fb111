//! The part of a stream's settings that an epoch persists: what decides which bytes a record becomes and where they go.
//!
//! The keys and their order of meaning are on disk, in every epoch: never rename one or use one for something else.
//! What is live (credentials, endpoints, time-outs, retries, buffers, budgets) is not in it.

use super::{Backup, Compress, Destination, Format, StreamConfig, Transform};
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
            "backup": self.backup.as_ref().map(backup),
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

fn destination(destination: &Destination) -> Value {
    let place = place(destination);
    json!({
        "kind": destination.kind(),
        "place": place,
        "prefix": destination.prefix(),
        "error_prefix": destination.error_prefix(),
    })
}

fn backup(backup: &Backup) -> Value {
    json!({
        "kind": backup.destination.kind(),
        "place": place(&backup.destination),
        "prefix": backup.destination.prefix(),
        "compress": compress(&backup.compress),
    })
}

/// Bucket or folder.
fn place(destination: &Destination) -> Value {
    match destination {
        Destination::S3(s3) => json!(s3.bucket),
        Destination::Local(local) => json!(local.dir),
    }
}
