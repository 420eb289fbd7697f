//! Which mails there are to read, in which portions, and getting them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_imap::imap_proto::{AttributeValue, Response};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::connection::{ANSWER, Connection, ImapError, silent};
use crate::ingest::Fetched;

/// Most mails in one portion: one command, one transaction.
const MOST_MAILS: usize = 100;
/// Most bytes in one portion, of mails that are not bigger than that themselves.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// The slowest line that is still worth waiting for.
const BYTES_PER_SECOND: u64 = 16 * 1024;
/// A mail that failed this often by itself is suspected. One answer that makes no sense counts [`NONSENSE`].
const STRIKES: u32 = 5;
/// A suspect that no other mail bears witness against is given up after this long.
const LONGEST_TRUST: TimeDelta = TimeDelta::hours(6);
/// As much of another mail shows that the server can read mail.
const WITNESS_BYTES: usize = 1024;
const NONSENSE: u32 = 3;
/// Longest line in an answer that is read by hand.
const LONGEST_LINE: u64 = 64 * 1024;

/// A mail that waits in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) uid: u32,
    pub(super) size: u32,
}

/// How a portion is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Whole.
    Whole,
    /// One mail, its first bytes only.
    Start,
    /// One mail, past the parser that failed on it.
    ByHand,
    /// One mail, not at all: it failed too often.
    Never,
}

/// Mails that are fetched and committed together. All that the folder lists between its ends is in it, or it is scattered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Portion {
    uids: Vec<u32>,
    bytes: u64,
    how: How,
    /// Mails lie between its ends that are not wanted.
    scattered: bool,
}

impl Portion {
    /// The highest UID: what the cursor becomes.
    pub(super) fn last(&self) -> u32 {
        self.uids.last().copied().unwrap_or_default()
    }

    /// Its mails, ascending.
    pub(super) fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// Whether two of its size at once would be much.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Whether there is nothing to narrow down.
    pub(super) fn is_single(&self) -> bool {
        self.uids.len() <= 1
    }
}

/// What a portion gave.
#[derive(Debug, Default)]
pub(super) struct Haul {
    pub(super) mails: Vec<Fetched>,
    /// A mail that can't be read, and why.
    pub(super) unreadable: Option<(u32, String)>,
    pub(super) last: u32,
}

/// Mails that made trouble, so that one of them can't stop the others. Outlives the connection.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Mails up to this UID are fetched one by one.
    alone_until: u32,
    strikes: BTreeMap<u32, Strikes>,
}

#[derive(Debug)]
struct Strikes {
    count: u32,
    nonsense: bool,
    reason: String,
    first: DateTime<Utc>,
    /// The server gave another mail meanwhile.
    witnessed: bool,
    /// It is given up.
    hopeless: bool,
}

impl Strikes {
    fn since(first: DateTime<Utc>) -> Self {
        Self { count: 0, nonsense: false, reason: String::new(), first, witnessed: false, hopeless: false }
    }
}

impl Suspects {
    /// Remembers that fetching this portion failed. A mail is given up where it is the mail that is at fault: a server
    /// that can't read any for a while must not cost those that wait.
    pub(super) fn note(&mut self, portion: &Portion, error: &ImapError, now: DateTime<Utc>) {
        let nonsense = match error {
            ImapError::Unparsable => true,
            ImapError::Refused(_) | ImapError::Withheld | ImapError::Lost(_) => false,
            ImapError::Unreachable(_)
            | ImapError::LoginRefused(_)
            | ImapError::GrantRefused(_)
            | ImapError::NoFolder(_)
            | ImapError::TokenRenewed
            | ImapError::NoIdle
            | ImapError::Storage(_) => return,
        };
        if portion.is_single() {
            let strikes = self.strikes.entry(portion.last()).or_insert_with(|| Strikes::since(now));
            strikes.count += if nonsense { NONSENSE } else { 1 };
            strikes.nonsense |= nonsense;
            strikes.reason = error.to_string();
            let is_old = now - strikes.first >= LONGEST_TRUST;
            strikes.hopeless = strikes.count >= STRIKES && (strikes.nonsense || strikes.witnessed || is_old);
        } else {
            self.alone_until = portion.last();
        }
    }

    /// Forgets mails up to `last_uid`: they are dealt with.
    pub(super) fn settle(&mut self, last_uid: u32) {
        self.strikes.retain(|uid, _| *uid > last_uid);
    }

    fn is_suspect(&self, uid: u32) -> bool {
        uid <= self.alone_until || self.strikes.contains_key(&uid)
    }

    fn how(&self, mail: Listed, max_bytes: usize) -> How {
        match self.strikes.get(&mail.uid) {
            Some(strikes) if strikes.hopeless => How::Never,
            Some(strikes) if strikes.nonsense => How::ByHand,
            _ if mail.size as usize > max_bytes => How::Start,
            _ => How::Whole,
        }
    }

    /// Before a suspect is fetched, the next mail is: if the server gives that one, the fault is the suspect's.
    pub(super) async fn hear_witness(
        &mut self,
        connection: &mut Connection,
        portion: &Portion,
        listed: &[Listed],
    ) -> Result<(), ImapError> {
        let uid = portion.last();
        let is_witness = |mail: &&Listed| mail.uid > uid && !self.strikes.contains_key(&mail.uid);
        let witness = listed.iter().find(is_witness).map(|mail| mail.uid);
        let Some(strikes) = self.strikes.get_mut(&uid).filter(|s| s.count >= STRIKES && !s.hopeless) else {
            return Ok(());
        };
        if let (Some(witness), false) = (witness, strikes.witnessed) {
            strikes.witnessed = read_start(connection, witness, WITNESS_BYTES).await?;
        }
        Ok(())
    }

    fn reason(&self, uid: u32) -> String {
        self.strikes.get(&uid).map(|strikes| strikes.reason.clone()).unwrap_or_default()
    }
}

/// The UIDs after `after` of mails that the server had before `before`, ascending.
pub(super) async fn older(
    connection: &mut Connection,
    after: u32,
    before: DateTime<Utc>,
) -> Result<Vec<u32>, ImapError> {
    let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
    let mut older = Vec::new();
    connection
        .command(&format!("UID FETCH {first}:* (UID INTERNALDATE)"), ANSWER * 4, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let date = attributes.iter().find_map(|attribute| match attribute {
                AttributeValue::InternalDate(date) => internal_date(date),
                _ => None,
            });
            // Of a mail without a date that can be read nothing is known: it is read.
            older
                .extend(uid(attributes).filter(|uid| *uid > after && date.is_some_and(|date| date < before)));
        })
        .await?;
    older.sort_unstable();
    older.dedup();
    Ok(older)
}

/// RFC 3501 §9, `date-time`: `17-Jul-1996 02:44:25 -0700`, a short day with a space before it.
fn internal_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok().map(|date| date.to_utc())
}

/// The mails after UID `after`, ascending.
pub(super) async fn list(connection: &mut Connection, after: u32) -> Result<Vec<Listed>, ImapError> {
    let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
    let mut listed = sizes(connection, &format!("{first}:*")).await?;
    // `*` is the last mail, so `7:*` names mail 6 where there is no later one (RFC 3501 §6.4.8).
    listed.retain(|mail| mail.uid > after);
    Ok(listed)
}

/// Those of these mails that are in the folder, ascending.
pub(super) async fn still_listed(
    connection: &mut Connection,
    uids: &[u32],
) -> Result<Vec<Listed>, ImapError> {
    let mut listed = sizes(connection, &uid_set(uids)).await?;
    listed.retain(|mail| uids.binary_search(&mail.uid).is_ok());
    Ok(listed)
}

async fn sizes(connection: &mut Connection, set: &str) -> Result<Vec<Listed>, ImapError> {
    let mut listed = Vec::new();
    let command = format!("UID FETCH {set} (UID RFC822.SIZE)");
    connection
        .command(&command, ANSWER * 4, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let size = attributes.iter().find_map(|attribute| match attribute {
                AttributeValue::Rfc822Size(size) => Some(*size),
                _ => None,
            });
            listed.extend(uid(attributes).zip(size).map(|(uid, size)| Listed { uid, size }));
        })
        .await?;
    listed.sort_unstable_by_key(|mail| mail.uid);
    listed.dedup_by_key(|mail| mail.uid);
    Ok(listed)
}

/// The UIDs in the folder from `first` to `last`, ascending.
pub(super) async fn uids(connection: &mut Connection, first: u32, last: u32) -> Result<Vec<u32>, ImapError> {
    let mut found = Vec::new();
    connection
        .command(&format!("UID FETCH {first}:{last} (UID)"), ANSWER * 4, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            found.extend(uid(attributes).filter(|uid| (first..=last).contains(uid)));
        })
        .await?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Cuts the list into portions, bounded by count and by bytes.
pub(super) fn portions(listed: &[Listed], max_bytes: usize, suspects: &Suspects) -> Vec<Portion> {
    let mut portions: Vec<Portion> = Vec::new();
    let mut open = false;
    for mail in listed {
        let how = suspects.how(*mail, max_bytes);
        let bytes = match how {
            How::Whole => u64::from(mail.size),
            How::Start | How::ByHand => u64::from(mail.size).min(max_bytes as u64),
            How::Never => 0,
        };
        let alone = how != How::Whole || suspects.is_suspect(mail.uid);
        match portions.last_mut() {
            Some(portion)
                if open
                    && !alone
                    && portion.uids.len() < MOST_MAILS
                    && portion.bytes + bytes <= MOST_BYTES =>
            {
                portion.uids.push(mail.uid);
                portion.bytes += bytes;
            }
            _ => portions.push(Portion { uids: vec![mail.uid], bytes, how, scattered: false }),
        }
        open = !alone;
    }
    portions
}

/// Portions of mails that are wanted, and not those between them.
pub(super) fn scattered(listed: &[Listed], max_bytes: usize) -> Vec<Portion> {
    let mut portions = portions(listed, max_bytes, &Suspects::default());
    for portion in &mut portions {
        portion.scattered = true;
    }
    portions
}

/// Fetches a portion. A mail that vanished from the folder meanwhile is left out.
pub(super) async fn fetch(
    connection: &mut Connection,
    portion: &Portion,
    max_bytes: usize,
    suspects: &Suspects,
) -> Result<Haul, ImapError> {
    let last = portion.last();
    let patience = ANSWER * 2 + Duration::from_secs(portion.bytes / BYTES_PER_SECOND);
    let body = match portion.how {
        How::Never => {
            let reason = suspects.reason(last);
            return Ok(Haul { unreadable: Some((last, reason)), last, mails: Vec::new() });
        }
        How::ByHand => {
            let read = tokio::time::timeout(patience, read_by_hand(connection, last, max_bytes)).await;
            let raw = read.map_err(|_elapsed| silent(patience))??;
            if raw.is_none() && still_there(connection, &[last]).await? {
                return Err(ImapError::Withheld);
            }
            let mails = raw.map(|raw| Fetched { uid: last, raw }).into_iter().collect();
            return Ok(Haul { mails, unreadable: None, last });
        }
        How::Start => {
            tracing::warn!(
                uid = last,
                "a mail is larger than mail.max_message_bytes; only its start is kept"
            );
            format!("BODY.PEEK[]<0.{max_bytes}>")
        }
        How::Whole => "BODY.PEEK[]".to_owned(),
    };
    let first = portion.uids.first().copied().unwrap_or(last);
    let set = if portion.scattered { uid_set(&portion.uids) } else { format!("{first}:{last}") };
    let mut found: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    connection
        .command(&format!("UID FETCH {set} (UID {body})"), patience, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let raw = attributes.iter().find_map(|attribute| match attribute {
                AttributeValue::BodySection { section: None, data: Some(data), .. } => Some(data.to_vec()),
                _ => None,
            });
            found.extend(uid(attributes).zip(raw));
        })
        .await?;
    let missing: Vec<u32> = portion.uids.iter().copied().filter(|uid| !found.contains_key(uid)).collect();
    if !missing.is_empty() && still_there(connection, &missing).await? {
        return Err(ImapError::Withheld);
    }
    let mails = found.into_iter().map(|(uid, raw)| Fetched { uid, raw }).collect();
    Ok(Haul { mails, unreadable: None, last })
}

/// Whether the server gives the start of a mail.
async fn read_start(connection: &mut Connection, uid: u32, bytes: usize) -> Result<bool, ImapError> {
    let mut given = false;
    let command = format!("UID FETCH {uid} (UID BODY.PEEK[]<0.{bytes}>)");
    connection
        .command(&command, ANSWER * 2, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            given |=
                attributes.iter().any(|a| matches!(a, AttributeValue::BodySection { data: Some(_), .. }));
        })
        .await?;
    Ok(given)
}

/// One mail that was given up, once more. `None`: it is not given, or it is gone.
pub(super) async fn once_more(
    connection: &mut Connection,
    uid: u32,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, ImapError> {
    match by_hand(connection, uid, max_bytes).await {
        Err(ImapError::Refused(_) | ImapError::Withheld) => Ok(None),
        given_or_not => given_or_not,
    }
}

/// One mail, past the parser. `None`: it is gone.
pub(super) async fn by_hand(
    connection: &mut Connection,
    uid: u32,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, ImapError> {
    let portion = Portion { uids: vec![uid], bytes: max_bytes as u64, how: How::ByHand, scattered: false };
    let haul = fetch(connection, &portion, max_bytes, &Suspects::default()).await?;
    Ok(haul.mails.into_iter().next().map(|mail| mail.raw))
}

/// Whether any of these mails is still in the folder.
async fn still_there(connection: &mut Connection, uids: &[u32]) -> Result<bool, ImapError> {
    // Until the next command that may say EXPUNGE, the server pretends that they are.
    connection.command("NOOP", ANSWER, |_| {}).await?;
    let mut there = false;
    let command = format!("UID FETCH {} (UID)", uid_set(uids));
    connection
        .command(&command, ANSWER, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            there |= uid(attributes).is_some_and(|uid| uids.contains(&uid));
        })
        .await?;
    Ok(there)
}

fn uid(attributes: &[AttributeValue<'_>]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })
}

/// Fetches one mail without async-imap's parser, which stumbles over what some servers send along with it: all that
/// is understood here is the literal that holds the mail, and the line that ends the answer. `None`: no such mail.
async fn read_by_hand(
    connection: &mut Connection,
    uid: u32,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, ImapError> {
    let broken = |error: std::io::Error| ImapError::Lost(format!("the connection broke: {error}"));
    let wire = connection.wire();
    let tag = format!("HAND{uid}");
    let command = format!("{tag} UID FETCH {uid} (BODY.PEEK[]<0.{max_bytes}>)\r\n");
    wire.write_all(command.as_bytes()).await.map_err(broken)?;
    wire.flush().await.map_err(broken)?;
    let mut raw = None;
    loop {
        let mut line = Vec::new();
        (&mut *wire).take(LONGEST_LINE).read_until(b'\n', &mut line).await.map_err(broken)?;
        if !line.ends_with(b"\n") {
            return Err(ImapError::Unparsable);
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if let Some(outcome) = line.strip_prefix(&tag) {
            return match outcome.trim_start().get(..2) {
                Some(status) if status.eq_ignore_ascii_case("OK") => Ok(raw),
                _ => Err(ImapError::Refused("the server does not give the mail".to_owned())),
            };
        }
        if let Some(length) = literal(line) {
            if length > max_bytes {
                return Err(ImapError::Unparsable);
            }
            let mut bytes = vec![0; length];
            wire.read_exact(&mut bytes).await.map_err(broken)?;
            if line.to_ascii_uppercase().contains(" FETCH ") && line.to_ascii_uppercase().contains("BODY[]") {
                raw = Some(bytes);
            }
        }
    }
}

/// The length of the literal that a line announces: `… {42}`, `… {42+}` or `… ~{42}` (RFC 3501 §4.3, RFC 7888).
fn literal(line: &str) -> Option<usize> {
    let (_, number) = line.strip_suffix('}')?.rsplit_once('{')?;
    number.trim_end_matches('+').parse().ok()
}

/// UIDs as a sequence set, runs as ranges: `1:3,7`.
pub(super) fn uid_set(uids: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => runs.push((*uid, *uid)),
        }
    }
    let written = runs
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}:{last}") });
    written.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mails(sizes: &[u32]) -> Vec<Listed> {
        sizes.iter().zip(1..).map(|(size, uid)| Listed { uid, size: *size }).collect()
    }

    fn cut(listed: &[Listed], suspects: &Suspects) -> Vec<(Vec<u32>, How)> {
        portions(listed, 1000, suspects).into_iter().map(|portion| (portion.uids, portion.how)).collect()
    }

    #[test]
    fn portions_are_bounded_by_count_and_bytes() {
        let counted = portions(&mails(&[10; 250]), 1000, &Suspects::default());
        assert_eq!(counted.iter().map(|portion| portion.uids.len()).collect::<Vec<_>>(), [100, 100, 50]);
        let third = u32::try_from(MOST_BYTES / 3).unwrap();
        let weighed = portions(&mails(&[third; 7]), usize::MAX, &Suspects::default());
        assert_eq!(weighed.iter().map(|portion| portion.uids.len()).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(cut(&[], &Suspects::default()), []);
    }

    #[test]
    fn a_mail_that_is_too_large_is_cut_and_comes_alone() {
        let listed = mails(&[10, 2000, 10, 10]);
        let expected = [(vec![1], How::Whole), (vec![2], How::Start), (vec![3, 4], How::Whole)];
        assert_eq!(cut(&listed, &Suspects::default()), expected);
    }

    #[test]
    fn trouble_narrows_down_to_one_mail_and_then_passes_it_by() {
        let listed = mails(&[10; 4]);
        let mut suspects = Suspects::default();
        let now = DateTime::UNIX_EPOCH;
        let all = portions(&listed, 1000, &suspects);
        suspects.note(&all[0], &ImapError::Unparsable, now);
        assert_eq!(cut(&listed, &suspects).len(), 4);
        let third = Portion { uids: vec![3], bytes: 10, how: How::Whole, scattered: false };
        suspects.note(&third, &ImapError::Unparsable, now);
        assert_eq!(cut(&listed, &suspects)[2], (vec![3], How::ByHand));
        suspects.note(&third, &ImapError::Lost("gone".to_owned()), now);
        assert_eq!(cut(&listed, &suspects)[2], (vec![3], How::ByHand));
        suspects.note(&third, &ImapError::Storage(anyhow::anyhow!("ours")), now);
        suspects.note(&third, &ImapError::Withheld, now);
        assert_eq!(cut(&listed, &suspects)[2], (vec![3], How::Never));
        suspects.settle(3);
        assert_eq!(cut(&listed, &suspects)[2], (vec![3], How::Whole));
    }

    #[test]
    fn a_mail_that_nothing_speaks_against_is_given_up_late() {
        let listed = mails(&[10; 2]);
        let mut suspects = Suspects::default();
        let second = Portion { uids: vec![2], bytes: 10, how: How::Whole, scattered: false };
        let refused = ImapError::Refused("not now".to_owned());
        for minutes in [0, 1, 2, 3, 4, 5, 359] {
            let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
            suspects.note(&second, &refused, now);
            assert_eq!(cut(&listed, &suspects)[1], (vec![2], How::Whole), "{minutes}");
        }
        suspects.note(&second, &refused, DateTime::UNIX_EPOCH + LONGEST_TRUST);
        assert_eq!(cut(&listed, &suspects)[1], (vec![2], How::Never));
    }

    #[test]
    fn the_servers_date_of_a_mail_is_read() {
        for (text, date) in [
            ("17-Jul-1996 02:44:25 -0700", Some("1996-07-17T09:44:25Z")),
            (" 7-Jul-1996 02:44:25 +0000", Some("1996-07-07T02:44:25Z")),
            ("yesterday", None),
        ] {
            assert_eq!(internal_date(text), date.and_then(|date| date.parse().ok()), "{text}");
        }
    }

    #[test]
    fn uids_are_written_as_ranges() {
        for (uids, set) in
            [(&[1, 2, 3, 7][..], "1:3,7"), (&[5], "5"), (&[1, 3, 4, u32::MAX], "1,3:4,4294967295")]
        {
            assert_eq!(uid_set(uids), set);
        }
    }

    #[test]
    fn literals_are_found_at_the_end_of_a_line() {
        for (line, length) in [
            ("* 1 FETCH (BODY[]<0> {42}", Some(42)),
            ("* 1 FETCH (BODY[] {7+}", Some(7)),
            ("* 1 FETCH (BODY[] NIL)", None),
            ("* OK {nothing}", None),
        ] {
            assert_eq!(literal(line), length);
        }
    }
}
