//! Every sentence that people read in our mails.

use crate::mail::markdown;
use crate::tickets::loops::Scope;
use crate::tickets::outbox::{Carried, Facts};

pub mod alarm;

/// Above this line staff writes; what stands below it never reaches a requester.
const LINE: &str = "--- Write your answer above this line ---";

/// To the requester: it arrived.
pub fn acknowledgement(name: &str, ticket: i64, subject: &str) -> String {
    format!(
        "{}\n\n\
         we have received your message{} and entered it as ticket #{ticket}. A person will read it and answer you.\n\n\
         To add something, just answer this mail.\n\n\
         This mail was sent automatically.\n",
        greeting(name),
        if subject.trim().is_empty() { String::new() } else { format!(" “{}”", subject.trim()) }
    )
}

fn greeting(name: &str) -> String {
    let name = name.trim();
    if name.is_empty() || name.contains('@') { "Hello,".to_owned() } else { format!("Hello {name},") }
}

/// To a participant: staff's answer. Nothing is added to what was written but who wrote it, and what is answered where
/// that is wanted.
pub fn reply(text: &str, author: Option<&str>, answered: Option<&Carried>) -> String {
    let mut reply = match author {
        // RFC 3676 §4.3: the delimiter, with its space at the end.
        Some(author) => format!("{}\n\n-- \n{author}\n", text.trim_end()),
        None => format!("{}\n", text.trim_end()),
    };
    if let Some(answered) = answered {
        // RFC 3676 §4.5: a citation in a citation has its marks side by side.
        let line = |line: &str| {
            if line.starts_with('>') {
                format!(">{line}\n")
            } else {
                format!("{}\n", format!("> {line}").trim_end())
            }
        };
        let cited = history(&answered.text).lines().map(line).collect::<Vec<_>>().concat();
        reply.push_str(&format!("\n{}\n\n{cited}", attribution(answered)));
    }
    reply
}

/// The same as HTML, what staff wrote read as Markdown. `None`: the text is all there is.
pub fn reply_html(text: &str, author: Option<&str>, answered: Option<&Carried>) -> Option<String> {
    let mut html = markdown::html(text)?;
    if let Some(author) = author {
        html.push_str(&format!("\n<p>-- <br>\n{}</p>", markdown::escaped(author)));
    }
    if let Some(answered) = answered {
        html.push_str(&format!(
            "\n<p>{}</p>\n<blockquote type=\"cite\" style=\"margin:0 0 0 0.8em;border-left:2px solid #cccccc;\
             padding-left:0.8em\">{}</blockquote>",
            markdown::escaped(&attribution(answered)),
            markdown::escaped(&history(&answered.text))
        ));
    }
    Some(html)
}

/// In the form that programs which cut citations off know best.
fn attribution(answered: &Carried) -> String {
    let author = answered.author_name.as_deref().unwrap_or("you");
    format!("On {}, {author} wrote:", answered.written_at.format("%-d %b %Y at %H:%M UTC"))
}

/// So much of what is answered is repeated, in bytes: the ticket has the whole.
const LONGEST_HISTORY: usize = 32 * 1024;

fn history(text: &str) -> String {
    let text = text.trim();
    let end = (0..=LONGEST_HISTORY.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = text.get(..end).unwrap_or_default();
    if start.len() < text.len() { format!("{start}\n[…]") } else { start.to_owned() }
}

/// To the requester: how content are you?
pub fn survey(name: &str, ticket: i64, subject: &str, link: &str) -> String {
    format!(
        "{}\n\n\
         your ticket #{ticket}{} is resolved. How content are you with what we did? Tell us here:\n\n    \
         {link}\n\n\
         It takes a click, and you can change your answer for two weeks. Nobody but you has this link.\n\n\
         If it is not resolved, just answer this mail.\n\n\
         This mail was sent automatically.\n",
        greeting(name),
        if subject.trim().is_empty() { String::new() } else { format!(" “{}”", subject.trim()) }
    )
}

/// To staff: this is yours, or there is something new in it.
pub fn notice(
    ticket: i64,
    subject: &str,
    facts: &Facts,
    about: Option<&Carried>,
    is_first: bool,
    link: Option<&str>,
) -> String {
    let mut text = format!("{LINE}\n\n");
    let from = match &facts.requester_address {
        Some(address) => format!("{} <{address}>", facts.requester_name),
        None => facts.requester_name.clone(),
    };
    let undelivered = about.and_then(|about| about.undelivered.as_ref());
    let what = match (is_first, undelivered) {
        (true, _) => "is yours",
        (false, Some(_)) => "has an answer that did not arrive",
        (false, None) => "has a new message",
    };
    text.push_str(&format!("Ticket #{ticket} {what}: {subject}\n\n"));
    let mut line = |label: &str, value: &str| text.push_str(&format!("{label:<11}{value}\n"));
    line("From:", &from);
    line("Priority:", &facts.priority);
    line("Category:", facts.category.as_deref().unwrap_or("not known"));
    line(
        "Skills:",
        &if facts.skills.is_empty() { "none recognized".to_owned() } else { facts.skills.join(", ") },
    );
    if let Some(language) = &facts.language {
        line("Language:", language);
    }
    if let Some(reason) = facts.reason.as_ref().filter(|_| is_first) {
        line("Why you:", reason);
    }
    if let Some(related) = facts.related_to {
        line(
            "Related:",
            &format!("possibly #{related}: the subject names it, but the sender does not take part in it"),
        );
    }
    if let Some(link) = link {
        line("Open:", link);
    }
    if let Some(about) = about {
        let author = about.author_name.as_deref().unwrap_or("Somebody");
        let claim = match (about.unverified, &about.why_unverified) {
            (true, Some(why)) => format!(" (kept as a note, not sent on: {why})"),
            (true, None) => " (claims to be staff; this is not verified)".to_owned(),
            (false, _) => String::new(),
        };
        text.push_str(&format!("\n{author}{claim} wrote:\n\n{}\n", quoted(&about.text)));
        if let Some(undelivered) = undelivered {
            text.push_str(&format!("\nThis did not reach {undelivered}.\n"));
        }
        if let Some(problems) = &about.problems {
            text.push_str(&format!("\nTo know about this mail: {problems}.\n"));
        }
    }
    if is_first {
        if let Some(notes) = &facts.notes {
            text.push_str(&format!(
                "\nNotes ({}, for staff only):\n\n{}\n",
                facts.engine.as_deref().unwrap_or("triage"),
                notes.trim()
            ));
        }
        if let Some(reply) = &facts.suggested_reply {
            text.push_str(&format!(
                "\nSuggested answer (a machine wrote it; check before you use it):\n\n{}\n",
                reply.trim()
            ));
        }
    }
    text.push_str(
        "\nAnswer this mail and your text goes to the requester, in the same thread.\n\
         This mail is for you alone: do not forward it, its address answers in your name.\n",
    );
    text
}

/// Long mails are cut in a notice; the whole is in the ticket.
const LONGEST_QUOTE: usize = 4000;

fn quoted(text: &str) -> String {
    let short: String = text.trim().chars().take(LONGEST_QUOTE).collect();
    let cut = if short.len() < text.trim().len() { "\n| […]" } else { "" };
    let lines: Vec<String> = short.lines().map(|line| format!("| {line}").trim_end().to_owned()).collect();
    lines.join("\n") + cut
}

/// The subject of a mail with a code; not the code, which would stand in lists of mails and on locked screens.
pub const CODE_SUBJECT: &str = "Your code to link this address";

/// To an address: the code that links it. It holds no text of whoever asked, for this is mailed to wherever they say.
pub fn code(code: &str, minutes: i64) -> String {
    format!(
        "Hello,\n\n\
         somebody in our Discord server asked to link this mail address to their account there. If it was you, type this \
         code in Discord, after /link:\n\n    \
         {code}\n\n\
         It is good for {minutes} minutes and can be used once. After that your tickets by mail and in Discord are together.\n\n\
         If it was not you, do nothing: without the code nothing happens. Give it to nobody, not to us either: whoever has it \
         can read your tickets.\n\n\
         This mail was sent automatically.\n"
    )
}

/// The subjects of mails about accounts. They hold no text of whoever asked: such mails go to wherever they say.
pub const CONFIRM_SUBJECT: &str = "Confirm your account";
pub const EXISTS_SUBJECT: &str = "You have an account already";
pub const RESET_SUBJECT: &str = "Choose a new password";
pub const CHANGED_SUBJECT: &str = "Your password was changed";
pub const LINK_SUBJECT: &str = "Confirm a new way to sign in";

/// To an address that signed up.
pub fn confirm(link: &str, hours: i64) -> String {
    format!(
        "Hello,\n\n\
         somebody signed up here with this mail address. If it was you, open this link and type the password that you \
         chose:\n\n    \
         {link}\n\n\
         It is good for {hours} hours and can be used once.\n\n\
         If it was not you, do nothing: without the password nothing happens.\n\n\
         This mail was sent automatically.\n"
    )
}

/// To an address that signed up and has an account.
pub fn exists(base: &str) -> String {
    format!(
        "Hello,\n\n\
         somebody signed up here with this mail address, which has an account already. If it was you, log in with your \
         password. If you have forgotten it, choose a new one:\n\n    \
         {base}/account/reset\n\n\
         If it was not you, do nothing: your account is as it was.\n\n\
         This mail was sent automatically.\n"
    )
}

/// To whoever wants to choose a new password.
pub fn reset(link: &str, hours: i64) -> String {
    format!(
        "Hello,\n\n\
         somebody asked to choose a new password for your account. If it was you, open this link:\n\n    \
         {link}\n\n\
         It is good for {} and can be used once. You will be logged out everywhere.\n\n\
         If it was not you, do nothing: your password is as it was.\n\n\
         This mail was sent automatically.\n",
        hours_in_words(hours)
    )
}

/// To whoever has a new password.
pub fn changed(base: &str) -> String {
    format!(
        "Hello,\n\n\
         the password of your account was changed, and you were logged out everywhere else.\n\n\
         If it was not you, somebody else has your account. Take it back by choosing a new password:\n\n    \
         {base}/account/reset\n\n\
         This mail was sent automatically.\n"
    )
}

/// To the owner of an account that somebody signs in to by another service for the first time.
pub fn link(link: &str, provider: &str, hours: i64) -> String {
    format!(
        "Hello,\n\n\
         somebody signed in by {provider} with this mail address, which has an account here already. If it was you and you want \
         to sign in that way from now on, open this link:\n\n    \
         {link}\n\n\
         It is good for {} and can be used once.\n\n\
         If it was not you, do nothing: your account is as it was.\n\n\
         This mail was sent automatically.\n",
        hours_in_words(hours)
    )
}

fn hours_in_words(hours: i64) -> String {
    if hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") }
}

/// The name our mails come from.
pub fn sender_name(staff: Option<&str>) -> String {
    match staff {
        Some(name) => format!("{name} (Support)"),
        None => "Support".to_owned(),
    }
}

/// Why a notice was not sent to somebody who is to be told.
pub const OUT_OF_SIGHT: &str = "they may not read the ticket any more";

/// Why the loop breaker held a mail back.
pub fn loop_breaker(scope: Scope) -> &'static str {
    match scope {
        Scope::Address => {
            "the address was sent as many automatic mails in the last hour as are allowed (mail.loop_per_address_hour)"
        }
        Scope::Domain => {
            "its domain was sent as many automatic mails in the last hour as are allowed (mail.loop_per_domain_hour)"
        }
        Scope::Ticket => {
            "as many automatic mails about this ticket were sent in the last hour as are allowed (mail.loop_per_ticket_hour)"
        }
        Scope::Notices => {
            "as many notices about this ticket were sent in the last hour as are allowed (four times \
             mail.loop_per_ticket_hour)"
        }
    }
}

/// Why nobody is asked how content they are.
pub const OPEN_AGAIN: &str = "the ticket was opened again before the requester was asked";

/// Why nothing is sent to an address any more.
pub const BOUNCED: &str = "an earlier mail to this address came back, so none is sent until it writes to us or somebody says so \
                           (`ticketd deliveries retry`)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MessageId, TicketId};

    fn facts() -> Facts {
        Facts {
            priority: "high".into(),
            category: Some("billing".into()),
            language: Some("en".into()),
            skills: vec!["billing".into(), "rust".into()],
            requester_name: "Ada".into(),
            requester_address: Some("ada@example.net".into()),
            notes: Some("Mentions a refund.".into()),
            suggested_reply: Some("We will look at it.".into()),
            engine: Some("gemini".into()),
            reason: Some("Bea: 2 of 2 skills (billing, rust), 3 of 10 open".into()),
            related_to: Some(TicketId(7)),
        }
    }

    fn about() -> Carried {
        Carried {
            id: MessageId(1),
            rfc_id: None,
            refs: vec![],
            text: "Hello,\n\nI was charged twice.".into(),
            written_at: chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            author_name: Some("Ada".into()),
            author_address: None,
            unverified: false,
            undelivered: None,
            why_unverified: None,
            problems: None,
            attachments: vec![],
        }
    }

    #[test]
    fn the_acknowledgement() {
        insta::assert_snapshot!(acknowledgement("Ada", 1042, "Printer"), @"
        Hello Ada,

        we have received your message “Printer” and entered it as ticket #1042. A person will read it and answer you.

        To add something, just answer this mail.

        This mail was sent automatically.
        ");
        assert!(
            acknowledgement("ada@example.net", 1, "")
                .starts_with("Hello,\n\nwe have received your message and")
        );
    }

    #[test]
    fn the_survey() {
        insta::assert_snapshot!(survey("Ada", 1042, "Printer", "https://help.example.org/rate/r1042.p7.abc"), @"
        Hello Ada,

        your ticket #1042 “Printer” is resolved. How content are you with what we did? Tell us here:

            https://help.example.org/rate/r1042.p7.abc

        It takes a click, and you can change your answer for two weeks. Nobody but you has this link.

        If it is not resolved, just answer this mail.

        This mail was sent automatically.
        ");
    }

    #[test]
    fn the_code() {
        insta::assert_snapshot!(code("7K2M-0QXZ", 15), @"
        Hello,

        somebody in our Discord server asked to link this mail address to their account there. If it was you, type this code in Discord, after /link:

            7K2M-0QXZ

        It is good for 15 minutes and can be used once. After that your tickets by mail and in Discord are together.

        If it was not you, do nothing: without the code nothing happens. Give it to nobody, not to us either: whoever has it can read your tickets.

        This mail was sent automatically.
        ");
    }

    #[test]
    fn the_letters_about_accounts() {
        let link_to = |page: &str| format!("https://help.example.org/account/{page}?token=17.abc");
        insta::assert_snapshot!(confirm(&link_to("confirm"), 24), @"
        Hello,

        somebody signed up here with this mail address. If it was you, open this link and type the password that you chose:

            https://help.example.org/account/confirm?token=17.abc

        It is good for 24 hours and can be used once.

        If it was not you, do nothing: without the password nothing happens.

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(exists("https://help.example.org"), @"
        Hello,

        somebody signed up here with this mail address, which has an account already. If it was you, log in with your password. If you have forgotten it, choose a new one:

            https://help.example.org/account/reset

        If it was not you, do nothing: your account is as it was.

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(reset(&link_to("reset"), 1), @"
        Hello,

        somebody asked to choose a new password for your account. If it was you, open this link:

            https://help.example.org/account/reset?token=17.abc

        It is good for an hour and can be used once. You will be logged out everywhere.

        If it was not you, do nothing: your password is as it was.

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(changed("https://help.example.org"), @"
        Hello,

        the password of your account was changed, and you were logged out everywhere else.

        If it was not you, somebody else has your account. Take it back by choosing a new password:

            https://help.example.org/account/reset

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(link(&link_to("link"), "Google", 1), @"
        Hello,

        somebody signed in by Google with this mail address, which has an account here already. If it was you and you want to sign in that way from now on, open this link:

            https://help.example.org/account/link?token=17.abc

        It is good for an hour and can be used once.

        If it was not you, do nothing: your account is as it was.

        This mail was sent automatically.
        ");
    }

    #[test]
    fn the_first_notice() {
        insta::assert_snapshot!(notice(
            1042,
            "Charged twice",
            &facts(),
            Some(&about()),
            true,
            Some("https://help/tickets/1042")
        ), @"
        --- Write your answer above this line ---

        Ticket #1042 is yours: Charged twice

        From:      Ada <ada@example.net>
        Priority:  high
        Category:  billing
        Skills:    billing, rust
        Language:  en
        Why you:   Bea: 2 of 2 skills (billing, rust), 3 of 10 open
        Related:   possibly #7: the subject names it, but the sender does not take part in it
        Open:      https://help/tickets/1042

        Ada wrote:

        | Hello,
        |
        | I was charged twice.

        Notes (gemini, for staff only):

        Mentions a refund.

        Suggested answer (a machine wrote it; check before you use it):

        We will look at it.

        Answer this mail and your text goes to the requester, in the same thread.
        This mail is for you alone: do not forward it, its address answers in your name.
        ");
    }

    #[test]
    fn a_later_notice_leaves_out_what_was_said() {
        insta::assert_snapshot!(notice(1042, "Charged twice", &facts(), Some(&about()), false, None), @"
        --- Write your answer above this line ---

        Ticket #1042 has a new message: Charged twice

        From:      Ada <ada@example.net>
        Priority:  high
        Category:  billing
        Skills:    billing, rust
        Language:  en
        Related:   possibly #7: the subject names it, but the sender does not take part in it

        Ada wrote:

        | Hello,
        |
        | I was charged twice.

        Answer this mail and your text goes to the requester, in the same thread.
        This mail is for you alone: do not forward it, its address answers in your name.
        ");
    }

    #[test]
    fn the_line_in_the_notice_is_the_line_that_ingest_cuts_at() {
        assert!(LINE.contains(crate::tickets::ANSWER_ABOVE));
    }
}
