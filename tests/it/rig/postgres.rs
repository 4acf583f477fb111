//! PostgreSQL servers that tests start, kill and start again, on loopback.

use crate::rig::service::{PATIENCE, variable};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Owns every database here; made by `initdb`.
pub const USER: &str = "owner";
pub const PASSWORD: &str = "open sesame";

/// The certificate of every server here, for 127.0.0.1, signed by itself.
pub const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/server.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/server.key");

pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime starts"));

/// The server that all tests share that leave it running.
pub static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);

/// A folder that `initdb` has filled, copied for each server.
static TEMPLATE: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(&variable("HYDRANT_TEST_POSTGRES_DATA")).join("template");
    let password = dir.with_extension("password");
    fs::write(&password, PASSWORD).expect("write the password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).expect("let it be read");
    make_dir(&dir);
    let mut initdb = unprivileged("initdb");
    initdb.arg("-D").arg(&dir).args(["-U", USER, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--no-sync"]);
    let output = initdb.arg("--pwfile").arg(&password).output().expect("run initdb");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    dir
});

/// A server of one's own, ended with it.
pub struct Postgres {
    pub port: u16,
    dir: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Postgres {
    pub fn start() -> Postgres {
        let dir = TEMPLATE.with_file_name(uuid::Uuid::new_v4().to_string());
        let copied = Command::new("cp").arg("-a").arg(&*TEMPLATE).arg(&dir).status().expect("run cp");
        assert!(copied.success(), "the template can be copied");
        for (from, to) in [(CERTIFICATE, "server.crt"), (KEY, "server.key")] {
            let to = dir.join(to);
            fs::copy(from, &to).expect("copy a certificate");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("keep a key to oneself");
            own(&to);
        }
        // The port was free a moment ago; whoever starts again has to find the same.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a loopback port").port();
        let server = Postgres { port, dir, child: Mutex::new(None) };
        server.restart();
        server
    }

    /// Starts the server (again) and waits until it takes connections.
    pub fn restart(&self) {
        let mut child = self.spawn();
        let began = Instant::now();
        while RUNTIME.block_on(self.try_connect("postgres")).is_err() {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL is not ready: {}", self.log());
            // The children of one that was killed notice it and go; until then the next refuses to start.
            if child.try_wait().expect("ask for PostgreSQL").is_some() {
                child = self.spawn();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.child.lock().expect("no test panics here") = Some(child);
    }

    fn spawn(&self) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.log_file()).expect("open the log");
        let mut server = unprivileged("postgres");
        server.arg("-D").arg(&self.dir).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=60",
            "ssl=on",
        ] {
            server.args(["-c", setting]);
        }
        server.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
        spawn_kept(server)
    }

    fn log_file(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// As `kill -9` of everything that belongs to it.
    pub fn kill(&self) {
        let Some(mut child) = self.child.lock().expect("no test panics here").take() else { return };
        child.kill().expect("kill PostgreSQL");
        child.wait().expect("wait for PostgreSQL");
    }

    async fn try_connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(USER).password(PASSWORD).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A new database of one's own.
    pub fn database(&self) -> Database<'_> {
        let name = format!("db_{}", uuid::Uuid::new_v4().simple());
        self.connect("postgres").run(&format!("CREATE DATABASE {name}"));
        Database { client: self.connect(&name), server: self, name }
    }

    fn connect(&self, database: &str) -> Eye {
        let client = RUNTIME.block_on(self.try_connect(database));
        Eye(client.unwrap_or_else(|e| panic!("connect to PostgreSQL: {e}\n{}", self.log())))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().ok().and_then(|mut child| child.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{}", self.log());
        }
    }
}

/// A session of somebody else's.
pub struct Eye(Client);

impl Eye {
    /// The rows of the last statement that has any, as text.
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let answers = RUNTIME.block_on(self.0.simple_query(sql)).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        });
        rows.collect()
    }

    pub fn run(&self, sql: &str) {
        self.rows(sql);
    }

    /// The only value there is.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        rows.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_else(|| panic!("{sql}: no value"))
    }

    /// Waits until a statement gives true.
    pub fn until(&self, sql: &str) {
        let began = Instant::now();
        while self.value(sql) != "t" {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {sql}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A database and a session in it.
pub struct Database<'p> {
    pub server: &'p Postgres,
    pub name: String,
    client: Eye,
}

impl std::ops::Deref for Database<'_> {
    type Target = Eye;

    fn deref(&self) -> &Eye {
        &self.client
    }
}

impl Database<'_> {
    /// A session anew, once the server has been started again.
    pub fn reconnect(&mut self) {
        self.client = self.server.connect(&self.name);
    }
}

/// One of PostgreSQL's programs as somebody who is not root, for whom it refuses to work.
fn unprivileged(program: &str) -> Command {
    let program = Path::new(&variable("HYDRANT_TEST_POSTGRES")).join(program);
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL"]).arg(program);
    command
}

fn make_dir(dir: &Path) {
    fs::create_dir(dir).expect("make a folder");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("keep a folder to oneself");
    own(dir);
}

/// Gives a file to whom the programs run as.
fn own(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let (user, group) = *NOBODY;
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("give a file away");
    }
}

/// What `setpriv` makes of the names above.
static NOBODY: LazyLock<(u32, u32)> = LazyLock::new(|| {
    let probe = Path::new(&variable("HYDRANT_TEST_POSTGRES_DATA")).join("nobody");
    fs::create_dir(&probe).expect("make a folder");
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o777)).expect("let everybody write");
    let file = probe.join("file");
    let mut touch = Command::new("setpriv");
    touch.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "touch"]).arg(&file);
    assert!(touch.status().expect("run setpriv").success(), "there is a user nobody and a group nogroup");
    let made = fs::metadata(&file).expect("it was made");
    (made.uid(), made.gid())
});

/// Starts a process from a thread that stays: its signal of a parent's death comes when the thread ends.
pub fn spawn_kept(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static ORDERS: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = mpsc::channel();
    ORDERS.lock().expect("no test panics here").send((command, answer)).expect("the thread stays");
    child.recv().expect("the thread stays").expect("start a server")
}
