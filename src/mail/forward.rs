//! A mail that somebody passes on: who wrote it, and what. Attached (RFC 2046 §5.2.1), or copied below a header block as
//! mail programs do.

use super::classify::{self, Class};
use super::html_text::Line;
use super::parse::{self, Attachment, Mail, Mailbox};
use super::reply::header;
use super::{address, fields};

/// The mail that was passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Forwarded {
    pub author: Mailbox,
    /// Where its author wants answers; only of a mail that came attached.
    pub reply_to: Vec<Mailbox>,
    /// What it would have been, had it come by itself.
    pub class: Class,
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
        class: classify::classify(&inner),
        author,
        reply_to: inner.reply_to,
        subject: inner.subject,
        text: inner.text,
        html: inner.html,
        attachments: inner.attachments,
        ids: inner.references.into_iter().chain(inner.in_reply_to).chain(inner.message_id).collect(),
        remark: mail.text.trim().to_owned(),
    })
}

/// A header that stands further down is not looked for: who passes a mail on writes little above it.
const MOST_LINES: usize = 2_000;

fn copied(mail: &Mail) -> Option<Forwarded> {
    let all: Vec<&str> = mail.text.lines().collect();
    let line = |text: &&str| Line { text: (*text).to_owned(), ..Line::default() };
    let lines: Vec<Line> = all.iter().take(MOST_LINES).map(line).collect();
    let is_above = |text: &str| header::is_divider(text) || header::is_rule(text);
    let mut follows_rule = false;
    let mut start = None;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.text.trim().is_empty()) {
        if header::is_block(lines.get(at..).unwrap_or_default(), follows_rule) {
            start = Some(at);
            break;
        }
        follows_rule = is_above(&line.text);
    }
    let start = start?;
    let block = header::read_block(lines.get(start..)?);
    let author = author(&block.from)?;
    let above: Vec<&str> = all.get(..start)?.iter().copied().filter(|text| !is_above(text)).collect();
    let text = unquoted(all.get(start + block.length..)?);
    let alone = Mail {
        from: Some(author.clone()),
        subject: block.subject.clone(),
        text: text.clone(),
        ..Mail::default()
    };
    Some(Forwarded {
        class: classify::classify(&alone),
        author,
        reply_to: Vec::new(),
        subject: block.subject,
        text,
        html: None,
        attachments: mail.attachments.clone(),
        ids: Vec::new(),
        remark: above.join("\n").trim().to_owned(),
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

    #[test]
    fn a_machines_mail_stays_one_and_a_long_text_takes_no_time() {
        let copied = |from: &str| {
            format!(
                "#fwd\n---------- Forwarded message ---------\nFrom: {from}\nDate: 1 May 2026\nSubject: x\nTo: b@x.y\n\ny"
            )
        };
        assert_eq!(text(&copied("Ada <ada@example.net>")).map(|read| read.class), Some(Class::Human));
        assert_ne!(text(&copied("<mailer-daemon@example.net>")).map(|read| read.class), Some(Class::Human));
        let raw = "From: bea@example.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n#fwd\n\
            --b\nContent-Type: message/rfc822\n\nFrom: x@example.net\nReply-To: ada@example.net\nAuto-Submitted: auto-generated\n\nDisk full\n--b--\n";
        let attached = read(&parse::parse(raw.as_bytes())).unwrap();
        assert_eq!(attached.class, Class::AutoReply);
        assert_eq!(attached.reply_to.first().map(|m| m.address.as_str()), Some("ada@example.net"));
        // Blank lines were looked through again for each line.
        assert_eq!(text(&format!("#fwd\n{}", "\n".repeat(3_000_000))), None);
    }
}
