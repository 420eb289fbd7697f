//! The statements of idempotency keys.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::queue::Tx;

pub(super) struct Stored {
    pub(super) request_hash: Vec<u8>,
    pub(super) status: i32,
    pub(super) body: String,
    pub(super) created_at: DateTime<Utc>,
}

pub(super) async fn find(db: &PgPool, person: i64, key: &str) -> sqlx::Result<Option<Stored>> {
    sqlx::query_as!(
        Stored,
        "SELECT request_hash, status, body, created_at FROM idempotency_keys WHERE person_id = $1 AND key = $2",
        person,
        key
    )
    .fetch_optional(db)
    .await
}

/// False: the key is taken, by a request that has committed. One that is too old to be remembered makes room.
pub(super) async fn insert(
    tx: &mut Tx,
    person: i64,
    key: &str,
    stored: &Stored,
    forgotten: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "WITH swept AS (
           DELETE FROM idempotency_keys
           WHERE (person_id, key) IN (SELECT o.person_id, o.key FROM idempotency_keys o
                                      WHERE o.created_at < $7 AND (o.person_id, o.key) <> ($1, $2)
                                      ORDER BY o.created_at LIMIT 10 FOR UPDATE SKIP LOCKED))
         INSERT INTO idempotency_keys AS k (person_id, key, request_hash, status, body, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (person_id, key) DO UPDATE
         SET request_hash = excluded.request_hash, status = excluded.status, body = excluded.body,
             created_at = excluded.created_at
         WHERE k.created_at < $7",
        person,
        key,
        stored.request_hash,
        stored.status,
        stored.body,
        stored.created_at,
        forgotten
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}
