//! Where webhooks may be sent to. An admin of tickets is not to reach, by way of us, what only this machine can reach.
//!
//! Names are looked up here and connected to at the addresses that were checked: a second look-up could differ.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why an address is not sent to, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("that is no address of a web server: write https://host/path")]
    Unreadable,
    #[error("webhooks go by https only: write https://host/path")]
    NotHttps,
    #[error("leave user and password out of the address: what is sent is signed instead")]
    Credentials,
    #[error("leave the part behind # out of the address: it would not be sent")]
    Fragment,
    #[error("the name {0} cannot be looked up: correct it, or enter it in the DNS")]
    UnknownName(String),
    #[error(
        "{0} leads to no public address: choose another host, or enter its network in webhooks.allowed_networks"
    )]
    NotPublic(String),
}

/// IPv4 addresses that are not of one host on the public Internet (the IANA's registry of special addresses).
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Of `2000::/3`, which alone is global unicast (RFC 4291 §2.4): assignments to protocols (Teredo among them), documentation.
const SPECIAL_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether we may connect there: one host on the public Internet, or in a network that is configured.
pub fn may_reach(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = meant(address);
    allowed.iter().any(|network| network.contains(&address)) || is_public(address)
}

/// The IPv4 address that an IPv6 address stands for, in its several ways of writing.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match v6.segments() {
        // RFC 4291 §2.5.5: mapped; RFC 6052 §2.1: by NAT64; RFC 3056 §2: by 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn is_public(address: IpAddr) -> bool {
    let within = |network: IpNet| network.contains(&address);
    match address {
        IpAddr::V4(_) => {
            !SPECIAL_V4.iter().any(|(at, bits)| Ipv4Net::new(*at, *bits).is_ok_and(|n| within(n.into())))
        }
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            let is_special =
                SPECIAL_V6.iter().any(|(at, bits)| Ipv6Net::new(*at, *bits).is_ok_and(|n| within(n.into())));
            first & 0xe000 == 0x2000 && !is_special
        }
    }
}

/// Reads the address of a webhook and checks what can be checked without a look-up.
pub fn check(url: &str, allowed: &[IpNet]) -> Result<Url, Refused> {
    let url = Url::parse(url).map_err(|_unreadable| Refused::Unreadable)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Refused::Unreadable)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Credentials);
    }
    if url.fragment().is_some() {
        return Err(Refused::Fragment);
    }
    let literal = literal(host);
    if literal.is_some_and(|address| !may_reach(address, allowed)) {
        return Err(Refused::NotPublic(host.to_owned()));
    }
    let is_loopback = literal.map_or(host == "localhost", |address| address.is_loopback());
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let may_loop = loopback.into_iter().any(|address| may_reach(address, allowed));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback && may_loop => Ok(url),
        _ => Err(Refused::NotHttps),
    }
}

/// The address that a host is written as: no resolver is asked for it. `Url` has made the odd ways of writing one plain.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// As [`check`], with a look-up: for whoever enters an address. What it says later is checked again at each send.
pub async fn advise(url: &str, allowed: &[IpNet]) -> Result<(), Refused> {
    let url = check(url, allowed)?;
    let host = url.host_str().unwrap_or_default();
    if literal(host).is_none() {
        look_up(host, allowed).await?;
    }
    Ok(())
}

async fn look_up(host: &str, allowed: &[IpNet]) -> Result<Vec<SocketAddr>, Refused> {
    let found =
        tokio::net::lookup_host((host, 0)).await.map_err(|_unknown| Refused::UnknownName(host.to_owned()))?;
    let may: Vec<SocketAddr> = found.filter(|at| may_reach(at.ip(), allowed)).collect();
    if may.is_empty() { Err(Refused::NotPublic(host.to_owned())) } else { Ok(may) }
}

/// Gives an HTTP client the addresses that may be reached, and no others.
#[derive(Clone, Debug)]
pub struct Resolver {
    pub allowed: std::sync::Arc<[IpNet]>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = std::sync::Arc::clone(&self.allowed);
        Box::pin(async move {
            let found = look_up(name.as_str(), &allowed).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_on_the_public_internet_may_be_reached() {
        let public = "1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.1 \
             192.0.1.1 192.167.1.1 198.17.0.1 198.20.0.1 223.255.255.255 2606:4700::1111 2001:4860:4860::8888 \
             2a00:1450:4001::1 2001:200::1 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1";
        let inside = "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 \
             169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 \
             198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 \
             :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 \
             64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::a00:1 64:ff9b:1::808:808 2002:7f00:1:: 2002:a9fe:a9fe::1 \
             2002:c0a8:101::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 2001:20::1 2001:1ff::1 \
             2001:db8::1 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1";
        for (list, may) in [(public, true), (inside, false)] {
            for address in list.split_whitespace() {
                assert_eq!(may_reach(address.parse().unwrap(), &[]), may, "{address}");
            }
        }
    }

    #[test]
    fn a_configured_network_may_be_reached_however_its_addresses_are_written() {
        let allowed = ["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()];
        for (address, may) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("64:ff9b::a01:203", true),
            ("fd00::1", true),
            ("fd00:0:0:1::1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(may_reach(address.parse().unwrap(), &allowed), may, "{address}");
        }
    }

    #[test]
    fn an_address_is_refused_with_what_to_do() {
        let home: [IpNet; 1] = ["127.0.0.0/8".parse().unwrap()];
        let said = |url: &str, allowed: &[IpNet]| match check(url, allowed) {
            Ok(url) => format!("{url}"),
            Err(refused) => refused.to_string(),
        };
        let not_public = "leads to no public address: choose another host, or enter its network in webhooks.allowed_networks";
        for (url, expected) in [
            ("https://example.org/hook?x=1", "https://example.org/hook?x=1".to_owned()),
            ("https://example.org:8443/hook", "https://example.org:8443/hook".to_owned()),
            ("https://127.0.0.1/", format!("127.0.0.1 {not_public}")),
            ("https://2130706433/", format!("127.0.0.1 {not_public}")),
            ("https://0x7f.1/", format!("127.0.0.1 {not_public}")),
            ("https://0177.0.0.1/", format!("127.0.0.1 {not_public}")),
            ("https://[::1]/", format!("[::1] {not_public}")),
            ("https://[::ffff:10.0.0.1]/", format!("[::ffff:a00:1] {not_public}")),
            ("https://169.254.169.254/latest", format!("169.254.169.254 {not_public}")),
            ("http://example.org/", "webhooks go by https only: write https://host/path".to_owned()),
            ("http://localhost/", "webhooks go by https only: write https://host/path".to_owned()),
            ("gopher://example.org/", "webhooks go by https only: write https://host/path".to_owned()),
            ("file:///etc/passwd", "that is no address of a web server: write https://host/path".to_owned()),
            ("example.org", "that is no address of a web server: write https://host/path".to_owned()),
            ("https://", "that is no address of a web server: write https://host/path".to_owned()),
            (
                "https://u:p@example.org/",
                "leave user and password out of the address: what is sent is signed instead".to_owned(),
            ),
            (
                "https://example.org/#x",
                "leave the part behind # out of the address: it would not be sent".to_owned(),
            ),
        ] {
            assert_eq!(said(url, &[]), expected, "{url}");
        }
        for url in ["http://localhost:1/", "http://127.0.0.1:1/", "https://127.0.0.1/"] {
            assert!(check(url, &home).is_ok(), "{url}");
        }
        assert_eq!(check("http://example.org/", &home), Err(Refused::NotHttps));
        assert_eq!(check("http://8.8.8.8/", &home), Err(Refused::NotHttps));
    }
}
