//! The statements of contents.
//!
//! Rows of `blobs` are locked in the order of their hashes, or two transactions wait for each other.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::queue::Tx;
use crate::store::{Object, Sha};

/// Of these contents, those that are kept; they are safe from the sweep for a day.
pub(super) async fn touch(
    tx: &mut Tx,
    contents: &[Vec<u8>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar!(
        "WITH held AS (SELECT sha256 FROM blobs WHERE sha256 = ANY ($1) ORDER BY sha256 FOR NO KEY UPDATE)
         UPDATE blobs b SET touched_at = greatest(b.touched_at, $2) FROM held WHERE b.sha256 = held.sha256 RETURNING b.sha256",
        contents,
        now
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn announce(
    tx: &mut Tx,
    contents: &[Vec<u8>],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Object>> {
    let rows = sqlx::query!(
        "INSERT INTO loose_objects (sha256, since) SELECT sha256, $2 FROM unnest($1::BYTEA[]) AS sha256 RETURNING id, sha256",
        contents,
        now
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().filter_map(|row| object(row.id, row.sha256)).collect())
}

/// A row's hash has 32 bytes: its constraint says so.
fn object(number: i64, sha256: Vec<u8>) -> Option<Object> {
    Some(Object { sha256: Sha::try_from(sha256).ok()?, number })
}

/// Of these loose objects, those that no sweep has begun to delete; none does until the transaction ends.
pub(super) async fn hold(tx: &mut Tx, numbers: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM loose_objects WHERE id = ANY ($1) AND NOT removing ORDER BY id FOR UPDATE",
        numbers
    )
    .fetch_all(&mut **tx)
    .await
}

/// Names loose objects as the contents that they are. Of a content that has a row by now the object stays loose.
pub(super) async fn name(tx: &mut Tx, numbers: &[i64], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH named AS (
           INSERT INTO blobs (sha256, object, touched_at)
           SELECT sha256, id, $2 FROM loose_objects WHERE id = ANY ($1) ORDER BY sha256
           ON CONFLICT (sha256) DO UPDATE SET touched_at = greatest(blobs.touched_at, excluded.touched_at) RETURNING object)
         DELETE FROM loose_objects l USING named WHERE l.id = named.object",
        numbers,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A loose object has its row.
pub(super) async fn name_taken(tx: &mut Tx, number: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM loose_objects WHERE id = $1", number).execute(&mut **tx).await?;
    Ok(())
}

/// Where a content is.
pub(super) struct Place {
    pub(super) object: Option<i64>,
    pub(super) content: Option<Vec<u8>>,
}

pub(super) async fn place(db: &PgPool, sha256: &Sha) -> sqlx::Result<Option<Place>> {
    sqlx::query_as!(Place, "SELECT object, content FROM blobs WHERE sha256 = $1", &sha256[..])
        .fetch_optional(db)
        .await
}

/// Contents that nothing refers to and nobody has wanted since `before`. Nobody refers to them until the transaction ends: the
/// references `attachments_blob` and `uploads_blob` lock the row that they name, and this lock keeps them off. A row that is
/// locked by one that does not show yet is left for the next time.
pub(super) async fn lock_unwanted(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT sha256 FROM blobs b WHERE touched_at < $1
           AND NOT EXISTS (SELECT FROM wanted_blobs w WHERE w.sha256 = b.sha256)
         ORDER BY sha256 LIMIT $2 FOR UPDATE OF b SKIP LOCKED",
        before,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

/// Removes these contents' rows, unless something refers to them; their objects become loose, to be deleted.
pub(super) async fn loosen(tx: &mut Tx, contents: &[Vec<u8>], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH gone AS (
           DELETE FROM blobs b WHERE sha256 = ANY ($1)
             AND NOT EXISTS (SELECT FROM wanted_blobs w WHERE w.sha256 = b.sha256) RETURNING sha256, object)
         INSERT INTO loose_objects (id, sha256, since, removing)
         SELECT object, sha256, $2, TRUE FROM gone WHERE object IS NOT NULL",
        contents,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Objects that have been loose since `before` are not named any more. Returns how many.
pub(super) async fn condemn(tx: &mut Tx, before: DateTime<Utc>, limit: i64) -> sqlx::Result<usize> {
    let condemned = sqlx::query!(
        "UPDATE loose_objects SET removing = TRUE WHERE id IN (
           SELECT id FROM loose_objects WHERE since < $1 AND NOT removing ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)",
        before,
        limit
    )
    .execute(&mut **tx)
    .await?;
    Ok(usize::try_from(condemned.rows_affected()).unwrap_or(usize::MAX))
}

/// An object that a sweep may have deleted before it was written is to be deleted again.
pub(super) async fn condemn_again(tx: &mut Tx, object: Object, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO loose_objects (id, sha256, since, removing) VALUES ($1, $2, $3, TRUE) ON CONFLICT (id) DO NOTHING",
        object.number,
        &object.sha256[..],
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn condemned(db: &PgPool, limit: i64) -> sqlx::Result<Vec<Object>> {
    let rows = sqlx::query!(
        "SELECT id, sha256 FROM loose_objects WHERE removing ORDER BY since, id LIMIT $1",
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(|row| object(row.id, row.sha256)).collect())
}

/// A loose object was deleted. Another sweep may have done so, too.
pub(super) async fn forget(db: &PgPool, number: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM loose_objects WHERE id = $1 AND removing", number).execute(db).await?;
    Ok(())
}

/// Some content that is in the database still.
pub(super) async fn in_database(db: &PgPool) -> sqlx::Result<Option<(Sha, Bytes)>> {
    let row = sqlx::query!(
        r#"SELECT sha256, content AS "content!" FROM blobs WHERE object IS NULL ORDER BY sha256 LIMIT 1"#
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|row| Some((Sha::try_from(row.sha256).ok()?, row.content.into()))))
}

/// False: another process has moved it.
pub(super) async fn move_out(tx: &mut Tx, object: Object) -> sqlx::Result<bool> {
    let moved = sqlx::query!(
        "UPDATE blobs SET object = $2, content = NULL WHERE sha256 = $1 AND object IS NULL",
        &object.sha256[..],
        object.number
    )
    .execute(&mut **tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}
