//! From settings to a client. Nothing but credentials is taken from the environment: the YAML decides.

use crate::config;
use crate::error::{Error, Kind, Result};
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use secrecy::ExposeSecret;
use std::time::Duration;

/// A store that is there answers the handshake sooner; one that is not must not cost a whole request's time.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// Shown in the logs of whoever owns the assumed role.
const SESSION_NAME: &str = "hydrant";

/// A client with its own connections. Reads no credentials yet.
pub(super) async fn client(settings: &config::S3) -> Result<Client> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
        .operation_attempt_timeout(settings.timeout)
        .build();
    let calculation = match settings.checksum {
        config::Checksum::None => RequestChecksumCalculation::WhenRequired,
        _ => RequestChecksumCalculation::WhenSupported,
    };
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(region(settings))
        .credentials_provider(credentials(settings).await?)
        .force_path_style(settings.uses_path_style())
        .request_checksum_calculation(calculation)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::disabled())
        // One bound for a request, the one in the settings.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts);
    builder.set_endpoint_url(settings.endpoint.clone());
    Ok(Client::from_conf(builder.build()))
}

/// Whether a new client may find other credentials than the last one did.
pub(super) fn may_change(settings: &config::S3) -> bool {
    settings.access_key_id.is_none() || settings.role_arn.is_some()
}

fn region(settings: &config::S3) -> Region {
    Region::new(settings.region.clone())
}

async fn credentials(settings: &config::S3) -> Result<SharedCredentialsProvider> {
    let own = match (&settings.access_key_id, &settings.secret_access_key) {
        (Some(id), Some(secret)) => {
            let token = settings.session_token.as_ref().map(|t| t.expose_secret().to_owned());
            SharedCredentialsProvider::new(Credentials::new(id, secret.expose_secret(), token, None, "settings"))
        }
        (None, None) => {
            let chain = DefaultCredentialsChain::builder().region(region(settings)).build().await;
            SharedCredentialsProvider::new(chain)
        }
        _ => {
            let found = "`access_key_id` and `secret_access_key` are given both or not at all";
            return Err(Error::new(Kind::Misconfigured, found));
        }
    };
    let Some(role) = &settings.role_arn else { return Ok(own) };
    // Where STS is comes from the environment if anything says so: the endpoint in the settings is the bucket's.
    let sts = aws_config::defaults(BehaviorVersion::latest()).region(region(settings)).load().await;
    let role = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&sts);
    Ok(SharedCredentialsProvider::new(role.build_from_provider(own).await))
}
