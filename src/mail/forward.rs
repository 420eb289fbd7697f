//! A mail that somebody passes on: who wrote it, and what. Attached (RFC 2046 §5.2.1), or copied below a header block as
//! mail programs do.

use super::html_text::Line;
use super::parse::{self, Attachment, Mail, Mailbox};
use super::reply::header;
use super::{address, fields};

/// The mail that was passed on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forwarded {
    pub author: Mailbox,
    pub subject: String,
    pub text: String,
    /// Uncleaned; only of a mail that came attached.
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    /// The ids that are known of it, itself the last; only of a mail that came attached.
    pub ids: Vec<String>,
    /// What who passes it on wrote above it.
    pub remark: String,
}

/// Reads it. `None`: there is none whose author has an address.
pub fn read(mail: &Mail) -> Option<Forwarded> {
    attached(mail).or_else(|| copied(mail))
}

fn attached(mail: &Mail) -> Option<Forwarded> {
    let part = mail.attachments.iter().find(|part| part.content_type == "message/rfc822")?;
    let inner = parse::parse(&part.content);
    let author = inner.from.clone().filter(|from| address::is_valid(from.address.trim()))?;
    Some(Forwarded {
        author,
        subject: inner.subject,
        text: inner.text,
        html: inner.html,
        attachments: inner.attachments,
        ids: inner.references.into_iter().chain(inner.in_reply_to).chain(inner.message_id).collect(),
        remark: mail.text.trim().to_owned(),
    })
}

fn copied(mail: &Mail) -> Option<Forwarded> {
    let lines: Vec<Line> =
        mail.text.lines().map(|text| Line { text: text.to_owned(), ..Line::default() }).collect();
    let is_above = |line: &Line| header::is_divider(&line.text) || header::is_rule(&line.text);
    let follows_rule = |at: usize| {
        let above = lines.get(..at).unwrap_or_default();
        above.iter().rev().find(|line| !line.text.trim().is_empty()).is_some_and(is_above)
    };
    let is_block = |at: &usize| header::is_block(lines.get(*at..).unwrap_or_default(), follows_rule(*at));
    let start = (0..lines.len()).find(is_block)?;
    let block = header::read_block(lines.get(start..)?);
    let author = author(&block.from)?;
    let above: Vec<&str> =
        lines.get(..start)?.iter().filter(|line| !is_above(line)).map(|l| l.text.as_str()).collect();
    let below: Vec<&str> = lines.get(start + block.length..)?.iter().map(|line| line.text.as_str()).collect();
    Some(Forwarded {
        author,
        subject: block.subject,
        text: unquoted(&below),
        attachments: mail.attachments.clone(),
        remark: above.join("\n").trim().to_owned(),
        ..Forwarded::default()
    })
}

/// `Ann <ann@example.org>`, `Ann [mailto:ann@example.org]`.
fn author(text: &str) -> Option<Mailbox> {
    let plain = text.replace("mailto:", "").replace('[', "<").replace(']', ">").replace("**", "");
    let mut all = fields::mailboxes(plain.as_bytes()).into_iter();
    all.find(|mailbox| address::is_valid(&address::canonical(&mailbox.address)))
}

/// Apple Mail marks what it passes on as a quote, whole.
fn unquoted(lines: &[&str]) -> String {
    let is_quote = lines.iter().all(|line| line.trim().is_empty() || line.starts_with('>'));
    let line = |line: &&str| {
        let rest = line.strip_prefix('>').filter(|_| is_quote).unwrap_or(line);
        if is_quote { rest.strip_prefix(' ').unwrap_or(rest).to_owned() } else { rest.to_owned() }
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str) -> Option<Forwarded> {
        read(&Mail { text: body.to_owned(), ..Mail::default() })
    }

    #[test]
    fn what_programs_copy_is_read() {
        let gmail = "#fwd\nPlease look.\n\n---------- Forwarded message ---------\nFrom: Ada Example <ada@example.net>\n\
            Date: Sat, Nov 21, 2026 at 9:00 AM\nSubject: The printer\nTo: <bea@example.org>\n\n\nIt is on fire.\n\nAda";
        let outlook = "#fwd\nPlease look.\n\n________________________________\nFrom: Ada Example <ada@example.net>\n\
            Sent: Saturday, November 21, 2026 9:00 AM\nTo: Bea; Somebody With A Long Name <x@example.org>;\n Else <y@example.org>\n\
            Subject: The printer\n\nIt is on fire.\n\nAda";
        let old = "#fwd\nPlease look.\n\n-----Ursprüngliche Nachricht-----\nVon: Ada Example [mailto:ada@example.net]\n\
            Gesendet: Samstag, 21. November 2026 09:00\nAn: Bea\nBetreff: The printer\n\nIt is on fire.\n\nAda";
        let apple = "#fwd\nPlease look.\n\nBegin forwarded message:\n\n> From: Ada Example <ada@example.net>\n\
            > Subject: The printer\n> Date: 21 November 2026 at 09:00:00 CET\n> To: bea@example.org\n> \n> It is on fire.\n> \n> Ada";
        let thunderbird = "#fwd\nPlease look.\n\n-------- Forwarded Message --------\nSubject: \tThe printer\n\
            Date: \tSat, 21 Nov 2026 09:00:00 +0100\nFrom: \tAda Example <ada@example.net>\nTo: \tbea@example.org\n\n\nIt is on fire.\n\nAda";
        let starred = "#fwd\nPlease look.\n\n*From:* Ada Example <ada@example.net>\n*Sent:* 21 November 2026 09:00\n\
            *To:* bea@example.org\n*Subject:* The printer\n\nIt is on fire.\n\nAda";
        for body in [gmail, outlook, old, apple, thunderbird, starred] {
            let read = text(body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(
                (read.author.name.as_str(), read.author.address.as_str()),
                ("Ada Example", "ada@example.net"),
                "{body}"
            );
            assert_eq!(
                (read.subject.as_str(), read.text.as_str(), read.remark.as_str()),
                ("The printer", "It is on fire.\n\nAda", "#fwd\nPlease look."),
                "{body}"
            );
        }
    }

    #[test]
    fn where_no_author_has_an_address_there_is_none() {
        for body in [
            "",
            "#fwd\nHello",
            "#fwd\nFrom: Berlin\nTo: Hamburg\nDate: 3 May\n\nx",
            "#fwd\n---------- Forwarded message ---------\nFrom: Ada\nDate: today 2026\nSubject: x\n\ny",
        ] {
            assert_eq!(text(body), None, "{body}");
        }
    }

    #[test]
    fn an_attached_mail_is_read_whole() {
        let raw = "From: bea@example.org\nSubject: Fwd\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n#fwd\n\
            --b\nContent-Type: message/rfc822\n\nFrom: Ada <ada@example.net>\nSubject: The printer\nMessage-ID: <2@x>\nReferences: <1@x>\n\n\
            It is on fire.\n--b--\n";
        let read = read(&parse::parse(raw.as_bytes())).unwrap();
        assert_eq!((read.author.address.as_str(), read.text.trim()), ("ada@example.net", "It is on fire."));
        assert_eq!(
            (read.remark.as_str(), read.ids.as_slice()),
            ("#fwd", &["1@x".to_owned(), "2@x".to_owned()][..])
        );
    }
}
