//! What admins read of alarms.

use chrono::{DateTime, Utc};

use crate::alarms::{self, Alarm, Phase};
use crate::discord::text::escape;

/// Of the mail, and of the post in a forum.
pub fn subject(alarm: &Alarm, phase: Phase) -> String {
    let what = what(alarm);
    match phase {
        Phase::Raised => format!("Alarm: {what}"),
        Phase::Cleared => format!("Over: {what}"),
    }
}

fn what(alarm: &Alarm) -> String {
    let subject = &alarm.subject;
    match alarm.kind.as_str() {
        alarms::MAILBOX => format!("mailbox {subject} can't be read"),
        alarms::OAUTH => format!("mailbox {subject} is not let in any more"),
        alarms::SILENT => format!("mailbox {subject} is not read"),
        alarms::SMTP => format!("mails of mailbox {subject} do not leave"),
        alarms::DISCORD => "the connection to Discord is lost".to_owned(),
        alarms::QUARANTINE => "messages are in quarantine".to_owned(),
        alarms::DEAD_LETTERS => format!("jobs of the kind {subject} were given up"),
        alarms::LOOP_BREAKER => "the loop breaker holds mail back".to_owned(),
        alarms::GEMINI => "Gemini judges no tickets".to_owned(),
        alarms::CLOCK => format!("the clock of {subject} is wrong"),
        alarms::DISK => format!("a disk is nearly full ({subject})"),
        alarms::BACKLOG => "work is late".to_owned(),
        alarms::GAP => format!("mailbox {subject} holds mails that the ledger lacks"),
        kind => format!("{kind} {subject}"),
    }
}

/// The same within a sentence.
fn said(alarm: &Alarm) -> String {
    let what = what(alarm);
    if what.starts_with("mailbox ") { format!("the {what}") } else { what }
}

/// To an admin, by mail. `base` is where people reach ticketd.
pub fn mail(alarm: &Alarm, phase: Phase, base: Option<&str>) -> String {
    let (what, since) = (said(alarm), time(alarm.raised_at));
    let mut text = match phase {
        Phase::Raised => {
            format!("Hello,\n\n{what}, since {since}.\n\n    {}\n\n{}\n", alarm.reason, consequence(alarm))
        }
        Phase::Cleared => format!(
            "Hello,\n\nit is over: {what}, from {since} to {}. Nothing is left to do.\n",
            alarm.cleared_at.map_or_else(String::new, time)
        ),
    };
    if let Some(base) = base {
        text.push_str(&format!("\nAll alarms: {base}/api/admin/alarms\n"));
    }
    text.push_str("\nThis mail was sent automatically.\n");
    text
}

fn consequence(alarm: &Alarm) -> String {
    let subject = &alarm.subject;
    match alarm.kind.as_str() {
        alarms::MAILBOX => {
            "Mail to it waits on its server: nothing is lost, but nobody sees it. ticketd goes on trying, and writes again when \
             it is over."
                .to_owned()
        }
        alarms::OAUTH => format!(
            "ticketd does not ask the token server again until one of the files is another one, ticketd is started anew, or an \
             admin wants it: POST /api/admin/mailboxes/{subject}/retry. Until then mail waits: nothing is lost, but nobody \
             sees it."
        ),
        alarms::SILENT => "Mail to it may wait on its server: nothing is lost, but perhaps nobody sees it.".to_owned(),
        alarms::SMTP => {
            "ticketd tries each mail for five days. Answers wait until then, and people hear nothing. ticketd writes again when \
             mails leave."
                .to_owned()
        }
        alarms::DISCORD => {
            "What people say in Discord meanwhile is read when the connection is back; commands and buttons get no answer. Mail \
             goes on. ticketd writes again when it is over."
                .to_owned()
        }
        alarms::QUARANTINE => {
            "They are kept as they came, and no ticket tells of them. ticketd writes again when none is left.".to_owned()
        }
        alarms::DEAD_LETTERS => {
            "What they should have done is not done. ticketd writes again when none is left.".to_owned()
        }
        alarms::GEMINI => {
            "Tickets are judged and assigned all the same, by the offline engine. Those of the last day that nobody touched are \
             judged again when Gemini is back, and ticketd writes again."
                .to_owned()
        }
        alarms::CLOCK => {
            "Times on tickets, retries and deadlines are wrong by as much. ticketd writes again when it is over.".to_owned()
        }
        alarms::DISK => {
            "When it is full nothing can be taken in any more: mail waits on its server. ticketd writes again when there is room."
                .to_owned()
        }
        alarms::BACKLOG => {
            "Nothing is lost: it is done in its turn, but people wait. ticketd writes again when it is over.".to_owned()
        }
        alarms::GAP => {
            "Those that the server gave are handled as if they had just come; the others are in quarantine, and asked for again. \
             Find out why they were missing: a database that was restored from a backup, or rows that somebody deleted. ticketd \
             compares again every 6 hours, and writes when nothing is missing any more."
                .to_owned()
        }
        _ => "ticketd writes again when it is over.".to_owned(),
    }
}

/// In Discord's staff channel.
pub fn post(alarm: &Alarm, phase: Phase) -> String {
    let title = escape(&subject(alarm, phase));
    match phase {
        Phase::Raised => format!("**{title}**\n{}", escape(&alarm.reason)),
        Phase::Cleared => format!("**{title}**\nNothing is left to do."),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(kind: &str, reason: &str) -> Alarm {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        Alarm {
            id: 1,
            kind: kind.to_owned(),
            subject: "support".to_owned(),
            reason: reason.to_owned(),
            raised_at: at("2026-11-21T09:00:00Z"),
            last_seen_at: at("2026-11-21T09:10:00Z"),
            told_at: None,
            cleared_at: Some(at("2026-11-21T11:30:00Z")),
        }
    }

    #[test]
    fn a_mailbox_that_cannot_be_read() {
        let alarm =
            alarm(alarms::MAILBOX, "there is no folder `Help_desk`: set imap.folder to one of: INBOX");
        insta::assert_snapshot!(subject(&alarm, Phase::Raised), @"Alarm: mailbox support can't be read");
        insta::assert_snapshot!(mail(&alarm, Phase::Raised, Some("https://help.example.org")), @"
        Hello,

        the mailbox support can't be read, since 2026-11-21 09:00 UTC.

            there is no folder `Help_desk`: set imap.folder to one of: INBOX

        Mail to it waits on its server: nothing is lost, but nobody sees it. ticketd goes on trying, and writes again when it is over.

        All alarms: https://help.example.org/api/admin/alarms

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(post(&alarm, Phase::Raised), @r"
        **Alarm: mailbox support can't be read**
        there is no folder \`Help\_desk\`: set imap.folder to one of: INBOX
        ");
        insta::assert_snapshot!(subject(&alarm, Phase::Cleared), @"Over: mailbox support can't be read");
        insta::assert_snapshot!(mail(&alarm, Phase::Cleared, None), @"
        Hello,

        it is over: the mailbox support can't be read, from 2026-11-21 09:00 UTC to 2026-11-21 11:30 UTC. Nothing is left to do.

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(post(&alarm, Phase::Cleared), @"
        **Over: mailbox support can't be read**
        Nothing is left to do.
        ");
    }

    #[test]
    fn a_mailbox_that_is_not_let_in() {
        let alarm = alarm(
            alarms::OAUTH,
            "the token server refuses the refresh token of mailbox support (invalid_grant)",
        );
        insta::assert_snapshot!(subject(&alarm, Phase::Raised), @"Alarm: mailbox support is not let in any more");
        insta::assert_snapshot!(mail(&alarm, Phase::Raised, None), @"
        Hello,

        the mailbox support is not let in any more, since 2026-11-21 09:00 UTC.

            the token server refuses the refresh token of mailbox support (invalid_grant)

        ticketd does not ask the token server again until one of the files is another one, ticketd is started anew, or an admin wants it: POST /api/admin/mailboxes/support/retry. Until then mail waits: nothing is lost, but nobody sees it.

        This mail was sent automatically.
        ");
    }

    #[test]
    fn what_the_watch_finds() {
        let shown: Vec<String> = alarms::KINDS
            .into_iter()
            .map(|kind| {
                let alarm = alarm(kind, "REASON");
                let text = mail(&alarm, Phase::Raised, None);
                let lines = text.lines().filter(|line| !line.is_empty() && *line != "Hello,");
                let text: Vec<&str> = lines.filter(|line| !line.contains("REASON")).collect();
                format!("{}\n  {}", subject(&alarm, Phase::Cleared), text.join("\n  "))
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n").replace("\n  This mail was sent automatically.", ""), @"
        Over: mailbox support can't be read
          the mailbox support can't be read, since 2026-11-21 09:00 UTC.
          Mail to it waits on its server: nothing is lost, but nobody sees it. ticketd goes on trying, and writes again when it is over.
        Over: mailbox support is not let in any more
          the mailbox support is not let in any more, since 2026-11-21 09:00 UTC.
          ticketd does not ask the token server again until one of the files is another one, ticketd is started anew, or an admin wants it: POST /api/admin/mailboxes/support/retry. Until then mail waits: nothing is lost, but nobody sees it.
        Over: mailbox support is not read
          the mailbox support is not read, since 2026-11-21 09:00 UTC.
          Mail to it may wait on its server: nothing is lost, but perhaps nobody sees it.
        Over: mails of mailbox support do not leave
          mails of mailbox support do not leave, since 2026-11-21 09:00 UTC.
          ticketd tries each mail for five days. Answers wait until then, and people hear nothing. ticketd writes again when mails leave.
        Over: the connection to Discord is lost
          the connection to Discord is lost, since 2026-11-21 09:00 UTC.
          What people say in Discord meanwhile is read when the connection is back; commands and buttons get no answer. Mail goes on. ticketd writes again when it is over.
        Over: messages are in quarantine
          messages are in quarantine, since 2026-11-21 09:00 UTC.
          They are kept as they came, and no ticket tells of them. ticketd writes again when none is left.
        Over: jobs of the kind support were given up
          jobs of the kind support were given up, since 2026-11-21 09:00 UTC.
          What they should have done is not done. ticketd writes again when none is left.
        Over: the loop breaker holds mail back
          the loop breaker holds mail back, since 2026-11-21 09:00 UTC.
          ticketd writes again when it is over.
        Over: Gemini judges no tickets
          Gemini judges no tickets, since 2026-11-21 09:00 UTC.
          Tickets are judged and assigned all the same, by the offline engine. Those of the last day that nobody touched are judged again when Gemini is back, and ticketd writes again.
        Over: the clock of support is wrong
          the clock of support is wrong, since 2026-11-21 09:00 UTC.
          Times on tickets, retries and deadlines are wrong by as much. ticketd writes again when it is over.
        Over: a disk is nearly full (support)
          a disk is nearly full (support), since 2026-11-21 09:00 UTC.
          When it is full nothing can be taken in any more: mail waits on its server. ticketd writes again when there is room.
        Over: work is late
          work is late, since 2026-11-21 09:00 UTC.
          Nothing is lost: it is done in its turn, but people wait. ticketd writes again when it is over.
        Over: mailbox support holds mails that the ledger lacks
          the mailbox support holds mails that the ledger lacks, since 2026-11-21 09:00 UTC.
          Those that the server gave are handled as if they had just come; the others are in quarantine, and asked for again. Find out why they were missing: a database that was restored from a backup, or rows that somebody deleted. ticketd compares again every 6 hours, and writes when nothing is missing any more.
        ");
    }

    #[test]
    fn a_mailbox_with_mails_that_the_ledger_lacks() {
        let alarm =
            alarm(alarms::GAP, "3 mails on the server were not in the ledger; 3 of them were fetched now");
        insta::assert_snapshot!(subject(&alarm, Phase::Raised), @"Alarm: mailbox support holds mails that the ledger lacks");
        insta::assert_snapshot!(mail(&alarm, Phase::Raised, None), @"
        Hello,

        the mailbox support holds mails that the ledger lacks, since 2026-11-21 09:00 UTC.

            3 mails on the server were not in the ledger; 3 of them were fetched now

        Those that the server gave are handled as if they had just come; the others are in quarantine, and asked for again. Find out why they were missing: a database that was restored from a backup, or rows that somebody deleted. ticketd compares again every 6 hours, and writes when nothing is missing any more.

        This mail was sent automatically.
        ");
        insta::assert_snapshot!(mail(&alarm, Phase::Cleared, None), @"
        Hello,

        it is over: the mailbox support holds mails that the ledger lacks, from 2026-11-21 09:00 UTC to 2026-11-21 11:30 UTC. Nothing is left to do.

        This mail was sent automatically.
        ");
    }
}
