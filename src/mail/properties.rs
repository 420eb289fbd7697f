//! What holds for every input: reading never fails and lets nothing dangerous through, writing gives what can be read.

use chrono::DateTime;
use proptest::prelude::*;

use super::compose::{self, Outgoing, compose};
use super::decode::is_direction_trick;
use super::parse::{Mail, parse};
use super::{body, bounce, classify, html, markdown, reading, reply};

/// Bytes that look like mail: pieces of its grammar and of attacks on it, and anything else.
fn mail() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..12),
        1 => "\\PC{0,12}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

const PIECES: &[&str] = &[
    "From: ",
    "To: ",
    "Subject: ",
    "References: ",
    "Content-Type: ",
    "Date: ",
    "Return-Path: <>\n",
    "\n",
    "\r\n",
    "\n\n",
    "\n ",
    "<a@b.example>",
    "Ann <a@b.example>, ",
    "=?utf-8?q?=0D=0A?=",
    "=?utf-8?b?4oKs?=",
    "=?iso-2022-jp?b?GyRC?=",
    "multipart/mixed; boundary=b",
    "multipart/report; report-type=delivery-status; boundary=b",
    "text/html; charset=",
    "\n--b\n",
    "\n--b--\n",
    "message/rfc822\n\n",
    "Content-Transfer-Encoding: base64\n\n",
    "quoted-printable\n\n",
    "=3D=\n=",
    "QUJDRA==",
    "begin 644 x\n",
    "filename*0*=utf-8''%00",
    "; name=\"../x\u{202e}\"",
    "On Mon, Feb 2, 2026 at 10:00 Ann wrote:\n",
    "> cited\n",
    "-- \n",
    "<div>",
    "<blockquote type=cite>",
    "</",
    "<!--",
    "<a href=\"javascript:x\">",
    "Status: 5.1.1\n",
    "Final-Recipient: rfc822; a@b\n",
    "\0",
    "\u{feff}",
    "\u{2028}",
    "(((",
    "\"",
];

fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| matches!(c, '\r' | '\n' | '\0') || c.is_control())
}

fn is_safe_name(name: &str) -> bool {
    is_clean(name)
        && !name.contains(['/', '\\'])
        && !name.chars().any(is_direction_trick)
        && !matches!(name, "" | "." | "..")
        && name.len() <= 255
}

fn read_all(raw: &[u8]) -> Mail {
    let mail = parse(raw);
    let _class = classify::classify(&mail);
    let _bounce = bounce::read(&mail);
    let _visible = reply::visible(&mail);
    let _html = mail.html.as_deref().map(html::clean);
    mail
}

fn outgoing(subject: String, name: String, text: String, html: Option<String>) -> Outgoing {
    Outgoing {
        from_name: name.clone(),
        from: "support@example.org".into(),
        to_name: name,
        to: "ada@example.net".into(),
        reply_to: "support+t1.abc@example.org".into(),
        subject,
        text,
        html,
        attachments: Vec::new(),
        message_id: "t1.d1.abc@example.org".into(),
        in_reply_to: None,
        references: Vec::new(),
        automatic: None,
        loop_mark: "mark".into(),
        date: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
    }
}

/// The names of the fields, in order.
fn fields(mail: &Mail) -> Vec<String> {
    mail.headers.iter().map(|(name, _)| name.to_lowercase()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_and_nothing_dangerous_is_left(raw in mail()) {
        let mail = read_all(&raw);
        prop_assert!(is_clean(&mail.subject));
        prop_assert!(mail.headers.iter().all(|(name, value)| is_clean(name) && is_clean(value)));
        let boxes = mail.to.iter().chain(&mail.cc).chain(&mail.reply_to).chain(&mail.from);
        for mailbox in boxes {
            prop_assert!(is_clean(&mailbox.name) && is_clean(&mailbox.address));
            prop_assert!(!mailbox.name.chars().any(is_direction_trick));
        }
        for id in mail.message_id.iter().chain(&mail.in_reply_to).chain(&mail.references) {
            prop_assert!(is_clean(id) && !id.contains(['<', '>', ' ']), "{id:?}");
        }
        for attachment in &mail.attachments {
            prop_assert!(attachment.filename.as_deref().is_none_or(is_safe_name), "{:?}", attachment.filename);
            prop_assert!(is_clean(&attachment.content_type));
        }
        let reading = reading::read(&raw, &["support@example.net".to_owned()]);
        prop_assert!(serde_json::to_string(&reading).is_ok());
    }

    #[test]
    fn any_value_of_any_field_stays_in_its_line(value in prop::collection::vec(any::<u8>(), 0..200), at in 0..8_usize) {
        let name = ["From", "To", "Subject", "Message-ID", "References", "Content-Type", "Date", "X-Any"][at];
        let mut raw = format!("{name}: ").into_bytes();
        raw.extend(value);
        raw.extend(b"\n\nx");
        let mail = read_all(&raw);
        prop_assert!(mail.headers.iter().all(|(name, value)| is_clean(name) && is_clean(value)));
        prop_assert!(is_clean(&mail.subject));
    }

    #[test]
    fn a_file_name_is_safe_whatever_it_was(name in "\\PC{0,300}|[\\x00-\\x1f/\\\\.\u{202e}a]{0,20}") {
        prop_assert!(body::filename(&name).as_deref().is_none_or(is_safe_name));
    }

    #[test]
    fn what_is_written_is_read_again(
        subject in "[\\PC&&[^\u{ad}]]{0,60}", name in "[a-zA-Zäöü]{1,20}( [A-Zß漢]{1,5})?", text in "(\\PC{0,80}\n){0,8}",
        files in prop::collection::vec(("[a-zäö漢 ]{1,30}\\.[a-z]{3}", prop::collection::vec(any::<u8>(), 0..200)), 0..3),
        ids in prop::collection::vec("[a-z0-9.]{1,40}@[a-z]{1,20}", 0..12),
    ) {
        let mut mail = outgoing(compose::subject(7, &subject), name.clone(), text.clone(), markdown::html(&text));
        mail.references = ids.clone();
        mail.in_reply_to = ids.last().cloned();
        let kind = "application/octet-stream".to_owned();
        mail.attachments = files.iter().map(|(name, content)| (name.clone(), kind.clone(), content.clone())).collect();
        let read = parse(&compose(&mail).unwrap());
        prop_assert_eq!(&read.subject, &super::decode::one_line(&mail.subject));
        prop_assert_eq!(&read.from.unwrap().name, &name);
        let read_text = read.text.replace('\r', "");
        prop_assert_eq!(read_text.trim_end(), text.trim_end());
        prop_assert!(read.html.is_some());
        let mut known = std::collections::HashSet::new();
        let wanted: Vec<String> = ids.into_iter().filter(|id| known.insert(id.clone())).collect();
        prop_assert_eq!(read.references, wanted);
        let read_files: Vec<_> = read.attachments.into_iter().map(|file| (file.filename.unwrap(), file.content)).collect();
        let wanted: Vec<_> = files.into_iter().map(|(name, content)| (body::filename(&name).unwrap(), content)).collect();
        prop_assert_eq!(read_files, wanted);
    }

    #[test]
    fn nothing_that_is_to_be_said_makes_a_field(
        subject in "(\\PC|\r|\n|\0|Bcc: v@example\\.com){0,30}", name in "(\\PC|\r|\n|\0|Bcc: v@example\\.com){0,20}",
        id in "(\\PC|\r|\n|>|Bcc: v@example\\.com){0,20}", file in "(\\PC|\r|\n|\"){0,20}",
    ) {
        let plain = outgoing("x".into(), "x".into(), "x".into(), None);
        let mut mail = outgoing(compose::subject(1, &subject), name, "x".into(), None);
        mail.in_reply_to = Some(id.clone());
        mail.references = vec![id];
        let composed = compose(&mail).unwrap();
        let mut wanted = fields(&parse(&compose(&plain).unwrap()));
        let mut found = fields(&parse(&composed));
        // Ids that cannot be written are left out.
        let ids = found.iter().filter(|name| matches!(name.as_str(), "in-reply-to" | "references"));
        wanted.extend(ids.cloned());
        wanted.sort();
        found.sort();
        prop_assert_eq!(found, wanted);
        mail.attachments = vec![(file, "text/plain".into(), b"x".to_vec())];
        let read = parse(&compose(&mail).unwrap());
        prop_assert!(read.header("bcc").is_none());
    }

    #[test]
    fn what_others_named_breaks_no_line_of_ours(
        ids in prop::collection::vec(hostile(1000), 0..30), names in prop::collection::vec(hostile(400), 0..3),
        kinds in prop::collection::vec(prop_oneof![hostile(400), hostile(40).prop_map(|x| format!("text/plain; name={x}")),
            hostile(300).prop_map(|x| format!("image/{x}"))], 3),
    ) {
        let mut mail = outgoing("x".into(), "x".into(), "x".into(), None);
        mail.attachments = vec![("a".into(), "text/plain".into(), b"x".to_vec()); names.len()];
        let mut wanted = fields(&parse(&compose(&mail).unwrap()));
        mail.in_reply_to = ids.last().cloned();
        mail.references = ids;
        mail.attachments = names.into_iter().zip(kinds).map(|(name, kind)| (name, kind, b"x".to_vec())).collect();
        let composed = compose(&mail).unwrap();
        for line in composed.split_inclusive(|byte| *byte == b'\n') {
            let shown = String::from_utf8_lossy(line);
            prop_assert!(line.len() <= 1000, "{}", shown);
            let content = line.strip_suffix(b"\r\n");
            prop_assert!(content.is_some_and(|line| !line.contains(&b'\r') && !line.contains(&0)), "{:?}", shown);
        }
        let read = parse(&composed);
        let found: Vec<String> = fields(&read);
        wanted.extend(found.iter().filter(|name| matches!(name.as_str(), "in-reply-to" | "references")).cloned());
        prop_assert_eq!(found.len(), wanted.len());
        prop_assert!(found.iter().all(|name| wanted.contains(name)), "{:?}", found);
        prop_assert_eq!(read.attachments.len(), mail.attachments.len());
        prop_assert!(read.references.iter().map(|id| id.len() + 3).sum::<usize>() <= 4096);
    }
}

/// What a mail of others may have named something, up to a length.
fn hostile(longest: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z0-9.@]{1,12}",
        2 => prop::sample::select(&["\r\n", "\r", "\n", "\0", "\r\nBcc: v@example.com", "\r\n\r\n", "<", ">", "\"", "\\",
            ";", "=", "/", " ", "\t", "ä", "\u{202e}", "%0d%0a", "=?utf-8?q?=0D=0A?="][..]).prop_map(str::to_owned),
        1 => (1..longest).prop_map(|length| "x".repeat(length)),
        1 => "\\PC{0,12}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}
