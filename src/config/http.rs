//! The web server: where it listens, whom it believes, and how much one client may ask for.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    pub public_url: Option<String>,
    /// Networks of proxies whose X-Forwarded-For is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may use the API in a browser; empty: none but our own.
    pub cors_origins: Vec<String>,
}

/// What one client may ask for in a minute; 0: no limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub requests_per_address: u32,
    pub log_ins_per_address: u32,
    pub log_ins_per_account: u32,
    /// Requests that have a mail sent to an address that anybody can type.
    pub letters_per_address: u32,
    pub tickets_per_person: u32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
        }
    }
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_address: 3000,
            log_ins_per_address: 30,
            log_ins_per_account: 100,
            letters_per_address: 10,
            tickets_per_person: 30,
        }
    }
}

impl Http {
    /// Where people reach us, without a slash at the end; where nothing is configured, where we listen.
    pub fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }

    /// Whether people reach us by TLS.
    pub fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// Networks, or single addresses.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let written = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(address).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no network: write it as 10.0.0.0/8 or 192.0.2.7"))
        })
    };
    written.iter().map(network).collect()
}
