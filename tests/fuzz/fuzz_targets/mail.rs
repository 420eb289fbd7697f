//! Any bytes as a mail: read in every way there is, and answered. No text that is one line may hold two, no file name may
//! lead elsewhere, and what others wrote may not become a field of our answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ticketd::mail::authentication::Origin;
use ticketd::mail::compose::{self, Outgoing};
use ticketd::mail::parse::{Mail, parse};
use ticketd::mail::{bounce, classify, forward, html, markdown, reading, reply};

const OWN: &str = "support@example.net";

fuzz_target!(|raw: &[u8]| {
    let mail = parse(raw);
    is_as_promised(&mail);
    let _class = classify::classify(&mail);
    let _answered = classify::may_acknowledge(&mail, &[OWN.to_owned()]);
    let _bounce = bounce::read(&mail);
    let _forwarded = forward::read(&mail);
    let sender = mail.from.as_ref().map_or("", |from| from.address.as_str());
    let _verdict = Origin::read(raw).verdict(Some("mx.example.net"), sender);
    let _mark = parse::fingerprint(raw, &mail);
    let reading = reading::read(raw, &[OWN.to_owned()]);
    serde_json::to_string(&reading).expect("a reading can be written");
    if let Some(html) = &mail.html {
        let clean = html::clean(html);
        assert!(!clean.to_ascii_lowercase().contains("<script"), "{clean}");
        let _text = html::to_text(html);
        let shown = html::show(&html::keep(html), Default::default(), false);
        assert!(!shown.html.to_ascii_lowercase().contains("<script"), "{}", shown.html);
    }
    answers(&mail);
});

mod parse {
    pub(crate) use ticketd::mail::parse::fingerprint;
}

fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_as_promised(mail: &Mail) {
    assert!(is_line(&mail.subject));
    assert!(mail.headers.iter().all(|(name, value)| is_line(name) && is_line(value)));
    for mailbox in mail.to.iter().chain(&mail.cc).chain(&mail.reply_to).chain(&mail.from) {
        assert!(is_line(&mailbox.name) && is_line(&mailbox.address));
    }
    for id in mail.message_id.iter().chain(&mail.in_reply_to).chain(&mail.references) {
        assert!(is_line(id) && !id.contains(['<', '>', ' ']), "{id:?}");
    }
    for name in mail.attachments.iter().filter_map(|file| file.filename.as_deref()) {
        assert!(is_line(name) && !name.contains(['/', '\\']) && !matches!(name, "" | "." | ".."), "{name:?}");
    }
    // PostgreSQL stores none.
    assert!(!mail.text.contains('\0'));
}

/// What somebody answers, with everything in it that the mail brought.
fn answers(mail: &Mail) {
    let text = reply::visible(mail);
    let from = mail.from.clone();
    let outgoing = Outgoing {
        from_name: "Support".into(),
        from: OWN.into(),
        to_name: from.as_ref().map(|from| from.name.clone()).unwrap_or_default(),
        to: "ada@example.org".into(),
        reply_to: "support+t1.abc@example.net".into(),
        subject: compose::subject(1, &mail.subject),
        html: markdown::html(&text),
        text: text.clone(),
        attachments: mail
            .attachments
            .iter()
            .map(|file| {
                (file.filename.clone().unwrap_or_default(), file.content_type.clone(), file.content.clone())
            })
            .collect(),
        message_id: "t1.d1.abc@example.net".into(),
        in_reply_to: mail.message_id.clone(),
        references: mail.references.clone(),
        automatic: None,
        loop_mark: "mark".into(),
        date: Default::default(),
    };
    let written = compose::compose(&outgoing).expect("an address that can be written");
    let again = parse_again(&written);
    for field in ["from", "to", "subject", "message-id", "reply-to"] {
        let count = again.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(field)).count();
        assert_eq!(count, 1, "{field} in {}", String::from_utf8_lossy(&written));
    }
    assert!(again.header("bcc").is_none());
    assert_eq!(again.to.first().map(|to| to.address.as_str()), Some("ada@example.org"));
    assert_eq!(again.attachments.len(), mail.attachments.len());
}

fn parse_again(written: &[u8]) -> Mail {
    let again = parse(written);
    is_as_promised(&again);
    again
}
