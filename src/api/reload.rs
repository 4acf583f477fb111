//! What a reload may change while the service runs.
//!
//! Sockets stay bound and the data directory stays locked, so that keys about them keep their running values until the
//! next start. That keys are required off loopback is judged by the address that is bound, whatever the file now says.

use crate::config::Config;

/// The configuration that is in force after a reload, and the keys that need a restart. Refused is a file that would
/// open what is bound to everybody.
pub(super) fn admit(running: &Config, mut new: Config) -> Result<(Config, Vec<&'static str>), String> {
    let mut kept = Vec::new();
    let mut keep = |key, changed: bool| {
        if changed {
            kept.push(key);
        }
    };
    keep("data_dir", replace(&mut new.data_dir, &running.data_dir));
    keep("memory", replace(&mut new.memory, &running.memory));
    keep("api.listen", replace(&mut new.api.listen, &running.api.listen));
    keep("api.max_connections", replace(&mut new.api.max_connections, &running.api.max_connections));
    if new.api.tls.is_some() != running.api.tls.is_some() {
        keep("api.tls", true);
        new.api.tls.clone_from(&running.api.tls);
    }
    keep("admin.listen", replace(&mut new.admin.listen, &running.admin.listen));
    keep("log.format", replace(&mut new.log.format, &running.log.format));
    keep("log.level", replace(&mut new.log.level, &running.log.level));
    refuse_removals(running, &new)?;
    let bound = new.api.listen;
    if !bound.ip().is_loopback() && new.api.access_keys.is_empty() {
        return Err(format!("`api.access_keys`: found none, expected some, for the API listens on `{bound}`"));
    }
    Ok((new, kept))
}

/// An editor that saves may show an empty file, or half of one, for a moment.
fn refuse_removals(running: &Config, new: &Config) -> Result<(), String> {
    if new.allow_removals {
        return Ok(());
    }
    let meant = "if that is meant, say `allow_removals: true` in the file";
    if !running.api.access_keys.is_empty() && new.api.access_keys.is_empty() {
        let count = running.api.access_keys.len();
        return Err(format!("`api.access_keys`: found none, where {count} are in force; {meant}"));
    }
    let (all, left) = (running.streams.len(), running.streams.keys().filter(|n| new.streams.contains_key(*n)).count());
    match 2 * left < all {
        true => Err(format!("`streams`: found {left} of the {all} that are in force; {meant}")),
        false => Ok(()),
    }
}

/// Whether the values differed.
fn replace<T: Clone + PartialEq>(new: &mut T, running: &T) -> bool {
    let changed = new != running;
    new.clone_from(running);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessKey, Tls};

    fn public() -> Config {
        let mut config = Config::default();
        let all = || vec!["*".to_owned()];
        config.api.listen = "192.0.2.1:4573".parse().unwrap();
        let key = AccessKey { secret: "secret".into(), actions: all(), streams: all() };
        config.api.access_keys.insert("KEY".into(), key);
        config.api.tls = Some(Tls { cert: "server.pem".into(), key: "server.key".into() });
        config
    }

    #[test]
    fn keys_are_required_for_the_address_that_is_bound_not_for_the_one_in_the_file() {
        let without_keys = || Config { allow_removals: true, ..Config::default() };
        let problem = admit(&public(), without_keys()).unwrap_err();
        assert!(problem.contains("`api.access_keys`") && problem.contains("192.0.2.1:4573"), "{problem}");
        let mut local = public();
        local.api.listen = Config::default().api.listen;
        local.api.tls = None;
        let (config, kept) = admit(&public(), local).unwrap();
        assert_eq!(kept, ["api.listen", "api.tls"]);
        assert_eq!(config.api.listen, public().api.listen);
        assert!(config.api.tls.is_some());
    }

    #[test]
    fn a_file_that_takes_away_all_keys_or_most_streams_is_refused_unless_it_is_meant() {
        let streams = |names: &[&str], more: &str| {
            let streams = names.iter().map(|n| format!("  {n}: {{ destination: {{ local: {{ dir: d }} }} }}\n"));
            let text = format!("{more}streams:\n{}", streams.collect::<String>());
            crate::config::parse(&text, "t.yaml", "".as_ref(), &|_| None).unwrap()
        };
        let (all, meant) = (streams(&["a", "b", "c", "d"], ""), "allow_removals: true\n");
        let problem = admit(&all, Config::default()).unwrap_err();
        assert_eq!(
            problem,
            "`streams`: found 0 of the 4 that are in force; if that is meant, say `allow_removals: true` in the file"
        );
        assert!(admit(&all, streams(&["a", "x", "y", "z"], "")).is_err());
        assert!(admit(&all, streams(&["a", "b"], "")).is_ok(), "half of them may go");
        assert!(admit(&all, streams(&["a"], meant)).is_ok());
        let local = Config { admin: public().admin, ..Config::default() };
        let mut with_keys = local.clone();
        with_keys.api.access_keys = public().api.access_keys;
        assert!(admit(&with_keys, local.clone()).unwrap_err().contains("`api.access_keys`: found none, where 1 are"));
        assert!(admit(&with_keys, Config { allow_removals: true, ..local }).is_ok());
    }

    #[test]
    fn what_needs_a_restart_keeps_its_value_and_is_named() {
        let mut new = Config { data_dir: "elsewhere".into(), ..Config::default() };
        new.admin.listen.set_port(1);
        new.log.level = crate::config::LogLevel::Trace;
        new.drain_timeout = std::time::Duration::from_secs(1);
        let (config, kept) = admit(&Config::default(), new).unwrap();
        assert_eq!(kept, ["data_dir", "admin.listen", "log.level"]);
        assert_eq!(config.data_dir, Config::default().data_dir);
        assert_eq!(config.admin.listen, Config::default().admin.listen);
        assert_eq!(config.drain_timeout, std::time::Duration::from_secs(1));
    }
}
