//! Who we are to AWS. Nothing but credentials is taken from the environment: the YAML decides.

use crate::error::{Error, Kind, Result};
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use secrecy::{ExposeSecret, SecretString};

/// Shown in the logs of whoever owns the assumed role.
const SESSION_NAME: &str = "hydrant";

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
    pub fn region(&self) -> Region {
        Region::new(self.region.to_owned())
    }

    /// Where credentials come from; none are read yet.
    pub async fn credentials(&self) -> Result<SharedCredentialsProvider> {
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
