//! The statements of triage results and assignments.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Assignment, AssignmentRecord, Fallbacks, Triage, TriageRecord, TriageSubject};
use crate::ids::{PersonId, TicketId};
use crate::queue::Tx;
use crate::tickets::Status;

pub(super) async fn triage_subject(db: &PgPool, ticket: i64) -> sqlx::Result<Option<TriageSubject>> {
    let row = sqlx::query!(
        r#"SELECT t.id, t.subject, t.status, t.created_at,
                  (SELECT m.visible FROM messages m WHERE m.ticket_id = t.id AND m.kind = 'inbound'
                   ORDER BY m.id LIMIT 1) AS body,
                  (t.category_set OR t.priority_set OR t.skills_set OR t.assignee_set
                   OR EXISTS (SELECT FROM messages m WHERE m.ticket_id = t.id AND m.kind <> 'inbound' AND NOT m.unverified)
                  ) AS "touched!",
                  (SELECT g.engine FROM triages g WHERE g.ticket_id = t.id ORDER BY g.id DESC LIMIT 1) AS judged_by,
                  EXISTS (SELECT FROM ticket_events e WHERE e.ticket_id = t.id AND e.kind = 'triage_asked'
                          AND e.at >= (SELECT max(g.at) FROM triages g WHERE g.ticket_id = t.id)) AS "asked!"
           FROM tickets t WHERE t.id = $1"#,
        ticket
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| TriageSubject {
        id: TicketId(r.id),
        subject: r.subject,
        body: r.body.unwrap_or_default(),
        status: Status::parse(&r.status).unwrap_or(Status::Open),
        created_at: r.created_at,
        touched: r.touched,
        judged_by: r.judged_by,
        asked: r.asked,
    }))
}

/// As in [`triage_subject`], once the ticket is locked.
pub(super) async fn is_touched(tx: &mut Tx, ticket: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT (t.category_set OR t.priority_set OR t.skills_set OR t.assignee_set
                   OR EXISTS (SELECT FROM messages m WHERE m.ticket_id = t.id AND m.kind <> 'inbound' AND NOT m.unverified)
                  ) AS "touched!"
           FROM tickets t WHERE t.id = $1"#,
        ticket
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn has_staff_message(tx: &mut Tx, ticket: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM messages WHERE ticket_id = $1 AND kind <> 'inbound' AND NOT unverified) AS "found!""#,
        ticket
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn insert_triage(
    tx: &mut Tx,
    ticket: i64,
    r: &TriageRecord,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO triages (ticket_id, at, engine, model, prompt_version, category, priority, language, skills, notes,
                              suggested_reply, confidence, discarded, fallback_reason, tokens_in, tokens_out, took_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        ticket,
        now,
        r.engine,
        r.model,
        r.prompt_version,
        r.category,
        r.priority.map(crate::tickets::Priority::as_str),
        r.language,
        &r.skills,
        r.notes,
        r.suggested_reply,
        r.confidence,
        &r.discarded,
        r.fallback_reason,
        r.tokens_in,
        r.tokens_out,
        r.took_ms
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Compare and set: a field that a person set stays. Says whether the skills were set by a person.
pub(super) async fn apply_triage(
    tx: &mut Tx,
    ticket: i64,
    category: Option<&str>,
    priority: Option<&str>,
    language: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        "UPDATE tickets SET
           category = CASE WHEN category_set THEN category ELSE COALESCE($2, category) END,
           priority = CASE WHEN priority_set THEN priority ELSE COALESCE($3, priority) END,
           language = COALESCE($4, language), updated_at = $5, version = version + 1
         WHERE id = $1 RETURNING skills_set",
        ticket,
        category,
        priority,
        language,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn replace_skills(tx: &mut Tx, ticket: i64, slugs: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH wanted AS (SELECT id FROM skills WHERE slug = ANY ($2)),
              gone AS (DELETE FROM ticket_skills WHERE ticket_id = $1 AND skill_id NOT IN (SELECT id FROM wanted))
         INSERT INTO ticket_skills (ticket_id, skill_id) SELECT $1, id FROM wanted ON CONFLICT DO NOTHING",
        ticket,
        slugs
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn tokens_since(db: &PgPool, since: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT COALESCE(sum(COALESCE(tokens_in, 0)::BIGINT + COALESCE(tokens_out, 0)), 0)::BIGINT AS "tokens!"
           FROM triages WHERE at >= $1"#,
        since
    )
    .fetch_one(db)
    .await
}

pub(super) async fn required_skills(tx: &mut Tx, ticket: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id WHERE ts.ticket_id = $1 ORDER BY s.slug",
        ticket
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn loads(tx: &mut Tx) -> sqlx::Result<Vec<(i64, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT assignee_id AS "id!", count(*) AS "load!" FROM tickets
           WHERE assignee_id IS NOT NULL AND status IN ('new', 'open', 'pending') AND deleted_at IS NULL GROUP BY 1"#
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.load)).collect())
}

pub(super) async fn load_of(tx: &mut Tx, person: i64, but: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "load!" FROM tickets
           WHERE assignee_id = $1 AND status IN ('new', 'open', 'pending') AND deleted_at IS NULL AND id <> $2"#,
        person,
        but
    )
    .fetch_one(&mut **tx)
    .await
}

/// The number is ours alone: "tdas" in ASCII.
pub(super) async fn take_turn_assigning(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock(1952735603)").execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn insert_assignment(
    tx: &mut Tx,
    ticket: i64,
    r: &AssignmentRecord,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO assignments (ticket_id, at, outcome, assignee_id, reason, candidates) VALUES ($1, $2, $3, $4, $5, $6)",
        ticket,
        now,
        r.outcome.as_str(),
        r.assignee.map(|a| a.0),
        r.reason,
        r.candidates
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn apply_assignment(
    tx: &mut Tx,
    ticket: i64,
    r: &AssignmentRecord,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET assignee_id = $2, assignment_outcome = $3, updated_at = $4, version = version + 1 WHERE id = $1",
        ticket,
        r.assignee.map(|a| a.0),
        r.outcome.as_str(),
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn waiting_for_someone(tx: &mut Tx, opened_before: DateTime<Utc>) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM tickets t
         WHERE assignment_outcome IN ('fallback', 'unassigned') AND status IN ('new', 'open') AND NOT assignee_set
           AND deleted_at IS NULL AND (assignment_outcome = 'unassigned' OR NOT EXISTS (
                  SELECT FROM messages m WHERE m.ticket_id = t.id AND m.kind <> 'inbound' AND NOT m.unverified))
         UNION
         SELECT t.id FROM tickets t JOIN persons p ON p.id = t.assignee_id
         WHERE t.status IN ('new', 'open', 'pending') AND t.deleted_at IS NULL AND NOT (p.active AND p.role <> 'user')
         UNION
         SELECT id FROM tickets
         WHERE status = 'new' AND assignment_outcome IS NULL AND NOT assignee_set AND created_at < $1 AND deleted_at IS NULL
         ORDER BY 1"#,
        opened_before
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn assignment(db: &PgPool, ticket: i64) -> sqlx::Result<Option<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"SELECT a.at, a.outcome, a.assignee_id AS "assignee_id: PersonId", p.name AS "assignee_name?",
                  a.decided_by AS "decided_by: PersonId", a.reason, a.candidates
           FROM assignments a LEFT JOIN persons p ON p.id = a.assignee_id
           WHERE a.ticket_id = $1 ORDER BY a.id DESC LIMIT 1"#,
        ticket
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn triage(db: &PgPool, ticket: i64) -> sqlx::Result<Option<Triage>> {
    sqlx::query_as!(
        Triage,
        "SELECT at, engine, model, prompt_version, category, priority, language, skills, notes, suggested_reply,
                confidence, fallback_reason, took_ms
         FROM triages WHERE ticket_id = $1 ORDER BY id DESC LIMIT 1",
        ticket
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn assignments(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"SELECT a.at, a.outcome, a.assignee_id AS "assignee_id: PersonId", p.name AS "assignee_name?",
                  a.decided_by AS "decided_by: PersonId", a.reason, a.candidates
           FROM assignments a LEFT JOIN persons p ON p.id = a.assignee_id
           WHERE a.ticket_id = $1 ORDER BY a.id DESC"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn triages(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<Triage>> {
    sqlx::query_as!(
        Triage,
        "SELECT at, engine, model, prompt_version, category, priority, language, skills, notes, suggested_reply,
                confidence, fallback_reason, took_ms
         FROM triages WHERE ticket_id = $1 ORDER BY id DESC",
        ticket
    )
    .fetch_all(db)
    .await
}

/// A mail that Gemini answered about, though with no judgement, says nothing about Gemini.
pub(super) async fn fallbacks(db: &PgPool, after: DateTime<Utc>) -> sqlx::Result<Option<Fallbacks>> {
    let row = sqlx::query!(
        r#"SELECT count(DISTINCT ticket_id) AS "tickets!", min(at) AS since,
                  (array_agg(fallback_reason ORDER BY id DESC))[1] AS reason
           FROM triages
           WHERE at > $1 AND fallback_reason IS NOT NULL AND fallback_reason NOT LIKE 'Gemini gave no%'
             AND id > COALESCE((SELECT max(id) FROM triages WHERE at > $1 AND engine = 'gemini'), 0)"#,
        after
    )
    .fetch_one(db)
    .await?;
    Ok(row.since.map(|since| Fallbacks {
        tickets: row.tickets,
        since,
        reason: row.reason.unwrap_or_default(),
    }))
}
