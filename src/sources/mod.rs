//! Where things come from: IMAP mailboxes, a Maildir and Discord's gateway, each read by one process at a time.

use anyhow::Context;
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::Mailbox;
use crate::oauth::{Grant, Tokens};

pub mod discord;
pub mod imap;
pub mod lock;
pub mod maildir;

use imap::login::{Login, OAuth};

/// The reader of a configured mailbox. Fails where its secret cannot be read.
pub fn reader(
    mailbox: &Mailbox,
    db: &PgPool,
    clock: &Clock,
    tokens: &Tokens,
    max_message_bytes: usize,
) -> anyhow::Result<imap::Reader> {
    Ok(imap::Reader {
        mailbox: mailbox.name.clone(),
        settings: settings(mailbox, Some(tokens))?,
        after: mailbox.after.clone(),
        start: mailbox.start,
        max_message_bytes,
        db: db.clone(),
        clock: clock.clone(),
        pace: imap::Pace::default(),
        progress: imap::Progress::default(),
    })
}

fn settings(mailbox: &Mailbox, tokens: Option<&Tokens>) -> anyhow::Result<imap::ImapSettings> {
    let section = mailbox
        .imap
        .as_ref()
        .with_context(|| format!("mailbox {}: the section [mailbox.imap] is missing", mailbox.name))?;
    let login = match (&section.oauth, tokens) {
        (None, _) => Login::Password(section.secret(&mailbox.name)?),
        (Some(oauth), Some(tokens)) => {
            let grant = Grant::new(&mailbox.name, oauth);
            grant.check()?;
            Login::OAuth(Box::new(OAuth { tokens: tokens.clone(), grant, mechanism: oauth.mechanism }))
        }
        (Some(_), None) => {
            anyhow::bail!("not tried: a token that the server gives could not be stored without the database")
        }
    };
    Ok(imap::ImapSettings {
        host: section.host.clone(),
        port: section.port(),
        tls: section.tls,
        user: section.user.clone(),
        login,
        ca_file: section.ca_file.clone(),
        folder: section.folder.clone(),
    })
}

/// Logs in, opens the folder and counts what is in it: for `doctor`. Changes nothing on the mail server.
pub async fn check_mailbox(mailbox: &Mailbox, tokens: Option<&Tokens>) -> anyhow::Result<String> {
    let settings = settings(mailbox, tokens)?;
    let count = imap::connection::check(&mailbox.name, &settings).await?;
    Ok(format!(
        "{}:{} takes the login; {} holds {count} mails",
        settings.host, settings.port, settings.folder
    ))
}
