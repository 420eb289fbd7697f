//! Reading one mailbox for as long as the process lives.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::after;
use super::connection::{ANSWER, Connection, ImapError, ImapSettings, Opened};
use super::fetch::{self, Haul, Portion, Suspects};
use super::login::Login;
use super::reconcile;
use crate::alarms;
use crate::clock::Clock;
use crate::config::{After, Start};
use crate::crash;
use crate::database::Refusals;
use crate::ingest::{self, Fetched, Source};
use crate::oauth::AccessToken;
use crate::sources::lock::ReaderLock;

/// One mailbox and all that reading it takes.
#[derive(Debug)]
pub struct Reader {
    /// Its name in the configuration.
    pub mailbox: String,
    pub settings: ImapSettings,
    /// What is done to a mail on the server once it is in the ledger.
    pub after: After,
    /// What is taken in where the mailbox was never read before.
    pub start: Start,
    /// Of a larger mail only this much is read.
    pub max_message_bytes: usize,
    pub db: PgPool,
    pub clock: Clock,
    pub pace: Pace,
    /// What was learned while reading; starts as the default.
    pub progress: Progress,
}

impl Reader {
    /// What its [`ReaderLock`] is called.
    pub(super) fn lock_name(&self) -> String {
        format!("imap:{}", self.mailbox)
    }
}

/// How often things are done.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long one IDLE lasts. Servers and NAT gateways drop connections that are idle for longer.
    pub renew: Duration,
    /// How often a server without IDLE is asked for mail.
    pub poll: Duration,
    /// The pause after the first failure; it doubles with each.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// The longest pause where our own database is away: it minds no login, and mail waits.
    pub longest_storage_pause: Duration,
    /// The shortest pause after a refused login: more of them would lock the account.
    pub refused_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            renew: Duration::from_mins(5),
            poll: Duration::from_mins(1),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            longest_storage_pause: Duration::from_secs(15),
            refused_pause: Duration::from_mins(1),
        }
    }
}

/// What a reader knows beyond one connection.
#[derive(Debug, Default)]
pub struct Progress {
    suspects: Suspects,
    uidvalidity: u32,
    failures: u32,
    /// When the first of these failures was.
    failing_since: Option<DateTime<Utc>>,
    /// It was read since the last failure, and nobody is alarmed.
    is_well: bool,
    /// When mails that the server did not give were last asked for.
    asked_again: Option<DateTime<Utc>>,
    /// When its list was last compared with the ledger, and how often that broke off since.
    pub(super) reconciled: Option<DateTime<Utc>>,
    pub(super) broken_off: u32,
    /// The number of the account that the name stands for.
    account: i32,
    /// Where it is noted that nothing can be stored.
    pub refusals: Refusals,
}

/// Reads until `shutdown`. Whatever happens is repaired by trying again, later each time.
pub async fn run(mut reader: Reader, shutdown: CancellationToken) {
    // Dropping it in the middle is safe: what is not committed is read again.
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = read_for_ever(&mut reader) => {}
    }
}

/// One pass: connects, reads what is new, does the after-actions, logs out. Returns how many mails were new.
///
/// Takes no [`ReaderLock`]: the caller knows that nobody else reads.
pub async fn sync_once(reader: &mut Reader) -> anyhow::Result<usize> {
    let mut connection = Connection::open(&reader.mailbox, &reader.settings).await?;
    let opened = open_folder(&mut connection, reader).await?;
    let count = sync(&mut connection, reader, opened, None).await?;
    connection.close().await;
    Ok(count)
}

async fn read_for_ever(reader: &mut Reader) {
    loop {
        let Err(error) = read_until_it_breaks(reader).await;
        if matches!(error, ImapError::TokenRenewed) {
            tracing::debug!(mailbox = reader.mailbox, "a new access token: the session is opened anew");
            continue;
        }
        reader.progress.failures = reader.progress.failures.saturating_add(1);
        reader.progress.is_well = false;
        let pause = pause(&reader.pace, reader.progress.failures, &error, rand::random_range(0.5..=1.0));
        let (mailbox, pause_s) = (reader.mailbox.as_str(), pause.as_secs_f32());
        tracing::warn!(
            mailbox,
            pause_s,
            "mailbox {mailbox} can't be read, next try in {pause_s:.0} s: {error:#}"
        );
        if let ImapError::Storage(cause) = &error {
            reader.progress.refusals.note(mailbox, cause);
        }
        note_health(reader, Some(&format!("{error:#}"))).await;
        raise_alarm(reader, &error).await;
        tokio::time::sleep(pause).await;
    }
}

/// Has somebody told, where it will not pass by itself or has gone on for too long.
async fn raise_alarm(reader: &mut Reader, error: &ImapError) {
    let now = reader.clock.now();
    let since = *reader.progress.failing_since.get_or_insert(now);
    let is_alarming = match error {
        ImapError::LoginRefused(_) | ImapError::NoFolder(_) => reader.progress.failures >= TRIES_BEFORE_ALARM,
        // Who holds the tokens has raised an alarm about them, with what to do; about the database none could be stored.
        ImapError::GrantRefused(_) | ImapError::TokenRenewed | ImapError::Storage(_) => false,
        ImapError::Unreachable(_)
        | ImapError::Refused(_)
        | ImapError::Withheld
        | ImapError::NoIdle
        | ImapError::Lost(_)
        | ImapError::Unparsable => now - since >= TIME_BEFORE_ALARM,
    };
    if !is_alarming {
        return;
    }
    let (db, reason) = (&reader.db, format!("{error:#}"));
    if let Err(error) = alarms::report(db, alarms::MAILBOX, &reader.mailbox, &reason, now).await {
        tracing::warn!(mailbox = reader.mailbox, %error, "an alarm can't be raised");
    }
}

/// It was read to its end.
async fn all_is_well(reader: &mut Reader) {
    reader.progress.failures = 0;
    reader.progress.failing_since = None;
    reader.progress.refusals.settle(&reader.mailbox);
    if reader.progress.is_well {
        return;
    }
    match alarms::settle(&reader.db, alarms::MAILBOX, &reader.mailbox, reader.clock.now()).await {
        Ok(()) => reader.progress.is_well = true,
        Err(error) => tracing::warn!(mailbox = reader.mailbox, %error, "an alarm can't be cleared"),
    }
}

/// The pause before the next try; `jitter` (0.5 to 1) keeps many readers from coming back at once.
fn pause(pace: &Pace, failures: u32, error: &ImapError, jitter: f32) -> Duration {
    let doubled = pace.first_pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let capped = doubled.min(pace.longest_pause);
    match error {
        ImapError::LoginRefused(_) => capped.max(pace.refused_pause),
        // Nobody is asked until the file is another one, so looking is cheap.
        ImapError::GrantRefused(_) => pace.refused_pause,
        ImapError::Storage(_) => capped.min(pace.longest_storage_pause).mul_f32(jitter),
        _ => capped.mul_f32(jitter),
    }
}

/// One connection's life. Other processes may read while this one can't.
async fn read_until_it_breaks(reader: &mut Reader) -> Result<Infallible, ImapError> {
    let lock = ReaderLock::acquire(&reader.db, &reader.lock_name()).await?;
    hear_of_others(reader).await?;
    let broke = tokio::select! {
        broke = read_locked(reader, &lock) => broke,
        lost = lock.lost() => Err(ImapError::Storage(lost)),
    };
    // Or our own next try would find it taken until PostgreSQL has noticed.
    lock.release().await;
    broke
}

/// While this process waited another may have read: then nothing failed all along, and an alarm of the other's may be open.
async fn hear_of_others(reader: &mut Reader) -> Result<(), ImapError> {
    let progress = &mut reader.progress;
    progress.is_well = false;
    let read_at = ingest::mailbox(&reader.db, &reader.mailbox).await?.and_then(|known| known.checked_at);
    if progress.failing_since.is_some_and(|since| read_at.is_some_and(|at| at > since)) {
        progress.failing_since = None;
        progress.failures = 0;
    }
    Ok(())
}

async fn read_locked(reader: &mut Reader, lock: &ReaderLock) -> Result<Infallible, ImapError> {
    let mut connection = Connection::open(&reader.mailbox, &reader.settings).await?;
    let opened = open_folder(&mut connection, reader).await?;
    loop {
        let count = sync(&mut connection, reader, opened, Some(lock)).await?;
        all_is_well(reader).await;
        tracing::debug!(mailbox = reader.mailbox, count, "mailbox read");
        if !connection.news {
            let pace = until_renewal(&reader.pace, &connection, reader.clock.now());
            wait_for_news(&mut connection, &pace).await?;
        }
        if is_renewed(connection.token.as_ref(), reader).await? {
            connection.close().await;
            return Err(ImapError::TokenRenewed);
        }
    }
}

/// Waits no longer than the session's access token is the best there is.
fn until_renewal(pace: &Pace, connection: &Connection, now: DateTime<Utc>) -> Pace {
    let Some(token) = &connection.token else { return *pace };
    let left = (token.renew_at - now).to_std().unwrap_or_default().max(Duration::from_secs(1));
    Pace { renew: pace.renew.min(left), poll: pace.poll.min(left), ..*pace }
}

/// Whether there is another access token than the session's, whose time has come.
async fn is_renewed(session: Option<&AccessToken>, reader: &Reader) -> Result<bool, ImapError> {
    let (Some(token), Login::OAuth(oauth)) = (session, &reader.settings.login) else { return Ok(false) };
    if reader.clock.now() < token.renew_at {
        return Ok(false);
    }
    Ok(!oauth.token().await?.is_same(token))
}

async fn wait_for_news(connection: &mut Connection, pace: &Pace) -> Result<(), ImapError> {
    if connection.abilities.idle {
        match connection.idle(pace.renew).await {
            // It said that it can, and can't.
            Err(ImapError::NoIdle) => connection.abilities.idle = false,
            idled => return idled,
        }
    }
    tokio::time::sleep(pace.poll).await;
    connection.command("NOOP", ANSWER, |_| {}).await
}

async fn open_folder(connection: &mut Connection, reader: &mut Reader) -> Result<Opened, ImapError> {
    let read_only = reader.after == After::Keep;
    let opened = connection.select(&reader.settings.folder, read_only).await?;
    if reader.progress.uidvalidity != opened.uidvalidity {
        reader.progress.uidvalidity = opened.uidvalidity;
        reader.progress.suspects = Suspects::default();
    }
    Ok(opened)
}

/// One full pass over an open folder: reads every mail after the cursor, then does the after-actions. Returns how
/// many mails came in.
async fn sync(
    connection: &mut Connection,
    reader: &mut Reader,
    opened: Opened,
    lock: Option<&ReaderLock>,
) -> Result<usize, ImapError> {
    let mut count = 0;
    // Each further round fetches with narrower portions: the server refused a wider one.
    while let Narrowed::Yes = read_new(connection, reader, opened, lock, &mut count).await? {}
    check(lock).await?;
    ask_again(connection, reader, opened.uidvalidity).await?;
    count += reconcile::when_due(connection, reader, opened, lock).await?;
    let health = act_on_committed(connection, reader, opened.uidvalidity).await?;
    note_health(reader, health.as_deref()).await;
    Ok(count)
}

/// Whether a portion has to be fetched again, mail by mail.
enum Narrowed {
    Yes,
    No,
}

/// Reads every mail after the cursor. The next portion is fetched while the one before is committed, if it is not a large one.
async fn read_new(
    connection: &mut Connection,
    reader: &mut Reader,
    opened: Opened,
    lock: Option<&ReaderLock>,
    count: &mut usize,
) -> Result<Narrowed, ImapError> {
    // Before the cursor is read: what is announced from here on is seen by the next pass at the latest.
    connection.news = false;
    let max_bytes = reader.max_message_bytes;
    let Some(beginning) = begin(connection, reader, opened).await? else { return Ok(Narrowed::No) };
    let after = beginning.after;
    let mut listed = fetch::list(connection, after).await?;
    let last_listed = listed.last().map(|mail| mail.uid);
    let left = leave_alone(connection, reader, opened, &beginning).await?;
    listed.retain(|mail| left.binary_search(&mail.uid).is_err());
    let mut suspects = std::mem::take(&mut reader.progress.suspects);
    let mut fetched: Option<Haul> = None;
    let mut outcome = Ok(Narrowed::No);
    for portion in fetch::portions(&listed, max_bytes, &suspects) {
        if let Err(error) = suspects.hear_witness(connection, &portion, &listed).await {
            outcome = Err(error);
            break;
        }
        let committing = commit(reader, opened.uidvalidity, fetched.take(), lock);
        let (next, committed) = fetch_beside(connection, &portion, max_bytes, &suspects, committing).await;
        outcome = match (next, committed) {
            (Ok(haul), Ok(new)) => {
                *count += new;
                fetched = Some(haul);
                continue;
            }
            (_, Err(error)) => Err(error),
            (Err(error), Ok(new)) => {
                *count += new;
                suspects.note(&portion, &error, reader.clock.now());
                match error {
                    ImapError::Refused(_) | ImapError::Withheld if !portion.is_single() => Ok(Narrowed::Yes),
                    other => Err(other),
                }
            }
        };
        break;
    }
    if let (Ok(Narrowed::No), Some(last), false) = (&outcome, last_listed, left.is_empty()) {
        // What is left alone is behind the cursor, too.
        fetched.get_or_insert_default().last = last;
    }
    let last = fetched.as_ref().map(|haul| haul.last);
    reader.progress.suspects = suspects;
    *count += commit(reader, opened.uidvalidity, fetched, lock).await?;
    reader.progress.suspects.settle(last.unwrap_or(after));
    outcome
}

/// Fetches a portion while the one before is committed; a large one after that, so that only one of them is in memory.
async fn fetch_beside(
    connection: &mut Connection,
    portion: &Portion,
    max_bytes: usize,
    suspects: &Suspects,
    committing: impl Future<Output = Result<usize, ImapError>>,
) -> (Result<Haul, ImapError>, Result<usize, ImapError>) {
    let fetching = fetch::fetch(connection, portion, max_bytes, suspects);
    if !portion.is_large() {
        return tokio::join!(fetching, committing);
    }
    match committing.await {
        Ok(new) => (fetching.await, Ok(new)),
        Err(error) => (Ok(Haul::default()), Err(error)),
    }
}

/// Where reading begins.
#[derive(Debug)]
struct Beginning {
    /// The UID to read after.
    after: u32,
    /// What the server had before then is left alone.
    leave_until: Option<DateTime<Utc>>,
}

/// So often a login is refused, or a folder not found, before somebody is told: servers refuse one now and then for no reason.
const TRIES_BEFORE_ALARM: u32 = 3;
/// So long any other trouble may take.
const TIME_BEFORE_ALARM: TimeDelta = TimeDelta::minutes(10);
/// How often mails are asked for that the server did not give.
const ASK_AGAIN: TimeDelta = TimeDelta::hours(6);
/// How far the clock of another computer may differ from ours.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::hours(1);

/// `None`: this was the first look at a mailbox of which only new mail is wanted.
async fn begin(
    connection: &mut Connection,
    reader: &mut Reader,
    opened: Opened,
) -> Result<Option<Beginning>, ImapError> {
    let (db, mailbox) = (&reader.db, reader.mailbox.as_str());
    let from = |after| Ok(Some(Beginning { after, leave_until: None }));
    let known = ingest::mailbox(db, mailbox).await?;
    let account = account(&reader.settings);
    reader.progress.account = known.as_ref().map_or(0, |known| known.account_number);
    let Some(known) = known.filter(|known| known.account.is_some() || known.cursor.is_some()) else {
        if reader.start == Start::New {
            let last_uid = match opened.uidnext {
                Some(next) => next.saturating_sub(1),
                None => fetch::list(connection, 0).await?.last().map_or(0, |mail| mail.uid),
            };
            ingest::begin_after(db, &reader.clock, mailbox, opened.uidvalidity, last_uid).await?;
        }
        ingest::note_account(db, mailbox, &account).await?;
        return if reader.start == Start::New { Ok(None) } else { from(0) };
    };
    let mut leave_until = known.left_alone_until;
    if known.account.as_ref().is_some_and(|known| *known != account) {
        // Until it was last read, the name stood for another account; what this one had by then is not new.
        leave_until = Some(known.checked_at.unwrap_or_else(|| reader.clock.now()) - CLOCKS_DIFFER);
        ingest::change_account(db, mailbox, &account, leave_until).await?;
        reader.progress.account = known.account_number + 1;
        tracing::warn!(mailbox, "mailbox {mailbox} is another account now: it is read from its beginning");
    } else {
        ingest::note_account(db, mailbox, &account).await?;
        match known.cursor {
            Some(cursor) if cursor.uidvalidity == opened.uidvalidity => return from(cursor.last_uid),
            Some(_) => {
                tracing::info!(mailbox, "mailbox {mailbox} has a new UIDVALIDITY: its mails are read again");
            }
            None => {}
        }
    }
    Ok(Some(Beginning { after: 0, leave_until: leave_until.filter(|_| reader.start == Start::New) }))
}

/// User, server and folder: what the numbers of mails belong to.
pub(super) fn account(settings: &ImapSettings) -> String {
    format!("{} on {} in {}", settings.user, settings.host.to_lowercase(), settings.folder)
}

/// Puts what is to be left alone into the ledger before anything is read, and says what that is; ascending.
async fn leave_alone(
    connection: &mut Connection,
    reader: &Reader,
    opened: Opened,
    beginning: &Beginning,
) -> Result<Vec<u32>, ImapError> {
    let source = source(reader, opened.uidvalidity);
    if let Some(until) = beginning.leave_until {
        let older = fetch::older(connection, beginning.after, until).await?;
        ingest::leave_alone(&reader.db, &reader.clock, source, &older).await?;
    } else if reader.start == Start::All {
        return Ok(Vec::new());
    }
    // Also where an earlier pass did not come to its end.
    Ok(ingest::left_alone(&reader.db, source, beginning.after).await?)
}

fn source(reader: &Reader, uidvalidity: u32) -> Source<'_> {
    Source { mailbox: &reader.mailbox, account: reader.progress.account, uidvalidity }
}

/// Puts a portion into the ledger, and the cursor behind it. Returns the number of mails.
async fn commit(
    reader: &Reader,
    uidvalidity: u32,
    haul: Option<Haul>,
    lock: Option<&ReaderLock>,
) -> Result<usize, ImapError> {
    let Some(Haul { mails, unreadable, last }) = haul else { return Ok(0) };
    check(lock).await?;
    let (db, clock, source) = (&reader.db, &reader.clock, source(reader, uidvalidity));
    if let Some((uid, reason)) = unreadable {
        ingest::receive_unreadable(db, clock, source, uid, &reason).await?;
    }
    let count = mails.len();
    ingest::receive_imap(db, clock, source, mails, last).await?;
    Ok(count)
}

/// Asks for the mails once more that the server did not give: what was wrong with it may have been put right.
async fn ask_again(
    connection: &mut Connection,
    reader: &mut Reader,
    uidvalidity: u32,
) -> Result<(), ImapError> {
    let now = reader.clock.now();
    if reader.progress.asked_again.is_some_and(|at| now - at < ASK_AGAIN) {
        return Ok(());
    }
    // Before it is done: a mail that breaks the connection must not do so each time.
    reader.progress.asked_again = Some(now);
    let source = source(reader, uidvalidity);
    for uid in ingest::unreadable(&reader.db, source).await? {
        if let Some(raw) = fetch::once_more(connection, uid, reader.max_message_bytes).await? {
            ingest::receive_late(&reader.db, &reader.clock, source, Fetched { uid, raw }).await?;
        }
    }
    Ok(())
}

/// Fails where another process may be reading by now.
pub(super) async fn check(lock: Option<&ReaderLock>) -> Result<(), ImapError> {
    match lock {
        Some(lock) => Ok(lock.check().await?),
        None => Ok(()),
    }
}

/// Does the after-action to every mail that is in the ledger and still waits for it. A server that refuses does not
/// keep us from reading; what it said is returned.
async fn act_on_committed(
    connection: &mut Connection,
    reader: &Reader,
    uidvalidity: u32,
) -> Result<Option<String>, ImapError> {
    let source = source(reader, uidvalidity);
    let mails = ingest::unacted(&reader.db, source).await?;
    // Of these we may have the start only: the rest is nowhere but on the server.
    let is_cut = |size: usize| reader.after == After::Delete && size >= reader.max_message_bytes;
    let (cut, whole): (Vec<_>, Vec<_>) = mails.into_iter().partition(|(_, size)| is_cut(*size));
    let uids_of = |mails: Vec<(u32, usize)>| mails.into_iter().map(|(uid, _)| uid).collect::<Vec<u32>>();
    let (cut, uids) = (uids_of(cut), uids_of(whole));
    if !cut.is_empty() {
        let count = cut.len();
        tracing::warn!(count, "{count} mails too large to be read whole are left on the server");
        ingest::acted(&reader.db, source, &cut).await?;
    }
    for uids in uids.chunks(after::MOST_MAILS) {
        match after::act(connection, &reader.after, &reader.settings.folder, uids).await {
            Ok(()) => {
                crash::point("after.acted");
                ingest::acted(&reader.db, source, uids).await?;
            }
            Err(ImapError::Refused(said)) => {
                let mailbox = reader.mailbox.as_str();
                let trouble = format!("mails are read, but the action after that (`after`) fails: {said}");
                tracing::warn!(mailbox, "mailbox {mailbox}: {trouble}");
                return Ok(Some(trouble));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}

async fn note_health(reader: &Reader, trouble: Option<&str>) {
    if let Err(error) = ingest::note_health(&reader.db, &reader.clock, &reader.mailbox, trouble).await {
        tracing::warn!(mailbox = reader.mailbox, "the mailbox's health can't be noted: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_are_longer_after_a_refused_login() {
        let pace = Pace::default();
        let lost = ImapError::Lost("gone".to_owned());
        let pauses = [1, 2, 3, 8, 9, 10, 1000].map(|failures| pause(&pace, failures, &lost, 1.0).as_secs());
        assert_eq!(pauses, [1, 2, 4, 128, 256, 300, 300]);
        assert_eq!(pause(&pace, 1, &lost, 0.5), Duration::from_millis(500));
        let storage = ImapError::Storage(anyhow::anyhow!("the database is away"));
        assert_eq!(
            [1, 4, 5, 1000].map(|failures| pause(&pace, failures, &storage, 1.0).as_secs()),
            [1, 8, 15, 15]
        );
        let refused = ImapError::LoginRefused("no".to_owned());
        assert_eq!([1, 9].map(|failures| pause(&pace, failures, &refused, 0.5).as_secs()), [60, 256]);
    }
}
