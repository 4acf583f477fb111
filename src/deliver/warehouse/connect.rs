//! A session with the database, and its end: nothing of it outlives whoever holds it.

use super::refusal::{Code, WarehouseRefusal};
use crate::config::{Target, WarehouseTls, WarehouseTlsMode};
use crate::deliver::trust;
use crate::error::{Error, Kind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A server that is there has answered and checked the password sooner.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// A peer that does not confirm anything for a minute is gone; without this a half-open connection lasts for hours.
pub(super) const SILENCE_BEFORE_PROBE: Duration = Duration::from_secs(30);
pub(super) const SILENCE_BETWEEN_PROBES: Duration = Duration::from_secs(10);
pub(super) const PROBES: u32 = 3;
const UNCONFIRMED_MAX: Duration = Duration::from_secs(60);
/// Cancelling and saying goodbye are courtesies: whoever waits for them wants to go on.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// Shown to the database's owner.
const APPLICATION: &str = "hydrant";

/// How to reach the database.
pub(super) struct Door {
    config: Config,
    /// None: not encrypted.
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
    /// For messages.
    pub place: String,
}

/// An open connection. Dropped, its socket is closed at once, whatever is under way.
pub(super) struct Session {
    pub client: Client,
    connection: Connection,
}

/// The task that moves the connection's bytes.
struct Connection(JoinHandle<std::result::Result<(), tokio_postgres::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Door {
    /// Reads certificates; nothing is sent.
    pub(super) fn new(target: &Target) -> Result<Door> {
        let address = &target.address;
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .dbname(&address.database)
            .user(&target.username)
            .application_name(APPLICATION)
            .keepalives_idle(SILENCE_BEFORE_PROBE)
            .keepalives_interval(SILENCE_BETWEEN_PROBES)
            .keepalives_retries(PROBES)
            .tcp_user_timeout(UNCONFIRMED_MAX);
        if let Some(password) = &target.password {
            config.password(password.expose_secret());
        }
        let tls = tls(&target.tls)?;
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        let timeout = target.timeout.min(CONNECT_TIMEOUT_MAX);
        Ok(Door { config, tls, timeout, place: format!("`{}:{}`", address.host, address.port) })
    }

    /// Connects and logs in.
    pub(super) async fn open(&self) -> Result<Session, WarehouseRefusal> {
        let opened = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    Ok(Session { client, connection: Connection(tokio::spawn(connection)) })
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    Ok(Session { client, connection: Connection(tokio::spawn(connection)) })
                }
            }
        };
        let act = format!("connect to {}", self.place);
        match tokio::time::timeout(self.timeout, opened).await {
            Ok(opened) => opened.map_err(|e| WarehouseRefusal::connecting(&act, &e)),
            Err(_) => {
                let message = format!("{act}: no answer within {:?}", self.timeout);
                Err(WarehouseRefusal { code: Code::ConnectionFailed, message })
            }
        }
    }

    /// Asks the database to leave off what the session is at, and ends the session.
    pub(super) async fn cancel(&self, session: Session) {
        let token = session.client.cancel_token();
        let cancel = async {
            match &self.tls {
                Some(tls) => token.cancel_query(tls.clone()).await,
                None => token.cancel_query(NoTls).await,
            }
        };
        // If it is not heard, the end of the connection is.
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, cancel).await;
    }
}

impl Session {
    /// Says goodbye, so that the database's log has no complaint.
    pub(super) async fn end(self) {
        let Session { client, mut connection } = self;
        drop(client);
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, &mut connection.0).await;
    }

    /// What the connection itself ended with, where a statement only says that it is closed.
    pub(super) async fn last_words(self) -> Option<String> {
        let Session { client, mut connection } = self;
        drop(client);
        match tokio::time::timeout(GOODBYE_TIMEOUT, &mut connection.0).await {
            Ok(Ok(Err(e))) => Some(super::refusal::text(&e)),
            _ => None,
        }
    }
}

fn tls(settings: &WarehouseTls) -> Result<Option<MakeRustlsConnect>> {
    let config = match settings.mode {
        WarehouseTlsMode::Disable => return Ok(None),
        WarehouseTlsMode::Verify => trust::client(settings.ca.as_deref(), settings.ca.is_none())?,
        WarehouseTlsMode::Require => {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
            let builder = builder.map_err(|e| Error::new(Kind::Bug, format!("TLS: {e}")))?.dangerous();
            builder.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        }
    };
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// Takes every certificate, as `tls.mode: require` says; the peer still has to own its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
