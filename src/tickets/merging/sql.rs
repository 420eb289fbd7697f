//! The statements of merging and splitting.

use chrono::{DateTime, Utc};

use crate::queue::Tx;
use crate::tickets::Channel;

pub(super) async fn lock_all(tx: &mut Tx, source: i64, target: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT id FROM tickets WHERE id IN ($1, $2) OR merged_into = $1 ORDER BY id FOR UPDATE",
        source,
        target
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}

/// Whether somebody takes part who is reached in Discord only.
pub(super) async fn is_reached_in_discord_only(tx: &mut Tx, ticket: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM participants p WHERE p.ticket_id = $1 AND p.channel = 'discord'
               AND NOT EXISTS (SELECT FROM participants m WHERE m.ticket_id = $1 AND m.person_id = p.person_id AND m.channel = 'email')
               AND NOT EXISTS (SELECT FROM identities i WHERE i.person_id = p.person_id AND i.channel = 'email'
                               AND i.verified_at IS NOT NULL)) AS "found!""#,
        ticket
    )
    .fetch_one(&mut **tx)
    .await
}

/// What points to the source points to where the source does.
pub(super) async fn point(tx: &mut Tx, source: i64, target: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET merged_into = $2, status = 'closed', resolved_at = COALESCE(resolved_at, $3),
                closed_at = COALESCE(closed_at, $3), updated_at = $3, version = version + 1
         WHERE id = $1 OR merged_into = $1",
        source,
        target,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who takes part in the source, or follows it, does so in the target. Whoever is known in Discord only by the source is
/// written to by mail where the target is not shown there.
pub(super) async fn join_people(
    tx: &mut Tx,
    source: i64,
    target: i64,
    channel: Channel,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO participants (ticket_id, person_id, part, address, joined_at, channel)
         SELECT $2::BIGINT, person_id, CASE part WHEN 'joined' THEN 'joined' ELSE 'cc' END, address, $3::TIMESTAMPTZ, channel
         FROM participants WHERE ticket_id = $1 AND (channel = 'email' OR $4 = 'discord')
         UNION ALL
         SELECT $2, p.person_id, 'cc', min(i.address), $3, 'email'
         FROM participants p JOIN identities i ON i.person_id = p.person_id AND i.channel = 'email' AND i.verified_at IS NOT NULL
         WHERE p.ticket_id = $1 AND p.channel = 'discord' AND $4 <> 'discord'
           AND NOT EXISTS (SELECT FROM participants m WHERE m.ticket_id = $1 AND m.person_id = p.person_id AND m.channel = 'email')
         GROUP BY p.person_id
         ON CONFLICT (ticket_id, person_id, channel) DO NOTHING",
        source,
        target,
        now,
        channel.as_str()
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "INSERT INTO followers (ticket_id, person_id, since) SELECT $2, person_id, $3 FROM followers WHERE ticket_id = $1
         ON CONFLICT DO NOTHING",
        source,
        target,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The new ticket and its first message. `None`: there is no such message that came in. The ledger row and the message in
/// Discord stay with the original; so do its Message-IDs, because its author's mail program knows them as that thread.
pub(super) async fn split(
    tx: &mut Tx,
    ticket: i64,
    message: i64,
    subject: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(i64, i64)>> {
    let row = sqlx::query!(
        r#"WITH o AS (
             SELECT m.*, t.channel AS way, t.mailbox, COALESCE($3, NULLIF(m.subject, ''), t.subject) AS headline,
                    COALESCE((SELECT r.body FROM message_revisions r WHERE r.message_id = m.id AND r.kind = 'edited'
                              ORDER BY r.id DESC LIMIT 1), m.visible) AS said
             FROM messages m JOIN tickets t ON t.id = m.ticket_id
             WHERE m.id = $2 AND m.ticket_id = $1 AND m.kind = 'inbound' AND m.author_id IS NOT NULL
           ), t AS (
             INSERT INTO tickets (subject, channel, mailbox, requester_id, split_from, created_at, updated_at)
             SELECT headline, way, mailbox, author_id, $1, $4, $4 FROM o RETURNING id
           ), p AS (
             INSERT INTO participants (ticket_id, person_id, part, address, joined_at, channel)
             SELECT t.id, o.author_id, 'requester', a.address, $4, a.channel FROM o, t, LATERAL (
               SELECT p.channel, p.address FROM participants p WHERE p.ticket_id = $1 AND p.person_id = o.author_id
               UNION ALL
               SELECT * FROM (SELECT i.channel, COALESCE(o.reply_to, i.address) FROM identities i
                              WHERE i.person_id = o.author_id
                                AND i.channel = CASE o.channel WHEN 'discord' THEN 'discord' ELSE 'email' END
                                AND NOT EXISTS (SELECT FROM participants p
                                                WHERE p.ticket_id = $1 AND p.person_id = o.author_id)
                              ORDER BY i.id LIMIT 1) AS known) AS a
           ), c AS (
             INSERT INTO messages (ticket_id, kind, channel, author_id, rfc_id, subject, body, visible, html, sender_class,
                                   unverified, reply_to, refs, sent_at, created_at, problems)
             SELECT t.id, 'inbound', o.channel, o.author_id, o.rfc_id, o.subject, o.body, o.said, o.html, o.sender_class,
                    o.unverified, o.reply_to, o.refs, o.sent_at, o.created_at, o.problems
             FROM o, t RETURNING id
           )
           SELECT t.id AS "ticket!", c.id AS "message!" FROM t, c"#,
        ticket,
        message,
        subject,
        now
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|r| (r.ticket, r.message)))
}

pub(super) async fn copy_attachments(tx: &mut Tx, from: i64, to: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO attachments (message_id, filename, content_type, content_id, inline, size, sha256)
         SELECT $2, filename, content_type, content_id, inline, size, sha256 FROM attachments WHERE message_id = $1
         ORDER BY id",
        from,
        to
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
