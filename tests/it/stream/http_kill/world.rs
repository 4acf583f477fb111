//! One data directory and one endpoint, which nobody kills, through many lives of the process.

use super::judge::{Evidence, Sums};
use super::load::{self, Load, STREAM};
use super::mix::{Hung, Mood, turn};
use crate::rig::endpoint::Endpoint;
use crate::rig::service::{exchange, variable};
use crate::stream::kill::record::{Known, Rng};
use crate::stream::kill::tally::last_step;
use hydrant::stream::supervise::Status;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What must happen within this time, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
/// A wrong build that moves nothing for so long never will.
const STANDSTILL: Duration = Duration::from_secs(4);
/// How long a life goes on in which what was aimed at does not come about.
const REACHED_WITHIN: Duration = Duration::from_secs(3);
/// The two that a reload changes between.
const RETRY_MS: [u64; 2] = [150, 300];

/// When a life ends.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// This long after it was ready.
    After(Duration),
    /// At the n-th time it reaches a step.
    At(&'static str, u64),
}

/// What happens in a life, besides its end.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub load: Load,
    pub mood: Mood,
    /// The other configuration comes into force that long after it was ready.
    pub reload: Option<Duration>,
    /// The endpoint is gone from then on, for longer than a plan is tried.
    pub outage: Option<Duration>,
}

/// How a life ended.
pub struct End {
    pub step: String,
    /// Whether what was aimed at came about.
    pub hit: bool,
}

/// See the module.
pub struct World {
    dir: tempfile::TempDir,
    pub endpoint: Endpoint,
    pub known: Known,
    pub rng: Rng,
    pub sums: Sums,
    hung: Hung,
    /// The second of two configurations.
    second: bool,
    /// The rule that every life breaks.
    rule: Option<&'static str>,
    /// The number of the first request of each life, and when it began, in milliseconds since the Unix epoch.
    lives: Vec<(usize, u64)>,
}

/// A running process, ended with its guard.
pub struct Life {
    child: Child,
    pub api: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl World {
    pub fn new(seed: u64, rule: Option<&'static str>) -> World {
        let world = World {
            dir: tempfile::Builder::new().prefix("hydrant-http-kill-").tempdir().expect("a temporary directory"),
            endpoint: Endpoint::start(),
            known: Known::default(),
            rng: Rng(seed),
            sums: Sums::default(),
            hung: Hung::default(),
            second: false,
            rule,
            lives: Vec::new(),
        };
        world.configure();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self) {
        let text = format!(
            r#"data_dir: {dir}/data
api: {{ listen: "127.0.0.1:0" }}
admin: {{ listen: "127.0.0.1:0" }}
streams:
  {STREAM}:
    buffer: {{ size: 1MiB, interval: 60ms }}
    destination:
      http:
        url: "{url}"
        content_encoding: gzip
        common_attributes: {{ configuration: "{second}" }}
        retry_duration: {retry}ms
        retry_first: 20ms
        retry_max: 80ms
        timeout: 10s
        concurrency: 4
    backup:
      mode: failed
      local: {{ dir: {dir}/failed, prefix: "raw/", error_prefix: "errors/!{{firehose:error-output-type}}/" }}
      buffer: {{ size: 1MiB, interval: 60ms }}
      compress: none
"#,
            dir = self.dir.path().display(),
            url = self.endpoint.url("/"),
            second = self.second,
            retry = RETRY_MS[usize::from(self.second)],
        );
        std::fs::write(self.path("next.yaml"), text).expect("write the configuration");
        std::fs::rename(self.path("next.yaml"), self.path("hydrant.yaml")).expect("rename the configuration");
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("life {}, its log:\n{}", self.lives.len(), lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    /// Starts the process, to be killed at the n-th time it reaches a step. `None`: that came before it listened.
    fn start(&mut self, kill_at: Option<(&str, u64)>) -> Result<Option<Life>, String> {
        // What the last life sent has to be seen as the last life's.
        self.endpoint.quiet();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        self.lives.push((self.endpoint.arrived(), now.as_millis() as u64));
        let _ = std::fs::remove_file(self.path("step"));
        let log = std::fs::File::create(self.path("log")).expect("create the log");
        let mut command = Command::new(variable("HYDRANT_TEST_BIN"));
        command.arg("run").arg(self.path("hydrant.yaml")).env("HYDRANT_STEP_FILE", self.path("step"));
        command.env_remove("HYDRANT_KILL_AT").env_remove("HYDRANT_LOG");
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
    fn ended(&self, life: &mut Life) -> Result<bool, String> {
        match life.child.try_wait().expect("ask for hydrant") {
            None => Ok(false),
            Some(status) if status.signal() == Some(9) => Ok(true),
            Some(status) => Err(format!("it ended by itself ({status}); {}", self.log())),
        }
    }

    /// Lives one life, ended by a kill that is aimed.
    pub fn live(&mut self, aim: Aim, course: Course) -> Result<End, String> {
        let kill_at = if let Aim::At(step, n) = aim { Some((step, n)) } else { None };
        let seed = self.rng.below(u64::MAX);
        turn(&self.endpoint, course.mood, seed, &self.hung);
        let Some(mut life) = self.start(kill_at)? else { return Ok(End { step: self.step(), hit: true }) };
        let mut rng = self.rng.fork();
        let clients = load::start(course.load, life.api, &self.known, &mut rng);
        let end = self.run(&mut life, aim, course);
        drop(life);
        let step = self.step();
        if course.outage.is_some() {
            self.endpoint.restart();
        }
        clients.join()?;
        Ok(End { step, hit: end? })
    }

    /// Whether what was aimed at came about.
    fn run(&mut self, life: &mut Life, aim: Aim, course: Course) -> Result<bool, String> {
        let began = Instant::now();
        let (mut reload, mut outage, mut back) = (course.reload, course.outage, None);
        let ends = match aim {
            Aim::After(pause) => pause,
            Aim::At(..) => REACHED_WITHIN,
        };
        loop {
            if self.ended(life)? {
                return Ok(matches!(aim, Aim::At(..)));
            }
            let now = began.elapsed();
            if reload.take_if(|at| *at <= now).is_some() {
                self.second = !self.second;
                self.configure();
                kill_process(Pid::from_child(&life.child), Signal::HUP).expect("it is not waited for yet");
            }
            if outage.take_if(|at| *at <= now).is_some() {
                self.endpoint.stop();
                back = Some(now + 2 * Duration::from_millis(RETRY_MS[1]));
            }
            if back.take_if(|at| *at <= now).is_some() {
                self.endpoint.restart();
            }
            if self.rng.chance(20) {
                self.endpoint.release();
            }
            if now >= ends {
                return Ok(matches!(aim, Aim::After(_)));
            }
            std::thread::sleep(POLL);
        }
    }

    fn step(&self) -> String {
        last_step(&self.path("step"))
    }

    fn status(&self, life: &Life) -> Option<Status> {
        let request = b"GET /v1/streams HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let (_, body) = exchange(life.admin, request)?;
        let all: Vec<Status> = serde_json::from_slice(&body).ok()?;
        all.into_iter().find(|s| s.stream == STREAM)
    }

    /// Waits until everything is settled. An error tells what adds up no more, or will never be settled.
    fn drain(&self, life: &mut Life) -> Result<Status, String> {
        let mut moved = (Instant::now(), String::new());
        let began = Instant::now();
        loop {
            if self.ended(life)? {
                return Err("killed by nobody while it drained".into());
            }
            if let Some(s) = self.status(life) {
                let held = s.alarm.as_deref().is_some_and(|a| a.contains(" is held: "));
                if s.state != "running" || s.gap != 0 || s.lost != 0 || held {
                    return Err(format!("it does not add up or stands still: {s:?}; {}", self.log()));
                }
                if s.pending == 0 && s.backup_pending == 0 && s.open_plans == 0 {
                    return Ok(s);
                }
                if s.lane != moved.1 {
                    moved = (Instant::now(), s.lane);
                }
            }
            let stuck = self.rule.is_some() && moved.0.elapsed() > STANDSTILL;
            if stuck || began.elapsed() > PATIENCE {
                return Err(format!(
                    "not settled after {:?}: {:?}; {}",
                    began.elapsed(),
                    self.status(life),
                    self.log()
                ));
            }
            std::thread::sleep(5 * POLL);
        }
    }

    /// Lives one life in which all goes well until all is settled, then judges what was found, the counters and the
    /// audit. With a load, that goes through as well.
    pub fn settle(&mut self, load: Option<Load>) -> Result<(), String> {
        turn(&self.endpoint, Mood::GOOD, 0, &self.hung);
        let mut life = self.start(None)?.ok_or("killed by nobody while it started")?;
        if let Some(load) = load {
            let mut rng = self.rng.fork();
            load::start(load, life.api, &self.known, &mut rng).join()?;
        }
        let status = self.drain(&mut life)?;
        drop(life);
        self.endpoint.quiet();
        let evidence = Evidence {
            endpoint: &self.endpoint,
            hung: &self.hung,
            lives: &self.lives,
            failed: &self.path("failed"),
            known: &self.known,
            status: &status,
        };
        self.sums = evidence.judge()?;
        let mut command = Command::new(variable("HYDRANT_TEST_BIN"));
        let output = command.args(["audit", "--deep"]).arg(self.path("hydrant.yaml")).output().expect("run hydrant");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        match output.status.success() && text.contains("gap 0") {
            true => Ok(()),
            false => Err(format!("audit ({}): {text}", output.status)),
        }
    }
}
