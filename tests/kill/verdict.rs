//! What must be true in the end, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;

use super::post::Post;
use crate::harness::daemon::Premises;
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::header;

/// The figures of a run.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) tickets: usize,
    /// Mails that are in no ticket.
    pub(super) lost: usize,
    /// Mails that are in more than one place.
    pub(super) doubled: usize,
    pub(super) acknowledgements: usize,
    /// Mails that left twice, under the same Message-ID.
    pub(super) second_copies: usize,
    /// Everything that is not as it must be, `lost` and `doubled` included.
    pub(super) faults: Vec<String>,
}

impl Figures {
    #[expect(clippy::needless_pass_by_value, reason = "it reads like assert_eq!")]
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.faults.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    }
}

/// Compares database, mailbox and what was sent with what was written.
pub(super) async fn examine(premises: &Premises, dovecot: &Dovecot, post: &Post) -> Figures {
    let mut figures = Figures::default();
    ledger(premises, dovecot, post, &mut figures).await;
    let ticket_of = places(premises, post, &mut figures).await;
    counts(premises, post, &mut figures).await;
    outbox(premises, post, &ticket_of, &mut figures).await;
    figures
}

/// Ledger and mailbox hold the same mails; a redelivered one is a duplicate.
async fn ledger(premises: &Premises, dovecot: &Dovecot, post: &Post, figures: &mut Figures) {
    let rows = sqlx::query("SELECT uid, fate FROM inbound ORDER BY uid").fetch_all(&premises.db).await;
    let rows = rows.expect("the ledger");
    let uids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let flags = dovecot.flags(&premises.user).await;
    let in_mailbox: Vec<i64> = flags.iter().map(|(uid, _)| i64::from(*uid)).collect();
    figures.expect("mails in the mailbox", in_mailbox.len(), post.bags.len());
    figures.expect("UIDs in the ledger", uids, in_mailbox);
    let unseen = flags.iter().filter(|(_, flags)| !flags.iter().any(|flag| flag == "\\Seen")).count();
    figures.expect("mails that were not marked as seen", unseen, 0);
    let mut fates: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        let fate = row.get::<Option<String>, _>(1).unwrap_or_else(|| "none".to_owned());
        *fates.entry(fate).or_default() += 1;
    }
    let duplicates = fates.remove("duplicate").unwrap_or_default();
    figures.expect("duplicates", duplicates, post.redelivered());
    let threads = threads(post).len();
    figures.expect("mails that opened a ticket", fates.remove("ticketed").unwrap_or_default(), threads);
    let appended = fates.remove("appended").unwrap_or_default();
    figures.expect("mails that joined one", appended, post.letters.len() - threads);
    figures.expect("other fates", fates, BTreeMap::new());
}

fn threads(post: &Post) -> BTreeSet<usize> {
    post.letters.iter().map(|letter| letter.thread).collect()
}

/// Every mail is in exactly one place, beside the others of its thread. Returns the ticket of each thread.
async fn places(premises: &Premises, post: &Post, figures: &mut Figures) -> BTreeMap<usize, i64> {
    let rows = sqlx::query("SELECT ticket_id, body FROM messages").fetch_all(&premises.db).await;
    let messages: Vec<(i64, String)> =
        rows.expect("the messages").iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut ticket_of: BTreeMap<usize, i64> = BTreeMap::new();
    for letter in &post.letters {
        let mut found = messages.iter().filter(|(_, body)| body.contains(&letter.marker));
        let Some((ticket, _)) = found.next() else {
            figures.lost += 1;
            figures.faults.push(format!("lost: {}", letter.marker));
            continue;
        };
        if found.next().is_some() {
            figures.doubled += 1;
            figures.faults.push(format!("doubled: {}", letter.marker));
        }
        let first = *ticket_of.entry(letter.thread).or_insert(*ticket);
        figures.expect(&format!("ticket of {}", letter.marker), *ticket, first);
    }
    figures.expect("messages", messages.len(), post.letters.len());
    let distinct: BTreeSet<i64> = ticket_of.values().copied().collect();
    figures.expect("tickets for as many threads", distinct.len(), threads(post).len());
    figures.tickets = distinct.len();
    ticket_of
}

/// One triage and one assignment each, and nothing left to do.
async fn counts(premises: &Premises, post: &Post, figures: &mut Figures) {
    let threads = i64::try_from(threads(post).len()).expect("small");
    for (what, expected) in [
        ("SELECT count(*) FROM tickets", threads),
        ("SELECT count(*) FROM triages", threads),
        ("SELECT count(DISTINCT ticket_id) FROM triages", threads),
        ("SELECT count(*) FROM assignments WHERE outcome = 'matched'", threads),
        ("SELECT count(DISTINCT ticket_id) FROM assignments", threads),
        ("SELECT count(*) FROM assignments", threads),
        ("SELECT count(*) FROM jobs WHERE failed_at IS NOT NULL OR run_at <= now()", 0),
        ("SELECT count(*) FROM deliveries WHERE state <> 'sent'", 0),
    ] {
        figures.expect(what, premises.count(what).await, expected);
    }
}

/// What left is what the database says has left; one acknowledgement for each ticket of a human, none for a machine's.
async fn outbox(premises: &Premises, post: &Post, ticket_of: &BTreeMap<usize, i64>, figures: &mut Figures) {
    let mut copies: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for mail in premises.sink.mails() {
        let id = header(&mail.text(), "Message-ID").expect("a Message-ID");
        copies.entry(id.trim_matches(['<', '>']).to_owned()).or_default().push(mail.raw);
    }
    figures.second_copies = copies.values().map(|copies| copies.len() - 1).sum();
    for (id, copies) in &copies {
        let same = copies.iter().all(|copy| Some(copy) == copies.first());
        figures.expect(&format!("all copies of {id} are the same"), same, true);
    }
    let query = sqlx::query("SELECT rfc_id, kind, ticket_id, address FROM deliveries ORDER BY rfc_id");
    let rows = query.fetch_all(&premises.db).await.expect("the deliveries");
    let recorded: BTreeSet<String> = rows.iter().filter_map(|row| row.get(0)).collect();
    figures.expect("Message-IDs that left", copies.into_keys().collect::<BTreeSet<_>>(), recorded);

    let mut acknowledged: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut told_staff: BTreeMap<i64, usize> = BTreeMap::new();
    for row in &rows {
        match row.get("kind") {
            "acknowledgement" => acknowledged.entry(row.get(2)).or_default().push(row.get(3)),
            _ => *told_staff.entry(row.get(2)).or_default() += 1,
        }
    }
    figures.acknowledgements = acknowledged.values().map(Vec::len).sum();
    for thread in threads(post) {
        let letters: Vec<_> = post.letters.iter().filter(|letter| letter.thread == thread).collect();
        let (Some(ticket), Some(first)) = (ticket_of.get(&thread), letters.first()) else { continue };
        let expected = if first.human { vec![first.from.clone()] } else { Vec::new() };
        let found = acknowledged.remove(ticket).unwrap_or_default();
        figures.expect(&format!("acknowledgements for ticket {ticket}"), found, expected);
        // The assignment, and every mail that came after it.
        let notices = told_staff.remove(ticket).unwrap_or_default();
        let in_bounds = (1..=letters.len()).contains(&notices);
        figures.expect(
            &format!("{notices} notices for the {} mails of {ticket}", letters.len()),
            in_bounds,
            true,
        );
    }
}
