//! Where things come from: IMAP mailboxes, a Maildir and Discord's gateway, each read by one process at a time.

use anyhow::Context;
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::Mailbox;

pub mod discord;
pub mod imap;
pub mod lock;
pub mod maildir;

/// The reader of a configured mailbox. Fails where its secret cannot be read.
pub fn reader(
    mailbox: &Mailbox,
    db: &PgPool,
    clock: &Clock,
    max_message_bytes: usize,
) -> anyhow::Result<imap::Reader> {
    Ok(imap::Reader {
        mailbox: mailbox.name.clone(),
        settings: settings(mailbox)?,
        after: mailbox.after.clone(),
        start: mailbox.start,
        max_message_bytes,
        db: db.clone(),
        clock: clock.clone(),
        pace: imap::Pace::default(),
        progress: imap::Progress::default(),
    })
}

fn settings(mailbox: &Mailbox) -> anyhow::Result<imap::ImapSettings> {
    let section = mailbox
        .imap
        .as_ref()
        .with_context(|| format!("mailbox {}: the section [mailbox.imap] is missing", mailbox.name))?;
    Ok(imap::ImapSettings {
        host: section.host.clone(),
        port: section.port(),
        tls: section.tls,
        user: section.user.clone(),
        password: section.secret(&mailbox.name)?,
        ca_file: section.ca_file.clone(),
        folder: section.folder.clone(),
    })
}

/// Logs in, opens the folder and counts what is in it: for `doctor`. Changes nothing.
pub async fn check_mailbox(mailbox: &Mailbox) -> anyhow::Result<String> {
    let settings = settings(mailbox)?;
    let count = imap::connection::check(&mailbox.name, &settings).await?;
    Ok(format!(
        "{}:{} takes the login; {} holds {count} mails",
        settings.host, settings.port, settings.folder
    ))
}
