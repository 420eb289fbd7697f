//! Mails as we write them: a pure function from what is to be said to the bytes that are sent.

use anyhow::Context;
use chrono::{DateTime, Utc};
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

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

fn shortened(references: &[String]) -> Vec<&str> {
    let skipped = references.len().saturating_sub(MOST_REFERENCES);
    let newest = references.iter().skip(skipped.max(1));
    references.iter().take(1).chain(newest).map(String::as_str).collect()
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
    if let Some(parent) = &mail.in_reply_to {
        builder = builder.in_reply_to(format!("<{parent}>"));
    }
    if !mail.references.is_empty() {
        let ids: Vec<String> = shortened(&mail.references).into_iter().map(|id| format!("<{id}>")).collect();
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
    let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(mail.text.clone());
    let message = if mail.attachments.is_empty() {
        builder.singlepart(text)
    } else {
        let mut parts = MultiPart::mixed().singlepart(text);
        for (name, content_type, content) in &mail.attachments {
            let kind = ContentType::parse(content_type)
                .or_else(|_| ContentType::parse("application/octet-stream"))
                .context("cannot write an attachment's type")?;
            parts = parts.singlepart(Attachment::new(name.clone()).body(content.clone(), kind));
        }
        builder.multipart(parts)
    };
    Ok(message.context("cannot write the mail")?.formatted())
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
    fn many_references_keep_the_root_and_the_newest() {
        let ids: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let kept = shortened(&ids);
        assert_eq!((kept.len(), kept[0], kept[1], kept[20]), (21, "0", "30", "49"));
        assert_eq!(shortened(&ids[..1]), ["0"]);
    }
}
