//! How content requesters were: asked once by mail, answered by a link, without a log-in and without a script.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use ticketd::people::Role;

use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::mail::{header, mail, text};

const SURVEY: &str = "[mail]\nsurvey = true\n[http]\npublic_url = \"https://help.example.org/\"\n";

async fn desk(more: &str) -> (Desk, Api) {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail("Ada <ada@example.net>", "My <b>invoice</b>", "I want a refund of my invoice.")).await;
    let bea = desk.logs_in("Bea").await;
    (desk, bea)
}

/// The path of the link in the newest mail to Ada.
fn link(desk: &Desk) -> String {
    let mail = text(&desk.last_mail_to("ada@example.net"));
    let (_, link) = mail.split_once("https://help.example.org").expect("a link");
    link.split_whitespace().next().expect("a link").to_owned()
}

#[tokio::test]
async fn the_requester_is_asked_once_and_answers_by_the_link() {
    let (desk, bea) = desk(SURVEY).await;
    desk.answers(&bea, 1001, "Done.", true).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Done."), "the answer comes first");
    desk.later(TimeDelta::minutes(1)).await;
    let mails = desk.mails_to("ada@example.net").len();
    let survey = desk.last_mail_to("ada@example.net");
    assert!(text(&survey).contains("How content are you with what we did?"), "{survey}");
    assert_eq!(header(&survey, "Auto-Submitted").as_deref(), Some("auto-generated"));
    assert!(
        desk.mails_to("ada@example.net").last().is_some_and(|m| m.mail_from == "<>"),
        "nothing answers it"
    );
    let path = link(&desk);
    assert!(path.starts_with("/rate/r1001.p"), "{path}");

    // Looking at it does nothing; it is a page without anything that runs.
    let nobody = bea.nobody();
    let page = nobody.read(&path).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(
        page.text().contains("My &lt;b&gt;invoice&lt;/b&gt;") && !page.text().contains("<script"),
        "{}",
        page.text()
    );
    assert!(page.header("content-security-policy").contains("form-action 'self'"));
    assert_eq!(desk.count("SELECT count(*) FROM csat_answers").await, 0);

    let form = |body: &'static str| {
        let ask =
            nobody.ask(&Method::POST, &path).header("content-type", "application/x-www-form-urlencoded");
        ask.body(body).send()
    };
    let thanks = form("score=2&comment=Too+slow%00%3Cb%3E").await;
    assert!(thanks.status == 200 && thanks.text().contains("Thank you"), "{}", thanks.text());
    assert!(nobody.read(&path).await.text().contains("Too slow&lt;b&gt;"), "their answer stands in the form");
    for wrong in ["score=6", "score=0", "score=x", "comment=x", ""] {
        assert_eq!(form(wrong).await.status, 400, "{wrong}");
    }
    desk.later(TimeDelta::days(13)).await;
    let api = path.replace("/rate/", "/api/csat/");
    let long = "é".repeat(3000);
    let changed = nobody.posts(&api, &json!({"score": 5, "comment": long})).await.with(200);
    assert_eq!(changed.pointer("/comment").and_then(Value::as_str).map(|c| c.chars().count()), Some(2000));
    desk.clock.advance(TimeDelta::days(2));
    let late = nobody.posts(&api, &json!({"score": 1})).await;
    assert_eq!(late.problem(), "409: the rating can no longer be changed");
    assert_eq!(form("score=1").await.status, 409);
    let bea = desk.logs_in("Bea").await;
    let detail = bea.read("/api/tickets/1001").await.with(200);
    assert_eq!(detail.pointer("/rating/score"), Some(&json!(5)));
    let events = desk.events(1001).await;
    let scores: Vec<&Value> = events.iter().filter(|e| e.kind == "csat").map(|e| &e.data["score"]).collect();
    assert_eq!(scores, [&json!(2), &json!(5)]);

    // Resolved again, nobody asks again.
    bea.does("/api/tickets/1001/reopen").await.with(200);
    bea.patches("/api/tickets/1001", &json!({"status": "resolved"})).await.with(200);
    desk.later(TimeDelta::minutes(2)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), mails);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_link_is_good_for_its_ticket_alone_and_cannot_be_made_up() {
    let (desk, bea) = desk(SURVEY).await;
    desk.handles(&mail("Eve <eve@example.net>", "Other", "Another refund of an invoice.")).await;
    desk.answers(&bea, 1001, "Done.", true).await;
    desk.later(TimeDelta::minutes(1)).await;
    let (nobody, path) = (bea.nobody(), link(&desk));
    let token = path.trim_start_matches("/rate/").to_owned();
    let forged = [
        token.replace("1001", "1002"),
        format!("{token}x"),
        token.replacen('r', "t", 1),
        "x".to_owned(),
        "%00".to_owned(),
        "r1001.p1.aaaaaaaaaaaaaaaa".to_owned(),
    ];
    for token in forged {
        assert_eq!(nobody.read(&format!("/rate/{token}")).await.status, 404, "{token}");
        assert_eq!(
            nobody.posts(&format!("/api/csat/{token}"), &json!({"score": 1})).await.status,
            404,
            "{token}"
        );
    }
    assert_eq!(
        nobody.posts(&format!("/api/csat/{token}"), &json!({"score": 7})).await.problem(),
        "400: score: a score is from 1 to 5"
    );
    assert_eq!(desk.count("SELECT count(*) FROM csat_answers").await, 0);
    desk.close().await;
}

#[tokio::test]
async fn who_says_at_once_that_it_is_not_solved_is_asked_when_it_is() {
    let (desk, bea) = desk(SURVEY).await;
    desk.answers(&bea, 1001, "Done.", true).await;
    let received = desk.last_mail_to("ada@example.net");
    desk.handles(&mail("Ada <ada@example.net>", "", "It is not.").answering(&received)).await;
    desk.later(TimeDelta::minutes(2)).await;
    assert!(!desk.sink.mails().iter().any(|m| m.text().contains("How content")), "she is angry enough");
    desk.answers(&bea, 1001, "Now it is.", true).await;
    desk.later(TimeDelta::minutes(2)).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).contains("How content"));
    desk.close().await;
}

#[tokio::test]
async fn nobody_is_asked_where_it_is_switched_off_or_they_resolved_it_themselves() {
    let (desk, bea) = desk("").await;
    desk.answers(&bea, 1001, "Done.", true).await;
    assert_eq!(desk.count("SELECT count(*) FROM deliveries WHERE kind = 'survey'").await, 0);
    desk.close().await;

    let (desk, _) = self::desk(SURVEY).await;
    desk.registers("Ada").await;
    let ada = desk.logs_in("Ada").await;
    ada.posts("/api/tickets", &json!({"subject": "x", "body": "A refund."})).await.with(201);
    desk.settle().await;
    ada.posts("/api/tickets/1002/messages", &json!({"body": "Solved.", "resolve": true})).await.with(201);
    desk.settle().await;
    assert_eq!(desk.ticket(1002).await.status, "resolved");
    assert_eq!(desk.count("SELECT count(*) FROM deliveries WHERE kind = 'survey'").await, 0);
    desk.close().await;
}
