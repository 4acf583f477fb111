//! What the service needs in memory: it runs as a process of its own, so that only its own pages count, and is given far
//! more data than it may hold. Objects are removed as they are delivered, so that the disk is bounded as well; the
//! journal grows for as long as delivery is behind the client.

use super::corpus::{Corpus, Kind};
use super::load::{End, Load};
use super::machine::memory_bytes;
use super::service::{self, CONNECTIONS, STREAM, Setup, Shape, remove_delivered};
use super::stats::median;
use bytes::Bytes;
use hydrant::cli::client::Client;
use hydrant::cli::small_runtime;
use hydrant::stream::supervise::Status;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

pub const BUFFER_MIB: u64 = 128;
const SAMPLE: Duration = Duration::from_millis(20);
const POLL: Duration = Duration::from_millis(200);
const START_WAIT: Duration = Duration::from_secs(30);
/// Longer than a buffer takes to fill on anything but a very slow machine; waited for once, at the end.
const INTERVAL: &str = "10s";
/// How long the account may stand still before the run is given up.
const STALL: Duration = Duration::from_secs(60);

/// Resident bytes of the service.
pub struct Resident {
    /// As the kernel saw it.
    pub peak: u64,
    pub idle: u64,
    /// Medians of the first and last third of the time in which buffers were filled and delivered.
    pub first_third: f64,
    pub last_third: f64,
    pub samples: usize,
    pub data_bytes: u64,
    pub objects: u64,
}

impl Resident {
    pub fn growth(&self) -> f64 {
        self.last_third / self.first_third
    }
}

/// A child that does not outlive us.
struct Running(Child);

/// Its number; 0: there is none.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Ends the child, if there is one, and waits until it is gone: for an interrupt, before which nothing is dropped.
pub fn kill_running() {
    if let Some(pid) = Pid::from_raw(RUNNING.swap(0, Ordering::SeqCst)) {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.store(0, Ordering::SeqCst);
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Runs `hydrant run` over `gib` GiB of records and watches its memory. `dir` is removed at the end.
pub fn run(
    dir: PathBuf,
    kind: Kind,
    shape: Shape,
    corpus: &Corpus,
    bodies: &Arc<[Bytes]>,
    gib: f64,
) -> Result<Resident, String> {
    let _remove = crate::Removed(dir.clone());
    let ports = [free_port()?, free_port()?];
    let setup = Setup {
        dir,
        kind,
        shape,
        buffer_mib: BUFFER_MIB,
        interval: INTERVAL,
        ports,
        endpoint: None,
        destination: None,
    };
    let [api, admin] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut child = spawn(&setup)?;
    let runtime = small_runtime()?;
    let mut client = runtime.block_on(ready(&mut child, &setup, admin))?;
    let pid = child.0.id();
    let idle = memory_bytes(pid, "VmRSS").ok_or("the service's memory cannot be read")?;
    let passes = (gib * (1u64 << 30) as f64 / corpus.bytes().len() as f64).ceil() as usize;
    let records = (passes * corpus.len()) as u64;
    let load = Load {
        address: api,
        operation: "PutRecordBatch",
        bodies: bodies.clone(),
        connections: CONNECTIONS,
        end: End::Requests(passes * bodies.len()),
        pause: Duration::ZERO,
        goes_ahead: false,
    };
    let per_buffer = (BUFFER_MIB << 20) * corpus.len() as u64 / corpus.bytes().len() as u64;
    let stop = AtomicBool::new(false);
    let (sent, watched, samples) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(pid, &setup.objects(), &stop));
        let sender = scope.spawn(|| load.run());
        let watched = runtime.block_on(watch(&mut client, records, per_buffer, &|| sender.is_finished()));
        stop.store(true, Ordering::Relaxed);
        if watched.is_err() {
            // The client ends when nobody answers any more.
            let _ = child.0.kill();
        }
        (sender.join(), watched, sampler.join())
    });
    let sent = sent.map_err(|_| "the client panicked".to_owned())?;
    let watched = match (watched, sent) {
        (Ok(watched), Ok(_)) => watched,
        (Ok(_), Err(why)) | (Err(why), Ok(_)) => return Err(why),
        (Err(why), Err(client)) => return Err(format!("{why}; the client: {client}")),
    };
    let samples = samples.map_err(|_| "the sampler panicked".to_owned())?;
    let peak = memory_bytes(pid, "VmHWM").ok_or("the service's memory cannot be read")?;
    end(&mut child)?;
    let within = |at: &Instant| (watched.first_object..=watched.last_full).contains(at);
    let steady: Vec<f64> = samples.iter().filter(|(at, _)| within(at)).map(|(_, bytes)| *bytes as f64).collect();
    let third = steady.len().div_ceil(3);
    let data_bytes = (passes * corpus.bytes().len()) as u64;
    Ok(Resident {
        peak,
        idle,
        first_third: median(&steady[..third.min(steady.len())]),
        last_third: median(&steady[steady.len() - third..]),
        samples: steady.len(),
        data_bytes,
        objects: watched.objects,
    })
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.map(|a| a.port()).map_err(|e| format!("find a free port: {e}"))
}

fn log_path(setup: &Setup) -> PathBuf {
    setup.dir.join("log")
}

fn spawn(setup: &Setup) -> Result<Running, String> {
    let config = setup.write()?;
    let error = |e: std::io::Error| format!("start the service: {e}");
    let log = File::create(log_path(setup)).map_err(error)?;
    let program = std::env::current_exe().map_err(error)?;
    let mut command = Command::new(program);
    command.arg("run").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().map_err(error)?;
    RUNNING.store(Pid::from_child(&child).as_raw_nonzero().get(), Ordering::SeqCst);
    Ok(Running(child))
}

/// A connection to the admin listener, once it answers.
async fn ready(child: &mut Running, setup: &Setup, admin: SocketAddr) -> Result<Client, String> {
    let began = Instant::now();
    while began.elapsed() < START_WAIT {
        if let Ok(mut client) = Client::connect(admin, None, "").await
            && client.get("/readyz").await.is_ok_and(|(status, _)| status.is_success())
        {
            return Ok(client);
        }
        if !matches!(child.0.try_wait(), Ok(None)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = std::fs::read_to_string(log_path(setup)).unwrap_or_default();
    Err(format!("the service did not start: {log}"))
}

/// What was seen over the admin listener.
struct Watched {
    /// When the first object had been delivered.
    first_object: Instant,
    /// When at least a buffer's worth was still pending.
    last_full: Instant,
    objects: u64,
}

/// Waits until all is delivered.
async fn watch(client: &mut Client, records: u64, per_buffer: u64, sent: &dyn Fn() -> bool) -> Result<Watched, String> {
    let began = Instant::now();
    let (mut first_object, mut last_full) = (None, began);
    let (mut moved, mut settled_then) = (began, 0);
    loop {
        tokio::time::sleep(POLL).await;
        let sent = sent();
        let status = status(client).await?;
        let delivered = status.outlets.get("destination").cloned().unwrap_or_default();
        let now = Instant::now();
        if delivered.objects > 0 {
            first_object.get_or_insert(now);
        }
        if status.pending >= per_buffer || !sent {
            last_full = now;
        }
        if sent && (status.pending == 0 || status.accepted < records) {
            service::check(&status, records)?;
            let first_object = first_object.unwrap_or(began);
            return Ok(Watched { first_object, last_full, objects: delivered.objects });
        }
        if delivered.records + status.accepted != settled_then {
            (moved, settled_then) = (now, delivered.records + status.accepted);
        }
        if now - moved > STALL {
            let alarm = status.alarm.unwrap_or(status.lane);
            return Err(format!("nothing was delivered for {} s: {alarm}", STALL.as_secs()));
        }
    }
}

async fn status(client: &mut Client) -> Result<Status, String> {
    let (_, body) = client.get("/v1/streams").await?;
    let all: Vec<Status> = serde_json::from_slice(&body).map_err(|e| format!("the service's status: {e}"))?;
    all.into_iter().find(|s| s.stream == STREAM).ok_or_else(|| "the service shows no stream".to_owned())
}

/// Samples of resident bytes until told to stop; delivered objects are removed on the way.
fn sample(pid: u32, objects: &Path, stop: &AtomicBool) -> Vec<(Instant, u64)> {
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Some(bytes) = memory_bytes(pid, "VmRSS") {
            samples.push((Instant::now(), bytes));
        }
        if samples.len() % 25 == 0 {
            remove_delivered(objects);
        }
        std::thread::sleep(SAMPLE);
    }
    samples
}

fn end(child: &mut Running) -> Result<(), String> {
    let error = |e: &dyn std::fmt::Display| format!("end the service: {e}");
    kill_process(Pid::from_child(&child.0), Signal::TERM).map_err(|e| error(&e))?;
    let status = child.0.wait().map_err(|e| error(&e))?;
    if status.success() { Ok(()) } else { Err(error(&status)) }
}
