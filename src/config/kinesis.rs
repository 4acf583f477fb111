//! Settings of the `kinesis` source, in path order.

use super::read;
use crate::units;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::time::Duration;

/// A stream of Kinesis Data Streams that is read, shard by shard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kinesis {
    /// Its name or ARN.
    pub stream: String,
    /// Where reading begins, the first time: `latest` (as Firehose does), `trim_horizon`, or a time such as
    /// `2026-01-31T00:00:00Z`.
    #[serde(default)]
    pub start: StartingPosition,
    /// Between two requests for a shard's records when there are no more, 200ms to 60s.
    #[serde(default = "poll_interval", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub poll_interval: Duration,
    /// Between two looks for new shards, 100ms to 1h. The end of a shard is noticed at once.
    #[serde(default = "shards_interval", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub shards_interval: Duration,
    /// Enhanced fan-out: records are sent to the stream's consumer of this name, which is registered if it is not there.
    /// Without, or while that does not work, shards are read by polling.
    #[serde(default)]
    pub consumer: Option<String>,
    /// Another service than AWS: `http://127.0.0.1:4567`.
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default = "region")]
    pub region: String,
    /// Without keys: what the AWS SDKs find (environment, profile, instance role).
    #[serde(default)]
    pub access_key_id: Option<String>,
    #[serde(default, skip_serializing, deserialize_with = "read::secret_option")]
    #[schemars(with = "Option<String>")]
    pub secret_access_key: Option<SecretString>,
    #[serde(default, skip_serializing, deserialize_with = "read::secret_option")]
    #[schemars(with = "Option<String>")]
    pub session_token: Option<SecretString>,
    /// A role to assume with those credentials.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// Several nodes share the shards.
    #[serde(default)]
    pub coordination: Option<Coordination>,
    /// For one request.
    #[serde(default = "timeout", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub timeout: Duration,
}

impl Kinesis {
    /// Whether the table of leases, if there is one, is the same to another configuration, and is asked with the same
    /// credentials: those of the source.
    pub fn shares_as(&self, other: &Kinesis) -> bool {
        let secret = |secret: &Option<SecretString>| secret.as_ref().map(|s| s.expose_secret().to_owned());
        let access = |kinesis: &Kinesis| {
            let Kinesis { region, access_key_id, role_arn, .. } = kinesis.clone();
            let secrets = [&kinesis.secret_access_key, &kinesis.session_token].map(secret);
            (region, access_key_id, role_arn, secrets)
        };
        self.coordination == other.coordination && (self.coordination.is_none() || access(self) == access(other))
    }
}

/// Where nodes find out which of them reads what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coordination {
    pub dynamodb: LeaseTable,
}

/// A table of leases in the layout of the Kinesis Client Library; made if there is none. The source's credentials are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseTable {
    /// Its name: one table for each stream that is read.
    pub table: String,
    /// Another service than AWS: `http://127.0.0.1:8000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Without: the source's.
    #[serde(default)]
    pub region: Option<String>,
    /// A node that has not been heard of for so long has lost its shards to the others, 1s to 10m.
    #[serde(default = "failover", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub failover: Duration,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the moment at which the stream is first opened.
    #[default]
    Latest,
    /// At the oldest record there is.
    TrimHorizon,
    /// At the first record that arrived at or after this time, in milliseconds since the Unix epoch.
    Timestamp(u64),
}

impl Serialize for StartingPosition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            StartingPosition::Latest => serializer.serialize_str("latest"),
            StartingPosition::TrimHorizon => serializer.serialize_str("trim_horizon"),
            StartingPosition::Timestamp(ms) => {
                let at = jiff::Timestamp::from_millisecond(*ms as i64).unwrap_or_default();
                serializer.collect_str(&at)
            }
        }
    }
}

impl<'de> Deserialize<'de> for StartingPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "latest" => Ok(StartingPosition::Latest),
            "trim_horizon" => Ok(StartingPosition::TrimHorizon),
            _ => {
                let at = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
                let expected = "expected `latest`, `trim_horizon` or a time such as `2026-01-31T00:00:00Z`";
                at.map(StartingPosition::Timestamp)
                    .ok_or_else(|| de::Error::custom(format!("found `{text}`, {expected}")))
            }
        }
    }
}

impl JsonSchema for StartingPosition {
    fn schema_name() -> Cow<'static, str> {
        "StartingPosition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "`latest`, `trim_horizon` or a time in RFC 3339." })
    }
}

fn poll_interval() -> Duration {
    Duration::from_secs(1)
}

fn shards_interval() -> Duration {
    Duration::from_secs(60)
}

fn region() -> String {
    "us-east-1".to_string()
}

/// The library's default.
fn failover() -> Duration {
    Duration::from_secs(10)
}

fn timeout() -> Duration {
    Duration::from_secs(30)
}
