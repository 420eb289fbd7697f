//! Where a ticket is shown in Discord: a thread for staff, and one for a requester who opened it there.
//!
//! What must be shown is written down with the change it follows from: the thread's row, relays of messages, a
//! `mirror` job for each thread. Where Discord is not configured (no row in `discord_guild`) all of this is nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::{Channel, Status};
use crate::ids::{DeliveryId, MessageId, PersonId, ThreadId, TicketId};
use crate::queue::{self, Tx};

mod sql;

/// The server that tickets are shown in, by Discord's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guild {
    pub guild: u64,
    pub support_channel: u64,
    pub staff_channel: u64,
}

/// Says which server tickets are shown in from now on; `None`: they are not shown any more.
pub async fn configure(db: &PgPool, guild: Option<Guild>) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    match guild {
        Some(guild) => sql::set_guild(&mut tx, guild).await?,
        None => sql::clear_guild(&mut tx).await?,
    }
    tx.commit().await
}

/// At start: what was left to show, in threads that are not broken, is shown now.
pub async fn resume(db: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let unfinished = sql::unfinished(&mut tx).await?;
    wake(&mut tx, &unfinished, now).await?;
    tx.commit().await
}

/// Who a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Staff,
    /// The requester, staff who were added, and whoever was invited.
    Requester,
}

impl Audience {
    fn parse(text: &str) -> Self {
        // The column's CHECK leaves nothing else; the one that shows less is the safe reading.
        if text == "staff" { Self::Staff } else { Self::Requester }
    }
}

/// One place where a ticket is shown.
#[derive(Clone, Debug)]
pub struct Thread {
    pub id: ThreadId,
    pub ticket: TicketId,
    pub audience: Audience,
    /// Random; stands for the ticket in what a client of Discord sends back.
    pub handle: String,
    /// The thread's id in Discord; `None`: not made yet.
    pub channel: Option<u64>,
    /// The message that shows the facts, and the hash of what it shows.
    pub card: Option<u64>,
    pub card_hash: Option<Vec<u8>>,
    /// Discord users that were added to it.
    pub members: Vec<u64>,
    /// Making it was begun: look for it before making it again.
    pub begun_at: Option<DateTime<Utc>>,
    /// Archived and locked by us.
    pub archived: bool,
    /// Why nothing can be shown there any more.
    pub broken: Option<String>,
    /// The newest message of it in the ledger.
    pub last_seen: u64,
    /// For a while nothing was heard of it: it is read on before anything else of it is kept.
    pub read_on: bool,
}

/// One thread.
pub async fn thread(db: &PgPool, id: ThreadId) -> sqlx::Result<Option<Thread>> {
    sql::threads(db, Some(id.0), None, None, None).await.map(|mut list| list.pop())
}

/// The thread with this id in Discord.
pub async fn by_channel(db: &PgPool, channel: u64) -> sqlx::Result<Option<Thread>> {
    let channel = i64::try_from(channel).unwrap_or(-1);
    sql::threads(db, None, Some(channel), None, None).await.map(|mut list| list.pop())
}

/// Those of these ids in Discord that are threads of tickets.
pub async fn by_channels(db: &PgPool, channels: &[u64]) -> sqlx::Result<Vec<Thread>> {
    let channels: Vec<i64> = channels.iter().filter_map(|id| i64::try_from(*id).ok()).collect();
    sql::by_channels(db, &channels).await
}

/// The thread that a handle stands for.
pub async fn by_handle(db: &PgPool, handle: &str) -> sqlx::Result<Option<Thread>> {
    if handle.contains('\0') {
        return Ok(None);
    }
    sql::threads(db, None, None, Some(handle), None).await.map(|mut list| list.pop())
}

/// The threads of a ticket: staff's first.
pub async fn of_ticket(db: &PgPool, ticket: TicketId) -> sqlx::Result<Vec<Thread>> {
    sql::threads(db, None, None, None, Some(ticket.0)).await
}

/// How long after its ticket was closed a thread is still read on in: somebody may have written there before it was
/// archived, while nobody listened.
const READ_AFTER_CLOSING: TimeDelta = TimeDelta::days(1);

/// Threads that something may have been said in meanwhile, oldest first: made, not broken, and not archived by us, or
/// only lately.
pub async fn listening(db: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<Thread>> {
    sql::listening(db, now - READ_AFTER_CLOSING).await
}

/// The ticket changed: its threads show it, and are made where there are none yet.
pub async fn changed(tx: &mut Tx, ticket: TicketId, now: DateTime<Utc>) -> sqlx::Result<()> {
    let threads = sql::ensure(tx, ticket.0, now).await?;
    wake(tx, &threads, now).await
}

/// A message is shown in every thread of its ticket that may show it and that it was not written in. `leaves_at`: a
/// requester sees it then, and until then it can be taken back.
pub(super) async fn relay(
    tx: &mut Tx,
    ticket: TicketId,
    message: MessageId,
    leaves_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let threads = sql::ensure(tx, ticket.0, now).await?;
    if threads.is_empty() {
        return Ok(());
    }
    sql::insert_relays(tx, message.0, leaves_at, now).await?;
    wake(tx, &threads, now).await
}

async fn wake(tx: &mut Tx, threads: &[i64], at: DateTime<Utc>) -> sqlx::Result<()> {
    let jobs: Vec<_> = threads.iter().map(|id| (&queue::MIRROR, *id, at)).collect();
    queue::enqueue_all(tx, &jobs, at).await
}

/// What a thread must know of its ticket to show it.
#[derive(Clone, Debug)]
pub struct Setting {
    pub subject: String,
    pub status: Status,
    pub priority: String,
    /// How the ticket came.
    pub channel: String,
    pub closed_at: Option<DateTime<Utc>>,
    pub requester_name: String,
    /// As Discord knows them; `None`: it does not.
    pub requester: Option<u64>,
    pub assignee_name: Option<String>,
    pub assignee: Option<u64>,
    /// All that may be in the requester's thread, as Discord knows them: the requester, participants, the assignee.
    pub entitled: Vec<u64>,
    /// Why the thread for the requester shows nothing any more.
    pub requester_thread_broken: Option<String>,
}

/// What a thread must know of its ticket; `None`: there is no such ticket.
pub async fn setting(db: &PgPool, ticket: TicketId) -> sqlx::Result<Option<Setting>> {
    sql::setting(db, ticket.0).await
}

/// Notes that making the thread begins, so that another attempt looks for it first. Returns when it began at first.
pub async fn begin(db: &PgPool, thread: ThreadId, now: DateTime<Utc>) -> sqlx::Result<DateTime<Utc>> {
    sql::begin(db, thread.0, now).await
}

/// The message that shows the facts was deleted before a thread was made of it: making the thread begins anew.
pub async fn begin_anew(db: &PgPool, thread: ThreadId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::begin_anew(db, thread.0, now).await
}

/// Notes the message that shows the facts, and the hash of what it shows.
pub async fn card_shown(db: &PgPool, thread: ThreadId, card: u64, hash: &[u8]) -> sqlx::Result<()> {
    sql::card_shown(db, thread.0, signed(card), hash).await
}

/// Notes the thread's id in Discord.
pub async fn made(db: &PgPool, thread: ThreadId, channel: u64) -> sqlx::Result<()> {
    sql::made(db, thread.0, signed(channel)).await
}

/// Notes that a user was added to the thread.
pub async fn joined(db: &PgPool, thread: ThreadId, user: u64) -> sqlx::Result<()> {
    sql::joined(db, thread.0, signed(user)).await
}

/// Notes that a user was taken out of the thread.
pub async fn left(db: &PgPool, thread: ThreadId, user: u64) -> sqlx::Result<()> {
    sql::left(db, thread.0, signed(user)).await
}

/// Notes whether the thread is archived and locked.
pub async fn set_archived(db: &PgPool, thread: ThreadId, archived: bool) -> sqlx::Result<()> {
    sql::set_archived(db, thread.0, archived).await
}

/// Nothing can be shown there any more; an event on the ticket says why. What waits to be shown waits for a repair.
pub async fn broke(tx: &mut Tx, thread: &Thread, why: &str, now: DateTime<Utc>) -> sqlx::Result<()> {
    ticket_first(tx, thread.ticket).await?;
    if sql::set_broken(tx, thread.id.0, why).await? {
        let audience = if thread.audience == Audience::Staff { "staff" } else { "requester" };
        let data = serde_json::json!({"audience": audience, "why": why});
        super::sql::insert_event(tx, thread.ticket.0, "thread_broken", None, Channel::Discord, &data, now)
            .await?;
    }
    Ok(())
}

/// Whether staff were told that the thread is broken.
pub async fn is_told(db: &PgPool, thread: ThreadId) -> sqlx::Result<bool> {
    sql::is_told(db, thread.0).await
}

/// Staff were told that the thread is broken, as well as that went. Where it is gone, the next one is another, and shows the
/// conversation from its beginning.
pub async fn told(tx: &mut Tx, thread: &Thread, is_gone: bool, now: DateTime<Utc>) -> sqlx::Result<()> {
    ticket_first(tx, thread.ticket).await?;
    sql::set_told(tx, thread.id.0).await?;
    if is_gone {
        forget(tx, thread.id, now).await?;
    }
    Ok(())
}

async fn forget(tx: &mut Tx, thread: ThreadId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::forget(tx, thread.0).await?;
    sql::relay_again(tx, thread.0).await?;
    sql::relay_its_own(tx, thread.0, now).await
}

/// Locks the ticket before its threads and relays, as whoever changes it does: an event, or a relay, that refers to it would
/// else wait for it with a thread in hand that the other waits for.
async fn ticket_first(tx: &mut Tx, ticket: TicketId) -> sqlx::Result<()> {
    super::sql::lock(tx, ticket.0).await?;
    Ok(())
}

/// Tries again with a broken thread; `anew`: with another one, although this one is not known to be gone.
pub async fn repair(
    tx: &mut Tx,
    thread: &Thread,
    anew: bool,
    by: PersonId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sql::repair(tx, thread.id.0).await?;
    if anew {
        forget(tx, thread.id, now).await?;
    }
    let data = serde_json::json!({"anew": anew});
    super::sql::insert_event(
        tx,
        thread.ticket.0,
        "thread_repaired",
        Some(by.0),
        Channel::Discord,
        &data,
        now,
    )
    .await?;
    // The staff thread's card spoke of it.
    changed(tx, thread.ticket, now).await
}

/// Threads of which nothing was heard for a while, and which can be heard again.
pub async fn to_read_on(db: &PgPool) -> sqlx::Result<Vec<Thread>> {
    sql::to_read_on(db).await
}

/// Notes that a thread was read on to its end.
pub async fn was_read_on(db: &PgPool, thread: ThreadId) -> sqlx::Result<()> {
    sql::was_read_on(db, thread.0).await
}

/// Notes how far a thread was read.
pub async fn seen(tx: &mut Tx, thread: ThreadId, message: u64) -> sqlx::Result<()> {
    sql::seen(tx, thread.0, signed(message)).await
}

/// What became of a message since it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    AsWritten,
    Edited,
    Deleted,
    /// Staff took it back before it left.
    Withdrawn,
}

/// A message on its way into a thread, or there already.
#[derive(Clone, Debug)]
pub struct Relay {
    pub delivery: DeliveryId,
    pub message: MessageId,
    /// `inbound`, `outbound` or `note`.
    pub kind: String,
    /// How it came: `email`, `discord`, `web`.
    pub channel: String,
    pub author_name: Option<String>,
    pub author_address: Option<String>,
    /// As it stands after the last revision.
    pub text: String,
    pub sender_class: String,
    pub unverified: bool,
    /// Why what claims to be staff's was kept as a note.
    pub why_unverified: Option<String>,
    pub problems: Option<String>,
    /// It is the first message of its ticket.
    pub is_first: bool,
    /// Its author is the ticket's requester.
    pub by_requester: bool,
    pub standing: Standing,
    /// Until then it can be taken back.
    pub leaves_at: Option<DateTime<Utc>>,
    /// What it became in Discord so far, by position.
    pub posts: BTreeMap<usize, u64>,
    /// As it stood when this was read.
    pub refresh_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// Relays of a thread that are due and not posted yet, oldest first.
pub async fn due_relays(db: &PgPool, thread: ThreadId, now: DateTime<Utc>) -> sqlx::Result<Vec<Relay>> {
    sql::relays(db, thread.0, false, now).await
}

/// Relays of a thread that were posted and must be shown anew.
pub async fn stale_relays(db: &PgPool, thread: ThreadId, now: DateTime<Utc>) -> sqlx::Result<Vec<Relay>> {
    sql::relays(db, thread.0, true, now).await
}

/// Notes one part of a relay that was posted.
pub async fn posted(db: &PgPool, relay: DeliveryId, position: usize, message: u64) -> sqlx::Result<()> {
    sql::insert_post(db, relay.0, place(position), signed(message)).await
}

/// Notes that one part of a relay is not there any more.
pub async fn unposted(db: &PgPool, relay: DeliveryId, position: usize) -> sqlx::Result<()> {
    sql::delete_post(db, relay.0, place(position)).await
}

/// The newest message of ours in the thread that is written down as a part of a relay.
pub async fn last_post(db: &PgPool, thread: ThreadId) -> sqlx::Result<Option<u64>> {
    Ok(sql::last_post(db, thread.0).await?.map(unsigned))
}

/// The relay is there whole, as it stood when it was read; what changed since is shown anew.
pub async fn relayed(db: &PgPool, relay: &Relay, now: DateTime<Utc>) -> sqlx::Result<()> {
    sql::set_relayed(db, relay.delivery.0, relay.refresh_at, relay.leaves_at, now).await
}

/// The relay can never be posted, for this reason; an event on the ticket says so.
pub async fn unpostable(
    db: &PgPool,
    ticket: TicketId,
    relay: DeliveryId,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    ticket_first(&mut tx, ticket).await?;
    if sql::set_unpostable(&mut tx, relay.0, why).await? {
        let data =
            serde_json::json!({"delivery": relay, "purpose": "relay", "state": "failed", "reason": why});
        super::sql::insert_event(&mut tx, ticket.0, "delivery", None, Channel::Discord, &data, now).await?;
    }
    tx.commit().await
}

/// The relay shows its message as it stood when it was read; what changed since is shown anew.
pub async fn refreshed(db: &PgPool, relay: &Relay) -> sqlx::Result<()> {
    sql::set_refreshed(db, relay.delivery.0, relay.refresh_at, relay.leaves_at).await
}

/// When the next relay of a thread falls due or stale after `now`, so that its job comes back.
pub async fn next_due(
    db: &PgPool,
    thread: ThreadId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sql::next_due(db, thread.0, now).await
}

/// The ticket that a message in Discord belongs to: as it was read from there, or relayed to there.
pub async fn message_of(db: &PgPool, discord_message: u64) -> sqlx::Result<Option<MessageId>> {
    Ok(sql::message_of(db, signed(discord_message)).await?.map(MessageId))
}

fn place(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX)
}

/// What a message in Discord was kept as.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub message: MessageId,
    pub author: PersonId,
    /// It goes to the requester.
    pub is_reply: bool,
    /// It was written as staff: a reply or a note.
    pub is_staffs: bool,
}

/// What a message in Discord was kept as, if it was.
pub async fn written_as(tx: &mut Tx, discord_message: u64) -> sqlx::Result<Option<Written>> {
    sql::written_as(tx, signed(discord_message)).await
}

/// Discord's ids are 63-bit numbers for the next hundred years.
fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(-1)
}

fn unsigned(id: i64) -> u64 {
    u64::try_from(id).unwrap_or_default()
}
