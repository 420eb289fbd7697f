//! The statements that open a ticket and carry its conversation.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Channel, Inbound, Locked, NewAttachment, NewParticipant, Opening, Origin, StaffMessage, Status};
use crate::ids::{PersonId, TicketId};
use crate::queue::Tx;

pub(super) struct Thread {
    pub(super) id_hash: Vec<u8>,
    pub(super) ticket_id: i64,
}

pub(super) async fn find_threads(tx: &mut Tx, hashes: &[Vec<u8>]) -> sqlx::Result<Vec<Thread>> {
    sqlx::query_as!(
        Thread,
        r#"SELECT i.id_hash, n.id AS "ticket_id!" FROM thread_ids i, ticket_now(i.ticket_id) AS n (id)
           WHERE i.id_hash = ANY ($1) AND n.id IS NOT NULL"#,
        hashes
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) struct Opened {
    pub(super) ticket_id: i64,
    pub(super) message_id: i64,
    pub(super) delivery_id: Option<i64>,
    pub(super) new_ids: i64,
    pub(super) webhook_deliveries: Option<Vec<i64>>,
}

fn sorted(hashes: &[super::IdHash]) -> Vec<Vec<u8>> {
    let mut hashes: Vec<Vec<u8>> = hashes.iter().map(|h| h.to_vec()).collect();
    // One order for everybody, or two transactions wait for each other.
    hashes.sort_unstable();
    hashes
}

// What a deleted ticket knows is another's from the next mail on: it is taken over. Of two that name one id at the same moment
// the second must not take it for a deleted ticket's, only because its snapshot does not show the first one's yet.

/// Ticket, first message, requester, Message-IDs, event and acknowledgement in one round trip.
pub(super) async fn open(
    tx: &mut Tx,
    m: &Inbound,
    opening: &Opening,
    event: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<Opened> {
    sqlx::query_as!(
        Opened,
        r#"WITH t AS (
             INSERT INTO tickets (subject, channel, mailbox, requester_id, follow_up_of, related_to, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id
           ), m AS (
             INSERT INTO messages (ticket_id, kind, channel, author_id, inbound_id, rfc_id, subject, body, visible, html,
                                   sender_class, reply_to, refs, sent_at, created_at, problems, discord_id)
             SELECT id, 'inbound', $2, $4, $8, $9, $1, $10, $11, $12, $13, $14, $15, $16, $17, $22, $23 FROM t RETURNING id
           ), p AS (
             INSERT INTO participants (ticket_id, person_id, part, address, joined_at, channel)
             SELECT id, $4, 'requester', $18, $7, CASE $2 WHEN 'discord' THEN 'discord' ELSE 'email' END FROM t
           ), i AS (
             INSERT INTO thread_ids (id_hash, ticket_id) SELECT h, t.id FROM unnest($19::BYTEA[]) AS h, t
             ON CONFLICT (id_hash) DO UPDATE SET ticket_id = excluded.ticket_id WHERE ticket_is_deleted(thread_ids.ticket_id) RETURNING 1
           ), e AS (
             INSERT INTO ticket_events (ticket_id, at, kind, actor_id, channel, data)
             SELECT id, $7, 'opened', $4, $2, $20 FROM t RETURNING id, kind
           ), w AS (
             INSERT INTO webhook_deliveries (webhook_id, event_id, since, created_at)
             SELECT h.id, e.id, $7, $7 FROM e, webhooks h
             WHERE h.active AND (h.kinds = '{}' OR e.kind = ANY (h.kinds)) FOR KEY SHARE OF h
             RETURNING id
           ), d AS (
             INSERT INTO deliveries (ticket_id, answers_id, kind, channel, recipient_id, address, created_at)
             SELECT t.id, m.id, 'acknowledgement', 'email', $4, COALESCE($24, $18), $7 FROM t, m WHERE $21 RETURNING id
           )
           SELECT t.id AS ticket_id, m.id AS message_id, (SELECT id FROM d) AS delivery_id,
                  (SELECT count(*) FROM i) AS "new_ids!", (SELECT array_agg(id) FROM w) AS webhook_deliveries
           FROM t, m"#,
        m.subject,
        m.channel.as_str(),
        opening.mailbox,
        m.author.person.0,
        opening.follow_up_of.map(|t| t.0),
        opening.related_to.map(|t| t.0),
        now,
        m.ledger.map(|l| l.0),
        m.rfc_id,
        m.body,
        m.visible,
        m.html,
        m.sender_class,
        m.reply_to,
        &m.refs,
        m.sent_at,
        m.received_at,
        m.author.address,
        &sorted(&m.new_ids),
        event,
        opening.acknowledge,
        m.problems,
        m.origin.map(discord_id),
        opening.acknowledge_to
    )
    .fetch_one(&mut **tx)
    .await
}

/// Discord's ids are 63-bit numbers for the next hundred years.
fn discord_id(origin: Origin) -> i64 {
    i64::try_from(origin.message).unwrap_or(-1)
}

pub(super) struct Inserted {
    pub(super) message_id: i64,
    pub(super) new_ids: i64,
}

pub(super) async fn insert_inbound(
    tx: &mut Tx,
    ticket: i64,
    m: &Inbound,
    unverified: bool,
    kind: &str,
) -> sqlx::Result<Inserted> {
    sqlx::query_as!(
        Inserted,
        r#"WITH m AS (
             INSERT INTO messages (ticket_id, kind, channel, author_id, inbound_id, rfc_id, subject, body, visible, html,
                                   sender_class, unverified, reply_to, refs, sent_at, created_at, problems, discord_id,
                                   origin_thread)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $18, $19, $20) RETURNING id
           ), i AS (
             INSERT INTO thread_ids (id_hash, ticket_id) SELECT h, $1 FROM unnest($17::BYTEA[]) AS h
             ON CONFLICT (id_hash) DO UPDATE SET ticket_id = excluded.ticket_id WHERE ticket_is_deleted(thread_ids.ticket_id) RETURNING 1
           )
           SELECT m.id AS message_id, (SELECT count(*) FROM i) AS "new_ids!" FROM m"#,
        ticket,
        kind,
        m.channel.as_str(),
        m.author.person.0,
        m.ledger.map(|l| l.0),
        m.rfc_id,
        m.subject,
        m.body,
        m.visible,
        m.html,
        m.sender_class,
        unverified,
        m.reply_to,
        &m.refs,
        m.sent_at,
        m.received_at,
        &sorted(&m.new_ids),
        m.problems,
        m.origin.map(discord_id),
        m.origin.and_then(|o| o.thread).map(|t| t.0)
    )
    .fetch_one(&mut **tx)
    .await
}

/// False: another transaction has one of them meanwhile.
pub(super) async fn insert_thread_ids(tx: &mut Tx, ticket: i64, ids: &[super::IdHash]) -> sqlx::Result<bool> {
    if ids.is_empty() {
        return Ok(true);
    }
    let inserted = sqlx::query!(
        "INSERT INTO thread_ids (id_hash, ticket_id) SELECT h, $2 FROM unnest($1::BYTEA[]) AS h
         ON CONFLICT (id_hash) DO UPDATE SET ticket_id = excluded.ticket_id WHERE ticket_is_deleted(thread_ids.ticket_id)",
        &sorted(ids),
        ticket
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == ids.len() as u64)
}

pub(super) async fn insert_staff_message(
    tx: &mut Tx,
    ticket: i64,
    kind: &str,
    m: &StaffMessage<'_>,
    leaves_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let origin = m.inbound.and_then(|i| i.origin);
    sqlx::query_scalar!(
        "INSERT INTO messages (ticket_id, kind, channel, author_id, inbound_id, rfc_id, body, visible, created_at, discord_id,
                               origin_thread, leaves_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11) RETURNING id",
        ticket,
        kind,
        m.channel.as_str(),
        m.author.0,
        m.inbound.and_then(|i| i.ledger).map(|l| l.0),
        m.inbound.and_then(|i| i.rfc_id.clone()),
        m.text,
        now,
        origin.map(discord_id),
        origin.and_then(|o| o.thread).map(|t| t.0),
        leaves_at
    )
    .fetch_one(&mut **tx)
    .await
}

/// Who takes part already keeps the part; a new Reply-To moves where mail goes.
pub(super) async fn insert_participants(
    tx: &mut Tx,
    ticket: i64,
    part: &str,
    channel: Channel,
    list: &[NewParticipant],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let people: Vec<i64> = list.iter().map(|p| p.person.0).collect();
    let addresses: Vec<String> = list.iter().map(|p| p.address.clone()).collect();
    sqlx::query!(
        "INSERT INTO participants (ticket_id, person_id, part, address, joined_at, channel)
         SELECT DISTINCT ON (person) $1::BIGINT, person, $2, address, $5::TIMESTAMPTZ,
                CASE $6 WHEN 'discord' THEN 'discord' ELSE 'email' END
         FROM unnest($3::BIGINT[], $4::TEXT[]) AS l (person, address)
         ON CONFLICT (ticket_id, person_id, channel) DO UPDATE SET address = excluded.address
         WHERE $2 = 'joined' AND participants.address <> excluded.address",
        ticket,
        part,
        &people,
        &addresses,
        now,
        channel.as_str()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_attachment(tx: &mut Tx, message: i64, a: &NewAttachment) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO attachments (message_id, filename, content_type, content_id, sha256, inline, size)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        message,
        a.filename,
        a.content_type,
        a.content_id,
        &a.content.sha256[..],
        a.inline,
        i64::try_from(a.content.bytes.len()).unwrap_or(i64::MAX)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn lock(tx: &mut Tx, ticket: i64) -> sqlx::Result<Option<Locked>> {
    let row = sqlx::query!(
        r#"SELECT t.id, t.status, t.requester_id, t.assignee_id, t.assignee_set, t.assignment_outcome, t.mailbox,
                  t.subject, t.created_at, t.closed_at, t.channel, t.version, t.deadline_at, t.merged_into,
                  t.deleted_at IS NOT NULL AS "is_deleted!",
                  EXISTS (SELECT FROM persons p WHERE p.id = t.assignee_id AND p.active AND p.role <> 'user') AS "active!"
           FROM tickets t WHERE t.id = $1 FOR UPDATE OF t"#,
        ticket
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|r| Locked {
        id: TicketId(r.id),
        // The column's CHECK leaves nothing else.
        status: Status::parse(&r.status).unwrap_or(Status::Open),
        requester: PersonId(r.requester_id),
        assignee: r.assignee_id.map(PersonId),
        assignee_active: r.active,
        assignee_set: r.assignee_set,
        outcome: r.assignment_outcome.as_deref().and_then(super::Outcome::parse),
        mailbox: r.mailbox,
        subject: r.subject,
        created_at: r.created_at,
        closed_at: r.closed_at,
        channel: Channel::parse(&r.channel).unwrap_or(Channel::Web),
        version: r.version,
        deadline_at: r.deadline_at,
        merged_into: r.merged_into.map(TicketId),
        is_deleted: r.is_deleted,
    }))
}

pub(super) async fn current(tx: &mut Tx, ticket: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT ticket_now($1)", ticket).fetch_one(&mut **tx).await
}

/// Staff's first answer. One that is taken back before it leaves was none.
pub(super) async fn note_response(tx: &mut Tx, ticket: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET first_response_at = $2 WHERE id = $1 AND first_response_at IS NULL",
        ticket,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn follow_up(tx: &mut Tx, ticket: i64, requester: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT max(id) FROM tickets
         WHERE requester_id = $2 AND follow_up_of = $1 AND deleted_at IS NULL AND merged_into IS NULL",
        ticket,
        requester
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn set_status(
    tx: &mut Tx,
    ticket: i64,
    status: Status,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET status = $2, updated_at = $3, version = version + 1,
                resolved_at = CASE WHEN $2 IN ('resolved', 'closed') THEN COALESCE(resolved_at, $3) END,
                closed_at = CASE WHEN $2 = 'closed' THEN $3 END
         WHERE id = $1",
        ticket,
        status.as_str(),
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn touch(tx: &mut Tx, ticket: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE tickets SET updated_at = $2, version = version + 1 WHERE id = $1", ticket, now)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn insert_event(
    tx: &mut Tx,
    ticket: i64,
    kind: &str,
    actor: Option<i64>,
    channel: Channel,
    data: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let deliveries = sqlx::query_scalar!(
        "WITH e AS (
           INSERT INTO ticket_events (ticket_id, at, kind, actor_id, channel, data) VALUES ($1, $2, $3, $4, $5, $6)
           RETURNING id, kind
         ), w AS (
           INSERT INTO webhook_deliveries (webhook_id, event_id, since, created_at)
           SELECT h.id, e.id, $2, $2 FROM e, webhooks h
           WHERE h.active AND (h.kinds = '{}' OR e.kind = ANY (h.kinds)) FOR KEY SHARE OF h
           RETURNING id
         )
         SELECT array_agg(id) FROM w",
        ticket,
        now,
        kind,
        actor,
        channel.as_str(),
        data
    )
    .fetch_one(&mut **tx)
    .await?;
    super::webhooks::enqueue(tx, deliveries, now).await
}

pub(super) async fn close_resolved(
    tx: &mut Tx,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    let rows = sqlx::query!(
        r#"WITH due AS (
             SELECT id, channel FROM tickets WHERE status = 'resolved' AND resolved_at < $1 AND deleted_at IS NULL
             ORDER BY id FOR UPDATE SKIP LOCKED
           ), e AS (
             INSERT INTO ticket_events (ticket_id, at, kind, channel, data)
             SELECT id, $2, 'status', channel, '{"from": "resolved", "to": "closed"}' FROM due RETURNING id, ticket_id, kind
           ), w AS (
             INSERT INTO webhook_deliveries (webhook_id, event_id, since, created_at)
             SELECT h.id, e.id, $2, $2 FROM e, webhooks h
             WHERE h.active AND (h.kinds = '{}' OR e.kind = ANY (h.kinds)) FOR KEY SHARE OF h
             RETURNING id, event_id
           )
           UPDATE tickets SET status = 'closed', closed_at = $2, updated_at = $2, version = version + 1
           FROM due WHERE tickets.id = due.id
           RETURNING tickets.id,
                     (SELECT array_agg(w.id) FROM w JOIN e ON e.id = w.event_id WHERE e.ticket_id = due.id) AS webhook_deliveries"#,
        before,
        now
    )
    .fetch_all(&mut **tx)
    .await?;
    let (closed, deliveries): (Vec<i64>, Vec<_>) =
        rows.into_iter().map(|r| (r.id, r.webhook_deliveries)).unzip();
    let deliveries = deliveries.into_iter().flatten().flatten().collect();
    super::webhooks::enqueue(tx, Some(deliveries), now).await?;
    Ok(closed)
}

pub(super) struct Bounced {
    pub(super) ticket_id: i64,
    pub(super) message_id: Option<i64>,
}

pub(super) async fn set_bounced(
    tx: &mut Tx,
    delivery: i64,
    state: &str,
    detail: &str,
) -> sqlx::Result<Option<Bounced>> {
    sqlx::query_as!(
        Bounced,
        "UPDATE deliveries SET state = $2, reason = $3 WHERE id = $1 AND state IN ('sent', 'delayed')
         RETURNING ticket_id, message_id",
        delivery,
        state,
        detail
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn is_participant(tx: &mut Tx, ticket: i64, person: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM participants WHERE ticket_id = $1 AND person_id = $2) AS "found!""#,
        ticket,
        person
    )
    .fetch_one(&mut **tx)
    .await
}

/// What does not come from Discord is answered by mail, as in [`insert_participants`].
pub(super) async fn address_of(
    tx: &mut Tx,
    ticket: i64,
    person: i64,
    channel: Channel,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "SELECT address FROM participants WHERE ticket_id = $1 AND person_id = $2
           AND channel = CASE $3 WHEN 'discord' THEN 'discord' ELSE 'email' END",
        ticket,
        person,
        channel.as_str()
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn holds_message(tx: &mut Tx, ticket: i64, rfc_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM messages m JOIN tickets t ON t.id = m.ticket_id
                             WHERE (t.id = $1 OR t.merged_into = $1) AND m.rfc_id = $2) AS "found!""#,
        ticket,
        rfc_id
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn public_texts(tx: &mut Tx, ticket: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT visible FROM messages WHERE ticket_id = $1 AND kind <> 'note' ORDER BY id",
        ticket
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn remarks(tx: &mut Tx, ticket: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"SELECT notes AS "remark!" FROM triages WHERE ticket_id = $1 AND notes IS NOT NULL
           UNION SELECT reason FROM assignments WHERE ticket_id = $1"#,
        ticket
    )
    .fetch_all(&mut **tx)
    .await
}
