//! What the types cannot say: ranges, what holds between values, files that have to be there.

use super::checker::{Checker, INTAKE_MIN, STREAM_DISK_MIN};
use super::place::one_of;
use super::problem::Problem;
use super::tree::{TreeNode, quote};
use super::{AccessKey, Config, check_stream};
use crate::units::ByteSize;
use secrecy::ExposeSecret;
use std::path::Path;
use std::time::Duration;

/// Reports what is wrong and returns the configuration with its files made relative to `base_dir`.
pub(super) fn check(
    mut config: Config,
    root: &TreeNode,
    file: &str,
    base_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Config {
    let mut checker = Checker::new(root, file, base_dir, problems);
    checker.node(&config);
    checker.api(&mut config);
    for (name, stream) in &mut config.streams {
        check_stream::check(&mut checker, name, stream);
    }
    config
}

impl Checker<'_> {
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
}
