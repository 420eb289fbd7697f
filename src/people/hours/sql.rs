//! The statements of working hours and periods away.

use chrono::{DateTime, Utc, Weekday};
use sqlx::{PgExecutor, PgPool};

use super::{AwayPeriod, Interval};
use crate::queue::Tx;

/// Of one person, or of everybody: person, time zone, intervals.
pub(super) async fn hours(
    db: impl PgExecutor<'_>,
    person: Option<i64>,
) -> sqlx::Result<Vec<(i64, String, Vec<Interval>)>> {
    let rows = sqlx::query!(
        r#"SELECT h.person_id, h.time_zone, array_agg(i.weekday ORDER BY i.weekday, i.begins) AS "weekdays!",
                  array_agg(i.begins ORDER BY i.weekday, i.begins) AS "begins!",
                  array_agg(i.ends ORDER BY i.weekday, i.begins) AS "ends!"
           FROM working_hours h JOIN working_intervals i ON i.person_id = h.person_id
           WHERE $1::BIGINT IS NULL OR h.person_id = $1 GROUP BY h.person_id ORDER BY h.person_id"#,
        person
    )
    .fetch_all(db)
    .await?;
    let read = |(weekday, (begins, ends)): (i32, (i32, i32))| {
        let weekday = u8::try_from(weekday - 1).ok().and_then(|day| Weekday::try_from(day).ok())?;
        Some(Interval { weekday, begins: u16::try_from(begins).ok()?, ends: u16::try_from(ends).ok()? })
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let times = row.begins.into_iter().zip(row.ends);
            let intervals = row.weekdays.into_iter().zip(times).filter_map(read).collect();
            (row.person_id, row.time_zone, intervals)
        })
        .collect())
}

pub(super) async fn set_hours(
    tx: &mut Tx,
    person: i64,
    zone: &str,
    intervals: &[Interval],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO working_hours (person_id, time_zone, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (person_id) DO UPDATE SET time_zone = excluded.time_zone, updated_at = excluded.updated_at",
        person,
        zone,
        now
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("DELETE FROM working_intervals WHERE person_id = $1", person).execute(&mut **tx).await?;
    let weekday = |i: &Interval| i32::try_from(i.weekday.number_from_monday()).unwrap_or(1);
    let weekdays: Vec<i32> = intervals.iter().map(weekday).collect();
    let begins: Vec<i32> = intervals.iter().map(|i| i.begins.into()).collect();
    let ends: Vec<i32> = intervals.iter().map(|i| i.ends.into()).collect();
    sqlx::query!(
        "INSERT INTO working_intervals (person_id, weekday, begins, ends)
         SELECT $1, weekday, begins, ends FROM unnest($2::INT[], $3::INT[], $4::INT[]) AS i (weekday, begins, ends)",
        person,
        &weekdays,
        &begins,
        &ends
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn remove_hours(tx: &mut Tx, person: i64) -> sqlx::Result<bool> {
    let gone =
        sqlx::query!("DELETE FROM working_hours WHERE person_id = $1", person).execute(&mut **tx).await?;
    Ok(gone.rows_affected() == 1)
}

pub(super) async fn periods(db: &PgPool, person: i64, now: DateTime<Utc>) -> sqlx::Result<Vec<AwayPeriod>> {
    sqlx::query_as!(
        AwayPeriod,
        r#"SELECT id, from_at AS "from", until_at AS until, note FROM away_periods
           WHERE person_id = $1 AND until_at > $2 ORDER BY from_at, id"#,
        person,
        now
    )
    .fetch_all(db)
    .await
}

pub(super) async fn count_periods(tx: &mut Tx, person: i64, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM away_periods WHERE person_id = $1 AND until_at > $2"#,
        person,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn insert_period(
    tx: &mut Tx,
    person: i64,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    note: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO away_periods (person_id, from_at, until_at, note, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        person,
        from,
        until,
        note,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn remove_period(tx: &mut Tx, person: i64, period: i64) -> sqlx::Result<bool> {
    let gone = sqlx::query!("DELETE FROM away_periods WHERE person_id = $1 AND id = $2", person, period)
        .execute(&mut **tx)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// One that begins at this moment has not been.
pub(super) async fn end_periods(tx: &mut Tx, person: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM away_periods WHERE person_id = $1 AND from_at = $2", person, now)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "UPDATE away_periods SET until_at = $2 WHERE person_id = $1 AND from_at < $2 AND until_at > $2",
        person,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
