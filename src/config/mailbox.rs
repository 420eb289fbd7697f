//! Mailboxes: where mail is read and by which way answers leave.

use std::path::PathBuf;

use anyhow::{Context, bail};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::is_loopback;
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
    /// Instead of a password.
    pub oauth: Option<OAuth>,
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
    /// Instead of a password.
    pub oauth: Option<OAuth>,
}

/// Where access tokens come from (RFC 6749 §6). What names the same grant twice shares its tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    /// Left out: a public client.
    pub client_secret_file: Option<PathBuf>,
    pub refresh_token_file: PathBuf,
    pub scope: Option<String>,
    /// Left out: the better one of those that the server announces.
    pub mechanism: Option<Mechanism>,
}

/// How an access token is shown to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// Of Google and Microsoft.
    XOAuth2,
    /// RFC 7628.
    OAuthBearer,
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

impl Mailbox {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let name = &self.name;
        let parts = self.address.rsplit_once('@');
        if parts.is_none_or(|(local, domain)| local.is_empty() || domain.is_empty()) {
            bail!("mailbox {name}: address `{}` is not a mail address", self.address);
        }
        if self.smtp.is_some() == self.outbox_dir.is_some() {
            bail!("mailbox {name}: give either [mailbox.smtp] or outbox_dir, so that answers can leave");
        }
        if let Some((imap, oauth)) = self.imap.as_ref().and_then(|imap| Some((imap, imap.oauth.as_ref()?))) {
            if imap.password.is_some() || imap.password_file.is_some() {
                bail!("mailbox {name}: imap has a password and oauth: give one of them");
            }
            oauth.check(&format!("mailbox {name}: imap.oauth"))?;
        }
        if let Some((smtp, oauth)) = self.smtp.as_ref().and_then(|smtp| Some((smtp, smtp.oauth.as_ref()?))) {
            if smtp.password.is_some() || smtp.password_file.is_some() {
                bail!("mailbox {name}: smtp has a password and oauth: give one of them");
            }
            if smtp.user.is_none() {
                bail!("mailbox {name}: smtp.oauth needs smtp.user, the account that the token is for");
            }
            if oauth.mechanism == Some(Mechanism::OAuthBearer) {
                bail!("mailbox {name}: smtp.oauth knows only mechanism = \"xoauth2\"");
            }
            oauth.check(&format!("mailbox {name}: smtp.oauth"))?;
        }
        Ok(())
    }

    /// What it logs in to with access tokens: `imap`, `smtp`.
    pub fn grants(&self) -> Vec<(&'static str, &OAuth)> {
        let imap = self.imap.as_ref().and_then(|imap| imap.oauth.as_ref()).map(|oauth| ("imap", oauth));
        let smtp = self.smtp.as_ref().and_then(|smtp| smtp.oauth.as_ref()).map(|oauth| ("smtp", oauth));
        imap.into_iter().chain(smtp).collect()
    }

    /// Every path in it.
    pub(super) fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut optional = vec![&mut self.outbox_dir];
        let mut paths = Vec::new();
        if let Some(imap) = &mut self.imap {
            optional.extend([&mut imap.password_file, &mut imap.ca_file]);
            if let Some(oauth) = &mut imap.oauth {
                optional.push(&mut oauth.client_secret_file);
                paths.push(&mut oauth.refresh_token_file);
            }
        }
        if let Some(smtp) = &mut self.smtp {
            optional.extend([&mut smtp.password_file, &mut smtp.ca_file]);
            if let Some(oauth) = &mut smtp.oauth {
                optional.push(&mut oauth.client_secret_file);
                paths.push(&mut oauth.refresh_token_file);
            }
        }
        paths.extend(optional.into_iter().flatten());
        paths
    }
}

impl OAuth {
    fn check(&self, what: &str) -> anyhow::Result<()> {
        let url = reqwest::Url::parse(&self.token_url)
            .with_context(|| format!("{what}: token_url `{}` is no URL", self.token_url))?;
        let plain = url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
        if url.scheme() != "https" && !plain {
            bail!(
                "{what}: token_url `{}` must be https (http is for loopback addresses only)",
                self.token_url
            );
        }
        if self.client_id.is_empty() {
            bail!("{what}: client_id is empty");
        }
        Ok(())
    }

    /// What we prove ourselves to the token server with; `None`: a public client.
    pub fn client_secret(&self, mailbox: &str) -> anyhow::Result<Option<SecretString>> {
        let what = format!("mailbox {mailbox}: oauth client secret");
        secret(&what, self.client_secret.as_ref(), self.client_secret_file.as_deref())
    }

    /// The refresh token that an admin put into the file.
    pub fn refresh_token(&self, mailbox: &str) -> anyhow::Result<SecretString> {
        let what = format!("mailbox {mailbox}: oauth refresh token");
        secret(&what, None, Some(&self.refresh_token_file))?
            .with_context(|| format!("mailbox {mailbox}: oauth.refresh_token_file is missing"))
    }
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

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_mailbox_logs_in_by_password_or_by_oauth_and_says_what_is_wrong() {
        let said = |imap: &str, smtp: &str| {
            let text = format!(
                "[[mailbox]]\nname = \"support\"\naddress = \"s@example.org\"\n\
                 [mailbox.imap]\nhost = \"x\"\nuser = \"u\"\n{imap}\n[mailbox.smtp]\nhost = \"x\"\n{smtp}\n"
            );
            match Config::parse(&text, [].into()) {
                Ok(_) => "taken".to_owned(),
                Err(error) => format!("{error:#}"),
            }
        };
        let oauth = |url: &str, more: &str| {
            format!(
                "oauth = {{ token_url = \"{url}\", client_id = \"c\", refresh_token_file = \"r\"{more} }}"
            )
        };
        let good = oauth("https://id.example.org/token", "");
        let with_password = format!("password_file = \"p\"\n{good}");
        insta::assert_snapshot!(said(&good, &format!("user = \"u\"\n{good}")), @"taken");
        insta::assert_snapshot!(said(&oauth("http://127.0.0.1:1/token", ", scope = \"mail\", mechanism = \"oauthbearer\""), ""), @"taken");
        insta::assert_snapshot!(said(&with_password, ""), @"mailbox support: imap has a password and oauth: give one of them");
        insta::assert_snapshot!(said("", &with_password), @"mailbox support: smtp has a password and oauth: give one of them");
        insta::assert_snapshot!(said("", &good), @"mailbox support: smtp.oauth needs smtp.user, the account that the token is for");
        insta::assert_snapshot!(said(&oauth("http://id.example.org/token", ""), ""), @"mailbox support: imap.oauth: token_url `http://id.example.org/token` must be https (http is for loopback addresses only)");
        insta::assert_snapshot!(said(&oauth("token", ""), ""), @"mailbox support: imap.oauth: token_url `token` is no URL: relative URL without a base");
        insta::assert_snapshot!(said(&oauth("https://id.example.org", ", mechanism = \"plain\""), ""), @"`mailbox[0].imap.oauth.mechanism`: unknown variant `plain`, expected `xoauth2` or `oauthbearer`");
        insta::assert_snapshot!(said("", &format!("user = \"u\"\n{}", oauth("https://id.example.org", ", mechanism = \"oauthbearer\""))), @r#"mailbox support: smtp.oauth knows only mechanism = "xoauth2""#);
        insta::assert_snapshot!(said("oauth = { token_url = \"https://x\", client_id = \"c\" }", ""), @"`mailbox[0].imap.oauth`: missing field `refresh_token_file`");
    }
}
