//! Settings of the `s3` destination.

use crate::config::read;
use crate::units;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A bucket of S3 or of a store that speaks its protocol.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub bucket: String,
    /// Where objects go, such as `clicks/!{timestamp:yyyy/MM/dd}/`. Without an expression, `yyyy/MM/dd/HH/` follows.
    #[serde(default)]
    pub prefix: String,
    /// Where failed records go. Required, with `!{firehose:error-output-type}`, once `prefix` has an expression.
    #[serde(default)]
    pub error_prefix: Option<String>,
    /// Another store than AWS: `http://127.0.0.1:9000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default = "region")]
    pub region: String,
    /// The bucket in the path rather than in the host name. If absent: when an endpoint is given.
    #[serde(default)]
    pub path_style: Option<bool>,
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
    /// Such as `STANDARD_IA`.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Encryption at rest: `aes256`, or `kms_key_id` with the key.
    #[serde(default)]
    pub sse: Option<Sse>,
    #[serde(default)]
    pub content_encoding: ObjectEncoding,
    #[serde(default)]
    pub checksum: Checksum,
    /// Uploads of this stream to this bucket at once, 1 to 256.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    #[serde(default)]
    pub conditional: Conditional,
    /// For one request.
    #[serde(default = "timeout", with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub timeout: Duration,
}

impl S3 {
    pub fn uses_path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

fn region() -> String {
    "us-east-1".to_string()
}

fn concurrency() -> u32 {
    4
}

fn timeout() -> Duration {
    Duration::from_secs(60)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sse {
    /// S3's own keys.
    Aes256,
    /// Your key: its id, alias or ARN.
    KmsKeyId(String),
}

/// What objects say of how they are encoded (`Content-Encoding`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectEncoding {
    /// As Firehose: `gzip` if they are, and `hadoop-snappy` for Parquet.
    #[default]
    Auto,
    /// Nothing. For readers that take it back on their way and then find no gzip behind a name that ends with `.gz`.
    None,
}

/// What the store checks an upload against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    #[default]
    Crc64nvme,
    Crc32,
    Crc32c,
    Sha256,
    /// For stores that refuse the header.
    None,
}

/// How an upload is kept from replacing an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conditional {
    /// `If-None-Match: *` where a probe at the start shows that the store heeds it, else as `head`.
    #[default]
    Auto,
    /// Ask first. For stores that refuse the header.
    Head,
}
