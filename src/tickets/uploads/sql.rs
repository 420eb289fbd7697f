//! The statements of files.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::File;
use crate::queue::Tx;
use crate::store::Sha;

pub(super) async fn waiting(tx: &mut Tx, person: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM uploads WHERE person_id = $1"#, person)
        .fetch_one(&mut **tx)
        .await
}

pub(super) async fn insert(
    tx: &mut Tx,
    person: i64,
    sha256: &[u8; 32],
    filename: Option<&str>,
    content_type: &str,
    size: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO uploads (person_id, sha256, filename, content_type, size, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        person,
        &sha256[..],
        filename,
        content_type,
        size,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

/// Its size in bytes. `None`: there is no such file of this person.
pub(super) async fn attach(tx: &mut Tx, person: i64, message: i64, upload: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "WITH u AS (DELETE FROM uploads WHERE id = $3 AND person_id = $1 RETURNING *)
         INSERT INTO attachments (message_id, filename, content_type, size, sha256)
         SELECT $2, filename, content_type, size, sha256 FROM u RETURNING size",
        person,
        message,
        upload
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn attachment(
    db: &PgPool,
    ticket: i64,
    attachment: i64,
    for_staff: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<File>> {
    sqlx::query_as!(
        File,
        r#"SELECT a.filename, a.content_type, a.sha256 AS "sha256: Sha", a.size
         FROM attachments a JOIN messages m ON m.id = a.message_id
         WHERE a.id = $2 AND m.ticket_id = $1
           AND ($3 OR (m.kind <> 'note' AND m.withdrawn_at IS NULL AND (m.leaves_at IS NULL OR m.leaves_at <= $4)
                       AND NOT EXISTS (SELECT FROM message_revisions r WHERE r.message_id = m.id AND r.kind = 'deleted')))"#,
        ticket,
        attachment,
        for_staff,
        now
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn remove_old(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let removed =
        sqlx::query!("DELETE FROM uploads WHERE created_at < $1", before).execute(&mut **tx).await?;
    Ok(removed.rows_affected())
}

/// The counts by status become one row each again. Rows that come meanwhile are left for the next time.
pub(super) async fn add_up_counts(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH gone AS (DELETE FROM ticket_counts RETURNING status, n)
         INSERT INTO ticket_counts (status, n) SELECT status, sum(n) FROM gone GROUP BY status"
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
