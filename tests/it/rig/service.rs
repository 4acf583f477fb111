//! The built binary as a child process, and what tests ask of it.

use hydrant::stream::supervise::Status;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Something that must happen within this time, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A variable that `tests/run` sets.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with tests/run"))
}

pub fn scale() -> f64 {
    std::env::var("HYDRANT_TEST_SCALE").map_or(0.1, |s| s.parse().expect("HYDRANT_TEST_SCALE is a number"))
}

thread_local! {
    static BROKEN: RefCell<Option<&'static str>> = const { RefCell::new(None) };
}

/// Runs a test whose services are a wrong build, as far as it starts them on this thread.
#[cfg(feature = "sabotage")]
pub fn broken<T>(rule: &'static str, test: impl FnOnce() -> T) -> T {
    struct Mended;
    impl Drop for Mended {
        fn drop(&mut self) {
            BROKEN.set(None);
        }
    }
    BROKEN.set(Some(rule));
    let _mended = Mended;
    test()
}

/// A running `hydrant run`, ended with the test.
pub struct Service {
    pub dir: tempfile::TempDir,
    pub api: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
}

/// Two addresses that were free a moment ago: a child that is restarted has to find them in its file.
fn addresses() -> (SocketAddr, SocketAddr) {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let (a, b) = (free(), free());
    (a.local_addr().expect("bound"), b.local_addr().expect("bound"))
}

impl Service {
    /// Starts the service with `streams` (YAML below `streams:`) and waits until it is ready. `DIR` in the text is the
    /// test's directory.
    pub fn start(streams: &str) -> Service {
        Service::start_with("", streams)
    }

    /// The same with further top-level YAML.
    pub fn start_with(top: &str, streams: &str) -> Service {
        let mut service = Service::new();
        service.configure(top, streams);
        service.restart();
        service
    }

    /// The same with the data somewhere else than in the test's directory.
    pub fn start_in(data_dir: &str, streams: &str) -> Service {
        let mut service = Service::new();
        service.configure_in(data_dir, streams);
        service.restart();
        service
    }

    /// One that is configured, but does not run yet.
    pub fn new() -> Service {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (api, admin) = addresses();
        Service { child: spawn_nothing(), dir, api, admin }
    }

    /// Writes the configuration anew.
    pub fn configure(&self, top: &str, streams: &str) {
        self.write("DIR/data", top, streams);
    }

    pub fn configure_in(&self, data_dir: &str, streams: &str) {
        self.write(data_dir, "", streams);
    }

    fn write(&self, data_dir: &str, top: &str, streams: &str) {
        let (api, admin, dir) = (self.api, self.admin, self.dir.path().display());
        let api = if top.contains("api:") { String::new() } else { format!("api: {{ listen: \"{api}\" }}\n") };
        let text = format!("data_dir: {data_dir}\n{api}admin: {{ listen: \"{admin}\" }}\n{top}\nstreams:\n{streams}");
        let text = text.replace("DIR", &dir.to_string()).replace("API_ADDRESS", &self.api.to_string());
        std::fs::write(self.config(), text).expect("write the configuration");
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("hydrant.yaml")
    }

    /// Starts the process (again) and waits until it is ready.
    pub fn restart(&mut self) {
        self.restart_until("/readyz");
    }

    /// Waits for the end of a process that has killed itself.
    #[cfg(feature = "sabotage")]
    pub fn reap(&mut self) {
        self.child.wait().expect("wait for hydrant");
    }

    /// Starts the process (again) and waits until it answers at `page`: `/healthz` does also where a stream is broken. Every
    /// stream is open by then, or stopped.
    pub fn restart_until(&mut self, page: &str) {
        self.spawn([]);
        self.until(page, |s| s.get(page).is_some_and(|(status, _)| status == 200));
        self.until("all are opened", |s| s.statuses().iter().all(|s| s.state != "opening"));
    }

    /// Starts the process (again), to be killed at the n-th time it reaches a step or else by whoever calls, and waits until
    /// it is ready or dead. It notes its steps in [`Service::step_file`].
    #[cfg(feature = "sabotage")]
    pub fn restart_to_die(&mut self, at: Option<(&str, u64)>) {
        let _ = std::fs::remove_file(self.step_file());
        let file = self.step_file().into_os_string();
        let kill_at = at.map(|(step, n)| ("HYDRANT_KILL_AT", format!("{step}:{n}").into()));
        self.spawn([("HYDRANT_STEP_FILE", file)].into_iter().chain(kill_at));
        self.until_ready_or_dead();
    }

    /// Waits until the process is ready, or has ended.
    pub fn until_ready_or_dead(&mut self) {
        let began = Instant::now();
        while !self.has_ended() && self.get("/readyz").is_none_or(|(status, _)| status != 200) {
            assert!(began.elapsed() < PATIENCE, "neither ready nor dead within {PATIENCE:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[cfg(feature = "sabotage")]
    pub fn step_file(&self) -> PathBuf {
        self.dir.path().join("step")
    }

    /// Starts the process with this umask, and waits until it is ready.
    pub fn restart_with_umask(&mut self, umask: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask $0 && exec \"$@\"", umask]).arg(variable("HYDRANT_TEST_BIN"));
        let log = self.log_file();
        self.spawn_as(&mut shell, log);
        self.until("/readyz", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    }

    fn spawn(&mut self, variables: impl IntoIterator<Item = (&'static str, OsString)>) {
        let log = self.log_file();
        let mut command = Command::new(variable("HYDRANT_TEST_BIN"));
        BROKEN.with_borrow(|rule| rule.map(|rule| command.env("HYDRANT_SABOTAGE", rule)).is_some());
        self.spawn_as(command.envs(variables), log);
    }

    /// Starts the process, as an argument of `command` or as that itself, and does not wait for it. Its log goes to `log`.
    pub fn spawn_as(&mut self, command: &mut Command, log: std::fs::File) {
        command.arg("run").arg(self.config()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
        self.child = command.spawn().expect("start hydrant");
    }

    /// The log's file, for [`Service::spawn_as`].
    pub fn log_file(&self) -> std::fs::File {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log"));
        log.expect("open the log")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("ask for hydrant").is_some()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signal hydrant");
    }

    /// Ends the process with SIGTERM and returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("wait for hydrant").code()
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("kill hydrant");
        self.child.wait().expect("wait for hydrant");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it takes, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most that it has taken.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix(line)).expect("it says what it takes");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until `condition` holds.
    pub fn until(&mut self, what: &str, condition: impl Fn(&Service) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            if let Some(status) = self.child.try_wait().expect("ask for hydrant") {
                panic!("hydrant ended ({status}) before: {what}\n{}", self.log());
            }
            if began.elapsed() > PATIENCE {
                panic!("not within {PATIENCE:?}: {what}\n{:?}\n{}", self.statuses(), self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every stream has accepted `records` in total and settled them.
    pub fn settled(&mut self, records: u64) {
        self.until("everything is settled", |s| {
            let all = s.statuses();
            let accepted: u64 = all.iter().map(|s| s.accepted).sum();
            let pending: u64 = all.iter().map(|s| s.pending + s.backup_pending).sum();
            accepted >= records && pending == 0
        });
        self.statuses().iter().for_each(|s| assert_eq!(s.gap, 0, "{s:?}"));
    }

    pub fn statuses(&self) -> Vec<Status> {
        let (_, body) = self.get("/v1/streams").unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    pub fn status(&self, stream: &str) -> Status {
        self.statuses().into_iter().find(|s| s.stream == stream).unwrap_or_default()
    }

    /// Gets a page of the admin listener; `None` if it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        exchange(self.admin, request.as_bytes())
    }

    /// Calls an operation of the API, unsigned; `None` if it does not answer.
    pub fn call(&self, operation: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        self.client().call(operation, body)
    }

    /// Puts records in one batch and returns the status.
    pub fn put(&self, stream: &str, records: &[&[u8]]) -> u16 {
        self.client().put(stream, records)
    }

    /// What calls the API, for another thread.
    pub fn client(&self) -> Client {
        Client::at(self.api)
    }

    /// Runs another command of the binary with this configuration: exit code and standard output.
    pub fn command(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.config().display().to_string();
        self.command_with(&[arguments, &[config.as_str()]].concat())
    }

    /// The same where the arguments are all there are.
    pub fn command_with(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(variable("HYDRANT_TEST_BIN")).args(arguments).output();
        let output = output.expect("run hydrant");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// Objects below a directory of the test's, with their names.
    pub fn objects(&self, dir: &str) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        collect(&self.dir.path().join(dir), &mut found);
        found.sort();
        found
    }
}

/// Calls the API of a service.
#[derive(Clone, Copy)]
pub struct Client {
    api: SocketAddr,
}

impl Client {
    pub fn at(api: SocketAddr) -> Client {
        Client { api }
    }

    /// Calls an operation, unsigned; `None` if nobody answers.
    pub fn call(self, operation: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut request = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-target: \
             Firehose_20150804.{operation}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.api,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        exchange(self.api, &request)
    }

    /// Puts records in one batch and returns the status.
    pub fn put(self, stream: &str, records: &[&[u8]]) -> u16 {
        let data: Vec<String> =
            records.iter().map(|r| format!("{{\"Data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(r))).collect();
        let body = format!("{{\"DeliveryStreamName\":\"{stream}\",\"Records\":[{}]}}", data.join(","));
        self.call("PutRecordBatch", body.as_bytes()).map_or(0, |(status, _)| status)
    }
}

/// Whole objects below a directory, with their names.
pub fn collect(dir: &std::path::Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push((path.display().to_string(), std::fs::read(&path).expect("read an object")));
        }
    }
}

fn spawn_nothing() -> Child {
    Command::new("true").spawn().expect("start `true`")
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the service's log:\n{}", self.log());
        }
    }
}

/// One request and its answer on a connection of its own: status and body.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // The answer may come, and the connection be closed, before the request is whole.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let head = memchr::memmem::find(&answer, b"\r\n\r\n")?;
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    Some((status, answer[head + 4..].to_vec()))
}
