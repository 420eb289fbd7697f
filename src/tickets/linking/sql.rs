//! The statements that move tickets to another person.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

/// The tickets that show this person, locked in one order.
pub(super) async fn lock_tickets_of(tx: &mut Tx, person: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM tickets t
         WHERE requester_id = $1 OR assignee_id = $1
            OR EXISTS (SELECT FROM participants p WHERE p.ticket_id = t.id AND p.person_id = $1)
            OR EXISTS (SELECT FROM messages m WHERE m.ticket_id = t.id AND m.author_id = $1)
         ORDER BY id FOR UPDATE OF t",
        person
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn move_tickets(tx: &mut Tx, from: i64, into: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tickets SET requester_id = CASE WHEN requester_id = $1 THEN $2 ELSE requester_id END,
                assignee_id = CASE WHEN assignee_id = $1 THEN $2 ELSE assignee_id END,
                updated_at = $3, version = version + 1
         WHERE requester_id = $1 OR assignee_id = $1",
        from,
        into,
        now
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("UPDATE tickets SET deleted_by = $2 WHERE deleted_by = $1", from, into)
        .execute(&mut **tx)
        .await?;
    sqlx::query!("UPDATE uploads SET person_id = $2 WHERE person_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "WITH gone AS (DELETE FROM followers WHERE person_id = $1 RETURNING ticket_id, since)
         INSERT INTO followers (ticket_id, person_id, since) SELECT ticket_id, $2, since FROM gone
         ON CONFLICT DO NOTHING",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Where both take part on one channel, it is once: as requester if one of them was, at that one's address.
pub(super) async fn move_participants(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM participants gone USING participants kept
         WHERE gone.ticket_id = kept.ticket_id AND gone.channel = kept.channel
           AND ((gone.person_id = $1 AND kept.person_id = $2
                 AND array_position(ARRAY['requester', 'cc', 'joined'], kept.part)
                     <= array_position(ARRAY['requester', 'cc', 'joined'], gone.part))
             OR (gone.person_id = $2 AND kept.person_id = $1
                 AND array_position(ARRAY['requester', 'cc', 'joined'], kept.part)
                     < array_position(ARRAY['requester', 'cc', 'joined'], gone.part)))",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("UPDATE participants SET person_id = $2 WHERE person_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn move_history(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE messages SET author_id = $2 WHERE author_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    sqlx::query!("UPDATE ticket_events SET actor_id = $2 WHERE actor_id = $1", from, into)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "UPDATE assignments SET assignee_id = CASE WHEN assignee_id = $1 THEN $2 ELSE assignee_id END,
                decided_by = CASE WHEN decided_by = $1 THEN $2 ELSE decided_by END
         WHERE assignee_id = $1 OR decided_by = $1",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One copy of a reply a recipient: where each of the two was sent one, `from` keeps theirs.
pub(super) async fn move_webhooks(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE webhooks SET created_by = $2 WHERE created_by = $1", from, into)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn move_deliveries(tx: &mut Tx, from: i64, into: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE deliveries d SET recipient_id = $2
         WHERE recipient_id = $1 AND NOT (kind = 'reply' AND EXISTS (
                 SELECT FROM deliveries o WHERE o.message_id = d.message_id AND o.recipient_id = $2 AND o.kind = 'reply'))",
        from,
        into
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
