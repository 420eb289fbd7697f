//! The statements of surveys.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Rating;
use crate::queue::Tx;

pub(super) async fn configure(db: &PgPool, survey: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO ticket_settings (survey) VALUES ($1) ON CONFLICT (one) DO UPDATE SET survey = excluded.survey
         WHERE ticket_settings.survey <> excluded.survey",
        survey
    )
    .execute(db)
    .await?;
    Ok(())
}

/// With when it is to leave. `None`: surveys are switched off, the requester was asked, or there is no address to ask at.
pub(super) async fn insert_survey(
    tx: &mut Tx,
    ticket: i64,
    requester: i64,
    due: DateTime<Utc>,
) -> sqlx::Result<Option<(i64, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"INSERT INTO deliveries (ticket_id, answers_id, kind, channel, recipient_id, address, created_at)
         SELECT $1, (SELECT max(id) FROM messages WHERE ticket_id = $1 AND kind = 'inbound' AND sender_class = 'human'),
                'survey', 'email', $2, p.address, $3
         FROM participants p, ticket_settings s
         WHERE s.survey AND p.ticket_id = $1 AND p.person_id = $2 AND p.channel = 'email' AND p.address <> ''
           -- Machines are not asked (RFC 3834).
           AND EXISTS (SELECT FROM messages WHERE ticket_id = $1 AND kind = 'inbound' AND sender_class = 'human')
         ON CONFLICT (ticket_id) WHERE kind = 'survey'
         DO UPDATE SET state = 'waiting', reason = NULL, created_at = excluded.created_at, answers_id = excluded.answers_id
         WHERE deliveries.state = 'suppressed' AND deliveries.content IS NULL
         RETURNING id, GREATEST($3, (SELECT max(due_at) + interval '1 minute' FROM deliveries
                                     WHERE ticket_id = $1 AND kind = 'reply' AND state = 'waiting')) AS "due!""#,
        ticket,
        requester,
        due
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|r| (r.id, r.due)))
}

pub(super) async fn rating(db: &PgPool, ticket: i64) -> sqlx::Result<Option<Rating>> {
    sqlx::query_as!(
        Rating,
        "SELECT score, comment, answered_at FROM csat_answers WHERE ticket_id = $1",
        ticket
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn subject(db: &PgPool, ticket: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("SELECT subject FROM tickets WHERE id = $1 AND deleted_at IS NULL", ticket)
        .fetch_optional(db)
        .await
}

pub(super) async fn answered_at(tx: &mut Tx, ticket: i64) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT answered_at FROM csat_answers WHERE ticket_id = $1", ticket)
        .fetch_optional(&mut **tx)
        .await
}

pub(super) async fn keep(
    tx: &mut Tx,
    ticket: i64,
    score: i32,
    comment: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO csat_answers (ticket_id, score, comment, answered_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (ticket_id) DO UPDATE SET score = excluded.score, comment = excluded.comment",
        ticket,
        score,
        comment,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
