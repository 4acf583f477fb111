//! From settings to a client. Nothing but credentials is taken from the environment: the YAML decides.

use crate::aws::Login;
use crate::config;
use crate::error::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};

/// A client with its own connections. Reads no credentials yet.
pub(super) async fn client(settings: &config::S3) -> Result<Client> {
    let calculation = match settings.checksum {
        config::Checksum::None => RequestChecksumCalculation::WhenRequired,
        _ => RequestChecksumCalculation::WhenSupported,
    };
    let builder = Builder::from(&login(settings).config(settings.endpoint.as_deref(), settings.timeout).await?)
        .force_path_style(settings.uses_path_style())
        .request_checksum_calculation(calculation)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
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
