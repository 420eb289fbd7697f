//! Who wrote a mail: a person, or a machine, and which kind of machine. We never answer machines.

use std::sync::LazyLock;

use regex::RegexSet;

use super::parse::Mail;
use super::{address, bounce};

/// What a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Human,
    /// Any machine's mail that is none of the following: absence notices, monitoring, newsletters, receipts.
    AutoReply,
    /// A delivery status notification, of whatever outcome.
    Bounce,
    /// Came through a mailing list.
    List,
    /// A complaint forwarded by a provider (RFC 5965).
    Feedback,
}

impl Class {
    /// The word under which the class is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::AutoReply => "auto_reply",
            Self::Bounce => "bounce",
            Self::List => "list",
            Self::Feedback => "feedback",
        }
    }
}

/// Tells the class of a mail from its header, its parts, and for old notifications its words.
pub fn classify(mail: &Mail) -> Class {
    if is_feedback(mail) {
        Class::Feedback
    } else if bounce::read(mail).is_some() {
        Class::Bounce
    } else if is_answered_by_machine(mail) {
        Class::AutoReply
    } else if is_list(mail) {
        Class::List
    } else if is_machine_mail(mail) {
        Class::AutoReply
    } else {
        Class::Human
    }
}

/// Whether an automatic acknowledgement may go to the author of this mail.
pub fn may_acknowledge(mail: &Mail, own_addresses: &[String]) -> bool {
    let Some(from) = &mail.from else { return false };
    let own = |candidate: &str| {
        let candidate = address::canonical(candidate);
        own_addresses.iter().any(|own| is_own(&address::canonical(own), &candidate))
    };
    classify(mail) == Class::Human
        && address::is_valid(from.address.trim())
        // RFC 3834 §2: never to a null reverse-path.
        && mail.return_path.as_deref() != Some("")
        && !wants_silence(mail)
        && !own(&from.address)
        && !mail.reply_to.iter().any(|mailbox| own(&mailbox.address))
        && !mail.header_all("x-loop").any(own)
}

/// An address of ours, with or without what we put after a plus sign.
fn is_own(own: &str, candidate: &str) -> bool {
    if own == candidate {
        return true;
    }
    let (Some((own_local, own_domain)), Some((local, domain))) =
        (address::split(own), address::split(candidate))
    else {
        return false;
    };
    own_domain == domain && local.split_once('+').is_some_and(|(base, _)| base == own_local)
}

/// Microsoft's X-Auto-Response-Suppress (MS-OXCMAIL §2.2.3.2.14), common on people's mail from Outlook: it asks for
/// no automatic answers, and does not say that a machine wrote.
fn wants_silence(mail: &Mail) -> bool {
    mail.header_all("x-auto-response-suppress").any(|value| {
        let value = value.to_ascii_lowercase();
        value.split([',', ';', ' ']).any(|word| matches!(word.trim(), "all" | "autoreply" | "oof"))
    })
}

fn is_feedback(mail: &Mail) -> bool {
    // RFC 5965 §2.
    mail.is_report.as_deref() == Some("feedback-report")
        || mail.attachments.iter().any(|part| part.content_type == "message/feedback-report")
}

/// Fields that only answering machines and other programs set.
fn is_answered_by_machine(mail: &Mail) -> bool {
    // RFC 3834 §5: any value but `no`; a comment or parameters may stand around it.
    let submitted = mail.header_all("auto-submitted").any(|value| {
        let value = without_comments(value);
        let word = value.split([';', ' ']).find(|word| !word.is_empty()).unwrap_or_default();
        !word.is_empty() && !word.eq_ignore_ascii_case("no")
    });
    // Microsoft Exchange's absence notices: both together, as the first alone is on people's mail.
    let exchange = mail.header("x-ms-exchange-inbox-rules-loop").is_some()
        && mail
            .header("x-auto-response-suppress")
            .is_some_and(|value| value.to_ascii_lowercase().contains("all"));
    let disposition = mail.is_report.as_deref().is_some_and(|kind| kind.contains("disposition-notification"));
    let named = mail.headers.iter().any(|(name, value)| says_automatic(&name.to_ascii_lowercase(), value));
    submitted || exchange || disposition || named || is_absence(mail)
}

/// The fields that answering programs of nine products set, by name and value.
fn says_automatic(name: &str, value: &str) -> bool {
    let value = value.trim();
    let is_no = value.eq_ignore_ascii_case("no") || value.eq_ignore_ascii_case("false");
    match name {
        // Read elsewhere: its own grammar, and a wish that says nothing of the author.
        "auto-submitted" | "x-auto-response-suppress" => false,
        "x-vacation" | "x-away" => !is_no,
        "x-amazon-mail-relay-type" => value.eq_ignore_ascii_case("notification"),
        "precedence" | "x-precedence" => value.to_ascii_lowercase().replace('-', "_").contains("auto_reply"),
        "delivered-to" => value.eq_ignore_ascii_case("autoresponder"),
        "x-loop" => value.eq_ignore_ascii_case("yes") || value.eq_ignore_ascii_case("true"),
        name => {
            let name = name.replace('-', "");
            AUTOMATIC.iter().any(|word| name.contains(word)) && !name.contains("suppress") && !is_no
        }
    }
}

/// What stands in the names of such fields, dashes left out: X-Autoreply, X-Auto-Response, X-FC-Machinegenerated, …
const AUTOMATIC: &[&str] = &[
    "autoreply",
    "autoreplied",
    "autorespon",
    "autogenerated",
    "autosubmitted",
    "holidayreply",
    "machinegenerated",
];

/// RFC 5322 comments may stand anywhere in a structured field.
fn without_comments(value: &str) -> String {
    let mut depth = 0usize;
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// RFC 2919 and RFC 2369: the fields of mailing lists.
fn is_list(mail: &Mail) -> bool {
    let listed = ["list-id", "list-post", "x-mailing-list", "mailing-list", "x-mailman-version", "x-list-id"]
        .iter()
        .any(|name| mail.header(name).is_some_and(|value| !value.trim().is_empty()));
    listed || precedence(mail, &["list"])
}

fn precedence(mail: &Mail, words: &[&str]) -> bool {
    // It may occur twice; any of them counts.
    let values = mail.header_all("precedence").chain(mail.header_all("x-precedence"));
    values.map(|value| value.trim().to_ascii_lowercase()).any(|value| words.contains(&value.as_str()))
}

/// Mail without a person behind it, by weaker signs.
fn is_machine_mail(mail: &Mail) -> bool {
    let null = mail.return_path.as_deref() == Some("");
    // RFC 8058: only bulk mail has it (List-Unsubscribe alone is on shops' mail to one person too).
    let bulk =
        mail.header("list-unsubscribe-post").is_some() || mail.header("x-amz-sns-message-id").is_some();
    precedence(mail, &["bulk", "junk"])
        || bulk
        || null
        || bounce::is_machine(mail)
        || mail.from.is_none() && is_automatic_name(mail)
}

fn is_automatic_name(mail: &Mail) -> bool {
    mail.header("return-path").is_some_and(|path| path.to_ascii_lowercase().contains("daemon"))
}

/// Absence notices by their subject, for programs that set no field. Only as a whole or as a prefix: people write
/// about automatic replies too.
static ABSENCE: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        r"(?i)^(auto(matic)?[- ]?(reply|response|answer|responder|antwort|svar|vastaus)|autoreply|autoresponse)\b ?(:|$|from|to|-)",
        r"(?i)^(out of (the )?office( (auto)?-?(reply|response|message|notice|notification))?|ooo|vacation (reply|response|message|notice)|on vacation|away from (my|the) (mail|desk|office))\b ?(:|$|-|re\b)",
        r"(?i)^(automatische antwort|abwesenheit(snotiz|smeldung|snachricht|sassistent|sagent)?|abwesend|autom\. antwort)\b ?(:|$|-)",
        r"(?i)^(réponse automatique|absence du bureau|message d'absence|réponse d'absence|en mon absence)( ?:|$| -)",
        r"(?i)^(respuesta automática|fuera de la oficina|autorespuesta|respuesta autom[aá]tica)( ?:|$| -)",
        r"(?i)^(resposta automática|ausência temporária|fora do escritório)( ?:|$| -)",
        r"(?i)^(risposta automatica|fuori sede|fuori ufficio|assente)( ?:|$| -)",
        r"(?i)^(automatisch antwoord|afwezigheidsbericht|afwezig|automatische reactie)( ?:|$| -)",
        r"(?i)^(autosvar|automatiskt svar|automatisk svar|frånvaro|fraværende|poissaoloilmoitus|automaattinen vastaus)( ?:|$| -)",
        r"(?i)^(odpowiedź automatyczna|automatyczna odpowiedź|automatická odpověď|automatická odpoveď|automatikus válasz|răspuns automat|otomatik yanıt|ofis dışında)( ?:|$| -)",
        r"(?i)^(автоответ|автоматический ответ|автоматична відповідь|автоматичен отговор|αυτόματη απάντηση)( ?:|$| -)",
        r"(?i)^(自动回复|自動回覆|自動応答|自動返信|不在通知|자동 ?회신|부재중)",
        r"(?i)^(הודעה אוטומטית|תשובה אוטומטית|رد تلقائي|trả lời tự động|ตอบกลับอัตโนมัติ)",
    ])
    .unwrap_or_else(|_| unreachable!("patterns of this file are valid"))
});

fn is_absence(mail: &Mail) -> bool {
    ABSENCE.is_match(mail.subject.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::parse::parse;

    fn mail(fields: &str) -> Mail {
        let from = if fields.contains("From:") { "" } else { "From: ann@example.org\n" };
        parse(format!("{from}{fields}\nTo: support@example.net\n\nHello\n").as_bytes())
    }

    #[test]
    fn classes() {
        let cases = [
            ("Subject: Hello", Class::Human),
            ("Auto-Submitted: auto-replied", Class::AutoReply),
            ("Auto-Submitted: Auto-Generated; owner-email=x", Class::AutoReply),
            ("Auto-Submitted: (a person) no", Class::Human),
            ("Auto-Submitted: no", Class::Human),
            ("X-Autoreply: yes", Class::AutoReply),
            ("X-Autoreply: no", Class::Human),
            ("Precedence: normal\nPrecedence: bulk", Class::AutoReply),
            ("Precedence: auto_reply", Class::AutoReply),
            ("Precedence: list", Class::List),
            ("List-Id: Users <users.example.org>", Class::List),
            ("List-Unsubscribe: <mailto:x@example.org>", Class::Human),
            ("List-Unsubscribe-Post: List-Unsubscribe=One-Click", Class::AutoReply),
            ("From: mail@example.org", Class::Human),
            ("X-Auto-Response-Suppress: All", Class::Human),
            ("X-Auto-Response-Suppress: All\nX-MS-Exchange-Inbox-Rules-Loop: a@b", Class::AutoReply),
            ("Return-Path: <>", Class::AutoReply),
            ("From: MAILER-DAEMON <>", Class::AutoReply),
            ("Subject: Out of Office: holiday", Class::AutoReply),
            ("Subject: Automatische Antwort: Urlaub", Class::AutoReply),
            ("Subject: Out of office chairs", Class::Human),
            ("Subject: Re: Automatic reply: holiday", Class::Human),
            ("X-Mail-Autoreply: x", Class::AutoReply),
            ("X-Autogenerated: Reply", Class::AutoReply),
            ("Subject: Automatic reply does not work", Class::Human),
            (
                "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
                Class::AutoReply,
            ),
            ("Content-Type: multipart/report; report-type=feedback-report; boundary=b", Class::Feedback),
            ("Content-Type: multipart/report; report-type=delivery-status; boundary=b", Class::Bounce),
        ];
        for (fields, want) in cases {
            assert_eq!(classify(&mail(fields)), want, "{fields}");
        }
    }

    #[test]
    fn acknowledgements_go_to_people_only() {
        let own = ["support@example.net".to_owned()];
        let cases = [
            ("Subject: Hello", true),
            ("X-Auto-Response-Suppress: DR, OOF, AutoReply", false),
            ("X-Auto-Response-Suppress: RN", true),
            ("From: Support <Support@example.net>", false),
            ("From: support+t1.x@example.net", false),
            ("Reply-To: support@example.net", false),
            ("X-Loop: support@example.net", false),
            ("Return-Path: <>", false),
            ("From: nobody", false),
            ("Auto-Submitted: auto-generated", false),
        ];
        for (fields, want) in cases {
            assert_eq!(may_acknowledge(&mail(fields), &own), want, "{fields}");
        }
    }
}
