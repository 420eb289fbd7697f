//! The statements that read tickets.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{
    Attachment, CardFacts, DeliveryState, Event, Message, Participant, Revision, Sight, Stats, Worked,
};
use crate::ids::{MessageId, PersonId, TicketId};

pub(super) async fn messages(
    db: &PgPool,
    ticket: i64,
    for_staff: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Message>> {
    sqlx::query_as!(
        Message,
        r#"SELECT m.id AS "id: MessageId", m.kind, m.channel, m.author_id AS "author_id: PersonId",
                  p.name AS "author_name?",
                  (SELECT i.address FROM identities i WHERE i.person_id = m.author_id AND i.channel = 'email'
                   ORDER BY i.id LIMIT 1) AS author_address,
                  CASE WHEN r.kind = 'edited' THEN r.body ELSE m.visible END AS "visible!",
                  CASE WHEN r.kind = 'edited' THEN r.at END AS edited_at,
                  CASE WHEN r.kind = 'deleted' THEN r.at END AS deleted_at,
                  CASE WHEN r.kind IS NULL THEN m.html END AS html, FALSE AS "remote_images!",
                  m.withdrawn_at IS NOT NULL AS "withdrawn!",
                  m.body, m.sender_class, m.unverified, m.reply_to, m.problems, m.sent_at, m.created_at,
                  COALESCE((SELECT jsonb_agg(jsonb_build_object('id', a.id, 'filename', a.filename,
                              'content_type', a.content_type, 'size', a.size, 'inline', a.inline,
                              'content_id', a.content_id) ORDER BY a.id)
                            FROM attachments a WHERE a.message_id = m.id), '[]')
                    AS "attachments!: sqlx::types::Json<Vec<Attachment>>"
           FROM messages m LEFT JOIN persons p ON p.id = m.author_id
           LEFT JOIN LATERAL (SELECT kind, body, at FROM message_revisions WHERE message_id = m.id ORDER BY id DESC LIMIT 1)
             AS r ON TRUE
           WHERE m.ticket_id = $1 AND ($2 OR m.kind <> 'note' AND (m.leaves_at IS NULL OR m.leaves_at <= $3)) ORDER BY m.created_at, m.id"#,
        ticket,
        for_staff,
        now
    )
    .fetch_all(db)
    .await
}

pub(super) async fn participants(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<Participant>> {
    sqlx::query_as!(
        Participant,
        r#"SELECT pa.person_id AS "person_id: PersonId", p.name, pa.part, pa.address
           FROM participants pa JOIN persons p ON p.id = pa.person_id
           WHERE pa.ticket_id = $1 ORDER BY pa.joined_at, pa.person_id"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn merged_from(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<TicketId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: TicketId" FROM tickets WHERE merged_into = $1 AND deleted_at IS NULL ORDER BY id"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn events(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        r#"SELECT e.id, e.at, e.kind, p.name AS "actor_name?", e.channel, e.data
           FROM ticket_events e LEFT JOIN persons p ON p.id = e.actor_id WHERE e.ticket_id = $1 ORDER BY e.id"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn deliveries(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<DeliveryState>> {
    sqlx::query_as!(
        DeliveryState,
        r#"SELECT d.id, d.kind, d.message_id AS "message_id: MessageId", d.address, d.state, d.reason, d.rfc_id,
                  (SELECT count(*) FROM delivery_attempts a WHERE a.delivery_id = d.id) AS "attempts!",
                  d.created_at, d.sent_at
           FROM deliveries d WHERE d.ticket_id = $1 ORDER BY d.id"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn count_unassigned(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM tickets
           WHERE assignment_outcome = 'unassigned' AND status IN ('new', 'open', 'pending') AND deleted_at IS NULL"#
    )
    .fetch_one(db)
    .await
}

pub(super) async fn revisions(db: &PgPool, ticket: i64) -> sqlx::Result<Vec<Revision>> {
    sqlx::query_as!(
        Revision,
        r#"SELECT r.message_id AS "message: MessageId", r.at, r.kind, r.body
           FROM message_revisions r JOIN messages m ON m.id = r.message_id WHERE m.ticket_id = $1 ORDER BY r.id"#,
        ticket
    )
    .fetch_all(db)
    .await
}

pub(super) async fn card_facts(db: &PgPool, ticket: i64) -> sqlx::Result<Option<CardFacts>> {
    sqlx::query_as!(
        CardFacts,
        r#"SELECT t.id AS "number: TicketId", t.subject, t.status, t.priority, t.category, t.channel, t.language,
                  ARRAY(SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                        WHERE ts.ticket_id = t.id ORDER BY s.slug) AS "skills!",
                  t.requester_id AS "requester_id: PersonId", r.name AS requester_name,
                  COALESCE((SELECT NULLIF(pa.address, '') FROM participants pa
                            WHERE pa.ticket_id = t.id AND pa.person_id = t.requester_id AND pa.channel = 'email'),
                           (SELECT i.address FROM identities i WHERE i.person_id = t.requester_id AND i.channel = 'email'
                            ORDER BY i.verified_at NULLS LAST, i.id LIMIT 1)) AS requester_address,
                  (SELECT i.address::BIGINT FROM identities i
                   WHERE i.person_id = t.requester_id AND i.channel = 'discord' ORDER BY i.id LIMIT 1) AS requester_discord,
                  t.assignee_id AS "assignee_id: PersonId", a.name AS "assignee_name?",
                  (SELECT i.address::BIGINT FROM identities i
                   WHERE i.person_id = t.assignee_id AND i.channel = 'discord' ORDER BY i.id LIMIT 1) AS assignee_discord,
                  t.assignment_outcome,
                  (SELECT s.reason FROM assignments s WHERE s.ticket_id = t.id ORDER BY s.id DESC LIMIT 1) AS reason,
                  g.notes AS "notes?", g.suggested_reply AS "suggested_reply?", g.engine AS "engine?",
                  g.confidence AS "confidence?",
                  (SELECT count(*) FROM deliveries d WHERE d.ticket_id = t.id AND d.state IN ('failed', 'bounced'))
                    AS "unsent!",
                  (SELECT d.reason FROM deliveries d WHERE d.ticket_id = t.id AND d.state IN ('failed', 'bounced')
                   ORDER BY d.id DESC LIMIT 1) AS unsent_reason,
                  t.related_to AS "related_to: TicketId", t.follow_up_of AS "follow_up_of: TicketId",
                  t.created_at, t.version
           FROM tickets t
           JOIN persons r ON r.id = t.requester_id
           LEFT JOIN persons a ON a.id = t.assignee_id
           LEFT JOIN LATERAL (SELECT * FROM triages WHERE ticket_id = t.id ORDER BY id DESC LIMIT 1) g ON TRUE
           WHERE t.id = $1"#,
        ticket
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn stats(db: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Stats> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE t.created_at >= $1) AS "opened!",
                  count(*) FILTER (WHERE t.resolved_at >= $1) AS "resolved!",
                  count(*) FILTER (WHERE t.assignee_id IS NULL AND t.status IN ('new', 'open', 'pending')) AS "unassigned!",
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM f.at - t.created_at)::DOUBLE PRECISION)
                    FILTER (WHERE t.created_at >= $1) AS median
           FROM tickets t
           LEFT JOIN LATERAL (SELECT min(m.created_at) AS at FROM messages m
                              WHERE m.ticket_id = t.id AND m.kind = 'outbound' AND m.withdrawn_at IS NULL
                                AND t.created_at >= $1) f ON TRUE
           WHERE t.deleted_at IS NULL"#,
        since
    )
    .fetch_one(db)
    .await?;
    let moderators = sqlx::query_as!(
        Worked,
        r#"SELECT p.id AS "person: PersonId", p.name, p.away,
                  (SELECT count(*) FROM tickets t
                   WHERE t.assignee_id = p.id AND t.status IN ('new', 'open', 'pending') AND t.deleted_at IS NULL) AS "open!",
                  (SELECT count(*) FROM messages m WHERE m.author_id = p.id AND m.kind = 'outbound'
                     AND m.withdrawn_at IS NULL AND m.created_at >= $1) AS "replied!"
           FROM persons p WHERE p.role <> 'user' AND p.active ORDER BY lower(p.name), p.id"#,
        since
    )
    .fetch_all(db)
    .await?;
    Ok(Stats {
        by_status: super::count_by_status(db, Sight::All).await?,
        opened: row.opened,
        resolved: row.resolved,
        unassigned: row.unassigned,
        median_first_response_s: row.median,
        moderators,
    })
}
