//! What was kept long enough goes, by `[retention]`: a few hundred rows at a time, each few in a transaction of their own.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::Stages;
use crate::audit::{self, Actor};
use crate::config::{After, Config, Retention};
use crate::ids::TicketId;
use crate::queue::{self, Claimed, Done, JobError, Tx};
use crate::tickets::expiry::{self, Before};
use crate::{crash, ingest};

/// Rows of one transaction: it holds their locks for a moment only.
const RAW_AT_ONCE: i64 = 500;
const TICKETS_AT_ONCE: i64 = 100;
/// After that the rest is left to another job: others want to work, too.
const FOR: Duration = Duration::from_secs(30);

/// What a run removed.
#[derive(Default)]
struct Removed {
    raw: usize,
    tickets: usize,
    unfinished: bool,
}

impl Stages {
    /// Removes what was kept long enough. A run that dies goes on where it was: what is gone is gone.
    pub(super) async fn expire(&self, job: &Claimed) -> Result<Done, JobError> {
        let now = self.clock.now();
        let config = self.settings.current().await;
        let begun = Instant::now();
        let mut removed = Removed::default();
        self.expire_tickets(&config.retention, now, begun, &mut removed).await?;
        self.expire_raw(&config, now, begun, &mut removed).await?;
        let mut tx = self.db.begin().await?;
        if removed.unfinished {
            queue::enqueue(&mut tx, &queue::EXPIRE, 0, now).await?;
        }
        if removed.raw + removed.tickets > 0 {
            let (raw, tickets) = (removed.raw, removed.tickets);
            tracing::info!(
                raw,
                tickets,
                "{tickets} tickets and the bytes of {raw} messages were kept long enough, and are removed"
            );
        }
        job.done(tx).await
    }

    async fn expire_tickets(
        &self,
        retention: &Retention,
        now: DateTime<Utc>,
        begun: Instant,
        removed: &mut Removed,
    ) -> sqlx::Result<()> {
        let cutoff = |days| Retention::time(days).map(|time| now - time);
        let before = Before {
            closed: cutoff(retention.closed_ticket_days),
            deleted: cutoff(retention.deleted_ticket_days),
        };
        while before != Before::default() {
            if begun.elapsed() >= FOR {
                removed.unfinished = true;
                break;
            }
            let mut tx = self.db.begin().await?;
            let gone = expiry::remove(&mut tx, before, TICKETS_AT_ONCE).await?;
            if gone.is_empty() {
                break;
            }
            removed.raw += ingest::expiry::remove_raw_of(&mut tx, &gone, now).await?;
            tell(&mut tx, &gone, now).await?;
            tx.commit().await?;
            crash::point("expire.tickets");
            removed.tickets += gone.len();
        }
        Ok(())
    }

    async fn expire_raw(
        &self,
        config: &Config,
        now: DateTime<Utc>,
        begun: Instant,
        removed: &mut Removed,
    ) -> sqlx::Result<()> {
        let Some(time) = Retention::time(config.retention.raw_mail_days) else { return Ok(()) };
        let deleting = config.mailbox.iter().filter(|mailbox| mailbox.after == After::Delete);
        let deleting: Vec<String> = deleting.map(|mailbox| mailbox.name.clone()).collect();
        loop {
            if begun.elapsed() >= FOR {
                removed.unfinished = true;
                break;
            }
            let mut tx = self.db.begin().await?;
            let gone = ingest::expiry::remove_raw(&mut tx, now - time, &deleting, RAW_AT_ONCE, now).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
            crash::point("expire.raw");
            removed.raw += gone;
        }
        Ok(())
    }
}

/// That they were there, and that nobody took them away but the rule.
async fn tell(tx: &mut Tx, gone: &[TicketId], now: DateTime<Utc>) -> sqlx::Result<()> {
    let data = json!({"tickets": gone});
    audit::record(tx, Actor::TICKETD, "ticket.expired", "ticket:many", &data, now).await
}
