//! What is only shown: lists, tickets, judgements, figures, and the menus behind buttons.

use chrono::TimeDelta;

use super::order::{Order, Target, Whom};
use super::{Asked, Found, Halt, Interact, Misread, Said, answer, rights};
use crate::discord::api::{File, Message};
use crate::discord::card::{self, Candidate};
use crate::discord::message::LARGEST_FILE;
use crate::discord::words::{self, Figures, Judgement, LONGEST_LIST, TicketLine};
use crate::ids::TicketId;
use crate::people::{self, Person, Role, snippets};
use crate::tickets::changes::{self, Triage};
use crate::tickets::read::{self, Stats, Summary};
use crate::tickets::threads::{self, Audience};
use crate::tickets::transcript;

/// Tickets that are looked through for a list.
const LOOKED_THROUGH: i64 = 200;
/// People in a menu.
const MOST_COLLEAGUES: i64 = 25;

impl Interact<'_> {
    /// `None`: the order is more than a question.
    pub(super) async fn look(
        &self,
        asked: &Asked<'_>,
        person: &Person,
        order: &Order,
        found: Option<&Found>,
    ) -> Result<Option<Said>, Halt> {
        let message = match (order, found) {
            (Order::List, _) => answer(self.list(person).await?),
            (Order::Show(_), Some(found)) => answer(self.show(found).await?),
            (Order::Transcript(_), Some(found)) => return self.transcript(asked, found).await.map(Some),
            (Order::AskWhom(target), Some(found)) => self.ask_whom(asked, target, found).await?,
            (Order::AskPriority(target), Some(found)) => {
                let handle = self.handle(target, found.summary.number).await?;
                card::choose_priority(&handle, &found.summary.priority)
            }
            (Order::Judgement(_), Some(found)) => {
                let number = found.summary.number;
                answer(match changes::triage(self.db, number).await? {
                    Some(triage) => words::judgement(number.0, &judged(triage, &found.summary)),
                    None => words::not_judged_yet(number.0),
                })
            }
            (Order::Snippets, _) => {
                let names: Vec<String> = snippets::list(self.db).await?.into_iter().map(|s| s.name).collect();
                answer(words::snippet_list(&names))
            }
            (Order::Skills(whom), _) => answer(self.skills_of(person, whom.as_ref()).await?),
            (Order::Stats, _) => answer(self.stats(asked).await?),
            _ => return Ok(None),
        };
        Ok(Some(Said::shown(found.map(|found| found.summary.number), message)))
    }

    /// A requester's own that are open; to staff what is active and theirs, or nobody's.
    async fn list(&self, person: &Person) -> Result<String, Halt> {
        let is_staff = person.role.is_staff();
        let sight = rights::sight(person.role, person.id, self.config.assignment.moderators_see_all);
        let mut tickets = read::at_hand(self.db, sight, person.id, LOOKED_THROUGH).await?;
        let more = tickets.len().saturating_sub(LONGEST_LIST);
        tickets.truncate(LONGEST_LIST);
        let mut lines = Vec::new();
        for ticket in tickets {
            lines.push(self.line(ticket, is_staff).await?);
        }
        Ok(words::ticket_list(&lines, u64::try_from(more).unwrap_or_default()))
    }

    async fn show(&self, found: &Found) -> Result<String, Halt> {
        let line = self.line(found.summary.clone(), found.as_staff).await?;
        Ok(words::ticket_state(&line, found.summary.category.as_deref()))
    }

    /// A ticket with the thread in which its reader can go on with it.
    async fn line(&self, ticket: Summary, as_staff: bool) -> sqlx::Result<TicketLine> {
        let wanted = if as_staff { Audience::Staff } else { Audience::Requester };
        let threads = threads::of_ticket(self.db, ticket.number).await?;
        let thread = threads.into_iter().find(|thread| thread.audience == wanted && thread.broken.is_none());
        Ok(TicketLine {
            number: ticket.number.0,
            subject: ticket.subject,
            status: ticket.status,
            priority: ticket.priority,
            assignee: ticket.assignee_name,
            thread: thread.and_then(|thread| thread.channel),
        })
    }

    async fn ask_whom(&self, asked: &Asked<'_>, target: &Target, found: &Found) -> Result<Message, Halt> {
        let colleagues = people::find_staff(self.db, "", MOST_COLLEAGUES, asked.now).await?;
        let about = |role: Role, away| if away { "away" } else { role.as_str() }.to_owned();
        let candidates: Vec<Candidate> = colleagues
            .into_iter()
            .map(|c| Candidate { id: c.id.to_string(), about: about(c.role, c.away), name: c.name })
            .collect();
        let handle = self.handle(target, found.summary.number).await?;
        Ok(card::choose_assignee(&handle, &candidates))
    }

    /// What stands for the ticket in the menu.
    async fn handle(&self, target: &Target, ticket: TicketId) -> Result<String, Halt> {
        if let Target::Handle(handle) = target {
            return Ok(handle.clone());
        }
        let first = threads::of_ticket(self.db, ticket).await?.into_iter().next();
        first.map(|thread| thread.handle).ok_or_else(|| Misread::Button.into())
    }

    async fn skills_of(&self, person: &Person, whom: Option<&Whom>) -> Result<String, Halt> {
        let of = match whom {
            None => Some(person.clone()),
            Some(Whom::Person(id)) => people::person(self.db, *id).await?,
            Some(Whom::User(user)) => self.by_user(*user).await?,
        };
        let unknown = || Halt::refused("the person is not on the staff", words::unknown_person("that"));
        let of = of.filter(|of| of.role.is_staff()).ok_or_else(unknown)?;
        let skills = people::skills_of(self.db, of.id).await?.into_iter();
        let skills: Vec<_> =
            skills.map(|s| (s.name, i16::try_from(s.level).unwrap_or_default(), s.confirmed)).collect();
        Ok(words::skills_of(&of.name, &skills))
    }

    async fn stats(&self, asked: &Asked<'_>) -> Result<String, Halt> {
        let mut stats = read::stats(self.db, asked.now - TimeDelta::days(7)).await?;
        let mut tx = self.db.begin().await?;
        let staff = people::staff(&mut tx, asked.now).await?;
        for one in &mut stats.moderators {
            one.away |= staff.iter().any(|member| member.id == one.person && member.away);
        }
        let cap = |person| {
            let own = staff.iter().find(|member| member.id == person).and_then(|member| member.cap);
            own.unwrap_or(self.config.assignment.cap_default)
        };
        Ok(words::figures(&figures(stats, cap)))
    }

    async fn transcript(&self, asked: &Asked<'_>, found: &Found) -> Result<Said, Halt> {
        let ticket = &found.summary;
        let page = transcript::document(self.db, ticket, found.as_staff, asked.now).await?;
        if page.len() > LARGEST_FILE {
            let told = words::transcript_too_large(ticket.number.0);
            return Err(Halt::refused("the file is larger than Discord takes", told));
        }
        let file = File {
            name: transcript::file_name(ticket),
            content_type: Some("text/html".to_owned()),
            bytes: page.into(),
        };
        let message = answer(words::transcript_attached(ticket.number.0));
        Ok(Said { files: vec![file], ..Said::shown(Some(ticket.number), message) })
    }
}

fn judged(triage: Triage, ticket: &Summary) -> Judgement {
    Judgement {
        category: triage.category,
        priority: triage.priority.unwrap_or_else(|| ticket.priority.clone()),
        language: triage.language,
        skills: triage.skills,
        engine: triage.engine,
        model: Some(triage.model).filter(|model| !model.is_empty()),
        confidence: Some(triage.confidence),
        notes: triage.notes,
        suggested_reply: triage.suggested_reply,
    }
}

fn figures(stats: Stats, cap: impl Fn(crate::ids::PersonId) -> i32) -> Figures {
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    let with = |status: &str| {
        let row = stats.by_status.iter().find(|(name, _)| name == status);
        row.map_or(0, |(_, n)| number(*n))
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes, at least none")]
    let minutes = |seconds: f64| (seconds.max(0.0) / 60.0).ceil() as u64;
    Figures {
        new: with("new"),
        open: with("open"),
        pending: with("pending"),
        resolved_this_week: number(stats.resolved),
        unassigned: number(stats.unassigned),
        first_answer_minutes: stats.median_first_response_s.map(minutes),
        staff: stats.moderators.into_iter().map(|m| (m.name, m.open, cap(m.person), m.away)).collect(),
    }
}
