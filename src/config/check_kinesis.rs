//! The rules of a stream that reads from Kinesis.

use super::Kinesis;
use super::rules::{LoginSettings, Rules, is_endpoint};
use std::time::Duration;

/// A shard answers five times a second (Kinesis developer guide, "quotas").
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(200);
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);
const SHARDS_INTERVAL_MIN: Duration = Duration::from_millis(100);
const SHARDS_INTERVAL_MAX: Duration = Duration::from_secs(3600);
const FAILOVER_MIN: Duration = Duration::from_secs(1);
const FAILOVER_MAX: Duration = Duration::from_secs(600);

pub(super) fn check(rules: &mut Rules, kinesis: &Kinesis) {
    let keys = ["source", "kinesis"];
    let at = |key: &'static str| [&keys[..], &[key]].concat();
    if !is_stream(&kinesis.stream) {
        let expected =
            "a name of 1 to 128 of the characters a-z A-Z 0-9 _ . -, or `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`";
        rules.expected(&at("stream"), expected);
    }
    if kinesis.consumer.as_ref().is_some_and(|name| !(1..=128).contains(&name.len()) || !name.bytes().all(is_name)) {
        rules.expected(&at("consumer"), "a name of 1 to 128 of the characters a-z A-Z 0-9 _ . -");
    }
    if !(POLL_INTERVAL_MIN..=POLL_INTERVAL_MAX).contains(&kinesis.poll_interval) {
        rules.expected(&at("poll_interval"), "a time from 200ms to 60s");
    }
    if !(SHARDS_INTERVAL_MIN..=SHARDS_INTERVAL_MAX).contains(&kinesis.shards_interval) {
        rules.expected(&at("shards_interval"), "a time from 100ms to 1h");
    }
    if kinesis.endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
        rules.expected(&at("endpoint"), "`http://` or `https://` with a host and perhaps a port, and nothing after");
    }
    if let Some(coordination) = &kinesis.coordination {
        let table = &coordination.dynamodb;
        let at = |key: &'static str| [&keys[..], &["coordination", "dynamodb", key]].concat();
        if !(3..=255).contains(&table.table.len()) || !table.table.bytes().all(is_name) {
            rules.expected(&at("table"), "a name of 3 to 255 of the characters a-z A-Z 0-9 _ . -");
        }
        if table.endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            rules
                .expected(&at("endpoint"), "`http://` or `https://` with a host and perhaps a port, and nothing after");
        }
        if !(FAILOVER_MIN..=FAILOVER_MAX).contains(&table.failover) {
            rules.expected(&at("failover"), "a time from 1s to 10m");
        }
    }
    let login = LoginSettings {
        region: &kinesis.region,
        key: kinesis.access_key_id.is_some(),
        secret: kinesis.secret_access_key.is_some(),
        token: kinesis.session_token.is_some(),
        role: kinesis.role_arn.as_deref(),
    };
    rules.login(&keys, &login);
    if kinesis.timeout.is_zero() {
        rules.expected(&at("timeout"), "a time of more than 0s");
    }
}

/// What names of streams, consumers and tables are made of.
fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}

fn is_stream(text: &str) -> bool {
    let name = match text.strip_prefix("arn:") {
        Some(arn) => {
            arn.split_once(":stream/").filter(|(before, _)| before.contains(":kinesis:")).map(|(_, name)| name)
        }
        None => Some(text),
    };
    name.is_some_and(|name| (1..=128).contains(&name.len()) && name.bytes().all(is_name))
}
