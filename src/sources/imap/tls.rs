//! TLS towards a mail server: whom to trust, and what to say when trust fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use chrono::DateTime;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Trust in Mozilla's authorities, in those of this machine, and in those of `ca_file`.
pub(super) async fn client(ca_file: Option<PathBuf>) -> anyhow::Result<Arc<ClientConfig>> {
    // It reads files, some of them long.
    tokio::task::spawn_blocking(move || {
        let mut roots = known_authorities().clone();
        if let Some(file) = &ca_file {
            add_authorities(&mut roots, file)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
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

fn add_authorities(roots: &mut RootCertStore, file: &Path) -> anyhow::Result<()> {
    let shown = file.display();
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).with_context(|| {
            format!("cannot read imap.ca_file {shown} (a PEM file that ticketd's user may read)")
        })?;
    if certificates.is_empty() {
        bail!("imap.ca_file {shown} holds no certificate: it must be PEM, with BEGIN CERTIFICATE lines");
    }
    for certificate in certificates {
        roots
            .add(certificate)
            .with_context(|| format!("imap.ca_file {shown} holds a certificate that is none"))?;
    }
    Ok(())
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
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "{whose} is an authority's own: give the server one that is signed by it, and set imap.ca_file to the \
             authority's"
        ),
        other => format!("{whose} is not accepted: {other}"),
    }
}

/// The name in rustls' `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, inside)| inside.strip_suffix(')')).unwrap_or(name);
    inside.trim_matches('"')
}
