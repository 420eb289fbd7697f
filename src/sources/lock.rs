//! One reader per mailbox, however many processes share the database.
//!
//! A reader holds an advisory lock of PostgreSQL on a connection of its own. When the process dies, or loses that
//! connection, the server lets go of the lock, and a process that waits for it takes over within seconds. The
//! ledger is idempotent, so the moment in which both read costs work, not correctness.

use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, PgPool};

/// How often a process that waits looks whether the lock is free.
const POLL: Duration = Duration::from_secs(2);
/// How long the database may take to say that it still knows us.
const ANSWER: Duration = Duration::from_secs(5);

/// The right to read one source. Dropping it closes its connection, and so gives the right back.
#[derive(Debug)]
pub struct ReaderLock {
    connection: PgConnection,
}

impl ReaderLock {
    /// Waits until no other process reads `source` (such as `imap:support`). Fails where the database does.
    pub async fn acquire(db: &PgPool, source: &str) -> anyhow::Result<Self> {
        let mut lock = Self::connect(db).await?;
        let mut said = false;
        while !lock.try_lock(source).await? {
            if !said {
                tracing::info!(source, "another process reads {source}; waiting to take over");
                said = true;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(lock)
    }

    /// Takes the right to read `source` if it is free; else `None`.
    pub async fn try_acquire(db: &PgPool, source: &str) -> anyhow::Result<Option<Self>> {
        let mut lock = Self::connect(db).await?;
        Ok(lock.try_lock(source).await?.then_some(lock))
    }

    /// Fails where the connection is gone and with it the lock: whoever holds this must stop reading.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        let alive = sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&mut self.connection);
        match tokio::time::timeout(ANSWER, alive).await {
            Ok(answer) => answer.map(drop).context("the reader's lock is lost with its database connection"),
            Err(_elapsed) => bail!("the database does not answer, so the reader's lock may be lost"),
        }
    }

    /// Gives the right back at once. Dropping does so too, but only when the server notices.
    pub async fn release(mut self) {
        let unlocking = sqlx::query_scalar::<_, i32>("SELECT 1 FROM pg_advisory_unlock_all()");
        let released = tokio::time::timeout(ANSWER, unlocking.fetch_one(&mut self.connection)).await;
        if !matches!(released, Ok(Ok(_))) {
            tracing::debug!("the reader's lock could not be given back; it ends with its connection");
        }
    }

    async fn connect(db: &PgPool) -> anyhow::Result<Self> {
        // Not from the pool: it would close the connection when it thinks it idle or old.
        let options = db.connect_options();
        let connection = tokio::time::timeout(ANSWER, options.connect())
            .await
            .context("the database does not answer")?
            .context("cannot connect to the database for the reader's lock")?;
        Ok(Self { connection })
    }

    async fn try_lock(&mut self, source: &str) -> anyhow::Result<bool> {
        // Two numbers: ours, so that no other use of advisory locks in this database meets it, and the source's.
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('ticketd.reader'), hashtext($1))")
            .bind(source)
            .fetch_one(&mut self.connection)
            .await
            .context("cannot take the reader's lock")
    }
}
