//! Accounts: how long log-ins last, who may sign up, whose second factor is asked for, who else may vouch for people.

use std::path::PathBuf;

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::is_loopback;
use super::load::secret;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    pub secret_file: Option<PathBuf>,
    pub secret: Option<SecretString>,
    /// Secrets of before: what was signed with them is still good.
    pub previous_secret_files: Vec<PathBuf>,
    pub access_minutes: i64,
    pub refresh_days: i64,
    pub signup: bool,
    pub require_second_factor: RequireSecondFactor,
}

/// Of whom a second factor is asked before they may do anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequireSecondFactor {
    /// Of nobody; whoever wants one has one.
    #[default]
    Off,
    /// Of moderators and admins.
    Staff,
}

/// A provider that vouches for people (OpenID Connect): Google, or another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    pub client_secret_file: Option<PathBuf>,
    /// Domains of mail addresses that are let in; empty: all.
    #[serde(default)]
    pub allowed_domains: Vec<String>,
    /// What people call the provider.
    #[serde(default = "default_name")]
    pub name: String,
}

fn default_name() -> String {
    "Google".to_owned()
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret_file: None,
            secret: None,
            previous_secret_files: Vec::new(),
            access_minutes: 15,
            refresh_days: 30,
            signup: true,
            require_second_factor: RequireSecondFactor::Off,
        }
    }
}

impl Auth {
    /// The secrets of before, the newest first.
    pub fn previous_secrets(&self) -> anyhow::Result<Vec<SecretString>> {
        let read = |file: &PathBuf| {
            secret("auth: previous secret", None, Some(file))?.context("auth: a previous secret is missing")
        };
        self.previous_secret_files.iter().map(read).collect()
    }

    /// The secret all signatures derive from; `None`: a random one kept in the database.
    pub fn secret(&self) -> anyhow::Result<Option<SecretString>> {
        let secret = secret("auth: secret", self.secret.as_ref(), self.secret_file.as_deref())?;
        if secret.as_ref().is_some_and(|s| s.expose_secret().len() < 32) {
            bail!("auth: the secret is shorter than 32 bytes: make one with `openssl rand -hex 32`");
        }
        Ok(secret)
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !(1..=24 * 60).contains(&self.access_minutes) {
            bail!("auth: access_minutes is {}: give 1 to 1440", self.access_minutes);
        }
        if !(1..=365).contains(&self.refresh_days) {
            bail!("auth: refresh_days is {}: give 1 to 365", self.refresh_days);
        }
        Ok(())
    }
}

impl Oidc {
    /// What we prove ourselves to the provider with.
    pub fn secret(&self) -> anyhow::Result<SecretString> {
        secret("oidc: client secret", self.client_secret.as_ref(), self.client_secret_file.as_deref())?
            .context("oidc: client_secret_file is missing")
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let url = reqwest::Url::parse(&self.issuer)
            .with_context(|| format!("oidc: issuer `{}` is no URL", self.issuer))?;
        let plain = url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
        if url.scheme() != "https" && !plain {
            bail!("oidc: issuer `{}` must be https (http is for loopback addresses only)", self.issuer);
        }
        if self.client_id.is_empty() {
            bail!("oidc: client_id is empty");
        }
        let odd = |domain: &&String| domain.is_empty() || domain.contains(['@', '*', '/', ' ']);
        if let Some(domain) = self.allowed_domains.iter().find(odd) {
            bail!("oidc: allowed_domains: `{domain}` is no domain: write it as example.org");
        }
        Ok(())
    }

    /// Whether addresses of a domain are let in.
    pub fn allows(&self, domain: &str) -> bool {
        self.allowed_domains.is_empty() || self.allowed_domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let error = |text: &str| format!("{:#}", Config::parse(text, [].into()).unwrap_err());
        let oidc =
            |issuer: &str, more: &str| format!("[oidc]\nissuer = \"{issuer}\"\nclient_id = \"x\"\n{more}");
        insta::assert_snapshot!(error("[auth]\nrefresh_days = 0"), @"auth: refresh_days is 0: give 1 to 365");
        insta::assert_snapshot!(error("[auth]\nrequire_second_factor = \"all\""), @"`auth.require_second_factor`: unknown variant `all`, expected `off` or `staff`");
        insta::assert_snapshot!(error(&oidc("http://id.example.org", "")), @"oidc: issuer `http://id.example.org` must be https (http is for loopback addresses only)");
        insta::assert_snapshot!(error(&oidc("https://id.example.org", "allowed_domains = [\"*.example.org\"]")), @"oidc: allowed_domains: `*.example.org` is no domain: write it as example.org");
        let good =
            Config::parse(&oidc("http://127.0.0.1:4030", "allowed_domains = [\"Example.org\"]"), [].into());
        let good = good.unwrap().oidc.unwrap();
        assert!(good.allows("example.ORG") && !good.allows("sub.example.org"));
        insta::assert_snapshot!(good.secret().unwrap_err().to_string(), @"oidc: client_secret_file is missing");
    }
}
