//! The statements that read tickets.

use sqlx::PgPool;

use super::{Attachment, DeliveryState, Event, Message, Participant, Sight, Summary};
use crate::ids::{MessageId, PersonId, TicketId};

pub(super) async fn list(
    db: &PgPool,
    sight: Sight,
    status: Option<&str>,
    before: Option<i64>,
    only: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Summary>> {
    let (requester, moderator) = match sight {
        Sight::All => (None, None),
        Sight::Requester(person) => (Some(person.0), None),
        Sight::Moderator(person) => (None, Some(person.0)),
    };
    sqlx::query_as!(
        Summary,
        r#"SELECT t.id AS "number: TicketId", t.subject, t.status, t.priority, t.category, t.channel, t.language,
                  ARRAY(SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                        WHERE ts.ticket_id = t.id ORDER BY s.slug) AS "required_skills!",
                  t.requester_id AS "requester_id: PersonId", r.name AS requester_name,
                  t.assignee_id AS "assignee_id: PersonId", a.name AS "assignee_name?", t.assignment_outcome,
                  t.follow_up_of AS "follow_up_of: TicketId", t.related_to AS "related_to: TicketId",
                  t.version, t.created_at, t.updated_at
           FROM tickets t
           JOIN persons r ON r.id = t.requester_id
           LEFT JOIN persons a ON a.id = t.assignee_id
           WHERE ($1::TEXT IS NULL OR t.status = $1) AND ($2::BIGINT IS NULL OR t.id < $2)
             AND ($3::BIGINT IS NULL OR t.id = $3)
             AND ($4::BIGINT IS NULL OR t.requester_id = $4)
             AND ($5::BIGINT IS NULL OR t.assignee_id IS NULL OR t.assignee_id = $5 OR EXISTS (
                   SELECT FROM ticket_skills ts JOIN person_skills ps ON ps.skill_id = ts.skill_id
                   WHERE ts.ticket_id = t.id AND ps.person_id = $5 AND ps.confirmed))
           ORDER BY t.id DESC LIMIT $6"#,
        status,
        before,
        only,
        requester,
        moderator,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn messages(db: &PgPool, ticket: i64, with_notes: bool) -> sqlx::Result<Vec<Message>> {
    sqlx::query_as!(
        Message,
        r#"SELECT m.id AS "id: MessageId", m.kind, m.channel, m.author_id AS "author_id: PersonId",
                  p.name AS "author_name?",
                  (SELECT i.address FROM identities i WHERE i.person_id = m.author_id AND i.channel = 'email'
                   ORDER BY i.id LIMIT 1) AS author_address,
                  CASE WHEN r.kind = 'edited' THEN r.body ELSE m.visible END AS "visible!",
                  CASE WHEN r.kind = 'edited' THEN r.at END AS edited_at,
                  CASE WHEN r.kind = 'deleted' THEN r.at END AS deleted_at,
                  m.withdrawn_at IS NOT NULL AS "withdrawn!",
                  m.body, m.sender_class, m.unverified, m.reply_to, m.problems, m.sent_at, m.created_at,
                  COALESCE((SELECT jsonb_agg(jsonb_build_object('id', a.id, 'filename', a.filename,
                              'content_type', a.content_type, 'size', a.size, 'inline', a.inline) ORDER BY a.id)
                            FROM attachments a WHERE a.message_id = m.id), '[]')
                    AS "attachments!: sqlx::types::Json<Vec<Attachment>>"
           FROM messages m LEFT JOIN persons p ON p.id = m.author_id
           LEFT JOIN LATERAL (SELECT kind, body, at FROM message_revisions WHERE message_id = m.id ORDER BY id DESC LIMIT 1)
             AS r ON TRUE
           WHERE m.ticket_id = $1 AND ($2 OR m.kind <> 'note') ORDER BY m.created_at, m.id"#,
        ticket,
        with_notes
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

pub(super) async fn count_by_status(db: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(r#"SELECT status, count(*) AS "n!" FROM tickets GROUP BY 1 ORDER BY 1"#)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|r| (r.status, r.n)).collect())
}

pub(super) async fn count_unassigned(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM tickets
           WHERE assignment_outcome = 'unassigned' AND status IN ('new', 'open', 'pending')"#
    )
    .fetch_one(db)
    .await
}
