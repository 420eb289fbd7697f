//! The envelope of a mail: whom a bounce goes to, and when the recipient's domain takes more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Deliver, domain, purpose};
use crate::config::Mailbox;
use crate::mail::address;
use crate::mail::token::Token;
use crate::queue::{Claimed, JobError};
use crate::tickets::outbox::{self, Attempt, Delivery};
use crate::tickets::pacing;

/// Mailboxes whose server lets nothing leave but under their plain address, and since when that is known.
#[derive(Clone, Debug, Default)]
pub struct PlainSenders(Arc<Mutex<BTreeMap<String, DateTime<Utc>>>>);

/// A server may have been put right, or was misunderstood.
const BELIEVED: TimeDelta = TimeDelta::hours(24);

impl PlainSenders {
    fn has(&self, mailbox: &str, now: DateTime<Utc>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(mailbox).is_some_and(|since| now - *since < BELIEVED)
    }

    /// True: it is new.
    fn learn(&self, mailbox: &str, now: DateTime<Utc>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(mailbox.to_owned(), now).is_none()
    }
}

impl Deliver {
    /// Where a bounce goes. A variable envelope return path (VERP) names the delivery in a signed address, so that a report
    /// which quotes nothing of the mail is still understood.
    pub(super) fn return_path(&self, delivery: &Delivery, mailbox: &Mailbox) -> String {
        let token = Token { ticket: delivery.ticket, delivery: Some(delivery.id), person: None };
        let verp = self.signer.address(&token, &mailbox.address);
        let may = mailbox.plus_addressing && mailbox.verp && address::is_valid(&verp);
        if may { verp } else { mailbox.address.clone() }
    }

    /// Not now, where the domain asked for less, or gets as much as is allowed.
    pub(super) async fn wait_for_domain(&self, job: &Claimed, delivery: &Delivery) -> Result<(), JobError> {
        let Some(domain) = domain(&delivery.address) else { return Ok(()) };
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let wait = pacing::book(&mut tx, domain, self.config.mail.domain_per_minute, now).await?;
        tx.commit().await?;
        let Some((at, why)) = wait else { return Ok(()) };
        let pause = (at - now).to_std().unwrap_or_default();
        // Spread, and the longer the more often it was asked, or thousands that wait would ask again at once.
        let spread = (1000 * u64::from(job.attempt.unsigned_abs())).min(120_000);
        let pause = pause + Duration::from_millis(rand::random_range(0..=spread));
        Err(JobError::RetryAfter(pause, anyhow!("the recipient's domain is left alone for now: {why}")))
    }

    /// Tries once; twice, where the server does not let the bounce address be named.
    pub(super) async fn send(&self, delivery: &Delivery, mailbox: &Mailbox) -> Result<Attempt, JobError> {
        let fixed = delivery.envelope_from.as_deref().unwrap_or("");
        let is_verp = !fixed.is_empty() && fixed != mailbox.address;
        if is_verp && self.plain_senders.has(&mailbox.name, self.clock.now()) {
            return Ok(self.send_from(&mailbox.address, delivery, mailbox).await);
        }
        let attempt = self.send_from(fixed, delivery, mailbox).await;
        let Attempt::Permanent { answer } = &attempt else { return Ok(attempt) };
        if !is_verp || !is_about_sender(answer) {
            return Ok(attempt);
        }
        let mut tx = self.db.begin().await?;
        outbox::record_attempt(&mut tx, delivery.id, &attempt, 0, self.clock.now()).await?;
        tx.commit().await?;
        let plain = self.send_from(&mailbox.address, delivery, mailbox).await;
        if matches!(plain, Attempt::Sent { .. }) && self.plain_senders.learn(&mailbox.name, self.clock.now())
        {
            tracing::warn!(
                mailbox = mailbox.name,
                "the mail server of {} refuses signed return paths: bounces are read without them; set verp = false",
                mailbox.name
            );
        }
        Ok(plain)
    }

    async fn send_from(&self, from: &str, delivery: &Delivery, mailbox: &Mailbox) -> Attempt {
        let name = format!("{}-{}-{}", delivery.ticket, purpose(delivery.purpose), delivery.id);
        let Some(content) = delivery.content.as_deref() else {
            return Attempt::Network { error: "its content was not read".to_owned() };
        };
        self.mailer.send(&mailbox.name, from, &delivery.address, &name, content).await
    }
}

/// Whether a refusal is about who sends: RFC 3463 §3.2 X.1.7 and X.1.8, Microsoft's 5.7.60, or the words of Postfix and Exim.
fn is_about_sender(answer: &str) -> bool {
    let answer = answer.to_lowercase();
    let says = |words: &&str| answer.contains(*words);
    [
        "5.1.7",
        "5.1.8",
        "5.7.60",
        "sender address rejected",
        "sender rejected",
        "not owned by",
        "send as this sender",
        "sender verify failed",
    ]
    .iter()
    .any(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_sender_are_told_from_those_of_the_recipient() {
        for (answer, want) in [
            ("553 5.7.1 <support+t1@example.org>: Sender address rejected: not owned by user support", true),
            ("554 5.7.60 SMTP; Client does not have permissions to send as this sender", true),
            ("501 5.1.7 Bad sender's mailbox address syntax", true),
            ("550 5.1.1 <ada@example.net>: user unknown", false),
            ("554 5.7.1 spam", false),
            ("550 5.7.1 poor reputation of the sender's network", false),
        ] {
            assert_eq!(is_about_sender(answer), want, "{answer}");
        }
    }
}
