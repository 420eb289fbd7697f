//! The statements of the loop breaker.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::{Scope, Tripped};
use crate::ids::TicketId;
use crate::queue::Tx;

pub(super) struct Row {
    pub(super) tokens: f64,
    pub(super) filled_at: DateTime<Utc>,
    pub(super) tripped: bool,
}

/// A bucket that was never used is full.
pub(super) async fn lock(
    tx: &mut Tx,
    scope: &str,
    subject: &str,
    per_hour: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Row> {
    sqlx::query_as!(
        Row,
        r#"INSERT INTO loop_buckets AS b (scope, subject, tokens, filled_at) VALUES ($1, $2, $3::BIGINT, $4)
           ON CONFLICT (scope, subject) DO UPDATE SET tokens = b.tokens
           RETURNING tokens, filled_at, tripped_at IS NOT NULL AS "tripped!""#,
        scope,
        subject,
        per_hour,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

/// It has enough again, so it holds nothing back any more.
pub(super) async fn fill(
    tx: &mut Tx,
    scope: &str,
    subject: &str,
    tokens: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE loop_buckets SET tokens = $3, filled_at = greatest(filled_at, $4), tripped_at = NULL, ticket_id = NULL
         WHERE scope = $1 AND subject = $2",
        scope,
        subject,
        tokens,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn trip(
    tx: &mut Tx,
    scope: &str,
    subject: &str,
    tokens: f64,
    ticket: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE loop_buckets SET tokens = $3, filled_at = greatest(filled_at, $5), tripped_at = COALESCE(tripped_at, $5),
                ticket_id = COALESCE(ticket_id, $4)
         WHERE scope = $1 AND subject = $2",
        scope,
        subject,
        tokens,
        ticket,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn scope(word: &str) -> Scope {
    // The column's CHECK leaves nothing else.
    Scope::ALL.into_iter().find(|scope| scope.as_str() == word).unwrap_or(Scope::Ticket)
}

pub(super) async fn tripped(db: &PgPool, after: i64, limit: i64) -> sqlx::Result<Vec<Tripped>> {
    let rows = sqlx::query_as!(
        TrippedRow,
        r#"SELECT id, scope, subject, tripped_at AS "tripped_at!", ticket_id FROM loop_buckets
           WHERE tripped_at IS NOT NULL AND id > $1 ORDER BY id LIMIT $2"#,
        after,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Tripped::from).collect())
}

pub(super) async fn holding(db: &PgPool) -> sqlx::Result<Option<(i64, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "buckets!", min(tripped_at) AS first FROM loop_buckets WHERE tripped_at IS NOT NULL"#
    )
    .fetch_one(db)
    .await?;
    Ok(row.first.map(|first| (row.buckets, first)))
}

struct TrippedRow {
    id: i64,
    scope: String,
    subject: String,
    tripped_at: DateTime<Utc>,
    ticket_id: Option<i64>,
}

impl From<TrippedRow> for Tripped {
    fn from(row: TrippedRow) -> Self {
        Self {
            id: row.id,
            scope: scope(&row.scope),
            subject: row.subject,
            tripped_at: row.tripped_at,
            ticket_id: row.ticket_id.map(TicketId),
        }
    }
}

/// A bucket that is not there is full.
pub(super) async fn reset(tx: &mut Tx, id: i64) -> sqlx::Result<Option<Tripped>> {
    let row = sqlx::query_as!(
        TrippedRow,
        r#"DELETE FROM loop_buckets WHERE id = $1 AND tripped_at IS NOT NULL
           RETURNING id, scope, subject, tripped_at AS "tripped_at!", ticket_id"#,
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Tripped::from))
}

pub(super) async fn remove_full(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query!("DELETE FROM loop_buckets WHERE filled_at < $1", now - TimeDelta::hours(1));
    Ok(gone.execute(&mut **tx).await?.rows_affected())
}
