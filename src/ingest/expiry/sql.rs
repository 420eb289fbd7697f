//! The statements that remove raw messages.

use chrono::{DateTime, Utc};

use crate::queue::Tx;

pub(super) struct Raw {
    pub(super) id: i64,
    pub(super) raw_sha256: Option<Vec<u8>>,
}

pub(super) async fn lock_handled(
    tx: &mut Tx,
    before: DateTime<Utc>,
    deleting: &[String],
    limit: i64,
) -> sqlx::Result<Vec<Raw>> {
    sqlx::query_as!(
        Raw,
        "SELECT id, raw_sha256 FROM inbound
         WHERE raw_removed_at IS NULL AND (raw_sha256 IS NOT NULL OR source = 'discord') AND handled_at < $1
           AND fate IN ('ticketed', 'appended', 'suppressed', 'duplicate')
           AND (acted OR uid IS NULL OR mailbox <> ALL ($2))
         ORDER BY handled_at LIMIT $3 FOR UPDATE SKIP LOCKED",
        before,
        deleting,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

/// With the copies that came by another way.
pub(super) async fn lock_of_tickets(tx: &mut Tx, tickets: &[i64]) -> sqlx::Result<Vec<Raw>> {
    sqlx::query_as!(
        Raw,
        "SELECT id, raw_sha256 FROM inbound
         WHERE raw_removed_at IS NULL AND (raw_sha256 IS NOT NULL OR source = 'discord')
           AND fate IN ('ticketed', 'appended', 'suppressed', 'duplicate') AND ticket_id = ANY ($1)
         ORDER BY id FOR UPDATE",
        tickets
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn let_go(tx: &mut Tx, rows: &[i64], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH said AS (UPDATE discord_payloads SET payload = '{}', token = NULL WHERE inbound_id = ANY ($1))
         UPDATE inbound SET raw_sha256 = NULL, raw_removed_at = $2 WHERE id = ANY ($1)",
        rows,
        now
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Contents that no row names any more. One that arrives again at this moment waits for us, and is stored anew.
pub(super) async fn remove_unwanted(tx: &mut Tx, hashes: &[Vec<u8>]) -> sqlx::Result<()> {
    // In two steps: what another transaction names by now is seen by the second only.
    sqlx::query!("SELECT FROM raw_mails WHERE sha256 = ANY ($1) ORDER BY sha256 FOR UPDATE", hashes)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "DELETE FROM raw_mails r WHERE sha256 = ANY ($1)
           AND NOT EXISTS (SELECT FROM inbound i WHERE i.raw_sha256 = r.sha256)",
        hashes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
