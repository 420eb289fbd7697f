//! The statements of alarms.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Alarm, Channel, Notice};
use crate::queue::Tx;

/// The alarm's number, and whether it is a new one.
pub(super) async fn raise(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<(i64, bool)> {
    let row = sqlx::query!(
        r#"INSERT INTO alarms (kind, subject, reason, raised_at, last_seen_at) VALUES ($1, $2, $3, $4, $4)
           ON CONFLICT (kind, subject) WHERE cleared_at IS NULL
           DO UPDATE SET reason = excluded.reason, last_seen_at = excluded.last_seen_at
           RETURNING id, (xmax = 0) AS "is_new!""#,
        kind,
        subject,
        reason,
        now
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.id, row.is_new))
}

pub(super) async fn clear(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "UPDATE alarms SET cleared_at = $3 WHERE kind = $1 AND subject = $2 AND cleared_at IS NULL RETURNING id",
        kind,
        subject,
        now
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn alarm(db: &PgPool, id: i64) -> sqlx::Result<Option<Alarm>> {
    sqlx::query_as!(
        Alarm,
        "SELECT id, kind, subject, reason, raised_at, last_seen_at, told_at, cleared_at FROM alarms WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn open(db: &PgPool) -> sqlx::Result<Vec<Alarm>> {
    sqlx::query_as!(
        Alarm,
        "SELECT id, kind, subject, reason, raised_at, last_seen_at, told_at, cleared_at FROM alarms
         WHERE cleared_at IS NULL ORDER BY raised_at, id"
    )
    .fetch_all(db)
    .await
}

pub(super) async fn newest(db: &PgPool, limit: i64) -> sqlx::Result<Vec<Alarm>> {
    sqlx::query_as!(
        Alarm,
        "SELECT id, kind, subject, reason, raised_at, last_seen_at, told_at, cleared_at FROM alarms
         ORDER BY cleared_at IS NULL DESC, raised_at DESC, id DESC LIMIT $1",
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn is_planned(tx: &mut Tx, alarm: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM alarm_notices WHERE alarm_id = $1) AS "found!""#, alarm)
        .fetch_one(&mut **tx)
        .await
}

pub(super) async fn plan(
    tx: &mut Tx,
    alarm: i64,
    channels: &[String],
    addresses: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO alarm_notices (alarm_id, phase, channel, address, created_at)
         SELECT $1, 'raised', channel, address, $4 FROM unnest($2::TEXT[], $3::TEXT[]) AS r (channel, address)
         ON CONFLICT ON CONSTRAINT alarm_notices_once DO NOTHING",
        alarm,
        channels,
        addresses,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// For those who know of the beginning.
pub(super) async fn plan_end(tx: &mut Tx, alarm: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO alarm_notices (alarm_id, phase, channel, address, created_at)
         SELECT alarm_id, 'cleared', channel, address, $2 FROM alarm_notices
         WHERE alarm_id = $1 AND phase = 'raised' AND told_at IS NOT NULL
         ON CONFLICT ON CONSTRAINT alarm_notices_once DO NOTHING",
        alarm,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn waiting(tx: &mut Tx, alarm: i64, phase: &str) -> sqlx::Result<Vec<Notice>> {
    let rows = sqlx::query!(
        "SELECT id, channel, address, created_at FROM alarm_notices
         WHERE alarm_id = $1 AND phase = $2 AND told_at IS NULL AND error IS NULL ORDER BY id",
        alarm,
        phase
    )
    .fetch_all(&mut **tx)
    .await?;
    let channel = |name: &str| if name == "discord" { Channel::Discord } else { Channel::Email };
    let notices = rows.into_iter();
    Ok(notices
        .map(|row| Notice {
            id: row.id,
            channel: channel(&row.channel),
            address: row.address,
            created_at: row.created_at,
        })
        .collect())
}

pub(super) async fn told(
    db: &PgPool,
    notice: i64,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE alarm_notices SET told_at = CASE WHEN $2::TEXT IS NULL THEN $3::TIMESTAMPTZ END, error = $2 WHERE id = $1",
        notice,
        error,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn all_told(tx: &mut Tx, alarm: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE alarms SET told_at = COALESCE(told_at, $2) WHERE id = $1", alarm, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
