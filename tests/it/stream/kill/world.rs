//! One data directory and one bucket through many lives of the process.

use super::judge::Judge;
use super::load;
use super::record::{Known, Rng};
use super::tally::last_step;
use crate::rig::bucket::Bucket;
use crate::rig::service::variable;
use hydrant::stream::supervise::Status;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What must happen within this time, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(2);
/// A wrong build that moves nothing for so long never will.
const STANDSTILL: Duration = Duration::from_secs(8);
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The second of two configurations that differ in everything an epoch fixes.
    pub second: bool,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub reachable: bool,
}

/// See the module.
pub struct World {
    dir: tempfile::TempDir,
    pub bucket: Bucket,
    pub known: Known,
    pub judge: Judge,
    pub rng: Rng,
    pub settings: Settings,
    /// The rule that every life breaks.
    pub rule: Option<&'static str>,
    /// The most plans of both streams that were seen open at once.
    pub most_open: u64,
    lives: u64,
}

/// A running process, ended with its guard.
pub struct Life {
    child: Child,
    pub api: SocketAddr,
    pub admin: SocketAddr,
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    pub fn new(seed: u64, rule: Option<&'static str>) -> World {
        let dir = tempfile::Builder::new().prefix("hydrant-kill-").tempdir().expect("a temporary directory");
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/faults/misbehave.wat"));
        let text = text.expect("read the transform");
        // T gets a key too and works about as long as a call may take; the second configuration makes one copy of a
        // `2` instead of two.
        let text = replace(&text, "250_000_000", "50_000_000");
        let keyed = "(if (i32.eq (local.get $first) (i32.const 0x4b)) ;; K";
        let both =
            "(if (i32.or (i32.eq (local.get $first) (i32.const 0x54)) (i32.eq (local.get $first) (i32.const 0x4b)))";
        let one = replace(&text, keyed, both);
        let copies = |n| format!("(i32.store offset=16 (local.get $out) (i32.const {n}))");
        let two = replace(&one, &copies(2), &copies(1));
        for (name, text) in [("one.wasm", one), ("two.wasm", two)] {
            let bytes = wat::parse_str(text).expect("the transform compiles");
            std::fs::write(dir.path().join(name), bytes).expect("write the transform");
        }
        std::fs::write(dir.path().join("rows.yaml"), "columns: { id: bigint, pad: string }\n")
            .expect("write the schema");
        let settings = Settings { second: false, interval_ms: 150, timeout_ms: 50, reachable: true };
        let world = World {
            dir,
            bucket: Bucket::new(),
            known: Known::default(),
            judge: Judge::default(),
            rng: Rng(seed),
            settings,
            rule,
            most_open: 0,
            lives: 0,
        };
        world.configure();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration file as `settings` say.
    pub fn configure(&self) {
        let s = &self.settings;
        let endpoint = if s.reachable { variable("HYDRANT_TEST_S3_ENDPOINT") } else { NOWHERE.to_owned() };
        let s3 = format!(
            "bucket: {}, endpoint: \"{endpoint}\", access_key_id: \"${{env:HYDRANT_TEST_S3_ACCESS_KEY}}\", \
             secret_access_key: \"${{env:HYDRANT_TEST_S3_SECRET_KEY}}\"",
            self.bucket.name
        );
        let parquet = "{ parquet: { schema: rows.yaml } }";
        let (variant, format, compress) = match s.second {
            false => ("one", "lines", "gzip"),
            true => ("two", parquet, "none"),
        };
        let (ms, timeout) = (s.interval_ms, s.timeout_ms);
        let text = format!(
            r#"data_dir: {data}
api: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
streams:
  a:
    transform:
      - wasm:
          module: {variant}.wasm
          batch: {{ max_records: 60 }}
          limits: {{ timeout: {timeout}ms, timeout_per_record: 0ms }}
          retries: 0
    format: lines
    compress: {compress}
    buffer: {{ size: 1MiB, interval: {ms}ms }}
    destination:
      s3:
        {{ {s3}, prefix: "main-a/{variant}/!{{partitionKeyFromLambda:k}}/",
          error_prefix: "errors-a/!{{firehose:error-output-type}}/" }}
    backup:
      mode: all
      s3: {{ {s3}, prefix: raw-a/ }}
      buffer: {{ size: 1MiB, interval: {ms}ms }}
      compress: gzip
  b:
    format: {format}
    buffer: {{ size: 64MiB, interval: {ms}ms }}
    destination:
      s3:
        {{ {s3}, prefix: "main-b/{variant}/!{{timestamp:yyyy}}/", error_prefix: "errors-b/!{{firehose:error-output-type}}/" }}
    backup:
      mode: all
      s3: {{ {s3}, prefix: raw-b/ }}
      buffer: {{ size: 1MiB, interval: {ms}ms }}
"#,
            data = self.path("data").display()
        );
        std::fs::write(self.path("next.yaml"), text).expect("write the configuration");
        std::fs::rename(self.path("next.yaml"), self.config()).expect("rename the configuration");
    }

    fn config(&self) -> PathBuf {
        self.path("hydrant.yaml")
    }

    /// Turns to the other configuration; in force with the next start, or with SIGHUP.
    pub fn toggle(&mut self) {
        self.settings.second = !self.settings.second;
        self.configure();
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("life {}, its log:\n{}", self.lives, lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    /// Starts the process, to be killed at the n-th time it reaches a step. `None`: that came before it listened.
    pub fn start(&mut self, kill_at: Option<(&str, u64)>) -> Result<Option<Life>, String> {
        self.lives += 1;
        let _ = std::fs::remove_file(self.path("step"));
        let log = std::fs::File::create(self.path("log")).expect("create the log");
        let mut command = Command::new(variable("HYDRANT_TEST_BIN"));
        command.arg("run").arg(self.config()).env("HYDRANT_STEP_FILE", self.path("step"));
        command.env_remove("HYDRANT_KILL_AT").env_remove("HYDRANT_SABOTAGE").env_remove("HYDRANT_LOG");
        command.env("HYDRANT_SABOTAGE", self.rule.unwrap_or_default());
        if let Some((step, n)) = kill_at {
            command.env("HYDRANT_KILL_AT", format!("{step}:{n}"));
        }
        let log2 = log.try_clone().expect("a file can be cloned");
        let child = command.stdin(Stdio::null()).stdout(log2).stderr(log).spawn().expect("start hydrant");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut life = Life { child, api: nowhere, admin: nowhere };
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            if let Some(line) = text.lines().find(|l| l.contains("\"hydrant runs\"") && l.ends_with('}')) {
                let line: serde_json::Value = serde_json::from_str(line).expect("log lines are JSON");
                let address = |key: &str| line[key].as_str().and_then(|a| a.parse().ok()).expect("an address");
                (life.api, life.admin) = (address("api"), address("admin"));
                return Ok(Some(life));
            }
            if self.ended(&mut life)? {
                return Ok(None);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("not ready within {PATIENCE:?}; {}", self.log()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether the process is dead. An error unless it died by SIGKILL.
    pub fn ended(&self, life: &mut Life) -> Result<bool, String> {
        match life.child.try_wait().expect("ask for hydrant") {
            None => Ok(false),
            Some(status) if status.signal() == Some(9) => Ok(true),
            Some(status) => Err(format!("it ended by itself ({status}); {}", self.log())),
        }
    }

    /// Waits until `condition` holds; `false` if the process died or the time is over before.
    pub fn until(
        &self,
        life: &mut Life,
        within: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool, String> {
        let began = Instant::now();
        while began.elapsed() < within && !self.ended(life)? {
            if condition() {
                return Ok(true);
            }
            std::thread::sleep(POLL);
        }
        Ok(false)
    }

    /// Kills the process, unless it is dead, and says which step it had reached.
    pub fn kill(&self, mut life: Life) -> String {
        let _ = life.child.kill();
        let _ = life.child.wait();
        self.step()
    }

    pub fn step(&self) -> String {
        last_step(&self.path("step"))
    }

    /// Has the configuration read again, unless the process is dead.
    pub fn hang_up(&self, life: &mut Life) -> Result<(), String> {
        if !self.ended(life)? {
            let pid = rustix::process::Pid::from_child(&life.child);
            rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("signal hydrant");
        }
        Ok(())
    }

    pub fn statuses(&self, life: &Life) -> Vec<Status> {
        let (_, body) = load::get(life.admin, "/v1/streams").unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// An error tells what adds up no more, or stands still for good.
    pub fn sound(&self, statuses: &[Status]) -> Result<(), String> {
        let alarms = |s: &Status, text: &str| s.alarm.as_deref().is_some_and(|a| a.contains(text));
        // Records that are gone from the journal are missed even where their objects turn out to be stored.
        let bad = |s: &Status| alarms(s, " is held: ") || alarms(s, "cannot be read any more");
        match statuses.iter().find(|s| s.state != "running" || s.gap != 0 || s.lost != 0 || bad(s)) {
            Some(s) => Err(format!("{} does not add up or stands still: {s:?}; {}", s.stream, self.log())),
            None => Ok(()),
        }
    }

    /// Waits until everything is settled. An error tells what will never be.
    pub fn drain(&mut self, life: &mut Life) -> Result<BTreeMap<String, Status>, String> {
        let mut moved = (Instant::now(), String::new());
        let began = Instant::now();
        loop {
            let statuses = self.statuses(life);
            let lanes: String = statuses.iter().map(|s| s.lane.as_str()).collect();
            if lanes != moved.1 {
                moved = (Instant::now(), lanes);
            }
            if self.ended(life)? {
                return Err("killed while it drained".into());
            }
            self.most_open = self.most_open.max(statuses.iter().map(|s| s.open_plans).sum());
            self.sound(&statuses)?;
            let rests = |s: &Status| s.pending == 0 && s.backup_pending == 0 && s.open_plans == 0;
            if statuses.len() == 2 && statuses.iter().all(rests) {
                return Ok(statuses.into_iter().map(|s| (s.stream.clone(), s)).collect());
            }
            let stuck = self.rule.is_some() && moved.0.elapsed() > STANDSTILL;
            if stuck || began.elapsed() > PATIENCE {
                return Err(format!("not drained after {:?}: {statuses:?}; {}", began.elapsed(), self.log()));
            }
            std::thread::sleep(10 * POLL);
        }
    }

    /// Lives one life without a kill until all is settled, then judges the bucket, the counters and the audit.
    pub fn settle(&mut self, deep: bool) -> Result<BTreeMap<String, Status>, String> {
        let mut life = self.start(None)?.ok_or("killed while it started")?;
        let statuses = self.drain(&mut life)?;
        self.kill(life);
        if std::fs::read_to_string(self.path("log")).unwrap_or_default().contains("does not heed") {
            return Err("MinIO is taken for a store without conditions".into());
        }
        self.judge.look(&self.bucket)?;
        self.judge.verdict(&self.known.lock(), &statuses)?;
        match self.audit(deep)? {
            (true, _) => Ok(statuses),
            (false, text) => Err(format!("audit: {text}")),
        }
    }

    /// Runs `hydrant audit`: whether all adds up, and what it printed.
    pub fn audit(&self, deep: bool) -> Result<(bool, String), String> {
        let mut command = Command::new(variable("HYDRANT_TEST_BIN"));
        command.arg("audit").arg(self.config()).args(deep.then_some("--deep"));
        let out = std::fs::File::create(self.path("audit")).expect("create a file");
        command.stdin(Stdio::null()).stdout(out.try_clone().expect("a file can be cloned")).stderr(out);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut life = Life { child: command.spawn().expect("start hydrant"), api: nowhere, admin: nowhere };
        let began = Instant::now();
        let status: ExitStatus = loop {
            match life.child.try_wait().expect("ask for hydrant") {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => return Err(format!("audit takes more than {PATIENCE:?}")),
                None => std::thread::sleep(POLL),
            }
        };
        Ok((status.success(), std::fs::read_to_string(self.path("audit")).unwrap_or_default()))
    }
}

/// Replaces what must be there exactly once.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` in the transform's text");
    text.replace(from, to)
}
