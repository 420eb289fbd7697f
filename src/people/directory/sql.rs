//! The statements of the directory.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Account, Filter, Identity, Listed, Standing};
use crate::ids::PersonId;
use crate::people::Role;
use crate::queue::Tx;

struct Row {
    id: i64,
    name: String,
    role: String,
    granted_role: String,
    discord_role: Option<String>,
    active: bool,
    away: bool,
    away_now: bool,
    cap: Option<i32>,
    email: Option<String>,
    created_at: DateTime<Utc>,
    merged_into: Option<i64>,
    last_assigned_at: Option<DateTime<Utc>>,
}

impl From<Row> for Listed {
    fn from(row: Row) -> Self {
        Self {
            id: PersonId(row.id),
            name: row.name,
            role: Role::parse(&row.role),
            granted_role: Role::parse(&row.granted_role),
            discord_role: row.discord_role.as_deref().map(Role::parse),
            active: row.active,
            away: row.away,
            away_now: row.away_now,
            cap: row.cap,
            email: row.email,
            created_at: row.created_at,
            merged_into: row.merged_into.map(PersonId),
        }
    }
}

pub(super) async fn list(
    db: &PgPool,
    filter: &Filter,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT p.id, p.name, p.role, p.granted_role, p.discord_role, p.active, p.away, p.cap, p.created_at,
                  p.merged_into, p.last_assigned_at,
                  (p.away OR EXISTS (SELECT FROM away_periods a
                                     WHERE a.person_id = p.id AND a.from_at <= $7 AND a.until_at > $7)) AS "away_now!",
                  (SELECT i.address FROM identities i WHERE i.person_id = p.id AND i.channel = 'email'
                   ORDER BY i.verified_at NULLS LAST, i.id LIMIT 1) AS email
           FROM persons p
           WHERE p.merged_into IS NULL AND ($1::TEXT IS NULL OR p.role = $1) AND ($2::BOOLEAN IS NULL OR p.active = $2)
             AND ($3::TEXT IS NULL OR strpos(lower(p.name), lower($3)) > 0 OR EXISTS (
                   SELECT FROM identities i WHERE i.person_id = p.id AND strpos(i.address, lower($3)) > 0))
             AND ($4::TEXT IS NULL OR EXISTS (
                   SELECT FROM person_skills ps JOIN skills s ON s.id = ps.skill_id
                   WHERE ps.person_id = p.id AND s.slug = $4))
             AND ($5::BIGINT IS NULL OR p.id > $5)
           ORDER BY p.id LIMIT $6"#,
        filter.role.map(Role::as_str),
        filter.active,
        filter.text,
        filter.skill,
        filter.after.map(|p| p.0),
        limit,
        now
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Listed::from).collect())
}

pub(super) async fn one(
    db: &PgPool,
    id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(Listed, Option<DateTime<Utc>>)>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT p.id, p.name, p.role, p.granted_role, p.discord_role, p.active, p.away, p.cap, p.created_at,
                  p.merged_into, p.last_assigned_at,
                  (p.away OR EXISTS (SELECT FROM away_periods a
                                     WHERE a.person_id = p.id AND a.from_at <= $2 AND a.until_at > $2)) AS "away_now!",
                  (SELECT i.address FROM identities i WHERE i.person_id = p.id AND i.channel = 'email'
                   ORDER BY i.verified_at NULLS LAST, i.id LIMIT 1) AS email
           FROM persons p WHERE p.id = $1"#,
        id,
        now
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.last_assigned_at, row)).map(|(at, row)| (row.into(), at)))
}

pub(super) async fn identities(db: &PgPool, id: i64) -> sqlx::Result<Vec<Identity>> {
    sqlx::query_as!(
        Identity,
        "SELECT channel, address, verified_at FROM identities WHERE person_id = $1 ORDER BY channel DESC, id",
        id
    )
    .fetch_all(db)
    .await
}

pub(super) async fn account(db: &PgPool, id: i64, now: DateTime<Utc>) -> sqlx::Result<Account> {
    sqlx::query_as!(
        Account,
        r#"SELECT EXISTS (SELECT FROM credentials WHERE person_id = $1) AS "has_password!",
                  EXISTS (SELECT FROM second_factors WHERE person_id = $1 AND confirmed_at IS NOT NULL)
                    AS "has_second_factor!",
                  (SELECT max(created_at) FROM sessions WHERE person_id = $1) AS last_login_at,
                  (SELECT count(*) FROM sessions WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2)
                    AS "sessions!""#,
        id,
        now
    )
    .fetch_one(db)
    .await
}

pub(super) async fn away_now(db: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<(PersonId, String)>> {
    let rows = sqlx::query!(
        "SELECT p.id, p.name FROM persons p
         WHERE p.role <> 'user' AND p.active
           AND (p.away OR EXISTS (SELECT FROM away_periods a
                                  WHERE a.person_id = p.id AND a.from_at <= $1 AND a.until_at > $1))
         ORDER BY lower(p.name), p.id",
        now
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (PersonId(row.id), row.name)).collect())
}

pub(super) async fn insert(tx: &mut Tx, name: &str, role: Role, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO persons (name, granted_role, created_at) VALUES ($1, $2, $3) RETURNING id",
        name,
        role.as_str(),
        now
    )
    .fetch_one(&mut **tx)
    .await
}

/// False: it is somebody's.
pub(super) async fn insert_address(
    tx: &mut Tx,
    person: i64,
    address: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let entered = sqlx::query!(
        "INSERT INTO identities (person_id, channel, address, created_at) VALUES ($1, 'email', $2, $3)
         ON CONFLICT (channel, address) DO NOTHING",
        person,
        address,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(entered.rows_affected() == 1)
}

/// In the order of their numbers, as everywhere.
pub(super) async fn lock(tx: &mut Tx, id: i64, with_admins: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT id FROM persons WHERE id = $1 OR ($2 AND active AND role = 'admin') ORDER BY id FOR NO KEY UPDATE",
        id,
        with_admins
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn standing(tx: &mut Tx, id: i64) -> sqlx::Result<Option<Standing>> {
    let row = sqlx::query!(
        "SELECT name, granted_role, discord_role, active, away, cap, merged_into FROM persons WHERE id = $1",
        id
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Standing {
        name: row.name,
        granted: Role::parse(&row.granted_role),
        discord: row.discord_role.as_deref().map(Role::parse),
        active: row.active,
        away: row.away,
        cap: row.cap,
        merged_into: row.merged_into.map(PersonId),
    }))
}

pub(super) struct Admins {
    /// By an admin's word.
    pub(super) granted: i64,
    /// By that or by Discord.
    pub(super) any: i64,
}

pub(super) async fn other_admins(tx: &mut Tx, id: i64) -> sqlx::Result<Admins> {
    sqlx::query_as!(
        Admins,
        r#"SELECT count(*) FILTER (WHERE granted_role = 'admin') AS "granted!", count(*) AS "any!"
           FROM persons WHERE active AND role = 'admin' AND id <> $1"#,
        id
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn update(tx: &mut Tx, id: i64, to: &Standing) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE persons SET name = $2, granted_role = $3, active = $4, away = $5, cap = $6 WHERE id = $1",
        id,
        to.name,
        to.granted.as_str(),
        to.active,
        to.away,
        to.cap
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
