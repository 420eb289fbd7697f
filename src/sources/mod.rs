//! Where mail comes from: IMAP mailboxes and a Maildir, each read by one process at a time.

use crate::clock::Clock;
use crate::config::Mailbox;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub struct Reader {
    pub db: PgPool,
    pub clock: Clock,
    pub mailbox: Mailbox,
    pub max_message_bytes: usize,
}
pub async fn read_mailbox(reader: Reader, stop: CancellationToken) {
    let _ = reader;
    stop.cancelled().await
}
pub async fn check_mailbox(mailbox: &Mailbox, _max: usize) -> anyhow::Result<String> {
    Ok(mailbox.name.clone())
}
pub mod maildir {
    use super::*;
    pub async fn run(_p: std::path::PathBuf, _m: String, _db: PgPool, _c: Clock, stop: CancellationToken) {
        stop.cancelled().await
    }
}
