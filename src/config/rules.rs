//! The rules of one stream, and what those of its source and its destination have in common.

use super::checker::{Checker, Keys};
use crate::units::ByteSize;
use std::time::Duration;

/// Where the rules of a stream are checked.
pub struct Rules<'r, 'c> {
    pub checker: &'r mut Checker<'c>,
    pub name: &'r str,
}

/// What settings say of who we are to AWS.
pub struct LoginSettings<'a> {
    pub region: &'a str,
    pub key: bool,
    pub secret: bool,
    pub token: bool,
    pub role: Option<&'a str>,
}

/// A stream's keys in front of those of a value in it.
pub(crate) fn below<'k>(name: &'k str, keys: &[&'k str]) -> Vec<&'k str> {
    [&["streams", name], keys].concat()
}

impl Rules<'_, '_> {
    pub fn problem(&mut self, keys: &Keys, message: impl Into<String>) {
        self.checker.problem(&below(self.name, keys), message);
    }

    pub fn expected(&mut self, keys: &Keys, what: &str) {
        self.checker.expected(&below(self.name, keys), what);
    }

    pub fn number(&mut self, keys: &Keys, value: u32, min: u32, max: u32) {
        self.checker.range(&below(self.name, keys), "a number", value, min..=max);
    }

    pub fn size(&mut self, keys: &Keys, value: ByteSize, min: ByteSize, max: ByteSize) {
        self.checker.range(&below(self.name, keys), "a size", value, min..=max);
    }

    pub fn time(&mut self, keys: &Keys, value: Duration, min: Duration, max: Duration) {
        self.checker.time(&below(self.name, keys), value, min..=max);
    }

    pub fn login(&mut self, keys: &Keys, login: &LoginSettings) {
        let at = |key: &'static str| [keys, &[key]].concat();
        self.checker.region(&below(self.name, &at("region")), login.region);
        if login.key != login.secret {
            let key = if login.key { "access_key_id" } else { "secret_access_key" };
            self.problem(&at(key), "stands alone, expected `access_key_id` and `secret_access_key` or neither");
        } else if login.token && !login.key {
            self.problem(
                &at("session_token"),
                "stands alone, expected `access_key_id` and `secret_access_key` with it",
            );
        }
        if login.role.is_some_and(|arn| !is_role(arn)) {
            self.expected(&at("role_arn"), "a role such as `arn:aws:iam::123456789012:role/hydrant`");
        }
    }
}

pub(crate) fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(authority) = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_ipv6 = |inner: &str| inner.parse::<std::net::Ipv6Addr>().is_ok();
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => is_ipv6(inner),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else { return false };
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    partition.starts_with("aws") && is_account && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty())
}
