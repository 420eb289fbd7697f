//! Staff answers by mail: what proves it, and that nothing which is for staff only reaches a customer.

use serde_json::json;
use ticketd::people::Role;

use crate::harness::desk::{Desk, Plan};
use crate::harness::gemini::{Answer, FakeGemini, KEY};
use crate::harness::mail::{Mail, header, mail, text};

const ADA: &str = "Ada <ada@example.net>";
const BEA: &str = "Bea <bea@example.org>";
const QUESTION: &str =
    "Hello,\n\nyour invoice 4711 was charged twice.\n\nWhen do I get my money back?\n\nAda";

/// A desk where Gemini has something to say, and Bea gets what is about money.
async fn desk() -> (Desk, FakeGemini) {
    let gemini = FakeGemini::start().await;
    gemini.otherwise(Answer::Judge(json!({
        "category": "billing", "priority": "high", "language": "en", "skills": ["billing"],
        "notes": "Known as a litigious customer.\nDo not promise anything before legal has looked at it, they asked for that twice already.",
        "suggested_reply": "Please accept our apologies.\nWe will look into it.", "confidence": 0.9})));
    let more = format!("[gemini]\napi_key = \"{KEY}\"\nbase_url = \"{}\"", gemini.base_url());
    let desk = Desk::with(Plan { more, ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires_with("Bea", Role::Moderator, &[("billing", 5)], Some(1000), false).await;
    (desk, gemini)
}

/// Ada's question, and the notice that Bea got.
async fn ada_asks(desk: &Desk) -> String {
    desk.handles(&mail(ADA, "Charged twice", QUESTION)).await;
    let notice = desk.last_mail_to("bea@example.org");
    assert!(text(&notice).contains("litigious") && text(&notice).contains("Why you:"), "{}", text(&notice));
    notice
}

fn assert_nothing_leaked(desk: &Desk, style: &str) {
    let staffs = [
        "litigious",
        "legal",
        "Why you",
        "1 of 1 skill",
        "Notes (",
        "Suggested answer",
        "apologies",
        "do not forward",
        "Write your answer",
        "Priority:",
        "wrote:",
        "From:",
    ];
    for sent in desk.mails_to("ada@example.net") {
        let said = text(&sent.text());
        for remark in staffs {
            assert!(!said.contains(remark), "{style}: `{remark}` left the house:\n{said}");
        }
    }
}

fn quoted(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("> {line}").trim_end().to_owned() + "\n").collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>\n")
}

/// The part of the notice from the line that begins with `from` up to the one that begins with `to`.
fn cut<'a>(notice: &'a str, from: &str, to: &str) -> &'a str {
    let start = notice.find(from).expect("the first line");
    let end = notice.get(start..).and_then(|rest| rest.find(to)).expect("the last line");
    notice.get(start..start + end).expect("a part of it")
}

const GMAIL: &str = "On Sat, Nov 21, 2026 at 10:00 AM Support <support@example.org> wrote:";
const OUTLOOK: &str = "-----Original Message-----\nFrom: Support <support@example.org>\nSent: Saturday, November 21, 2026 10:00 AM\nTo: Bea\nSubject: Re: [#1001] Charged twice\n";

/// A way of answering: its name, the body, and what of it reaches Ada; `None`: it is kept as a note and Bea is told.
type Style = (&'static str, String, Option<&'static str>);

fn styles(notice: &str) -> Vec<Style> {
    let all = quoted(notice);
    let question = "> > your invoice 4711 was charged twice.".replace("> >", "> |");
    let remarks = quoted(cut(notice, "Notes (", "Suggested"));
    let head = quoted(cut(notice, "Ticket #", "Category:"));
    let without_line = cut(notice, "Ticket #", "Answer this mail");
    vec![
        ("top", format!("We return it.\n\n{GMAIL}\n\n{all}"), Some("We return it.")),
        ("top, a name in a wrapped introduction",
         format!("We return it.\n\nOn Sat, Nov 21, 2026 at 10:00 AM Support\n<support@example.org> wrote:\n\n{all}"),
         Some("We return it.")),
        ("top, nothing marked", format!("We return it.\n\n{GMAIL}\n\n{notice}"), Some("We return it.")),
        ("top, Outlook", format!("We return it.\n\n{OUTLOOK}\n{notice}"), Some("We return it.")),
        ("bottom", format!("{GMAIL}\n\n{all}\nWe return it."), Some("We return it.")),
        ("bottom, without introduction", format!("{all}\nWe return it."), Some("We return it.")),
        ("inline", format!("{GMAIL}\n{head}\nHello Ada,\n\n{question}\n\nWe return it.\n\n{remarks}\nBye\n"),
         Some("Hello Ada,\n\n> your invoice 4711 was charged twice.\n\nWe return it.\n\nBye")),
        ("inline, all of it", {
            let (one, other) = ("was charged twice.\n", "When do I get my money back?\n");
            let answered = all.replace(one, &format!("{one}\nWe know.\n\n"));
            format!("{GMAIL}\n\n{}", answered.replace(other, &format!("{other}\nTomorrow.\n\n")))
        }, Some("> Hello,\n> your invoice 4711 was charged twice.\nWe know.\n> When do I get my money back?\nTomorrow.")),
        ("remarks quoted in the middle", format!("We return it.\n\n{remarks}\nAnd that is that, dear Ada.\n"),
         Some("We return it.\n\nAnd that is that, dear Ada.")),
        ("the line taken out", format!("We return it.\n\n{GMAIL}\n\n{without_line}"), Some("We return it.")),
        ("the line and the introduction taken out", format!("We return it.\n\n{without_line}"), None),
        ("a remark between own words",
         "We return it.\nDo not promise anything before legal has\nlooked at it, they asked for that twice already.\n".to_owned(),
         None),
        ("nothing but the notice", format!("{GMAIL}\n\n{all}"), None),
        ("nothing but the notice, nothing marked", format!("{GMAIL}\n\n{notice}"), None),
        ("nothing but the notice, Outlook", format!("{OUTLOOK}\n{notice}"), None),
        ("below the line", format!("{notice}\nWe return it.\n"), None),
        ("the suggestion, taken over", format!("We are sorry.\nWe will look into it.\n\n{GMAIL}\n\n{all}"),
         Some("We are sorry.\nWe will look into it.")),
    ]
}

fn html_styles(notice: &str) -> Vec<Style> {
    let whole = escaped(notice);
    let gmail = format!(
        "<div class=\"gmail_quote\"><div dir=\"ltr\" class=\"gmail_attr\">{}<br></div>\
         <blockquote class=\"gmail_quote\" style=\"margin:0 0 0 .8ex\">{whole}</blockquote></div>",
        escaped(GMAIL)
    );
    let outlook = "<div style=\"border:none;border-top:solid #E1E1E1 1.0pt\"><p class=\"MsoNormal\"><b>From:</b> Support \
         &lt;support@example.org&gt;<br><b>Sent:</b> Saturday, November 21, 2026 10:00 AM<br><b>To:</b> Bea<br>\
         <b>Subject:</b> Re: [#1001] Charged twice</p></div>";
    let (before, after) = whole.split_once("| When do I get my money back?<br>").expect("her question");
    vec![
        ("HTML, Gmail", format!("<div dir=\"ltr\">We return it.</div><br>{gmail}"), Some("We return it.")),
        (
            "HTML, bottom",
            format!(
                "<div>{}</div><blockquote type=\"cite\">{whole}</blockquote><div>We return it.</div>",
                escaped(GMAIL)
            ),
            Some("We return it."),
        ),
        (
            "HTML, Outlook",
            format!(
                "<div class=\"WordSection1\"><p class=\"MsoNormal\">We return it.</p>{outlook}<p>{whole}</p></div>"
            ),
            Some("We return it."),
        ),
        (
            "HTML, inline",
            format!(
                "<blockquote type=\"cite\">{before}| When do I get my money back?</blockquote><div>Tomorrow.</div>\
            <blockquote type=\"cite\">{after}</blockquote><div>Bye</div>"
            ),
            Some(
                "> Hello,\n> your invoice 4711 was charged twice.\n> When do I get my money back?\n\nTomorrow.\n\n> Ada\n\nBye",
            ),
        ),
        (
            "HTML, inline in Outlook, nothing marked",
            format!(
                "{outlook}<p>{before}| When do I get my money back?<br></p><p style=\"color:blue\">Tomorrow.</p><p>{after}</p>"
            ),
            None,
        ),
        ("HTML, nothing but the notice", format!("<div dir=\"ltr\"><br></div>{gmail}"), None),
    ]
}

/// Blank lines differ with the program that wrote the mail; they say nothing.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}

async fn answers_reach_ada_without_the_notice(kind: &str, styles: fn(&str) -> Vec<Style>) {
    let (desk, _gemini) = desk().await;
    let count = styles(&text(&ada_asks(&desk).await)).len();
    for number in 0..count {
        let notice = ada_asks(&desk).await;
        let (style, body, wanted) = styles(&text(&notice)).remove(number);
        let before = (desk.mails_to("ada@example.net").len(), desk.mails_to("bea@example.org").len());
        let html = mail(BEA, "", &body).with("Content-Type", &format!("text/{kind}; charset=utf-8"));
        desk.handles(&html.answering(&notice)).await;
        assert_nothing_leaked(&desk, style);
        let after = (desk.mails_to("ada@example.net").len(), desk.mails_to("bea@example.org").len());
        if let Some(wanted) = wanted {
            assert_eq!(after.0, before.0 + 1, "{style}: {:?}", desk.reasons().await.last());
            let got = text(&desk.last_mail_to("ada@example.net"));
            assert_eq!(lines(got.split("-- \nBea").next().unwrap_or_default()), lines(wanted), "{style}");
        } else {
            assert_eq!(after, (before.0, before.1 + 1), "{style}: a note, and Bea is told");
            let told = text(&desk.last_mail_to("bea@example.org"));
            assert!(told.contains("kept as a note"), "{style}: {told}");
        }
    }
    desk.close().await;
}

#[tokio::test]
async fn an_answer_in_plain_text_never_takes_the_notice_along() {
    answers_reach_ada_without_the_notice("plain", styles).await;
}

#[tokio::test]
async fn an_answer_in_html_never_takes_the_notice_along() {
    answers_reach_ada_without_the_notice("html", html_styles).await;
}

#[tokio::test]
async fn a_suggested_answer_that_staff_takes_over_is_sent() {
    let (desk, _gemini) = desk().await;
    let notice = ada_asks(&desk).await;
    let body = format!(
        "Please accept our apologies.\nWe will look into it.\n\n{GMAIL}\n\n{}",
        quoted(&text(&notice))
    );
    desk.handles(&mail(BEA, "", &body).answering(&notice)).await;
    let sent = text(&desk.last_mail_to("ada@example.net"));
    assert_eq!(lines(&sent), ["Please accept our apologies.", "We will look into it.", "-- ", "Bea"]);
    desk.close().await;
}

#[tokio::test]
async fn files_go_along_with_an_answer_but_never_the_notice_as_a_file() {
    let (desk, _gemini) = desk().await;
    let notice = ada_asks(&desk).await;
    let part = |kind: &str, content: &str| format!("--b\nContent-Type: {kind}\n\n{content}\n");
    let html =
        format!("<div>On Sat, Support wrote:</div><blockquote>{}</blockquote>", escaped(&text(&notice)));
    let body = [
        part("text/plain", "We return it."),
        part("application/pdf; name=refund.pdf", "%PDF-1.4"),
        part("text/plain; name=conditions.txt", "You get it back."),
        part("message/rfc822", &notice.replace('\r', "")),
        part("text/html", &html),
        part("text/plain; name=ATT00001.txt", &quoted(&text(&notice))),
        "--b--\n".to_owned(),
    ];
    let answer = mail(BEA, "", &body.concat()).with("Content-Type", "multipart/mixed; boundary=b");
    desk.handles(&answer.answering(&notice)).await;
    let sent = desk.last_mail_to("ada@example.net");
    let files = ticketd::mail::parse::parse(sent.as_bytes()).attachments;
    let names: Vec<_> = files.iter().filter_map(|file| file.filename.as_deref()).collect();
    assert_eq!(names, ["refund.pdf", "conditions.txt"], "{sent}");
    assert!(text(&sent).starts_with("We return it."));
    assert_nothing_leaked(&desk, "files");
    desk.close().await;
}

/// The mail is kept, staff is told why it went no further, and Ada gets nothing.
async fn is_kept_as_a_note(desk: &Desk, claim: &Mail, why: &str) {
    let (for_ada, for_bea) = (desk.mails_to("ada@example.net").len(), desk.mails_to("bea@example.org").len());
    desk.handles(claim).await;
    assert_eq!(desk.fates().await.last().map(String::as_str), Some("appended"));
    let note = desk.conversation(1001).await.pop().expect("a message");
    assert_eq!((note.kind.as_str(), note.unverified), ("note", true));
    assert_eq!(desk.mails_to("ada@example.net").len(), for_ada, "it reached the customer");
    assert_eq!(desk.mails_to("bea@example.org").len(), for_bea + 1, "staff was not told");
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains(why), "{told}");
    assert_eq!(desk.ticket(1001).await.status, "open", "a note moves nothing");
}

#[tokio::test]
async fn from_alone_gives_no_right_and_a_token_alone_neither() {
    let (desk, _gemini) = desk().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let notice = ada_asks(&desk).await;
    let acknowledgement = desk.last_mail_to("ada@example.net");
    // Bea at home, and Dora with Bea's notice.
    let why = "it answers a notice that was made for another person";
    for from in ["Bea <bea@home.example>", "Dora <dora@example.org>"] {
        is_kept_as_a_note(&desk, &mail(from, "", "We return it.").answering(&notice), why).await;
    }
    // Bea's address, but what she answers was made for Ada.
    let why = "it claims to come from staff, without the proof of a notice that was answered";
    is_kept_as_a_note(&desk, &mail(BEA, "", "We return it.").answering(&acknowledgement), why).await;
    assert_eq!(desk.participants(1001).await.len(), 1, "staff takes part in nothing by that");
    desk.close().await;
}

#[tokio::test]
async fn staffs_out_of_office_never_reaches_the_customer() {
    let (desk, _gemini) = desk().await;
    let notice = ada_asks(&desk).await;
    let told = desk.mails_to("bea@example.org").len();
    let away = |text: &str| mail(BEA, "", text).answering(&notice);
    let answers = [
        away("I am away (RFC 3834).").with("Auto-Submitted", "auto-replied"),
        away("I am away (Outlook).").with("Subject", "Automatic reply: [#1001] Charged twice"),
        away("I am away (Exchange).")
            .with("X-Auto-Response-Suppress", "All")
            .with("X-MS-Exchange-Inbox-Rules-Loop", "bea@example.org"),
        away("I am away (vacation).").with("Precedence", "bulk"),
        away("I am away (Notes).").with("Subject", "Out of Office: Re: [#1001] Charged twice"),
    ];
    for answer in &answers {
        desk.handles(answer).await;
    }
    assert_eq!(desk.mails_to("ada@example.net").len(), 1, "only the acknowledgement");
    assert_eq!(desk.mails_to("bea@example.org").len(), told, "no notice about machines");
    assert_eq!(desk.conversation(1001).await.len(), 6);
    assert!(desk.conversation(1001).await.iter().skip(1).all(|m| m.kind == "note"));
    let ticket = desk.ticket(1001).await;
    assert_eq!(ticket.status, "open", "nobody has answered");
    // And a person's answer after all that goes out.
    desk.handles(&mail(BEA, "", "I am back.").answering(&notice)).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("I am back."));
    assert_eq!(header(&desk.last_mail_to("ada@example.net"), "Auto-Submitted"), None);
    desk.close().await;
}

#[tokio::test]
async fn an_answer_to_a_closed_ticket_is_kept_and_staff_is_told() {
    let (desk, _gemini) = desk().await;
    let notice = ada_asks(&desk).await;
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Done.", true).await;
    desk.closes_what_is_resolved().await;
    let sent = desk.mails_to("ada@example.net").len();
    desk.handles(&mail(BEA, "", "One more thing.").answering(&notice)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), sent);
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("| One more thing.") && told.contains("the ticket is closed"), "{told}");
    desk.close().await;
}

#[tokio::test]
async fn a_member_of_staff_who_asks_is_a_requester_like_any_other() {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Cem", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail(BEA, "My invoice", "I was charged twice, I want a refund.")).await;
    let acknowledgement = desk.last_mail_to("bea@example.org");
    desk.handles(&mail(BEA, "", "It is invoice 7.").answering(&acknowledgement)).await;
    let said = desk.conversation(1001).await.pop().expect("a message");
    assert_eq!((said.kind.as_str(), said.unverified), ("inbound", false));
    assert_eq!(desk.ticket(1001).await.status, "open", "it is staff's turn");
    assert!(text(&desk.last_mail_to("cem@example.org")).contains("| It is invoice 7."));
    desk.close().await;
}

#[tokio::test]
async fn who_is_copied_by_staff_takes_part_and_her_answer_to_all_is_heard() {
    let (desk, _gemini) = desk().await;
    let notice = ada_asks(&desk).await;
    let signed = header(&notice, "Reply-To").expect("a Reply-To");
    let answer = mail(BEA, "", "We return it.")
        .with("Cc", "Ada <ada@example.net>, Carl <carl@example.com>, support@example.org")
        .answering(&notice);
    desk.handles(&answer).await;
    let part = |part: &str, address: &str| (part.to_owned(), address.to_owned());
    let both = [part("cc", "carl@example.com"), part("requester", "ada@example.net")];
    assert_eq!(desk.participants(1001).await, both);
    assert_eq!(desk.mails_to("carl@example.com").len(), 0, "he has it from her already");

    // They have Bea's own mail, with her signed address in To.
    let direct = String::from_utf8(answer.raw()).expect("text");
    let to_all = |from: &str, body: &str| {
        mail(from, "", body).answering(&direct).with("To", &format!("bea@example.org, {signed}"))
    };
    for (from, body) in [(ADA, "Thank you, but when?"), ("Carl <carl@example.com>", "Tomorrow.")] {
        desk.handles(&to_all(from, body)).await;
        let said = desk.conversation(1001).await.pop().expect("a message");
        assert_eq!((said.kind.as_str(), said.unverified), ("inbound", false), "{from}");
        assert_eq!(desk.ticket(1001).await.status, "open");
        assert!(text(&desk.last_mail_to("bea@example.org")).contains(&format!("| {body}")));
    }
    // Bea's own id is all that is left.
    let id = answer.header("Message-ID").expect("an id").to_owned();
    desk.handles(&mail("Dan <dan@example.com>", "Money", "I know more.").with("In-Reply-To", &id)).await;
    assert_eq!((desk.tickets().await, desk.conversation(1001).await.len()), (1, 5));
    desk.close().await;
}

#[tokio::test]
async fn a_copy_to_staff_gives_nobody_their_voice() {
    let (desk, _gemini) = desk().await;
    desk.handles(&mail("Eve <eve@example.com>", "Charged twice", QUESTION).with("Cc", BEA)).await;
    let forged = mail(BEA, "[#1001] Charged twice", "I checked his identity, reset the password.");
    is_kept_as_a_note(&desk, &forged, "it claims to come from staff").await;
    desk.close().await;
}

#[tokio::test]
async fn lines_that_staff_marked_as_quoted_are_not_taken_out_in_silence() {
    let (desk, _gemini) = desk().await;
    let notice = ada_asks(&desk).await;
    let body = "Run this:\n> net stop spooler\n> net start spooler\nThen retry.";
    is_kept_as_a_note(&desk, &mail(BEA, "", body).answering(&notice), "lines that begin with >").await;
    desk.close().await;
}
