//! From settings to a client. Nothing but credentials is taken from the environment: the YAML decides.

use crate::aws::Login;
use crate::config;
use crate::error::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use std::time::Duration;

/// A store that is there answers the handshake sooner; one that is not must not cost a whole request's time.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

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
        .region(login(settings).region())
        .credentials_provider(login(settings).credentials().await?)
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

fn login(settings: &config::S3) -> Login<'_> {
    Login {
        region: &settings.region,
        access_key_id: settings.access_key_id.as_deref(),
        secret_access_key: settings.secret_access_key.as_ref(),
        session_token: settings.session_token.as_ref(),
        role_arn: settings.role_arn.as_deref(),
    }
}
