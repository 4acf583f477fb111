//! `hydrant run`, and the service as the demo and the benchmark start it.

use super::{Outcome, load};
use crate::api::{FirehoseApi, admin::AdminServer, server::Server};
use crate::config::Config;
use crate::priority;
use crate::stream::node::Node;
use crate::telemetry;
use crate::threads;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How often modules, schemas and certificates are looked at (a changed one is in force as after SIGHUP), and broken streams.
const WATCH: std::time::Duration = std::time::Duration::from_secs(2);

/// A running service.
pub struct Service {
    pub node: Arc<Node>,
    pub api: Arc<FirehoseApi>,
    pub api_address: SocketAddr,
    pub admin_address: SocketAddr,
    pub runtime: Runtime,
    /// For whoever waits for an answer.
    answers: Runtime,
    stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Service {
    /// Starts everything a configuration asks for. Blocks until every stream is open, or known not to be.
    pub fn start(config: Config) -> Result<Service, String> {
        let service = Service::listen(config, runtime()?)?;
        service.node.apply(&service.api.config()).map_err(|e| e.to_string())?;
        Ok(service)
    }

    /// Listens. Streams are refused until they are opened, by [`Node::apply`].
    fn listen(config: Config, runtime: Runtime) -> Result<Service, String> {
        open_many_files();
        let metrics = telemetry::init_metrics();
        let node = Arc::new(Node::start(&config, runtime.handle().clone()).map_err(|e| e.to_string())?);
        let admin_listen = config.admin.listen;
        let api = Arc::new(FirehoseApi::new(node.clone(), config).map_err(|e| e.to_string())?);
        let (stop, stopped) = watch::channel(false);
        let answers = answers_runtime()?;
        let server = answers.block_on(Server::bind(api.clone())).map_err(|e| e.to_string())?;
        let admin = AdminServer::bind(api.clone(), metrics, admin_listen);
        let admin = runtime.block_on(admin).map_err(|e| e.to_string())?;
        let api_address = server.address();
        let admin_address = admin.address().map_err(|e| e.to_string())?;
        let servers = vec![answers.spawn(server.serve(stopped.clone())), runtime.spawn(admin.serve(stopped))];
        Ok(Service { node, api, api_address, admin_address, runtime, answers, stop, servers })
    }

    /// Stops intake, answers what is in flight, delivers what is held for as long as the configuration says, and ends.
    /// Whether everything was delivered; what was not is found again at the next start.
    pub fn finish(self) -> bool {
        let _ = self.stop.send(true);
        for server in self.servers {
            let _ = self.runtime.block_on(server);
        }
        self.answers.shutdown_timeout(std::time::Duration::from_secs(1));
        let patience = self.api.config().drain_timeout;
        let drained = self.node.drain(patience);
        self.runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        drained
    }
}

fn runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    threads::start(builder).map_err(|e| e.to_string())
}

/// Threads of their own for puts: they go ahead of what computes.
fn answers_runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_name("answer").on_thread_start(priority::enter).on_thread_stop(priority::leave).enable_all();
    threads::start(builder).map_err(|e| format!("threads that answer: {e}"))
}

/// Each stream and each shard has a few files open, each connection one: as many are allowed as the system allows, which is
/// more than what processes begin with.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(error = %e, current = limit.current, "the number of open files stays as it is");
    }
}

/// Runs the service until SIGTERM or SIGINT; SIGHUP reloads the file.
pub fn run(path: &Path) -> Outcome {
    let runtime = runtime()?;
    // First of all: a signal that nobody waits for ends the process.
    let signals = runtime.block_on(async { Signals::new() })?;
    let config = load(path)?;
    telemetry::init_logs(&config.log);
    // Before they are read: what changes meanwhile is noticed.
    let files = fingerprint(&config);
    let service = Service::listen(config, runtime)?;
    let (api, admin) = (service.api_address.to_string(), service.admin_address.to_string());
    tracing::info!(api, admin, streams = service.node.names().len(), "hydrant listens");
    let (node, of) = (service.node.clone(), service.api.clone());
    let opening = service.runtime.spawn_blocking(move || match node.apply(&of.config()) {
        Ok(_) => tracing::info!(api, admin, streams = node.names().len(), "hydrant runs"),
        Err(e) => tracing::error!(error = %e, "the streams cannot be opened; it is tried again"),
    });
    service.runtime.block_on(signals.obey(&service, path.to_path_buf(), files));
    drop(opening);
    tracing::info!("stopping: intake ends, what is held is delivered");
    let drained = service.finish();
    tracing::info!(drained, "hydrant ends");
    Ok(ExitCode::SUCCESS)
}

/// What a process is told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// A file would have grown beyond `ulimit -f`: the write fails, which is treated as a full disk.
    file_size: Signal,
}

impl Signals {
    fn new() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("listen to signals: {e}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            file_size: listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Does what signals and changed files ask for, until the process is to end. What takes long is done beside it, one
    /// after the other: see [`Node`].
    async fn obey(mut self, service: &Service, path: PathBuf, mut watched: Fingerprint) {
        let (mut look, mut is_limit_told) = (tokio::time::interval(WATCH), false);
        let reload = || {
            let (node, api, path) = (service.node.clone(), service.api.clone(), path.clone());
            drop(tokio::task::spawn_blocking(move || reload(&node, &api, &path)));
        };
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(),
                _ = self.file_size.recv(), if !is_limit_told => {
                    is_limit_told = true;
                    tracing::warn!("a file has reached the largest size that this process may write (`ulimit -f`)");
                }
                _ = look.tick() => {
                    let (node, config) = (service.node.clone(), service.api.config());
                    drop(tokio::task::spawn_blocking(move || node.mend(&config)));
                    let found = fingerprint(&service.api.config());
                    if found != watched {
                        watched = found;
                        tracing::info!("a module, schema or certificate changed on disk");
                        reload();
                    }
                }
            }
        }
    }
}

/// Length and time of change of every file that is read again when it changes.
type Fingerprint = Vec<(PathBuf, Option<(u64, std::time::SystemTime)>)>;

fn fingerprint(config: &Config) -> Fingerprint {
    let mut files: Vec<_> = config.api.tls.iter().flat_map(|tls| [tls.cert.clone(), tls.key.clone()]).collect();
    for stream in config.streams.values() {
        files.extend(stream.transform.iter().map(|crate::config::Transform::Wasm(w)| w.module.clone()));
        files.extend(stream.format.schema().cloned());
    }
    let look = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    files.into_iter().map(|f| (f.clone(), look(&f))).collect()
}

/// Brings the file into force again. A file with problems changes nothing; each problem is logged.
fn reload(node: &Node, api: &FirehoseApi, path: &Path) {
    let config = match load(path) {
        Ok(config) => config,
        Err(problems) => {
            problems
                .lines()
                .for_each(|problem| tracing::error!(problem, "the configuration is not reloaded, the old one stays"));
            return;
        }
    };
    let admitted = match api.admit(config) {
        Ok(admitted) => admitted,
        Err(problem) => {
            tracing::error!(problem, "the configuration is not reloaded, the old one stays");
            return;
        }
    };
    match node.apply(&admitted.config) {
        Err(e) => tracing::error!(error = %e, "the configuration is not reloaded"),
        Ok(errors) => {
            errors.iter().for_each(|error| tracing::error!(error, "a stream keeps its old configuration"));
            api.set_config(admitted);
            tracing::info!(streams = node.names().len(), "reloaded");
        }
    }
}
