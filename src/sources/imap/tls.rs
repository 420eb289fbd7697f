//! TLS towards a mail server: whom to trust, and what to say when trust fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use chrono::DateTime;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Trust in Mozilla's authorities, in those of this machine, and in what `ca_file` holds.
pub(super) async fn client(ca_file: Option<PathBuf>) -> anyhow::Result<Arc<ClientConfig>> {
    // It reads files, some of them long.
    tokio::task::spawn_blocking(move || {
        let mut roots = known_authorities().clone();
        let pinned = match &ca_file {
            Some(file) => add_authorities(&mut roots, file)?,
            None => Vec::new(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let usual =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { usual, pinned }))
            .with_no_client_auth();
        Ok(Arc::new(config))
    })
    .await?
}

fn known_authorities() -> &'static RootCertStore {
    static KNOWN: OnceLock<RootCertStore> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

fn add_authorities(roots: &mut RootCertStore, file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = file.display();
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).with_context(|| {
            format!("cannot read imap.ca_file {shown} (a PEM file that ticketd's user may read)")
        })?;
    if certificates.is_empty() {
        bail!("imap.ca_file {shown} holds no certificate: it must be PEM, with BEGIN CERTIFICATE lines");
    }
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.with_context(|| format!("imap.ca_file {shown} holds a certificate that is none"))?;
    }
    Ok(certificates)
}

/// The usual checks, and one exception: a server may show the very certificate that is in `ca_file`.
///
/// Many mail servers have a certificate that they signed themselves and that calls itself an authority (`openssl req
/// -x509` makes them so). The usual checks refuse such a one even where it is trusted.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.usual.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.pinned.contains(certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// What went wrong in a handshake with `server` (host and port), and what helps.
pub(super) fn explain(server: &str, error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(fault)) => explain_certificate(server, fault),
        Some(rustls::Error::InvalidMessage(_)) => format!(
            "{server} does not speak TLS from the first byte: set imap.tls = \"starttls\", or imap.port to the port \
             that does (993)"
        ),
        Some(other) => format!("no TLS with {server}: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{server} closed the connection during the TLS handshake: is it an IMAP port with TLS?")
        }
        None => format!("no TLS with {server}: {error}"),
    }
}

fn explain_certificate(server: &str, fault: &CertificateError) -> String {
    let whose = format!("the certificate of {server}");
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => {
            let until =
                i64::try_from(not_after.as_secs()).ok().and_then(|at| DateTime::from_timestamp(at, 0));
            let until = until.map_or_else(String::new, |until| format!(" on {}", until.date_naive()));
            format!("{whose} expired{until}: the server needs a new one (no option accepts an expired one)")
        }
        CertificateError::Expired => format!("{whose} has expired: the server needs a new one"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("{whose} is not valid yet: is this machine's clock right?")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            format!("{whose} is for another name: set imap.host to one that it names ({names})")
        }
        CertificateError::NotValidForName => {
            format!("{whose} is for another name: set imap.host to one that it names")
        }
        CertificateError::UnknownIssuer => format!(
            "{whose} is signed by nobody this machine trusts: set imap.ca_file to the certificate of its authority (PEM)"
        ),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            format!("{whose} is self-signed: set imap.ca_file to a copy of it (PEM)")
        }
        other => format!("{whose} is not accepted: {other}"),
    }
}

/// The name in rustls' `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, inside)| inside.strip_suffix(')')).unwrap_or(name);
    inside.trim_matches('"')
}
