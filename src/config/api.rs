//! Settings of the edges: the API that takes records, the admin pages, the log.

use super::read::{self, TextOr};
use crate::units;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The Firehose API. Off loopback it needs access keys and TLS.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    #[serde(deserialize_with = "read::address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Who may call: id to secret. Without any, every signature is accepted (on loopback only).
    pub access_keys: BTreeMap<String, AccessKey>,
    pub tls: Option<Tls>,
    /// The region that requests are signed for and ARNs show.
    pub region: String,
    /// The account that ARNs show: 12 digits.
    pub account: String,
    pub max_connections: u32,
    /// From the first byte of a connection or request to the end of its headers.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub body_timeout: Duration,
    /// How long a connection without a request stays open.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub idle_timeout: Duration,
    /// How far a signature's time may be from ours.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub clock_skew: Duration,
}

impl Api {
    /// The ARN of a stream.
    pub fn stream_arn(&self, stream: &str) -> String {
        format!("arn:aws:firehose:{}:{}:deliverystream/{stream}", self.region, self.account)
    }
}

impl Default for Api {
    fn default() -> Self {
        Api {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4573)),
            access_keys: BTreeMap::new(),
            tls: None,
            region: "us-east-1".to_string(),
            account: "000000000000".to_string(),
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            clock_skew: Duration::from_secs(15 * 60),
        }
    }
}

/// A secret and what it opens. In YAML either the secret alone, which opens everything, or a mapping.
#[derive(Clone, Debug, Serialize)]
pub struct AccessKey {
    #[serde(skip)]
    pub secret: SecretString,
    /// Operations such as `PutRecord`, or `*`.
    pub actions: Vec<String>,
    /// Stream names, where `*` stands for any characters.
    pub streams: Vec<String>,
}

impl AccessKey {
    /// Every operation of the API that a key can open.
    pub const ACTIONS: [&str; 12] = [
        "PutRecord",
        "PutRecordBatch",
        "CreateDeliveryStream",
        "DeleteDeliveryStream",
        "DescribeDeliveryStream",
        "ListDeliveryStreams",
        "UpdateDestination",
        "StartDeliveryStreamEncryption",
        "StopDeliveryStreamEncryption",
        "TagDeliveryStream",
        "UntagDeliveryStream",
        "ListTagsForDeliveryStream",
    ];

    /// Whether the key opens `action`, on `stream` if the action is about one.
    pub fn allows(&self, action: &str, stream: Option<&str>) -> bool {
        self.actions.iter().any(|allowed| allowed == "*" || allowed == action)
            && stream.is_none_or(|name| self.streams.iter().any(|pattern| matches(pattern, name)))
    }
}

/// `*` stands for any characters, none included.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    rest.char_indices().map(|(i, _)| i).chain([rest.len()]).any(|i| matches(tail, &rest[i..]))
}

/// The mapping form of an access key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AccessKeyYaml {
    #[serde(deserialize_with = "read::secret")]
    #[schemars(with = "String")]
    secret: SecretString,
    #[serde(default = "everything")]
    actions: Vec<String>,
    #[serde(default = "everything")]
    streams: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_string()]
}

impl<'de> Deserialize<'de> for AccessKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let open = |text: &str| Some(AccessKey { secret: text.into(), actions: everything(), streams: everything() });
        Ok(match read::text_or::<_, AccessKeyYaml, _>(deserializer, "a secret, or a mapping with `secret`", open)? {
            TextOr::Text(key) => key,
            TextOr::Mapping(y) => AccessKey { secret: y.secret, actions: y.actions, streams: y.streams },
        })
    }
}

impl JsonSchema for AccessKey {
    fn schema_name() -> Cow<'static, str> {
        "AccessKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = AccessKeyYaml::json_schema(generator);
        json_schema!({
            "description": "A secret and what it opens: the secret alone opens everything.",
            "anyOf": [{ "type": "string" }, mapping],
        })
    }
}

/// PEM files, relative to the configuration file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, followed by the chain.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Health, metrics and the web page.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    #[serde(deserialize_with = "read::address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4574)) }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Json,
    Human,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
