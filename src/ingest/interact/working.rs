//! What is done to a ticket: by staff, and by those who take part in it.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::order::{Misread, Order, Whom};
use super::{Asked, Found, Halt, Interact, Said};
use crate::discord::api::ApiError;
use crate::discord::said;
use crate::discord::text::plain;
use crate::discord::words;
use crate::ids::{MessageId, PersonId};
use crate::people::{self, Person, Role, snippets};
use crate::queue::Tx;
use crate::tickets::actions::{self, Act, Caps};
use crate::tickets::changes::{self, Turn};
use crate::tickets::threads::{self, Audience, Thread};
use crate::tickets::{self, Channel, Locked, StaffMessage};

/// Mentions that are looked up in one text.
const MOST_NAMES: usize = 20;

/// What an order needs to know before its transaction begins: identities are locked before tickets, and nobody waits for
/// Discord inside a transaction.
#[derive(Default)]
pub(super) struct Prepared {
    /// The text of a snippet.
    snippet: Option<String>,
    /// Broken threads, and whether each is gone.
    broken: Vec<(Thread, bool)>,
    /// Who it is to be given to, or who wrote what is sent on.
    colleague: Option<Person>,
    /// Those whom the text mentions.
    pub(super) names: BTreeMap<u64, String>,
}

impl Interact<'_> {
    /// Looks up, in Discord and in the database, what the order's transaction should not wait for.
    pub(super) async fn prepare(
        &self,
        asked: &Asked<'_>,
        order: &Order,
        found: Option<&Found>,
    ) -> Result<Prepared, Halt> {
        let mut prepared = Prepared::default();
        match (order, found) {
            (Order::UseSnippet(_, name), _) => match snippets::get(self.db, name).await? {
                Some(snippet) => prepared.snippet = Some(snippet.body),
                None => {
                    return Err(Halt::refused("there is no such snippet", words::unknown_snippet(name)));
                }
            },
            (Order::Repair(_), Some(found)) => prepared.broken = self.broken(found).await?,
            (Order::Assign(_, whom), _) => prepared.colleague = Some(self.colleague(whom).await?),
            (Order::Send(_, message), _) => {
                let thread = threads::by_channel(self.db, asked.request.channel).await?;
                let is_staffs = thread.is_some_and(|thread| thread.audience == Audience::Staff);
                if !is_staffs || message.channel != asked.request.channel {
                    let words = words::not_in_a_staff_thread();
                    return Err(Halt::refused("it is no message of a staff thread", words));
                }
                by_person(message)?;
                prepared.colleague = self.by_user(message.author.id).await?;
                prepared.names = self.names_in(&message.content).await?;
            }
            (Order::TicketOf(message), _) => {
                by_person(message)?;
                if threads::message_of(self.db, message.id).await?.is_some() {
                    return Err(Halt::refused("the message is in a ticket", words::already_in_a_ticket()));
                }
                prepared.names = self.names_in(&message.text()).await?;
            }
            (Order::Note(_, text) | Order::Reply(_, text) | Order::Open { text, .. }, _) => {
                prepared.names = self.names_in(text).await?;
            }
            _ => {}
        }
        Ok(prepared)
    }

    /// An active member of staff.
    async fn colleague(&self, whom: &Whom) -> Result<Person, Halt> {
        let (person, typed) = match whom {
            Whom::Person(id) => (people::person(self.db, *id).await?, id.to_string()),
            Whom::User(user) => (self.by_user(*user).await?, format!("<@{user}>")),
        };
        let person = person.filter(|person| person.active && person.role.is_staff());
        person.ok_or_else(|| Halt::refused("the person is not active staff", words::unknown_person(&typed)))
    }

    pub(super) async fn by_user(&self, user: u64) -> sqlx::Result<Option<Person>> {
        match people::granted_by_discord(self.db, user).await? {
            Some(known) => people::person(self.db, known.id).await,
            None => Ok(None),
        }
    }

    async fn names_in(&self, text: &str) -> sqlx::Result<BTreeMap<u64, String>> {
        let mut names = BTreeMap::new();
        for user in mentioned(text) {
            if let Some(person) = self.by_user(user).await? {
                names.insert(user, person.name);
            }
        }
        Ok(names)
    }

    /// The broken threads of a ticket. Whether one is gone, and so another is to be made, is for Discord to say.
    async fn broken(&self, found: &Found) -> Result<Vec<(Thread, bool)>, Halt> {
        let threads = threads::of_ticket(self.db, found.summary.number).await?;
        let mut broken = Vec::new();
        for thread in threads.into_iter().filter(|thread| thread.broken.is_some()) {
            let is_gone = match (self.discord, thread.channel) {
                (Some(api), Some(channel)) => match api.channel(channel).await {
                    Ok(_) | Err(ApiError::Forbidden(_)) => false,
                    Err(ApiError::Gone(_)) => true,
                    Err(error) => {
                        tracing::warn!(thread.id = thread.id.0, error = %error, "cannot ask for a broken thread");
                        return Err(Halt::refused("Discord does not answer", words::discord_is_silent()));
                    }
                },
                _ => false,
            };
            broken.push((thread, is_gone));
        }
        if broken.is_empty() {
            return Err(Halt::refused("nothing is broken", words::nothing_broken(found.summary.number.0)));
        }
        Ok(broken)
    }

    /// Does it. The rights were looked at.
    pub(super) async fn work(
        &self,
        tx: &mut Tx,
        asked: &Asked<'_>,
        person: &Person,
        order: Order,
        found: &Found,
        prepared: Prepared,
    ) -> Result<Said, Halt> {
        // Before any ticket: what changes hands is counted against caps.
        let turn = match order {
            Order::Claim(_) | Order::Assign(..) => Some(changes::take_turn_assigning(tx).await?),
            _ => None,
        };
        let caps = Caps { default: self.config.assignment.cap_default, force: false };
        let ticket = tickets::lock(tx, found.summary.number).await?;
        match order {
            Order::Note(_, text) => note(tx, asked, person, &ticket, &plain(&text, &prepared.names)).await,
            Order::Reply(_, text) => {
                let text = plain(&text, &prepared.names);
                self.reply(tx, asked, person.id, &ticket, &text).await
            }
            Order::UseSnippet(..) => {
                let text = prepared.snippet.unwrap_or_default();
                self.reply(tx, asked, person.id, &ticket, &text).await
            }
            Order::Send(_, message) => self.send_on(tx, asked, person, &ticket, &message, prepared).await,
            Order::Reopen(_) => {
                self.may_reopen(&ticket, found, asked)?;
                actions::reopen(tx, &ticket, asked.act(person)).await?;
                Ok(Said::appended(ticket.id, words::reopened(ticket.id.0)))
            }
            Order::Repair(_) => {
                for (thread, is_gone) in prepared.broken {
                    threads::repair(tx, &thread, is_gone, person.id, asked.now).await?;
                }
                Ok(Said::appended(ticket.id, words::thread_repaired(ticket.id.0)))
            }
            Order::Assign(..) => {
                let (Some(to), Some(turn)) = (prepared.colleague, turn) else {
                    return Err(Misread::Command.into());
                };
                actions::assign(tx, &turn, &ticket, to.id, caps, asked.act(person)).await?;
                Ok(Said::appended(ticket.id, words::assigned(ticket.id.0, &to.name)))
            }
            Order::Claim(_) => {
                let Some(turn) = turn else { return Err(Misread::Command.into()) };
                claim(tx, &turn, &ticket, caps, asked.act(person)).await?;
                Ok(Said::appended(ticket.id, words::claimed(ticket.id.0)))
            }
            order => {
                let text = change(tx, &ticket, person, order, asked.act(person)).await?;
                Ok(Said::appended(ticket.id, text))
            }
        }
    }

    /// Staff's answer. It leaves when it can no longer be taken back.
    async fn reply(
        &self,
        tx: &mut Tx,
        asked: &Asked<'_>,
        author: PersonId,
        ticket: &Locked,
        text: &str,
    ) -> Result<Said, Halt> {
        let seconds = self.config.mail.undo_seconds;
        let leaves_at = asked.now + TimeDelta::seconds(seconds);
        let message = StaffMessage { author, channel: Channel::Discord, text, inbound: None, uploads: &[] };
        let message: MessageId = tickets::reply(tx, ticket, &message, leaves_at, asked.now).await?;
        let can_undo = leaves_at > asked.now;
        let told =
            if can_undo { words::sent_with_undo(ticket.id.0, seconds) } else { words::sent(ticket.id.0) };
        Ok(Said { undo: can_undo.then_some(message), ..Said::appended(ticket.id, told) })
    }

    /// A message of the staff thread goes to the requester, as its author's, if that is one of staff.
    async fn send_on(
        &self,
        tx: &mut Tx,
        asked: &Asked<'_>,
        person: &Person,
        ticket: &Locked,
        message: &said::Message,
        prepared: Prepared,
    ) -> Result<Said, Halt> {
        if message.content.trim().is_empty() {
            return Err(Halt::refused("the text is empty", words::nothing_written()));
        }
        let author = prepared.colleague.filter(|a| a.active && a.role.is_staff()).map_or(person.id, |a| a.id);
        if !actions::send_on(tx, ticket, message.id, asked.act(person)).await? {
            return Err(Halt::refused("it was sent on before", words::sent_on_before()));
        }
        let text = plain(&message.content, &prepared.names);
        let mut said = self.reply(tx, asked, author, ticket, &text).await?;
        if !message.attachments.is_empty() {
            said.message.content.push(' ');
            said.message.content.push_str(&words::files_stay_inside(message.attachments.len()));
        }
        Ok(said)
    }

    /// Staff may always; a requester as long as their answer would reopen it, too.
    fn may_reopen(&self, ticket: &Locked, found: &Found, asked: &Asked<'_>) -> Result<(), Halt> {
        if ticket.status.is_active() {
            return Err(Halt::refused("the ticket is open", words::ticket_is_open(ticket.id.0)));
        }
        let days = self.config.assignment.reopen_days;
        if found.as_staff || tickets::takes_replies(ticket, days, asked.now) {
            return Ok(());
        }
        Err(Halt::refused("it was closed too long ago", words::closed_too_long(ticket.id.0, days)))
    }
}

/// What changes the ticket itself, and what is said of it.
async fn change(
    tx: &mut Tx,
    ticket: &Locked,
    person: &Person,
    order: Order,
    act: Act,
) -> Result<String, Halt> {
    let number = ticket.id.0;
    Ok(match order {
        Order::Release(_) => {
            release(tx, ticket, person, act).await?;
            words::released(number)
        }
        Order::SetPriority(_, priority) => {
            actions::set_priority(tx, ticket, priority, act).await?;
            words::priority_set(number, priority.as_str())
        }
        Order::SetStatus(_, status) => {
            actions::set_status(tx, ticket, status, act).await?;
            words::status_set(number, status.as_str())
        }
        Order::SetCategory(_, category) => {
            actions::set_category(tx, ticket, &category, act).await?;
            words::category_set(number, &category)
        }
        Order::SetSkills(_, skills) => {
            set_skills(tx, ticket, &skills, act).await?;
            words::skills_set(number, &skills)
        }
        Order::Resolve(_) => {
            tickets::resolve(tx, ticket, act.by, act.channel, act.now).await?;
            words::resolved(number)
        }
        Order::Close(_) => {
            actions::close(tx, ticket, act).await?;
            words::closed(number)
        }
        Order::TakeBack(_, message) => {
            actions::undo(tx, ticket, message, act).await?;
            words::undone(number)
        }
        Order::JudgeAgain(_) => {
            actions::judge_again(tx, ticket, act).await?;
            words::judged_again(number)
        }
        // Everything else was done before it came here.
        _ => return Err(Misread::Command.into()),
    })
}

async fn claim(tx: &mut Tx, turn: &Turn, ticket: &Locked, caps: Caps, act: Act) -> Result<(), Halt> {
    match actions::claim(tx, turn, ticket, caps, act).await {
        Err(tickets::TicketError::Taken(id)) => {
            let by = match ticket.assignee {
                Some(assignee) => people::person_in(tx, assignee).await?,
                None => None,
            };
            let by = by.map_or_else(|| "somebody".to_owned(), |by| by.name);
            Err(Halt::refused("somebody has the ticket", words::already_taken(id.0, &by)))
        }
        other => Ok(other?),
    }
}

/// Whoever has it gives it back; an admin does so for others, too.
async fn release(tx: &mut Tx, ticket: &Locked, person: &Person, act: Act) -> Result<(), Halt> {
    let is_theirs = ticket.assignee == Some(person.id) || person.role == Role::Admin;
    if ticket.assignee.is_some() && !is_theirs {
        return Err(Halt::refused("it is somebody else's", words::not_assigned_to_you(ticket.id.0)));
    }
    Ok(actions::release(tx, ticket, act).await?)
}

async fn set_skills(tx: &mut Tx, ticket: &Locked, skills: &[String], act: Act) -> Result<(), Halt> {
    match actions::set_skills(tx, ticket, skills, act).await {
        Err(tickets::TicketError::UnknownSkill) => {
            let words = words::unknown_skill(&skills.join(", "));
            Err(Halt::refused("there is no such skill", words))
        }
        other => Ok(other?),
    }
}

async fn note(
    tx: &mut Tx,
    asked: &Asked<'_>,
    person: &Person,
    ticket: &Locked,
    text: &str,
) -> Result<Said, Halt> {
    let message =
        StaffMessage { author: person.id, channel: Channel::Discord, text, inbound: None, uploads: &[] };
    tickets::note(tx, ticket, &message, asked.now).await?;
    Ok(Said::appended(ticket.id, words::note_kept(ticket.id.0)))
}

fn by_person(message: &said::Message) -> Result<(), Halt> {
    if message.is_by_person() {
        return Ok(());
    }
    Err(Halt::refused("a machine wrote the message", words::message_of_a_machine()))
}

/// The users that a text mentions, each once.
fn mentioned(text: &str) -> Vec<u64> {
    let mut users = Vec::new();
    for rest in text.split("<@").skip(1) {
        let id = rest.split_once('>').and_then(|(id, _)| id.trim_start_matches('!').parse().ok());
        if let Some(id) = id.filter(|id| !users.contains(id) && users.len() < MOST_NAMES) {
            users.push(id);
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_found_once_each() {
        assert_eq!(mentioned("Hi <@7>, <@!8> and <@7>: <@&9> <@x> <@10"), [7, 8]);
        assert_eq!(mentioned(&"<@1> ".repeat(99)).len(), 1);
        let many: Vec<String> = (1..=50).map(|n| format!("<@{n}>")).collect();
        assert_eq!(mentioned(&many.concat()).len(), MOST_NAMES);
    }
}
