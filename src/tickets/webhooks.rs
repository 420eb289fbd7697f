//! Servers that are told of events: which, of what, and what became of each telling.
//!
//! Whoever inserts an event inserts its deliveries in the same statement, and [`enqueue`]s a job for each. Where there is
//! no webhook that costs a look at an empty table. Owns `webhooks`, `webhook_deliveries` and `webhook_attempts`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use super::feed::{Happened, TOLD};
use crate::audit::{self, Actor};
use crate::ids::{PersonId, TicketId, WebhookDeliveryId, WebhookId};
use crate::queue::{self, Tx};

mod sql;

/// How long the secret before still signs, once it was changed.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);
/// How long one delivery is tried.
pub const TRIED_FOR: TimeDelta = TimeDelta::hours(24);
/// A webhook that fails for so long is switched off.
pub const FAILS_AT_MOST: TimeDelta = TimeDelta::days(3);
const SWEPT_AT_ONCE: i64 = 5_000;
/// There are few receivers: each event is a row for each of them.
const AT_MOST: i64 = 50;

/// What the secrets begin with (Standard Webhooks); the rest is base64.
const SECRET_PREFIX: &str = "whsec_";

/// A webhook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Webhook {
    pub id: WebhookId,
    pub name: String,
    pub url: String,
    /// Which events it wants; empty: all.
    pub kinds: Vec<String>,
    pub active: bool,
    pub created_by: Option<PersonId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// When the first send after the last good one failed.
    pub failing_since: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

/// What an admin enters. The address is checked by who sends ([`crate::deliver`] knows which hosts may be reached).
#[derive(Clone, Debug, Default)]
pub struct NewWebhook {
    pub name: String,
    pub url: String,
    pub kinds: Vec<String>,
}

/// What an admin changes; `None`: it stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub url: Option<String>,
    pub kinds: Option<Vec<String>>,
    pub active: Option<bool>,
}

/// Why a webhook cannot be as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("there is no webhook {0}")]
    Unknown(WebhookId),
    #[error("a webhook's name has 1 to 100 characters, none of them a control character")]
    Name,
    #[error("a webhook's url begins with https:// and has at most 2000 characters, none of them a space")]
    Url,
    #[error("`{0}` is no kind of event: choose from {kinds}", kinds = kinds().join(", "))]
    Kind(String),
    #[error("there are {AT_MOST} webhooks already: remove one that is not needed")]
    TooMany,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The kinds of events that can be chosen.
pub fn kinds() -> Vec<&'static str> {
    TOLD.iter().map(|(kind, _)| *kind).collect()
}

fn check(name: &str, url: &str, kinds: &[String]) -> Result<(), WebhookError> {
    if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(WebhookError::Name);
    }
    let is_http = url.starts_with("https://") || url.starts_with("http://");
    if !is_http || url.len() > 2000 || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(WebhookError::Url);
    }
    match kinds.iter().find(|kind| !TOLD.iter().any(|(known, _)| known == kind)) {
        Some(unknown) => {
            Err(WebhookError::Kind(unknown.chars().filter(|c| !c.is_control()).take(40).collect()))
        }
        None => Ok(()),
    }
}

fn new_secret() -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(rand::random::<[u8; 32]>()))
}

/// The bytes that sign, of a secret as people see it.
fn key(secret: &str) -> Vec<u8> {
    STANDARD.decode(secret.trim_start_matches(SECRET_PREFIX)).unwrap_or_default()
}

/// Creates a webhook. The secret is told here and never again.
pub async fn create(
    tx: &mut Tx,
    new: &NewWebhook,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(Webhook, SecretString), WebhookError> {
    check(&new.name, &new.url, &new.kinds)?;
    if sql::count(tx).await? >= AT_MOST {
        return Err(WebhookError::TooMany);
    }
    let secret = new_secret();
    let webhook = sql::insert(tx, new, &secret, actor.person.map(|p| p.0), now).await?;
    let data = json!({"name": webhook.name, "kinds": webhook.kinds});
    audit::record(tx, actor, "webhook.created", &subject(webhook.id), &data, now).await?;
    Ok((webhook, secret.into()))
}

fn subject(id: WebhookId) -> String {
    format!("webhook:{id}")
}

/// All webhooks, oldest first.
pub async fn list(db: &PgPool) -> sqlx::Result<Vec<Webhook>> {
    sql::list(db, None).await
}

/// One webhook.
pub async fn webhook(db: &PgPool, id: WebhookId) -> sqlx::Result<Option<Webhook>> {
    Ok(sql::list(db, Some(id.0)).await?.pop())
}

/// Changes a webhook. One that is switched on again, or has another address, begins with a clean slate.
pub async fn change(
    tx: &mut Tx,
    id: WebhookId,
    change: &Change,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Webhook, WebhookError> {
    let before = sql::lock(tx, id.0).await?.ok_or(WebhookError::Unknown(id))?;
    let mut after = before.clone();
    after.name = change.name.clone().unwrap_or(after.name);
    after.url = change.url.clone().unwrap_or(after.url);
    after.kinds = change.kinds.clone().unwrap_or(after.kinds);
    after.active = change.active.unwrap_or(after.active);
    check(&after.name, &after.url, &after.kinds)?;
    if after == before {
        return Ok(before);
    }
    after.updated_at = now;
    if after.url != before.url || (after.active && !before.active) {
        (after.failing_since, after.last_error) = (None, None);
    }
    sql::update(tx, &after).await?;
    // Which address it is stays among admins: it may hold a secret of the receiver's.
    let data = json!({
        "name": after.name,
        "kinds": after.kinds,
        "active": after.active,
        "url_changed": after.url != before.url,
    });
    audit::record(tx, actor, "webhook.changed", &subject(id), &data, now).await?;
    Ok(after)
}

/// Removes a webhook with everything that was and was to be sent to it.
pub async fn delete(
    tx: &mut Tx,
    id: WebhookId,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<(), WebhookError> {
    let webhook = sql::lock(tx, id.0).await?.ok_or(WebhookError::Unknown(id))?;
    for failed in sql::failed_of(tx, id.0).await? {
        queue::forget_dead(tx, &queue::WEBHOOK, failed).await?;
    }
    sql::delete(tx, id.0).await?;
    let data = json!({"name": webhook.name});
    Ok(audit::record(tx, actor, "webhook.deleted", &subject(id), &data, now).await?)
}

/// Gives a webhook a new secret, which is told here and never again. The one before signs too for a day.
pub async fn rotate(
    tx: &mut Tx,
    id: WebhookId,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<SecretString, WebhookError> {
    let secret = new_secret();
    if !sql::rotate(tx, id.0, &secret, now + OVERLAP, now).await? {
        return Err(WebhookError::Unknown(id));
    }
    audit::record(tx, actor, "webhook.secret_rotated", &subject(id), &json!({}), now).await?;
    Ok(secret.into())
}

/// Sends a test event.
pub async fn ping(tx: &mut Tx, id: WebhookId, now: DateTime<Utc>) -> Result<WebhookDeliveryId, WebhookError> {
    sql::lock(tx, id.0).await?.ok_or(WebhookError::Unknown(id))?;
    let delivery = sql::insert_ping(tx, id.0, now).await?;
    queue::enqueue(tx, &queue::WEBHOOK, delivery, now).await?;
    Ok(WebhookDeliveryId(delivery))
}

/// Enters jobs for deliveries that were inserted with their events.
pub(super) async fn enqueue(
    tx: &mut Tx,
    deliveries: Option<Vec<i64>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let jobs: Vec<_> = deliveries.iter().flatten().map(|id| (&queue::WEBHOOK, *id, now)).collect();
    queue::enqueue_all(tx, &jobs, now).await
}

/// What is to be sent, where to, and how things stand there.
#[derive(Debug)]
pub struct Outgoing {
    pub id: WebhookDeliveryId,
    pub webhook: WebhookId,
    pub url: String,
    pub state: String,
    /// From when its attempts are counted.
    pub since: DateTime<Utc>,
    /// Attempts since then.
    pub attempts: i32,
    pub active: bool,
    pub held_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// `None`: a ping.
    pub event: Option<Happened>,
    keys: Keys,
}

/// The secrets that sign: the present one and, for a day after a change, the one before.
struct Keys(Vec<String>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl Outgoing {
    /// The keys to sign with, newest first.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.keys.0.iter().map(|secret| key(secret)).collect()
    }
}

/// Reads one delivery. `None`: it was removed, or its webhook or its ticket was.
pub async fn outgoing(
    db: &PgPool,
    delivery: WebhookDeliveryId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Outgoing>> {
    sql::outgoing(db, delivery.0, now).await
}

/// How many deliveries wait for a webhook, up to `limit`.
pub async fn waiting(db: &PgPool, webhook: WebhookId, limit: i64) -> sqlx::Result<i64> {
    sql::waiting(db, webhook.0, limit).await
}

/// One try: the status of the answer, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    pub status: Option<u16>,
    pub error: Option<String>,
    pub took_ms: i32,
}

/// It arrived. Whatever was wrong with the webhook is over.
pub async fn arrived(tx: &mut Tx, out: &Outgoing, attempt: &Try, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::insert_attempt(tx, out.id.0, attempt, now).await?;
    sql::set_state(tx, out.id.0, "sent", Some(now)).await?;
    sql::recovered(tx, out.webhook.0).await
}

/// It did not arrive: what now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again; where nothing answered, not before this.
    Again { not_before: Option<DateTime<Utc>> },
    /// A day of attempts is over.
    Failed,
    /// The webhook was switched off, and is not tried any more.
    SwitchedOff,
}

/// It did not arrive. `gone`: the receiver says that it does not want to be told any more.
pub async fn missed(
    tx: &mut Tx,
    out: &Outgoing,
    attempt: &Try,
    gone: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Next> {
    sql::insert_attempt(tx, out.id.0, attempt, now).await?;
    let error = attempt.error.as_deref().unwrap_or_default();
    let answered = attempt.status.is_some();
    let Some(failing) = sql::failing(tx, out.webhook.0, error, answered, now).await? else {
        return Ok(Next::SwitchedOff);
    };
    let too_long = now - failing.since >= FAILS_AT_MOST;
    if failing.active && (gone || too_long) {
        sql::set_state(tx, out.id.0, "failed", None).await?;
        let why = if gone { "the receiver answered 410 Gone" } else { "it failed for three days" };
        sql::switch_off(tx, out.webhook.0, &format!("switched off: {why}; {error}"), now).await?;
        let data = json!({"why": why});
        audit::record(tx, Actor::TICKETD, "webhook.switched_off", &subject(out.webhook), &data, now).await?;
        return Ok(Next::SwitchedOff);
    }
    if now - out.since >= TRIED_FOR {
        sql::set_state(tx, out.id.0, "failed", None).await?;
        return Ok(Next::Failed);
    }
    let pause = |unanswered| TimeDelta::from_std(queue::WEBHOOK.pause_after(unanswered, 0.5)).ok();
    let not_before = (!answered).then(|| pause(failing.unanswered)).flatten().map(|pause| now + pause);
    if let Some(until) = not_before {
        sql::hold(tx, out.webhook.0, until).await?;
    }
    Ok(Next::Again { not_before })
}

/// It is not to be sent any more: its webhook is switched off, or its ticket was deleted.
pub async fn drop_delivery(tx: &mut Tx, delivery: WebhookDeliveryId) -> sqlx::Result<()> {
    sql::set_state(tx, delivery.0, "cancelled", None).await
}

/// It was put back to work through its job: its day begins anew.
pub async fn begin_anew(db: &PgPool, out: &Outgoing, since: DateTime<Utc>) -> sqlx::Result<()> {
    sql::begin_anew(db, out.id.0, since).await
}

/// A delivery as admins see it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct Delivery {
    pub id: WebhookDeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: Option<i64>,
    /// `ping`: an admin asked for it.
    pub kind: String,
    pub ticket: Option<TicketId>,
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    /// Oldest first.
    #[schema(value_type = Vec<Attempted>)]
    pub attempts: sqlx::types::Json<Vec<Attempted>>,
}

/// One attempt as admins see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = WebhookAttempt)]
pub struct Attempted {
    pub at: DateTime<Utc>,
    pub status: Option<i32>,
    pub took_ms: i32,
    pub error: Option<String>,
}

/// The deliveries of a webhook, newest first, those before `before`, optionally in one state.
pub async fn deliveries(
    db: &PgPool,
    webhook: WebhookId,
    state: Option<&str>,
    before: Option<WebhookDeliveryId>,
    limit: i64,
) -> sqlx::Result<Vec<Delivery>> {
    sql::deliveries(db, webhook.0, state, before.map(|d| d.0), limit).await
}

/// Puts a delivery back to work that failed or was cancelled. False: there is none.
pub async fn retry(
    tx: &mut Tx,
    delivery: WebhookDeliveryId,
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    if !sql::retry(tx, delivery.0, now).await? {
        return Ok(false);
    }
    queue::forget_dead(tx, &queue::WEBHOOK, delivery.0).await?;
    queue::enqueue(tx, &queue::WEBHOOK, delivery.0, now).await?;
    let subject = format!("webhook_delivery:{delivery}");
    audit::record(tx, actor, "webhook_delivery.retried", &subject, &json!({}), now).await?;
    Ok(true)
}

/// Cancels a delivery that has not arrived. False: it has, or there is none.
pub async fn cancel(
    tx: &mut Tx,
    delivery: WebhookDeliveryId,
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    if !sql::cancel(tx, delivery.0).await? {
        return Ok(false);
    }
    queue::forget_dead(tx, &queue::WEBHOOK, delivery.0).await?;
    let subject = format!("webhook_delivery:{delivery}");
    audit::record(tx, actor, "webhook_delivery.cancelled", &subject, &json!({}), now).await?;
    Ok(true)
}

/// Removes deliveries that were kept long enough (`None`: none), some thousands at once. Says how many.
pub async fn sweep(tx: &mut Tx, kept: Option<TimeDelta>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let Some(kept) = kept else { return Ok(0) };
    let swept = sql::sweep(tx, now - kept, SWEPT_AT_ONCE).await?;
    for failed in swept.iter().filter(|old| old.state == "failed") {
        queue::forget_dead(tx, &queue::WEBHOOK, failed.id).await?;
    }
    Ok(swept.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_enters_an_event_enters_its_deliveries() {
        let statements = include_str!("sql.rs").split("sqlx::query").skip(1);
        let entering: Vec<_> = statements.filter(|s| s.contains("INSERT INTO ticket_events")).collect();
        assert!(entering.len() >= 3, "the statements are not where this test looks for them");
        for statement in entering {
            assert!(statement.contains("INSERT INTO webhook_deliveries"), "{statement}");
        }
    }

    #[test]
    fn a_secret_is_32_bytes_and_another_one_each_time() {
        let secret = new_secret();
        assert!(secret.starts_with("whsec_"), "{secret}");
        assert_eq!(key(&secret).len(), 32);
        assert_ne!(secret, new_secret());
    }

    #[test]
    fn what_cannot_be_a_webhook_is_refused_with_what_can() {
        let long = format!("https://example.org/{}", "x".repeat(2000));
        let table = [
            ("n", "https://example.org/x", "opened", true),
            ("", "https://example.org", "opened", false),
            (" ", "https://example.org", "opened", false),
            ("a\0b", "https://example.org", "opened", false),
            ("n", "ftp://example.org", "opened", false),
            ("n", "https://example.org/\n", "opened", false),
            ("n", long.as_str(), "opened", false),
            ("n", "https://example.org", "open", false),
        ];
        for (name, url, kind, fits) in table {
            assert_eq!(check(name, url, &[kind.to_owned()]).is_ok(), fits, "{name:?} {url:?} {kind}");
        }
        let error = check("n", "https://example.org", &["opend\0".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("`opend` is no kind of event: choose from opened, message,"), "{error}");
    }
}
