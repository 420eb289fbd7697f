//! What people get from us: text and HTML, in their thread, and what of it comes back is cut off again.

use ticketd::mail::parse::{Mail as Read, parse};
use ticketd::mail::reply;
use ticketd::people::Role;

use crate::harness::desk::{Desk, Plan};
use crate::harness::mail::{header, mail, text};

const ADA: &str = "Ada <ada@example.net>";
const WITH_HISTORY: &str = "[mail]\nquote_history = true\n";
const ANSWER: &str = "Hello Ada,\n\nyour refund is **on its way**:\n- <b>10</b> EUR\n- see https://example.org/r?a=1&b=2\n\n\
                      Please answer if it does not arrive.";

/// A desk where Bea has answered Ada, and what Ada got.
async fn answered(more: &str) -> (Desk, String) {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of <my> invoice.\n> as you said\n\nAda")).await;
    let bea = desk.logs_in("Bea").await;
    desk.answers(&bea, 1001, ANSWER, false).await;
    let reply = desk.last_mail_to("ada@example.net");
    (desk, reply)
}

fn read(mail: &str) -> Read {
    parse(mail.as_bytes())
}

#[tokio::test]
async fn an_answer_goes_as_it_was_written_and_as_html_beside_it() {
    let (desk, reply) = answered("").await;
    assert!(header(&reply, "Content-Type").is_some_and(|kind| kind.starts_with("multipart/alternative")));
    assert_eq!(text(&reply).trim_end(), format!("{ANSWER}\n\n-- \nBea"));
    insta::assert_snapshot!(read(&reply).html.unwrap_or_default(), @r#"
    <!DOCTYPE html>
    <html><body><div dir="auto">
    <p>Hello Ada,</p>
    <p>your refund is <strong>on its way</strong>:</p>
    <ul>
    <li>&lt;b&gt;10&lt;/b&gt; EUR</li>
    <li>see <a href="https://example.org/r?a=1&amp;b=2" rel="noopener">https://example.org/r?a=1&amp;b=2</a></li>
    </ul>
    <p>Please answer if it does not arrive.</p>
    <p>-- <br>
    Bea</p>
    </div></body></html>
    "#);
    let acknowledgement = &desk.mails_to("ada@example.net")[0];
    assert_eq!(read(&acknowledgement.text()).html, None, "a program writes text alone");
    assert_eq!(read(&desk.last_mail_to("bea@example.org")).html, None, "and so does a notice");
    desk.close().await;
}

#[tokio::test]
async fn what_is_answered_stands_below_the_answer_where_that_is_wanted() {
    let (desk, reply) = answered(WITH_HISTORY).await;
    let (_, below) =
        text(&reply).split_once("-- \n").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a signature");
    insta::assert_snapshot!(below, @"
    Bea

    On 21 Nov 2026 at 09:00 UTC, Ada wrote:

    > I want a refund of <my> invoice.
    >> as you said
    >
    > Ada
    ");
    let html = read(&reply).html.unwrap_or_default();
    let (_, below) = html.split_once("-- ").expect("a signature");
    insta::assert_snapshot!(below, @r#"
    <br>
    Bea</p>
    <p>On 21 Nov 2026 at 09:00 UTC, Ada wrote:</p>
    <blockquote type="cite" style="margin:0 0 0 0.8em;border-left:2px solid #cccccc;padding-left:0.8em">I want a refund of &lt;my&gt; invoice.<br>
    &gt; as you said<br>
    <br>
    Ada</blockquote>
    </div></body></html>
    "#);
    desk.close().await;
}

/// A mail as it comes back under an answer, in the manner of a mail program: content type and body.
fn returned(ours: &Read) -> Vec<(&'static str, &'static str, String)> {
    let cited = ours.text.lines().fold(String::new(), |out, line| out + "> " + line + "\n");
    let html = ours.html.clone().unwrap_or_default();
    vec![
        (
            "Gmail",
            "plain",
            format!(
                "Thanks!\n\nOn Sat, Nov 21, 2026 at 10:00 AM Bea (Support) <support@example.org>\nwrote:\n\n{cited}"
            ),
        ),
        ("Thunderbird", "plain", format!("Am 21.11.26 um 10:00 schrieb Bea (Support):\n{cited}\nThanks!\n")),
        (
            "Outlook",
            "plain",
            format!(
                "Thanks!\n\n________________________________\nFrom: Bea (Support) <support@example.org>\nSent: Saturday, November 21, 2026 \
             10:00 AM\nTo: Ada <ada@example.net>\nSubject: Re: [#1001] Refund\n\n{}",
                ours.text
            ),
        ),
        (
            "Apple Mail",
            "plain",
            format!(
                "Thanks!\n\nAda\n\n> On 21. Nov 2026, at 10:00, Bea (Support) <support@example.org> wrote:\n> \n{cited}"
            ),
        ),
        (
            "Gmail as HTML",
            "html",
            format!(
                "<div dir=\"ltr\">Thanks!</div><br><div class=\"gmail_quote\"><div dir=\"ltr\" class=\"gmail_attr\">On Sat, Nov 21, 2026 \
             at 10:00 AM Bea (Support) &lt;<a href=\"mailto:support@example.org\">support@example.org</a>&gt; wrote:<br></div>\
             <blockquote class=\"gmail_quote\">{html}</blockquote></div>"
            ),
        ),
        (
            "Outlook as HTML",
            "html",
            format!(
                "<div class=\"WordSection1\"><p class=\"MsoNormal\">Thanks!</p><div><div style=\"border:none;border-top:solid #E1E1E1 1.0pt;\
             padding:3.0pt 0in 0in 0in\"><p class=\"MsoNormal\"><b>From:</b> Bea (Support) &lt;support@example.org&gt;<br>\
             <b>Sent:</b> Saturday<br><b>To:</b> Ada<br><b>Subject:</b> Re: [#1001] Refund</p></div></div>{html}</div>"
            ),
        ),
    ]
}

#[tokio::test]
async fn of_a_requesters_answer_only_what_is_new_is_shown_whatever_their_program_cites() {
    let (desk, reply) = answered(WITH_HISTORY).await;
    for (program, kind, body) in returned(&read(&reply)) {
        let answer = mail(ADA, "", &body)
            .answering(&reply)
            .with("Content-Type", &format!("text/{kind}; charset=utf-8"));
        let shown = reply::visible(&parse(&answer.raw()));
        assert_eq!(shown.replace("\n\nAda", ""), "Thanks!", "{program}");
        desk.handles(&answer).await;
    }
    let inbound = desk.conversation(1001).await.into_iter().filter(|m| m.kind == "inbound").count();
    assert_eq!(inbound, 7, "every one of them joined the ticket");
    desk.close().await;
}
