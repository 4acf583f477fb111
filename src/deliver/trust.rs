//! Whose TLS certificates are believed: those that an authority signed, the system's or one in a `ca` file, and each
//! certificate in such a file itself.
//!
//! The last is for the self-signed certificate that `openssl req -x509` makes, which says that it is an authority: no chain
//! may end with one. It is compared byte by byte, must be in force, and must name who is connected to if it names anybody.

use crate::error::{Error, Kind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

type Verified = std::result::Result<ServerCertVerified, rustls::Error>;

/// A client that believes what stands in the file, and the system's authorities if it is to.
pub(super) fn client(ca: Option<&Path>, system: bool) -> Result<ClientConfig> {
    let bug = |e: String| Error::new(Kind::Bug, format!("TLS: {e}"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let named = ca.map(certificates).transpose()?.unwrap_or_default();
    let roots = Arc::new(roots(&named, ca, system)?);
    let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    let webpki = webpki.map_err(|e| bug(e.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| bug(e.to_string()))?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(Trust { webpki, named })).with_no_client_auth())
}

fn unreadable(path: &Path, what: &str) -> Error {
    Error::new(Kind::Misconfigured, format!("read `{}`: {what}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match read {
        Ok(none) if none.is_empty() => Err(unreadable(path, "found no certificate")),
        read => read.map_err(|e| unreadable(path, &e.to_string())),
    }
}

/// Who may have signed a server's certificate.
fn roots(named: &[CertificateDer<'static>], ca: Option<&Path>, system: bool) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if system {
        // Some of a machine's certificates are of no use to anybody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in named {
        let added = roots.add(certificate.clone());
        added.map_err(|e| unreadable(ca.unwrap_or(Path::new("")), &e.to_string()))?;
    }
    if roots.is_empty() {
        let message = "this machine trusts no certificate authority; name one in `ca`";
        return Err(Error::new(Kind::Misconfigured, message));
    }
    Ok(roots)
}

#[derive(Debug)]
struct Trust {
    webpki: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Verified {
        let verified = self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match verified {
            // Times are looked at before anything that is wrong with a self-signed certificate.
            Err(e) if self.named.contains(end_entity) && !is_out_of_time(&e) => own(end_entity, name),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn is_out_of_time(e: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let rustls::Error::InvalidCertificate(reason) = e else { return false };
    matches!(reason, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

/// A certificate that the file has. Older ones name nobody where clients look today; then the file's word is enough.
fn own(certificate: &CertificateDer, name: &ServerName) -> Verified {
    match verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
            if presented.is_empty() => {}
        named => named?,
    }
    Ok(ServerCertVerified::assertion())
}
