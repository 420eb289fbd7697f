//! The statements of the stream of events.

use sqlx::PgPool;

use super::{Happened, Outline, Position};
use crate::ids::{PersonId, TicketId};

/// Transaction ids travel as text: sqlx does not know the type.
fn number(xid: &str) -> u64 {
    xid.parse().unwrap_or_default()
}

pub(super) async fn end(db: &PgPool) -> sqlx::Result<u64> {
    let xmin = sqlx::query_scalar!(r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::TEXT AS "xmin!""#)
        .fetch_one(db)
        .await?;
    Ok(number(&xmin))
}

pub(super) async fn xid_of(db: &PgPool, event: i64) -> sqlx::Result<Option<u64>> {
    let xid = sqlx::query_scalar!(r#"SELECT xid::TEXT AS "xid!" FROM ticket_events WHERE id = $1"#, event)
        .fetch_optional(db)
        .await?;
    Ok(xid.as_deref().map(number))
}

pub(super) async fn after(db: &PgPool, xid: u64, id: i64, limit: i64) -> sqlx::Result<Vec<Happened>> {
    let rows = sqlx::query!(
        r#"SELECT e.id, e.xid::TEXT AS "xid!", e.at, e.kind, e.actor_id, e.channel, e.data,
                  t.id AS number, t.subject, t.status, t.priority, t.category, t.assignee_id, t.requester_id, t.version,
                  t.skills
           FROM ticket_events e JOIN tickets t ON t.id = e.ticket_id
           WHERE (t.deleted_at IS NULL OR e.kind = 'deleted') AND (e.xid, e.id) > ($1::TEXT::XID8, $2) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
           ORDER BY e.xid, e.id LIMIT $3"#,
        xid.to_string(),
        id,
        limit
    )
    .fetch_all(db)
    .await?;
    let happened = rows.into_iter().map(|r| Happened {
        position: Position { xid: number(&r.xid), id: r.id },
        id: r.id,
        at: r.at,
        kind: r.kind,
        actor: r.actor_id.map(PersonId),
        channel: r.channel,
        data: r.data,
        ticket: Outline {
            number: TicketId(r.number),
            subject: r.subject,
            status: r.status,
            priority: r.priority,
            category: r.category,
            skills: r.skills,
            assignee_id: r.assignee_id.map(PersonId),
            requester_id: PersonId(r.requester_id),
            version: r.version,
        },
    });
    Ok(happened.collect())
}

/// What is visible was committed, so its transaction is older than every one that is to come: unless it was another server's.
/// At most `limit` of them.
pub(super) async fn adopt_restored(db: &PgPool, limit: i64) -> sqlx::Result<u64> {
    let moved = sqlx::query!(
        "UPDATE ticket_events SET xid = '0'
         WHERE id IN (SELECT id FROM ticket_events WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()) LIMIT $1)",
        limit
    )
    .execute(db)
    .await?;
    Ok(moved.rows_affected())
}
