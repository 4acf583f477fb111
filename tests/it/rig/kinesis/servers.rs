//! Kinesis and DynamoDB servers that we did not write, on loopback, ended with the test.

use crate::rig::postgres::spawn_kept;
use crate::rig::service::{PATIENCE, exchange, variable};
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Servers that lose their port to somebody else between choosing and listening are started again.
const STARTS_MAX: usize = 5;

/// A running server and its log.
pub struct Server {
    name: &'static str,
    dir: tempfile::TempDir,
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Waits until it answers `GET path` at the first of the ports that `command` is told.
    fn start(name: &'static str, path: &str, command: impl Fn([u16; 2]) -> Command) -> Server {
        let mut log = String::new();
        for _ in 0..STARTS_MAX {
            let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a loopback port"));
            let addresses = held.map(|listener| listener.local_addr().expect("it is bound"));
            let dir = tempfile::tempdir().expect("a temporary directory");
            let file = std::fs::File::create(dir.path().join("log")).expect("create the log");
            let server = command(addresses.map(|a| a.port()));
            // The kernel ends it with us, however we end.
            let mut kept = Command::new("setpriv");
            kept.arg("--pdeathsig=KILL").arg(server.get_program()).args(server.get_args());
            kept.envs(server.get_envs().filter_map(|(k, v)| Some((k, v?)))).current_dir(dir.path());
            kept.stdin(Stdio::null()).stdout(file.try_clone().expect("a file can be cloned")).stderr(file);
            let child = spawn_kept(kept);
            let mut server = Server { name, dir, address: addresses[0], child };
            if server.is_ready(path) {
                return server;
            }
            log = server.log();
        }
        panic!("{name} did not start in {STARTS_MAX} attempts: {log}");
    }

    fn is_ready(&mut self, path: &str) -> bool {
        let began = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        while began.elapsed() < PATIENCE {
            // Kinesalite refuses what is no call.
            let answer = exchange(self.address, request.as_bytes());
            let answered = answer.is_some_and(|(status, _)| [200, 403].contains(&status));
            // Somebody else may have our port: an answer counts only while our process lives.
            if self.child.try_wait().expect("ask for the server").is_some() {
                return false;
            }
            if answered {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{} is not ready: {}", self.name, self.log());
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("the end of {}'s log:\n{}", self.name, &log[tail..]);
        }
    }
}

/// kinesis-mock: resharding, consumers, no limits of rate. It speaks HTTP/1.1 and HTTP/2 on the same plain port.
pub struct KinesisLocal;

impl KinesisLocal {
    pub fn start() -> Server {
        Server::start("kinesis-local", "/healthcheck", |[plain, tls]| {
            let main = variable("HYDRANT_TEST_KINESIS_LOCAL");
            let mut command = Command::new(variable("HYDRANT_TEST_NODE"));
            command.arg(&main);
            command.env("KINESIS_MOCK_PLAIN_PORT", plain.to_string()).env("KINESIS_MOCK_TLS_PORT", tls.to_string());
            command.env("KINESIS_MOCK_CERT_PATH", main.replace("main.js", "server.json"));
            for action in ["CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "REGISTER_STREAM_CONSUMER"] {
                command.env(format!("{action}_DURATION"), "20ms");
            }
            command.env("SHARD_LIMIT", "2000");
            command.env("DEREGISTER_STREAM_CONSUMER_DURATION", "20ms").env("UPDATE_SHARD_COUNT_DURATION", "20ms");
            command.env("DELETE_STREAM_DURATION", "20ms");
            command
        })
    }
}

/// Kinesis in memory: resharding, no consumers.
pub struct Kinesalite;

impl Kinesalite {
    pub fn start() -> Server {
        Kinesalite::run("", "")
    }

    /// With what an earlier one has left in a directory, at a time in milliseconds since the Unix epoch when it still held that.
    pub fn at(path: &Path, at_ms: u64) -> Server {
        let clock = format!(
            "const now = Date.now, late = now() - {at_ms}; globalThis.Date = class extends Date {{ constructor(...of) \
             {{ of.length ? super(...of) : super(now() - late) }} static now() {{ return now() - late }} }};"
        );
        Kinesalite::run(&clock, &format!(", path: '{}'", path.display()))
    }

    fn run(before: &str, settings: &str) -> Server {
        Server::start("kinesalite", "/", |[port, _]| {
            let mut command = Command::new(variable("HYDRANT_TEST_NODE"));
            // Its own command listens everywhere.
            let times = "createStreamMs: 20, deleteStreamMs: 20, updateStreamMs: 20, shardLimit: 100";
            let main = variable("HYDRANT_TEST_KINESALITE");
            let run = format!("{before} require('{main}')({{ {times}{settings} }}).listen({port}, '127.0.0.1')");
            command.args(["-e", &run]);
            command
        })
    }
}

/// DynamoDB in memory: conditional writes, no transactions.
pub struct Dynalite;

impl Dynalite {
    pub fn start() -> Server {
        Dynalite::run(&[])
    }

    /// With what an earlier one has left in a directory.
    pub fn of(path: &Path) -> Server {
        Dynalite::run(&["--path".as_ref(), path.as_os_str()])
    }

    fn run(settings: &[&OsStr]) -> Server {
        Server::start("dynalite", "/", |[port, _]| {
            let mut command = Command::new(variable("HYDRANT_TEST_NODE"));
            command.arg(variable("HYDRANT_TEST_DYNALITE")).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
            command.args(["--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"]).args(settings);
            command
        })
    }
}

/// Kinesis and DynamoDB at one address.
pub struct Moto;

impl Moto {
    pub fn start() -> Server {
        Server::start("moto", "/moto-api/", |[port, _]| {
            let mut command = Command::new(variable("HYDRANT_TEST_MOTO"));
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        })
    }
}
