//! A ticket as one HTML file: to be kept, printed, and read on a phone.
//!
//! [`html`] is pure. The file asks for nothing from anywhere and runs nothing; every text in it is escaped, and what is for
//! staff only is left out once more here, whatever the caller passed on.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::changes::{self, Assignment, Triage};
use super::read::{self, Event, Message, Participant, Revision, Summary};

/// Everything that a transcript may tell.
#[derive(Clone, Copy, Debug)]
pub struct Transcript<'a> {
    pub ticket: &'a Summary,
    pub participants: &'a [Participant],
    pub messages: &'a [Message],
    pub revisions: &'a [Revision],
    pub events: &'a [Event],
    pub triage: Option<&'a Triage>,
    pub assignment: Option<&'a Assignment>,
    pub made_at: DateTime<Utc>,
}

/// What a file is called that holds the transcript of a ticket.
pub fn file_name(ticket: &Summary) -> String {
    format!("ticket-{}.html", ticket.number)
}

/// The transcript of a ticket that the caller has found to be one the reader may see.
pub async fn document(
    db: &sqlx::PgPool,
    ticket: &Summary,
    for_staff: bool,
    made_at: DateTime<Utc>,
) -> sqlx::Result<String> {
    let number = ticket.number;
    let messages = read::messages(db, number, for_staff, made_at).await?;
    let participants = read::participants(db, number).await?;
    let (mut revisions, mut events, mut triage, mut assignment) = (Vec::new(), Vec::new(), None, None);
    if for_staff {
        revisions = read::revisions(db, number).await?;
        events = read::events(db, number).await?;
        triage = changes::triage(db, number).await?;
        assignment = changes::assignment(db, number).await?;
    }
    let transcript = Transcript {
        ticket,
        participants: &participants,
        messages: &messages,
        revisions: &revisions,
        events: &events,
        triage: triage.as_ref(),
        assignment: assignment.as_ref(),
        made_at,
    };
    Ok(html(&transcript, for_staff))
}

const HEAD: &str = r#"<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<style>
:root { color-scheme: light dark; --line: #8886; --faint: #767676; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.25; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--faint); }
dd { margin: 0; }
article { border: 1px solid var(--line); border-left-width: .3rem; border-radius: .3rem; padding: .6rem .8rem; margin: .8rem 0; }
article.outbound { border-left-color: #2a7; }
article.inbound { border-left-color: #37c; }
article.note { border-left-color: #c80; background: #c801; }
header, footer, .faint { color: var(--faint); font-size: .9rem; }
header b { color: CanvasText; }
pre { font: inherit; white-space: pre-wrap; margin: .4rem 0 0; }
ul { margin: .4rem 0 0; padding-left: 1.2rem; }
@media print { body { max-width: none; padding: 0; } article { break-inside: avoid-page; } }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; } }
</style>
"#;

/// The whole file. Who is not staff reads the conversation as it stands; staff read notes, revisions, reasons and the
/// timeline as well.
pub fn html(transcript: &Transcript<'_>, for_staff: bool) -> String {
    let ticket = transcript.ticket;
    let title = escape(&format!("#{} {}", ticket.number, ticket.subject));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>\n</head>\n<body>\n"
    );
    page.push_str(&format!("<h1>{title}</h1>\n"));
    facts(&mut page, transcript, for_staff);
    page.push_str("<h2>Conversation</h2>\n");
    let shown = |message: &&Message| for_staff || is_public(message);
    for message in transcript.messages.iter().filter(shown) {
        entry(&mut page, message, transcript.revisions, for_staff);
    }
    if for_staff {
        reasons(&mut page, transcript);
        timeline(&mut page, transcript.events);
    }
    let public = if for_staff { "For staff only: it holds notes and reasons." } else { "" };
    page.push_str(&format!(
        "<footer><p>Written on {}. {public}</p></footer>\n</body>\n</html>\n",
        time(transcript.made_at)
    ));
    page
}

/// What a requester may see, as in [`read::messages`].
fn is_public(message: &Message) -> bool {
    message.kind != "note" && !message.unverified && !message.withdrawn && message.deleted_at.is_none()
}

fn facts(page: &mut String, transcript: &Transcript<'_>, for_staff: bool) {
    let ticket = transcript.ticket;
    page.push_str("<dl>\n");
    let mut row = |label: &str, value: &str| {
        if !value.is_empty() {
            page.push_str(&format!("<dt>{label}</dt><dd>{}</dd>\n", escape(value)));
        }
    };
    row("Status", &ticket.status);
    row("Priority", &ticket.priority);
    row("Category", ticket.category.as_deref().unwrap_or_default());
    row("Skills", &ticket.required_skills.join(", "));
    row("Asked by", &ticket.requester_name);
    row("Assigned to", ticket.assignee_name.as_deref().unwrap_or("nobody"));
    row("Opened", &format!("{}, {}", time(ticket.created_at), by_way_of(&ticket.channel)));
    row("Last change", &time(ticket.updated_at));
    if for_staff {
        row("Language", ticket.language.as_deref().unwrap_or_default());
        row("Follows up", &ticket.follow_up_of.map(|t| format!("#{t}")).unwrap_or_default());
        row("Possibly related", &ticket.related_to.map(|t| format!("#{t}")).unwrap_or_default());
        let people = transcript.participants.iter();
        let people: Vec<String> = people.map(|p| format!("{} ({}, {})", p.name, p.part, p.address)).collect();
        row("Taking part", &people.join("; "));
    }
    page.push_str("</dl>\n");
}

fn entry(page: &mut String, message: &Message, revisions: &[Revision], for_staff: bool) {
    let (class, kind) = match message.kind.as_str() {
        "outbound" => ("outbound", "answer"),
        "note" => ("note", "internal note"),
        _ => ("inbound", "message"),
    };
    let author = message.author_name.as_deref().unwrap_or("ticketd");
    page.push_str(&format!(
        "<article class=\"{class}\">\n<header><b>{}</b> · {kind} · {} · {}",
        escape(author),
        time(message.created_at),
        by_way_of(&message.channel)
    ));
    if let Some(at) = message.edited_at.filter(|_| !for_staff) {
        page.push_str(&format!(" · edited {}", time(at)));
    }
    page.push_str("</header>\n");
    if for_staff {
        remarks(page, message);
    }
    let changes: Vec<&Revision> = revisions.iter().filter(|r| for_staff && r.message == message.id).collect();
    let text = if changes.is_empty() { &message.visible } else { &message.body };
    page.push_str(&format!("<pre>{}</pre>\n", escape(text.trim_end())));
    for change in changes {
        page.push_str(&format!("<p class=\"faint\">{} {}</p>\n", escape(&change.kind), time(change.at)));
        if !change.body.is_empty() {
            page.push_str(&format!("<pre>{}</pre>\n", escape(change.body.trim_end())));
        }
    }
    if !message.attachments.is_empty() {
        page.push_str("<ul>\n");
        for file in message.attachments.iter() {
            let name = file.filename.as_deref().unwrap_or("a file without a name");
            page.push_str(&format!("<li>{} ({})</li>\n", escape(name), size(file.size)));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</article>\n");
}

/// What only staff are told of a message.
fn remarks(page: &mut String, message: &Message) {
    let mut remark = |text: &str| page.push_str(&format!("<p class=\"faint\">{}</p>\n", escape(text)));
    if message.withdrawn {
        remark("taken back before it left: nobody but staff has seen it");
    }
    if message.unverified {
        remark("it claims to be staff's and could not prove it");
    }
    if message.sender_class != "human" {
        remark(&format!("written by a machine ({})", message.sender_class));
    }
    if let Some(address) = &message.author_address {
        remark(&format!("from {address}"));
    }
    if let Some(address) = &message.reply_to {
        remark(&format!("answers go to {address}"));
    }
    if let Some(problems) = &message.problems {
        remark(&format!("not all of it could be read: {problems}"));
    }
}

fn reasons(page: &mut String, transcript: &Transcript<'_>) {
    if let Some(assignment) = transcript.assignment {
        page.push_str(&format!(
            "<h2>Assignment</h2>\n<p>{}, {}: {}</p>\n",
            time(assignment.at),
            escape(&assignment.outcome),
            escape(&assignment.reason)
        ));
    }
    let Some(triage) = transcript.triage else { return };
    page.push_str(&format!(
        "<h2>Triage</h2>\n<p>{}, {} ({}), confidence {:.0} %</p>\n",
        time(triage.at),
        escape(&triage.engine),
        escape(&triage.model),
        f64::from(triage.confidence) * 100.0
    ));
    let texts = [
        ("Notes", &triage.notes),
        ("Suggested answer (a machine wrote it)", &triage.suggested_reply),
        ("Why the offline engine", &triage.fallback_reason),
    ];
    for (label, text) in texts {
        if let Some(text) = text {
            page.push_str(&format!("<p class=\"faint\">{label}</p>\n<pre>{}</pre>\n", escape(text.trim())));
        }
    }
}

fn timeline(page: &mut String, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    page.push_str("<h2>Timeline</h2>\n<ul>\n");
    for event in events {
        let who = event.actor_name.as_deref().unwrap_or("ticketd");
        page.push_str(&format!(
            "<li>{} · {} · {}{} · {}</li>\n",
            time(event.at),
            escape(who),
            escape(&event.kind.replace('_', " ")),
            escape(&detail(&event.data)),
            by_way_of(&event.channel)
        ));
    }
    page.push_str("</ul>\n");
}

/// What of an event's data is told: how something changed, and why. The rest are numbers.
fn detail(data: &Value) -> String {
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    let mut detail = String::new();
    match (text("from"), text("to")) {
        (Some(from), Some(to)) => detail.push_str(&format!(": {from} → {to}")),
        (None, Some(to)) => detail.push_str(&format!(": {to}")),
        _ => {}
    }
    for key in ["outcome", "state", "reason", "why", "kind"] {
        if let Some(said) = text(key) {
            detail.push_str(&format!("{} {said}", if detail.is_empty() { ":" } else { "," }));
        }
    }
    detail
}

/// Everybody's clock is another one; this one is everybody's.
fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn by_way_of(channel: &str) -> &'static str {
    match channel {
        "email" => "by mail",
        "discord" => "in Discord",
        _ => "by the console",
    }
}

fn size(bytes: i64) -> String {
    match bytes {
        ..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// HTML's five signs (the WHATWG's "serializing"), and what would turn text round or hide it: a transcript is evidence.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(sign),
            // Bidirectional controls are shown as the replacement character: "exe.fdp" must not read "pdf.exe".
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            _ if sign.is_control() => {}
            _ => safe.push(sign),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
