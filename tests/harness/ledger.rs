//! The ledger of one mailbox, as a test sees and disturbs it.

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use ticketd::ingest::{self, Cursor};

use super::dovecot::PATIENCE;
use super::{postgres, wait};

/// A fresh, migrated database.
pub async fn database() -> PgPool {
    let options = postgres::fresh().await;
    PgPoolOptions::new().max_connections(4).connect_with(options).await.expect("a pool")
}

/// What the ledger knows of one mailbox.
pub struct Ledger {
    pub db: PgPool,
    pub mailbox: String,
}

impl Ledger {
    /// The mails, by UIDVALIDITY and UID.
    pub async fn raw(&self) -> Vec<Vec<u8>> {
        sqlx::query_scalar(
            "SELECT r.content FROM inbound i JOIN raw_mails r ON r.sha256 = i.raw_sha256
             WHERE i.mailbox = $1 ORDER BY i.uidvalidity, i.uid",
        )
        .bind(&self.mailbox)
        .fetch_all(&self.db)
        .await
        .expect("the mails")
    }

    /// [`Ledger::raw`] as text.
    pub async fn mails(&self) -> Vec<String> {
        self.raw().await.iter().map(|raw| String::from_utf8_lossy(raw).into_owned()).collect()
    }

    /// File names and contents of what came from a Maildir, by name.
    pub async fn files(&self) -> Vec<(String, Vec<u8>)> {
        sqlx::query_as(
            "SELECT i.name, r.content FROM inbound i JOIN raw_mails r ON r.sha256 = i.raw_sha256
             WHERE i.mailbox = $1 AND i.name IS NOT NULL ORDER BY i.name",
        )
        .bind(&self.mailbox)
        .fetch_all(&self.db)
        .await
        .expect("the files")
    }

    /// UIDs that are in quarantine unread.
    pub async fn unreadable(&self) -> Vec<i64> {
        sqlx::query_scalar(
            "SELECT uid FROM inbound WHERE mailbox = $1 AND fate = 'quarantined' AND raw_sha256 IS NULL ORDER BY uid",
        )
        .bind(&self.mailbox)
        .fetch_all(&self.db)
        .await
        .expect("the quarantine")
    }

    /// UIDs that had this fate.
    pub async fn fate(&self, fate: &str) -> Vec<i64> {
        sqlx::query_scalar("SELECT uid FROM inbound WHERE mailbox = $1 AND fate = $2 ORDER BY uid")
            .bind(&self.mailbox)
            .bind(fate)
            .fetch_all(&self.db)
            .await
            .expect("the ledger")
    }

    /// How far the mailbox was read.
    pub async fn cursor(&self) -> Option<Cursor> {
        ingest::cursor(&self.db, &self.mailbox).await.expect("a cursor")
    }

    /// Why the mailbox can't be read, if so.
    pub async fn trouble(&self) -> Option<String> {
        let told: Option<Option<String>> =
            sqlx::query_scalar("SELECT last_error FROM mailboxes WHERE name = $1")
                .bind(&self.mailbox)
                .fetch_optional(&self.db)
                .await
                .expect("the mailbox's health");
        told.flatten()
    }

    /// From now on the ledger takes nothing, or takes it again.
    pub async fn fails(&self, fails: bool) {
        let statement = if fails {
            "ALTER TABLE raw_mails RENAME TO raw_mails_away"
        } else {
            "ALTER TABLE raw_mails_away RENAME TO raw_mails"
        };
        sqlx::query(statement).execute(&self.db).await.expect("a table with another name");
    }

    /// As if the process had died before it could act on the server.
    pub async fn forget_actions(&self) {
        sqlx::query("UPDATE inbound SET acted = FALSE WHERE mailbox = $1")
            .bind(&self.mailbox)
            .execute(&self.db)
            .await
            .expect("forgotten actions");
    }

    /// Waits until so many mails are in the ledger.
    pub async fn until_mails(&self, count: usize) {
        self.until("mails", async || self.raw().await.len() == count).await;
    }

    /// Waits until the mailbox is known to fail.
    pub async fn until_trouble(&self) {
        self.until("trouble", async || self.trouble().await.is_some()).await;
    }

    /// Waits until the mailbox is known to fare well.
    pub async fn until_well(&self) {
        self.until("health", async || self.trouble().await.is_none()).await;
    }

    async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        let held = wait::within(PATIENCE, holds).await;
        assert!(held, "waited in vain for {what}: {:?}", self.trouble().await);
    }
}
