//! The connection pool, the migrations, and the private PostgreSQL of `demo` and the tests.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool, Row};

mod private;
mod refusals;
pub use private::{Keep, PrivatePostgres};
pub use refusals::{READ_ONLY, Refusals, refusal};

/// A program goes on beside a newer one that has migrated already, and starts beside it.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations
});

/// How to connect to what `url`, the value of the configuration's `key`, names.
pub fn options(key: &str, url: &SecretString) -> anyhow::Result<PgConnectOptions> {
    let url = url.expose_secret();
    let not_one = || format!("{key} is not a PostgreSQL URL, such as postgres://user@host/name");
    // sqlx takes any scheme, and would look for a PostgreSQL behind it.
    anyhow::ensure!(["postgres://", "postgresql://"].iter().any(|s| url.starts_with(s)), not_one());
    url.parse().with_context(not_one)
}

/// Opens a pool of at most `size` connections. One attempt: whoever can wait, waits outside.
pub async fn connect(options: PgConnectOptions, size: u32) -> anyhow::Result<PgPool> {
    let options = bounded(options);
    // Not by the pool: it tries again and again, and then says that it ran out of time instead of what was wrong.
    let first = tokio::time::timeout(PATIENCE, options.connect()).await;
    let wrong = "cannot connect to PostgreSQL: check database.url and that the server runs";
    let first = first.with_context(|| format!("{wrong}: no answer within {PATIENCE:?}"))?.context(wrong)?;
    first.close().await.context(wrong)?;
    let pool = PgPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE);
    // A connection that has carried a large mail would keep room for another one for as long as it lives.
    let pool = pool.after_release(|connection, _| {
        connection.shrink_buffers();
        Box::pin(std::future::ready(Ok(true)))
    });
    Ok(pool.connect_lazy_with(options))
}

/// A pool that connects when it is used, for a server that may be away without harm to others.
pub fn connect_later(options: PgConnectOptions, size: u32) -> PgPool {
    PgPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE).connect_lazy_with(bounded(options))
}

/// Nothing that is asked takes for ever.
fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("ticketd").options([
        // A statement that takes longer than this is stuck; a job's lease is longer.
        ("statement_timeout", "30s"),
        // Nothing waits for the network inside a transaction, so whoever is silent in one is frozen: what it has locked is
        // let go of before another process has taken over.
        ("idle_in_transaction_session_timeout", "6s"),
        ("lock_timeout", "20s"),
    ])
}

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server that has not answered a statement by then is frozen, or out of reach: by its own clock it would have ended the
/// statement before.
const ANSWER: Duration = Duration::from_secs(40);

/// What `work` gives, unless the database does not answer for too long. For loops that nothing else would end.
pub async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(ANSWER, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Applies the migrations that are missing. Several processes may do so at once: they take turns.
///
/// Fails where a newer program has taken something away that this one needs.
pub async fn migrate(db: &PgPool) -> anyhow::Result<()> {
    let failed = "cannot migrate the database";
    let mut connection = db.acquire().await.context(failed)?.detach();
    // An index of a large table takes longer than a statement may otherwise, and so does waiting for another process that makes
    // one.
    for limit in ["SET statement_timeout = 0", "SET lock_timeout = 0"] {
        sqlx::query(limit).execute(&mut connection).await.context(failed)?;
    }
    if let Some(needed) = needed(&mut connection).await.context(failed)?.filter(|needed| *needed > newest()) {
        anyhow::bail!(
            "the database is that of a newer version, and needs one that knows migration {needed}; this one ends at {}: \
             start the newer version, or restore a backup of before",
            newest()
        );
    }
    MIGRATIONS.run(&mut connection).await.context(failed)?;
    connection.close().await.context(failed)
}

/// The newest migration that this program knows.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)
}

/// The migration that a program must know at least: one that contracts says so in a comment on the list of migrations,
/// `needs 20261121180000`.
async fn needed(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    let said = sqlx::query("SELECT obj_description(to_regclass('_sqlx_migrations'), 'pg_class') AS said");
    let said: Option<String> = said.fetch_one(connection).await?.try_get("said")?;
    Ok(said.and_then(|said| said.strip_prefix("needs ")?.trim().parse().ok()))
}

/// Whether every migration this program knows is in place.
pub async fn is_migrated(db: &PgPool) -> anyhow::Result<bool> {
    let found = sqlx::query("SELECT max(version) AS v FROM _sqlx_migrations WHERE success")
        .fetch_one(db)
        .await
        .context("cannot read the list of migrations: run `ticketd migrate`")?;
    Ok(found.try_get::<Option<i64>, _>("v")?.unwrap_or(0) >= newest())
}

/// Whether it takes reads only.
pub async fn is_read_only(db: &PgPool) -> sqlx::Result<bool> {
    sqlx::query("SELECT current_setting('transaction_read_only') = 'on' AS so")
        .fetch_one(db)
        .await?
        .try_get("so")
}

/// Asks the database for its version: is it there at all?
pub async fn ping(db: &PgPool) -> anyhow::Result<String> {
    let row = sqlx::query("SELECT current_setting('server_version') AS v").fetch_one(db).await?;
    Ok(row.try_get("v")?)
}

/// What time the database's clock says it is.
pub async fn now(db: &PgPool) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query("SELECT clock_timestamp() AS now").fetch_one(db).await?.try_get("now")
}
