//! Who we are to AWS. Nothing but credentials is taken from the environment: the YAML decides.

use crate::error::{Error, Kind, Result};
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// Shown in the logs of whoever owns the assumed role.
const SESSION_NAME: &str = "hydrant";

/// A service that is there answers the handshake sooner; one that is not must not cost a whole request's time.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// What settings say of it.
pub struct Login<'a> {
    pub region: &'a str,
    /// Without keys: what the AWS SDKs find (environment, profile, instance role).
    pub access_key_id: Option<&'a str>,
    pub secret_access_key: Option<&'a SecretString>,
    pub session_token: Option<&'a SecretString>,
    /// A role to assume with those credentials.
    pub role_arn: Option<&'a str>,
}

impl Login<'_> {
    /// What clients of AWS's services are made from: nothing is retried by them, and `timeout` is the one bound of a request.
    /// No credentials are read yet. `endpoint`: another service than AWS.
    pub async fn config(&self, endpoint: Option<&str>, timeout: Duration) -> Result<SdkConfig> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(timeout.min(CONNECT_TIMEOUT_MAX))
            .operation_attempt_timeout(timeout)
            .build();
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region())
            .credentials_provider(self.credentials().await?)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // A subscription is silent for as long as there are no records.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        builder.set_endpoint_url(endpoint.map(str::to_owned));
        Ok(builder.build())
    }

    fn region(&self) -> Region {
        Region::new(self.region.to_owned())
    }

    async fn credentials(&self) -> Result<SharedCredentialsProvider> {
        let own = match (self.access_key_id, self.secret_access_key) {
            (Some(id), Some(secret)) => {
                let token = self.session_token.map(|t| t.expose_secret().to_owned());
                SharedCredentialsProvider::new(Credentials::new(id, secret.expose_secret(), token, None, "settings"))
            }
            (None, None) => {
                let chain = DefaultCredentialsChain::builder().region(self.region()).build().await;
                SharedCredentialsProvider::new(chain)
            }
            _ => {
                let found = "`access_key_id` and `secret_access_key` are given both or not at all";
                return Err(Error::new(Kind::Misconfigured, found));
            }
        };
        let Some(role) = self.role_arn else { return Ok(own) };
        // Where STS is comes from the environment if anything says so: the endpoint in the settings is the bucket's.
        let sts = aws_config::defaults(BehaviorVersion::latest()).region(self.region()).load().await;
        let role = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&sts);
        Ok(SharedCredentialsProvider::new(role.build_from_provider(own).await))
    }
}
