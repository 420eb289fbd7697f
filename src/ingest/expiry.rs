//! The end of raw messages: the bytes go, the rows of the ledger stay, so that what comes again is known again.

use chrono::{DateTime, Utc};

use crate::ids::TicketId;
use crate::queue::Tx;

mod sql;

/// Removes the bytes of at most `limit` messages that were handled before a time. Not of what is in quarantine or has no fate
/// yet, and not of what is still to be deleted in one of these mailboxes: how much of it was read decides about that.
pub async fn remove_raw(
    tx: &mut Tx,
    before: DateTime<Utc>,
    deleting: &[String],
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let rows = sql::lock_handled(tx, before, deleting, limit).await?;
    forget(tx, &rows, now).await
}

/// As [`remove_raw`], of all that came to tickets that are removed.
pub async fn remove_raw_of(tx: &mut Tx, tickets: &[TicketId], now: DateTime<Utc>) -> sqlx::Result<usize> {
    let tickets: Vec<i64> = tickets.iter().map(|ticket| ticket.0).collect();
    let rows = sql::lock_of_tickets(tx, &tickets).await?;
    forget(tx, &rows, now).await
}

async fn forget(tx: &mut Tx, rows: &[sql::Raw], now: DateTime<Utc>) -> sqlx::Result<usize> {
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut hashes: Vec<Vec<u8>> = rows.iter().filter_map(|row| row.raw_sha256.clone()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    sql::let_go(tx, &ids, now).await?;
    sql::remove_unwanted(tx, &hashes).await?;
    Ok(ids.len())
}
