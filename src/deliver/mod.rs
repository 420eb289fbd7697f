//! Messages and notices to their channel.
//!
//! A delivery's content and Message-ID are fixed and stored before the first attempt, so a second attempt, after a
//! crash or a lost answer, sends the same mail under the same Message-ID.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::{Config, Mailbox};
use crate::crash;
use crate::discord::api::Api;
use crate::files::Files;
use crate::ids::{DeliveryId, PersonId, TicketId};
use crate::mail::compose::{self, Automatic, Outgoing};
use crate::mail::token::{Signer, Token, id_hash};
use crate::people::{self, Role};
use crate::queue::room::Room;
use crate::queue::{Claimed, Done, JobError};
use crate::settings::Settings;
use crate::tickets::outbox::{self, Attempt, Carried, Delivery, Fixed, Purpose};
use crate::tickets::read::{self, Sight};
use crate::tickets::uploads::LARGEST;
use crate::tickets::{loops, pacing};

pub mod alarm;
mod envelope;
pub mod letter;
pub mod mailer;
mod mirror;
pub mod webhook;
pub mod words;

pub use envelope::PlainSenders;
use mailer::Mailer;

/// Sends deliveries.
#[derive(Clone, Debug)]
pub struct Deliver {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub settings: Settings,
    pub signer: Signer,
    pub mailer: Arc<Mailer>,
    pub files: Files,
    /// `None`: Discord is not configured.
    pub discord: Option<Arc<Api>>,
    /// What was learned of mail servers.
    pub plain_senders: PlainSenders,
    /// For mails with large files.
    pub room: Room,
}

impl Deliver {
    /// Sends one delivery, or says why not.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let result = self.try_once(job).await;
        let now = self.clock.now();
        if let (Err(JobError::Retry(error) | JobError::RetryAfter(_, error)), true) =
            (&result, job.is_last(now))
        {
            // Whatever kept it from leaving: that it will not is shown on the ticket.
            let delivery = outbox::delivery(&self.db, DeliveryId(job.subject)).await?;
            if let Some(delivery) = delivery.filter(|delivery| delivery.state == "waiting") {
                let mut tx = self.db.begin().await?;
                outbox::mark_unsent(&mut tx, &delivery, "failed", &format!("{error:#}"), now).await?;
                tx.commit().await?;
            }
        }
        result
    }

    async fn try_once(&self, job: &Claimed) -> Result<Done, JobError> {
        let id = DeliveryId(job.subject);
        let _room = self.room.take_soon(outbox::bytes(&self.db, id).await?).await?;
        let Some(mut delivery) = outbox::delivery(&self.db, id).await? else {
            return Err(JobError::Fail(anyhow!("there is no delivery {id}")));
        };
        // A job for a suppressed one was entered by a person, who says that it be sent.
        let is_wanted = delivery.state == "suppressed";
        if !is_wanted && !matches!(delivery.state.as_str(), "waiting" | "failed") {
            return job.done(self.db.begin().await?).await;
        }
        let mailbox = self.mailbox(&delivery)?.clone();
        if delivery.content.is_none() {
            if let (false, Some(reason)) = (is_wanted, self.must_not_leave(&delivery).await?) {
                return self.suppress(job, &delivery, reason).await;
            }
            let fixed = match self.compose(&delivery, &mailbox).await? {
                Ok(fixed) => fixed,
                Err(error) => return self.fail(&delivery, &format!("{error:#}")).await,
            };
            crash::point("deliver.composed");
            if outbox::fix(&self.db, &delivery, &fixed).await? {
                delivery.content = Some(fixed.content);
                delivery.envelope_from = Some(fixed.envelope_from);
            } else {
                // This job ran out of its time, and another worker has it: the mail that was written first is the mail.
                match outbox::delivery(&self.db, id).await? {
                    Some(again) if again.state == delivery.state => delivery = again,
                    _ => return job.done(self.db.begin().await?).await,
                }
            }
            crash::point("deliver.fixed");
        }
        self.wait_for_domain(job, &delivery).await?;
        let begun = Instant::now();
        let attempt = self.send(&delivery, &mailbox).await?;
        crash::point("deliver.sent");
        let took_ms = i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX);
        self.conclude(job, &delivery, attempt, took_ms).await
    }

    async fn conclude(
        &self,
        job: &Claimed,
        delivery: &Delivery,
        attempt: Attempt,
        took_ms: i32,
    ) -> Result<Done, JobError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        outbox::record_attempt(&mut tx, delivery.id, &attempt, took_ms, now).await?;
        let (outcome, error) = match &attempt {
            Attempt::Sent { .. } => {
                outbox::mark_sent(&mut tx, delivery, now).await?;
                let done = match job.done(tx).await {
                    Err(JobError::Late) => return self.sent_late(delivery, &attempt, took_ms).await,
                    done => done?,
                };
                crash::point("deliver.committed");
                metrics::counter!("ticketd_deliveries_total", "outcome" => "sent").increment(1);
                tracing::info!(
                    ticket.id = delivery.ticket.0,
                    delivery.id = delivery.id.0,
                    purpose = purpose(delivery.purpose),
                    took_ms,
                    "{} for ticket #{} sent",
                    purpose(delivery.purpose),
                    delivery.ticket
                );
                return Ok(done);
            }
            Attempt::Permanent { answer } => {
                outbox::mark_unsent(&mut tx, delivery, "failed", answer, now).await?;
                ("permanent", JobError::Fail(anyhow!("the server refused it: {answer}")))
            }
            Attempt::Temporary { answer } => ("temporary", JobError::Retry(anyhow!("not now: {answer}"))),
            Attempt::Network { error } => ("network", JobError::Retry(anyhow!("{error}"))),
        };
        if let (Attempt::Temporary { answer }, Some(domain)) = (&attempt, domain(&delivery.address))
            && pacing::is_about_pace(answer)
        {
            pacing::hold(&mut tx, domain, answer, now).await?;
        }
        if outcome != "permanent" && job.is_last(now) {
            outbox::mark_unsent(&mut tx, delivery, "failed", &error.to_string(), now).await?;
        }
        tx.commit().await?;
        crash::point("deliver.refused");
        metrics::counter!("ticketd_deliveries_total", "outcome" => outcome).increment(1);
        Err(error)
    }

    /// It left, but meanwhile its job was cancelled, or given to another worker: what happened is written down all the
    /// same, because people must not read that nothing was sent.
    async fn sent_late(
        &self,
        delivery: &Delivery,
        attempt: &Attempt,
        took_ms: i32,
    ) -> Result<Done, JobError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        outbox::record_attempt(&mut tx, delivery.id, attempt, took_ms, now).await?;
        outbox::mark_sent(&mut tx, delivery, now).await?;
        tx.commit().await?;
        Err(JobError::Late)
    }

    async fn suppress(&self, job: &Claimed, delivery: &Delivery, reason: &str) -> Result<Done, JobError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        outbox::mark_unsent(&mut tx, delivery, "suppressed", reason, now).await?;
        if let (Purpose::Reply, Some(message)) = (delivery.purpose, &delivery.message) {
            outbox::notify_undelivered(&mut tx, delivery.ticket, message.id, now).await?;
        }
        let done = job.done(tx).await?;
        metrics::counter!("ticketd_deliveries_total", "outcome" => "suppressed").increment(1);
        tracing::warn!(
            ticket.id = delivery.ticket.0,
            delivery.id = delivery.id.0,
            reason,
            "a mail was not sent"
        );
        Ok(done)
    }

    async fn fail(&self, delivery: &Delivery, reason: &str) -> Result<Done, JobError> {
        let mut tx = self.db.begin().await?;
        outbox::mark_unsent(&mut tx, delivery, "failed", reason, self.clock.now()).await?;
        tx.commit().await?;
        // To the dead letters, where people look for what was not sent.
        Err(JobError::Fail(anyhow!("it cannot be written: {reason}")))
    }

    /// What came back once would come back again. And the loop breaker: automatic mail is bounded by the hour.
    async fn must_not_leave(&self, delivery: &Delivery) -> Result<Option<&'static str>, JobError> {
        if outbox::has_bounced(&self.db, &delivery.address).await? {
            return Ok(Some(words::BOUNCED));
        }
        if delivery.purpose == Purpose::Survey && delivery.is_active {
            return Ok(Some(words::OPEN_AGAIN));
        }
        if delivery.purpose == Purpose::Notice && !self.may_read(delivery).await? {
            return Ok(Some(words::OUT_OF_SIGHT));
        }
        let notice_to = match delivery.purpose {
            Purpose::Reply => return Ok(None),
            Purpose::Notice => Some(delivery.recipient),
            Purpose::Acknowledgement | Purpose::Survey => None,
        };
        let automatic = loops::Automatic { ticket: delivery.ticket, address: &delivery.address, notice_to };
        let rules = &self.config.mail;
        let rates = loops::Rates {
            per_ticket: rules.loop_per_ticket_hour,
            per_address: rules.loop_per_address_hour,
            per_domain: rules.loop_per_domain_hour,
        };
        let mut tx = self.db.begin().await?;
        let held_back = loops::take(&mut tx, automatic, rates, self.clock.now()).await?;
        tx.commit().await?;
        Ok(held_back.map(words::loop_breaker))
    }

    /// Whether the member of staff whom a notice is for may read the ticket now.
    async fn may_read(&self, delivery: &Delivery) -> Result<bool, JobError> {
        let person = people::person(&self.db, delivery.recipient).await?;
        let Some(person) = person.filter(|person| person.active && person.role.is_staff()) else {
            return Ok(false);
        };
        if person.role == Role::Admin || self.settings.current().await.assignment.moderators_see_all {
            return Ok(true);
        }
        Ok(read::ticket(&self.db, Sight::Moderator(person.id), delivery.ticket).await?.is_some())
    }

    /// Where the requester says how content they were.
    fn rating_link(&self, ticket: TicketId, requester: PersonId) -> String {
        let base = self.config.http.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
        format!("{base}/rate/{}", self.signer.rating(ticket, requester))
    }

    fn mailbox(&self, delivery: &Delivery) -> Result<&Mailbox, JobError> {
        let named = delivery.mailbox.as_deref().and_then(|name| self.config.mailbox(name));
        named
            .or_else(|| self.config.default_mailbox())
            .context("no mailbox is configured to send from")
            .map_err(JobError::Retry)
    }

    /// The mail, fixed. The inner error: it can never be written.
    async fn compose(
        &self,
        delivery: &Delivery,
        mailbox: &Mailbox,
    ) -> Result<anyhow::Result<Fixed>, JobError> {
        let facts = match delivery.purpose {
            Purpose::Notice => Some(outbox::facts(&self.db, delivery.ticket).await?),
            Purpose::Acknowledgement | Purpose::Reply | Purpose::Survey => None,
        };
        let mut outgoing = self.outgoing(delivery, mailbox, facts.as_ref());
        let files = delivery.message.iter().flat_map(|message| &message.attachments);
        // What came in one mail may leave in one.
        let most = LARGEST.max(self.config.mail.max_message_bytes);
        if files.map(|file| file.size).sum::<i64>() > i64::try_from(most).unwrap_or(i64::MAX) {
            return Ok(Err(anyhow!("its files have more than {most} bytes together")));
        }
        for file in delivery.message.iter().flat_map(|message| &message.attachments) {
            // A mail waits for what belongs to it, unless no waiting brings it back: that people hear at once.
            let content = match self.files.read(file.sha256).await {
                Err(error) if !error.may_pass() => {
                    return Ok(Err(anyhow::Error::from(error).context("a file of it cannot be read")));
                }
                read => read?,
            };
            let name = file.filename.clone().unwrap_or_else(|| "attachment".to_owned());
            outgoing.attachments.push((name, file.content_type.clone(), content.into()));
        }
        let envelope_from = match delivery.purpose {
            // RFC 3834 §3.3: an automatic answer has the null reverse-path, so that nothing answers it.
            Purpose::Acknowledgement | Purpose::Survey => String::new(),
            Purpose::Notice | Purpose::Reply => self.return_path(delivery, mailbox),
        };
        Ok(compose::compose(&outgoing).map(|content| Fixed {
            id_hash: id_hash(&outgoing.message_id),
            rfc_id: outgoing.message_id.clone(),
            envelope_from,
            content,
        }))
    }

    fn outgoing(&self, delivery: &Delivery, mailbox: &Mailbox, facts: Option<&outbox::Facts>) -> Outgoing {
        let ticket = delivery.ticket;
        let for_staff = delivery.purpose == Purpose::Notice;
        let author = delivery.message.as_ref().and_then(|m| m.author_name.as_deref());
        let written = delivery.message.as_ref().map_or("", |m| m.text.as_str());
        // Never a note: what claims to be staff's and is not shown to be is for staff only.
        let cited = delivery.answers.as_ref().filter(|a| self.config.mail.quote_history && !a.unverified);
        let text = match (delivery.purpose, facts) {
            (Purpose::Notice, Some(facts)) => {
                let link = self.config.http.public_url.as_ref();
                let link = link.map(|url| format!("{}/api/tickets/{ticket}", url.trim_end_matches('/')));
                let about = delivery.answers.as_ref();
                words::notice(
                    ticket.0,
                    &delivery.ticket_subject,
                    facts,
                    about,
                    delivery.announces_assignment,
                    link.as_deref(),
                )
            }
            (Purpose::Reply, _) => words::reply(written, author, cited),
            (Purpose::Survey, _) => words::survey(
                &delivery.recipient_name,
                ticket.0,
                &delivery.ticket_subject,
                &self.rating_link(ticket, delivery.recipient),
            ),
            (Purpose::Acknowledgement | Purpose::Notice, _) => {
                words::acknowledgement(&delivery.recipient_name, ticket.0, &delivery.ticket_subject)
            }
        };
        // Who answers a notice speaks in one person's name, so its address is signed for that person.
        let reply_token = Token { ticket, delivery: None, person: for_staff.then_some(delivery.recipient) };
        let id_token = Token { ticket, delivery: Some(delivery.id), person: Some(delivery.recipient) };
        // Groups a ticket's notices in one thread; not the requester's own ids, which staff's mail client never saw.
        let anchor =
            self.signer.message_id(&Token { ticket, delivery: None, person: None }, &mailbox.address);
        let (in_reply_to, references) = if for_staff {
            (Some(anchor.clone()), vec![anchor])
        } else {
            thread_of(delivery.answers.as_ref())
        };
        Outgoing {
            from_name: words::sender_name(author),
            from: mailbox.address.clone(),
            to_name: delivery.recipient_name.clone(),
            to: delivery.address.clone(),
            reply_to: if mailbox.plus_addressing {
                self.signer.address(&reply_token, &mailbox.address)
            } else {
                mailbox.address.clone()
            },
            subject: compose::subject(ticket.0, &delivery.ticket_subject),
            text,
            // What a program wrote for all to read alike is text alone.
            html: match delivery.purpose {
                Purpose::Reply => words::reply_html(written, author, cited),
                Purpose::Acknowledgement | Purpose::Notice | Purpose::Survey => None,
            },
            attachments: Vec::new(),
            message_id: self.signer.message_id(&id_token, &mailbox.address),
            in_reply_to,
            references,
            automatic: match delivery.purpose {
                Purpose::Acknowledgement => Some(Automatic::Replied),
                Purpose::Notice | Purpose::Survey => Some(Automatic::Generated),
                Purpose::Reply => None,
            },
            loop_mark: self.signer.loop_mark(&mailbox.address),
            date: self.clock.now(),
        }
    }
}

/// RFC 5322 §3.6.4: References is the parent's References with the parent's own id behind it.
fn thread_of(answers: Option<&Carried>) -> (Option<String>, Vec<String>) {
    let Some(parent) = answers else { return (None, Vec::new()) };
    let mut references = parent.refs.clone();
    if let Some(id) = &parent.rfc_id {
        references.retain(|known| known != id);
        references.push(id.clone());
    }
    (parent.rfc_id.clone(), references)
}

fn domain(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Acknowledgement => "acknowledgement",
        Purpose::Notice => "notice",
        Purpose::Reply => "reply",
        Purpose::Survey => "survey",
    }
}
