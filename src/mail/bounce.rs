//! Delivery status notifications: RFC 3464, and the many forms that mail servers wrote before it and still write.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::address;
use super::parse::{Attachment, Mail};

/// Most recipients that are read from one notification.
const MAX_RECIPIENTS: usize = 100;
/// So much of a notification's text is searched, in bytes.
const MAX_TEXT: usize = 48 * 1024;

/// A mail that could not be delivered, or not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounce {
    /// Whom the mail could not be delivered to, lower-case.
    pub recipients: Vec<String>,
    /// RFC 3463 code, such as `5.1.1`.
    pub status: Option<String>,
    /// The address should not be mailed to again.
    pub permanent: bool,
    /// Message-ID of the mail that was not delivered, without angle brackets.
    pub original_message_id: Option<String>,
}

/// Reads a mail as a delivery status notification; `None` if it is none.
pub fn read(mail: &Mail) -> Option<Bounce> {
    let is_refusal = is_refusal(mail);
    // RFC 6522: other reports (read receipts, complaints) share the container.
    let kind = mail.is_report.as_deref().unwrap_or_default();
    if !is_refusal && (kind.contains("disposition") || kind.contains("feedback")) {
        return None;
    }
    let is_status = |part: &&Attachment| is_status_part(&part.content_type) || is_refusal && is_receipt(part);
    let status_parts: Vec<&Attachment> = mail.attachments.iter().filter(is_status).collect();
    let is_report = kind == "delivery-status" || is_refusal;
    if !is_report && status_parts.is_empty() && !looks_like(mail) {
        return None;
    }
    let text = head(&mail.text, MAX_TEXT);
    let mut bounce = Bounce::default();
    let mut failed = None;
    for part in status_parts {
        let content =
            String::from_utf8_lossy(part.content.get(..MAX_TEXT).unwrap_or(&part.content)).into_owned();
        failed = read_status(&content, &mut bounce).or(failed);
    }
    if bounce.recipients.is_empty() {
        bounce.recipients = recipients(mail, text);
    }
    if bounce.status.is_none() {
        bounce.status = status_in(text).or_else(|| status_in(&mail.subject));
    }
    bounce.permanent = is_permanent(failed, bounce.status.as_deref(), &format!("{}\n{text}", mail.subject));
    bounce.original_message_id = original_id(mail, text);
    Some(bounce)
}

fn is_status_part(kind: &str) -> bool {
    // RFC 6533 names the internationalised form.
    kind == "message/delivery-status" || kind == "message/global-delivery-status"
}

fn is_receipt(part: &Attachment) -> bool {
    part.content_type == "message/disposition-notification"
}

/// RFC 5429 §2.1.1 lets a mail filter refuse a mail by a receipt that says it was deleted. Outlook says the same of
/// mail that was deleted unread, so the words must speak of a refusal.
fn is_refusal(mail: &Mail) -> bool {
    let deleted = mail.attachments.iter().filter(|part| is_receipt(part)).any(|part| {
        let content =
            String::from_utf8_lossy(part.content.get(..4096).unwrap_or(&part.content)).to_ascii_lowercase();
        content.contains("automatic-action") && content.contains("deleted")
    });
    deleted
        && [mail.subject.as_str(), head(&mail.text, 1000)]
            .iter()
            .any(|text| text.to_lowercase().contains("reject"))
}

fn head(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// RFC 3464 §2.3: groups of fields, one per recipient. Gives whether the delivery failed, if the part says so.
fn read_status(content: &str, bounce: &mut Bounce) -> Option<bool> {
    let mut failed = None;
    let (mut last_final, mut group_status) = (None, None);
    for line in content.lines() {
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                (last_final, group_status) = (None, None);
            }
            continue;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            // §2.3.1, §2.3.2: `rfc822; ann@example.org`. The original address is the one that we wrote to, but the
            // final one is always there.
            "final-recipient" | "original-recipient" | "x-actual-recipient" => {
                let Some(address) = recipient(value) else { continue };
                let is_first = last_final.is_none();
                if is_first
                    && !bounce.recipients.contains(&address)
                    && bounce.recipients.len() < MAX_RECIPIENTS
                {
                    bounce.recipients.push(address.clone());
                }
                last_final.get_or_insert(address);
            }
            // §2.3.3
            "action" => {
                match value.split([' ', '(', ';']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
                    "failed" => failed = Some(true),
                    "delayed" | "delivered" | "relayed" | "expanded" if failed.is_none() => {
                        failed = Some(false);
                    }
                    _ => {}
                }
            }
            // §2.3.4
            "status" => {
                let status = status_in(value);
                group_status = group_status.or_else(|| status.clone());
                bounce.status = bounce.status.take().or(status);
            }
            // §2.3.6; more exact where the status is the catch-all.
            "diagnostic-code" if bounce.status.as_deref().is_none_or(|status| status.ends_with(".0.0")) => {
                bounce.status = status_in(value).or(bounce.status.take());
            }
            _ => {}
        }
    }
    failed
}

fn recipient(value: &str) -> Option<String> {
    let value = value.split_once(';').map_or(value, |(_, address)| address);
    let found = ADDRESS.find(value)?;
    Some(address::canonical(found.as_str()))
}

static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[^\s<>()\[\],;:\x22'=@]+@[\p{L}0-9_-]+(\.[\p{L}0-9_-]+)*"));
static FIELD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)^[\s>]*(to|cc|from|mail from|sender|reply-to|subject|sent|an|von|a|de|para):")
});
static STATUS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?:^|[^\d.])([245]\.\d{1,2}\.\d{1,3})(?:[^\d.]|\.?$|\.\s)"));
static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:^|[\s:(\[<])([45]\d\d)(?:[\s:,)\]>-])"));
static AMAZON: LazyLock<Regex> = LazyLock::new(|| pattern(r#""notificationType"\s*:\s*"(Bounce|Delivery)""#));
static ORIGINAL_ID: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?im)^[>\s]*message-id:\s*<([^<>\s]{3,500})>"));

/// A pattern from this file; they are all tested.
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|_| unreachable!("patterns of this file are valid"))
}

fn patterns(list: &[&str]) -> RegexSet {
    RegexSet::new(list).unwrap_or_else(|_| unreachable!("patterns of this file are valid"))
}

fn status_in(text: &str) -> Option<String> {
    STATUS.captures(text).and_then(|found| found.get(1)).map(|code| code.as_str().to_owned())
}

/// RFC 3463 §2: class 5 is permanent, 4 is not. What the report says of its action counts more, the words least.
fn is_permanent(failed: Option<bool>, status: Option<&str>, text: &str) -> bool {
    let class = status.and_then(|status| status.chars().next());
    match (failed, class) {
        (Some(false), _) | (_, Some('4')) => false,
        (_, Some('5')) | (Some(true), _) => true,
        (None, _) if PASSING.is_match(text) => false,
        (None, _) => match CODE.captures(text).and_then(|found| found.get(1)) {
            Some(code) => code.as_str().starts_with('5'),
            None => true,
        },
    }
}

/// Words of notifications that a mail is late, not lost.
static PASSING: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"(?i)\b(delayed|delay(ed)? notification|still (being )?retr(y|ied)|will (continue|keep) (to try|trying)|attempts will continue|postponed)",
        r"(?i)you do not need to resend|will be retried|not yet been delivered|could not be delivered for the (last|past)",
        r"(?i)warning: (message|could not send)|temporar(y|ily) (failure|unavailable)|mailbox (is )?full|over quota|quota exceeded",
    ])
});

/// Mail systems, by address or by name.
static SENDER: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"(?i)^(mailer[-_. ]?daemon|mail[-_. ]?daemon|post[-_. ]?master|mmdf|mdaemon|mdder)\b",
        r"(?i)^(mail delivery (sub-?)?system|mailer-daemon|mail delivery service|internet mail delivery|postmaster)\b",
    ])
});

/// Senders that may be one; people have such addresses too.
static WEAK_SENDER: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"(?i)^[^@]*(anti-?virus|smtp|mail[-_.]?(gateway|scan|service|server|delivery|system|agent))[^@]*@",
        r"(?i)^(bounces?|uucp|mail|no-?reply|daemon|system|root)([-_+=.][^@]*)?(@|$)",
        r"(?i)(mail|system) (administrator|router|gateway)|mail (deliver|delivery|system)|mailer|delivery agent|interscan|webshield|mail ?marshal|anti-?virus",
    ])
});

/// What servers write into the subject of a notification.
static SUBJECT: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"(?i)\b(undeliver(ed|able)|non[- ]?deliver(y|able)|not delivered|nondeliverable)\b",
        r"(?i)\bdelivery (status notification|status|warning|failure|failed|problem|report|notification|error|has failed|is delayed)",
        r"(?i)\bmail(er)? (delivery )?(failed|failure|error|system error)|returned mail|returned to sender|mail could not be",
        r"(?i)^\W*(re: )?(failure notice|failure delivery|failed mail|message (delivery )?(failed|failure|error|not sent))",
        r"(?i)\b(couldn.t|could not|cannot|can.t|unable to) (be )?(deliver|send)|user unknown|unknown user|no such user",
        r"(?i)\bwarning: (message|could not send|mail)|delayed mail|mail delay|message status - |bounced? (mail|message)",
        r"(?i)(dsn|ndr|ndn)\b.*(fail|delay|deliver|undeliver)|e-?mail (rejected|returned|addressing)|rejected: |delivery to .* failed",
        r"(?i)unzustellbar|nicht zustellbar|zustellung|non remis|échec de (la )?(remise|distribution)|no se (puede|pudo) entregar",
        r"(?i)devuelto|não (foi )?entregue|não entregue|mancata consegna|onbestelbaar|недостав|не доставлено|配信不能|送信できません|退信|无法送达|エラーメール",
    ])
});

/// What servers write into the text.
static TEXT: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"(?i)this (is|message was created automatically by) (the |a )?(mail|qmail|postfix|mdaemon|exim)[\w -]*(program|system|software|delivery)",
        r"(?i)(your|this|the|following|original|attached) (e-?mail |mail )?(message|mail|e-?mail)[^.]{0,120}(could not|couldn.t|cannot|can.t|was not|has not|did not|not be|unable)[^.]{0,40}(deliver|reach|sent|accepted)",
        r"(?i)(permanent|fatal|delivery|transient) (fatal )?(errors?|failures?)|undeliverable|undelivered|delivery (has )?(failed|failure)|failed permanently",
        r"(?i)(user|recipient|mailbox|address|account|host|domain)[^.\n]{0,60}(unknown|not found|does not exist|doesn.t exist|not exist|unavailable|disabled|full|inactive|rejected|refused|not known|not listed|invalid|over quota|exceed)",
        r"(?i)(unknown|no such|invalid|bad|unrouteable|unroutable|non-?existent) (local )?(user|recipient|mailbox|address|account|host|domain|destination)",
        r"(?i)(unable|failed|not able|not possible) to (be )?(deliver|relay|send|transmit)|delivery (to|attempts?)[^.\n]{0,80}(failed|unsuccessful|delayed|abandoned|suspended)",
        r"(?im)^\s*(\d{3}[- ])?[45]\d\d[- ](#?[45]\.\d+\.\d+ )?\S|smtp; ?[45]\d\d|\b5\d\d [45]\.\d+\.\d+|\(#[45]\.\d\.\d\)",
        r"(?i)did not reach|could not be (delivered|sent|reached)|return(ed|ing) (the|your|to) (message|mail|sender|below)|has been returned|mail (loop|forwarding loop)|too many hops",
        r"(?i)\b(postponed|continue to try|attempts will continue)\b|message (was |is )?(undeliver|delayed|rejected|refused|not (been )?delivered)|(was|is) not delivered|(user|quota|mailbox)[^.\n]{0,30}(over|exceed|full)",
        r"(?i)konnte nicht zugestellt|nicht zugestellt|n'a pas pu être|no (pudo|ha podido) (ser )?entreg|não pôde ser|не (удалось|может быть) достав|配信(が|でき)|送信でき|宛先|届け(る|られ)|無法|无法|メールアドレス",
    ])
});

/// Old notifications: a machine as sender, and words for it in the subject or the text. None of the three is enough.
fn looks_like(mail: &Mail) -> bool {
    // Exim and Gmail name the addresses in a field of their own.
    if mail.header("x-failed-recipients").is_some_and(|value| value.contains('@')) {
        return true;
    }
    // Amazon's notices are JSON.
    if mail.header("x-amz-sns-message-id").is_some() {
        return AMAZON.is_match(head(&mail.text, 8 * 1024));
    }
    // The list server fml refuses mail in the list's name; mail that it distributes is counted.
    let is_fml = mail.header("x-mlserver").is_some_and(|server| server.starts_with("fml"));
    if is_fml && mail.header("x-mail-count").is_none() {
        return !mail.references.is_empty();
    }
    let subject = SUBJECT.is_match(&mail.subject);
    let text = head(&mail.text, 8 * 1024);
    let words = TEXT.matches(text).iter().count();
    let carries = mail
        .attachments
        .iter()
        .any(|part| part.content_type == "message/rfc822" || part.content_type == "text/rfc822-headers")
        || RETURNED.is_match(text);
    // RFC 5321 §4.5.5: a notification has the null reverse-path. So have many automatic answers.
    let null = mail.return_path.as_deref() == Some("");
    let from = mail.from.as_ref().map(|from| from.address.to_ascii_lowercase()).unwrap_or_default();
    if from.starts_with("mailer-daemon") {
        // It has nothing else to say, in whatever language.
        return true;
    }
    if is_machine(mail) {
        return subject || words >= 2 || words == 1 && (carries || null);
    }
    if null || is_weak_machine(mail) {
        return subject && (words > 0 || carries) || words >= 2 && carries;
    }
    // A program that names itself nowhere may still have sent the mail back.
    subject && carries && words > 0 && mail.in_reply_to.is_empty() && is_automatic(mail)
}

/// The mail that came back, or its header, in the text.
static RETURNED: LazyLock<RegexSet> = LazyLock::new(|| {
    patterns(&[
        r"(?i)-{2,} ?(this is a copy of|copy of|below this line|original|returned|unsent|undelivered|the|header|begin)[^\n]{0,60}(message|mail|headers?)",
        r"(?im)^[>|\s]*(received: (from|by)|return-path: ?<)",
    ])
});

fn is_automatic(mail: &Mail) -> bool {
    mail.header("auto-submitted")
        .is_some_and(|value| !value.trim_start().to_ascii_lowercase().starts_with("no"))
}

/// Whether the author is a mail system: by address, by name, or by the envelope, which should be null but names some.
pub(crate) fn is_machine(mail: &Mail) -> bool {
    let Some(from) = &mail.from else { return false };
    let envelope = mail.return_path.as_deref().unwrap_or_default().to_ascii_lowercase();
    SENDER.is_match(&from.address) || SENDER.is_match(&from.name) || envelope.starts_with("mailer-daemon")
}

fn is_weak_machine(mail: &Mail) -> bool {
    let Some(from) = &mail.from else { return true };
    WEAK_SENDER.is_match(&from.address) || WEAK_SENDER.is_match(&from.name)
}

/// The addresses of a notification that is no RFC 3464 one: first where it lists them, then anywhere.
fn recipients(mail: &Mail, text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in mail.header_all("x-failed-recipients") {
        found.extend(ADDRESS.find_iter(value).map(|address| address::canonical(address.as_str())));
    }
    if !found.is_empty() {
        found.dedup();
        found.truncate(MAX_RECIPIENTS);
        return found;
    }
    let own: Vec<String> =
        mail.to.iter().chain(&mail.from).map(|mailbox| address::canonical(&mailbox.address)).collect();
    // What stands above the returned mail is about the failure. Lines of its header name other people as well, and
    // count only where there is nothing else.
    let about = text.lines().take_while(|line| !RETURNED.is_match(line));
    found = addresses(about.filter(|line| !FIELD.is_match(line)), &own);
    if found.is_empty() {
        found = addresses(text.split("---").take(1), &own);
    }
    found
}

fn addresses<'a>(lines: impl Iterator<Item = &'a str>, own: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for address in lines.flat_map(|line| ADDRESS.find_iter(line)) {
        let address = address::canonical(address.as_str());
        let is_system = SENDER.is_match(&address) || address.contains("daemon@");
        if !is_system && !own.contains(&address) && !found.contains(&address) && found.len() < MAX_RECIPIENTS
        {
            found.push(address);
        }
    }
    found
}

/// The Message-ID of what came back: from the returned part (RFC 6522 §3), else from its header quoted in the text.
fn original_id(mail: &Mail, text: &str) -> Option<String> {
    let returned = mail.attachments.iter().filter(|part| {
        matches!(
            part.content_type.as_str(),
            "message/rfc822" | "text/rfc822-headers" | "message/global" | "message/global-headers"
        )
    });
    for part in returned {
        let (fields, _) = super::fields::split(part.content.get(..256 * 1024).unwrap_or(&part.content));
        let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case("message-id"));
        if let Some(id) = field.and_then(|field| super::fields::message_id(&field.value)) {
            return Some(id);
        }
    }
    let quoted = ORIGINAL_ID.captures(text).and_then(|found| found.get(1)).map(|id| id.as_str().to_owned());
    quoted.or_else(|| mail.references.last().cloned()).or_else(|| mail.in_reply_to.last().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::parse::parse;

    fn report(action: &str, status: &str) -> String {
        // The shape of RFC 3464 §9 (Appendix, simple DSN).
        format!(
            "From: Mail Delivery Subsystem <MAILER-DAEMON@cs.example>\nTo: owner@example.net\nSubject: Returned mail\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nIt failed.\n--b\n\
             Content-Type: message/delivery-status\n\nReporting-MTA: dns; cs.example\n\n\
             Original-Recipient: rfc822;louisl@larry.example\nFinal-Recipient: rfc822;louisl@larry.example\n\
             Action: {action}\nStatus: {status}\n\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@example.net>\n\nx\n--b--\n"
        )
    }

    #[test]
    fn reports_are_read() {
        for (action, status, permanent) in [
            ("failed", "5.1.1", true),
            ("failed", "4.0.0", false),
            ("delayed", "4.2.0", false),
            ("delivered", "2.0.0", false),
        ] {
            let bounce = read(&parse(report(action, status).as_bytes())).unwrap();
            assert_eq!(bounce.recipients, ["louisl@larry.example"]);
            assert_eq!((bounce.status.as_deref(), bounce.permanent), (Some(status), permanent));
            assert_eq!(bounce.original_message_id.as_deref(), Some("1@example.net"));
        }
    }

    #[test]
    fn old_notifications_are_told_from_letters() {
        let cases = [
            (
                "MAILER-DAEMON@x.example",
                "failure notice",
                "Hi. I could not deliver it.\n<a@b.example>:\n550 no such user",
                true,
            ),
            ("MAILER-DAEMON", "Mail failure", "unknown user: a@b.example", true),
            ("postmaster@x.example", "Undeliverable: hello", "Your message did not reach a@b.example", true),
            ("postmaster@x.example", "Maintenance", "The server is down tonight.", false),
            (
                "ann@example.org",
                "Delivery of my order failed",
                "My order was not delivered. User unknown?",
                false,
            ),
            ("ann@example.org", "Undelivered mail", "I get this error: 550 5.1.1 user unknown", false),
        ];
        for (from, subject, text, want) in cases {
            let mail =
                parse(format!("From: {from}\nTo: s@example.net\nSubject: {subject}\n\n{text}\n").as_bytes());
            assert_eq!(read(&mail).is_some(), want, "{from} {subject}");
        }
    }

    #[test]
    fn patterns_are_valid() {
        for set in [&PASSING, &SENDER, &WEAK_SENDER, &SUBJECT, &TEXT, &RETURNED] {
            assert!(!set.is_empty());
        }
        assert_eq!(status_in("smtp;550 5.1.1 <a@b> unknown").as_deref(), Some("5.1.1"));
        assert_eq!(status_in("version 15.1.1.3"), None);
        assert!(AMAZON.is_match(r#"{"notificationType":"Bounce","x":1}"#));
        assert!(FIELD.is_match("  To: a@b"));
        assert!(CODE.is_match("(550 no)"));
        assert!(ADDRESS.is_match("<a@b.example>"));
        assert!(ORIGINAL_ID.is_match("Message-Id: <abc@x>"));
    }
}
