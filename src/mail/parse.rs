//! Raw mail to its parts as this program uses them. Parsing never fails: what went wrong is noted.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::decode::{self, one_line};
use super::fields::{self, Field, Parameters};
use super::{address, body};

/// A person or machine that a mail names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name, decoded; empty when there is none.
    pub name: String,
    /// The addr-spec as it was written; empty for a null sender.
    pub address: String,
}

/// A file that came with a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Safe to store and to show: no path, no control characters, at most 255 bytes.
    pub filename: Option<String>,
    /// `type/subtype`, lower-case.
    pub content_type: String,
    /// Without angle brackets; HTML refers to it as `cid:`.
    pub content_id: Option<String>,
    /// Part of what is shown rather than a file to save.
    pub inline: bool,
    pub content: Vec<u8>,
}

/// A mail, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mail {
    pub from: Option<Mailbox>,
    pub to: Vec<Mailbox>,
    pub cc: Vec<Mailbox>,
    pub reply_to: Vec<Mailbox>,
    /// Where it was really delivered: Delivered-To, X-Original-To, Envelope-To.
    pub delivered_to: Vec<String>,
    /// The envelope sender; `Some("")` is the null reverse-path of RFC 5321 §4.5.5.
    pub return_path: Option<String>,
    /// One line, decoded.
    pub subject: String,
    pub date: Option<DateTime<Utc>>,
    /// Without angle brackets.
    pub message_id: Option<String>,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    /// The message as text, made from the HTML when there is no other.
    pub text: String,
    /// Decoded but not cleaned: never to be shown as it is.
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    /// All fields of the header in order: the name as written, the value decoded, on one line.
    pub headers: Vec<(String, String)>,
    /// The report type of a multipart/report (RFC 6522), lower-case.
    pub is_report: Option<String>,
    /// What could not be read, for the ledger.
    pub problems: Vec<String>,
}

impl Mail {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).next()
    }

    /// All fields of that name, in order.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a mail. Unreadable bytes give an empty mail with its problems.
pub fn parse(raw: &[u8]) -> Mail {
    let raw = with_line_feeds(raw);
    let raw = without_envelope_line(&raw);
    let (fields, _) = fields::split(raw);
    let body = body::read(raw);
    let mut mail = from_fields(&fields);
    mail.problems.extend(body.problems);
    mail.attachments = body.attachments;
    mail.html = body.html;
    mail.text = match body.text {
        Some(text) if !text.trim().is_empty() || mail.html.is_none() => text,
        _ => mail.html.as_deref().map(super::html::to_text).unwrap_or_default(),
    };
    mail
}

/// Old Macs ended lines with CR alone, which RFC 5322 §2.3 forbids; such a mail would be one long line.
fn with_line_feeds(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.contains(&b'\n') || !raw.contains(&b'\r') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect())
}

/// An mbox keeps the envelope sender in a line before the header (RFC 4155).
fn without_envelope_line(raw: &[u8]) -> &[u8] {
    let start = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    if !(start.starts_with(b"From ") || start.starts_with(b">From ")) {
        return start;
    }
    let end = start.iter().position(|byte| *byte == b'\n').unwrap_or(start.len());
    start.get(end + 1..).unwrap_or_default()
}

fn from_fields(fields: &[Field]) -> Mail {
    let first = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let value = |name: &str| first(name).map(|field| field.value.as_slice());
    let list = |name: &str| -> Vec<Mailbox> {
        let same = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        same.flat_map(|field| fields::mailboxes(&field.value))
            .filter(|m| !m.address.is_empty())
            .take(2000)
            .collect()
    };
    // RFC 5322 §3.6.4 allows one Message-ID. Where two were written, the second came from a gateway.
    let message_id = value("message-id").and_then(fields::message_id);
    let others = |name: &str| -> Vec<String> {
        let same = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        // RFC 5322 §3.6 allows one of each here too; the first that names anything is the author's.
        let mut ids =
            same.map(|field| fields::ids(&field.value)).find(|ids| !ids.is_empty()).unwrap_or_default();
        // A mail is not its own ancestor.
        ids.retain(|id| message_id.as_ref() != Some(id));
        ids
    };
    let kind = Parameters::read(value("content-type").unwrap_or_default());
    let is_report = (kind.value == "multipart/report").then(|| {
        kind.text("report-type").map(|kind| one_line(&kind).to_ascii_lowercase()).unwrap_or_default()
    });
    let subject = value("subject").map(|value| one_line(&decode::words(value))).unwrap_or_default();
    Mail {
        from: author(fields),
        to: list("to"),
        cc: list("cc"),
        reply_to: list("reply-to"),
        delivered_to: ["delivered-to", "x-original-to", "envelope-to"]
            .iter()
            .flat_map(|name| list(name))
            .map(|mailbox| mailbox.address)
            .collect(),
        return_path: value("return-path").map(return_path),
        subject,
        date: value("date").and_then(date),
        in_reply_to: others("in-reply-to"),
        references: others("references"),
        message_id,
        headers: fields.iter().map(|f| (f.name.clone(), one_line(&decode::words(&f.value)))).collect(),
        is_report,
        problems: Vec::new(),
        text: String::new(),
        html: None,
        attachments: Vec::new(),
    }
}

/// The author: the first mailbox with an address, else what stands there, as in some bounces. Of several From fields
/// (RFC 5322 §3.6 allows one) the first with an address counts.
fn author(fields: &[Field]) -> Option<Mailbox> {
    let same = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("from"));
    let all: Vec<Mailbox> = same.flat_map(|field| fields::mailboxes(&field.value)).take(100).collect();
    let with = |test: fn(&Mailbox) -> bool| all.iter().find(|mailbox| test(mailbox)).cloned();
    with(|mailbox| mailbox.address.contains('@'))
        .or_else(|| with(|mailbox| !mailbox.address.is_empty()))
        .or_else(|| with(|_| true))
}

fn return_path(value: &[u8]) -> String {
    let text = one_line(&decode::text(value, None));
    let inner =
        text.split_once('<').map_or(text.as_str(), |(_, rest)| rest.split('>').next().unwrap_or_default());
    inner.trim().to_owned()
}

fn date(value: &[u8]) -> Option<DateTime<Utc>> {
    let text = one_line(&decode::text(value, None));
    // RFC 5322 §3.3, with the obsolete forms of §4.3.
    let read = std::panic::catch_unwind(|| mail_parser::DateTime::parse_rfc822(&text)).ok().flatten()?;
    if !(1970..=9999).contains(&read.year) || !(1..=12).contains(&read.month) || !(1..=31).contains(&read.day)
    {
        return None;
    }
    DateTime::from_timestamp(read.to_timestamp(), 0)
}

/// What makes two deliveries the same mail, whichever way they came: its Message-ID, author, date, subject and
/// body. Trace fields differ from mailbox to mailbox and are left out, as are line ends and blank lines at the end.
pub fn fingerprint(raw: &[u8], mail: &Mail) -> [u8; 32] {
    let raw = with_line_feeds(raw);
    let raw = without_envelope_line(&raw);
    let (_, start) = fields::split(raw);
    let mut body: Vec<u8> = Vec::with_capacity(raw.len());
    for line in raw.get(start..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        body.extend_from_slice(content.strip_suffix(b"\r").unwrap_or(content));
        body.push(b'\n');
    }
    let from = mail.from.as_ref().map(|from| address::canonical(&from.address)).unwrap_or_default();
    let date = mail.header("date").unwrap_or_default();
    let id = mail.message_id.as_deref().unwrap_or_default();
    let mut hash = Sha256::new();
    for field in
        [id.as_bytes(), from.as_bytes(), date.as_bytes(), mail.subject.as_bytes(), body.trim_ascii_end()]
    {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "Return-Path: <>\r\nDelivered-To: support@example.net\r\nFrom: \"Ann\" <ann@example.org>\r\n\
        To: support@example.net, b@example.org\r\nSubject: =?utf-8?q?x=0D=0ABcc:_v@example.org?=\r\n\
        Date: Mon, 02 Feb 2026 10:00:00 +0200\r\nMessage-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\
        References: junk\r\nReferences: <1@x> <0@x>\r\nReferences: <2@x>\r\n\r\nHello\r\n";

    #[test]
    fn a_mail_is_read() {
        let mail = parse(MAIL.as_bytes());
        assert_eq!(mail.from, Some(Mailbox { name: "Ann".into(), address: "ann@example.org".into() }));
        assert_eq!(mail.to.len(), 2);
        assert_eq!(mail.subject, "x Bcc: v@example.org");
        assert_eq!(mail.message_id.as_deref(), Some("1@x"));
        assert_eq!(mail.references, ["0@x"]);
        assert_eq!(mail.return_path.as_deref(), Some(""));
        assert_eq!(mail.delivered_to, ["support@example.net"]);
        assert_eq!(mail.date.unwrap().to_rfc3339(), "2026-02-02T08:00:00+00:00");
        assert_eq!(mail.text.trim(), "Hello");
        assert_eq!(mail.header("DATE"), Some("Mon, 02 Feb 2026 10:00:00 +0200"));
    }

    #[test]
    fn nothing_makes_it_fail() {
        let cases: [&[u8]; 7] = [
            b"",
            b"\0",
            b"\n\n",
            b"no header at all",
            b":",
            b"From: <",
            b"Content-Type: multipart/x; boundary=\n\n--\n",
        ];
        for raw in cases {
            let mail = parse(raw);
            let _same = fingerprint(raw, &mail);
        }
        assert_eq!(parse(b"A: b\n").subject, "");
        let old = parse(b"Subject: x\rTo: a@example.org\r\rHello\rthere");
        assert_eq!((old.subject.as_str(), old.text.as_str()), ("x", "Hello\nthere"));
    }

    #[test]
    fn the_fingerprint_ignores_the_way_a_mail_came() {
        let same =
            MAIL.replace("\r\n", "\n").replace("Delivered-To: support", "X-Spam: no\nDelivered-To: other");
        let print = |raw: &str| fingerprint(raw.as_bytes(), &parse(raw.as_bytes()));
        assert_eq!(print(MAIL), print(&format!("{same}\n\n")));
        assert_ne!(print(MAIL), print(&MAIL.replace("Hello", "Hullo")));
        assert_ne!(print(MAIL), print(&MAIL.replace("<1@x>", "<3@x>")));
    }
}
