//! The statements of what an admin looks at first.

use sqlx::PgPool;

use super::Waiting;
use crate::ids::TicketId;

pub(super) async fn by_status(db: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT s.status AS "status!", count(t.id) AS "count!"
           FROM unnest(ARRAY['new', 'open', 'pending', 'resolved', 'closed']) WITH ORDINALITY AS s (status, n)
           LEFT JOIN tickets t ON t.status = s.status AND t.deleted_at IS NULL GROUP BY s.status, s.n ORDER BY s.n"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.status, row.count)).collect())
}

pub(super) async fn without_owner(db: &PgPool) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE assignee_id IS NULL) AS "unassigned!",
                  count(*) FILTER (WHERE assignment_outcome = 'fallback' AND assignee_id IS NOT NULL) AS "fallback!"
           FROM tickets WHERE status IN ('new', 'open', 'pending') AND deleted_at IS NULL"#
    )
    .fetch_one(db)
    .await?;
    Ok((row.unassigned, row.fallback))
}

pub(super) async fn oldest_waiting(db: &PgPool) -> sqlx::Result<Option<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"SELECT t.id AS "ticket: TicketId", t.subject, COALESCE(w.since, t.created_at) AS "since!"
           FROM tickets t
           LEFT JOIN LATERAL (
             SELECT min(m.created_at) AS since FROM messages m
             WHERE m.ticket_id = t.id AND m.kind = 'inbound'
               AND m.id > COALESCE((SELECT max(o.id) FROM messages o
                                    WHERE o.ticket_id = t.id AND o.kind = 'outbound' AND o.withdrawn_at IS NULL), 0)
           ) w ON TRUE
           WHERE t.status IN ('new', 'open') AND t.deleted_at IS NULL
           ORDER BY COALESCE(w.since, t.created_at), t.id LIMIT 1"#
    )
    .fetch_optional(db)
    .await
}
