//! What staff send by mail: answers to notices, with commands on their first lines, and mails of customers passed on.

use super::answer::{self, Known};
use super::commands::{self, Command, Orders};
use super::sql;
use super::stage::{Arrival, Ingest, Outcome, wanted_ids};
use super::understand::without_nul;
use crate::ids::{PersonId, TicketId};
use crate::mail::authentication::Verdict;
use crate::mail::classify::Class;
use crate::mail::forward::Forwarded;
use crate::mail::token::{Token, id_hash};
use crate::mail::{address, html, parse};
use crate::people::{self, Person};
use crate::queue::Tx;
use crate::tickets::actions::{self, Act, Caps};
use crate::tickets::changes::Turn;
use crate::tickets::{
    self, ANSWER_ABOVE, Channel, IdHash, Inbound, Locked, NewParticipant, Opening, StaffMessage, TicketError,
    outbox,
};

const NOT_VOUCHED: &str = "the mail server does not vouch for its sender (Authentication-Results)";

/// A member of staff whose notice a mail answers.
struct Holder {
    person: Person,
    ticket: TicketId,
    /// The ticket that the notice was about, where it was merged since.
    token: TicketId,
}

impl Ingest {
    /// A mail with a token made for a staff member: their answer, if it comes from their address.
    pub(super) async fn take_staff_answer(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        author: &Person,
        message: &Inbound,
        turn: Option<Turn>,
    ) -> Result<Option<Outcome>, TicketError> {
        let Some(holder) = holder(tx, arrival).await? else { return Ok(None) };
        let locked = tickets::lock(tx, holder.ticket).await?;
        // In staff's copy to all stands their address; who takes part and answers that speaks for themselves.
        let speaks_for_self = author.id != holder.person.id && !author.role.is_staff();
        if speaks_for_self && tickets::is_participant(tx, holder.ticket, author.id).await? {
            return Ok(None);
        }
        let proof = self.proof(arrival, author, &holder, &locked).map_err(str::to_owned);
        let done = match proof {
            Ok(()) => obey(tx, arrival, &holder, message, turn).await?,
            Err(why) => Err(why),
        };
        match done {
            Ok(what) => Ok(Some(Outcome::appended(holder.ticket, Some(what)))),
            Err(why) => {
                tickets::append_unverified(tx, &locked, message, &why, arrival.now).await?;
                Ok(Some(Outcome::appended(holder.ticket, Some(&why))))
            }
        }
    }

    fn proof(
        &self,
        arrival: &Arrival<'_>,
        author: &Person,
        holder: &Holder,
        ticket: &Locked,
    ) -> Result<(), &'static str> {
        if author.id != holder.person.id || arrival.read.is_from_us {
            Err("it answers a notice that was made for another person")
        } else if arrival.read.class != Class::Human {
            Err("an automatic answer from staff's mailbox")
        } else if ticket.status == tickets::Status::Closed {
            Err("the ticket is closed: a requester's mail reopens it")
        } else {
            self.vouched(arrival)
        }
    }

    /// The server that is trusted to know, and what it says about where the mail comes from.
    fn verdict(&self, arrival: &Arrival<'_>) -> (Option<&str>, Verdict) {
        let mailbox = self.config.mailbox(arrival.mailbox).or_else(|| self.config.default_mailbox());
        let trusted = mailbox.and_then(|mailbox| mailbox.authserv_id.as_deref());
        let from = arrival.read.from.as_deref().unwrap_or_default();
        (trusted, arrival.read.origin.verdict(trusted, from))
    }

    /// Whether nothing the mail server says speaks against it, and, where one is trusted, that it speaks for it.
    fn vouched(&self, arrival: &Arrival<'_>) -> Result<(), &'static str> {
        match self.verdict(arrival) {
            (_, Verdict::Fail) => Err("the mail server says that its sender is forged"),
            (Some(_), Verdict::Unknown) => Err(NOT_VOUCHED),
            (Some(_), Verdict::Pass) | (None, Verdict::Pass | Verdict::Unknown) => Ok(()),
        }
    }

    /// A customer's mail that a member of staff passes on with `#fwd` on the first line: a ticket of that customer's.
    pub(super) async fn take_forward(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        author: &Person,
        message: &mut Inbound,
        known: &[(IdHash, TicketId)],
    ) -> Result<Option<Outcome>, TicketError> {
        let read = arrival.read;
        let is_staff =
            author.role.is_staff() && author.active && !read.is_from_us && read.class == Class::Human;
        if !is_staff || !commands::is_forward(&read.mail.text) {
            return Ok(None);
        }
        // No notice was answered, so there is no signed address: the mail server's word is all that proves it.
        let found = match self.verdict(arrival) {
            (Some(_), Verdict::Pass) => {
                read.forwarded.as_ref().ok_or("no mail with the address of its author is in it")
            }
            (Some(_), Verdict::Fail | Verdict::Unknown) => Err(NOT_VOUCHED),
            (None, _) => Err("it takes authserv_id in the configuration, for From alone proves nothing"),
        };
        let refused = match found {
            Ok(forwarded) => match self.customer(tx, arrival, forwarded).await? {
                Some(customer) => {
                    return self
                        .open_forwarded(tx, arrival, author, customer, forwarded, known)
                        .await
                        .map(Some);
                }
                None => "who wrote the mail in it is staff, or we",
            },
            Err(why) => why,
        };
        let problem = format!("#fwd was not followed: {refused}");
        message.problems =
            Some(message.problems.take().map_or(problem.clone(), |known| format!("{known}; {problem}")));
        Ok(None)
    }

    async fn customer(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        forwarded: &Forwarded,
    ) -> Result<Option<NewParticipant>, TicketError> {
        let own = super::understand::own_addresses(&self.config);
        let reply_to = forwarded.reply_to.iter().find(|mailbox| {
            let address = address::canonical(&mailbox.address);
            address::is_valid(&address) && !super::understand::is_own(&address, &own)
        });
        let from = address::canonical(&forwarded.author.address);
        // A form on our website writes in our name: then who is to be answered is who asked.
        let (asker, name) = match reply_to {
            Some(reply_to) if super::understand::is_own(&from, &own) => {
                (address::canonical(&reply_to.address), &reply_to.name)
            }
            _ => (from, &forwarded.author.name),
        };
        if super::understand::is_own(&asker, &own) {
            return Ok(None);
        }
        let id = people::by_address(tx, &asker, &without_nul(name.clone()), arrival.now).await?;
        let person = people::find_by_address(tx, &asker).await?;
        let address = reply_to.map_or(asker, |mailbox| address::canonical(&mailbox.address));
        Ok(person
            .filter(|person| person.id == id && !person.role.is_staff())
            .map(|person| NewParticipant { person: person.id, address }))
    }

    async fn open_forwarded(
        &self,
        tx: &mut Tx,
        arrival: &Arrival<'_>,
        by: &Person,
        customer: NewParticipant,
        forwarded: &Forwarded,
        known: &[(IdHash, TicketId)],
    ) -> Result<Outcome, TicketError> {
        let inner: Vec<IdHash> = forwarded.ids.iter().map(|id| id_hash(id)).collect();
        let inner_known = tickets::find_threads(tx, &inner).await?;
        let is_known = |id: &IdHash| known.iter().chain(&inner_known).any(|(known, _)| known == id);
        let mut new_ids: Vec<IdHash> =
            wanted_ids(arrival.read).into_iter().chain(inner).filter(|id| !is_known(id)).collect();
        new_ids.sort_unstable();
        new_ids.dedup();
        let related = inner_known.iter().chain(known).map(|(_, ticket)| *ticket).next();
        let subject =
            if forwarded.subject.is_empty() { &arrival.read.mail.subject } else { &forwarded.subject };
        let text = without_nul(forwarded.text.clone());
        let message = Inbound {
            ledger: Some(arrival.ledger),
            channel: Channel::Email,
            author: customer,
            // What the customer's program knows; the id of the mail that passed it on means nothing to it.
            rfc_id: forwarded.ids.last().cloned(),
            subject: without_nul(subject.clone()),
            body: text.clone(),
            visible: text,
            html: forwarded.html.as_deref().map(|html| without_nul(html::keep(html))),
            sender_class: forwarded.class.as_str(),
            from_human: forwarded.class == Class::Human,
            origin: None,
            reply_to: None,
            refs: forwarded.ids.iter().rev().skip(1).rev().cloned().collect(),
            new_ids,
            cc: Vec::new(),
            attachments: arrival.forwarded_files.to_vec(),
            problems: arrival.problems.clone(),
            sent_at: None,
            received_at: arrival.received_at,
        };
        let opening = Opening {
            mailbox: Some(arrival.mailbox.to_owned()),
            acknowledge: arrival.settings.mail.acknowledge && forwarded.class == Class::Human,
            related_to: related,
            forwarded_by: Some(by.id),
            ..Opening::default()
        };
        let (ticket, _) = tickets::open(tx, &message, &opening, arrival.now).await?;
        let remark = Orders::read(&forwarded.remark).map_or(forwarded.remark.clone(), |orders| orders.text);
        if !remark.trim().is_empty() {
            let locked = tickets::lock(tx, ticket).await?;
            let text = without_nul(remark.trim().to_owned());
            let note = StaffMessage {
                author: by.id,
                channel: Channel::Email,
                text: &text,
                inbound: None,
                uploads: &[],
            };
            tickets::note(tx, &locked, &note, arrival.now).await?;
        }
        Ok(Outcome::ticketed(ticket, Some("passed on by staff")))
    }
}

/// Does what a proven answer says, and says what that was. The inner error: why nothing of it was done.
async fn obey(
    tx: &mut Tx,
    arrival: &Arrival<'_>,
    holder: &Holder,
    message: &Inbound,
    turn: Option<Turn>,
) -> Result<Result<&'static str, String>, TicketError> {
    let known = known(tx, holder).await?;
    let orders = match read_orders(&arrival.read.visible, &known) {
        Ok(orders) => orders,
        Err(why) => return Ok(Err(why)),
    };
    let what = if orders.text.is_empty() { "staff's commands" } else { "staff's answer" };
    let work = Work { arrival, by: &holder.person, ticket: holder.ticket, orders: &orders, turn };
    Ok(work.carry_out(tx, message, &known).await?.map(|()| what))
}

/// Whose notice it answers. The first token that is a member of staff's counts.
async fn holder(tx: &mut Tx, arrival: &Arrival<'_>) -> Result<Option<Holder>, TicketError> {
    for token in &arrival.read.tokens {
        let Some(person) = token.person else { continue };
        let Some(person) = people::person_in(tx, person).await? else { continue };
        if !person.role.is_staff() || !person.active || !speaks_for_staff(tx, token).await? {
            continue;
        }
        if let Some(ticket) = tickets::current(tx, token.ticket).await? {
            return Ok(Some(Holder { person, ticket, token: token.ticket }));
        }
    }
    Ok(None)
}

/// A notice asks staff for an answer. What staff gets as a requester or in copy is signed for them too, and what they
/// answer to that is said in their own matter.
async fn speaks_for_staff(tx: &mut Tx, token: &Token) -> sqlx::Result<bool> {
    match token.delivery {
        Some(delivery) => outbox::is_notice(tx, delivery).await,
        // The address of a notice; those of other mails are signed for nobody.
        None => Ok(true),
    }
}

/// What the answer may repeat, and what not.
async fn known(tx: &mut Tx, holder: &Holder) -> Result<Known, TicketError> {
    let (mut public, mut remarks) = tickets::public_and_remarks(tx, holder.token).await?;
    if holder.ticket != holder.token {
        // The notice may quote either.
        let (more, others) = tickets::public_and_remarks(tx, holder.ticket).await?;
        public = format!("{public}\n{more}");
        remarks.extend(others);
    }
    let notices = outbox::notices_to(tx, holder.token, holder.person.id).await?;
    let notices: Vec<String> = notices.iter().map(|raw| parse::parse(raw).text).collect();
    Ok(Known { public, remarks, notices: notices.join("\n") })
}

/// The commands of an answer, and what of it is said. The error says why nothing of it is done.
fn read_orders(visible: &str, known: &Known) -> Result<Orders, String> {
    let orders = match answer::answer(visible, known) {
        Ok(answer) => Orders::read(&answer)?,
        Err(why) => {
            // A note stays inside, so it may repeat what it likes.
            let above: Vec<&str> = visible.lines().take_while(|line| !line.contains(ANSWER_ABOVE)).collect();
            let note = Orders::read(&above.join("\n")).ok().filter(|orders| orders.has(&Command::Note));
            note.ok_or(why)?
        }
    };
    if orders.has(&Command::Forward) {
        return Err("`#fwd` is for a mail to the support address, not for the answer to a notice".to_owned());
    }
    if orders.has(&Command::Note) && orders.text.is_empty() {
        return Err("`#note`: there is no note below it".to_owned());
    }
    Ok(orders)
}

/// What a member of staff wants done.
struct Work<'a> {
    arrival: &'a Arrival<'a>,
    by: &'a Person,
    ticket: TicketId,
    orders: &'a Orders,
    turn: Option<Turn>,
}

impl Work<'_> {
    /// All of it or nothing; the inner error says why nothing.
    async fn carry_out(
        &self,
        tx: &mut Tx,
        message: &Inbound,
        known: &Known,
    ) -> Result<Result<(), String>, TicketError> {
        sql::begin_orders(tx).await?;
        let done = match self.people_and_priority(tx).await? {
            Ok(()) => self.say_and_settle(tx, message, known).await,
            Err(why) => return self.taken_back(tx, why).await,
        };
        match done {
            Ok(()) => Ok(Ok(())),
            Err(error @ (TicketError::Database(_) | TicketError::Raced)) => Err(error),
            Err(refused) => self.taken_back(tx, refused.to_string()).await,
        }
    }

    async fn taken_back(&self, tx: &mut Tx, why: String) -> Result<Result<(), String>, TicketError> {
        sql::take_orders_back(tx).await?;
        Ok(Err(why))
    }

    fn act(&self) -> Act {
        Act { by: self.by.id, channel: Channel::Email, now: self.arrival.now }
    }

    async fn people_and_priority(&self, tx: &mut Tx) -> Result<Result<(), String>, TicketError> {
        for command in &self.orders.commands {
            let ticket = tickets::lock(tx, self.ticket).await?;
            let done = match command {
                Command::Assign(name) => match colleague(tx, name).await? {
                    Ok(to) => self.assign(tx, &ticket, Some(to)).await,
                    Err(why) => return Ok(Err(why)),
                },
                Command::Claim => self.assign(tx, &ticket, None).await,
                Command::Release => actions::release(tx, &ticket, self.act()).await,
                Command::SetPriority(priority) => {
                    actions::set_priority(tx, &ticket, *priority, self.act()).await
                }
                Command::Note | Command::Resolve | Command::SetStatus(_) | Command::Forward => Ok(()),
            };
            match done {
                Ok(()) => {}
                Err(error @ TicketError::Database(_)) => return Err(error),
                Err(refused) => return Ok(Err(refused.to_string())),
            }
        }
        Ok(Ok(()))
    }

    /// `None`: to themselves.
    async fn assign(&self, tx: &mut Tx, ticket: &Locked, to: Option<PersonId>) -> Result<(), TicketError> {
        // Whoever reads the commands before anything is locked sees what is read here.
        let Some(turn) = &self.turn else { return Err(TicketError::Raced) };
        let caps = Caps { default: self.arrival.settings.assignment.cap_default, force: false };
        match to {
            Some(to) => actions::assign(tx, turn, ticket, to, caps, self.act()).await,
            None => actions::claim(tx, turn, ticket, caps, self.act()).await,
        }
    }

    async fn say_and_settle(&self, tx: &mut Tx, message: &Inbound, known: &Known) -> Result<(), TicketError> {
        let now = self.arrival.now;
        let is_note = self.orders.has(&Command::Note);
        if !self.orders.text.is_empty() {
            let mut message = message.clone();
            if !is_note {
                message.attachments.retain(|file| answer::may_leave(file, known));
            }
            let staff = StaffMessage {
                author: self.by.id,
                channel: Channel::Email,
                text: &self.orders.text,
                inbound: Some(&message),
                uploads: &[],
            };
            let ticket = tickets::lock(tx, self.ticket).await?;
            if is_note {
                tickets::note(tx, &ticket, &staff, now).await?;
            } else {
                tickets::reply(tx, &ticket, &staff, now, now).await?;
            }
        }
        let ticket = tickets::lock(tx, self.ticket).await?;
        for command in &self.orders.commands {
            match command {
                Command::Resolve => tickets::resolve(tx, &ticket, self.by.id, Channel::Email, now).await?,
                Command::SetStatus(status) => actions::set_status(tx, &ticket, *status, self.act()).await?,
                Command::Note
                | Command::SetPriority(_)
                | Command::Claim
                | Command::Release
                | Command::Assign(_)
                | Command::Forward => {}
            }
        }
        Ok(())
    }
}

/// The one member of staff who is called so.
async fn colleague(tx: &mut Tx, name: &str) -> sqlx::Result<Result<PersonId, String>> {
    let found = people::staff_named(tx, name).await?;
    Ok(match found.as_slice() {
        [(only, _)] => Ok(*only),
        [] => Err(format!("`#assign {name}`: no active member of staff is called so")),
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| name.as_str()).collect();
            Err(format!("`#assign {name}` may be {}: write the address", names.join(" or ")))
        }
    })
}

/// A member of staff as anybody else: in a ticket of their own, or in answer to what we sent them in copy. Otherwise
/// From alone would do to speak as staff.
pub(super) async fn speaks_for_self(
    tx: &mut Tx,
    arrival: &Arrival<'_>,
    ticket: &Locked,
    author: PersonId,
) -> Result<bool, TicketError> {
    if ticket.requester == author {
        return Ok(true);
    }
    for token in arrival.read.tokens.iter().filter(|token| token.person == Some(author)) {
        // What it was made for may have been merged into this one.
        if !arrival.read.is_from_us && tickets::current(tx, token.ticket).await? == Some(ticket.id) {
            return Ok(true);
        }
    }
    Ok(false)
}
