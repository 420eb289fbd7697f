//! The section `[retention]`: how many days what is over is kept.

use chrono::TimeDelta;
use serde::Deserialize;

use super::rules::{LONGEST_DAYS, within};

/// Of each, 0: for ever.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// The bytes of mails as they came, after they were handled; and what came by Discord.
    pub raw_mail_days: i64,
    /// Tickets with all that belongs to them, after they were closed.
    pub closed_ticket_days: i64,
    /// Tickets that an admin deleted: until then they can be restored.
    pub deleted_ticket_days: i64,
    /// Log-ins that are over.
    pub session_days: i64,
    /// What webhooks were told, and how they answered.
    pub webhook_days: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            raw_mail_days: 0,
            closed_ticket_days: 0,
            deleted_ticket_days: 0,
            session_days: 30,
            webhook_days: 30,
        }
    }
}

impl Retention {
    /// `None`: for ever.
    pub fn time(days: i64) -> Option<TimeDelta> {
        (days > 0).then(|| TimeDelta::days(days))
    }

    /// `reopen_days`: so long an answer reopens a closed ticket, which must still be there.
    pub(super) fn check(&self, reopen_days: i64) -> anyhow::Result<()> {
        for (key, days) in [
            ("raw_mail_days", self.raw_mail_days),
            ("closed_ticket_days", self.closed_ticket_days),
            ("deleted_ticket_days", self.deleted_ticket_days),
            ("session_days", self.session_days),
            ("webhook_days", self.webhook_days),
        ] {
            within("retention", key, days, 0..=LONGEST_DAYS)?;
        }
        let closed = self.closed_ticket_days;
        anyhow::ensure!(
            closed == 0 || closed >= reopen_days,
            "retention: closed_ticket_days is {closed}, but an answer reopens a closed ticket for assignment.reopen_days \
             = {reopen_days}: give at least as many, or 0 to keep tickets for ever"
        );
        Ok(())
    }
}
