//! Settings of the `http` destination: an endpoint that speaks Firehose's HTTP endpoint protocol.

use crate::config::destination_settings::{DeliverySettings, DestinationSettings};
use crate::config::format::Compress;
use crate::config::read;
use crate::config::rules::{Rules, below};
use crate::destination::DestinationKind;
use crate::destination::retry::{Patience, RetryPace};
use crate::units;
use reqwest::Url;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Position};

const AS_WRITTEN: &str = "an address that is sent as it is written: no folder `.` or `..`, no `#`, a host that is a name \
                          or a usual address, and `%` with a code for what a URL must not hold";

/// An HTTP endpoint that takes records as Firehose sends them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Of 1 to 1000 characters, `https://` or `http://`; path and query are sent as they are, so that what no URL may
    /// hold has to be written as `%` and its code.
    pub url: String,
    /// What people call it, 1 to 256 characters.
    #[serde(default)]
    pub name: Option<String>,
    /// Sent as `X-Amz-Firehose-Access-Key`, up to 4096 characters.
    #[serde(default, skip_serializing, deserialize_with = "read::secret_option")]
    #[schemars(with = "Option<String>")]
    pub access_key: Option<SecretString>,
    #[serde(default)]
    pub content_encoding: ContentEncoding,
    /// Sent with every request, up to 50: names of 1 to 256 characters, values of up to 1024.
    #[serde(default)]
    pub common_attributes: BTreeMap<String, String>,
    /// How long records that it does not take are sent again, 0s to 2h; waiting for its answers does not count.
    #[serde(default = "retry_duration", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub retry_duration: Duration,
    /// The pause after the first refusal; it doubles each time,
    #[serde(default = "retry_first", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub retry_first: Duration,
    /// up to this.
    #[serde(default = "retry_max", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub retry_max: Duration,
    /// For one answer, up to 3m.
    #[serde(default = "timeout", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub timeout: Duration,
    /// Requests at once, 1 to 64. Fewer as long as it is slow or says that it is busy.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// One request after the other, in the order of their records.
    #[serde(default)]
    pub ordered: bool,
    /// Whether the host's name may lead to a private or loopback address. One that is written as an address, and
    /// `localhost`, may.
    #[serde(default)]
    pub allow_private: bool,
    /// Certificates (PEM) that are trusted besides the system's: authorities, or the endpoint's own.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// How a request's body is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentEncoding {
    #[default]
    None,
    Gzip,
}

fn retry_duration() -> Duration {
    Duration::from_secs(300)
}

fn retry_first() -> Duration {
    Duration::from_secs(1)
}

fn retry_max() -> Duration {
    Duration::from_secs(120)
}

fn timeout() -> Duration {
    Duration::from_secs(180)
}

fn concurrency() -> u32 {
    8
}

impl DestinationSettings for Http {
    fn kind(&self) -> DestinationKind {
        DestinationKind::Http
    }

    fn ca(&mut self) -> Option<&mut PathBuf> {
        self.ca.as_mut()
    }

    fn check(&mut self, rules: &mut Rules, _: &Compress) {
        check(rules, self);
    }

    fn delivery(&self) -> DeliverySettings {
        let pace = RetryPace::Doubling { first: self.retry_first, max: self.retry_max };
        let patience = Patience { duration: self.retry_duration, pace };
        let delivery = DeliverySettings::of_receiver(self.concurrency as usize, patience);
        DeliverySettings {
            shipments_max: if self.ordered { 1 } else { delivery.shipments_max },
            is_adaptive: true,
            is_ordered: self.ordered,
            gzips_requests: self.content_encoding == ContentEncoding::Gzip,
            ..delivery
        }
    }
}

/// What is wrong with the settings (docs/firehose.md: "Buffering and retries").
fn check(rules: &mut Rules, http: &mut Http) {
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
