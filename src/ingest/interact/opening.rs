//! Tickets that are opened in Discord, and addresses that are linked.

use chrono::{DateTime, Utc};

use super::order::{Misread, Order};
use super::working::Prepared;
use super::{Asked, Halt, Interact, Said, rights};
use crate::discord::created_at;
use crate::discord::said;
use crate::discord::text::{one_line, plain};
use crate::discord::words;
use crate::ids::TicketId;
use crate::people::link::{self, LinkError};
use crate::people::{self, Person};
use crate::queue::Tx;
use crate::tickets::{self, Channel, Inbound, NewParticipant, Opening, Origin, actions, linking};

/// Characters of a subject that is made of the text.
const LONGEST_HEADLINE: usize = 80;

/// What a new ticket begins with.
struct First {
    author: NewParticipant,
    subject: String,
    text: String,
    origin: Option<Origin>,
    sent_at: DateTime<Utc>,
}

impl Interact<'_> {
    /// Opens a ticket, or has a code mailed: what is about no ticket that there is.
    pub(super) async fn open(
        &self,
        tx: &mut Tx,
        asked: &Asked<'_>,
        person: &Person,
        order: Order,
        prepared: Prepared,
    ) -> Result<Said, Halt> {
        match order {
            Order::Open { subject, text, category } => {
                let text = plain(&text, &prepared.names);
                let ticket = self.open_own(tx, asked, person, subject, text, category).await?;
                Ok(Said::ticketed(ticket, words::ticket_opened(ticket.0, None)))
            }
            Order::TicketOf(message) => open_for(tx, asked, &message, &prepared).await,
            Order::Link { address } => self.ask_for_code(tx, asked, person, &address).await,
            _ => Err(Misread::Command.into()),
        }
    }

    /// `/ticket new` and the panel. The person is locked: two at once cannot both be the last that is allowed.
    async fn open_own(
        &self,
        tx: &mut Tx,
        asked: &Asked<'_>,
        person: &Person,
        subject: Option<String>,
        text: String,
        category: Option<String>,
    ) -> Result<TicketId, Halt> {
        let user = asked.request.user.id;
        people::lock(tx, &[person.id]).await?;
        if !person.role.is_staff() {
            rights::old_enough(asked.settings, user, asked.now)?;
            let (open, last) = actions::opened_by(tx, person.id).await?;
            rights::within_limits(asked.settings, open, last, asked.now)?;
        }
        if text.trim().is_empty() {
            return Err(Misread::Empty.into());
        }
        let first = First {
            author: NewParticipant { person: person.id, address: user.to_string() },
            subject: subject
                .map(|s| one_line(&s))
                .filter(|s| !s.is_empty())
                .unwrap_or_else(|| headline(&text)),
            text,
            origin: None,
            sent_at: created_at(asked.request.id),
        };
        let ticket = open_with(tx, asked, first).await?;
        if let Some(category) = category {
            let locked = tickets::lock(tx, ticket).await?;
            actions::set_category(tx, &locked, &category, asked.act(person)).await?;
        }
        Ok(ticket)
    }

    async fn ask_for_code(
        &self,
        tx: &mut Tx,
        asked: &Asked<'_>,
        person: &Person,
        address: &str,
    ) -> Result<Said, Halt> {
        if self.config.mailbox.is_empty() {
            return Err(Halt::refused("there is no mailbox to send a code from", words::link_without_mail()));
        }
        match link::ask(tx, self.config, person.id, address, asked.now).await {
            Ok(_) => {
                let minutes = u32::try_from(link::LIFETIME.num_minutes()).unwrap_or_default();
                Ok(Said::suppressed("a code is mailed", words::link_code_sent(minutes)))
            }
            Err(error) => Err(not_linked(error, address)),
        }
    }

    /// `/link code`. A wrong one is committed, too: it counts.
    pub(super) async fn confirm(
        &self,
        asked: &Asked<'_>,
        person: &Person,
        code: &str,
    ) -> Result<(Tx, Said), Halt> {
        let mut tx = self.db.begin().await?;
        let said = match linking::redeem(&mut tx, self.code_key, person.id, code, asked.now).await {
            Ok(linked) => Said::suppressed("an address was linked", words::linked(&linked.address)),
            Err(error) => match not_linked(error, "") {
                Halt::Refused(refusal) => Said::suppressed(refusal.reason, refusal.words),
                failed @ Halt::Failed(_) => return Err(failed),
            },
        };
        Ok((tx, said))
    }
}

/// `address`: as it was typed.
fn not_linked(error: LinkError, address: &str) -> Halt {
    let words = match error {
        LinkError::NotAnAddress => words::link_not_an_address(address),
        LinkError::OwnAddress => words::link_own_address(),
        LinkError::AlreadyLinked => words::already_linked(address),
        LinkError::TooMany => words::link_too_many_codes(),
        LinkError::NoCode => words::link_nothing_given(),
        LinkError::Expired => words::link_code_expired(),
        LinkError::Wrong { left } => words::link_code_wrong(left.unsigned_abs()),
        LinkError::TooManyTries => words::link_too_many_tries(),
        LinkError::Inactive => words::inactive(),
        LinkError::Database(error) => return error.into(),
    };
    Halt::refused("the address was not linked", words)
}

/// "Make a ticket of this": its author asks, staff only carried it here.
async fn open_for(
    tx: &mut Tx,
    asked: &Asked<'_>,
    message: &said::Message,
    prepared: &Prepared,
) -> Result<Said, Halt> {
    let author = people::by_discord(tx, message.author.id, &message.author.name, asked.now).await?;
    let text = plain(&message.text(), &prepared.names);
    let link = format!(
        "https://discord.com/channels/{}/{}/{}",
        asked.settings.guild_id, message.channel, message.id
    );
    let files = match message.attachments.len() {
        0 => String::new(),
        1 => "One file is with it there.\n".to_owned(),
        n => format!("{n} files are with it there.\n"),
    };
    let first = First {
        author: NewParticipant { person: author, address: message.author.id.to_string() },
        subject: headline(&text),
        text: format!("{text}\n\n{files}{link}"),
        origin: Some(Origin { message: message.id, thread: None }),
        sent_at: created_at(message.id),
    };
    let ticket = open_with(tx, asked, first).await?;
    Ok(Said::ticketed(ticket, words::ticket_made_of_message(ticket.0)))
}

async fn open_with(tx: &mut Tx, asked: &Asked<'_>, first: First) -> Result<TicketId, Halt> {
    let message = Inbound {
        ledger: Some(asked.ledger),
        channel: Channel::Discord,
        author: first.author,
        rfc_id: None,
        subject: first.subject,
        body: first.text.clone(),
        visible: first.text,
        html: None,
        sender_class: "human",
        from_human: true,
        origin: first.origin,
        reply_to: None,
        refs: Vec::new(),
        new_ids: Vec::new(),
        cc: Vec::new(),
        attachments: Vec::new(),
        problems: None,
        sent_at: Some(first.sent_at),
        received_at: asked.received_at,
    };
    // A thread of their own says that it arrived: no mail does.
    let opening = Opening { acknowledge: false, ..Opening::default() };
    let (ticket, _) = tickets::open(tx, &message, &opening, asked.now).await?;
    Ok(ticket)
}

/// The first words of a text, as a subject.
fn headline(text: &str) -> String {
    let line = text.lines().map(one_line).find(|line| !line.is_empty()).unwrap_or_default();
    if line.chars().count() <= LONGEST_HEADLINE {
        return line;
    }
    let mut short = String::new();
    for word in line.split(' ') {
        if short.chars().count() + 1 + word.chars().count() >= LONGEST_HEADLINE {
            break;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
    }
    if short.is_empty() {
        short = line.chars().take(LONGEST_HEADLINE - 1).collect();
    }
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_made_of_the_first_words() {
        assert_eq!(headline("\n  It is  broken.\nSince today."), "It is broken.");
        assert_eq!(headline(""), "");
        let long = "word ".repeat(40);
        let made = headline(&long);
        assert!(made.ends_with("word…") && made.chars().count() <= LONGEST_HEADLINE, "{made}");
        assert_eq!(headline(&"é".repeat(300)).chars().count(), LONGEST_HEADLINE);
    }
}
