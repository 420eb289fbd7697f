//! What people in Discord do and ask for, where Discord itself is not needed for it.

use std::sync::atomic::{AtomicI64, Ordering};

use ticketd::ids::{InboundId, PersonId, TicketId};
use ticketd::people::link::{self, Asked, LinkError, Linked};
use ticketd::people::{self, Person};
use ticketd::tickets::read::{self, Filter, Sight, Sort};
use ticketd::tickets::{self, Channel, Inbound, NewParticipant, Opening, Origin, linking};

use super::desk::Desk;
use super::mail::text;

/// Somebody in Discord, as they are known after anything they did there.
pub async fn in_discord(desk: &Desk, account: u64, name: &str) -> PersonId {
    let mut tx = desk.db.begin().await.expect("a transaction");
    let person = people::by_discord(&mut tx, account, name, desk.clock.now()).await.expect("a person");
    tx.commit().await.expect("a commit");
    person
}

pub async fn by_mail(desk: &Desk, address: &str) -> Option<Person> {
    let mut tx = desk.db.begin().await.expect("a transaction");
    people::find_by_address(&mut tx, address).await.expect("the database answers")
}

/// `/link`: asks for a code.
pub async fn asks(desk: &Desk, person: PersonId, address: &str) -> Result<Asked, LinkError> {
    let mut tx = desk.db.begin().await.expect("a transaction");
    let asked = link::ask(&mut tx, &desk.app.config, person, address, desk.clock.now()).await;
    tx.commit().await.expect("a commit");
    asked
}

/// `/link` with a code.
pub async fn types(desk: &Desk, person: PersonId, code: &str) -> Result<Linked, LinkError> {
    let mut tx = desk.db.begin().await.expect("a transaction");
    let linked = linking::redeem(&mut tx, &desk.app.code_key, person, code, desk.clock.now()).await;
    tx.commit().await.expect("a commit");
    linked
}

/// The code in the newest mail to an address.
pub fn code_mailed_to(desk: &Desk, address: &str) -> String {
    let text = text(&desk.last_mail_to(address));
    let code = text.lines().find_map(|line| line.strip_prefix("    ")).expect("a code");
    code.trim().to_owned()
}

/// Asks for a code, gets the mail, types it.
pub async fn links(desk: &Desk, person: PersonId, address: &str) -> Linked {
    asks(desk, person, address).await.expect("a code");
    desk.settle().await;
    let linked = types(desk, person, &code_mailed_to(desk, address)).await.expect("the right code");
    desk.settle().await;
    linked
}

pub fn said(result: Result<impl std::fmt::Debug, LinkError>) -> String {
    result.expect_err("a refusal").to_string()
}

/// What somebody writes in Discord.
pub fn message(person: PersonId, account: u64, subject: &str) -> Inbound {
    static COUNT: AtomicI64 = AtomicI64::new(1_000_000);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Inbound {
        ledger: Some(InboundId(number)),
        channel: Channel::Discord,
        author: NewParticipant { person, address: account.to_string() },
        rfc_id: None,
        subject: subject.to_owned(),
        body: "Hello, I want a refund of my invoice.".to_owned(),
        visible: "Hello, I want a refund of my invoice.".to_owned(),
        html: None,
        sender_class: "human",
        from_human: true,
        origin: Some(Origin { message: number.unsigned_abs(), thread: None }),
        reply_to: None,
        refs: Vec::new(),
        new_ids: Vec::new(),
        cc: Vec::new(),
        attachments: Vec::new(),
        problems: None,
        sent_at: None,
        received_at: "2026-11-21T09:00:00Z".parse().expect("a date"),
    }
}

/// A ticket that is opened in Discord.
pub async fn opens(desk: &Desk, person: PersonId, account: u64, subject: &str) -> TicketId {
    let mut tx = desk.db.begin().await.expect("a transaction");
    let message = message(person, account, subject);
    let (ticket, _) =
        tickets::open(&mut tx, &message, &Opening::default(), desk.clock.now()).await.expect("a ticket");
    tx.commit().await.expect("a commit");
    desk.settle().await;
    ticket
}

pub async fn own_tickets(desk: &Desk, person: PersonId) -> Vec<i64> {
    let (sight, all) = (Sight::Requester(person), Filter::default());
    let list = read::list(&desk.db, sight, &all, Sort::Newest, None, 50).await.expect("tickets");
    list.tickets.iter().map(|ticket| ticket.number.0).collect()
}

pub async fn person(desk: &Desk, id: PersonId) -> Person {
    people::person(&desk.db, id).await.expect("the database answers").expect("a person")
}
