//! What staff write on a ticket: its subject, tags, and a deadline.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::actions::{Act, event};
use super::{Locked, TicketError, threads};
use crate::queue::Tx;

mod sql;

/// The most tags that a ticket has.
pub const MOST_TAGS: usize = 20;
/// The longest subject, in characters. Mail may bring longer ones.
pub const LONGEST_SUBJECT: usize = 500;

/// Sets the subject. Answers go on in their thread: mail programs go by ids.
pub async fn set_subject(tx: &mut Tx, ticket: &Locked, subject: &str, act: Act) -> Result<(), TicketError> {
    let subject = subject_line(subject);
    if subject.is_empty() {
        return Err(TicketError::EmptySubject);
    }
    if subject == ticket.subject {
        return Ok(());
    }
    sql::set_subject(tx, ticket.id.0, &subject, act.now).await?;
    event(tx, ticket, "subject", &json!({"from": ticket.subject, "to": subject}), act).await?;
    Ok(threads::changed(tx, ticket.id, act.now).await?)
}

/// One line without what cannot be seen, and not longer than [`LONGEST_SUBJECT`].
pub fn subject_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST_SUBJECT).collect()
}

/// Sets the tags, in place of those that there are.
pub async fn set_tags(tx: &mut Tx, ticket: &Locked, tags: &[String], act: Act) -> Result<(), TicketError> {
    let tags: BTreeSet<&str> = tags.iter().map(String::as_str).collect();
    if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
        return Err(TicketError::NotATag(wrong.chars().take(64).collect()));
    }
    if tags.len() > MOST_TAGS {
        return Err(TicketError::TooManyTags(MOST_TAGS));
    }
    let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
    let before = sql::tags(tx, ticket.id.0).await?;
    if before == tags {
        return Ok(());
    }
    sql::set_tags(tx, ticket.id.0, &tags, act.now).await?;
    event(tx, ticket, "tags", &json!({"from": before, "to": tags}), act).await
}

/// As the database's CHECK has it.
pub fn is_tag(text: &str) -> bool {
    let shaped = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    shaped && (1..=32).contains(&text.len()) && !text.starts_with(['-', '_'])
}

/// Promises the requester a time, or takes the promise back.
pub async fn set_deadline(
    tx: &mut Tx,
    ticket: &Locked,
    deadline: Option<DateTime<Utc>>,
    act: Act,
) -> Result<(), TicketError> {
    if deadline == ticket.deadline_at {
        return Ok(());
    }
    sql::set_deadline(tx, ticket.id.0, deadline, act.now).await?;
    event(tx, ticket, "deadline", &json!({"from": ticket.deadline_at, "to": deadline}), act).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_shaped_like_a_slug() {
        for right in ["a", "vip", "follow-up_2", "9", &"x".repeat(32)] {
            assert!(is_tag(right), "{right}");
        }
        for wrong in ["", "VIP", "-a", "_a", "a b", "ä", "a\0", &"x".repeat(33)] {
            assert!(!is_tag(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_subject_is_one_line() {
        assert_eq!(subject_line("  Re:\r\n the\tprinter\u{7} "), "Re: the printer");
        assert_eq!(subject_line(" \n"), "");
        assert_eq!(subject_line(&"é".repeat(900)).chars().count(), LONGEST_SUBJECT);
    }
}
