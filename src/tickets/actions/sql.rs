//! The statements of what people do to a ticket.

use chrono::{DateTime, Utc};

use super::Labels;
use crate::queue::Tx;
use crate::tickets::changes::AssignmentRecord;

pub(super) async fn insert_manual(
    tx: &mut Tx,
    ticket: i64,
    by: i64,
    r: &AssignmentRecord,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO assignments (ticket_id, at, outcome, assignee_id, decided_by, reason, candidates)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        ticket,
        now,
        r.outcome.as_str(),
        r.assignee.map(|a| a.0),
        by,
        r.reason,
        r.candidates
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn give(tx: &mut Tx, ticket: i64, to: Option<i64>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET assignee_id = $2, assignee_set = TRUE, assignment_outcome = 'manual', updated_at = $3,
                version = version + 1
         WHERE id = $1",
        ticket,
        to,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What it was before.
pub(super) async fn set_priority(
    tx: &mut Tx,
    ticket: i64,
    priority: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        "UPDATE tickets SET priority = $2, priority_set = TRUE, updated_at = $3, version = tickets.version + 1
         FROM tickets AS before WHERE tickets.id = $1 AND before.id = tickets.id RETURNING before.priority",
        ticket,
        priority,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

/// What it was before.
pub(super) async fn set_category(
    tx: &mut Tx,
    ticket: i64,
    category: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE tickets SET category = $2, category_set = TRUE, updated_at = $3, version = tickets.version + 1
         FROM tickets AS before WHERE tickets.id = $1 AND before.id = tickets.id RETURNING before.category",
        ticket,
        category,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn set_skills(
    tx: &mut Tx,
    ticket: i64,
    skills: &[i64],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH gone AS (DELETE FROM ticket_skills WHERE ticket_id = $1 AND skill_id <> ALL ($2)),
              come AS (INSERT INTO ticket_skills (ticket_id, skill_id) SELECT $1, s FROM unnest($2::BIGINT[]) AS s
                       ON CONFLICT (ticket_id, skill_id) DO NOTHING)
         UPDATE tickets SET skills_set = TRUE, updated_at = $3, version = version + 1 WHERE id = $1",
        ticket,
        skills,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Cancels every copy that goes to others, if none has left; staff see it withdrawn. False: too late, or no such reply.
pub(super) async fn withdraw(
    tx: &mut Tx,
    ticket: i64,
    message: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let withdrawn = sqlx::query!(
        "WITH copies AS (
           SELECT d.id, d.state = 'waiting' AND d.due_at > $3 AS waits
           FROM deliveries d LEFT JOIN discord_threads h ON h.id = d.thread_id
           WHERE d.message_id = $2 AND (d.kind = 'reply' OR (d.kind = 'relay' AND h.audience = 'requester'))
           FOR UPDATE OF d)
         UPDATE messages SET withdrawn_at = $3
         WHERE id = $2 AND ticket_id = $1 AND kind = 'outbound' AND withdrawn_at IS NULL
           AND leaves_at > $3 AND NOT EXISTS (SELECT FROM copies WHERE NOT waits)",
        ticket,
        message,
        now
    )
    .execute(&mut **tx)
    .await?;
    if withdrawn.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE deliveries SET state = CASE WHEN due_at > $2 THEN 'cancelled' ELSE state END,
                refresh_at = CASE WHEN kind = 'relay' AND due_at IS NULL THEN $2 END,
                reason = CASE WHEN due_at > $2 THEN 'taken back' END
         WHERE message_id = $1",
        message,
        now
    )
    .execute(&mut **tx)
    .await?;
    // It may have been the first answer.
    sqlx::query!(
        "UPDATE tickets SET first_response_at = (
           SELECT min(created_at) FROM messages
           WHERE ticket_id = $1 AND kind = 'outbound' AND author_id IS NOT NULL AND withdrawn_at IS NULL)
         WHERE id = $1",
        ticket
    )
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

/// False: the ledger row was kept already, or the message reads so already.
pub(super) async fn insert_revision(
    tx: &mut Tx,
    message: i64,
    kind: &str,
    body: &str,
    ledger: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "INSERT INTO message_revisions (message_id, at, kind, body, inbound_id)
         SELECT m.id, $5, $2, $3, $4
         FROM messages m
         LEFT JOIN LATERAL (SELECT kind, body FROM message_revisions WHERE message_id = m.id ORDER BY id DESC LIMIT 1) r ON TRUE
         WHERE m.id = $1 AND r.kind IS DISTINCT FROM 'deleted'
           AND ($2 = 'deleted' OR COALESCE(r.body, m.visible) <> $3)
         ON CONFLICT (inbound_id) DO NOTHING",
        message,
        kind,
        body,
        ledger,
        now
    )
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE deliveries SET refresh_at = $2 WHERE message_id = $1 AND kind = 'relay' AND state IN ('sent', 'waiting')",
        message,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

pub(super) async fn opened_by(tx: &mut Tx, requester: i64) -> sqlx::Result<(i64, Option<DateTime<Utc>>)> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE status IN ('new', 'open', 'pending')) AS "active!", max(created_at) AS last
           FROM tickets WHERE requester_id = $1 AND deleted_at IS NULL"#,
        requester
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.active, row.last))
}

pub(super) async fn was_sent_on(tx: &mut Tx, ticket: i64, discord_message: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM ticket_events
                          WHERE ticket_id = $1 AND kind = 'sent_on' AND data->>'discord_message' = $2) AS "found!""#,
        ticket,
        discord_message
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn labels(tx: &mut Tx, ticket: i64) -> sqlx::Result<Labels> {
    sqlx::query_as!(Labels, "SELECT category, priority, skills FROM tickets WHERE id = $1", ticket)
        .fetch_one(&mut **tx)
        .await
}

/// The newest judgement.
pub(super) async fn judged(tx: &mut Tx, ticket: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT max(id) FROM triages WHERE ticket_id = $1", ticket).fetch_one(&mut **tx).await
}
