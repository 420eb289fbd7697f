//! The statements of the outbox.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Carried, Delivery, Facts, File, Fixed, Purpose, Stuck, Tried, Unsent, UnsentFilter};
use crate::ids::{DeliveryId, MessageId, PersonId, TicketId};
use crate::queue::Tx;
use crate::store::Sha;

/// Announces the ticket's newest inbound message, or the given one.
pub(super) async fn insert_notice(
    tx: &mut Tx,
    ticket: i64,
    staff: i64,
    about: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "INSERT INTO deliveries (ticket_id, answers_id, kind, channel, recipient_id, address, created_at)
         SELECT $1, COALESCE($3, (SELECT max(id) FROM messages WHERE ticket_id = $1 AND kind = 'inbound')),
                'notice', 'email', $2, i.address, $4
         FROM identities i WHERE i.person_id = $2 AND i.channel = 'email'
         ORDER BY i.verified_at NULLS LAST, i.id LIMIT 1
         RETURNING id",
        ticket,
        staff,
        about,
        now
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn insert_replies(
    tx: &mut Tx,
    ticket: i64,
    message: i64,
    author: i64,
    leaves_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "INSERT INTO deliveries (ticket_id, message_id, answers_id, kind, channel, recipient_id, address, created_at, due_at)
         SELECT $1, $2, (SELECT max(id) FROM messages WHERE ticket_id = $1 AND kind = 'inbound' AND sender_class = 'human'),
                'reply', 'email', p.person_id, p.address, $4, $5
         FROM participants p JOIN tickets t ON t.id = p.ticket_id
         WHERE p.ticket_id = $1 AND p.person_id <> $3 AND p.channel = 'email'
           -- Who asked by the web and has no address reads it there; who wrote a mail without one is told of as not reached.
           AND (p.address <> '' OR t.channel = 'email')
         ON CONFLICT (message_id, recipient_id) WHERE kind = 'reply' DO NOTHING
         RETURNING id",
        ticket,
        message,
        author,
        now,
        leaves_at
    )
    .fetch_all(&mut **tx)
    .await
}

/// Nobody cites more characters of what is answered.
const LONGEST_CITED: i32 = 33_000;

pub(super) async fn delivery(db: &PgPool, id: i64) -> sqlx::Result<Option<Delivery>> {
    let row = sqlx::query!(
        r#"SELECT d.id, d.kind, d.ticket_id, t.subject, t.mailbox, t.status, d.recipient_id AS "recipient_id!", p.name AS recipient_name, d.address,
                  d.state, d.rfc_id, d.envelope_from, d.content, d.created_at,
                  NOT EXISTS (SELECT FROM deliveries e WHERE e.ticket_id = d.ticket_id AND e.kind = 'notice'
                              AND e.recipient_id = d.recipient_id AND e.id < d.id) AS "is_first!",
                  m.id AS "m_id?",
                  COALESCE((SELECT v.body FROM message_revisions v WHERE v.message_id = m.id AND v.kind = 'edited'
                            ORDER BY v.id DESC LIMIT 1), m.visible) AS "m_text?", m.created_at AS "m_at?", ma.name AS "m_author?",
                  a.id AS "a_id?", a.rfc_id AS a_rfc_id, a.refs AS "a_refs?", left(a.visible, $2) AS "a_text?",
                  a.created_at AS "a_at?", a.unverified AS "a_unverified?", a.problems AS a_problems, aa.name AS "a_author?",
                  (SELECT i.address FROM identities i WHERE i.person_id = a.author_id AND i.channel = 'email'
                   ORDER BY i.id LIMIT 1) AS a_address,
                  (SELECT e.data->>'why' FROM ticket_events e
                   WHERE e.ticket_id = d.ticket_id AND e.kind = 'unverified_note'
                     AND (e.data->>'message')::BIGINT = a.id) AS a_why,
                  (SELECT string_agg(b.address || ': ' || COALESCE(b.reason, b.state), '; ' ORDER BY b.id) FROM deliveries b
                   WHERE b.message_id = a.id AND b.kind = 'reply' AND b.state IN ('bounced', 'suppressed')) AS a_undelivered
           FROM deliveries d
           JOIN tickets t ON t.id = d.ticket_id
           JOIN persons p ON p.id = d.recipient_id
           LEFT JOIN messages m ON m.id = d.message_id
           LEFT JOIN persons ma ON ma.id = m.author_id
           LEFT JOIN messages a ON a.id = d.answers_id
           LEFT JOIN persons aa ON aa.id = a.author_id
           WHERE d.id = $1"#,
        id,
        LONGEST_CITED
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Delivery {
        id: DeliveryId(r.id),
        purpose: match r.kind.as_str() {
            "acknowledgement" => Purpose::Acknowledgement,
            "reply" => Purpose::Reply,
            "survey" => Purpose::Survey,
            // The column's CHECK leaves nothing else.
            _ => Purpose::Notice,
        },
        ticket: TicketId(r.ticket_id),
        ticket_subject: r.subject,
        mailbox: r.mailbox,
        recipient: PersonId(r.recipient_id),
        recipient_name: r.recipient_name,
        address: r.address,
        state: r.state,
        rfc_id: r.rfc_id,
        envelope_from: r.envelope_from,
        content: r.content,
        created_at: r.created_at,
        is_active: !matches!(r.status.as_str(), "resolved" | "closed"),
        announces_assignment: r.is_first,
        message: r.m_id.map(|id| Carried {
            id: MessageId(id),
            rfc_id: None,
            refs: Vec::new(),
            text: r.m_text.unwrap_or_default(),
            written_at: r.m_at.unwrap_or_default(),
            author_name: r.m_author,
            author_address: None,
            unverified: false,
            undelivered: None,
            why_unverified: None,
            problems: None,
            attachments: Vec::new(),
        }),
        answers: r.a_id.map(|id| Carried {
            id: MessageId(id),
            rfc_id: r.a_rfc_id,
            refs: r.a_refs.unwrap_or_default(),
            text: r.a_text.unwrap_or_default(),
            written_at: r.a_at.unwrap_or_default(),
            author_name: r.a_author,
            author_address: r.a_address,
            unverified: r.a_unverified.unwrap_or(false),
            undelivered: r.a_undelivered,
            why_unverified: r.a_why,
            problems: r.a_problems,
            attachments: Vec::new(),
        }),
    }))
}

pub(super) async fn bytes(db: &PgPool, id: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"SELECT COALESCE(octet_length(d.content),
                  (SELECT octet_length(m.visible) FROM messages m WHERE m.id = d.message_id)
                    + (SELECT COALESCE(sum(a.size), 0) FROM attachments a WHERE a.message_id = d.message_id),
                  0)::BIGINT AS "bytes!"
           FROM deliveries d WHERE d.id = $1 AND d.state <> 'sent'"#,
        id
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn is_notice(tx: &mut Tx, delivery: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM deliveries WHERE id = $1 AND kind = 'notice') AS "found!""#,
        delivery
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn notices_to(tx: &mut Tx, ticket: i64, staff: i64) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar!(
        r#"SELECT content AS "content!" FROM deliveries
           WHERE ticket_id = $1 AND recipient_id = $2 AND kind = 'notice' AND content IS NOT NULL
           ORDER BY id DESC LIMIT 20"#,
        ticket,
        staff
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn files(db: &PgPool, message: i64) -> sqlx::Result<Vec<File>> {
    sqlx::query_as!(
        File,
        r#"SELECT filename, content_type, sha256 AS "sha256: Sha", size FROM attachments WHERE message_id = $1 ORDER BY id"#,
        message
    )
    .fetch_all(db)
    .await
}

pub(super) async fn facts(db: &PgPool, ticket: i64) -> sqlx::Result<Facts> {
    let row = sqlx::query!(
        r#"SELECT t.priority, t.category, t.language, t.related_to, p.name AS requester_name,
                  (SELECT NULLIF(address, '') FROM participants pa WHERE pa.ticket_id = t.id AND pa.person_id = t.requester_id
                     AND pa.channel = 'email')
                    AS requester_address,
                  ARRAY(SELECT s.slug FROM ticket_skills ts JOIN skills s ON s.id = ts.skill_id
                        WHERE ts.ticket_id = t.id ORDER BY s.slug) AS "skills!",
                  g.notes AS "notes?", g.suggested_reply AS "suggested_reply?", g.engine AS "engine?",
                  (SELECT a.reason FROM assignments a WHERE a.ticket_id = t.id ORDER BY a.id DESC LIMIT 1) AS reason
           FROM tickets t
           JOIN persons p ON p.id = t.requester_id
           LEFT JOIN LATERAL (SELECT * FROM triages WHERE ticket_id = t.id ORDER BY id DESC LIMIT 1) g ON TRUE
           WHERE t.id = $1"#,
        ticket
    )
    .fetch_one(db)
    .await?;
    Ok(Facts {
        priority: row.priority,
        category: row.category,
        language: row.language,
        skills: row.skills,
        requester_name: row.requester_name,
        requester_address: row.requester_address,
        notes: row.notes,
        suggested_reply: row.suggested_reply,
        engine: row.engine,
        reason: row.reason,
        related_to: row.related_to.map(TicketId),
    })
}

pub(super) async fn has_bounced(db: &PgPool, address: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM deliveries d JOIN ticket_events e ON e.ticket_id = d.ticket_id AND e.kind = 'bounced'
               AND (e.data->>'delivery')::BIGINT = d.id
             WHERE d.state = 'bounced' AND d.address = $1
               AND NOT EXISTS (SELECT FROM deliveries s
                               WHERE s.address = $1 AND s.state = 'sent' AND s.sent_at > e.at)
               AND NOT EXISTS (SELECT FROM messages m
                               WHERE m.created_at > e.at AND m.kind <> 'outbound'
                                 AND (m.reply_to = $1 OR m.author_id IN (
                                        SELECT person_id FROM identities WHERE channel = 'email' AND address = $1)))
           ) AS "found!""#,
        address
    )
    .fetch_one(db)
    .await
}

pub(super) async fn active_assignee(tx: &mut Tx, ticket: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT p.id FROM tickets t JOIN persons p ON p.id = t.assignee_id
         WHERE t.id = $1 AND p.active AND p.role <> 'user'",
        ticket
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn fix(tx: &mut Tx, delivery: i64, ticket: i64, fixed: &Fixed) -> sqlx::Result<bool> {
    let written = sqlx::query!(
        "WITH i AS (INSERT INTO thread_ids (id_hash, ticket_id) VALUES ($5, $6) ON CONFLICT (id_hash) DO NOTHING)
         UPDATE deliveries SET rfc_id = $2, envelope_from = $3, content = $4 WHERE id = $1 AND content IS NULL",
        delivery,
        fixed.rfc_id,
        fixed.envelope_from,
        fixed.content,
        &fixed.id_hash[..],
        ticket
    )
    .execute(&mut **tx)
    .await?;
    Ok(written.rows_affected() == 1)
}

pub(super) async fn insert_attempt(
    tx: &mut Tx,
    delivery: i64,
    outcome: &str,
    detail: &str,
    took_ms: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO delivery_attempts (delivery_id, at, outcome, detail, took_ms) VALUES ($1, $2, $3, $4, $5)",
        delivery,
        now,
        outcome,
        detail,
        took_ms
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn set_state(
    tx: &mut Tx,
    delivery: i64,
    state: &str,
    reason: Option<&str>,
    sent_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE deliveries SET state = $2, reason = $3, sent_at = COALESCE($4, sent_at) WHERE id = $1",
        delivery,
        state,
        reason,
        sent_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn cancel(tx: &mut Tx, delivery: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "UPDATE deliveries SET state = 'cancelled' WHERE id = $1 AND state IN ('waiting', 'failed') RETURNING ticket_id",
        delivery
    )
    .fetch_optional(&mut **tx)
    .await
}

/// A mail that is tried again has no reason of its own yet: its last try says what keeps it.
pub(super) async fn unsent_page(db: &PgPool, filter: &UnsentFilter, limit: i64) -> sqlx::Result<Vec<Unsent>> {
    sqlx::query_as!(
        Unsent,
        r#"SELECT id AS "id: DeliveryId", ticket_id AS "ticket_id: TicketId", kind, address, state,
                  COALESCE(reason, (SELECT a.detail FROM delivery_attempts a
                                    WHERE a.delivery_id = d.id AND a.outcome <> 'sent'
                                    ORDER BY a.id DESC LIMIT 1)) AS reason, created_at
           FROM deliveries d
           WHERE state <> 'sent' AND kind <> 'relay' AND ($1::TEXT[] = '{}' OR state = ANY ($1))
             AND ($2::BIGINT IS NULL OR id > $2) AND ($3::TIMESTAMPTZ IS NULL OR created_at < $3)
           ORDER BY id LIMIT $4"#,
        &filter.states,
        filter.after.map(|id| id.0),
        filter.before,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn one(db: &PgPool, id: i64) -> sqlx::Result<Option<Unsent>> {
    sqlx::query_as!(
        Unsent,
        r#"SELECT id AS "id: DeliveryId", ticket_id AS "ticket_id: TicketId", kind, address, state,
                  COALESCE(reason, (SELECT a.detail FROM delivery_attempts a
                                    WHERE a.delivery_id = d.id AND a.outcome <> 'sent'
                                    ORDER BY a.id DESC LIMIT 1)) AS reason, created_at
           FROM deliveries d WHERE id = $1 AND kind <> 'relay'"#,
        id
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn tries(db: &PgPool, id: i64) -> sqlx::Result<Vec<Tried>> {
    sqlx::query_as!(
        Tried,
        "SELECT at, outcome, detail, took_ms FROM delivery_attempts WHERE delivery_id = $1 ORDER BY id",
        id
    )
    .fetch_all(db)
    .await
}

pub(super) async fn count_unsent(db: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT state, count(*) AS "count!" FROM deliveries
           WHERE state <> 'sent' AND kind <> 'relay' GROUP BY state ORDER BY state"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
}

pub(super) async fn lock_tickets_of(tx: &mut Tx, deliveries: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT FROM tickets WHERE id IN (SELECT ticket_id FROM deliveries WHERE id = ANY ($1)) ORDER BY id FOR UPDATE",
        deliveries
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A suppressed one stays so until it is sent: it says that a person wants it.
pub(super) async fn retry(tx: &mut Tx, delivery: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "UPDATE deliveries SET state = CASE state WHEN 'suppressed' THEN state ELSE 'waiting' END
         WHERE id = $1 AND kind <> 'relay' AND state IN ('failed', 'suppressed', 'bounced', 'cancelled')
           -- What staff took back, and what belongs to a deleted ticket, stays unsaid.
           AND NOT EXISTS (SELECT FROM messages m WHERE m.id = message_id AND m.withdrawn_at IS NOT NULL)
           AND NOT EXISTS (SELECT FROM tickets t WHERE t.id = ticket_id AND t.deleted_at IS NOT NULL)
         RETURNING ticket_id",
        delivery
    )
    .fetch_optional(&mut **tx)
    .await
}

/// A mail that is refused for good was answered, too: the server is well.
pub(super) async fn stuck(db: &PgPool, mailboxes: &[String], default: &str) -> sqlx::Result<Vec<Stuck>> {
    sqlx::query_as!(
        Stuck,
        r#"WITH failing AS (
             SELECT CASE WHEN t.mailbox = ANY ($1) THEN t.mailbox ELSE $2 END AS mailbox, a.id, a.at, d.id AS delivery
             FROM deliveries d JOIN tickets t ON t.id = d.ticket_id JOIN delivery_attempts a ON a.delivery_id = d.id
             WHERE d.state = 'waiting' AND d.channel = 'email' AND a.outcome IN ('temporary', 'network')
           ), ended AS (
             SELECT m.mailbox, (
               SELECT a.id FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id JOIN tickets t ON t.id = d.ticket_id
               WHERE a.outcome IN ('sent', 'permanent') AND d.channel = 'email'
                 AND CASE WHEN t.mailbox = ANY ($1) THEN t.mailbox ELSE $2 END = m.mailbox
               ORDER BY a.id DESC LIMIT 1) AS last
             FROM (SELECT DISTINCT mailbox FROM failing) m
           )
           SELECT f.mailbox AS "mailbox!", count(DISTINCT f.delivery) AS "mails!", count(*) AS "attempts!", min(f.at) AS "since!"
           FROM failing f JOIN ended e ON e.mailbox = f.mailbox
           WHERE f.id > COALESCE(e.last, 0) GROUP BY f.mailbox ORDER BY f.mailbox"#,
        mailboxes,
        default
    )
    .fetch_all(db)
    .await
}
