//! The end of a ticket: what was closed, or deleted by an admin, long enough ago goes for good, with all that belongs to it.
//!
//! Its number is not given out again. A late mail to it opens a new ticket; one that is delivered a second time is known still,
//! because the ledger keeps its row.

use chrono::{DateTime, Utc};

use crate::ids::TicketId;
use crate::queue::{self, Tx};

mod sql;

/// Before when a ticket must have been closed, or deleted, to go now. `None`: such tickets stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub closed: Option<DateTime<Utc>>,
    pub deleted: Option<DateTime<Utc>>,
}

/// Removes at most `limit` tickets, the oldest first, and those that were merged into them. One that is being worked on, or for
/// which something waits to be sent, is left for the next time. The contents of files are swept later, by [`crate::files`].
pub async fn remove(tx: &mut Tx, before: Before, limit: i64) -> sqlx::Result<Vec<TicketId>> {
    let tickets = sql::lock_due(tx, before.closed, before.deleted, limit).await?;
    if tickets.is_empty() {
        return Ok(Vec::new());
    }
    let tickets = sql::lock_with_merged(tx, &tickets).await?;
    let deliveries = sql::deliveries(tx, &tickets).await?;
    for (kind, subjects) in
        [(&queue::DELIVER, &deliveries), (&queue::TRIAGE, &tickets), (&queue::ASSIGN, &tickets)]
    {
        queue::forget_all(tx, kind, subjects).await?;
    }
    sql::let_go(tx, &tickets).await?;
    sql::remove(tx, &tickets).await?;
    Ok(tickets.into_iter().map(TicketId).collect())
}
