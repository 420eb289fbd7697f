//! What stands at the head of a ticket's thread: the card for staff, the greeting for the requester; and the panel that tickets
//! are opened from.

use super::custom_id::{Action, CustomId};
use super::message::{Choice, Component, Embed, Field, Footer, Input, Message, Modal, Style, cut};
use super::text::{escape_within, one_line};

/// What the card shows. Texts as they are stored; the card makes them harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardFacts {
    /// The opaque name of the ticket's staff thread.
    pub handle: String,
    pub number: i64,
    pub subject: String,
    pub requester: String,
    /// `email`, `discord`, `web`.
    pub channel: String,
    pub status: String,
    pub priority: String,
    pub category: Option<String>,
    pub skills: Vec<String>,
    pub assignee: Option<String>,
    /// Why that one, in one line.
    pub reason: Option<String>,
    pub language: Option<String>,
    /// Who judged: `gemini`, `offline`.
    pub engine: Option<String>,
    pub notes: Option<String>,
    pub suggested_reply: Option<String>,
    /// The ticket in the browser.
    pub link: Option<String>,
    /// A ticket that this one may belong to.
    pub related_to: Option<i64>,
}

/// Discord's limits, and within them ours: all of an embed may have 6,000 characters.
const LONGEST_TITLE: usize = 256;
const LONGEST_SHORT: usize = 120;
const LONGEST_LONG: usize = 900;

/// The card of a ticket.
pub fn card(facts: &CardFacts) -> Message {
    let mut fields = Vec::new();
    let mut field = |name: &str, value: Option<&str>, most: usize, inline: bool| {
        let value = escape_within(value.unwrap_or_default().trim(), most);
        if !value.trim().is_empty() {
            fields.push(Field { name: name.to_owned(), value, inline });
        }
    };
    let way = if facts.channel.is_empty() { String::new() } else { format!(" (by {})", facts.channel) };
    let requester = format!("{}{way}", cut(&one_line(&facts.requester), LONGEST_SHORT - 30));
    field("Requester", Some(&requester), LONGEST_SHORT, true);
    field("Status", Some(&facts.status), LONGEST_SHORT, true);
    field("Priority", Some(&facts.priority), LONGEST_SHORT, true);
    field("Category", Some(&words(facts.category.as_deref().unwrap_or("not known"))), LONGEST_SHORT, true);
    let skills = if facts.skills.is_empty() { "none recognized".to_owned() } else { facts.skills.join(", ") };
    field("Skills", Some(&skills), LONGEST_SHORT * 2, true);
    field("Language", facts.language.as_deref(), LONGEST_SHORT, true);
    let assignee = match (&facts.assignee, &facts.reason) {
        (Some(name), Some(reason)) if reason.starts_with(name.as_str()) => reason.clone(),
        (Some(name), Some(reason)) => format!("{name}\n{reason}"),
        (Some(name), None) => name.clone(),
        (None, Some(reason)) => format!("nobody yet\n{reason}"),
        (None, None) => "nobody yet".to_owned(),
    };
    field("Assigned to", Some(&assignee), LONGEST_LONG / 2, false);
    let related = facts.related_to.map(|number| format!("possibly #{number}: the subject names it"));
    field("Related", related.as_deref(), LONGEST_SHORT, false);
    field("Notes (written by a machine, for staff only)", facts.notes.as_deref(), LONGEST_LONG, false);
    field(
        "Suggested reply (written by a machine: check before you use it)",
        facts.suggested_reply.as_deref(),
        LONGEST_LONG,
        false,
    );
    let engine =
        facts.engine.as_deref().map(|engine| Footer { text: cut(&format!("Judged by {engine}"), 100) });
    let title = one_line(&format!("#{} {}", facts.number, facts.subject));
    let embed = Embed {
        title: Some(escape_within(&title, LONGEST_TITLE)),
        url: facts.link.clone().filter(|link| link.len() <= 2000),
        color: Some(color(&facts.status, &facts.priority)),
        fields,
        footer: engine,
        ..Embed::default()
    };
    Message::default().embed(embed).row(buttons(facts))
}

fn buttons(facts: &CardFacts) -> Vec<Component> {
    let button = |style, label, action| Component::button(style, label, &CustomId::of(action, &facts.handle));
    if matches!(facts.status.as_str(), "resolved" | "closed") {
        return vec![button(Style::Primary, "Reopen", Action::Reopen)];
    }
    vec![
        button(Style::Primary, "Claim", Action::Claim),
        button(Style::Primary, "Reply", Action::Reply),
        button(Style::Success, "Resolve", Action::Resolve),
        button(Style::Secondary, "Reassign", Action::Reassign),
        button(Style::Secondary, "Priority", Action::Priority),
    ]
}

fn color(status: &str, priority: &str) -> u32 {
    match (status, priority) {
        ("resolved", _) => 0x002e_8b57,
        ("closed", _) => 0x0060_6060,
        (_, "urgent") => 0x00c6_2828,
        (_, "high") => 0x00ef_6c00,
        (_, "low") => 0x0090_a4ae,
        _ => 0x0015_65c0,
    }
}

/// `feature_request` reads as `feature request`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The panel, posted once in the channel where people ask.
pub fn panel() -> Message {
    let embed = Embed {
        title: Some("Need help?".to_owned()),
        description: Some(
            "Press the button and tell us what it is about. You get a thread of your own, which only you and our staff see."
                .to_owned(),
        ),
        color: Some(color("", "")),
        ..Embed::default()
    };
    let button = Component::button(Style::Primary, "Open a ticket", &CustomId::new(Action::OpenTicket));
    Message::default().embed(embed).row(vec![button])
}

/// The first message in a requester's own thread; it notifies them, and nobody else.
pub fn greeting(number: i64, subject: &str, requester: u64, text: &str) -> Message {
    let quote = escape_within(text.trim(), 1500);
    let quote: Vec<String> = quote.lines().map(|line| format!("> {line}")).collect();
    let subject = escape_within(&one_line(subject), 200);
    let told = if quote.is_empty() { String::new() } else { format!("\n{}\n", cut(&quote.join("\n"), 1650)) };
    Message::text(format!(
        "<@{requester}>, this is your ticket **#{number}**: {subject}\n{told}\n\
         Write here whatever you want to add. Our staff answer in this thread; nobody else sees it."
    ))
    .pinging(&[requester])
    .without_previews()
}

/// One person whom a ticket can be given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What comes back as the chosen value.
    pub id: String,
    pub name: String,
    /// Such as `2 of 2 skills, 3 of 10 open`.
    pub about: String,
}

/// Who is to have the ticket; the first 25.
pub fn choose_assignee(handle: &str, people: &[Candidate]) -> Message {
    if people.is_empty() {
        return Message::text("There is nobody whom it could be given to.").ephemeral();
    }
    let options =
        people.iter().map(|p| Choice::new(&one_line(&p.name), p.id.clone()).described(&one_line(&p.about)));
    let menu = Component::select(&CustomId::of(Action::AssignTo, handle), "Who takes it?", options.collect());
    Message::text("Who takes it?").row(vec![menu]).ephemeral()
}

pub fn choose_priority(handle: &str, now: &str) -> Message {
    let options = PRIORITIES.map(|level| Choice::new(level, level).chosen(level == now)).to_vec();
    let menu = Component::select(&CustomId::of(Action::SetPriority, handle), "Which priority?", options);
    Message::text("How urgent is it?").row(vec![menu]).ephemeral()
}

/// From the least to the most.
pub const PRIORITIES: [&str; 4] = ["low", "medium", "high", "urgent"];

/// Names of the fields of our forms.
pub const SUBJECT: &str = "subject";
pub const TEXT: &str = "text";

/// The form to open a ticket with; `category` is a place in the configured list.
pub fn new_ticket_form(category: Option<usize>) -> Modal {
    let mut id = CustomId::new(Action::NewTicketModal);
    id.number = category.and_then(|place| u64::try_from(place).ok());
    Modal::new(
        &id,
        "Open a ticket",
        vec![
            Input::line(SUBJECT, "What is it about?", 200).hint("In a few words"),
            Input::paragraph(TEXT, "Tell us more", 4000).hint("What happened, what did you expect?"),
        ],
    )
}

/// The form to answer with; `draft` stands in it at first.
pub fn reply_form(handle: &str, draft: &str) -> Modal {
    let text = Input::paragraph(TEXT, "Your answer; it goes to the requester", 4000).filled(draft);
    Modal::new(&CustomId::of(Action::ReplyModal, handle), "Reply", vec![text])
}

/// Beside the words that an answer was sent, as long as it can be taken back.
pub fn with_undo(text: &str, handle: &str, delivery: u64) -> Message {
    let id = CustomId::of(Action::Undo, handle).number(delivery);
    Message::text(text).row(vec![Component::button(Style::Secondary, "Undo", &id)])
}

/// For staff, in place of a thread that is gone or shut to the bot.
pub fn with_repair(text: &str, handle: &str) -> Message {
    let button = Component::button(Style::Danger, "Make a new thread", &CustomId::of(Action::Repair, handle));
    Message::text(text).row(vec![button])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn facts() -> CardFacts {
        CardFacts {
            handle: "x7Fq".into(),
            number: 1001,
            subject: "Charged **twice**".into(),
            requester: "Ada".into(),
            channel: "email".into(),
            status: "open".into(),
            priority: "high".into(),
            category: Some("feature_request".into()),
            skills: vec!["billing".into(), "rust".into()],
            assignee: Some("Bea".into()),
            reason: Some("Bea: 2 of 2 skills (billing, rust), 3 of 10 open".into()),
            language: Some("en".into()),
            engine: Some("gemini".into()),
            notes: Some("Mentions a refund.".into()),
            suggested_reply: Some("We will look at it.".into()),
            link: Some("https://help.example.org/tickets/1001".into()),
            related_to: Some(7),
        }
    }

    fn shown(message: &Message) -> String {
        serde_json::to_string_pretty(message).unwrap()
    }

    /// As a person sees it: title, fields, buttons with their ids.
    fn read(message: &Message) -> String {
        let json = serde_json::to_value(message).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let embed = &json["embeds"][0];
        let mut lines = vec![text(&embed["title"])];
        for field in embed["fields"].as_array().unwrap() {
            lines.push(format!("{}: {}", text(&field["name"]), text(&field["value"])));
        }
        lines.push(text(&embed["footer"]["text"]));
        for button in json["components"][0]["components"].as_array().unwrap() {
            lines.push(format!("[{}] {}", text(&button["label"]), text(&button["custom_id"])));
        }
        lines.join("\n")
    }

    #[test]
    fn the_card() {
        insta::assert_snapshot!(read(&card(&facts())), @r"
        #1001 Charged \*\*twice\*\*
        Requester: Ada (by email)
        Status: open
        Priority: high
        Category: feature request
        Skills: billing, rust
        Language: en
        Assigned to: Bea: 2 of 2 skills (billing, rust), 3 of 10 open
        Related: possibly #7: the subject names it
        Notes (written by a machine, for staff only): Mentions a refund.
        Suggested reply (written by a machine: check before you use it): We will look at it.
        Judged by gemini
        [Claim] claim.x7Fq
        [Reply] reply.x7Fq
        [Resolve] resolve.x7Fq
        [Reassign] reassign.x7Fq
        [Priority] priority.x7Fq
        ");
        let unknown =
            CardFacts { handle: "h".into(), number: 1, status: "resolved".into(), ..CardFacts::default() };
        insta::assert_snapshot!(read(&card(&unknown)), @"
        #1
        Status: resolved
        Category: not known
        Skills: none recognized
        Assigned to: nobody yet

        [Reopen] reopen.h
        ");
    }

    #[test]
    fn what_is_done_can_only_be_reopened() {
        for status in ["resolved", "closed"] {
            let card = shown(&card(&CardFacts { status: status.into(), ..facts() }));
            assert!(card.contains("reopen.x7Fq") && !card.contains("claim.x7Fq"));
        }
    }

    #[test]
    fn the_hash_follows_what_is_shown() {
        let other = CardFacts { priority: "low".into(), ..facts() };
        assert_eq!(card(&facts()).rendering(), card(&facts()).rendering());
        assert_ne!(card(&facts()).rendering(), card(&other).rendering());
    }

    #[test]
    fn the_panel_and_the_greeting() {
        assert!(shown(&panel()).contains("\"custom_id\": \"open-ticket\""));
        insta::assert_snapshot!(greeting(1001, "It *burns*", 7, "Look:\n@all").content, @r"
        <@7>, this is your ticket **#1001**: It \*burns\*

        > Look:
        > @all

        Write here whatever you want to add. Our staff answer in this thread; nobody else sees it.
        ");
    }

    #[test]
    fn menus_have_what_can_be_chosen() {
        let people: Vec<Candidate> = (0..40)
            .map(|n| Candidate { id: n.to_string(), name: format!("P{n}"), about: "1 of 1 skills".into() })
            .collect();
        assert_eq!(shown(&choose_assignee("h", &people)).matches("1 of 1 skills").count(), 25);
        assert!(choose_assignee("h", &[]).components.is_empty());
        assert_eq!(shown(&choose_priority("h", "high")).matches("\"default\": true").count(), 1);
    }

    /// Checks a message against Discord's limits (<https://docs.discord.com/developers/resources/message>).
    fn fits(message: &Message) -> Result<(), TestCaseError> {
        let count = |text: &Value| text.as_str().unwrap_or_default().encode_utf16().count();
        let json = serde_json::to_value(message).unwrap();
        prop_assert!(count(&json["content"]) <= 2000);
        let mut all = 0;
        for embed in json["embeds"].as_array().unwrap() {
            prop_assert!(count(&embed["title"]) <= 256 && count(&embed["description"]) <= 4096);
            all += count(&embed["title"]) + count(&embed["description"]) + count(&embed["footer"]["text"]);
            let fields = embed["fields"].as_array().unwrap();
            prop_assert!(fields.len() <= 25);
            for field in fields {
                let (name, value) = (count(&field["name"]), count(&field["value"]));
                prop_assert!((1..=256).contains(&name) && (1..=1024).contains(&value), "{field}");
                all += name + value;
            }
        }
        prop_assert!(all <= 6000, "{all}");
        Ok(())
    }

    proptest! {
        #[test]
        fn a_card_fits_whatever_it_shows(
            subject in "\\PC{0,400}", requester in "\\PC{0,300}",
            texts in proptest::collection::vec(proptest::option::of("(\\PC|[*_\n🦀]){0,3000}"), 6),
            skills in proptest::collection::vec("\\PC{0,60}", 0..40), number in any::<i64>(),
        ) {
            let text = |n: usize| texts[n].clone();
            let facts = CardFacts {
                subject: subject.clone(), requester, number, skills, category: text(0), assignee: text(1),
                reason: text(2), language: text(3), notes: text(4), suggested_reply: text(5), ..facts()
            };
            fits(&card(&facts))?;
            fits(&greeting(number, &subject, 7, &text(4).unwrap_or_default()))?;
        }
    }
}
