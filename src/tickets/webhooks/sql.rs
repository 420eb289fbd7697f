//! The statements of webhooks.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Attempted, Delivery, Keys, NewWebhook, Outgoing, Try, Webhook};
use crate::ids::{PersonId, TicketId, WebhookDeliveryId, WebhookId};
use crate::queue::Tx;
use crate::tickets::feed::{Happened, Outline, Position};

pub(super) async fn count(tx: &mut Tx) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM webhooks"#).fetch_one(&mut **tx).await
}

pub(super) async fn insert(
    tx: &mut Tx,
    new: &NewWebhook,
    secret: &str,
    by: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<Webhook> {
    sqlx::query_as!(
        Webhook,
        r#"INSERT INTO webhooks (name, url, secret, kinds, created_by, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $5, $6, $6)
           RETURNING id AS "id: WebhookId", name, url, kinds, active, created_by AS "created_by: PersonId", created_at,
                     updated_at, failing_since, last_error"#,
        new.name,
        new.url,
        secret,
        &new.kinds,
        by,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn list(db: &PgPool, only: Option<i64>) -> sqlx::Result<Vec<Webhook>> {
    sqlx::query_as!(
        Webhook,
        r#"SELECT id AS "id: WebhookId", name, url, kinds, active, created_by AS "created_by: PersonId", created_at,
                  updated_at, failing_since, last_error
           FROM webhooks WHERE $1::BIGINT IS NULL OR id = $1 ORDER BY id"#,
        only
    )
    .fetch_all(db)
    .await
}

pub(super) async fn lock(tx: &mut Tx, id: i64) -> sqlx::Result<Option<Webhook>> {
    sqlx::query_as!(
        Webhook,
        r#"SELECT id AS "id: WebhookId", name, url, kinds, active, created_by AS "created_by: PersonId", created_at,
                  updated_at, failing_since, last_error
           FROM webhooks WHERE id = $1 FOR NO KEY UPDATE"#,
        id
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn update(tx: &mut Tx, webhook: &Webhook) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE webhooks SET name = $2, url = $3, kinds = $4, active = $5, updated_at = $6, failing_since = $7,
                last_error = $8, unanswered = CASE WHEN $7::TIMESTAMPTZ IS NULL THEN 0 ELSE unanswered END,
                held_until = CASE WHEN $7::TIMESTAMPTZ IS NULL THEN NULL ELSE held_until END
         WHERE id = $1",
        webhook.id.0,
        webhook.name,
        webhook.url,
        &webhook.kinds,
        webhook.active,
        webhook.updated_at,
        webhook.failing_since,
        webhook.last_error
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn failed_of(tx: &mut Tx, webhook: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "SELECT id FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'failed'",
        webhook
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn delete(tx: &mut Tx, id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM webhooks WHERE id = $1", id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn rotate(
    tx: &mut Tx,
    id: i64,
    secret: &str,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let rotated = sqlx::query!(
        "UPDATE webhooks SET previous_secret = secret, previous_until = $3, secret = $2, updated_at = $4 WHERE id = $1",
        id,
        secret,
        until,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(rotated.rows_affected() == 1)
}

pub(super) async fn insert_ping(tx: &mut Tx, webhook: i64, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO webhook_deliveries (webhook_id, since, created_at) VALUES ($1, $2, $2) RETURNING id",
        webhook,
        now
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn outgoing(db: &PgPool, id: i64, now: DateTime<Utc>) -> sqlx::Result<Option<Outgoing>> {
    let row = sqlx::query!(
        r#"SELECT d.id, d.webhook_id, d.event_id, d.state, d.since, d.created_at, w.url, w.active, w.held_until, w.secret,
                  CASE WHEN w.previous_until > $2 THEN w.previous_secret END AS previous,
                  (SELECT count(*) FROM webhook_attempts a WHERE a.delivery_id = d.id AND a.at >= d.since)::INT AS "attempts!"
           FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = $1"#,
        id,
        now
    )
    .fetch_optional(db)
    .await?;
    let Some(r) = row else { return Ok(None) };
    let event = match r.event_id {
        Some(event) => sql_event(db, event).await?,
        None => None,
    };
    if r.event_id.is_some() && event.is_none() {
        return Ok(None); // removed meanwhile
    }
    Ok(Some(Outgoing {
        id: WebhookDeliveryId(r.id),
        webhook: WebhookId(r.webhook_id),
        url: r.url,
        state: r.state,
        since: r.since,
        attempts: r.attempts,
        active: r.active,
        held_until: r.held_until,
        created_at: r.created_at,
        event,
        keys: Keys(std::iter::once(r.secret).chain(r.previous).collect()),
    }))
}

async fn sql_event(db: &PgPool, event: i64) -> sqlx::Result<Option<Happened>> {
    let row = sqlx::query!(
        r#"SELECT e.id, e.at, e.kind, e.actor_id, e.channel, e.data,
                  t.id AS number, t.subject, t.status, t.priority, t.category, t.assignee_id, t.requester_id, t.version,
                  t.skills
           FROM ticket_events e JOIN tickets t ON t.id = e.ticket_id
           WHERE e.id = $1 AND (t.deleted_at IS NULL OR e.kind = 'deleted')"#,
        event
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Happened {
        position: Position::default(),
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
    }))
}

pub(super) async fn waiting(db: &PgPool, webhook: i64, limit: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM (
             SELECT FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'waiting' LIMIT $2) AS w"#,
        webhook,
        limit
    )
    .fetch_one(db)
    .await
}

pub(super) async fn insert_attempt(
    tx: &mut Tx,
    delivery: i64,
    a: &Try,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO webhook_attempts (delivery_id, at, status, took_ms, error)
         SELECT id, $2, $3, $4, $5 FROM webhook_deliveries WHERE id = $1",
        delivery,
        now,
        a.status.map(i32::from),
        a.took_ms,
        a.error
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What has arrived stays so.
pub(super) async fn set_state(
    tx: &mut Tx,
    delivery: i64,
    state: &str,
    sent_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE webhook_deliveries SET state = $2, sent_at = $3
         WHERE id = $1 AND ($2 = 'sent' OR state IN ('waiting', 'failed'))",
        delivery,
        state,
        sent_at
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Mostly nothing was wrong, and then nothing is written.
pub(super) async fn recovered(tx: &mut Tx, webhook: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE webhooks SET failing_since = NULL, last_error = NULL, unanswered = 0, held_until = NULL
         WHERE id = $1 AND active AND (failing_since IS NOT NULL OR last_error IS NOT NULL)",
        webhook
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) struct Failing {
    pub(super) since: DateTime<Utc>,
    pub(super) unanswered: i32,
    pub(super) active: bool,
}

/// `None`: there is no such webhook any more.
pub(super) async fn failing(
    tx: &mut Tx,
    webhook: i64,
    error: &str,
    answered: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Failing>> {
    sqlx::query_as!(
        Failing,
        r#"UPDATE webhooks SET failing_since = COALESCE(failing_since, $4),
                  last_error = CASE WHEN active THEN $2 ELSE last_error END,
                  unanswered = CASE WHEN $3 THEN 0 ELSE unanswered + 1 END
           WHERE id = $1 RETURNING failing_since AS "since!", unanswered, active"#,
        webhook,
        error,
        answered,
        now
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn hold(tx: &mut Tx, webhook: i64, until: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE webhooks SET held_until = GREATEST(held_until, $2) WHERE id = $1", webhook, until)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn switch_off(tx: &mut Tx, webhook: i64, why: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE webhooks SET active = FALSE, last_error = $2, updated_at = $3 WHERE id = $1",
        webhook,
        why,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn begin_anew(db: &PgPool, delivery: i64, since: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE webhook_deliveries SET state = 'waiting', since = $2 WHERE id = $1 AND state = 'failed'",
        delivery,
        since
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn deliveries(
    db: &PgPool,
    webhook: i64,
    state: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"SELECT d.id AS "id: WebhookDeliveryId", d.webhook_id AS "webhook_id: WebhookId", d.event_id,
                  COALESCE(e.kind, 'ping') AS "kind!", e.ticket_id AS "ticket?: TicketId", d.state, d.created_at, d.sent_at,
                  COALESCE((SELECT jsonb_agg(jsonb_build_object('at', a.at, 'status', a.status, 'took_ms', a.took_ms,
                              'error', a.error) ORDER BY a.id)
                            FROM webhook_attempts a WHERE a.delivery_id = d.id), '[]')
                    AS "attempts!: sqlx::types::Json<Vec<Attempted>>"
           FROM webhook_deliveries d LEFT JOIN ticket_events e ON e.id = d.event_id
           WHERE d.webhook_id = $1 AND ($2::TEXT IS NULL OR d.state = $2) AND ($3::BIGINT IS NULL OR d.id < $3)
           ORDER BY d.id DESC LIMIT $4"#,
        webhook,
        state,
        before,
        limit
    )
    .fetch_all(db)
    .await
}

pub(super) async fn retry(tx: &mut Tx, delivery: i64, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "UPDATE webhook_deliveries SET state = 'waiting', since = $2 WHERE id = $1 AND state IN ('failed', 'cancelled')",
        delivery,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(found.rows_affected() == 1)
}

pub(super) async fn cancel(tx: &mut Tx, delivery: i64) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "UPDATE webhook_deliveries SET state = 'cancelled' WHERE id = $1 AND state IN ('waiting', 'failed')",
        delivery
    )
    .execute(&mut **tx)
    .await?;
    Ok(found.rows_affected() == 1)
}

pub(super) struct Old {
    pub(super) id: i64,
    pub(super) state: String,
}

pub(super) async fn sweep(tx: &mut Tx, before: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Old>> {
    sqlx::query_as!(
        Old,
        "DELETE FROM webhook_deliveries WHERE id IN (
           SELECT id FROM webhook_deliveries WHERE created_at < $1 ORDER BY created_at LIMIT $2)
         RETURNING id, state",
        before,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}
