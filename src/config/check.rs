//! What the types cannot say: ranges, what holds between values, files that have to be there.

use super::place::one_of;
use super::problem::Problem;
use super::tree::{Node, quote};
use super::{AccessKey, Config, check_stream};
use crate::units::{ByteSize, format_duration};
use secrecy::ExposeSecret;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reports what is wrong and returns the configuration with its files made relative to `base_dir`.
pub fn check(mut config: Config, root: &Node, file: &str, base_dir: &Path, problems: &mut Vec<Problem>) -> Config {
    let mut checker = Checker { root, file, base_dir, problems };
    checker.node(&config);
    checker.api(&mut config);
    for (name, stream) in &mut config.streams {
        check_stream::check(&mut checker, name, stream);
    }
    config
}

/// The largest body of a request.
pub const REQUEST_BYTES_MAX: ByteSize = ByteSize::mib(6);
/// A request counts twice while it is in flight: its body, and the records in it.
const INTAKE_MIN: ByteSize = ByteSize(2 * REQUEST_BYTES_MAX.bytes());
/// A stream opens with a segment of 1 MiB and needs a second one of that size to go on when the first is full.
pub const STREAM_DISK_MIN: ByteSize = ByteSize::mib(2);

/// Keys from the root to a value.
pub type Keys<'k> = [&'k str];

pub struct Checker<'c> {
    root: &'c Node,
    file: &'c str,
    base_dir: &'c Path,
    pub problems: &'c mut Vec<Problem>,
}

impl Checker<'_> {
    fn locate(&self, keys: &Keys) -> (&Node, bool) {
        self.root.locate(keys)
    }

    pub fn has(&self, keys: &Keys) -> bool {
        self.locate(keys).1
    }

    pub fn problem(&mut self, keys: &Keys, message: impl Into<String>) {
        self.problems.push(self.root.problem(self.file, keys, message));
    }

    /// At the key rather than at its value.
    pub fn problem_at_key(&mut self, keys: &Keys, message: String) {
        self.problem(keys, message);
        let (last, way) = keys.split_last().expect("a key has a name");
        let position = self.locate(way).0.get(last).map(|entry| (entry.line, entry.column));
        if let (Some(problem), Some((line, column))) = (self.problems.last_mut(), position) {
            (problem.line, problem.column) = (line, column);
        }
    }

    /// At a value, of which the text as written is shown.
    pub fn expected(&mut self, keys: &Keys, what: impl Display) {
        let found = match self.locate(keys) {
            (node, true) => node.found(),
            (_, false) => "nothing".to_string(),
        };
        self.problem(keys, format!("found {found}, expected {what}"));
    }

    pub fn range<T: PartialOrd + Display>(&mut self, keys: &Keys, what: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            self.expected(keys, format!("{what} from {} to {}", range.start(), range.end()));
        }
    }

    pub fn time(&mut self, keys: &Keys, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let (start, end) = (format_duration(*range.start()), format_duration(*range.end()));
            self.expected(keys, format!("a time from {start} to {end}"));
        }
    }

    /// Makes `path` relative to the configuration file and sees that the file is there.
    pub fn file(&mut self, keys: &Keys, path: &mut PathBuf) -> bool {
        let full = self.base_dir.join(&*path);
        match std::fs::metadata(&full) {
            Ok(meta) if meta.is_file() => {
                *path = full;
                return true;
            }
            Ok(_) => self.expected(keys, "a file"),
            Err(e) => {
                let base = if path.is_relative() { " (relative to the configuration file)" } else { "" };
                let written = self.locate(keys).0.found();
                self.problem(keys, format!("file {written}{base}: {e}"));
            }
        }
        false
    }

    fn node(&mut self, config: &Config) {
        let seconds = Duration::from_secs;
        self.memory(config);
        // A budget of the node that its streams cannot open within would stop some of them, which ones by chance.
        let streams = config.streams.len().max(1) as u64;
        if config.disk_budget.is_some_and(|budget| budget < ByteSize(STREAM_DISK_MIN.bytes() * streams)) {
            let least = ByteSize(STREAM_DISK_MIN.bytes() * streams);
            self.expected(&["disk_budget"], format!("a size of at least {least}: {STREAM_DISK_MIN} for each stream"));
        }
        self.time(&["drain_timeout"], config.drain_timeout, seconds(0)..=seconds(3600));
        if config.data_dir.as_os_str().is_empty() {
            self.expected(&["data_dir"], "a folder");
        }
    }

    fn memory(&mut self, config: &Config) {
        let memory = &config.memory;
        let sizes = ByteSize::mib(16)..=ByteSize::mib(1 << 20);
        let (node, is_given) = self.locate(&["memory"]);
        // Of a share that was reported and left out, the default says nothing.
        let is_whole = !is_given || !node.is_mended();
        self.range(&["memory", "size"], "a size", memory.size, sizes.clone());
        if is_whole && sizes.contains(&memory.size) && memory.intake() < INTAKE_MIN {
            let share = memory.intake_share;
            let key = if self.has(&["memory", "size"]) { vec!["memory", "size"] } else { vec!["memory"] };
            let message = format!(
                "found {}, of which {share} are {} for requests, expected at least {INTAKE_MIN} for them: a request of \
                 the largest size takes its bytes twice, and with less it never fits",
                memory.size,
                memory.intake()
            );
            self.problem(&key, message);
        }
    }

    fn api(&mut self, config: &mut Config) {
        let api = &mut config.api;
        let seconds = Duration::from_secs;
        for (key, value) in [
            ("header_timeout", api.header_timeout),
            ("body_timeout", api.body_timeout),
            ("idle_timeout", api.idle_timeout),
        ] {
            self.time(&["api", key], value, seconds(1)..=seconds(3600));
        }
        self.time(&["api", "clock_skew"], api.clock_skew, seconds(1)..=seconds(3600));
        self.range(&["api", "max_connections"], "a number", api.max_connections, 1..=1_000_000);
        if api.account.len() != 12 || !api.account.bytes().all(|b| b.is_ascii_digit()) {
            self.expected(&["api", "account"], "12 digits");
        }
        self.region(&["api", "region"], &api.region);
        for (id, key) in &api.access_keys {
            self.access_key(id, key);
        }
        if let Some(tls) = &mut api.tls {
            self.file(&["api", "tls", "cert"], &mut tls.cert);
            self.file(&["api", "tls", "key"], &mut tls.key);
        }
        // Whatever was left out below `api` was reported and may be just what this asks for.
        let sound = !self.locate(&["api"]).0.is_mended() && !self.locate(&["api", "access_keys"]).0.is_mended();
        if sound && !api.listen.ip().is_loopback() && (api.access_keys.is_empty() || api.tls.is_none()) {
            let absent = [("`api.access_keys`", api.access_keys.is_empty()), ("`api.tls`", api.tls.is_none())];
            let absent: Vec<&str> = absent.iter().filter(|(_, absent)| *absent).map(|(key, _)| *key).collect();
            self.expected(&["api", "listen"], format!("{} too, for it is not loopback", absent.join(" and ")));
        }
        if !config.admin.listen.ip().is_loopback() {
            self.expected(&["admin", "listen"], "a loopback address, for the admin pages ask for no key");
        }
        if config.admin.listen == config.api.listen && config.api.listen.port() != 0 {
            self.expected(&["admin", "listen"], "another address than that of `api.listen`");
        }
    }

    fn access_key(&mut self, id: &str, key: &AccessKey) {
        let keys = ["api", "access_keys", id];
        if !(1..=128).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let message = format!("found the key id {}, expected 1 to 128 letters, digits and `_`", quote(id));
            self.problem_at_key(&keys, message);
        }
        if key.secret.expose_secret().is_empty() {
            self.problem(&keys, "found an empty secret, expected some text");
        }
        for (i, action) in key.actions.iter().enumerate() {
            if action != "*" && !AccessKey::ACTIONS.contains(&action.as_str()) {
                let what = format!("`*` or {}", one_of(&AccessKey::ACTIONS));
                self.expected(&["api", "access_keys", id, "actions", &format!("[{i}]")], what);
            }
        }
    }

    pub fn region(&mut self, keys: &Keys, region: &str) {
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            self.expected(keys, "a region such as `us-east-1`");
        }
    }
}
