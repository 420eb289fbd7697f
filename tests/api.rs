//! The HTTP API as a client meets it: who gets in, who sees what, and what a wrong request is told.

#![expect(clippy::indexing_slicing, reason = "a test that finds nothing where it looks is to fail")]

use chrono::TimeDelta;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use ticketd::ids::{InboundId, MessageId, PersonId, TicketId};
use ticketd::people::{self, Role};
use ticketd::tickets::actions::{self, Act, Revision};
use ticketd::tickets::{self, Channel};

use crate::harness::desk::{Api, Desk, Plan, STAFF_PASSWORD};
use crate::harness::mail::mail;

const ADA: &str = "Ada <ada@example.org>";
const PROBLEM: &str = "application/problem+json";

/// Bea and Nik are moderators, Dora is an admin; Ada has ticket #1001 (Bea's) and her account, Eve has #1002 (Nik's).
async fn desk(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.handles(&mail("Eve <eve@example.org>", "Router", "My router and its firewall are broken.")).await;
    for name in ["Ada", "Eve"] {
        let address = format!("{}@example.org", name.to_lowercase());
        let mut tx = desk.db.begin().await.expect("a transaction");
        let person = people::by_address(&mut tx, &address, name, desk.clock.now()).await.expect("a person");
        tx.commit().await.expect("a commit");
        people::set_password(&desk.db, person, STAFF_PASSWORD.into(), desk.clock.now())
            .await
            .expect("a password");
    }
    desk
}

/// Without a token, or with this one.
fn stranger(api: &Api, token: Option<&str>) -> Api {
    let mut stranger = api.clone();
    stranger.token = token.map(str::to_owned);
    stranger
}

/// An answer with its headers.
struct Raw {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Raw {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// Status and detail of a problem, which has all that RFC 9457 wants.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), PROBLEM, "{} {}", self.status, self.body);
        let body = self.json();
        assert_eq!((&body["status"], &body["type"]), (&json!(self.status), &json!("about:blank")), "{body}");
        assert!(body["title"].is_string(), "{body}");
        format!("{}: {}", self.status, body["detail"].as_str().expect("a detail"))
    }
}

async fn ask(api: &Api, method: Method, path: &str, body: Option<&str>) -> Raw {
    let client = Client::builder().no_proxy().build().expect("a client");
    let mut request = client.request(method, format!("{}{path}", api.base));
    if let Some(token) = &api.token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Raw { status, headers, body: answer.text().await.expect("a body") }
}

async fn get(api: &Api, path: &str) -> Raw {
    ask(api, Method::GET, path, None).await
}

async fn post(api: &Api, path: &str, body: &str) -> Raw {
    ask(api, Method::POST, path, Some(body)).await
}

fn login(email: &str, password: &str) -> String {
    json!({"email": email, "password": password}).to_string()
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    let right = post(&bea, "/api/auth/login", &login(" BEA@Example.org", STAFF_PASSWORD)).await;
    assert_eq!(right.status, 200);
    let told = right.json();
    assert_eq!((&told["token_type"], &told["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(
        told["person"],
        json!({"id": 1, "name": "Bea", "role": "moderator", "email": "bea@example.org"})
    );

    let wrong = post(&bea, "/api/auth/login", &login("bea@example.org", "wrong password")).await;
    insta::assert_snapshot!(wrong.problem(), @"401: address or password is wrong");
    let long = "x".repeat(100_000);
    for (email, password) in [
        ("nobody@example.org", STAFF_PASSWORD),
        ("", ""),
        ("bea@example.org", ""),
        ("bea@example.org", &long),
        ("bea@example.org' OR '1'='1", STAFF_PASSWORD),
    ] {
        let other = post(&bea, "/api/auth/login", &login(email, password)).await;
        assert_eq!((other.status, &other.body), (wrong.status, &wrong.body), "{email:?}");
    }
    desk.close().await;
}

#[tokio::test]
async fn a_token_ends_with_its_time_its_password_and_its_person_and_cannot_be_forged() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    assert_eq!(get(&bea, "/api/tickets").await.status, 200);
    let no_token = get(&stranger(&bea, None), "/api/tickets").await;
    insta::assert_snapshot!(no_token.problem(), @"401: log in first: send `Authorization: Bearer` with a token from POST /api/auth/login");
    assert_eq!(no_token.header("www-authenticate"), "Bearer");

    let token = bea.token.clone().expect("a token");
    let parts: Vec<&str> = token.split('.').collect();
    // {"alg":"none","typ":"JWT"}, and somebody else's number in the claims.
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let forged = [
        String::new(),
        "x".to_owned(),
        "ä".to_owned(),
        format!("{none}.{}.", parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1].replacen('a', "b", 1), parts[2]),
        format!("{token}x"),
        "a.".repeat(5000),
    ];
    for forged in &forged {
        let answer = get(&stranger(&bea, Some(forged)), "/api/tickets").await;
        assert_eq!(answer.status, 401, "{forged:.40}");
    }
    let basic = Client::builder().no_proxy().build().expect("a client");
    let basic =
        basic.get(format!("{}/api/tickets", bea.base)).basic_auth("bea@example.org", Some(STAFF_PASSWORD));
    assert_eq!(basic.send().await.expect("an answer").status().as_u16(), 401);

    desk.clock.advance(TimeDelta::minutes(15));
    assert_eq!(get(&bea, "/api/tickets").await.status, 401, "it has expired");
    let bea = desk.logs_in("Bea").await;
    let id = ticketd::ids::PersonId(1);
    people::set_password(&desk.db, id, "another password".into(), desk.clock.now())
        .await
        .expect("a password");
    assert_eq!(get(&bea, "/api/tickets").await.status, 401, "a new password ends every log-in");
    let nik = desk.logs_in("Nik").await;
    sqlx::query("UPDATE persons SET active = FALSE WHERE name = 'Nik'")
        .execute(&desk.db)
        .await
        .expect("Nik leaves");
    assert_eq!(get(&nik, "/api/tickets").await.status, 401, "who left has no rights");
    let again = post(&nik, "/api/auth/login", &login("nik@example.org", STAFF_PASSWORD)).await;
    insta::assert_snapshot!(again.problem(), @"401: address or password is wrong");
    desk.close().await;
}

#[tokio::test]
async fn a_requester_sees_their_own_tickets_and_nothing_that_is_for_staff() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    let note = json!({"body": "He is angry.", "visibility": "internal"}).to_string();
    assert_eq!(post(&bea, "/api/tickets/1001/messages", &note).await.status, 201);
    let ada = desk.logs_in("Ada").await;
    let list = get(&ada, "/api/tickets").await.json();
    let numbers: Vec<_> =
        list["tickets"].as_array().expect("tickets").iter().map(|t| t["number"].clone()).collect();
    assert_eq!(numbers, [1001]);
    let mine = get(&ada, "/api/tickets/1001").await;
    assert_eq!(mine.status, 200);
    let ticket = mine.json();
    assert_eq!((&ticket["status"], &ticket["assignee_name"]), (&json!("open"), &json!("Bea")));
    assert_eq!(ticket["required_skills"], json!(["billing"]));
    for secret in
        ["angry", "triage", "deliveries", "matched", "bea@example.org", "confidence", "1 of 1 skill"]
    {
        assert!(!mine.body.contains(secret), "`{secret}` in {}", mine.body);
    }
    let messages = get(&ada, "/api/tickets/1001/messages").await.json();
    assert_eq!(messages["messages"].as_array().map(Vec::len), Some(1), "{messages}");

    // Another's ticket does not exist for her; what is for staff is forbidden, notes of hers too.
    let not_found = "404: there is nothing here, or nothing that you may see";
    for path in ["/api/tickets/1002", "/api/tickets/1002/messages", "/api/tickets/9999"] {
        assert_eq!(get(&ada, path).await.problem(), not_found, "{path}");
    }
    for path in ["/api/tickets/1001/assignment", "/api/tickets/1001/events"] {
        assert_eq!(get(&ada, path).await.problem(), "403: your role does not allow that", "{path}");
    }
    let note = "{\"body\": \"Hello?\", \"visibility\": \"internal\"}";
    let answer = post(&ada, "/api/tickets/1001/messages", note).await;
    assert_eq!(answer.problem(), "403: your role does not allow that");

    // Staff's public answer she sees, without Bea's own address.
    assert_eq!(post(&bea, "/api/tickets/1001/messages", "{\"body\": \"Coming.\"}").await.status, 201);
    desk.later(TimeDelta::seconds(10)).await;
    let seen = get(&ada, "/api/tickets/1001").await;
    assert!(seen.body.contains("Coming.") && !seen.body.contains("bea@example.org"), "{}", seen.body);
    desk.close().await;
}

#[tokio::test]
async fn a_moderator_may_be_shown_only_what_concerns_them() {
    let desk = desk("[assignment]\nmoderators_see_all = false\n").await;
    desk.handles(&mail(ADA, "Hm", "Wobble flummox.")).await;
    sqlx::query("UPDATE tickets SET assignee_id = NULL, status = 'new' WHERE id = 1003")
        .execute(&desk.db)
        .await
        .expect("nobody has it");
    let numbers = async |name: &str| {
        let list = get(&desk.logs_in(name).await, "/api/tickets").await.json();
        list["tickets"]
            .as_array()
            .expect("tickets")
            .iter()
            .map(|t| t["number"].as_i64().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers("Bea").await, [1003, 1001], "her own, and what nobody has");
    assert_eq!(numbers("Nik").await, [1003, 1002]);
    assert_eq!(numbers("Dora").await, [1003, 1002, 1001], "an admin sees all");
    let bea = desk.logs_in("Bea").await;
    for path in ["/api/tickets/1002", "/api/tickets/1002/assignment", "/api/tickets/1002/events"] {
        assert_eq!(get(&bea, path).await.status, 404, "{path}");
    }
    assert_eq!(post(&bea, "/api/tickets/1002/messages", "{\"body\": \"Hi\"}").await.status, 404);
    // Her skill is wanted, though Nik has it.
    sqlx::query("UPDATE tickets SET assignee_id = 2 WHERE id = 1001")
        .execute(&desk.db)
        .await
        .expect("Nik has it");
    assert_eq!(get(&bea, "/api/tickets/1001").await.status, 200);
    desk.close().await;

    let desk = self::desk("").await;
    assert_eq!(get(&desk.logs_in("Bea").await, "/api/tickets/1002").await.status, 200, "usually all see all");
    desk.close().await;
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong_with_it() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    let messages = "/api/tickets/1001/messages";
    insta::assert_snapshot!(post(&bea, messages, "{\"body\": ").await.problem(), @"400: the body is not JSON: EOF while parsing a value at line 1 column 9");
    insta::assert_snapshot!(post(&bea, messages, "{}").await.problem(), @"400: missing field `body`");
    insta::assert_snapshot!(post(&bea, messages, "{\"body\": 7}").await.problem(), @"400: body: invalid type: integer `7`, expected a string");
    insta::assert_snapshot!(post(&bea, messages, "{\"body\": \"x\", \"visible\": \"public\"}").await.problem(), @"400: visible: unknown field `visible`, expected one of `body`, `visibility`, `resolve`, `attachments`");
    insta::assert_snapshot!(post(&bea, messages, "{\"body\": \"x\", \"visibility\": \"secret\"}").await.problem(), @"400: visibility: unknown variant `secret`, expected `public` or `internal`");
    insta::assert_snapshot!(post(&bea, messages, "{\"body\": \" \\n \"}").await.problem(), @"400: the answer is empty");
    insta::assert_snapshot!(post(&bea, messages, "{\"body\": \"a\\u0000b\"}").await.problem(), @r"400: the body holds a NUL character (\u0000)");
    let huge = json!({"body": "x".repeat(2 << 20)}).to_string();
    insta::assert_snapshot!(post(&bea, messages, &huge).await.problem(), @"413: the request has more bytes than are taken");
    insta::assert_snapshot!(ask(&bea, Method::POST, messages, None).await.problem(), @"415: send JSON, and say so: `Content-Type: application/json`");
    insta::assert_snapshot!(post(&bea, "/api/auth/login", "{\"email\": \"a\", \"pasword\": \"b\"}").await.problem(), @"400: pasword: unknown field `pasword`, expected one of `email`, `password`, `code`, `cookie`");
    insta::assert_snapshot!(get(&bea, "/api/tickets?limit=many").await.problem(), @"400: Failed to deserialize query string: limit: invalid digit found in string");
    insta::assert_snapshot!(get(&bea, "/api/tickets?limit=0").await.problem(), @"400: limit is from 1 to 100");
    insta::assert_snapshot!(get(&bea, "/api/tickets?status=done").await.problem(), @"400: `done` is no status: new, open, pending, resolved, closed");
    insta::assert_snapshot!(get(&bea, "/api/tickets?cursor=1001").await.problem(), @"400: cursor is not one that was given out for this list");
    let strange = json!({"two\nlines ".repeat(5000): 1}).to_string();
    let cited = post(&bea, messages, &strange).await.problem();
    assert!(cited.starts_with("400: two lines two lines") && cited.ends_with('…'), "{cited}");
    assert!(!cited.contains('\n') && cited.chars().count() < 1100, "{cited}");
    insta::assert_snapshot!(get(&bea, "/api/tickets?stauts=open").await.problem(), @"400: Failed to deserialize query string: stauts: unknown field `stauts`, expected one of `limit`, `cursor`, `status`, `priority`, `category`, `skill`, `assignee`, `requester`, `tag`, `channel`, `overdue`, `created_since`, `updated_since`, `q`, `sort`, `deleted`");
    insta::assert_snapshot!(get(&bea, "/api/tickets/abc").await.problem(), @"404: there is nothing here, or nothing that you may see");
    insta::assert_snapshot!(get(&bea, "/api/tickets/99999999999999999999").await.problem(), @"404: there is nothing here, or nothing that you may see");
    insta::assert_snapshot!(get(&bea, "/api/nothing").await.problem(), @"404: there is nothing here, or nothing that you may see");
    let wrong_method = ask(&bea, Method::PUT, "/api/tickets/1001", None).await;
    insta::assert_snapshot!(wrong_method.problem(), @"405: this path does not take that method");
    assert_eq!(wrong_method.header("allow"), "GET,HEAD,PATCH,DELETE");
    assert_eq!(
        desk.count("SELECT count(*) FROM messages WHERE kind <> 'inbound'").await,
        0,
        "nothing was written"
    );
    desk.close().await;
}

#[tokio::test]
async fn a_closed_ticket_takes_no_answer_by_staff() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    let done = "{\"body\": \"Done.\", \"resolve\": true}";
    assert_eq!(post(&bea, "/api/tickets/1001/messages", done).await.status, 201);
    desk.later(TimeDelta::seconds(10)).await;
    sqlx::query("UPDATE tickets SET status = 'closed', closed_at = updated_at WHERE id = 1001")
        .execute(&desk.db)
        .await
        .expect("it is closed");
    let bea = desk.logs_in("Bea").await;
    let refused = post(&bea, "/api/tickets/1001/messages", "{\"body\": \"One more thing\"}").await;
    insta::assert_snapshot!(refused.problem(), @"409: ticket #1001 is closed: that cannot be done to it");
    let note = "{\"body\": \"x\", \"visibility\": \"internal\", \"resolve\": true}";
    assert_eq!(post(&bea, "/api/tickets/1001/messages", note).await.status, 409);
    assert_eq!(desk.count("SELECT count(*) FROM messages WHERE kind = 'note'").await, 0, "all or nothing");
    let note = "{\"body\": \"x\", \"visibility\": \"internal\"}";
    assert_eq!(post(&bea, "/api/tickets/1001/messages", note).await.status, 201);
    desk.close().await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_neither_skip_nor_repeat() {
    let desk = desk("").await;
    for number in 3..=7 {
        desk.gets(&mail(ADA, &format!("Number {number}"), "I want a refund of my invoice.")).await;
    }
    desk.fetches().await;
    desk.settle().await;
    let dora = desk.logs_in("Dora").await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(&dora, &format!("/api/tickets?limit=3{cursor}")).await.json();
        let tickets = page["tickets"].as_array().expect("tickets");
        seen.push(tickets.iter().map(|t| t["number"].as_i64().expect("a number")).collect::<Vec<_>>());
        // What is opened meanwhile does not shift the pages.
        if seen.len() == 1 {
            desk.handles(&mail(ADA, "Meanwhile", "I want a refund of my invoice.")).await;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [vec![1007, 1006, 1005], vec![1004, 1003, 1002], vec![1001]]);
    let exact = get(&dora, "/api/tickets?limit=8").await.json();
    assert_eq!((exact["tickets"].as_array().map(Vec::len), &exact["next_cursor"]), (Some(8), &Value::Null));
    let open = get(&dora, "/api/tickets?status=resolved").await.json();
    assert_eq!(open, json!({"tickets": [], "next_cursor": null}));
    desk.close().await;
}

/// Ada's question is edited, a second one deleted, and of Bea's two answers one is taken back.
async fn desk_with_a_past() -> Desk {
    let desk = desk("").await;
    desk.handles(&mail(ADA, "Re: [#1001] Refund", "You are all fools.")).await;
    let bea = desk.logs_in("Bea").await;
    let note = json!({"body": "He is angry.", "visibility": "internal"}).to_string();
    assert_eq!(post(&bea, "/api/tickets/1001/messages", &note).await.status, 201);
    desk.answers(&bea, 1001, "Coming <today>.", false).await;
    let written = post(&bea, "/api/tickets/1001/messages", "{\"body\": \"Never.\"}").await.json();
    let withdrawn = MessageId(written["id"].as_i64().expect("an id"));
    let mut tx = desk.db.begin().await.expect("a transaction");
    let ticket = tickets::lock(&mut tx, TicketId(1001)).await.expect("the ticket");
    let act = Act { by: PersonId(1), channel: Channel::Discord, now: desk.clock.now() };
    actions::undo(&mut tx, &ticket, withdrawn, act).await.expect("taken back");
    let messages = desk.conversation(1001).await;
    let (first, second) = (messages[0].id, messages[1].id);
    for (message, revision, ledger) in [
        (first, Revision::Edited("I want it twice."), 9001),
        (first, Revision::Edited("I want a credit note."), 9002),
        (second, Revision::Deleted, 9003),
    ] {
        let kept = actions::revise(&mut tx, &ticket, message, revision, InboundId(ledger), act).await;
        assert!(kept.expect("a revision"));
    }
    tx.commit().await.expect("a commit");
    desk.later(TimeDelta::seconds(10)).await;
    desk
}

#[tokio::test]
async fn what_was_edited_deleted_or_taken_back_is_shown_to_staff_and_gone_for_the_requester() {
    let desk = desk_with_a_past().await;
    let told = async |name: &str| {
        let messages = get(&desk.logs_in(name).await, "/api/tickets/1001/messages").await.json();
        let list = messages["messages"].as_array().expect("messages").iter();
        let told = list.map(|m| {
            let set = |key: &'static str| if m[key].is_string() { key } else { "" };
            let withdrawn = if m["withdrawn"] == json!(true) { "withdrawn" } else { "" };
            let (edited, deleted) = (set("edited_at"), set("deleted_at"));
            format!("{} {edited}{deleted}{withdrawn} | {} | {}", m["kind"], m["visible"], m["body"])
        });
        told.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told("Bea").await, @r#"
    "inbound" edited_at | "I want a credit note." | "I want a refund of my invoice.\n"
    "inbound" deleted_at | "You are all fools." | "You are all fools.\n"
    "note"  | "He is angry." | "He is angry."
    "outbound"  | "Coming <today>." | "Coming <today>."
    "outbound" withdrawn | "Never." | "Never."
    "#);
    insta::assert_snapshot!(told("Ada").await, @r#"
    "inbound" edited_at | "I want a credit note." | "I want a credit note."
    "outbound"  | "Coming <today>." | "Coming <today>."
    "#);
    let ada = desk.logs_in("Ada").await;
    let ticket = get(&ada, "/api/tickets/1001").await.body;
    for secret in ["fools", "Never.", "angry", "I want it twice."] {
        assert!(!ticket.contains(secret), "`{secret}` in {ticket}");
    }
    desk.close().await;
}

#[tokio::test]
async fn the_transcript_is_a_file_with_what_the_reader_may_see() {
    let desk = desk_with_a_past().await;
    let (bea, ada) = (desk.logs_in("Bea").await, desk.logs_in("Ada").await);
    let staffs = get(&bea, "/api/tickets/1001/transcript").await;
    let adas = get(&ada, "/api/tickets/1001/transcript").await;
    for answer in [&staffs, &adas] {
        assert_eq!(answer.status, 200);
        let headers = ["content-type", "content-disposition", "x-content-type-options", "cache-control"];
        let headers = headers.map(|name| answer.header(name).to_owned());
        let expected =
            ["text/html; charset=utf-8", "attachment; filename=\"ticket-1001.html\"", "nosniff", "no-store"];
        assert_eq!(headers, expected);
        assert!(
            answer.body.contains("I want a credit note.") && answer.body.contains("Coming &lt;today&gt;.")
        );
    }
    for internal in
        ["fools", "Never.", "angry", "I want it twice.", "1 of 1 skill", "bea@example.org", "Timeline"]
    {
        assert!(staffs.body.contains(internal), "`{internal}` is missing in {}", staffs.body);
        assert!(!adas.body.contains(internal), "`{internal}` in {}", adas.body);
    }
    assert_eq!(get(&ada, "/api/tickets/1002/transcript").await.status, 404, "another's");
    assert_eq!(get(&stranger(&ada, None), "/api/tickets/1001/transcript").await.status, 401);
    desk.close().await;
}

#[tokio::test]
async fn health_says_what_is_wrong_and_every_answer_is_guarded() {
    let desk = Desk::open().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let api = stranger(&desk.logs_in("Bea").await, None);
    let alive = get(&api, "/healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
    let ready = get(&api, "/readyz").await;
    assert_eq!(ready.status, 503, "no reader runs in this test: {}", ready.body);
    insta::assert_snapshot!(ready.body, @r#"{"alarms":[],"database":"ok","migrations":"ok","ready":false,"sources":{"support":"not read yet"}}"#);
    ticketd::ingest::note_health(&desk.db, &desk.clock, "support", None).await.expect("health");
    let ready = get(&api, "/readyz").await;
    assert_eq!(ready.status, 200);
    insta::assert_snapshot!(ready.body, @r#"{"alarms":[],"database":"ok","migrations":"ok","ready":true,"sources":{"support":"ok"}}"#);
    let failing = Some("the server refused login");
    ticketd::ingest::note_health(&desk.db, &desk.clock, "support", failing).await.expect("health");
    let ready = get(&api, "/readyz").await;
    assert_eq!(ready.status, 503);
    insta::assert_snapshot!(ready.body, @r#"{"alarms":[],"database":"ok","migrations":"ok","ready":false,"sources":{"support":{"checked_at":"2026-11-21T09:00:00Z","error":"the server refused login","failing_since":"2026-11-21T09:00:00Z"}}}"#);
    for (path, status) in [("/", 200), ("/healthz", 200), ("/api/tickets", 401), ("/nothing", 404)] {
        let answer = get(&api, path).await;
        assert_eq!(answer.status, status, "{path}");
        let guards =
            ["x-content-type-options", "referrer-policy", "content-security-policy", "cache-control"];
        let guards = guards.map(|name| answer.header(name).to_owned());
        let expected = ["nosniff", "no-referrer", "default-src 'none'; frame-ancestors 'none'", "no-store"];
        assert_eq!(guards, expected, "{path}");
    }
    desk.close().await;
}

#[tokio::test]
async fn when_the_database_is_away_the_answer_is_503_and_tells_nothing_of_the_inside() {
    let desk = desk("").await;
    let bea = desk.logs_in("Bea").await;
    desk.db.close().await;
    let refused = get(&bea, "/api/tickets").await;
    insta::assert_snapshot!(refused.problem(), @"503: the database cannot be used at the moment: try again later");
    let ready = get(&bea, "/readyz").await;
    assert_eq!(ready.status, 503);
    insta::assert_snapshot!(ready.body, @r#"{"alarms":"not known","database":"does not answer","migrations":"not known","ready":false,"sources":{"support":"not known"}}"#);
    assert_eq!(get(&bea, "/healthz").await.status, 200, "the process lives");
    assert_eq!(desk.expects_errors().len(), 1);
    desk.close_without_database();
}
