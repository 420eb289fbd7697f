//! Comparing the server's list of a folder with the ledger: what was read must be in it.
//!
//! Reading by UID leaves no gap behind its cursor. A database that was restored from a backup, or rows that somebody
//! deleted, do. So all that the cursor has passed is compared at the first pass after the start and every 6 hours; a
//! mail without a row is fetched, and admins are told. A mail that is gone from the server is no gap.

use anyhow::Context;
use chrono::TimeDelta;
use serde::Serialize;

use super::connection::{ANSWER, Connection, ImapError, Opened};
use super::fetch::{self, Suspects};
use super::reader::{self, Reader};
use crate::alarms;
use crate::ingest::{self, Fetched, Source};
use crate::sources::lock::ReaderLock;

/// How often it is compared.
const EVERY: TimeDelta = TimeDelta::hours(6);
/// It breaks off this often before it waits for its next time: one mail must not cost those that are new.
const TRIES: u32 = 3;
/// So many UIDs are looked up by one statement.
const COMPARED: usize = 5000;
/// So many mails are asked for by one command: a set of UIDs is one line, and servers bound those.
const ASKED: usize = 100;

/// What came of comparing a folder with the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Mails on the server that were to be read, up to where the mailbox was read.
    pub on_server: usize,
    pub in_ledger: usize,
    pub missing: usize,
    /// Of those that were missing. The others are in quarantine: the server does not give them.
    pub fetched: usize,
}

/// Compares where it is time to. Returns how many mails came in.
pub(super) async fn when_due(
    connection: &mut Connection,
    reader: &mut Reader,
    opened: Opened,
    lock: Option<&ReaderLock>,
) -> Result<usize, ImapError> {
    let now = reader.clock.now();
    if reader.progress.reconciled.is_some_and(|at| now - at < EVERY) {
        return Ok(0);
    }
    if reader.progress.broken_off >= TRIES {
        let mailbox = reader.mailbox.as_str();
        tracing::warn!(
            mailbox,
            "mailbox {mailbox} could not be compared with the ledger; it is tried again later"
        );
        (reader.progress.reconciled, reader.progress.broken_off) = (Some(now), 0);
        return Ok(0);
    }
    let tries = reader.progress.broken_off;
    reader.progress.broken_off = tries + 1;
    // What made sense to nobody the first time is read by hand.
    let compared = compare(connection, reader, opened, tries > 0, lock).await?.unwrap_or_default();
    (reader.progress.reconciled, reader.progress.broken_off) = (Some(now), 0);
    tell(reader, compared).await?;
    Ok(compared.fetched)
}

/// Compares now, whoever reads the mailbox. Changes nothing on the server, and leaves the cursor alone.
pub async fn reconcile(reader: &Reader) -> anyhow::Result<Comparison> {
    // Where nobody reads, nobody is to begin in the middle; where somebody does, what is fetched twice is kept once.
    let Some(lock) = ReaderLock::try_acquire(&reader.db, &reader.lock_name()).await? else {
        return connect_and_compare(reader, None).await;
    };
    let compared = tokio::select! {
        compared = connect_and_compare(reader, Some(&lock)) => compared,
        lost = lock.lost() => Err(lost),
    };
    lock.release().await;
    compared
}

async fn connect_and_compare(reader: &Reader, lock: Option<&ReaderLock>) -> anyhow::Result<Comparison> {
    let mut connection = Connection::open(&reader.mailbox, &reader.settings).await?;
    let opened = connection.select(&reader.settings.folder, true).await?;
    let compared = compare(&mut connection, reader, opened, false, lock).await?;
    let compared = compared.context(
        "it was not read yet under the numbers that its folder has now; `ticketd serve` reads it from its beginning",
    )?;
    tell(reader, compared).await?;
    connection.close().await;
    Ok(compared)
}

/// `None`: the ledger knows nothing of this folder under the numbers that it has now.
async fn compare(
    connection: &mut Connection,
    reader: &Reader,
    opened: Opened,
    by_hand: bool,
    lock: Option<&ReaderLock>,
) -> Result<Option<Comparison>, ImapError> {
    let Some(known) = ingest::mailbox(&reader.db, &reader.mailbox).await? else { return Ok(None) };
    let account = reader::account(&reader.settings);
    let cursor = known.cursor.filter(|cursor| cursor.uidvalidity == opened.uidvalidity);
    let (Some(cursor), true) = (cursor, known.account.is_none_or(|known| known == account)) else {
        return Ok(None);
    };
    let source =
        Source { mailbox: &reader.mailbox, account: known.account_number, uidvalidity: opened.uidvalidity };
    let first = known.left_alone_through.saturating_add(1);
    if cursor.last_uid < first {
        return Ok(Some(Comparison::default()));
    }
    // Until a command that may say EXPUNGE, the server lists what is gone.
    connection.command("NOOP", ANSWER, |_| {}).await?;
    let on_server = fetch::uids(connection, first, cursor.last_uid).await?;
    let mut missing = Vec::new();
    for uids in on_server.chunks(COMPARED) {
        missing.extend(ingest::missing(&reader.db, source, uids).await?);
    }
    let mut compared = Comparison {
        on_server: on_server.len(),
        in_ledger: on_server.len() - missing.len(),
        ..Comparison::default()
    };
    for uids in missing.chunks(ASKED) {
        let got = get(connection, reader, source, uids, by_hand, lock).await?;
        compared.missing += got.fetched + got.withheld;
        compared.fetched += got.fetched;
    }
    // Less those that went away meanwhile.
    compared.on_server = compared.in_ledger + compared.missing;
    Ok(Some(compared))
}

#[derive(Debug, Default)]
struct Got {
    fetched: usize,
    withheld: usize,
}

/// Fetches mails that are missing and puts them into the ledger; what the server does not give is put into quarantine.
async fn get(
    connection: &mut Connection,
    reader: &Reader,
    source: Source<'_>,
    uids: &[u32],
    by_hand: bool,
    lock: Option<&ReaderLock>,
) -> Result<Got, ImapError> {
    let (db, clock, max_bytes) = (&reader.db, &reader.clock, reader.max_message_bytes);
    let listed = fetch::still_listed(connection, uids).await?;
    let mut got = Got::default();
    for portion in fetch::scattered(&listed, max_bytes) {
        let haul = if by_hand {
            None
        } else {
            match fetch::fetch(connection, &portion, max_bytes, &Suspects::default()).await {
                Ok(haul) => Some(haul),
                Err(ImapError::Refused(_) | ImapError::Withheld) => None,
                Err(other) => return Err(other),
            }
        };
        if let Some(haul) = haul {
            reader::check(lock).await?;
            got.fetched += haul.mails.len();
            ingest::receive_missing(db, clock, source, haul.mails).await?;
            continue;
        }
        for uid in portion.uids() {
            let raw = match fetch::by_hand(connection, *uid, max_bytes).await {
                Ok(raw) => raw,
                Err(error @ (ImapError::Refused(_) | ImapError::Withheld)) => {
                    got.withheld += 1;
                    ingest::receive_unreadable(db, clock, source, *uid, &error.to_string()).await?;
                    continue;
                }
                Err(other) => return Err(other),
            };
            let Some(raw) = raw else { continue };
            reader::check(lock).await?;
            got.fetched += 1;
            ingest::receive_missing(db, clock, source, vec![Fetched { uid: *uid, raw }]).await?;
        }
    }
    Ok(got)
}

/// A gap is told once; so is that there is none any more.
async fn tell(reader: &Reader, compared: Comparison) -> anyhow::Result<()> {
    let Comparison { missing, fetched, .. } = compared;
    let (db, mailbox, now) = (&reader.db, reader.mailbox.as_str(), reader.clock.now());
    if missing == 0 {
        return Ok(alarms::settle(db, alarms::GAP, mailbox, now).await?);
    }
    tracing::error!(
        mailbox,
        missing,
        fetched,
        "mailbox {mailbox}: {missing} mails on the server were not in the ledger; {fetched} of them were fetched"
    );
    let reason =
        format!("{missing} mails on the server were not in the ledger; {fetched} of them were fetched now");
    Ok(alarms::report(db, alarms::GAP, mailbox, &reason, now).await?)
}
