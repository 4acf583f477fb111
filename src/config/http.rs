//! Settings of the `http` destination: an endpoint that speaks Firehose's HTTP endpoint protocol.

use super::read;
use crate::units;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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
