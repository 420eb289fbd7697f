//! The ingest stage: one ledger row to its fate.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use std::time::Duration;

use super::commands;
use super::limits;
use super::sql::{self, Fate};
use super::staff;
use super::understand::{self, Understood, without_nul};
use crate::clock::Clock;
use crate::config::{Attachments, Config};
use crate::crash;
use crate::files::{Content, Files};
use crate::ids::{InboundId, TicketId};
use crate::mail::classify::Class;
use crate::mail::parse::Attachment;
use crate::mail::token::Signer;
use crate::people::link::CodeKey;
use crate::people::{self, Person};
use crate::queue::room::{Room, SMALL};
use crate::queue::{Claimed, Done, JobError, Tx};
use crate::settings::Settings;
use crate::tickets::changes;
use crate::tickets::{self, Channel, Inbound, NewAttachment, NewParticipant, Opening, TicketError};

/// Understands mails of the ledger.
#[derive(Clone, Debug)]
pub struct Ingest {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub settings: Settings,
    pub signer: Signer,
    pub files: Files,
    /// Where Discord is configured.
    pub discord: Option<Arc<crate::discord::api::Api>>,
    /// Checks the codes that link an address.
    pub code_key: CodeKey,
    /// For large mails.
    pub room: Room,
}

/// Reading a mail this large would hold up the other tasks of its thread.
const READ_ELSEWHERE: usize = 128 * 1024;
/// A mail whose effects the database refused this often is put aside, so that it is seen.
const ATTEMPTS_BEFORE_QUARANTINE: i32 = 4;
/// A mail that was begun this often and never finished, well or badly, takes the process down with it.
const MOST_ATTEMPTS: i32 = 10;

/// What became of a mail.
#[derive(Debug)]
pub(super) struct Outcome {
    fate: &'static str,
    ticket: Option<TicketId>,
    reason: Option<String>,
}

impl Outcome {
    fn suppressed(reason: &str) -> Self {
        Self { fate: "suppressed", ticket: None, reason: Some(reason.to_owned()) }
    }
    pub(super) fn ticketed(ticket: TicketId, reason: Option<&str>) -> Self {
        Self { fate: "ticketed", ticket: Some(ticket), reason: reason.map(str::to_owned) }
    }
    pub(super) fn appended(ticket: TicketId, reason: Option<&str>) -> Self {
        Self { fate: "appended", ticket: Some(ticket), reason: reason.map(str::to_owned) }
    }
}

/// A mail on its way, with what the steps need of it.
pub(super) struct Arrival<'a> {
    pub(super) ledger: InboundId,
    pub(super) mailbox: &'a str,
    pub(super) received_at: DateTime<Utc>,
    pub(super) problems: Option<String>,
    /// As far as they are taken.
    pub(super) files: &'a [NewAttachment],
    /// Of the mail that is passed on in it.
    pub(super) forwarded_files: &'a [NewAttachment],
    pub(super) read: &'a Understood,
    pub(super) settings: &'a Config,
    pub(super) now: DateTime<Utc>,
}

impl Ingest {
    /// Gives one ledger row its fate.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let id = InboundId(job.subject);
        let Some(row) = sql::unhandled(&self.db, id.0, SMALL).await? else {
            return Err(JobError::Fail(anyhow::anyhow!("there is no ledger row {id}")));
        };
        if row.fate.is_some() {
            return job.done(self.db.begin().await?).await;
        }
        let (_room, content) = match (row.content, row.size) {
            (None, Some(size)) => {
                let room = self.room.take(i64::from(size)).await;
                (room, sql::content(&self.db, id.0).await?)
            }
            (small, _) => (None, small),
        };
        let Some(raw) = content else {
            return self.quarantine(job, "its raw bytes are missing").await;
        };
        // Where an attempt ended in an error that was written down, time may heal it, and the list of dead letters waits.
        if job.attempt > MOST_ATTEMPTS && job.last_error.is_none() {
            return self.quarantine(job, "it was begun ten times, and never came to an end").await;
        }
        let size = raw.len();
        let Some(mut read) = self.understand(raw).await else {
            return self.quarantine(job, "reading it failed").await;
        };
        let files_limits = &self.config.attachments;
        let files = take_files(&read.mail.attachments, files_limits, &mut read.mail.problems);
        let forwarded = match &read.forwarded {
            // Anybody can write `#fwd`.
            Some(forwarded) if self.is_from_staff(&read).await? => forwarded.attachments.clone(),
            _ => Vec::new(),
        };
        let forwarded_files = take_files(&forwarded, files_limits, &mut read.mail.problems);
        let settings = self.settings.current().await;
        let arrival = Arrival {
            ledger: id,
            mailbox: &row.mailbox,
            received_at: row.received_at,
            problems: problems(&read, size, self.config.mail.max_message_bytes),
            files: &files,
            forwarded_files: &forwarded_files,
            read: &read,
            settings: &settings,
            now: self.clock.now(),
        };
        let contents: Vec<Content> =
            files.iter().chain(&forwarded_files).map(|file| file.content.clone()).collect();
        if !contents.is_empty() && self.needs_files(&read).await? {
            // Before the transaction: this asks the network.
            self.files.keep(&contents, arrival.now).await?;
        }
        match self.give_fate(job, &arrival).await {
            // The database refuses these effects, not this connection: trying again and again would hide the mail.
            Err(JobError::Retry(error))
                if job.attempt >= ATTEMPTS_BEFORE_QUARANTINE && is_refusal(&error) =>
            {
                tracing::warn!(
                    inbound.id = id.0,
                    error = format!("{error:#}"),
                    "a mail cannot be stored as read"
                );
                self.quarantine(job, "the database refused what was read").await
            }
            result => result,
        }
    }

    /// Whether the files of a mail may become attachments. Another copy of what is here already needs none kept, and nor does
    /// what becomes no message.
    async fn needs_files(&self, read: &Understood) -> Result<bool, JobError> {
        if read.is_ours || read.class == Class::Bounce {
            return Ok(false);
        }
        let mut tx = self.db.begin().await?;
        Ok(sql::twin(&mut tx, &read.fingerprint).await?.is_none())
    }

    /// Reads the mail; `None`: the reader panicked.
    async fn understand(&self, raw: Vec<u8>) -> Option<Understood> {
        let (signer, own) = (self.signer.clone(), understand::own_addresses(&self.config));
        let is_large = raw.len() > READ_ELSEWHERE;
        let work = move || understand::understand(&raw, &signer, &own);
        if is_large {
            return tokio::task::spawn_blocking(work).await.ok();
        }
        // Nothing of what it was given is used again.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
    }

    async fn is_from_staff(&self, read: &Understood) -> sqlx::Result<bool> {
        let Some(from) = &read.from else { return Ok(false) };
        let mut tx = self.db.begin().await?;
        let person = people::find_by_address(&mut tx, from).await?;
        tx.commit().await?;
        Ok(person.is_some_and(|person| person.active && person.role.is_staff()))
    }

    async fn give_fate(&self, job: &Claimed, arrival: &Arrival<'_>) -> Result<Done, JobError> {
        let mut tx = self.db.begin().await?;
        if let Some(twin) = sql::twin(&mut tx, &arrival.read.fingerprint).await? {
            let fate = Fate {
                name: "duplicate",
                reason: None,
                ticket: twin.ticket_id,
                duplicate_of: Some(twin.id),
                fingerprint: Some(&arrival.read.fingerprint),
            };
            sql::settle(&mut tx, arrival.ledger.0, &fate, arrival.now).await?;
            metrics::counter!("ticketd_mails_total", "fate" => "duplicate").increment(1);
            return job.done(tx).await;
        }
        crash::point("ingest.read");
        let outcome = self.apply(&mut tx, arrival).await.map_err(|error| match error {
            // The other mail of this thread has committed, or is about to: look again.
            TicketError::Raced => JobError::RetryAfter(Duration::from_millis(20), TicketError::Raced.into()),
            error => JobError::Retry(error.into()),
        })?;
        let fate = Fate {
            name: outcome.fate,
            reason: outcome.reason.as_deref().or(arrival.problems.as_deref()),
            ticket: outcome.ticket.map(|t| t.0),
            duplicate_of: None,
            fingerprint: Some(&arrival.read.fingerprint),
        };
        if let Err(error) = sql::settle(&mut tx, arrival.ledger.0, &fate, arrival.now).await {
            let raced =
                error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
            // A copy of the same mail was taken in meanwhile: this one is the duplicate.
            return Err(if raced {
                JobError::RetryAfter(Duration::from_millis(20), error.into())
            } else {
                error.into()
            });
        }
        crash::point("ingest.before_commit");
        let done = job.done(tx).await?;
        crash::point("ingest.committed");
        metrics::counter!("ticketd_mails_total", "fate" => outcome.fate).increment(1);
        tracing::info!(
            inbound.id = arrival.ledger.0,
            ticket.id = outcome.ticket.map(|t| t.0),
            fate = outcome.fate,
            class = arrival.read.class.as_str(),
            "mail {} {}",
            arrival.ledger,
            outcome.fate
        );
        Ok(done)
    }

    async fn quarantine(&self, job: &Claimed, reason: &str) -> Result<Done, JobError> {
        let mut tx = self.db.begin().await?;
        let fate = Fate {
            name: "quarantined",
            reason: Some(reason),
            ticket: None,
            duplicate_of: None,
            fingerprint: None,
        };
        sql::settle(&mut tx, job.subject, &fate, self.clock.now()).await?;
        let done = job.done(tx).await?;
        metrics::counter!("ticketd_mails_total", "fate" => "quarantined").increment(1);
        tracing::error!(inbound.id = job.subject, reason, "mail {} is in quarantine: {reason}", job.subject);
        Ok(done)
    }

    /// The decided order: ours, bounces, staff, threads, new.
    async fn apply(&self, tx: &mut Tx, arrival: &Arrival<'_>) -> Result<Outcome, TicketError> {
        let read = arrival.read;
        if read.is_ours {
            return Ok(Outcome::suppressed("a mail of ours that came back"));
        }
        if read.class == Class::Bounce {
            return link_bounce(tx, arrival, &self.signer).await;
        }
        let may_assign =
            read.tokens.iter().any(|t| t.person.is_some()) && commands::may_assign(&read.visible);
        // Assignments take turns before anything else is locked.
        let turn = if may_assign { Some(changes::take_turn_assigning(tx).await?) } else { None };
        let author = self.author(tx, arrival).await?;
        let known = tickets::find_threads(tx, &wanted_ids(read)).await?;
        let mut message = self.message(tx, arrival, &author, &known).await?;
        if let Some(outcome) = self.take_staff_answer(tx, arrival, &author, &message, turn).await? {
            return Ok(outcome);
        }
        if let Some(outcome) = self.take_forward(tx, arrival, &author, &mut message, &known).await? {
            return Ok(outcome);
        }
        let found = find_ticket(tx, arrival, &author, &known).await?;
        let mut follow_up_of = None;
        if let Some(mut ticket) = found.ticket {
            let mut locked = tickets::lock(tx, ticket).await?;
            let reopen_days = arrival.settings.assignment.reopen_days;
            // The matter went on in another ticket already.
            while message.from_human && !tickets::takes_replies(&locked, reopen_days, arrival.now) {
                let Some(later) = tickets::follow_up(tx, ticket, author.id).await? else { break };
                ticket = later;
                locked = tickets::lock(tx, ticket).await?;
            }
            if author.role.is_staff() && !staff::speaks_for_self(tx, arrival, &locked, author.id).await? {
                let why = "it claims to come from staff, without the proof of a notice that was answered";
                tickets::append_unverified(tx, &locked, &message, why, arrival.now).await?;
                return Ok(Outcome::appended(ticket, Some("unverified note")));
            }
            if !message.from_human || tickets::takes_replies(&locked, reopen_days, arrival.now) {
                if !found.proven {
                    leave_addresses(tx, ticket, read, &mut message).await?;
                }
                tickets::append(tx, &locked, &message, arrival.now).await?;
                return Ok(Outcome::appended(ticket, None));
            }
            follow_up_of = Some(ticket);
        }
        let opening = Opening {
            mailbox: Some(arrival.mailbox.to_owned()),
            acknowledge: arrival.settings.mail.acknowledge && read.may_acknowledge,
            follow_up_of,
            related_to: found.related,
            acknowledge_to: None,
            forwarded_by: None,
        };
        let (ticket, _) = tickets::open(tx, &message, &opening, arrival.now).await?;
        Ok(Outcome::ticketed(ticket, follow_up_of.map(|_| "follows up a closed ticket")))
    }

    async fn author(&self, tx: &mut Tx, arrival: &Arrival<'_>) -> Result<Person, TicketError> {
        // A mail without a usable From is kept all the same; nothing can be sent to this address (RFC 6761 §6.4).
        let address = arrival.read.from.as_deref().unwrap_or("unknown@sender.invalid");
        let id = people::by_address(tx, address, &arrival.read.name, arrival.now).await?;
        let person = people::find_by_address(tx, address).await?;
        person.filter(|p| p.id == id).ok_or(TicketError::Database(sqlx::Error::RowNotFound))
    }

    async fn message(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        author: &Person,
        known: &[(tickets::IdHash, TicketId)],
    ) -> Result<Inbound, TicketError> {
        let (read, mail) = (arrival.read, &arrival.read.mail);
        let mut cc = Vec::new();
        if read.class == Class::Human {
            for (name, address) in &read.others {
                let person = people::by_address(tx, address, &without_nul(name.clone()), arrival.now).await?;
                cc.push(NewParticipant { person, address: address.clone() });
            }
        }
        let from = read.from.clone().unwrap_or_default();
        let refs = mail.references.iter().chain(&mail.in_reply_to).cloned().collect();
        let new_ids = wanted_ids(read).into_iter().filter(|id| !known.iter().any(|(k, _)| k == id)).collect();
        Ok(Inbound {
            ledger: Some(arrival.ledger),
            channel: Channel::Email,
            author: NewParticipant { person: author.id, address: read.reply_to.clone().unwrap_or(from) },
            rfc_id: mail.message_id.clone().filter(|id| !id.is_empty()),
            subject: without_nul(mail.subject.clone()),
            body: without_nul(mail.text.clone()),
            visible: read.visible.clone(),
            html: read.html.clone(),
            sender_class: read.class.as_str(),
            from_human: read.class == Class::Human,
            origin: None,
            reply_to: read.reply_to.clone(),
            refs: deduplicated(refs),
            new_ids,
            cc,
            attachments: arrival.files.to_vec(),
            problems: arrival.problems.clone(),
            sent_at: mail.date,
            received_at: arrival.received_at,
        })
    }
}

async fn link_bounce(tx: &mut Tx, arrival: &Arrival<'_>, signer: &Signer) -> Result<Outcome, TicketError> {
    let read = arrival.read;
    let named = read.bounce.as_ref().and_then(|b| b.original_message_id.as_deref());
    let token = named.and_then(|id| signer.read_message_id(id)).or_else(|| read.tokens.first().copied());
    let Some(delivery) = token.and_then(|t| t.delivery) else {
        return Ok(Outcome::suppressed("a bounce that names no mail of ours"));
    };
    // RFC 3464 reports success, too.
    if read.bounce.as_ref().and_then(|b| b.status.as_deref()).is_some_and(|status| status.starts_with('2')) {
        return Ok(Outcome::suppressed("a report that a mail of ours arrived"));
    }
    let permanent = read.bounce.as_ref().is_none_or(|b| b.permanent);
    let status =
        read.bounce.as_ref().and_then(|b| b.status.clone()).unwrap_or_else(|| "no status".to_owned());
    let ticket = tickets::bounced(tx, delivery, permanent, &status, arrival.now).await?;
    Ok(Outcome {
        fate: "suppressed",
        ticket,
        reason: Some(format!("a bounce of delivery {delivery}: {status}")),
    })
}

/// Where a mail belongs.
#[derive(Debug, Default)]
struct Found {
    ticket: Option<TicketId>,
    /// The sender holds what only a mail of the thread can have given them. A number and a From anybody can write.
    proven: bool,
    /// The ticket that the subject names without proof.
    related: Option<TicketId>,
}

/// Signed address or Message-ID, then a known Message-ID, then the subject's token if the author takes part.
async fn find_ticket(
    tx: &mut Tx,
    arrival: &Arrival<'_>,
    author: &Person,
    known: &[(tickets::IdHash, TicketId)],
) -> Result<Found, TicketError> {
    let read = arrival.read;
    let found = |ticket: TicketId, proven: bool| Ok(Found { ticket: Some(ticket), proven, related: None });
    for token in &read.tokens {
        if let Some(ticket) = tickets::current(tx, token.ticket).await? {
            return found(ticket, true);
        }
    }
    let by_id = |id: &tickets::IdHash| known.iter().find(|(k, _)| k == id).map(|(_, ticket)| *ticket);
    if let Some(ticket) = read.ancestors.iter().find_map(by_id) {
        return found(ticket, true);
    }
    // Its own id is known: an answer overtook it, or it is the copy of a list with another footer. But some programs
    // give all mails the same id, and with that two people must not meet.
    if let (Some(ticket), Some(id)) = (read.own_id.iter().find_map(by_id), &read.mail.message_id) {
        let is_copy = tickets::holds_message(tx, ticket, id).await?;
        if !is_copy || tickets::is_participant(tx, ticket, author.id).await? {
            return found(ticket, !is_copy);
        }
    }
    // Mails without an author have none in common.
    let named = match read.subject_token {
        Some(ticket) => tickets::current(tx, ticket).await?,
        None => None,
    };
    match named {
        Some(ticket) if read.from.is_some() && tickets::is_participant(tx, ticket, author.id).await? => {
            found(ticket, false)
        }
        Some(ticket) => Ok(Found { related: Some(ticket), ..Found::default() }),
        None => Ok(Found::default()),
    }
}

/// Without a proof nobody joins and no answer goes elsewhere: a forged From and a guessed number would be enough to
/// have what staff writes sent to a stranger.
async fn leave_addresses(
    tx: &mut Tx,
    ticket: TicketId,
    read: &Understood,
    message: &mut Inbound,
) -> Result<(), TicketError> {
    message.cc.clear();
    let known = tickets::address_of(tx, ticket, message.author.person, message.channel).await?;
    message.author.address = known.or_else(|| read.from.clone()).unwrap_or_default();
    Ok(())
}

/// What staff should know of a mail that could not be read whole. A source gives no more than `limit` bytes.
fn problems(read: &Understood, size: usize, limit: usize) -> Option<String> {
    let mut problems = read.mail.problems.clone();
    if size >= limit {
        problems.insert(
            0,
            format!("it is larger than mail.max_message_bytes, so only its first {limit} bytes are here"),
        );
    }
    (!problems.is_empty()).then(|| without_nul(problems.join("; ")))
}

pub(super) fn wanted_ids(read: &Understood) -> Vec<tickets::IdHash> {
    read.ancestors.iter().chain(&read.own_id).copied().collect()
}

pub(super) fn deduplicated(ids: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    ids.into_iter().filter(|id| !id.is_empty() && seen.insert(id.clone())).collect()
}

/// Files as they are kept, as far as they are taken; what is left out is said among the problems.
fn take_files(list: &[Attachment], limits: &Attachments, problems: &mut Vec<String>) -> Vec<NewAttachment> {
    let named = |file: &&Attachment| (file.filename.clone(), file.content.len() as u64);
    let taken = limits::within(limits, u64::MAX, list.iter().collect(), named);
    problems.extend(taken.left_out.filter(|said| !problems.contains(said)));
    let made = taken.files.into_iter().map(|file| NewAttachment {
        filename: file.filename.clone().map(without_nul),
        content_type: without_nul(file.content_type.clone()),
        content_id: file.content_id.clone().map(without_nul),
        inline: file.inline,
        content: Content::new(file.content.clone()),
    });
    made.collect()
}

/// The server understood and said no; as opposed to a connection that broke.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let database = match cause.downcast_ref::<TicketError>() {
            // It shows its source as itself, so the chain has no link for it.
            Some(TicketError::Database(error)) => Some(error),
            _ => cause.downcast_ref::<sqlx::Error>(),
        };
        database.and_then(sqlx::Error::as_database_error).is_some_and(|e| {
            // Class 22 data exception, 23 constraint, 54 program limit (PostgreSQL, appendix A).
            e.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        })
    })
}
