//! One reader per source, however many processes share the database.
//!
//! A reader holds an advisory lock of PostgreSQL on a connection of its own. When the process dies, the server lets go
//! of the lock, and a process that waits for it takes over within seconds. A process that is frozen, or cut off from
//! the database without a word, keeps its connection, and would keep the lock for ever. So a holder says something to
//! the server every two seconds ([`ReaderLock::lost`]), and a process that waits ends the connection of one that has
//! said nothing for six: both by the server's own clock, in what it notes of each connection. A holder that wakes up
//! finds its connection gone before it commits ([`ReaderLock::check`]), and has to wait like any other.
//!
//! The ledger is idempotent, so the moment in which both read costs work, not correctness.

use std::time::Duration;

use anyhow::{Context, bail};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, PgPool};
use tokio::sync::Mutex;

/// How often a process that waits looks whether the lock is free.
const POLL: Duration = Duration::from_secs(1);
/// How often a holder shows that it lives.
const BEAT: Duration = Duration::from_secs(2);
/// A holder that has shown nothing for this long is frozen, or out of reach.
const SILENT: Duration = Duration::from_secs(6);
/// How long the database may take to say that it still knows us.
const ANSWER: Duration = Duration::from_secs(5);

/// The right to read one source. Dropping it closes its connection, and so gives the right back.
///
/// Whoever holds it for longer than a moment keeps it by [`ReaderLock::lost`].
#[derive(Debug)]
pub struct ReaderLock {
    connection: Mutex<PgConnection>,
}

impl ReaderLock {
    /// Waits until no other process reads `source` (such as `imap:support`). Fails where the database does.
    pub async fn acquire(db: &PgPool, source: &str) -> anyhow::Result<Self> {
        let lock = Self::connect(db).await?;
        let mut said = false;
        while !lock.try_lock(source).await? {
            if !said {
                tracing::info!(source, "another process reads {source}; waiting to take over");
                said = true;
            }
            if lock.end_silent_holder(source).await? {
                tracing::warn!(source, "the process that reads {source} says nothing any more; taking over");
            } else {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(lock)
    }

    /// Takes the right to read `source` if it is free; else `None`.
    pub async fn try_acquire(db: &PgPool, source: &str) -> anyhow::Result<Option<Self>> {
        let lock = Self::connect(db).await?;
        Ok(lock.try_lock(source).await?.then_some(lock))
    }

    /// Shows every two seconds that the holder lives. Ends, with the reason, where the lock is lost: to be awaited
    /// beside the work that the lock is for.
    pub async fn lost(&self) -> anyhow::Error {
        loop {
            tokio::time::sleep(BEAT).await;
            if let Err(error) = self.check().await {
                return error;
            }
        }
    }

    /// Fails where the connection is gone and with it the lock: whoever holds this must stop reading.
    pub async fn check(&self) -> anyhow::Result<()> {
        let mut connection = self.connection.lock().await;
        let alive = sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&mut *connection);
        match tokio::time::timeout(ANSWER, alive).await {
            Ok(answer) => answer.map(drop).context("the reader's lock is lost with its database connection"),
            Err(_elapsed) => bail!("the database does not answer, so the reader's lock may be lost"),
        }
    }

    /// Gives the right back at once. Dropping does so too, but only when the server notices.
    pub async fn release(self) {
        let mut connection = self.connection.into_inner();
        let unlocking = sqlx::query_scalar::<_, i32>("SELECT 1 FROM pg_advisory_unlock_all()");
        let released = tokio::time::timeout(ANSWER, unlocking.fetch_one(&mut connection)).await;
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
        Ok(Self { connection: Mutex::new(connection) })
    }

    async fn try_lock(&self, source: &str) -> anyhow::Result<bool> {
        // Two numbers: ours, so that no other use of advisory locks in this database meets it, and the source's.
        let mut connection = self.connection.lock().await;
        let taking =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('ticketd.reader'), hashtext($1))")
                .bind(source)
                .fetch_one(&mut *connection);
        within(taking).await?.context("cannot take the reader's lock")
    }

    /// Ends the connection of a holder that has said nothing for [`SILENT`]; the lock goes with it. False: there is none.
    ///
    /// What other database users do is hidden from us, and theirs to end: behind them we go on waiting.
    async fn end_silent_holder(&self, source: &str) -> anyhow::Result<bool> {
        let mut connection = self.connection.lock().await;
        let ending = sqlx::query_scalar(
            "SELECT pg_terminate_backend(holder.pid)
             FROM pg_locks held JOIN pg_stat_activity holder ON holder.pid = held.pid
             WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2
               AND held.database = holder.datid AND holder.datname = current_database()
               AND held.classid::BIGINT = hashtext('ticketd.reader')::BIGINT & x'ffffffff'::BIGINT
               AND held.objid::BIGINT = hashtext($1)::BIGINT & x'ffffffff'::BIGINT
               AND holder.state_change < clock_timestamp() - make_interval(secs => $2)",
        )
        .bind(source)
        .bind(SILENT.as_secs_f64())
        .fetch_all(&mut *connection);
        let ended: Vec<bool> =
            within(ending).await?.context("cannot look after the process that holds the reader's lock")?;
        Ok(ended.contains(&true))
    }
}

/// Whoever waits for the lock must not hang where the server does not answer: it would never take over.
async fn within<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(ANSWER, work).await.context("the database does not answer")
}
