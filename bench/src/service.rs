//! The service as it is measured: its configuration, and a pass end to end.
//!
//! A service lives through all rounds, so that its journal has the segments it needs, as after the first minutes of any
//! life. A pass's clock starts when all connections are open and the first request leaves. It stops when the service's own
//! account shows nothing pending: every acknowledged record is in an object that is synced under its name, and the plan
//! log holds that object's mark, synced. The buffer is as large as a pass, so the last record fills it and no timer is
//! waited for. After each pass the account must say that every record was delivered and that none is missing; after the
//! last one the service is started once more on what it left on disk, and must say the same.
//!
//! Requests to an endpoint hold 10,000 records, and what opens the next one closes the last: a pass puts so many full ones
//! and a few records more. Its clock stops when only those are pending; their timer is waited for behind it.

use super::corpus::Kind;
use super::endpoint::Endpoint;
use super::load::{End, KEY, Load, SECRET};
use super::machine::{ThreadTimes, process_cpu_s};
use bytes::Bytes;
use hydrant::cli::client::batch_body;
use hydrant::cli::run::Service;
use hydrant::config::{self, Config};
use hydrant::destination::DestinationKind;
use hydrant::stream::supervise::{Settled, Status, Stream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records of a request to an endpoint.
fn records_max() -> usize {
    let max = DestinationKind::Http.spec().request_max.expect("an endpoint has limits");
    max.records as usize
}

pub const STREAM: &str = "bench";
/// What the names of the threads begin with on which streams run.
const STREAM_THREADS: &str = "lanes";
/// And of those that commit.
const COMMITTERS: &str = "commit ";
/// Connections of the client, each with one request under way.
pub const CONNECTIONS: usize = 16;
/// The most that a request may hold.
pub const RECORDS_PER_REQUEST: usize = 500;

/// What a stream makes of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Gzip,
    Lines,
    Parquet,
    /// Requests to an endpoint, gzip.
    Http,
    /// As `Gzip`, into a bucket.
    S3,
}

impl Shape {
    pub const ALL: [Shape; 5] = [Shape::Gzip, Shape::Lines, Shape::Parquet, Shape::Http, Shape::S3];
    /// Those that become objects.
    pub const OBJECTS: [Shape; 3] = [Shape::Gzip, Shape::Lines, Shape::Parquet];

    pub fn name(self) -> &'static str {
        match self {
            Shape::Gzip => "gzip",
            Shape::Lines => "lines",
            Shape::Parquet => "parquet",
            Shape::Http => "http",
            Shape::S3 => "s3",
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Shape::Gzip => "gzip level 1 lines",
            Shape::Lines => "uncompressed lines",
            Shape::Parquet => "Parquet snappy",
            Shape::Http => "requests, gzip",
            Shape::S3 => "gzip level 1 lines into a bucket",
        }
    }

    /// Format and buffer of a stream that becomes objects; an endpoint's records stay as they are.
    fn yaml(self) -> &'static str {
        match self {
            Shape::Gzip | Shape::S3 => "    format: lines\n    compress: { gzip: { level: 1 } }",
            Shape::Lines => "    format: lines",
            Shape::Parquet => "    format: { parquet: { schema: columns.yaml, compression: snappy } }",
            Shape::Http => "    format: raw",
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
    /// Where requests go, if that is what the records become.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Another destination, in YAML.
    pub destination: Option<String>,
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
        let places = match &self.endpoint {
            None if self.destination.is_some() => self.destination.clone().unwrap_or_default(),
            None => format!("    destination: {{ local: {{ dir: \"{dir}/objects\" }} }}"),
            Some(endpoint) => format!(
                r#"    destination:
      http: {{ url: "http://{}/", content_encoding: gzip, retry_duration: 0s }}
    backup:
      mode: failed
      local: {{ dir: "{dir}/objects", error_prefix: "errors/!{{firehose:error-output-type}}/" }}"#,
                endpoint.address
            ),
        };
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
{places}
"#
        )
    }
}

/// Request bodies, 500 records each.
pub fn bodies<'r>(records: impl Iterator<Item = &'r [u8]>) -> Arc<[Bytes]> {
    let records: Vec<&[u8]> = records.collect();
    records.chunks(RECORDS_PER_REQUEST).map(|some| batch_body(STREAM, some.iter().copied())).collect()
}

/// How many of `requests` make full requests to an endpoint and begin one more; all of them if they make none.
pub fn full_requests(requests: usize) -> usize {
    let per_plan = records_max() / RECORDS_PER_REQUEST;
    // The last request of all may hold fewer records.
    match requests.saturating_sub(2) / per_plan {
        0 => requests,
        plans => plans * per_plan + 1,
    }
}

/// Between two looks at the account at the end of a pass.
const POLL: Duration = Duration::from_millis(2);
/// How long the account may stand still before the pass is given up; longer than any interval here.
const STALL: Duration = Duration::from_secs(60);

/// One pass, end to end.
pub struct Pass {
    pub seconds: f64,
    /// That were delivered by then.
    pub records: usize,
    /// Until the last acknowledgement.
    pub acks_s: f64,
    /// CPU of everything but the client.
    pub service_cpu_s: f64,
    /// Of it, what the stream's own thread took, of which there is one however many CPUs there are.
    pub stream_cpu_s: f64,
    /// The same of the thread that commits to the journal.
    pub committer_cpu_s: f64,
    pub objects: u64,
    pub object_bytes: u64,
    pub refused: usize,
    /// To an endpoint, as they were sent.
    pub request_bytes: u64,
}

/// A running service. Its directory goes with it.
pub struct Live {
    setup: Setup,
    service: Service,
    records: u64,
    settled: Settled,
    _remove: super::Removed,
}

impl Live {
    pub fn start(setup: Setup) -> Result<Live, String> {
        let remove = super::Removed(setup.dir.clone());
        let service = Service::start(setup.config()?)?;
        Ok(Live { setup, service, records: 0, settled: Settled::default(), _remove: remove })
    }

    /// What sends `operation` to it.
    pub fn load(&self, operation: &'static str, bodies: &Arc<[Bytes]>, connections: usize, end: End) -> Load {
        let (address, bodies) = (self.service.api_address, bodies.clone());
        Load { address, operation, bodies, connections, end, pause: Duration::ZERO, goes_ahead: false }
    }

    /// Puts all of `bodies`, `records` records, and waits until they are delivered; the objects are removed afterwards.
    pub fn pass(&mut self, bodies: &Arc<[Bytes]>, records: usize) -> Result<Pass, String> {
        self.pass_but(bodies, records, 0)
    }

    /// The same of an endpoint: `bodies` as `full_requests` has them.
    pub fn pass_in_requests(&mut self, bodies: &Arc<[Bytes]>, records: usize) -> Result<Pass, String> {
        self.pass_but(bodies, records, records % records_max())
    }

    /// The clock stops when no more than `rest` are pending.
    fn pass_but(&mut self, bodies: &Arc<[Bytes]>, records: usize, rest: usize) -> Result<Pass, String> {
        let load = self.load("PutRecordBatch", bodies, CONNECTIONS, End::Requests(bodies.len()));
        let endpoint = self.setup.endpoint.clone();
        let received = || endpoint.as_ref().map_or((0.0, 0), |e| (e.cpu_s(), e.body_bytes()));
        let (before, cpu, (endpoint_cpu, bytes)) = (self.settled.clone(), process_cpu_s(), received());
        let times = ThreadTimes::now();
        let done = load.run()?;
        self.records += records as u64;
        self.settle(rest as u64)?;
        let (seconds, cpu) = (done.began.elapsed().as_secs_f64(), process_cpu_s() - cpu - done.cpu_s);
        let now = ThreadTimes::now();
        let (endpoint_cpu, bytes) = (received().0 - endpoint_cpu, received().1 - bytes);
        self.settled = check(&self.settle(0)?, self.records)?;
        remove_delivered(&self.setup.objects());
        Ok(Pass {
            seconds,
            records: records - rest,
            acks_s: done.seconds,
            service_cpu_s: cpu - endpoint_cpu,
            stream_cpu_s: now.since(&times, STREAM_THREADS),
            committer_cpu_s: now.since(&times, COMMITTERS),
            objects: self.settled.objects - before.objects,
            object_bytes: self.settled.object_bytes - before.object_bytes,
            refused: done.refused,
            request_bytes: bytes,
        })
    }

    /// Waits until no more than `rest` are pending.
    pub fn settle(&self, rest: u64) -> Result<Status, String> {
        let (mut moved, mut pending) = (Instant::now(), u64::MAX);
        loop {
            let status = self.service.node.statuses().into_iter().next().ok_or("the service shows no stream")?;
            if status.pending <= rest {
                return Ok(status);
            }
            if status.pending != pending {
                (moved, pending) = (Instant::now(), status.pending);
            }
            if moved.elapsed() > STALL {
                let alarm = status.alarm.unwrap_or(status.lane);
                return Err(format!("nothing was delivered for {} s: {alarm}", STALL.as_secs()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Its only stream.
    pub fn stream(&self) -> Result<Arc<Stream>, String> {
        self.service.node.stream(STREAM).ok_or_else(|| "the service shows no stream".to_owned())
    }

    pub fn objects(&self) -> PathBuf {
        self.setup.objects()
    }

    pub fn endpoint(&self) -> Result<&Endpoint, String> {
        self.setup.endpoint.as_deref().ok_or_else(|| "the stream has no endpoint".to_owned())
    }

    /// Ends the service, and looks at what it left on disk if all that was put was counted.
    pub fn end(self, counted: bool) -> Result<(), String> {
        if !self.service.finish() {
            return Err("the service did not deliver everything in ten minutes".into());
        }
        if !counted {
            return Ok(());
        }
        let again = Service::start(self.setup.config()?)?;
        let statuses = again.node.statuses();
        again.finish();
        let status = statuses.into_iter().next().ok_or("the service shows no stream")?;
        check(&status, self.records).map(drop)
    }
}

/// Removes files that have their final names.
pub fn remove_delivered(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_delivered(&entry.path()),
            Ok(_) if !hidden => drop(std::fs::remove_file(entry.path())),
            _ => {}
        }
    }
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
