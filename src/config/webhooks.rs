//! The section `[webhooks]`: where events may be sent to.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::http::networks;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Beside the public addresses.
    #[serde(deserialize_with = "networks")]
    pub allowed_networks: Vec<IpNet>,
    /// Trusted beside the public authorities.
    pub ca_file: Option<PathBuf>,
}
