//! What an interaction asks for, as one of the things that can be done; and what one must be to ask for it.
//!
//! Pure. Whatever a client sends is read here and nowhere else; that it can be read gives no right to it.

use std::collections::BTreeMap;

use crate::discord::catalogue::{MAKE_A_TICKET, SEND_TO_CUSTOMER};
use crate::discord::custom_id::{Action, CustomId};
use crate::discord::request::{Value, What};
use crate::discord::said;
use crate::ids::{MessageId, PersonId, TicketId};
use crate::tickets::{Priority, Status};

/// Which ticket is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The one whose thread it was said in.
    Here,
    Number(TicketId),
    /// What a button of ours carried.
    Handle(String),
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Person(PersonId),
    /// A user of Discord.
    User(u64),
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    Open {
        subject: Option<String>,
        text: String,
        category: Option<String>,
    },
    List,
    Show(Target),
    Close(Target),
    Reopen(Target),
    Transcript(Target),
    Link {
        address: String,
    },
    Confirm {
        code: String,
    },

    Claim(Target),
    Release(Target),
    /// Shows whom it can be given to.
    AskWhom(Target),
    Assign(Target, Whom),
    AskPriority(Target),
    SetPriority(Target, Priority),
    SetStatus(Target, Status),
    Resolve(Target),
    Note(Target, String),
    Reply(Target, String),
    TakeBack(Target, MessageId),
    Repair(Target),
    Judgement(Target),
    JudgeAgain(Target),
    SetCategory(Target, String),
    SetSkills(Target, Vec<String>),
    Send(Target, Box<said::Message>),
    TicketOf(Box<said::Message>),
    Snippets,
    UseSnippet(Target, String),
    SaveSnippet {
        name: String,
        body: String,
    },
    RemoveSnippet(String),
    Skills(Option<Whom>),
    Propose {
        skill: String,
        level: i32,
    },
    Away(bool),
    Stats,

    /// Posts the panel into this channel.
    Panel(u64),
}

/// What one must be to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Anyone,
    Staff,
    Admin,
}

/// Why it is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misread {
    /// A command that is not ours, or not any more; or a choice that it does not offer.
    Command,
    /// A button, menu or form that is not ours, or not any more.
    Button,
    /// There is nothing in it.
    Empty,
    /// Neither address nor code.
    Link,
    /// No number of a ticket, as it was typed; and likewise the others.
    Number(String),
    Person(String),
    Category(String),
}

impl Order {
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Open { .. }
            | Self::List
            | Self::Show(_)
            | Self::Close(_)
            | Self::Reopen(_)
            | Self::Transcript(_)
            | Self::Link { .. }
            | Self::Confirm { .. } => Needs::Anyone,
            Self::Claim(_)
            | Self::Release(_)
            | Self::AskWhom(_)
            | Self::Assign(..)
            | Self::AskPriority(_)
            | Self::SetPriority(..)
            | Self::SetStatus(..)
            | Self::Resolve(_)
            | Self::Note(..)
            | Self::Reply(..)
            | Self::TakeBack(..)
            | Self::Repair(_)
            | Self::Judgement(_)
            | Self::JudgeAgain(_)
            | Self::SetCategory(..)
            | Self::SetSkills(..)
            | Self::Send(..)
            | Self::TicketOf(_)
            | Self::Snippets
            | Self::UseSnippet(..)
            | Self::SaveSnippet { .. }
            | Self::RemoveSnippet(_)
            | Self::Skills(_)
            | Self::Propose { .. }
            | Self::Away(_)
            | Self::Stats => Needs::Staff,
            Self::Panel(_) => Needs::Admin,
        }
    }

    /// The ticket it is about, if it is about one.
    pub(super) fn target(&self) -> Option<&Target> {
        match self {
            Self::Show(target)
            | Self::Close(target)
            | Self::Reopen(target)
            | Self::Transcript(target)
            | Self::Claim(target)
            | Self::Release(target)
            | Self::AskWhom(target)
            | Self::Assign(target, _)
            | Self::AskPriority(target)
            | Self::SetPriority(target, _)
            | Self::SetStatus(target, _)
            | Self::Resolve(target)
            | Self::Note(target, _)
            | Self::Reply(target, _)
            | Self::TakeBack(target, _)
            | Self::Repair(target)
            | Self::Judgement(target)
            | Self::JudgeAgain(target)
            | Self::SetCategory(target, _)
            | Self::SetSkills(target, _)
            | Self::Send(target, _)
            | Self::UseSnippet(target, _) => Some(target),
            Self::Open { .. }
            | Self::List
            | Self::Link { .. }
            | Self::Confirm { .. }
            | Self::TicketOf(_)
            | Self::Snippets
            | Self::SaveSnippet { .. }
            | Self::RemoveSnippet(_)
            | Self::Skills(_)
            | Self::Propose { .. }
            | Self::Away(_)
            | Self::Stats
            | Self::Panel(_) => None,
        }
    }

    /// Reads it. `categories`: the configured ones, in their order.
    pub(super) fn read(what: &What, channel: u64, categories: &[String]) -> Result<Self, Misread> {
        match what {
            What::Command { path, .. } => command(path, what, channel, categories),
            What::MessageCommand { name, target } => match name.as_str() {
                MAKE_A_TICKET => Ok(Self::TicketOf(target.clone())),
                SEND_TO_CUSTOMER => Ok(Self::Send(Target::Here, target.clone())),
                _ => Err(Misread::Command),
            },
            What::Button { custom_id, .. } => button(custom_id),
            What::Select { custom_id, values, .. } => choice(custom_id, values),
            What::Modal { custom_id, .. } => form(custom_id, what, categories),
            What::Autocomplete { .. } => Err(Misread::Command),
        }
    }
}

fn command(path: &[String], what: &What, channel: u64, categories: &[String]) -> Result<Order, Misread> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let target = || target(what);
    let text = |name: &str| what.option(name).map(str::to_owned).ok_or(Misread::Empty);
    Ok(match path.as_slice() {
        ["ticket", "list"] => Order::List,
        ["ticket", "show"] => Order::Show(target()?),
        ["ticket", "close"] => Order::Close(target()?),
        ["ticket", "reopen"] => Order::Reopen(target()?),
        ["ticket", "transcript"] => Order::Transcript(target()?),
        ["link"] => match (what.option("code"), what.option("email")) {
            (Some(code), _) => Order::Confirm { code: code.to_owned() },
            (None, Some(address)) => Order::Link { address: address.to_owned() },
            (None, None) => return Err(Misread::Link),
        },
        ["claim"] => Order::Claim(target()?),
        ["release"] => Order::Release(target()?),
        ["assign"] => Order::Assign(target()?, whom(what)?.ok_or(Misread::Command)?),
        ["priority"] => Order::SetPriority(target()?, priority(what.option("level"))?),
        ["status"] => {
            let status = what.option("status").and_then(Status::parse).ok_or(Misread::Command)?;
            Order::SetStatus(target()?, status)
        }
        ["note"] => Order::Note(target()?, text("text")?),
        ["reply"] => Order::Reply(target()?, text("text")?),
        ["snippet", "list"] => Order::Snippets,
        ["snippet", "use"] => Order::UseSnippet(target()?, text("name")?),
        ["snippet", "save"] => Order::SaveSnippet { name: text("name")?, body: text("text")? },
        ["snippet", "remove"] => Order::RemoveSnippet(text("name")?),
        ["triage", "show"] => Order::Judgement(target()?),
        ["triage", "again"] => Order::JudgeAgain(target()?),
        ["triage", "category"] => {
            let category = what.option("category").ok_or(Misread::Command)?;
            Order::SetCategory(target()?, one_of(category, categories)?)
        }
        ["triage", "skills"] => Order::SetSkills(target()?, slugs(what.option("skills").unwrap_or(""))),
        ["skills", "show"] => Order::Skills(whom(what)?),
        ["skills", "propose"] => Order::Propose {
            skill: what.option("skill").ok_or(Misread::Command)?.to_owned(),
            level: level(what)?,
        },
        ["away", "on"] => Order::Away(true),
        ["away", "off"] => Order::Away(false),
        ["stats"] => Order::Stats,
        ["panel"] => Order::Panel(channel),
        _ => return Err(Misread::Command),
    })
}

fn button(custom_id: &str) -> Result<Order, Misread> {
    let (id, target) = of_ticket(custom_id)?;
    Ok(match id.action {
        Action::Claim => Order::Claim(target),
        Action::Release => Order::Release(target),
        Action::Resolve => Order::Resolve(target),
        Action::Reopen => Order::Reopen(target),
        Action::Reassign => Order::AskWhom(target),
        Action::Priority => Order::AskPriority(target),
        Action::Undo => Order::TakeBack(target, number(&id).map(MessageId)?),
        Action::Repair => Order::Repair(target),
        // They open a form, which the gateway answers with; and what is no button.
        Action::Reply
        | Action::OpenTicket
        | Action::ReplyModal
        | Action::NewTicketModal
        | Action::SendToCustomer
        | Action::AssignTo
        | Action::SetPriority => return Err(Misread::Button),
    })
}

fn choice(custom_id: &str, values: &[String]) -> Result<Order, Misread> {
    let (id, target) = of_ticket(custom_id)?;
    let chosen = values.first().map(String::as_str);
    match id.action {
        Action::AssignTo => {
            let person = chosen.and_then(|id| id.parse().ok()).map(PersonId).ok_or(Misread::Button)?;
            Ok(Order::Assign(target, Whom::Person(person)))
        }
        Action::SetPriority => Ok(Order::SetPriority(target, priority(chosen)?)),
        _ => Err(Misread::Button),
    }
}

fn form(custom_id: &str, what: &What, categories: &[String]) -> Result<Order, Misread> {
    let id = CustomId::parse(custom_id).ok_or(Misread::Button)?;
    let text = what.field("text").map(str::to_owned).ok_or(Misread::Empty)?;
    match id.action {
        Action::NewTicketModal => {
            // The configuration may have changed meanwhile: then it is judged like any other.
            let place = id.number.and_then(|n| usize::try_from(n).ok());
            let category = place.and_then(|place| categories.get(place)).cloned();
            Ok(Order::Open { subject: what.field("subject").map(str::to_owned), text, category })
        }
        Action::ReplyModal => Ok(Order::Reply(id.handle.map_or(Target::Here, Target::Handle), text)),
        _ => Err(Misread::Button),
    }
}

/// A custom id that must name a ticket.
fn of_ticket(custom_id: &str) -> Result<(CustomId, Target), Misread> {
    let id = CustomId::parse(custom_id).ok_or(Misread::Button)?;
    let handle = id.handle.clone().ok_or(Misread::Button)?;
    Ok((id, Target::Handle(handle)))
}

fn number(id: &CustomId) -> Result<i64, Misread> {
    id.number.and_then(|number| i64::try_from(number).ok()).ok_or(Misread::Button)
}

/// `1042`, `#1042`, or nothing: then the thread says it.
fn target(what: &What) -> Result<Target, Misread> {
    let typed = match options(what).and_then(|options| options.get("ticket")) {
        None => return Ok(Target::Here),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Text(text)) => text.trim().to_owned(),
        Some(_) => return Err(Misread::Command),
    };
    if typed.is_empty() {
        return Ok(Target::Here);
    }
    let number = typed.trim_start_matches('#').parse().ok().filter(|number: &i64| *number > 0);
    number.map(|number| Target::Number(TicketId(number))).ok_or(Misread::Number(typed))
}

/// A choice of the autocomplete carries the person's number; Discord's own picker, or a mention, the user's id.
fn whom(what: &What) -> Result<Option<Whom>, Misread> {
    match options(what).and_then(|options| options.get("person")) {
        None => Ok(None),
        Some(Value::Id(user)) => Ok(Some(Whom::User(*user))),
        Some(Value::Text(text)) => {
            let text = text.trim();
            let mention = text.strip_prefix("<@").and_then(|rest| rest.strip_suffix('>'));
            let whom = match mention {
                Some(id) => id.trim_start_matches('!').parse().ok().map(Whom::User),
                None => text.parse().ok().map(PersonId).map(Whom::Person),
            };
            whom.map(Some).ok_or_else(|| Misread::Person(text.to_owned()))
        }
        Some(_) => Err(Misread::Command),
    }
}

/// From a closed list: whatever else comes is no click or command of ours.
fn priority(text: Option<&str>) -> Result<Priority, Misread> {
    text.and_then(Priority::parse).ok_or(Misread::Command)
}

fn one_of(category: &str, categories: &[String]) -> Result<String, Misread> {
    let known = categories.iter().find(|known| known.as_str() == category);
    known.cloned().ok_or_else(|| Misread::Category(category.to_owned()))
}

/// `rust, billing` or `rust billing`; each once.
fn slugs(text: &str) -> Vec<String> {
    let mut slugs: Vec<String> = Vec::new();
    for slug in text.split([',', ' ']).map(str::trim).filter(|slug| !slug.is_empty()) {
        let slug = slug.to_lowercase();
        if !slugs.contains(&slug) {
            slugs.push(slug);
        }
    }
    slugs
}

fn level(what: &What) -> Result<i32, Misread> {
    match options(what).and_then(|options| options.get("level")) {
        None => Ok(3),
        Some(Value::Integer(level)) => i32::try_from(*level).or(Err(Misread::Command)),
        Some(_) => Err(Misread::Command),
    }
}

fn options(what: &What) -> Option<&BTreeMap<String, Value>> {
    match what {
        What::Command { options, .. } | What::Autocomplete { options, .. } => Some(options),
        What::MessageCommand { .. } | What::Button { .. } | What::Select { .. } | What::Modal { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(what: &What) -> Result<Order, Misread> {
        Order::read(what, 9, &["technical".to_owned(), "billing".to_owned()])
    }

    fn says(path: &str, options: &[(&str, Value)]) -> Result<Order, Misread> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        read(&What::Command { path: path.split(' ').map(str::to_owned).collect(), options })
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_ticket_is_named_by_number_or_by_where_it_is_said() {
        let shown = |ticket: Value| says("ticket show", &[("ticket", ticket)]);
        let of = |number| Ok(Order::Show(Target::Number(TicketId(number))));
        assert_eq!(says("ticket show", &[]), Ok(Order::Show(Target::Here)));
        assert_eq!(shown(text(" ")), Ok(Order::Show(Target::Here)));
        assert_eq!(
            (shown(text("1042")), shown(text(" #1042 ")), shown(Value::Integer(7))),
            (of(1042), of(1042), of(7))
        );
        for odd in ["x", "-1", "0", "1042 ", "99999999999999999999"].into_iter().filter(|odd| *odd != "1042 ")
        {
            assert_eq!(shown(text(odd)), Err(Misread::Number(odd.to_owned())), "{odd}");
        }
    }

    #[test]
    fn people_and_skills_as_they_are_chosen() {
        let to = |person: Value| says("assign", &[("person", person)]);
        let given = |whom| Ok(Order::Assign(Target::Here, whom));
        assert_eq!(to(text("7")), given(Whom::Person(PersonId(7))));
        assert_eq!((to(text("<@8>")), to(text("<@!8>")), to(Value::Id(8))), {
            let user = || given(Whom::User(8));
            (user(), user(), user())
        });
        assert_eq!(to(text("Bea")), Err(Misread::Person("Bea".to_owned())));
        let skills = says("triage skills", &[("skills", text("Rust, billing rust,"))]);
        assert_eq!(skills, Ok(Order::SetSkills(Target::Here, vec!["rust".to_owned(), "billing".to_owned()])));
    }

    #[test]
    fn only_what_is_offered_is_taken() {
        assert_eq!(
            says("triage category", &[("category", text("pets"))]),
            Err(Misread::Category("pets".to_owned()))
        );
        assert_eq!(says("priority", &[("level", text("soon"))]), Err(Misread::Command));
        assert_eq!(says("status", &[("status", text("lost"))]), Err(Misread::Command));
        assert_eq!(says("note", &[("text", text(" "))]), Err(Misread::Empty));
        assert_eq!(says("link", &[]), Err(Misread::Link));
        for unknown in ["ticket", "ticket new", "sudo", ""] {
            assert_eq!(says(unknown, &[]), Err(Misread::Command), "{unknown}");
        }
    }

    fn click(custom_id: &str) -> Result<Order, Misread> {
        read(&What::Button { custom_id: custom_id.to_owned(), message: 1 })
    }

    #[test]
    fn a_click_needs_the_handle_of_a_ticket_and_nothing_else_passes_for_one() {
        let handle = || Target::Handle("h".to_owned());
        assert_eq!(click("claim.h"), Ok(Order::Claim(handle())));
        assert_eq!(click("undo.h.5"), Ok(Order::TakeBack(handle(), MessageId(5))));
        for odd in [
            "claim",
            "undo.h",
            "undo.h.18446744073709551615",
            "reply.h",
            "open-ticket",
            "assign-to.h",
            "x.h",
            "",
        ] {
            assert_eq!(click(odd), Err(Misread::Button), "{odd}");
        }
        let select = |id: &str, value: &str| {
            read(&What::Select { custom_id: id.to_owned(), values: vec![value.to_owned()], message: 1 })
        };
        assert_eq!(select("assign-to.h", "4"), Ok(Order::Assign(handle(), Whom::Person(PersonId(4)))));
        assert_eq!(select("set-priority.h", "high"), Ok(Order::SetPriority(handle(), Priority::High)));
        assert_eq!(select("claim.h", "4"), Err(Misread::Button));
    }

    #[test]
    fn a_form_carries_its_category_by_place() {
        let form = |id: &str| {
            let fields =
                [("text", "It burns"), ("subject", " ")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            read(&What::Modal { custom_id: id.to_owned(), fields })
        };
        let open = |category: Option<&str>| {
            Ok(Order::Open {
                subject: None,
                text: "It burns".to_owned(),
                category: category.map(str::to_owned),
            })
        };
        assert_eq!(form("new-ticket-form"), open(None));
        assert_eq!(form("new-ticket-form.-.1"), open(Some("billing")));
        assert_eq!(form("new-ticket-form.-.9"), open(None));
        assert_eq!(
            form("reply-form.h"),
            Ok(Order::Reply(Target::Handle("h".to_owned()), "It burns".to_owned()))
        );
        assert_eq!(form("claim.h"), Err(Misread::Button));
    }
}
