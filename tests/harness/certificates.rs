//! The tests' certificate authority, and certificates by it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::OnceLock,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd,
};

/// Where the server with the expired certificate listens.
pub const EXPIRED_HOST: &str = "127.0.0.2";
/// Where the server with a certificate of its own making listens.
pub const SELF_SIGNED_HOST: &str = "127.0.0.4";
/// A loopback address that no certificate names.
pub const UNNAMED_HOST: &str = "127.0.0.3";

fn authority() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to get wrong");
        params.distinguished_name.push(DnType::CommonName, "ticketd test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("an authority")
    })
}

/// The authority's certificate: what a client must be told to trust.
pub fn authority_pem() -> String {
    authority().pem()
}

/// A certificate for [`SELF_SIGNED_HOST`] as `openssl req -x509` makes them: signed by itself, and an authority.
fn self_signed(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names to get wrong");
    params.subject_alt_names = vec![address(SELF_SIGNED_HOST.parse().expect("an address"))];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(folder.join("self-signed.pem"), certificate.pem()).expect("write a certificate");
    std::fs::write(folder.join("self-signed.key"), key.serialize_pem()).expect("write a key");
}

/// Writes `ca.pem`, `server.pem`, `server.key` (localhost and 127.0.0.1), `expired.pem` and `expired.key`
/// ([`EXPIRED_HOST`], over since 2001), `self-signed.pem` and `self-signed.key` to `folder`.
pub fn write_to(folder: &Path) {
    self_signed(folder);
    let server = [SanType::DnsName("localhost".try_into().expect("ASCII")), address(Ipv4Addr::LOCALHOST)];
    let expired = [address(EXPIRED_HOST.parse().expect("an address"))];
    for (name, names, until) in [("server", &server[..], 2099), ("expired", &expired[..], 2001)] {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to get wrong");
        params.distinguished_name.push(DnType::CommonName, format!("ticketd test {name}"));
        params.subject_alt_names = names.to_vec();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, authority()).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("write a certificate");
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("write a key");
    }
    std::fs::write(folder.join("ca.pem"), authority_pem()).expect("write the authority's certificate");
}

fn address(address: Ipv4Addr) -> SanType {
    SanType::IpAddress(IpAddr::V4(address))
}

/// A certificate for a host's name, and its key.
pub fn for_name(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority()).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}
