//! The certificate that the API shows.

use crate::config::Tls;
use crate::error::{Error, Kind, Result};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Accepts TLS, 1.2 and later, with what the configured files hold now. An error names the one that cannot be used.
pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let wrong = |what: &str, path: &Path, e: String| {
        Error::new(Kind::Misconfigured, format!("{what} `{}`: {e}", path.display()))
    };
    let certificates: Vec<CertificateDer> = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect)
        .map_err(|e| wrong("certificate", &tls.cert, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| wrong("key", &tls.key, e.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(Kind::Bug, e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key);
    let mut config = config.map_err(|e| wrong("certificate", &tls.cert, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
