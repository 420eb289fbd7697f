//! Mailboxes: where mail is read and by which way answers leave.

use std::path::PathBuf;

use anyhow::Context;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::load::secret;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    pub name: String,
    pub address: String,
    #[serde(default = "yes")]
    pub plus_addressing: bool,
    /// The name under which its mail server writes Authentication-Results (RFC 8601 §2.5). Set: staff's mails need its pass.
    pub authserv_id: Option<String>,
    /// Whether bounces come to an address of their own (VERP); takes plus-addresses.
    #[serde(default = "yes")]
    pub verp: bool,
    #[serde(default)]
    pub after: After,
    #[serde(default)]
    pub start: Start,
    pub imap: Option<Imap>,
    pub smtp: Option<Smtp>,
    /// Instead of `smtp`: mails are written here as .eml files.
    pub outbox_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imap {
    pub host: String,
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: Tls,
    pub user: String,
    pub password: Option<SecretString>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    #[serde(default = "default_folder")]
    pub folder: String,
    pub(super) oauth: Option<toml::Table>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: Tls,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maildir {
    pub path: PathBuf,
    /// Name of the mailbox that answers are sent from; default: the first.
    pub mailbox: Option<String>,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    #[default]
    Implicit,
    StartTls,
    /// Loopback addresses only.
    None,
}

/// Which mails of a mailbox are taken in at its first reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Everything that waits in the folder.
    #[default]
    All,
    /// Only what arrives from now on.
    New,
}

/// What is done to a mail on the server once it is safely in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum After {
    #[default]
    Keep,
    Seen,
    Move(String),
    Delete,
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.split_once(':')) {
            ("keep", _) => Ok(Self::Keep),
            ("seen", _) => Ok(Self::Seen),
            ("delete", _) => Ok(Self::Delete),
            (_, Some(("move", folder))) if !folder.is_empty() => Ok(Self::Move(folder.to_owned())),
            _ => Err(serde::de::Error::custom(format!(
                "`{text}` is none of \"keep\", \"seen\", \"move:FOLDER\", \"delete\""
            ))),
        }
    }
}

fn yes() -> bool {
    true
}
fn default_folder() -> String {
    "INBOX".to_owned()
}

impl Imap {
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls == Tls::Implicit { 993 } else { 143 })
    }

    /// The password, from the file or the configuration.
    pub fn secret(&self, mailbox: &str) -> anyhow::Result<SecretString> {
        secret(
            &format!("mailbox {mailbox}: imap password"),
            self.password.as_ref(),
            self.password_file.as_deref(),
        )?
        .with_context(|| format!("mailbox {mailbox}: imap.password_file is missing"))
    }
}

impl Smtp {
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Implicit => 465,
            Tls::StartTls => 587,
            Tls::None => 25,
        })
    }

    /// User and password, where a user is configured.
    pub fn login(&self, mailbox: &str) -> anyhow::Result<Option<(String, SecretString)>> {
        let Some(user) = self.user.clone() else { return Ok(None) };
        let what = format!("mailbox {mailbox}: smtp password");
        let password =
            secret(&what, self.password.as_ref(), self.password_file.as_deref())?.with_context(|| {
                format!("mailbox {mailbox}: smtp.user is set but smtp.password_file is missing")
            })?;
        Ok(Some((user, password)))
    }
}
