//! The envelope of a mail: whom a bounce goes to, and when the recipient's domain takes more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;

use super::{Deliver, domain, purpose};
use crate::config::Mailbox;
use crate::mail::address;
use crate::mail::token::Token;
use crate::queue::JobError;
use crate::tickets::outbox::{self, Attempt, Delivery};
use crate::tickets::pacing;

/// Mailboxes whose server lets nothing leave but under their plain address.
#[derive(Clone, Debug, Default)]
pub struct PlainSenders(Arc<Mutex<BTreeSet<String>>>);

impl PlainSenders {
    fn has(&self, mailbox: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(mailbox)
    }

    /// True: it is new.
    fn learn(&self, mailbox: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(mailbox.to_owned())
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
    pub(super) async fn wait_for_domain(&self, delivery: &Delivery) -> Result<(), JobError> {
        let Some(domain) = domain(&delivery.address) else { return Ok(()) };
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let wait = pacing::book(&mut tx, domain, self.config.mail.domain_per_minute, now).await?;
        tx.commit().await?;
        let Some((at, why)) = wait else { return Ok(()) };
        let pause = (at - now).to_std().unwrap_or_default();
        // Spread, or all of them would ask again at once.
        let pause = pause + Duration::from_millis(rand::random_range(0..=1000));
        Err(JobError::RetryAfter(pause, anyhow!("the recipient's domain is left alone for now: {why}")))
    }

    /// Tries once; twice, where the server does not let the bounce address be named.
    pub(super) async fn send(&self, delivery: &Delivery, mailbox: &Mailbox) -> Result<Attempt, JobError> {
        let fixed = delivery.envelope_from.as_deref().unwrap_or("");
        let is_verp = !fixed.is_empty() && fixed != mailbox.address;
        if is_verp && self.plain_senders.has(&mailbox.name) {
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
        if matches!(plain, Attempt::Sent { .. }) && self.plain_senders.learn(&mailbox.name) {
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
        let content = delivery.content.as_deref().unwrap_or_default();
        self.mailer.send(&mailbox.name, from, &delivery.address, &name, content).await
    }
}

/// Whether a refusal is about who sends: RFC 3463 §3.2 X.1.7 and X.1.8, Microsoft's 5.7.60, or the words that servers use.
fn is_about_sender(answer: &str) -> bool {
    let answer = answer.to_lowercase();
    ["5.1.7", "5.1.8", "5.7.60", "sender", "mail from", "from address", "send as"]
        .iter()
        .any(|words| answer.contains(words))
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
        ] {
            assert_eq!(is_about_sender(answer), want, "{answer}");
        }
    }
}
