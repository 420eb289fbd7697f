//! The statements of the queue.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Filter, Job, Late, Revived, Tx};
use crate::ids::JobId;

/// Inserts unstarted jobs; where one waits already, it keeps the earlier time.
pub(super) async fn insert(
    tx: &mut Tx,
    kinds: &[String],
    subjects: &[i64],
    times: &[DateTime<Utc>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO jobs (kind, subject, run_at, created_at)
         SELECT kind, subject, run_at, $4
         FROM unnest($1::TEXT[], $2::BIGINT[], $3::TIMESTAMPTZ[]) WITH ORDINALITY AS j (kind, subject, run_at, n)
         ORDER BY n
         ON CONFLICT (kind, subject) WHERE attempt = 0 AND failed_at IS NULL
         DO UPDATE SET run_at = LEAST(jobs.run_at, excluded.run_at)",
        kinds,
        subjects,
        times,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn notify(db: &PgPool, channel: &str) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_notify($1, '')", channel).execute(db).await?;
    Ok(())
}

/// MATERIALIZED: the planner must not run the locking sub-select more than once.
pub(super) async fn claim(
    db: &PgPool,
    kinds: &[String],
    leases: &[f64],
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Job>> {
    sqlx::query_as!(
        Job,
        r#"WITH due AS MATERIALIZED (
             SELECT id FROM jobs
             WHERE failed_at IS NULL AND run_at <= $3 AND kind = ANY ($1)
               AND NOT (kind IN ('hear', 'mirror') AND EXISTS (
                     SELECT FROM jobs earlier
                     WHERE earlier.kind IN ('hear', 'mirror') AND earlier.kind = jobs.kind AND earlier.subject = jobs.subject
                       AND earlier.attempt > 0 AND earlier.failed_at IS NULL AND earlier.id <> jobs.id))
             ORDER BY run_at, id LIMIT $4 FOR UPDATE OF jobs SKIP LOCKED
           )
           UPDATE jobs SET attempt = attempt + 1, run_at = $3 + make_interval(secs => l.lease)
           FROM due, unnest($1::TEXT[], $2::DOUBLE PRECISION[]) AS l (kind, lease)
           WHERE jobs.id = due.id AND l.kind = jobs.kind
           RETURNING jobs.id AS "id: JobId", jobs.kind, subject, attempt, run_at, created_at, last_error, failed_at"#,
        kinds,
        leases,
        now,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn finish(tx: &mut Tx, id: JobId, attempt: i32) -> sqlx::Result<u64> {
    let result =
        sqlx::query!("DELETE FROM jobs WHERE id = $1 AND attempt = $2 AND failed_at IS NULL", id.0, attempt)
            .execute(&mut **tx)
            .await?;
    Ok(result.rows_affected())
}

pub(super) async fn postpone(
    db: &PgPool,
    id: JobId,
    attempt: i32,
    run_at: DateTime<Utc>,
    error: &str,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE jobs SET run_at = $3, last_error = $4 WHERE id = $1 AND attempt = $2 AND failed_at IS NULL",
        id.0,
        attempt,
        run_at,
        error
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}

pub(super) async fn bury(
    db: &PgPool,
    id: JobId,
    attempt: i32,
    now: DateTime<Utc>,
    error: &str,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "UPDATE jobs SET failed_at = $3, last_error = $4 WHERE id = $1 AND attempt = $2 AND failed_at IS NULL",
        id.0,
        attempt,
        now,
        error
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}

pub(super) async fn list(db: &PgPool, failed_only: bool, limit: i64) -> sqlx::Result<Vec<Job>> {
    sqlx::query_as!(
        Job,
        r#"SELECT id AS "id: JobId", kind, subject, attempt, run_at, created_at, last_error, failed_at
           FROM jobs WHERE NOT $1 OR failed_at IS NOT NULL ORDER BY id LIMIT $2"#,
        failed_only,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn page(db: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Job>> {
    sqlx::query_as!(
        Job,
        r#"SELECT id AS "id: JobId", kind, subject, attempt, run_at, created_at, last_error, failed_at
           FROM jobs
           WHERE ($1::BOOLEAN IS NULL OR (failed_at IS NOT NULL) = $1) AND ($2::TEXT IS NULL OR kind = $2)
             AND ($3::BIGINT IS NULL OR id > $3)
           ORDER BY id LIMIT $4"#,
        filter.dead,
        filter.kind,
        filter.after.map(|id| id.0),
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn job(db: &PgPool, id: JobId) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        r#"SELECT id AS "id: JobId", kind, subject, attempt, run_at, created_at, last_error, failed_at
           FROM jobs WHERE id = $1"#,
        id.0
    )
    .fetch_optional(db)
    .await
}

/// Several dead jobs may be about one subject; one fresh one does for all of them.
pub(super) async fn revive_all(tx: &mut Tx, kind: &str, now: DateTime<Utc>) -> sqlx::Result<i64> {
    let subjects = sqlx::query_scalar!(
        "DELETE FROM jobs WHERE kind = $1 AND failed_at IS NOT NULL RETURNING subject",
        kind
    )
    .fetch_all(&mut **tx)
    .await?;
    let found = i64::try_from(subjects.len()).unwrap_or(i64::MAX);
    let subjects: Vec<i64> = std::collections::BTreeSet::from_iter(subjects).into_iter().collect();
    let kinds = vec![kind.to_owned(); subjects.len()];
    let times = vec![now; subjects.len()];
    insert(tx, &kinds, &subjects, &times, now).await?;
    Ok(found)
}

/// Replaces the dead job by a fresh one, which a waiting twin absorbs.
pub(super) async fn revive(tx: &mut Tx, id: JobId, now: DateTime<Utc>) -> sqlx::Result<Option<Revived>> {
    let dead = sqlx::query_as!(
        Revived,
        "DELETE FROM jobs WHERE id = $1 AND failed_at IS NOT NULL RETURNING kind, subject",
        id.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(dead) = &dead {
        insert(tx, std::slice::from_ref(&dead.kind), &[dead.subject], &[now], now).await?;
    }
    Ok(dead)
}

pub(super) async fn forget_dead(tx: &mut Tx, kind: &str, subject: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM jobs WHERE kind = $1 AND subject = $2 AND failed_at IS NOT NULL",
        kind,
        subject
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn forget_all(tx: &mut Tx, kind: &str, subjects: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM jobs WHERE kind = $1 AND subject = ANY ($2) AND (failed_at IS NOT NULL OR attempt = 0)",
        kind,
        subjects
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, id: JobId) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        r#"DELETE FROM jobs WHERE id = $1
           RETURNING id AS "id: JobId", kind, subject, attempt, run_at, created_at, last_error, failed_at"#,
        id.0
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) struct Count {
    pub(super) kind: String,
    pub(super) dead: bool,
    pub(super) jobs: i64,
    pub(super) oldest: Option<DateTime<Utc>>,
}

pub(super) async fn count(db: &PgPool) -> sqlx::Result<Vec<Count>> {
    sqlx::query_as!(
        Count,
        r#"SELECT kind, failed_at IS NOT NULL AS "dead!", count(*) AS "jobs!", min(run_at) AS oldest
           FROM jobs GROUP BY 1, 2 ORDER BY 1, 2"#
    )
    .fetch_all(db)
    .await
}

pub(super) async fn late(db: &PgPool, kinds: &[String], due_by: DateTime<Utc>) -> sqlx::Result<Option<Late>> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "jobs!", min(run_at) AS oldest FROM jobs
           WHERE failed_at IS NULL AND run_at <= $2 AND kind = ANY ($1)"#,
        kinds,
        due_by
    )
    .fetch_one(db)
    .await?;
    Ok(row.oldest.map(|oldest_due| Late { jobs: row.jobs, oldest_due }))
}

pub(super) async fn next_due(db: &PgPool) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT min(run_at) FROM jobs WHERE failed_at IS NULL").fetch_one(db).await
}
