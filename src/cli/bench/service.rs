//! The service as it is measured: its configuration, and one run end to end.
//!
//! A run's clock starts when all connections are open and the first request leaves. It stops when [`Service::finish`]
//! returns: every acknowledged record is in an object that is synced under its name, and the plan log holds that object's
//! mark, synced. The buffer interval is longer than any run, so objects are cut by size and, the last one, by the end:
//! no timer is waited for, no work is left out. Then the service is started once more on what it left on disk, and its
//! own account must say that every record was delivered and that none is missing.

use super::corpus::{Corpus, Kind};
use super::load::{Done, End, KEY, Load, SECRET};
use super::machine::process_cpu_s;
use crate::cli::client::batch_body;
use crate::cli::run::Service;
use crate::config::{self, Config};
use crate::stream::supervise::{Settled, Status};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const STREAM: &str = "bench";
/// Connections of the client, each with one request under way.
pub const CONNECTIONS: usize = 16;
/// The most that a request may hold.
const RECORDS_PER_REQUEST: usize = 500;

/// What a stream makes of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Gzip,
    Lines,
    Parquet,
}

impl Shape {
    pub const ALL: [Shape; 3] = [Shape::Gzip, Shape::Lines, Shape::Parquet];

    pub fn name(self) -> &'static str {
        match self {
            Shape::Gzip => "gzip",
            Shape::Lines => "lines",
            Shape::Parquet => "parquet",
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Shape::Gzip => "gzip level 1 lines",
            Shape::Lines => "uncompressed lines",
            Shape::Parquet => "Parquet snappy",
        }
    }

    fn yaml(self) -> &'static str {
        match self {
            Shape::Gzip => "    format: lines\n    compress: { gzip: { level: 1 } }",
            Shape::Lines => "    format: lines",
            Shape::Parquet => "    format: { parquet: { schema: columns.yaml, compression: snappy } }",
        }
    }
}

/// What a service under test is told.
#[derive(Clone)]
pub struct Setup {
    pub dir: PathBuf,
    pub kind: Kind,
    pub shape: Shape,
    pub buffer_mib: u64,
    pub interval: &'static str,
    /// Ports of the API and of the admin listener; 0: any.
    pub ports: [u16; 2],
}

impl Setup {
    /// Makes the directory and what the configuration names in it.
    pub fn write(&self) -> Result<PathBuf, String> {
        let path = self.dir.join("bench.yaml");
        let made = std::fs::create_dir_all(&self.dir)
            .and_then(|()| std::fs::write(self.dir.join("columns.yaml"), self.kind.columns_yaml()))
            .and_then(|()| std::fs::write(&path, self.yaml()));
        made.map_err(|e| format!("write `{}`: {e}", self.dir.display()))?;
        Ok(path)
    }

    pub fn config(&self) -> Result<Config, String> {
        config::load(&self.write()?, &|_| None).map_err(|e| e.to_string())
    }

    pub fn objects(&self) -> PathBuf {
        self.dir.join("objects")
    }

    fn yaml(&self) -> String {
        let (dir, [api, admin]) = (self.dir.display(), self.ports);
        let (size, interval, format) = (self.buffer_mib, self.interval, self.shape.yaml());
        format!(
            r#"data_dir: "{dir}/data"
drain_timeout: 10m
api: {{ listen: "127.0.0.1:{api}", access_keys: {{ {KEY}: "{SECRET}" }} }}
admin: {{ listen: "127.0.0.1:{admin}" }}
log: {{ format: human, level: warn }}
streams:
  {STREAM}:
{format}
    buffer: {{ size: {size}MiB, interval: {interval} }}
    destination: {{ local: {{ dir: "{dir}/objects" }} }}
"#
        )
    }
}

/// Request bodies, 500 records each.
pub fn bodies(corpus: &Corpus) -> Arc<[Bytes]> {
    let records: Vec<&[u8]> = corpus.records().collect();
    records.chunks(RECORDS_PER_REQUEST).map(|some| batch_body(STREAM, some.iter().copied())).collect()
}

/// One run, end to end.
pub struct Run {
    pub seconds: f64,
    /// Until the last acknowledgement.
    pub acks_s: f64,
    /// CPU of everything but the client.
    pub service_cpu_s: f64,
    pub objects: u64,
    pub object_bytes: u64,
    pub refused: usize,
}

/// Puts all of `bodies` through a new service. The directory is removed afterwards, also on error.
pub fn run(setup: &Setup, bodies: &Arc<[Bytes]>, records: usize) -> Result<Run, String> {
    let _remove = super::Removed(setup.dir.clone());
    let config = setup.config()?;
    let service = Service::start(config.clone())?;
    let load = Load {
        address: service.api_address,
        operation: "PutRecordBatch",
        bodies: bodies.clone(),
        connections: CONNECTIONS,
        end: End::Requests(bodies.len()),
        pause: Duration::ZERO,
    };
    let cpu = process_cpu_s();
    let done = load.run();
    let drained = service.finish();
    let Done { began, seconds: acks_s, cpu_s, refused, .. } = done?;
    let (seconds, service_cpu_s) = (began.elapsed().as_secs_f64(), process_cpu_s() - cpu - cpu_s);
    if !drained {
        return Err("the service did not deliver everything in ten minutes".into());
    }
    let settled = account(config, records as u64)?;
    let (objects, object_bytes) = (settled.objects, settled.object_bytes);
    Ok(Run { seconds, acks_s, service_cpu_s, objects, object_bytes, refused })
}

/// What a service that has ended left on disk: everything put is delivered, nothing is missing.
fn account(config: Config, records: u64) -> Result<Settled, String> {
    let service = Service::start(config)?;
    let statuses = service.node.statuses();
    service.finish();
    let status = statuses.into_iter().next().ok_or("the service shows no stream")?;
    check(&status, records)
}

/// Whether a stream says of itself that it has delivered so many records, all it accepted.
pub fn check(status: &Status, records: u64) -> Result<Settled, String> {
    let delivered = status.outlets.get("destination").cloned().unwrap_or_default();
    let counts = (status.accepted, delivered.records, status.pending, status.gap);
    if counts == (records, records, 0, 0) && status.alarm.is_none() {
        return Ok(delivered);
    }
    let (accepted, delivered, pending, gap) = counts;
    let alarm = status.alarm.as_deref().unwrap_or("none");
    Err(format!(
        "the account is wrong: {records} records put, {accepted} accepted, {delivered} delivered, {pending} pending, gap \
         {gap}, alarm: {alarm}"
    ))
}

/// A fresh directory for the next run.
pub fn next_dir(base: &Path) -> PathBuf {
    base.join(uuid::Uuid::new_v4().simple().to_string())
}
