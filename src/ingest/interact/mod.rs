//! The interact stage: one command, click or form from Discord to its effect and its answer.
//!
//! The gateway answers at once ([`first_answer`]), with a deferral where there is work to do; the work is this stage's.
//! Rights are looked at here, each time anew. The effect, the ledger row's fate and the job's end are one transaction;
//! only then the person is told, by editing the deferred answer. That is tried once: whether Discord shows it changes
//! nothing about what was done.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::discord;
use super::stage::{Ingest, is_refusal};
use crate::clock::Clock;
use crate::config::{Config, Discord as Settings};
use crate::crash;
use crate::discord::api::{Api, ApiError, File, Message};
use crate::discord::card;
use crate::discord::request::Request;
use crate::discord::words;
use crate::ids::{InboundId, MessageId, TicketId};
use crate::people::Person;
use crate::people::link::CodeKey;
use crate::queue::{Claimed, Done, JobError, Tx};
use crate::tickets::read::{self, Sight, Summary};
use crate::tickets::threads::{self, Audience};
use crate::tickets::{Channel, TicketError, actions::Act};

mod choices;
mod first;
mod looking;
mod opening;
mod order;
mod rights;
mod settings;
mod working;

pub use choices::choices;
pub use first::first_answer;
use order::{Misread, Needs, Order, Target};
use rights::Refusal;

/// What the database refused this often is put aside, so that it is seen, and the person is told.
const ATTEMPTS_BEFORE_QUARANTINE: i32 = 4;
/// Whatever was begun this often and never finished takes the process down with it.
const MOST_ATTEMPTS: i32 = 10;

/// One interaction on its way.
struct Asked<'a> {
    ledger: InboundId,
    request: &'a Request,
    settings: &'a Settings,
    received_at: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// What was done, and what the person is told.
struct Said {
    fate: &'static str,
    reason: Option<&'static str>,
    ticket: Option<TicketId>,
    message: Message,
    files: Vec<File>,
    /// An answer that can still be taken back.
    undo: Option<MessageId>,
}

impl Said {
    fn new(fate: &'static str, reason: Option<&'static str>, ticket: Option<TicketId>, text: String) -> Self {
        Self { fate, reason, ticket, message: answer(text), files: Vec::new(), undo: None }
    }

    fn ticketed(ticket: TicketId, text: String) -> Self {
        Self::new("ticketed", None, Some(ticket), text)
    }

    fn appended(ticket: TicketId, text: String) -> Self {
        Self::new("appended", None, Some(ticket), text)
    }

    /// Nothing of it belongs to a conversation.
    fn suppressed(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new("suppressed", Some(reason), None, text.into())
    }

    fn shown(ticket: Option<TicketId>, message: Message) -> Self {
        Self { ticket, message, ..Self::suppressed(READ, "") }
    }
}

/// Why the ledger has no fate but `suppressed` for it.
/// Discord does not know yet that the interaction was answered at all.
const UNKNOWN_WEBHOOK: i64 = 10_015;
/// Pauses until it does: the first, and the longest before it is given up.
const DEFERRAL_LATE: Duration = Duration::from_millis(150);
const LONGEST_DEFERRAL: Duration = Duration::from_secs(3);
const READ: &str = "it only reads";
const NO_TICKETS_MATTER: &str = "it changes no ticket";

/// It notifies nobody, and only the person who asked sees it: so the deferral said.
fn answer(text: String) -> Message {
    Message::text(text).without_previews()
}

/// Why there is no effect.
enum Halt {
    /// The person is told; nothing happened.
    Refused(Refusal),
    /// It may succeed later.
    Failed(anyhow::Error),
}

impl Halt {
    fn refused(reason: &'static str, words: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(reason, words))
    }
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<TicketError> for Halt {
    fn from(error: TicketError) -> Self {
        let (reason, words) = match error {
            TicketError::Unknown(ticket) | TicketError::Deleted(ticket) => {
                ("there is no such ticket", words::not_yours(ticket.0))
            }
            TicketError::WrongStatus(ticket, "closed") => {
                ("the ticket is closed", words::ticket_is_closed(ticket.0))
            }
            TicketError::WrongStatus(ticket, status) => {
                ("the ticket's status is against it", words::wrong_status(ticket.0, status))
            }
            TicketError::EmptyReply => ("the text is empty", words::nothing_written()),
            TicketError::Taken(ticket) => ("somebody has it", words::already_taken(ticket.0, "somebody")),
            TicketError::Unassigned(ticket) => ("nobody has it", words::nobody_has(ticket.0)),
            TicketError::NotStaff => ("the person is not active staff", words::unknown_person("that")),
            TicketError::UnknownSkill => ("there is no such skill", words::unknown_skill("that")),
            TicketError::TooLate => ("it has left", words::too_late_to_undo()),
            TicketError::Merged(ticket, into) => {
                ("the ticket was merged", words::merged_into(ticket.0, into.0))
            }
            TicketError::AtCap { name, cap } => ("they are at their cap", words::at_cap(&name, cap)),
            TicketError::Raced | TicketError::Stale(_) | TicketError::Database(_) => {
                return Self::Failed(error.into());
            }
            // What can be asked for by web only.
            error => ("it cannot be done", format!("{error}.")),
        };
        Self::refused(reason, words)
    }
}

impl From<Misread> for Halt {
    fn from(misread: Misread) -> Self {
        let words = match misread {
            Misread::Command => words::unknown_command(),
            Misread::Button => words::outdated_button(),
            Misread::Empty => words::nothing_written(),
            Misread::Link => words::link_nothing_given(),
            Misread::Number(typed) => words::unknown_ticket(&typed),
            Misread::Person(typed) => words::unknown_person(&typed),
            Misread::Category(typed) => words::unknown_category(&typed),
        };
        Self::refused("it is not understood", words)
    }
}

/// A ticket that the person may see, and how.
struct Found {
    summary: Summary,
    /// They see it as staff, with all that staff see of it; else they take part in it.
    as_staff: bool,
}

/// The stage, with what it uses.
struct Interact<'a> {
    db: &'a PgPool,
    clock: &'a Clock,
    config: &'a Config,
    discord: Option<&'a Api>,
    code_key: &'a CodeKey,
}

impl Ingest {
    /// Does what one interaction asks for, and answers it.
    pub async fn interact(&self, job: &Claimed) -> Result<Done, JobError> {
        let Self { db, clock, discord, code_key, .. } = self;
        let config = &self.settings.current().await;
        let stage = Interact { db, clock, config, discord: discord.as_deref(), code_key };
        stage.run(job).await
    }
}

impl Interact<'_> {
    async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        let Some(row) = discord::asked(self.db, job.subject).await? else {
            return Err(JobError::Fail(anyhow::anyhow!("there is no interaction {}", job.subject)));
        };
        if row.fate.is_some() {
            return job.done(self.db.begin().await?).await;
        }
        let Some(settings) = &self.config.discord else {
            let said = Said::suppressed("Discord is not configured any more", words::switched_off());
            return self.conclude(job, self.db.begin().await?, said, "unknown", row.token).await;
        };
        let Ok(request) = serde_json::from_value::<Request>(row.payload) else {
            return self.put_aside(job, "its payload cannot be read", row.token).await;
        };
        if job.attempt > MOST_ATTEMPTS {
            return self.put_aside(job, "it was begun ten times, and never came to an end", row.token).await;
        }
        let asked = Asked {
            ledger: InboundId(job.subject),
            request: &request,
            settings,
            received_at: row.received_at,
            now: self.clock.now(),
        };
        let order = Order::read(&request.what, request.channel, &self.config.triage.categories);
        // What a client made up must not become a name in the metrics.
        let label = if order.is_ok() { request.label() } else { "unknown".to_owned() };
        let (tx, said) = match self.carry_out(&asked, order).await {
            Ok(done) => done,
            Err(Halt::Refused(refusal)) => {
                (self.db.begin().await?, Said::suppressed(refusal.reason, refusal.words))
            }
            Err(Halt::Failed(error))
                if is_refusal(&error) && job.attempt >= ATTEMPTS_BEFORE_QUARANTINE
                    || job.is_last(asked.now) =>
            {
                tracing::error!(
                    inbound.id = job.subject,
                    error = format!("{error:#}"),
                    "an interaction failed"
                );
                return self.put_aside(job, "the database refused its effects", row.token).await;
            }
            Err(Halt::Failed(error)) => return Err(JobError::Retry(error)),
        };
        self.conclude(job, tx, said, &label, row.token).await
    }

    async fn put_aside(
        &self,
        job: &Claimed,
        reason: &'static str,
        token: Option<String>,
    ) -> Result<Done, JobError> {
        tracing::error!(
            inbound.id = job.subject,
            reason,
            "interaction {} is in quarantine: {reason}",
            job.subject
        );
        let said =
            Said::new("quarantined", Some(reason), None, words::internal_error(&format!("i{}", job.subject)));
        self.conclude(job, self.db.begin().await?, said, "unknown", token).await
    }

    /// Fate and job in the transaction of the effect; then the answer.
    async fn conclude(
        &self,
        job: &Claimed,
        mut tx: Tx,
        said: Said,
        label: &str,
        token: Option<String>,
    ) -> Result<Done, JobError> {
        let ticket = said.ticket.map(|t| t.0);
        let now = self.clock.now();
        if !discord::settle(&mut tx, job.subject, said.fate, said.reason, ticket, now).await? {
            // Another worker did it meanwhile: nothing of ours may stay.
            drop(tx);
            return job.done(self.db.begin().await?).await;
        }
        crash::point("interact.before_commit");
        let done = job.done(tx).await?;
        crash::point("interact.committed");
        metrics::counter!("ticketd_interactions_total", "command" => label.to_owned(), "outcome" => said.fate)
            .increment(1);
        tracing::info!(
            inbound.id = job.subject,
            ticket.id = ticket,
            command = label,
            fate = said.fate,
            reason = said.reason,
            "interaction {} {}",
            job.subject,
            said.fate
        );
        if let Some(token) = token {
            self.tell(&token, said).await;
        }
        crash::point("interact.answered");
        Ok(done)
    }

    /// Edits the deferred answer. It was done whether or not Discord shows it.
    async fn tell(&self, token: &str, said: Said) {
        let Some(api) = self.discord else { return };
        let mut message = said.message;
        if let (Some(undo), Some(ticket)) = (said.undo, said.ticket) {
            let threads = threads::of_ticket(self.db, ticket).await.unwrap_or_default();
            let staff = threads.into_iter().find(|thread| thread.audience == Audience::Staff);
            if let (Some(staff), Ok(number)) = (staff, u64::try_from(undo.0)) {
                message = card::with_undo(&message.content, &staff.handle, number).without_previews();
            }
        }
        let mut pause = DEFERRAL_LATE;
        let edited = loop {
            match api.edit_answer(token, &message, &said.files).await {
                // The work was done before the deferral that it answers has arrived: they were sent side by side.
                Err(error) if error.code() == UNKNOWN_WEBHOOK && pause <= LONGEST_DEFERRAL => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                edited => break edited,
            }
        };
        match edited {
            Ok(()) => {}
            Err(error @ ApiError::TooLate(_)) => {
                tracing::debug!(error = %error, "an answer came too late to be shown");
            }
            Err(error) => tracing::warn!(error = %error, "an answer could not be shown in Discord"),
        }
    }

    /// The effect, in a transaction that is still open.
    async fn carry_out(&self, asked: &Asked<'_>, order: Result<Order, Misread>) -> Result<(Tx, Said), Halt> {
        rights::gate(asked.settings, asked.request)?;
        let person = self.identify(asked).await?;
        crash::point("interact.identified");
        rights::may(&person, order.as_ref().map_or(Needs::Anyone, Order::needs))?;
        let order = order?;
        let found = match order.target() {
            Some(target) => Some(self.find(asked, &person, target).await?),
            None => None,
        };
        if order.needs() != Needs::Anyone && found.as_ref().is_some_and(|found| !found.as_staff) {
            return Err(Halt::refused("the ticket is not theirs to work on", words::not_staff()));
        }
        if let Some(said) = self.look(asked, &person, &order, found.as_ref()).await? {
            return Ok((self.db.begin().await?, said));
        }
        if let Some(said) = self.change_settings(asked, &person, &order).await? {
            return Ok((self.db.begin().await?, said));
        }
        if let Order::Confirm { code } = &order {
            // Looks nobody up before: see `tickets::linking::redeem`.
            return self.confirm(asked, &person, code).await;
        }
        let prepared = self.prepare(asked, &order, found.as_ref()).await?;
        let mut tx = self.db.begin().await?;
        let as_seen = self.who(&mut tx, asked).await?;
        if as_seen.id != person.id {
            return Err(Halt::Failed(anyhow::anyhow!("the person was linked at the same moment")));
        }
        rights::may(&as_seen, order.needs())?;
        let said = match found {
            Some(found) => self.work(&mut tx, asked, &as_seen, order, &found, prepared).await?,
            None => self.open(&mut tx, asked, &as_seen, order, prepared).await?,
        };
        Ok((tx, said))
    }

    /// Who asks, with the role that their Discord roles give them now; kept, whatever becomes of the rest.
    async fn identify(&self, asked: &Asked<'_>) -> Result<Person, Halt> {
        let mut tx = self.db.begin().await?;
        let person = self.who(&mut tx, asked).await?;
        tx.commit().await?;
        Ok(person)
    }

    async fn who(&self, tx: &mut Tx, asked: &Asked<'_>) -> sqlx::Result<Person> {
        let user = &asked.request.user;
        discord::who(tx, asked.settings, user.id, &user.name, &user.roles, asked.now).await
    }

    /// The ticket that is meant, if the person may see it. A number or a handle proves nothing.
    async fn find(&self, asked: &Asked<'_>, person: &Person, target: &Target) -> Result<Found, Halt> {
        let ticket = match target {
            Target::Number(ticket) => *ticket,
            Target::Handle(handle) => match threads::by_handle(self.db, handle).await? {
                Some(thread) => thread.ticket,
                None => return Err(Misread::Button.into()),
            },
            Target::Here => match threads::by_channel(self.db, asked.request.channel).await? {
                Some(thread) => thread.ticket,
                None => return Err(Halt::refused("it names no ticket", words::no_ticket_here())),
            },
        };
        let found = self.visible(person, ticket).await?;
        found.ok_or_else(|| Halt::refused("there is no such ticket for them", words::not_yours(ticket.0)))
    }

    /// A ticket as this person sees it, if at all.
    async fn visible(&self, person: &Person, ticket: TicketId) -> sqlx::Result<Option<Found>> {
        let sight = rights::sight(person.role, person.id, self.config.assignment.moderators_see_all);
        if let Some(summary) = read::ticket(self.db, sight, ticket).await? {
            return Ok(Some(Found { summary, as_staff: person.role.is_staff() }));
        }
        let parts = read::participants(self.db, ticket).await?;
        if !parts.iter().any(|part| part.person_id == person.id) {
            return Ok(None);
        }
        let summary = read::ticket(self.db, Sight::All, ticket).await?;
        Ok(summary.map(|summary| Found {
            summary: Summary { assignment_outcome: None, ..summary },
            as_staff: false,
        }))
    }
}

impl Asked<'_> {
    fn act(&self, person: &Person) -> Act {
        Act { by: person.id, channel: Channel::Discord, now: self.now }
    }
}
