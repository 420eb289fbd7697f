//! The statements of threads and relays.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Audience, Guild, Relay, Setting, Standing, Thread, Written, signed, unsigned};
use crate::ids::{DeliveryId, MessageId, PersonId, ThreadId, TicketId};
use crate::queue::Tx;
use crate::tickets::Status;

pub(super) async fn set_guild(tx: &mut Tx, guild: Guild) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO discord_guild (guild_id, support_channel_id, staff_channel_id) VALUES ($1, $2, $3)
         ON CONFLICT (one) DO UPDATE SET guild_id = excluded.guild_id, support_channel_id = excluded.support_channel_id,
           staff_channel_id = excluded.staff_channel_id
         WHERE (discord_guild.guild_id, discord_guild.support_channel_id, discord_guild.staff_channel_id)
               <> (excluded.guild_id, excluded.support_channel_id, excluded.staff_channel_id)",
        signed(guild.guild),
        signed(guild.support_channel),
        signed(guild.staff_channel)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn clear_guild(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM discord_guild").execute(&mut **tx).await?;
    Ok(())
}

/// Threads that have something to show, or are to be made; not the broken ones, which wait for a person.
pub(super) async fn unfinished(tx: &mut Tx) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT h.id FROM discord_guild, discord_threads h JOIN tickets t ON t.id = h.ticket_id
         WHERE h.broken IS NULL AND ((h.channel_id IS NULL AND t.status <> 'closed' AND t.deleted_at IS NULL)
               OR (t.status = 'closed' OR t.deleted_at IS NOT NULL) <> h.archived AND h.channel_id IS NOT NULL
               OR EXISTS (SELECT FROM deliveries d WHERE d.thread_id = h.id AND d.kind = 'relay'
                          AND (d.state = 'waiting' OR d.state = 'sent' AND d.refresh_at IS NOT NULL)))
         ORDER BY h.id"
    )
    .fetch_all(&mut **tx)
    .await
}

/// The threads of a ticket, made where they are missing. None where Discord is not configured.
pub(super) async fn ensure(tx: &mut Tx, ticket: i64, now: DateTime<Utc>) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"WITH made AS (
             INSERT INTO discord_threads (ticket_id, audience, handle, created_at)
             SELECT t.id, a.audience, replace(gen_random_uuid()::TEXT, '-', ''), $2
             FROM tickets t, discord_guild, unnest(ARRAY['staff', 'requester']) AS a (audience)
             WHERE t.id = $1 AND (a.audience = 'staff' OR t.channel = 'discord')
               AND NOT EXISTS (SELECT FROM discord_threads h WHERE h.ticket_id = t.id AND h.audience = a.audience)
             ON CONFLICT (ticket_id, audience) DO NOTHING RETURNING id)
           SELECT id AS "id!" FROM made
           UNION ALL SELECT h.id FROM discord_threads h, discord_guild WHERE h.ticket_id = $1"#,
        ticket,
        now
    )
    .fetch_all(&mut **tx)
    .await
}

/// What a requester sees leaves with the mail; staff see it at once, and until then may take it back.
pub(super) async fn insert_relays(
    tx: &mut Tx,
    message: i64,
    leaves_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO deliveries (ticket_id, message_id, kind, channel, address, thread_id, created_at, due_at, refresh_at)
         SELECT m.ticket_id, m.id, 'relay', 'discord', h.audience || ' thread', h.id, $3,
                CASE WHEN h.audience = 'requester' THEN $2::TIMESTAMPTZ END, CASE WHEN h.audience = 'staff' THEN $2 END
         FROM messages m JOIN discord_threads h ON h.ticket_id = m.ticket_id
         WHERE m.id = $1 AND h.id IS DISTINCT FROM m.origin_thread
           AND (h.audience = 'staff' OR m.kind = 'outbound' OR (m.kind = 'inbound' AND m.sender_class = 'human'))
         ON CONFLICT (message_id, thread_id) WHERE kind = 'relay' DO NOTHING",
        message,
        leaves_at,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

struct Row {
    id: i64,
    ticket_id: i64,
    audience: String,
    handle: String,
    channel_id: Option<i64>,
    card_id: Option<i64>,
    card_hash: Option<Vec<u8>>,
    members: Vec<i64>,
    begun_at: Option<DateTime<Utc>>,
    archived: bool,
    broken: Option<String>,
    last_seen: i64,
    read_on: bool,
}

impl From<Row> for Thread {
    fn from(row: Row) -> Self {
        Self {
            id: ThreadId(row.id),
            ticket: TicketId(row.ticket_id),
            audience: Audience::parse(&row.audience),
            handle: row.handle,
            channel: row.channel_id.map(unsigned),
            card: row.card_id.map(unsigned),
            card_hash: row.card_hash,
            members: row.members.into_iter().map(unsigned).collect(),
            begun_at: row.begun_at,
            archived: row.archived,
            broken: row.broken,
            last_seen: unsigned(row.last_seen),
            read_on: row.read_on,
        }
    }
}

pub(super) async fn threads(
    db: &PgPool,
    id: Option<i64>,
    channel: Option<i64>,
    handle: Option<&str>,
    ticket: Option<i64>,
) -> sqlx::Result<Vec<Thread>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, ticket_id, audience, handle, channel_id, card_id, card_hash, members, begun_at, archived, broken, last_seen,
                read_on
         FROM discord_threads WHERE id = $1 OR channel_id = $2 OR handle = $3 OR ticket_id = $4
         ORDER BY audience DESC",
        id,
        channel,
        handle,
        ticket
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Thread::from).collect())
}

pub(super) async fn by_channels(db: &PgPool, channels: &[i64]) -> sqlx::Result<Vec<Thread>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, ticket_id, audience, handle, channel_id, card_id, card_hash, members, begun_at, archived, broken, last_seen,
                read_on
         FROM discord_threads WHERE channel_id = ANY ($1)",
        channels
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Thread::from).collect())
}

pub(super) async fn listening(db: &PgPool, closed_since: DateTime<Utc>) -> sqlx::Result<Vec<Thread>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, ticket_id, audience, handle, channel_id, card_id, card_hash, members, begun_at, archived, broken, last_seen,
                read_on
         FROM discord_threads h WHERE channel_id IS NOT NULL AND broken IS NULL
           AND (NOT archived OR EXISTS (SELECT FROM tickets t WHERE t.id = h.ticket_id AND t.closed_at > $1))
         ORDER BY id",
        closed_since
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Thread::from).collect())
}

pub(super) async fn setting(db: &PgPool, ticket: i64) -> sqlx::Result<Option<Setting>> {
    let row = sqlx::query!(
        r#"SELECT t.subject, CASE WHEN t.deleted_at IS NULL THEN t.status ELSE 'closed' END AS "status!", t.priority, t.channel,
                  COALESCE(t.closed_at, t.deleted_at) AS closed_at, r.name AS requester_name, a.name AS "assignee_name?",
                  (SELECT i.address FROM identities i WHERE i.person_id = r.id AND i.channel = 'discord'
                   ORDER BY i.address = (SELECT p.address FROM participants p WHERE p.ticket_id = t.id
                     AND p.person_id = r.id AND p.channel = 'discord') DESC NULLS LAST, i.id LIMIT 1) AS requester,
                  (SELECT i.address FROM identities i WHERE i.person_id = a.id AND i.channel = 'discord'
                     AND a.active AND a.role <> 'user' ORDER BY i.id LIMIT 1) AS assignee,
                  ARRAY(SELECT i.address FROM identities i WHERE i.channel = 'discord' AND i.person_id IN (
                    SELECT r.id UNION ALL SELECT a.id WHERE a.active AND a.role <> 'user' UNION ALL
                    SELECT p.person_id FROM participants p WHERE p.ticket_id = t.id AND p.channel = 'discord')) AS "entitled!",
                  (SELECT h.broken FROM discord_threads h WHERE h.ticket_id = t.id AND h.audience = 'requester') AS broken
           FROM tickets t JOIN persons r ON r.id = t.requester_id LEFT JOIN persons a ON a.id = t.assignee_id
           WHERE t.id = $1"#,
        ticket
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id = |address: Option<String>| address.and_then(|address| address.parse().ok());
    Ok(Some(Setting {
        subject: row.subject,
        // The column's CHECK leaves nothing else.
        status: Status::parse(&row.status).unwrap_or(Status::Open),
        priority: row.priority,
        channel: row.channel,
        closed_at: row.closed_at,
        requester_name: row.requester_name,
        requester: id(row.requester),
        assignee_name: row.assignee_name,
        assignee: id(row.assignee),
        entitled: row.entitled.iter().filter_map(|address| address.parse().ok()).collect(),
        requester_thread_broken: row.broken,
    }))
}

pub(super) async fn begin(db: &PgPool, id: i64, now: DateTime<Utc>) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(
        r#"UPDATE discord_threads SET begun_at = COALESCE(begun_at, $2) WHERE id = $1 RETURNING begun_at AS "begun_at!""#,
        id,
        now
    )
    .fetch_one(db)
    .await
}

pub(super) async fn begin_anew(db: &PgPool, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE discord_threads SET begun_at = $2, card_id = NULL, card_hash = NULL WHERE id = $1",
        id,
        now
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn card_shown(db: &PgPool, id: i64, card: i64, hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("UPDATE discord_threads SET card_id = $2, card_hash = $3 WHERE id = $1", id, card, hash)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn made(db: &PgPool, id: i64, channel: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE discord_threads SET channel_id = $2, last_seen = $2 WHERE id = $1", id, channel)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn joined(db: &PgPool, id: i64, user: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE discord_threads SET members = members || $2 WHERE id = $1 AND NOT $2 = ANY (members)",
        id,
        user
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn left(db: &PgPool, id: i64, user: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE discord_threads SET members = array_remove(members, $2) WHERE id = $1", id, user)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn to_read_on(db: &PgPool) -> sqlx::Result<Vec<Thread>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, ticket_id, audience, handle, channel_id, card_id, card_hash, members, begun_at, archived, broken, last_seen,
                read_on
         FROM discord_threads WHERE read_on AND channel_id IS NOT NULL AND broken IS NULL ORDER BY id"
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Thread::from).collect())
}

pub(super) async fn was_read_on(db: &PgPool, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE discord_threads SET read_on = FALSE WHERE id = $1 AND read_on", id)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn set_archived(db: &PgPool, id: i64, archived: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE discord_threads SET archived = $2, read_on = read_on OR NOT $2 WHERE id = $1",
        id,
        archived
    )
    .execute(db)
    .await?;
    Ok(())
}

/// False: it was broken already.
pub(super) async fn set_broken(tx: &mut Tx, id: i64, why: &str) -> sqlx::Result<bool> {
    let changed = sqlx::query!(
        "UPDATE discord_threads SET broken = $2, broken_told = FALSE, read_on = TRUE WHERE id = $1 AND broken IS NULL",
        id,
        why
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn repair(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE discord_threads SET broken = NULL, archived = FALSE, card_hash = NULL WHERE id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn is_told(db: &PgPool, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!("SELECT broken_told FROM discord_threads WHERE id = $1", id).fetch_one(db).await
}

pub(super) async fn set_told(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE discord_threads SET broken_told = TRUE WHERE id = $1", id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The next thread is another one.
pub(super) async fn forget(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE discord_threads SET channel_id = NULL, card_id = NULL, card_hash = NULL, begun_at = NULL, members = '{}',
                archived = FALSE
         WHERE id = $1",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What was shown in the thread that is gone waits to be shown in the next one.
pub(super) async fn relay_again(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH gone AS (DELETE FROM delivery_posts WHERE delivery_id IN (SELECT id FROM deliveries WHERE thread_id = $1))
         UPDATE deliveries SET state = 'waiting', sent_at = NULL
         WHERE thread_id = $1 AND kind = 'relay' AND state = 'sent'",
        id
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What was written in the thread that is gone needed no relay there; in the next one it does.
pub(super) async fn relay_its_own(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO deliveries (ticket_id, message_id, kind, channel, address, thread_id, created_at)
         SELECT m.ticket_id, m.id, 'relay', 'discord', h.audience || ' thread', h.id, $2
         FROM discord_threads h JOIN messages m ON m.ticket_id = h.ticket_id AND m.origin_thread = h.id
         WHERE h.id = $1
         ON CONFLICT (message_id, thread_id) WHERE kind = 'relay' DO NOTHING",
        id,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn seen(tx: &mut Tx, id: i64, message: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE discord_threads SET last_seen = $2 WHERE id = $1 AND last_seen < $2", id, message)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn relays(
    db: &PgPool,
    thread: i64,
    stale: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Relay>> {
    let rows = sqlx::query!(
        r#"SELECT d.id, m.id AS message_id, m.kind, m.channel, p.name AS "author_name?", m.sender_class, m.unverified,
                  m.problems, m.withdrawn_at, m.created_at, m.visible, r.kind AS "revision?", r.body AS "revised?", d.refresh_at,
                  m.author_id = t.requester_id AS "by_requester?",
                  (SELECT e.data->>'why' FROM ticket_events e
                   WHERE e.ticket_id = d.ticket_id AND e.kind = 'unverified_note'
                     AND (e.data->>'message')::BIGINT = m.id) AS why_unverified,
                  (SELECT i.address FROM identities i WHERE i.person_id = m.author_id AND i.channel = 'email'
                   ORDER BY i.id LIMIT 1) AS author_address,
                  NOT EXISTS (SELECT FROM messages f WHERE f.ticket_id = m.ticket_id AND f.id < m.id) AS "is_first!",
                  (SELECT max(o.due_at) FROM deliveries o WHERE o.message_id = m.id AND o.due_at > $3) AS leaves_at,
                  ARRAY(SELECT q.position FROM delivery_posts q WHERE q.delivery_id = d.id ORDER BY q.position)
                    AS "positions!",
                  ARRAY(SELECT q.message_id FROM delivery_posts q WHERE q.delivery_id = d.id ORDER BY q.position)
                    AS "posts!"
           FROM deliveries d
           JOIN messages m ON m.id = d.message_id
           JOIN tickets t ON t.id = d.ticket_id
           LEFT JOIN persons p ON p.id = m.author_id
           LEFT JOIN LATERAL (SELECT kind, body FROM message_revisions WHERE message_id = m.id ORDER BY id DESC LIMIT 1) r
             ON TRUE
           WHERE d.thread_id = $1 AND d.kind = 'relay'
             AND CASE WHEN $2 THEN d.state = 'sent' AND d.refresh_at <= $3
                      ELSE d.state = 'waiting' AND (d.due_at IS NULL OR d.due_at <= $3) END
           ORDER BY m.id LIMIT 100"#,
        thread,
        stale,
        now
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Relay {
            delivery: DeliveryId(r.id),
            message: MessageId(r.message_id),
            kind: r.kind,
            channel: r.channel,
            author_name: r.author_name,
            author_address: r.author_address,
            standing: match (r.withdrawn_at, r.revision.as_deref()) {
                (Some(_), _) => Standing::Withdrawn,
                (None, Some("deleted")) => Standing::Deleted,
                (None, Some(_)) => Standing::Edited,
                (None, None) => Standing::AsWritten,
            },
            text: r.revised.unwrap_or(r.visible),
            sender_class: r.sender_class,
            unverified: r.unverified,
            problems: r.problems,
            why_unverified: r.why_unverified,
            is_first: r.is_first,
            by_requester: r.by_requester.unwrap_or(false),
            leaves_at: r.leaves_at,
            posts: std::iter::zip(r.positions, r.posts)
                .map(|(position, post)| (usize::try_from(position).unwrap_or_default(), unsigned(post)))
                .collect(),
            refresh_at: r.refresh_at,
            created_at: r.created_at,
        })
        .collect())
}

pub(super) async fn insert_post(db: &PgPool, delivery: i64, position: i32, message: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO delivery_posts (delivery_id, position, message_id) VALUES ($1, $2, $3)
         ON CONFLICT (delivery_id, position) DO UPDATE SET message_id = excluded.message_id",
        delivery,
        position,
        message
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn delete_post(db: &PgPool, delivery: i64, position: i32) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM delivery_posts WHERE delivery_id = $1 AND position = $2", delivery, position)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn last_post(db: &PgPool, thread: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT max(q.message_id) FROM deliveries d JOIN delivery_posts q ON q.delivery_id = d.id WHERE d.thread_id = $1",
        thread
    )
    .fetch_one(db)
    .await
}

/// A revision that came meanwhile has changed `refresh_at`, and stays.
pub(super) async fn set_relayed(
    db: &PgPool,
    delivery: i64,
    refresh_at: Option<DateTime<Utc>>,
    leaves_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE deliveries SET state = 'sent', sent_at = $2, reason = NULL,
                refresh_at = CASE WHEN refresh_at IS DISTINCT FROM $3 THEN refresh_at ELSE $4 END
         WHERE id = $1 AND state = 'waiting'",
        delivery,
        now,
        refresh_at,
        leaves_at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// False: it was cancelled meanwhile.
pub(super) async fn set_unpostable(tx: &mut Tx, delivery: i64, why: &str) -> sqlx::Result<bool> {
    let changed = sqlx::query!(
        "UPDATE deliveries SET state = 'failed', reason = $2 WHERE id = $1 AND state = 'waiting'",
        delivery,
        why
    )
    .execute(&mut **tx)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// A revision that came meanwhile has changed `refresh_at`, and stays. `leaves_at`: it must be shown anew then, too.
pub(super) async fn set_refreshed(
    db: &PgPool,
    delivery: i64,
    refresh_at: Option<DateTime<Utc>>,
    leaves_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE deliveries SET refresh_at = $3 WHERE id = $1 AND refresh_at IS NOT DISTINCT FROM $2",
        delivery,
        refresh_at,
        leaves_at
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn next_due(
    db: &PgPool,
    thread: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT min(at) FROM (
           SELECT due_at AS at FROM deliveries WHERE thread_id = $1 AND kind = 'relay' AND state = 'waiting' AND due_at > $2
           UNION ALL
           SELECT refresh_at FROM deliveries WHERE thread_id = $1 AND kind = 'relay' AND state = 'sent' AND refresh_at > $2
         ) AS next",
        thread,
        now
    )
    .fetch_one(db)
    .await
}

pub(super) async fn message_of(db: &PgPool, discord_message: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM messages WHERE discord_id = $1
           UNION ALL
           SELECT d.message_id FROM delivery_posts q JOIN deliveries d ON d.id = q.delivery_id
           WHERE q.message_id = $1 AND d.message_id IS NOT NULL LIMIT 1"#,
        discord_message
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn written_as(tx: &mut Tx, discord_message: i64) -> sqlx::Result<Option<Written>> {
    let row = sqlx::query!(
        r#"SELECT id, author_id AS "author_id!", kind, unverified FROM messages
           WHERE discord_id = $1 AND author_id IS NOT NULL"#,
        discord_message
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|r| Written {
        message: MessageId(r.id),
        author: PersonId(r.author_id),
        is_reply: r.kind == "outbound",
        is_staffs: r.kind != "inbound" && !r.unverified,
    }))
}
