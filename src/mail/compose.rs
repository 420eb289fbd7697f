//! Mails as we write them: a pure function from what is to be said to the bytes that are sent.
//!
//! By what mail programs put a mail of ours where it belongs, and what of it holds here:
//!
//! - Thunderbird and Apple Mail go by References and In-Reply-To: both name the mail that is answered, and References
//!   the conversation's root too, however long it is.
//! - Gmail goes by References, and begins a new conversation where the subject changed. Ours is a function of the
//!   ticket, so all of a ticket's mails have the same; its base subject (RFC 5256 §2.1, which takes tags in brackets
//!   off) is that of the requester's own mail.
//! - Outlook goes by In-Reply-To and References, on Exchange also by Thread-Topic and Thread-Index. We write neither of
//!   these: where they are missing Exchange makes them from the subject and In-Reply-To.

use anyhow::Context;
use chrono::{DateTime, Utc};
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, MultiPartBuilder, SinglePart};
use lettre::{Address, Message};
use sha2::{Digest, Sha256};

/// The header that marks our own mail, so that it is known when it comes back.
pub const LOOP_HEADER: &str = "X-Ticketd-Loop";

/// What is to be said, to whom, in answer to what.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub from_name: String,
    pub from: String,
    pub to_name: String,
    pub to: String,
    /// The signed address that answers go to.
    pub reply_to: String,
    pub subject: String,
    pub text: String,
    /// The same for programs that show HTML; it must be safe as it is.
    pub html: Option<String>,
    pub attachments: Vec<(String, String, Vec<u8>)>,
    /// Without `<>`.
    pub message_id: String,
    pub in_reply_to: Option<String>,
    /// Oldest first, without `<>`.
    pub references: Vec<String>,
    pub automatic: Option<Automatic>,
    pub loop_mark: String,
    pub date: DateTime<Utc>,
}

/// A mail that no person wrote (RFC 3834 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Automatic {
    /// In answer to a mail.
    Replied,
    /// On an event.
    Generated,
}

/// RFC 5322 §3.6.4 sets no limit, but servers refuse header fields of a few KiB; the root and the newest ids are what
/// readers thread by.
const MOST_REFERENCES: usize = 20;
/// The same in bytes, with brackets and spaces.
const MOST_REFERENCE_BYTES: usize = 4096;
/// A longer id cannot be folded within the 998 octets of a line, or it makes servers refuse the mail; no program writes one.
const LONGEST_ID: usize = 250;
/// A longer media type is none (RFC 6838 §4.2: two names of at most 127).
const LONGEST_TYPE: usize = 255;

macro_rules! text_header {
    ($type:ident, $name:expr) => {
        #[derive(Clone)]
        struct $type(String);
        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }
            fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(text.to_owned()))
            }
            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    };
}
text_header!(AutoSubmitted, "Auto-Submitted");
text_header!(AutoResponseSuppress, "X-Auto-Response-Suppress");
text_header!(LoopMark, LOOP_HEADER);

/// The subject of every mail about a ticket: the token once, `Re:` once.
pub fn subject(ticket: i64, original: &str) -> String {
    let token = format!("[#{ticket}]");
    let mut rest = crate::mail::base_subject::base_subject(original).replace(&token, "");
    rest.retain(|c| !c.is_control());
    let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = rest.chars().take(200).collect();
    if short.is_empty() { format!("Re: {token}") } else { format!("Re: {token} {short}") }
}

fn mailbox(name: &str, address: &str) -> anyhow::Result<Mailbox> {
    let address: Address = address.parse().with_context(|| "the recipient's address cannot be mailed to")?;
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    let name = name.trim();
    Ok(Mailbox::new((!name.is_empty() && !name.contains('@')).then(|| name.to_owned()), address))
}

/// An id of others that may stand in a mail of ours: anything else would break its line or make a line of its own.
fn is_writable(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}

/// The root and the newest, oldest first.
fn shortened(references: &[String]) -> Vec<&str> {
    let mut ids = references.iter().map(String::as_str).filter(|id| is_writable(id));
    let Some(root) = ids.next() else { return Vec::new() };
    let mut bytes = root.len() + 3;
    let mut kept: Vec<&str> = ids
        .rev()
        .take(MOST_REFERENCES)
        .take_while(|id| {
            bytes += id.len() + 3;
            bytes <= MOST_REFERENCE_BYTES
        })
        .collect();
    kept.push(root);
    kept.reverse();
    kept
}

/// Writes the mail. Fails only where an address cannot be written.
pub fn compose(mail: &Outgoing) -> anyhow::Result<Vec<u8>> {
    let mut builder = Message::builder()
        .from(mailbox(&mail.from_name, &mail.from)?)
        .to(mailbox(&mail.to_name, &mail.to)?)
        .reply_to(mailbox("", &mail.reply_to)?)
        .subject(mail.subject.clone())
        .message_id(Some(format!("<{}>", mail.message_id)))
        .date(mail.date.into())
        .header(LoopMark(mail.loop_mark.clone()));
    if let Some(parent) = mail.in_reply_to.as_deref().filter(|id| is_writable(id)) {
        builder = builder.in_reply_to(format!("<{parent}>"));
    }
    let ids: Vec<String> = shortened(&mail.references).into_iter().map(|id| format!("<{id}>")).collect();
    if !ids.is_empty() {
        builder = builder.references(ids.join(" "));
    }
    if let Some(automatic) = mail.automatic {
        let word = match automatic {
            Automatic::Replied => "auto-replied",
            Automatic::Generated => "auto-generated",
        };
        builder =
            builder.header(AutoSubmitted(word.to_owned())).header(AutoResponseSuppress("All".to_owned()));
    }
    let message = match (&mail.html, mail.attachments.is_empty()) {
        (None, true) => builder.singlepart(plain(mail)),
        (Some(html), true) => builder.multipart(alternative(mail, html)),
        (html, false) => {
            let parts = multipart(MultiPart::mixed(), mail, "m");
            let parts = match html {
                None => parts.singlepart(plain(mail)),
                Some(html) => parts.multipart(alternative(mail, html)),
            };
            builder.multipart(attached(mail, parts)?)
        }
    };
    Ok(message.context("cannot write the mail")?.formatted())
}

/// The text. No line is longer than RFC 5322 §2.1.1 allows (998 octets): what is, or is not ASCII, is encoded.
fn plain(mail: &Outgoing) -> SinglePart {
    SinglePart::builder().header(ContentType::TEXT_PLAIN).body(mail.text.clone())
}

/// RFC 2046 §5.1.4: the plainest first, the best last.
fn alternative(mail: &Outgoing, html: &str) -> MultiPart {
    let html = format!("<!DOCTYPE html>\n<html><body><div dir=\"auto\">\n{html}\n</div></body></html>\n");
    let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(html);
    multipart(MultiPart::alternative(), mail, "a").singlepart(plain(mail)).singlepart(html)
}

fn attached(mail: &Outgoing, mut parts: MultiPart) -> anyhow::Result<MultiPart> {
    for (name, content_type, content) in &mail.attachments {
        let kind = ContentType::parse(media_type(content_type))
            .or_else(|_| ContentType::parse("application/octet-stream"))
            .context("cannot write an attachment's type")?;
        let name = super::body::filename(name).unwrap_or_else(|| "attachment".to_owned());
        parts = parts.singlepart(Attachment::new(name).body(content.clone(), kind));
    }
    Ok(parts)
}

/// What others called a file, without its parameters, which say nothing to who saves it. A file is never a container of parts:
/// its boundary would be missing.
fn media_type(said: &str) -> &str {
    let essence = said.split(';').next().unwrap_or_default().trim();
    let is_container = essence.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    let is_short = essence.len() <= LONGEST_TYPE && essence.is_ascii();
    if is_short && !is_container { essence } else { "application/octet-stream" }
}

/// The delimiter follows from the content, so that the same mail is the same bytes, and nobody can write it into a
/// part (RFC 2046 §5.1.1). `=_` occurs in no encoded part (RFC 2045 §6.7 (8)).
fn multipart(builder: MultiPartBuilder, mail: &Outgoing, level: &str) -> MultiPart {
    let mut hash = Sha256::new();
    let html = mail.html.as_deref().unwrap_or_default();
    for part in [level, &mail.message_id, &mail.text, html] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finalize().iter().take(12).fold(String::new(), |out, byte| out + &format!("{byte:02x}"));
    builder.boundary(format!("=_{level}{hash}")).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> Outgoing {
        Outgoing {
            from_name: "Support".into(),
            from: "support@example.org".into(),
            to_name: "Ada".into(),
            to: "ada@example.net".into(),
            reply_to: "support+t1.abc@example.org".into(),
            subject: subject(1, "Printer"),
            text: "Hello\n".into(),
            html: None,
            attachments: vec![],
            message_id: "t1.d1.abc@example.org".into(),
            in_reply_to: Some("a@b".into()),
            references: vec!["a@b".into()],
            automatic: Some(Automatic::Replied),
            loop_mark: "mark".into(),
            date: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        }
    }

    #[test]
    fn an_automatic_mail_whole() {
        let text = String::from_utf8(compose(&outgoing()).unwrap()).unwrap().replace('\r', "");
        insta::assert_snapshot!(text, @"
        From: Support <support@example.org>
        To: Ada <ada@example.net>
        Reply-To: support+t1.abc@example.org
        Subject: Re: [#1] Printer
        Message-ID: <t1.d1.abc@example.org>
        Date: Mon, 21 Sep 2026 14:13:20 +0000
        X-Ticketd-Loop: mark
        In-Reply-To: <a@b>
        References: <a@b>
        Auto-Submitted: auto-replied
        X-Auto-Response-Suppress: All
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello
        ");
    }

    #[test]
    fn a_mail_with_html_and_a_file_whole() {
        let mut mail = outgoing();
        mail.html = Some("<p>Hello</p>".into());
        mail.automatic = None;
        mail.attachments = vec![("a.txt".into(), "text/plain".into(), b"x".to_vec())];
        let text = String::from_utf8(compose(&mail).unwrap()).unwrap().replace('\r', "");
        let (_, body) = text.split_once("MIME-Version").unwrap();
        insta::assert_snapshot!(body, @r#"
        : 1.0
        Content-Type: multipart/mixed; boundary="=_mdcd3be9933bfd7bae4d2f6b0"

        --=_mdcd3be9933bfd7bae4d2f6b0
        Content-Type: multipart/alternative; boundary="=_a9170c6d7c96ecd071f83e02c"

        --=_a9170c6d7c96ecd071f83e02c
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello

        --=_a9170c6d7c96ecd071f83e02c
        Content-Type: text/html; charset=utf-8
        Content-Transfer-Encoding: 7bit

        <!DOCTYPE html>
        <html><body><div dir="auto">
        <p>Hello</p>
        </div></body></html>

        --=_a9170c6d7c96ecd071f83e02c--
        --=_mdcd3be9933bfd7bae4d2f6b0
        Content-Disposition: attachment; filename="a.txt"
        Content-Type: text/plain
        Content-Transfer-Encoding: 7bit

        x
        --=_mdcd3be9933bfd7bae4d2f6b0--
        "#);
        assert_eq!(compose(&mail).unwrap(), compose(&mail).unwrap(), "the same mail is the same bytes");
    }

    #[test]
    fn no_line_is_longer_than_a_server_must_take() {
        let long = ["x".repeat(40_000), "ä".repeat(40_000), "word ".repeat(10_000), "\n".repeat(500)];
        for text in long {
            let mut mail = outgoing();
            mail.html = Some(format!("<p>{text}</p>"));
            mail.subject = subject(1, &text);
            mail.to_name = text.clone();
            mail.references = (0..60).map(|n| format!("{n}{}@example.net", "r".repeat(200))).collect();
            mail.attachments =
                vec![(format!("{}.txt", "ä".repeat(120)), "text/plain".into(), text.clone().into())];
            mail.text = text;
            let bytes = compose(&mail).unwrap();
            // RFC 5322 §2.1.1: 998 octets less the line end; and no line end of another kind.
            for line in bytes.split(|byte| *byte == b'\n') {
                assert!(line.len() <= 999, "{}", String::from_utf8_lossy(line));
                assert!(line.is_empty() || line.ends_with(b"\r"), "{}", String::from_utf8_lossy(line));
            }
            let read = crate::mail::parse::parse(&bytes);
            assert_eq!(read.text.replace('\r', "").trim_end(), mail.text.trim_end());
        }
    }

    #[test]
    fn a_subject_of_ours_has_the_base_subject_of_the_mail_it_answers() {
        use crate::mail::base_subject::base_subject;
        for original in ["Printer", "Re: Printer", "AW: [#9] Printer"] {
            assert_eq!(base_subject(&subject(9, original)), "Printer", "{original}");
        }
    }

    #[test]
    fn a_hostile_subject_or_name_makes_no_header() {
        let mut mail = outgoing();
        mail.subject = subject(1, "x\r\nBcc: victim@example.com");
        mail.to_name = "Eve\r\nBcc: victim@example.com".into();
        mail.references = vec!["a@b".into(), "c@d\r\nBcc: victim@example.com".into()];
        let bytes = compose(&mail).unwrap();
        let read = crate::mail::parse::parse(&bytes);
        assert!(read.header("bcc").is_none(), "{}", String::from_utf8_lossy(&bytes));
        assert!(!read.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("bcc")));
    }

    #[test]
    fn the_subject_keeps_one_token_and_one_re() {
        for original in ["Printer", "Re: Printer", "Re: [#7] Printer", "AW: Re: [#7] Printer"] {
            assert_eq!(subject(7, original), "Re: [#7] Printer", "{original}");
        }
        assert_eq!(subject(7, ""), "Re: [#7]");
    }

    #[test]
    fn ids_of_others_cannot_make_a_mail_unsendable() {
        let mut mail = outgoing();
        let long = format!("{}@x", "r".repeat(996));
        mail.in_reply_to = Some(long.clone());
        mail.references = vec![long, "ä@b".into(), "a b@c".into(), "a>b@c".into(), String::new()];
        let text = String::from_utf8(compose(&mail).unwrap()).unwrap();
        assert!(!text.contains("In-Reply-To") && !text.contains("References"), "{text}");
        mail.references = (0..60).map(|n| format!("{n:02}{}@example.net", "r".repeat(230))).collect();
        let read = crate::mail::parse::parse(&compose(&mail).unwrap());
        let size: usize = read.references.iter().map(|id| id.len() + 3).sum();
        assert!(size <= MOST_REFERENCE_BYTES && size > MOST_REFERENCE_BYTES - 260, "{size}");
        assert_eq!(
            (read.references.first(), read.references.last()),
            (mail.references.first(), mail.references.last())
        );
    }

    #[test]
    fn a_type_of_a_file_is_a_plain_one() {
        let long = "a".repeat(300);
        let cases = [
            ("image/png", "image/png"),
            ("text/plain; charset=\"x\r\ny\"", "text/plain"),
            ("Multipart/mixed; boundary=x", "application/octet-stream"),
            (long.as_str(), "application/octet-stream"),
            ("image/ä", "application/octet-stream"),
        ];
        for (said, want) in cases {
            assert_eq!(media_type(said), want, "{said}");
        }
    }

    #[test]
    fn many_references_keep_the_root_and_the_newest() {
        let ids: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let kept = shortened(&ids);
        assert_eq!((kept.len(), kept[0], kept[1], kept[20]), (21, "0", "30", "49"));
        assert_eq!(shortened(&ids[..1]), ["0"]);
    }
}
