//! What comes in by Discord: kept first, understood later, in the order in which it was said.
//!
//! [`receive`] enters interactions and messages into the ledger, each once, however often and in whatever order they
//! come. The stage [`Ingest::hear`] then makes messages, replies, notes and revisions of what was said in one thread;
//! threads take turns by their jobs, so the order within a thread is the order of Discord's ids.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::limits;
use super::stage::Ingest;
use crate::clock::Clock;
use crate::config::{Discord as Settings, PlainMessages};
use crate::crash;
use crate::discord::api::{Api, DownloadError};
use crate::discord::request::Request;
use crate::discord::{said, text};
use crate::files::Content;
use crate::ids::{InboundId, ThreadId};
use crate::people::{self, Person, Role};
use crate::queue::{self, Claimed, Done, JobError, Tx};
use crate::tickets::actions::{self, Act, Revision};
use crate::tickets::read::{self, Sight};
use crate::tickets::threads::{self, Audience, Thread};
use crate::tickets::{
    self, Channel, Inbound, Locked, NewAttachment, NewParticipant, Origin, StaffMessage, Status, TicketError,
};

mod roles;
mod sql;

pub(super) use sql::{asked, settle};

/// What kind of thing came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Interaction,
    Message,
    Edit,
    Deletion,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Interaction => "interaction",
            Self::Message => "message",
            Self::Edit => "edit",
            Self::Deletion => "deletion",
        }
    }
}

/// One thing that came in, to be kept.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Tells it from everything else that comes in by Discord; the same for another copy of it.
    pub name: String,
    pub kind: Kind,
    pub thread: Option<ThreadId>,
    pub message: Option<u64>,
    pub payload: Value,
    pub token: Option<String>,
}

impl Arrived {
    /// The token is kept apart, and only until the interaction is answered.
    pub fn interaction(request: &Request) -> Self {
        let mut stored = request.clone();
        let token = std::mem::take(&mut stored.token);
        Self {
            name: format!("i{}", request.id),
            kind: Kind::Interaction,
            thread: None,
            message: None,
            payload: without_nul(json!(stored)),
            token: Some(token),
        }
    }

    pub fn message(thread: ThreadId, message: &said::Message) -> Self {
        Self::said(format!("m{}", message.id), Kind::Message, thread, message)
    }

    /// The same edit twice has the same time.
    pub fn edit(thread: ThreadId, message: &said::Message) -> Self {
        let at = message.edited_at.map_or(0, |at| at.timestamp_millis());
        Self::said(format!("e{}.{at}", message.id), Kind::Edit, thread, message)
    }

    pub fn deletion(thread: ThreadId, message: u64) -> Self {
        Self {
            name: format!("d{message}"),
            kind: Kind::Deletion,
            thread: Some(thread),
            message: Some(message),
            payload: json!({"id": message}),
            token: None,
        }
    }

    fn said(name: String, kind: Kind, thread: ThreadId, message: &said::Message) -> Self {
        let payload = without_nul(json!(message));
        Self { name, kind, thread: Some(thread), message: Some(message.id), payload, token: None }
    }
}

/// PostgreSQL's JSON cannot hold NUL; nobody's words do.
fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "")),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nul).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(k, v)| (k.replace('\0', ""), without_nul(v))).collect())
        }
        other => other,
    }
}

/// Keeps a batch: ledger rows, payloads, how far each thread was read, and the jobs that understand it, in one
/// transaction. What the ledger has already is left out. Returns how many were new.
pub async fn receive(db: &PgPool, clock: &Clock, batch: &[Arrived]) -> anyhow::Result<usize> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let kept = sql::keep(&mut tx, batch, now).await?;
    let mut furthest: BTreeMap<i64, u64> = BTreeMap::new();
    let mut jobs = Vec::new();
    for row in &kept {
        match row.thread_id {
            Some(thread) => {
                let message = row.message_id.and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
                let seen = furthest.entry(thread).or_default();
                if row.kind == Kind::Message.as_str() {
                    *seen = message.max(*seen);
                }
            }
            None => jobs.push((&queue::INTERACT, row.id, now)),
        }
    }
    for (thread, message) in &furthest {
        threads::seen(&mut tx, ThreadId(*thread), *message).await?;
        jobs.push((&queue::HEAR, *thread, now));
    }
    queue::enqueue_all(&mut tx, &jobs, now).await?;
    crash::point("discord.before_commit");
    tx.commit().await?;
    crash::point("discord.committed");
    queue::ring(db).await;
    metrics::counter!("ticketd_discord_received_total").increment(kept.len() as u64);
    Ok(kept.len())
}

/// So much of a thread is understood in one transaction.
const AT_ONCE: i64 = 20;
/// What the database refused so often is understood one by one, so that one message does not hold up the others.
const ATTEMPTS_TOGETHER: i32 = 3;
/// Files that cannot be fetched after so many attempts are named on the message, and it goes on.
const ATTEMPTS_TO_FETCH: i32 = 4;
/// The roles that came with a message are believed for so long; then Discord is asked anew.
const ROLES_HOLD: TimeDelta = TimeDelta::minutes(1);

/// Something that was said, ready to be understood.
struct Heard {
    ledger: InboundId,
    kind: String,
    payload: Value,
    message: Option<said::Message>,
    roles: Vec<u64>,
    files: Vec<NewAttachment>,
    problems: Vec<String>,
    received_at: DateTime<Utc>,
}

/// What became of it.
struct Fate {
    name: &'static str,
    reason: Option<&'static str>,
}

const APPENDED: Fate = Fate { name: "appended", reason: None };

fn suppressed(reason: &'static str) -> Fate {
    Fate { name: "suppressed", reason: Some(reason) }
}

impl Ingest {
    /// Takes in what was said in one thread, in order.
    pub async fn hear(&self, job: &Claimed) -> Result<Done, JobError> {
        let Some(thread) = threads::thread(&self.db, ThreadId(job.subject)).await? else {
            // Its ticket was deleted.
            return job.done(self.db.begin().await?).await;
        };
        let (Some(api), Some(settings)) = (&self.discord, &self.config.discord) else {
            return Err(JobError::Retry(anyhow::anyhow!("Discord is not configured any more")));
        };
        let together = if job.attempt > ATTEMPTS_TOGETHER { 1 } else { AT_ONCE };
        let mut rows = sql::unheard(&self.db, job.subject, together).await?;
        let (count, bytes) = limits::at_once(rows.iter().map(sql::Row::bytes));
        let is_all = count == rows.len() && i64::try_from(count).unwrap_or(0) < together;
        rows.truncate(count);
        let _room = self.room.take(bytes).await;
        let mut roles_known = BTreeMap::new();
        let mut batch = Vec::new();
        for row in rows {
            batch.push(self.prepare(api, settings, row, job.attempt, &mut roles_known).await?);
        }
        crash::point("hear.fetched");
        let now = self.clock.now();
        let files = batch.iter().flat_map(|heard| &heard.files);
        self.files.keep(&files.map(|file| file.content.clone()).collect::<Vec<_>>(), now).await?;
        // What follows goes by it, in the transaction.
        self.settings.current().await;
        let mut tx = self.db.begin().await?;
        // Identities before the ticket: everybody takes locks in that order.
        let authors = authors(&mut tx, settings, &batch, now).await?;
        for heard in &batch {
            let fate = match self.understand_said(&mut tx, settings, &thread, heard, &authors, now).await {
                Ok(fate) => fate,
                // Two slashes and nothing behind them.
                Err(TicketError::EmptyReply) => suppressed("it says nothing"),
                Err(error) if together == 1 && is_refusal(&error) => {
                    drop(tx);
                    return self.put_aside(job, heard, now).await;
                }
                Err(error) => return Err(JobError::Retry(error.into())),
            };
            let ticket = Some(thread.ticket.0);
            if !sql::settle(&mut tx, heard.ledger.0, fate.name, fate.reason, ticket, now).await? {
                return Err(JobError::Late);
            }
            metrics::counter!("ticketd_discord_total", "fate" => fate.name).increment(1);
        }
        if !is_all {
            queue::enqueue(&mut tx, &queue::HEAR, job.subject, now).await?;
        }
        crash::point("hear.before_commit");
        let done = job.done(tx).await?;
        crash::point("hear.committed");
        Ok(done)
    }

    async fn put_aside(&self, job: &Claimed, heard: &Heard, now: DateTime<Utc>) -> Result<Done, JobError> {
        let mut tx = self.db.begin().await?;
        let why = Some("the database refused what was read");
        sql::settle(&mut tx, heard.ledger.0, "quarantined", why, None, now).await?;
        queue::enqueue(&mut tx, &queue::HEAR, job.subject, now).await?;
        let done = job.done(tx).await?;
        tracing::error!(inbound.id = heard.ledger.0, "a message from Discord is in quarantine");
        Ok(done)
    }

    /// Fetches what the message only names: files, and the roles of an author whom the history does not give.
    async fn prepare(
        &self,
        api: &Api,
        settings: &Settings,
        row: sql::Row,
        attempt: i32,
        roles_known: &mut BTreeMap<u64, Vec<u64>>,
    ) -> Result<Heard, JobError> {
        let message: Option<said::Message> = serde_json::from_value(row.payload.clone()).ok();
        let mut heard = Heard {
            ledger: InboundId(row.id),
            kind: row.kind,
            payload: row.payload,
            message,
            roles: Vec::new(),
            files: Vec::new(),
            problems: Vec::new(),
            received_at: row.received_at,
        };
        let Some(message) = heard.message.clone() else { return Ok(heard) };
        // What was true when it was said may not be true any more when it is understood.
        let is_fresh = self.clock.now() - row.received_at < ROLES_HOLD;
        heard.roles = match (&message.roles, roles_known.get(&message.author.id)) {
            (_, Some(roles)) => roles.clone(),
            (Some(roles), None) if is_fresh => roles.clone(),
            (_, None) => {
                let member = api.member(settings.guild_id, message.author.id).await;
                let member = member.map_err(|error| JobError::Retry(error.into()))?;
                let roles = member.map(|m| m.roles).unwrap_or_default();
                roles_known.insert(message.author.id, roles.clone());
                roles
            }
        };
        if heard.kind == Kind::Message.as_str() {
            let taken =
                limits::within(&self.config.attachments, limits::OF_A_MESSAGE, message.attachments, |file| {
                    (crate::mail::body::filename(&file.name), file.size)
                });
            heard.problems.extend(taken.left_out);
            for file in &taken.files {
                match fetch(api, settings, file, self.config.attachments.max_bytes).await {
                    Ok(file) => heard.files.push(file),
                    Err((error, true)) if attempt < ATTEMPTS_TO_FETCH => return Err(JobError::Retry(error)),
                    Err((error, _)) => {
                        tracing::warn!(
                            inbound.id = row.id,
                            error = format!("{error:#}"),
                            "a file was left out"
                        );
                        heard.problems.push(format!("the file {} could not be fetched", file.name));
                    }
                }
            }
        }
        Ok(heard)
    }

    async fn understand_said(
        &self,
        tx: &mut Tx,
        settings: &Settings,
        thread: &Thread,
        heard: &Heard,
        authors: &BTreeMap<u64, Person>,
        now: DateTime<Utc>,
    ) -> Result<Fate, TicketError> {
        if heard.kind == Kind::Deletion.as_str() {
            let id = heard.payload.get("id").and_then(Value::as_u64).unwrap_or(0);
            return deleted(tx, thread, id, heard, now).await;
        }
        let Some(message) = &heard.message else {
            return Ok(Fate { name: "quarantined", reason: Some("its payload cannot be read") });
        };
        if !message.is_by_person() {
            return Ok(suppressed("a machine wrote it"));
        }
        if settings.blocked.contains(&message.author.id) {
            return Ok(suppressed("its author is blocked"));
        }
        let Some(who) = authors.get(&message.author.id) else {
            return Ok(suppressed("its author is not known"));
        };
        if !who.active {
            return Ok(suppressed("its author is not active"));
        }
        if heard.kind == Kind::Edit.as_str() {
            return edited(tx, settings, thread, who, (message, heard), now).await;
        }
        if who.role.is_staff() && !self.sees(who, thread).await? {
            return Ok(suppressed("the ticket is not theirs to work on"));
        }
        // What is said of a merged ticket belongs to the one that goes on.
        let Some(ticket) = tickets::current(tx, thread.ticket).await? else {
            return Ok(suppressed("the ticket was deleted"));
        };
        let ticket = tickets::lock(tx, ticket).await?;
        match thread.audience {
            Audience::Staff if who.role.is_staff() => {
                self.said_by_staff(tx, settings, ticket, thread, (message, heard), who, now).await
            }
            Audience::Staff => Ok(suppressed("only staff's words count in staff's thread")),
            Audience::Requester if who.role.is_staff() && who.id != ticket.requester => {
                let written = inbound(message, heard, thread, who);
                let text = kept_text(message, PlainMessages::Reply);
                self.answer(tx, ticket, &written, &text, who.id, now).await
            }
            Audience::Requester => {
                let written = inbound(message, heard, thread, who);
                if who.id == ticket.requester || tickets::is_participant(tx, ticket.id, who.id).await? {
                    tickets::append(tx, &ticket, &written, now).await?;
                    return Ok(APPENDED);
                }
                // Whoever was let in by hand, or was staff once: staff read it, and it gives no part in the ticket.
                let why = "its author is in the thread, but takes no part in the ticket";
                tickets::append_unverified(tx, &ticket, &written, why, now).await?;
                Ok(Fate { name: "appended", reason: Some("unverified note") })
            }
        }
    }

    /// Whether this member of staff may work on the ticket: as with commands, whatever channels they see.
    async fn sees(&self, who: &Person, thread: &Thread) -> sqlx::Result<bool> {
        if who.role == Role::Admin || self.settings.known().assignment.moderators_see_all {
            return Ok(true);
        }
        Ok(read::ticket(&self.db, Sight::Moderator(who.id), thread.ticket).await?.is_some())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message, each with its own meaning")]
    async fn said_by_staff(
        &self,
        tx: &mut Tx,
        settings: &Settings,
        ticket: Locked,
        thread: &Thread,
        (message, heard): (&said::Message, &Heard),
        who: &Person,
        now: DateTime<Utc>,
    ) -> Result<Fate, TicketError> {
        let written = inbound(message, heard, thread, who);
        let text = kept_text(message, settings.plain_messages);
        let stays_inside =
            settings.plain_messages == PlainMessages::Note || message.content.trim_start().starts_with("//");
        if !stays_inside {
            return self.answer(tx, ticket, &written, &text, who.id, now).await;
        }
        let staff = StaffMessage {
            author: who.id,
            channel: Channel::Discord,
            text: &text,
            inbound: Some(&written),
            uploads: &[],
        };
        tickets::note(tx, &ticket, &staff, now).await?;
        Ok(APPENDED)
    }

    /// A member of staff answers. What is closed is opened again by it.
    async fn answer(
        &self,
        tx: &mut Tx,
        mut ticket: Locked,
        written: &Inbound,
        text: &str,
        author: crate::ids::PersonId,
        now: DateTime<Utc>,
    ) -> Result<Fate, TicketError> {
        if ticket.status == Status::Closed {
            actions::reopen(tx, &ticket, Act { by: author, channel: Channel::Discord, now }).await?;
            ticket = tickets::lock(tx, ticket.id).await?;
        }
        let leaves_at = now + TimeDelta::seconds(self.settings.known().mail.undo_seconds);
        let staff =
            StaffMessage { author, channel: Channel::Discord, text, inbound: Some(written), uploads: &[] };
        tickets::reply(tx, &ticket, &staff, leaves_at, now).await?;
        Ok(APPENDED)
    }
}

/// Everybody who says something in the batch, in one order for all workers.
async fn authors(
    tx: &mut Tx,
    settings: &Settings,
    batch: &[Heard],
    now: DateTime<Utc>,
) -> sqlx::Result<BTreeMap<u64, Person>> {
    let newest: BTreeMap<u64, (&said::Message, &[u64])> = batch
        .iter()
        .filter_map(|heard| Some((heard.message.as_ref()?, heard.roles.as_slice())))
        .filter(|(message, _)| message.is_by_person() && !settings.blocked.contains(&message.author.id))
        .map(|(message, roles)| (message.author.id, (message, roles)))
        .collect();
    let mut authors = BTreeMap::new();
    for (user, (message, roles)) in newest {
        authors.insert(user, who(tx, settings, user, &message.author.name, roles, now).await?);
    }
    Ok(authors)
}

/// The person behind a user of Discord, with the role that their roles there give them at this moment.
pub(super) async fn who(
    tx: &mut Tx,
    settings: &Settings,
    user: u64,
    name: &str,
    roles: &[u64],
    now: DateTime<Utc>,
) -> sqlx::Result<Person> {
    let id = people::by_discord(tx, user, name, now).await?;
    people::set_discord_role(tx, id, mapped_role(settings, roles), now).await?;
    people::person_in(tx, id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// The greatest role that these Discord roles give.
pub(super) fn mapped_role(settings: &Settings, roles: &[u64]) -> Option<Role> {
    let holds = |role: Option<u64>| role.is_some_and(|role| roles.contains(&role));
    if holds(settings.staff_roles.admin) {
        Some(Role::Admin)
    } else if holds(settings.staff_roles.moderator) {
        Some(Role::Moderator)
    } else {
        None
    }
}

/// Its author deleted it, or a moderator of the server did. A reply that has not left by mail is taken back with it.
async fn deleted(
    tx: &mut Tx,
    thread: &Thread,
    message: u64,
    heard: &Heard,
    now: DateTime<Utc>,
) -> Result<Fate, TicketError> {
    let ticket = tickets::lock_any(tx, thread.ticket).await?;
    let Some(written) = threads::written_as(tx, message).await? else {
        return Ok(suppressed("nothing was kept of the message"));
    };
    let id = written.message;
    let act = Act { by: written.author, channel: Channel::Discord, now };
    match actions::undo(tx, &ticket, id, act).await {
        Ok(()) | Err(TicketError::TooLate) => {}
        Err(error) => return Err(error),
    }
    let ticket = tickets::lock_any(tx, thread.ticket).await?;
    let changed = actions::revise(tx, &ticket, id, Revision::Deleted, heard.ledger, act).await?;
    Ok(if changed { APPENDED } else { suppressed("it was deleted already") })
}

/// Its author wrote it anew. What staff wrote, only who is staff still may; and what has become a remark for staff alone
/// never replaces an answer: that is taken back where it can be.
async fn edited(
    tx: &mut Tx,
    settings: &Settings,
    thread: &Thread,
    who: &Person,
    (message, heard): (&said::Message, &Heard),
    now: DateTime<Utc>,
) -> Result<Fate, TicketError> {
    let ticket = tickets::lock_any(tx, thread.ticket).await?;
    let Some(written) = threads::written_as(tx, message.id).await? else {
        return Ok(suppressed("nothing was kept of the message"));
    };
    if written.author != who.id || (written.is_staffs && !who.role.is_staff()) {
        return Ok(suppressed("its author may not change it any more"));
    }
    let act = Act { by: who.id, channel: Channel::Discord, now };
    let plain =
        if thread.audience == Audience::Staff { settings.plain_messages } else { PlainMessages::Note };
    let stays_inside = plain == PlainMessages::Reply && message.content.trim_start().starts_with("//");
    if stays_inside && written.is_reply {
        return match actions::undo(tx, &ticket, written.message, act).await {
            Ok(()) => Ok(APPENDED),
            Err(TicketError::TooLate) => Ok(suppressed("the answer has left; a remark does not replace it")),
            Err(error) => Err(error),
        };
    }
    let text = kept_text(message, plain);
    let revision = Revision::Edited(&text);
    let changed = actions::revise(tx, &ticket, written.message, revision, heard.ledger, act).await?;
    Ok(if changed { APPENDED } else { suppressed("nothing changed in its text") })
}

/// The text to keep: mentions as words, because mail and others' threads can't show them, and without the mark that
/// kept it inside, where that mark has a meaning.
fn kept_text(message: &said::Message, plain: PlainMessages) -> String {
    let said = text::plain(&message.text(), &BTreeMap::new());
    let said = match plain {
        PlainMessages::Reply => said.trim_start().strip_prefix("//").map_or(said.as_str(), str::trim_start),
        PlainMessages::Note => said.as_str(),
    };
    said.trim().to_owned()
}

fn inbound(message: &said::Message, heard: &Heard, thread: &Thread, who: &Person) -> Inbound {
    let said = kept_text(message, PlainMessages::Note);
    Inbound {
        ledger: Some(heard.ledger),
        channel: Channel::Discord,
        author: NewParticipant { person: who.id, address: message.author.id.to_string() },
        rfc_id: None,
        subject: String::new(),
        body: said.clone(),
        visible: said,
        html: None,
        sender_class: "human",
        from_human: true,
        origin: Some(Origin { message: message.id, thread: Some(thread.id) }),
        reply_to: None,
        refs: Vec::new(),
        new_ids: Vec::new(),
        cc: Vec::new(),
        attachments: heard.files.clone(),
        problems: (!heard.problems.is_empty()).then(|| heard.problems.join("; ")),
        sent_at: Some(crate::discord::created_at(message.id)),
        received_at: heard.received_at,
    }
}

/// Copies a file while its signed address is good. Second of the error: another attempt may help.
async fn fetch(
    api: &Api,
    settings: &Settings,
    file: &said::Attachment,
    most_bytes: usize,
) -> Result<NewAttachment, (anyhow::Error, bool)> {
    let content = api.download(&file.url, &settings.cdn_hosts, most_bytes).await.map_err(|error| {
        let may_pass = matches!(error, DownloadError::Failed(_));
        (error.into(), may_pass)
    })?;
    Ok(NewAttachment {
        filename: crate::mail::body::filename(&file.name),
        content_type: file.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned()),
        content_id: None,
        inline: false,
        content: Content::new(content),
    })
}

/// The server understood and said no; as opposed to a connection that broke.
fn is_refusal(error: &TicketError) -> bool {
    let TicketError::Database(error) = error else { return true };
    // Class 22 data exception, 23 constraint, 54 program limit (PostgreSQL, appendix A); a deadlock is none of them.
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}
