//! Many dead letters at once: put back to work or given up in one transaction, with one entry in the audit log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::CancelError;
use crate::audit::{self, Actor};
use crate::ids::{DeliveryId, JobId};
use crate::queue::{self, Tx};

/// As many as one transaction takes.
pub const MOST: usize = 1000;

/// What became of those that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Handled<T> {
    pub done: Vec<T>,
    /// Those that were not in a state for it (any more).
    pub skipped: Vec<T>,
}

impl<T: Copy + Ord> Handled<T> {
    /// Nothing yet.
    pub fn none() -> Self {
        Self { done: Vec::new(), skipped: Vec::new() }
    }

    /// The next transaction's.
    pub fn add(&mut self, more: Self) {
        self.done.extend(more.done);
        self.skipped.extend(more.skipped);
    }

    fn enter(&mut self, id: T, is_done: bool) {
        if is_done { &mut self.done } else { &mut self.skipped }.push(id);
    }
}

/// Always in the same order, so that two who ask for the same wait for each other, and neither fails.
fn in_order<T: Copy + Ord>(ids: &[T]) -> Vec<T> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Puts dead letters back to work, with all their attempts.
pub async fn retry_jobs(
    tx: &mut Tx,
    ids: &[JobId],
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<Handled<JobId>> {
    let (mut handled, mut kinds) = (Handled::none(), BTreeMap::new());
    for id in in_order(ids) {
        let revived = queue::revive(tx, id, now).await?;
        if let Some(revived) = &revived {
            *kinds.entry(revived.kind.clone()).or_insert(0) += 1;
        }
        handled.enter(id, revived.is_some());
    }
    enter(tx, actor, "job.retried", "job", &handled.done, json!({"kinds": kinds}), now).await?;
    Ok(handled)
}

/// Takes jobs away for good, and with them the mails that they would have sent. One that something waits for refuses them
/// all: the caller rolls back.
pub async fn cancel_jobs(
    tx: &mut Tx,
    ids: &[JobId],
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Handled<JobId>, CancelError> {
    let (mut handled, mut kinds) = (Handled::none(), BTreeMap::new());
    for id in in_order(ids) {
        match super::cancel_job(tx, id, now).await {
            Ok(job) => {
                *kinds.entry(job.kind).or_insert(0) += 1;
                handled.enter(id, true);
            }
            Err(CancelError::Unknown(_)) => handled.enter(id, false),
            Err(error) => return Err(error),
        }
    }
    enter(tx, actor, "job.cancelled", "job", &handled.done, json!({"kinds": kinds}), now).await?;
    Ok(handled)
}

/// Puts mails back to work that were given up, suppressed or cancelled, or that came back.
pub async fn retry_deliveries(
    tx: &mut Tx,
    ids: &[DeliveryId],
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<Handled<DeliveryId>> {
    let mut handled = Handled::none();
    super::lock_tickets_of(tx, ids).await?;
    for id in in_order(ids) {
        handled.enter(id, super::retry(tx, id, now).await?);
    }
    enter(tx, actor, "delivery.retried", "delivery", &handled.done, json!({}), now).await?;
    Ok(handled)
}

/// Cancels mails that have not left.
pub async fn cancel_deliveries(
    tx: &mut Tx,
    ids: &[DeliveryId],
    actor: Actor,
    now: DateTime<Utc>,
) -> sqlx::Result<Handled<DeliveryId>> {
    let mut handled = Handled::none();
    super::lock_tickets_of(tx, ids).await?;
    for id in in_order(ids) {
        handled.enter(id, super::cancel(tx, id, now).await?);
    }
    enter(tx, actor, "delivery.cancelled", "delivery", &handled.done, json!({}), now).await?;
    Ok(handled)
}

/// One entry, whatever their number. Where nothing was done, none.
async fn enter<T: std::fmt::Display + serde::Serialize>(
    tx: &mut Tx,
    actor: Actor,
    action: &str,
    noun: &str,
    done: &[T],
    mut data: Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let subject = match done {
        [] => return Ok(()),
        [one] => format!("{noun}:{one}"),
        _ => format!("{noun}:many"),
    };
    if let Some(data) = data.as_object_mut() {
        data.insert("ids".to_owned(), json!(done));
    }
    audit::record(tx, actor, action, &subject, &data, now).await
}
