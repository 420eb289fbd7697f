//! The section `[attachments]`: where the contents of files are kept, and which are taken.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use secrecy::SecretString;
use serde::Deserialize;

use super::{is_loopback, load};

/// What the database's and the queue's work with one file is measured for.
const LARGEST: usize = 100 * 1024 * 1024;
const MOST: usize = 1000;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attachments {
    /// Left out: `attachments` under `data_dir`.
    pub path: Option<PathBuf>,
    /// Instead of a folder.
    pub s3: Option<S3>,
    /// Larger files of mails and messages are left out, and their ticket says so.
    pub max_bytes: usize,
    /// So many files are taken of one mail or message.
    pub max_count: usize,
}

/// A bucket of Amazon S3 or of what speaks its protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub bucket: String,
    #[serde(default = "default_region")]
    pub region: String,
    /// Left out: Amazon's own for the region.
    pub endpoint: Option<String>,
    /// Put before every name in the bucket.
    #[serde(default)]
    pub prefix: String,
    pub access_key_id: Option<SecretString>,
    pub access_key_id_file: Option<PathBuf>,
    pub secret_access_key: Option<SecretString>,
    pub secret_access_key_file: Option<PathBuf>,
    /// The bucket in the path instead of in the host's name: what most servers but Amazon's want.
    #[serde(default)]
    pub path_style: bool,
    /// Loopback addresses only.
    #[serde(default)]
    pub allow_http: bool,
    /// Trusted beside the public authorities.
    pub ca_file: Option<PathBuf>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl Default for Attachments {
    fn default() -> Self {
        Self { path: None, s3: None, max_bytes: 26_214_400, max_count: 100 }
    }
}

impl Attachments {
    /// The folder, where no bucket is configured.
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        self.path.clone().unwrap_or_else(|| data_dir.join("attachments"))
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.path.is_some() && self.s3.is_some() {
            bail!("attachments: path and [attachments.s3] exclude each other: give one of them");
        }
        if !(1..=LARGEST).contains(&self.max_bytes) {
            bail!("attachments: max_bytes is {}: give a number from 1 to {LARGEST}", self.max_bytes);
        }
        if self.max_count > MOST {
            bail!("attachments: max_count is {}: give a number from 0 to {MOST}", self.max_count);
        }
        self.s3.as_ref().map_or(Ok(()), S3::check)
    }

    pub(super) fn paths(&mut self) -> Vec<&mut Option<PathBuf>> {
        let mut paths = vec![&mut self.path];
        if let Some(s3) = &mut self.s3 {
            paths.extend([&mut s3.access_key_id_file, &mut s3.secret_access_key_file, &mut s3.ca_file]);
        }
        paths
    }
}

impl S3 {
    /// Id and secret of the access key, from the files or the environment.
    pub fn key(&self) -> anyhow::Result<(SecretString, SecretString)> {
        let id = load::secret(
            "attachments: s3 access key id",
            self.access_key_id.as_ref(),
            self.access_key_id_file.as_deref(),
        )?;
        let secret = load::secret(
            "attachments: s3 secret access key",
            self.secret_access_key.as_ref(),
            self.secret_access_key_file.as_deref(),
        )?;
        Ok((
            id.context("attachments: s3.access_key_id (or access_key_id_file) is missing")?,
            secret.context("attachments: s3.secret_access_key_file is missing")?,
        ))
    }

    fn check(&self) -> anyhow::Result<()> {
        let is_bucket = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if self.bucket.is_empty() || !self.bucket.chars().all(is_bucket) {
            bail!("attachments: s3.bucket `{}` is not the name of a bucket", self.bucket);
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let url = reqwest::Url::parse(endpoint)
            .with_context(|| format!("attachments: s3.endpoint `{endpoint}` is not a URL"))?;
        match (url.scheme(), self.allow_http) {
            ("https", _) => Ok(()),
            ("http", true) if url.host_str().is_some_and(is_loopback) => Ok(()),
            ("http", true) => {
                bail!("attachments: s3.allow_http is for loopback addresses: `{endpoint}` must be https")
            }
            ("http", false) => bail!(
                "attachments: s3.endpoint `{endpoint}` must be https (on this machine: set s3.allow_http)"
            ),
            (other, _) => bail!("attachments: s3.endpoint: `{other}` is not https"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;

    #[test]
    fn what_cannot_work_is_said_with_what_does() {
        let said = |text: &str| match Config::parse(&format!("[attachments]\n{text}"), BTreeMap::new()) {
            Ok(_) => "taken".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let s3 = |rest: &str| said(&format!("[attachments.s3]\nbucket = \"b\"\n{rest}"));
        insta::assert_snapshot!(said("max_bytes = 0"), @"attachments: max_bytes is 0: give a number from 1 to 104857600");
        insta::assert_snapshot!(said("max_count = 1001"), @"attachments: max_count is 1001: give a number from 0 to 1000");
        insta::assert_snapshot!(said("path = \"x\"\n[attachments.s3]\nbucket = \"b\""), @"attachments: path and [attachments.s3] exclude each other: give one of them");
        insta::assert_snapshot!(said("[attachments.s3]\nbucket = \"a/b\""), @"attachments: s3.bucket `a/b` is not the name of a bucket");
        insta::assert_snapshot!(s3("endpoint = \"http://127.0.0.1:9000\""), @"attachments: s3.endpoint `http://127.0.0.1:9000` must be https (on this machine: set s3.allow_http)");
        insta::assert_snapshot!(s3("allow_http = true\nendpoint = \"http://s3.example.org\""), @"attachments: s3.allow_http is for loopback addresses: `http://s3.example.org` must be https");
        insta::assert_snapshot!(s3("endpoint = \"s3.example.org\""), @"attachments: s3.endpoint `s3.example.org` is not a URL: relative URL without a base");
        insta::assert_snapshot!(s3("allow_http = true\nendpoint = \"http://127.0.0.1:9000\"\npath_style = true"), @"taken");
    }
}
