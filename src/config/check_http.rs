//! The rules of a stream that goes to an HTTP endpoint (contract §2.4, §2.10, §8.1).

use super::rules::{Rules, below};
use super::{Compress, Format, Http, Lines, StreamConfig};
use crate::units::ByteSize;
use reqwest::Url;
use secrecy::ExposeSecret;
use std::time::Duration;
use url::{Host, Position};

/// Firehose's hint for an endpoint, where S3 has 300 seconds (developer guide, "create-configure-backup").
const INTERVAL: Duration = Duration::from_secs(60);
const SIZE_MAX: ByteSize = ByteSize::mib(64);
const AS_WRITTEN: &str = "an address that is sent as it is written: no folder `.` or `..`, no `#`, a host that is a name \
                          or a usual address, and `%` with a code for what a URL must not hold";

/// The endpoint's own settings.
pub fn check(rules: &mut Rules, http: &mut Http) {
    fn at(key: &'static str) -> [&'static str; 3] {
        ["destination", "http", key]
    }
    let seconds = Duration::from_secs;
    match url(&http.url) {
        None => rules.expected(&at("url"), "`https://` or `http://` with a host, up to 1000 characters"),
        Some(url) if !is_sent_as_written(&http.url, &url) => rules.expected(&at("url"), AS_WRITTEN),
        Some(_) => {}
    }
    if http.name.as_ref().is_some_and(|name| !(1..=256).contains(&name.chars().count())) {
        rules.expected(&at("name"), "1 to 256 characters");
    }
    if http.access_key.as_ref().is_some_and(|key| key.expose_secret().len() > 4096) {
        rules.problem(&at("access_key"), "found more than 4096 characters, expected up to that");
    }
    if http.common_attributes.len() > 50 {
        let message = format!("found {} attributes, expected up to 50", http.common_attributes.len());
        rules.problem(&at("common_attributes"), message);
    }
    for (name, value) in &http.common_attributes {
        if !(1..=256).contains(&name.chars().count()) || value.chars().count() > 1024 {
            let keys = ["destination", "http", "common_attributes", name];
            rules.expected(&keys, "a name of 1 to 256 characters and a value of up to 1024");
        }
    }
    rules.time(&at("retry_duration"), http.retry_duration, seconds(0), seconds(7200));
    rules.time(&at("retry_first"), http.retry_first, Duration::from_millis(10), seconds(120));
    rules.time(&at("retry_max"), http.retry_max, http.retry_first, seconds(3600));
    rules.time(&at("timeout"), http.timeout, Duration::from_millis(100), seconds(180));
    rules.number(&at("concurrency"), http.concurrency, 1, 64);
    if let Some(ca) = &mut http.ca {
        rules.checker.file(&below(rules.name, &at("ca")), ca);
    }
}

/// What the endpoint asks of the rest of its stream.
pub fn stream(rules: &mut Rules, stream: &mut StreamConfig) {
    let gzip =
        "`none`: an endpoint takes records one by one (`destination.http.content_encoding: gzip` is for requests)";
    if stream.compress != Compress::None {
        rules.expected(&["compress"], gzip);
    }
    match &stream.format {
        Format::Raw => {}
        Format::Lines(Lines {}) | Format::Parquet(_) => {
            rules.expected(&["format"], "`raw`: an endpoint takes records one by one, as they are");
        }
    }
    if stream.file_extension.is_some() {
        rules.problem(&["file_extension"], "unknown with `http`, which has no files");
    }
    if stream.buffer.size > SIZE_MAX {
        rules.expected(&["buffer", "size"], "a size from 1MiB to 64MiB: an endpoint gets no more at once");
    }
    if !rules.checker.has(&below(rules.name, &["buffer", "interval"])) {
        stream.buffer.interval = INTERVAL;
    }
    if stream.backup.is_none() {
        let message = "missing: an endpoint may refuse records, which then go there (`mode: failed`, or `all` for all)";
        rules.problem(&["backup"], message);
    }
}

fn url(text: &str) -> Option<Url> {
    let is_ours = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let url = Url::parse(text).ok().filter(is_ours)?;
    (text.chars().count() <= 1000 && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// Whether requests go where the text says: clients write a URL anew, without `..` and numbers for hosts, and with codes for
/// what it must not hold. Nothing is said of the letters' case in a host, of its other alphabets, of the usual port, and of
/// the `/` that each request has.
fn is_sent_as_written(text: &str, url: &Url) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let sent = &url[Position::BeforePath..];
    let is_target = sent == target || !target.starts_with('/') && sent.strip_prefix('/') == Some(target);
    let host = authority.split(':').next().unwrap_or_default();
    let is_host = match url.host() {
        Some(Host::Ipv4(address)) => host == address.to_string(),
        Some(Host::Domain(domain)) if host.is_ascii() => host.eq_ignore_ascii_case(domain),
        _ => true,
    };
    let is_whole = url.fragment().is_none() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_target && is_host && is_whole
}
