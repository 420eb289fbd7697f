//! The section `[webhooks]`: where events may be sent to.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Beside the public addresses.
    #[serde(deserialize_with = "networks")]
    pub allowed_networks: Vec<IpNet>,
    /// Trusted beside the public authorities.
    pub ca_file: Option<PathBuf>,
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let written = Vec::<String>::deserialize(deserializer)?;
    let read = written.iter().map(|text| {
        text.parse().map_err(|_unreadable| {
            serde::de::Error::custom(format!("`{text}` is no network such as \"10.0.0.0/8\""))
        })
    });
    read.collect()
}
