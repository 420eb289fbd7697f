//! Tickets by web: opened, answered, changed, closed, given away; and nobody overwrites what they have not seen.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use ticketd::people::Role;

use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::mail::{mail, text};

/// Bea is person 1, Nik 2, Dora 3, Ada 4.
async fn desk_with(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.registers("Ada").await;
    desk
}

async fn desk() -> Desk {
    desk_with("").await
}

fn at<'a>(body: &'a Value, pointer: &str) -> &'a Value {
    body.pointer(pointer).unwrap_or(&Value::Null)
}

async fn opens(desk: &Desk, api: &Api, body: &Value) -> Value {
    let opened = api.posts("/api/tickets", body).await.with(201);
    desk.settle().await;
    opened
}

fn refund() -> Value {
    json!({"subject": "Refund", "body": "I want a refund of my invoice."})
}

#[tokio::test]
async fn a_ticket_that_is_opened_by_web_lives_like_any_other() {
    let desk = desk().await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    let answer = ada.posts("/api/tickets", &refund()).await;
    let opened = answer.with(201);
    assert_eq!(
        (at(&opened, "/number"), at(&opened, "/status"), at(&opened, "/channel")),
        (&json!(1001), &json!("new"), &json!("web"))
    );
    assert_eq!(answer.header("location"), "/api/tickets/1001");
    assert_eq!(answer.header("etag"), format!("\"{}\"", at(&opened, "/version")));
    desk.settle().await;
    let ticket = desk.ticket(1001).await;
    assert_eq!(ticket.assignee_name.as_deref(), Some("Bea"), "judged and given to whoever fits");
    assert!(text(&desk.last_mail_to("ada@example.org")).contains("entered it as ticket #1001"));
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("I want a refund of my invoice."));

    desk.answers(&bea, 1001, "You get it.", false).await;
    assert!(text(&desk.last_mail_to("ada@example.org")).starts_with("You get it."));
    assert_eq!(desk.ticket(1001).await.first_response_at, Some(desk.clock.now() - TimeDelta::seconds(10)));
    let said = ada.posts("/api/tickets/1001/messages", &json!({"body": "When?"})).await.with(201);
    assert_eq!((at(&said, "/status"), at(&said, "/leaves_at")), (&json!("open"), &Value::Null));
    desk.settle().await;
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("When?"));
    // And by mail it is the same ticket.
    let received = desk.last_mail_to("ada@example.org");
    desk.handles(&mail("Ada <ada@example.org>", "", "I am still waiting.").answering(&received)).await;
    assert_eq!(desk.tickets().await, 1);

    ada.does("/api/tickets/1001/close").await.with(200);
    assert_eq!(desk.ticket(1001).await.status, "closed");
    ada.does("/api/tickets/1001/reopen").await.with(200);
    assert_eq!(desk.ticket(1001).await.status, "open");
    desk.settle().await;
    bea.does("/api/tickets/1001/close").await.with(200);
    desk.later(TimeDelta::days(15)).await;
    let (ada, late) =
        (desk.logs_in("Ada").await, "409: ticket #1001 was closed more than 14 days ago: open a new one");
    assert_eq!(ada.does("/api/tickets/1001/reopen").await.problem(), late);
    assert_eq!(ada.posts("/api/tickets/1001/messages", &json!({"body": "Hello?"})).await.problem(), late);
    desk.close().await;
}

#[tokio::test]
async fn staff_open_tickets_for_customers_and_choose_the_category() {
    let desk = desk().await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    let mut body = refund();
    body["requester"] = json!({"email": "Cleo@Example.net", "name": "Cleo"});
    body["category"] = json!("bug");
    let opened = opens(&desk, &bea, &body).await;
    assert_eq!((at(&opened, "/requester_name"), at(&opened, "/category")), (&json!("Cleo"), &json!("bug")));
    assert!(text(&desk.last_mail_to("cleo@example.net")).contains("ticket #1001"));
    assert_eq!(desk.ticket(1001).await.category.as_deref(), Some("bug"), "no judgement changes it");
    let kinds: Vec<String> = desk.events(1001).await.into_iter().map(|e| e.kind).collect();
    assert!(kinds.contains(&"entered_for".to_owned()), "{kinds:?}");
    assert_eq!(ada.read("/api/tickets/1001").await.status, 404);

    assert_eq!(ada.posts("/api/tickets", &body).await.problem(), "403: your role does not allow that");
    let told = async |body: Value| bea.posts("/api/tickets", &body).await.problem();
    insta::assert_snapshot!(told(json!({"subject": " ", "body": "x"})).await, @"400: the subject is empty");
    insta::assert_snapshot!(told(json!({"subject": "x", "body": " "})).await, @"400: the answer is empty");
    insta::assert_snapshot!(told(json!({"subject": "x", "body": "x", "category": "sports"})).await, @"400: category: `sports` is no category: technical, billing, account, bug, feature_request, other");
    insta::assert_snapshot!(told(json!({"subject": "x", "body": "x", "requester": {"email": "nonsense"}})).await, @"400: requester.email: `nonsense` is not a mail address");
    insta::assert_snapshot!(told(json!({"subject": "x", "body": "x", "attachments": [77]})).await, @"400: there is no file 77 of yours that waits to be sent: send it again");
    assert_eq!(desk.tickets().await, 1, "nothing of those was opened");
    desk.close().await;
}

#[tokio::test]
async fn many_fields_change_at_once_or_none_does() {
    let desk = desk().await;
    let (ada, dora) = (desk.logs_in("Ada").await, desk.logs_in("Dora").await);
    opens(&desk, &ada, &refund()).await;
    let path = "/api/tickets/1001";
    let changes = json!({
        "subject": "Refund of\nthe second invoice", "priority": "urgent", "category": "bug", "skills": ["networking"],
        "tags": ["vip", "legal", "vip"], "deadline_at": "2026-11-24T12:00:00Z", "assignee_id": 2, "status": "pending",
    });
    let answer = dora.patches(path, &changes).await;
    let changed = answer.with(200);
    assert_eq!(answer.header("etag"), format!("\"{}\"", at(&changed, "/version")));
    let shown = [
        "subject",
        "priority",
        "category",
        "required_skills",
        "tags",
        "deadline_at",
        "assignee_name",
        "status",
    ];
    let shown: Vec<String> =
        shown.iter().map(|key| format!("{key}: {}", at(&changed, &format!("/{key}")))).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    subject: "Refund of the second invoice"
    priority: "urgent"
    category: "bug"
    required_skills: ["networking"]
    tags: ["legal","vip"]
    deadline_at: "2026-11-24T12:00:00Z"
    assignee_name: "Nik"
    status: "pending"
    "#);
    desk.settle().await;
    let kinds: BTreeSet<String> = desk.events(1001).await.into_iter().map(|e| e.kind).collect();
    for kind in ["subject", "priority", "category", "skills", "tags", "deadline", "assigned", "status"] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    dora.patches(path, &json!({"deadline_at": null, "assignee_id": null, "tags": []})).await.with(200);
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.deadline_at, ticket.assignee_id, ticket.tags.len()), (None, None, 0));
    assert_eq!(ticket.priority, "urgent", "what is left out stays");

    let version = ticket.version;
    let told = async |body: Value| dora.patches(path, &body).await.problem();
    insta::assert_snapshot!(told(json!({})).await, @"400: nothing is to be changed: name a field");
    insta::assert_snapshot!(told(json!({"priority": "low", "skills": ["cooking"]})).await, @"400: there is no such skill in the catalogue");
    insta::assert_snapshot!(told(json!({"priority": "low", "tags": ["Not A Tag"]})).await, @"400: `Not A Tag` is no tag: a tag has 1 to 32 of a-z, 0-9, - and _, and starts with a letter or digit");
    insta::assert_snapshot!(told(json!({"tags": (0..21).map(|n| format!("t{n}")).collect::<Vec<_>>()})).await, @"400: a ticket has at most 20 tags");
    insta::assert_snapshot!(told(json!({"priority": "low", "assignee_id": 4})).await, @"400: tickets are given to active moderators and admins only");
    insta::assert_snapshot!(told(json!({"priority": "low", "category": "sports"})).await, @"400: category: `sports` is no category: technical, billing, account, bug, feature_request, other");
    insta::assert_snapshot!(told(json!({"deadline_at": "+99999-01-01T00:00:00Z"})).await, @"400: deadline_at: a time between the years 1970 and 9999");
    assert_eq!(ada.patches(path, &json!({"priority": "low"})).await.status, 403);
    assert_eq!(desk.ticket(1001).await.version, version, "nothing of those was changed");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn of_twenty_who_change_one_version_one_does_and_nobodys_change_is_lost() {
    let desk = desk().await;
    let (ada, dora) = (desk.logs_in("Ada").await, desk.logs_in("Dora").await);
    opens(&desk, &ada, &refund()).await;
    let path = "/api/tickets/1001";
    let tag = dora.read(path).await.header("etag").to_owned();
    let tries = (0..20).map(|n| {
        let (dora, tag) = (&dora, &tag);
        async move {
            let body = json!({"subject": format!("Edit {n}")});
            dora.ask(&Method::PATCH, path).header("if-match", tag).json(&body).send().await.status
        }
    });
    let mut statuses = join_all(tries).await;
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|s| *s == 200 || *s == 412), "{statuses:?}");

    // And twenty who read again whenever somebody was faster: every edit is made, each on top of another.
    let edits = (0..20).map(|n| {
        let dora = &dora;
        async move {
            loop {
                let tag = dora.read(path).await.header("etag").to_owned();
                let body = json!({"subject": format!("Again {n}")});
                match dora.ask(&Method::PATCH, path).header("if-match", &tag).json(&body).send().await.status
                {
                    200 => return,
                    412 => {}
                    other => panic!("{other}"),
                }
            }
        }
    });
    join_all(edits).await;
    let events = desk.events(1001).await;
    let history: Vec<(String, String)> = events
        .iter()
        .filter(|e| e.kind == "subject")
        .map(|e| {
            (
                e.data["from"].as_str().unwrap_or_default().to_owned(),
                e.data["to"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    assert_eq!(history.len(), 21);
    for pair in history.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "each began where the one before ended");
    }
    assert_eq!(desk.ticket(1001).await.subject, history.last().expect("an edit").1);
    let wrong = dora
        .ask(&Method::PATCH, path)
        .header("if-match", "yesterday")
        .json(&json!({"priority": "low"}))
        .send()
        .await;
    assert_eq!(wrong.problem(), "400: If-Match is one ETag of the ticket, as it was given out");
    let stale = dora.ask(&Method::POST, &format!("{path}/close")).header("if-match", "\"1\"").send().await;
    assert_eq!(
        stale.problem(),
        "412: it was changed since you read it: read it again, and repeat your change"
    );
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let desk = desk().await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    opens(&desk, &ada, &refund()).await;
    let path = "/api/tickets/1001";
    let tag = bea.read(path).await.header("etag").to_owned();
    let again = bea.ask(&Method::GET, path).header("if-none-match", &tag).send().await;
    assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, tag.as_str()));
    let adas = ada.ask(&Method::GET, path).header("if-none-match", &tag).send().await;
    assert_eq!(adas.status, 200, "she reads something else");
    // An answer changes it, and once more when it has left.
    bea.posts(&format!("{path}/messages"), &json!({"body": "Coming."})).await.with(201);
    let waiting = bea.ask(&Method::GET, path).header("if-none-match", &tag).send().await;
    assert_eq!(waiting.status, 200);
    desk.later(TimeDelta::seconds(10)).await;
    let sent = bea.ask(&Method::GET, path).header("if-none-match", waiting.header("etag")).send().await;
    assert_eq!(sent.status, 200);
    let version = |tag: &str| tag.split('-').next().unwrap_or_default().to_owned();
    assert_eq!(
        version(sent.header("etag")),
        version(waiting.header("etag")),
        "that it left is no edit of the ticket"
    );
    desk.close().await;
}

#[tokio::test]
async fn fifty_assignments_at_once_by_hand_and_by_machine_never_exceed_a_cap() {
    let desk = desk_with("[assignment]\ncap_default = 7\n[limits]\ntickets_per_person = 0\n").await;
    let (ada, dora) = (desk.logs_in("Ada").await, desk.logs_in("Dora").await);
    let nobody_fits = json!({"subject": "Hm", "body": "Wobble flummox."});
    for _ in 0..30 {
        ada.posts("/api/tickets", &nobody_fits).await.with(201);
    }
    desk.settle().await;
    // Twenty more that the machine will give to Bea, while people give her the thirty.
    for _ in 0..20 {
        ada.posts("/api/tickets", &refund()).await.with(201);
    }
    let by_hand = (1001..=1030).map(|number| {
        let dora = &dora;
        async move {
            dora.puts(&format!("/api/tickets/{number}/assignment"), &json!({"assignee_id": 1})).await.status
        }
    });
    let (statuses, ()) = tokio::join!(join_all(by_hand), desk.settle());
    assert!(statuses.iter().all(|s| *s == 200 || *s == 409), "{statuses:?}");
    desk.settle().await;
    let held = "SELECT count(*) FROM tickets WHERE assignee_id = 1 AND status IN ('new', 'open', 'pending')";
    assert_eq!(desk.count(held).await, 7);
    let free = sqlx::query_scalar::<_, i64>("SELECT min(id) FROM tickets WHERE assignee_id <> 1");
    let free = free.fetch_one(&desk.db).await.expect("a ticket");
    let path = format!("/api/tickets/{free}/assignment");
    let refused = dora.puts(&path, &json!({"assignee_id": 1})).await;
    assert_eq!(refused.problem(), "409: Bea has as many open tickets as they may have (7)");
    dora.puts(&path, &json!({"assignee_id": 1, "force": true})).await.with(200);
    assert_eq!(desk.count(held).await, 8);
    dora.patches(&format!("/api/tickets/{free}"), &json!({"assignee_id": null})).await.with(200);
    let bea = desk.logs_in("Bea").await;
    let claimed = bea.does(&format!("/api/tickets/{free}/claim")).await;
    assert_eq!(claimed.problem(), "409: Bea has as many open tickets as they may have (7)");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn claims_releases_judgements_and_corrections() {
    let desk = desk().await;
    let (ada, bea, nik) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await, desk.logs_in("Nik").await);
    opens(&desk, &ada, &refund()).await;
    let path = "/api/tickets/1001";
    assert_eq!(nik.does(&format!("{path}/claim")).await.problem(), "409: somebody has ticket #1001 already");
    assert_eq!(
        nik.does(&format!("{path}/release")).await.problem(),
        "409: ticket #1001 is somebody else's: an admin can release it"
    );
    bea.does(&format!("{path}/release")).await.with(200);
    let claimed = nik.does(&format!("{path}/claim")).await.with(200);
    assert_eq!((at(&claimed, "/assignee_name"), at(&claimed, "/status")), (&json!("Nik"), &json!("open")));
    let assigned = bea.read(&format!("{path}/assignment")).await.with(200);
    assert_eq!((at(&assigned, "/reason"), at(&assigned, "/decided_by")), (&json!("claimed"), &json!(2)));
    let reasons: Vec<&Value> = (0..3).map(|n| at(&assigned, &format!("/history/{n}/outcome"))).collect();
    assert_eq!(reasons, [&json!("manual"), &json!("manual"), &json!("matched")]);

    let before = desk.ticket(1001).await.version;
    nik.does(&format!("{path}/triage")).await.with(202);
    assert!(desk.ticket(1001).await.version > before);
    let corrected = nik
        .patches(&format!("{path}/triage"), &json!({"category": "bug", "skills": ["networking"]}))
        .await
        .with(200);
    assert_eq!(
        (at(&corrected, "/category"), at(&corrected, "/required_skills")),
        (&json!("bug"), &json!(["networking"]))
    );
    desk.settle().await;
    assert_eq!(desk.ticket(1001).await.category.as_deref(), Some("bug"));
    let events = desk.events(1001).await;
    let event = events.iter().find(|e| e.kind == "triage_corrected").expect("an event");
    assert_eq!(
        (&event.data["before"]["skills"], &event.data["after"]["skills"]),
        (&json!(["billing"]), &json!(["networking"]))
    );
    assert!(event.data["judgement"].is_i64(), "{}", event.data);
    let triages = nik.read(&format!("{path}/triage")).await.with(200);
    assert_eq!(at(&triages, "/triages/0/engine"), &json!("offline"));
    assert_eq!(nik.patches(&format!("{path}/triage"), &json!({"category": "sports"})).await.status, 400);
    for (method, path) in [
        ("GET", "triage"),
        ("POST", "claim"),
        ("GET", "assignment"),
        ("GET", "events"),
        ("GET", "participants"),
    ] {
        let method: Method = method.parse().expect("a method");
        assert_eq!(ada.ask(&method, &format!("/api/tickets/1001/{path}")).send().await.status, 403, "{path}");
    }
    desk.close().await;
}

#[tokio::test]
async fn a_deleted_ticket_is_nowhere_until_it_is_restored() {
    let desk = desk().await;
    let (ada, bea, dora) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await, desk.logs_in("Dora").await);
    opens(&desk, &ada, &refund()).await;
    desk.answers(&bea, 1001, "You get it.", false).await;
    let received = desk.last_mail_to("ada@example.org");
    assert_eq!(bea.deletes("/api/tickets/1001").await.status, 403);
    bea.posts("/api/tickets/1001/messages", &json!({"body": "And a cake."})).await.with(201);
    dora.deletes("/api/tickets/1001").await.with(204);
    desk.later(TimeDelta::minutes(1)).await;
    assert!(!text(&desk.last_mail_to("ada@example.org")).contains("cake"), "what waited is not sent");
    for api in [&ada, &bea, &dora] {
        assert_eq!(api.read("/api/tickets/1001").await.status, 404);
        assert_eq!(api.posts("/api/tickets/1001/messages", &json!({"body": "x"})).await.status, 404);
        assert_eq!(at(&api.read("/api/tickets").await.with(200), "/tickets"), &json!([]));
    }
    assert_eq!(dora.deletes("/api/tickets/1001").await.status, 404, "once is enough");
    // What is answered to it begins anew, also by its Message-IDs, and the next one follows that.
    let answer = mail("Ada <ada@example.org>", "", "Thanks!").answering(&received);
    desk.handles(&answer).await;
    assert_eq!(desk.tickets().await, 2);
    let received = desk.last_mail_to("ada@example.org");
    desk.handles(&mail("Ada <ada@example.org>", "", "And more.").answering(&received)).await;
    assert_eq!((desk.tickets().await, desk.conversation(1002).await.len()), (2, 2));
    dora.does("/api/tickets/1001/restore").await.with(200);
    assert_eq!(desk.ticket(1001).await.status, "pending");
    assert_eq!(bea.does("/api/tickets/1001/restore").await.status, 403);
    let logged = "SELECT count(*) FROM audit_log WHERE action IN ('ticket.deleted', 'ticket.restored')";
    assert_eq!(desk.count(logged).await, 2);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn participants_and_followers_hear_what_is_said() {
    let desk = desk().await;
    let (ada, bea, nik) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await, desk.logs_in("Nik").await);
    opens(&desk, &ada, &refund()).await;
    let path = "/api/tickets/1001/participants";
    let added = bea.posts(path, &json!({"email": "Cleo@example.net", "name": "Cleo"})).await.with(201);
    let cleo = at(&added, "/person_id").as_i64().expect("a person");
    assert_eq!(bea.posts(path, &json!({"email": "cleo@example.net"})).await.status, 200, "once");
    let told = async |body: Value| bea.posts(path, &body).await.problem();
    insta::assert_snapshot!(told(json!({"email": "support@example.org"})).await, @"400: email: this is an address of ours");
    insta::assert_snapshot!(told(json!({"email": "x"})).await, @"400: email: `x` is not a mail address");
    insta::assert_snapshot!(told(json!({})).await, @"400: give either email or person_id");
    insta::assert_snapshot!(told(json!({"person_id": 999})).await, @"400: person_id: there is no such person");
    insta::assert_snapshot!(told(json!({"person_id": cleo, "email": "a@b.c"})).await, @"400: give either email or person_id");
    nik.ask(&Method::PUT, "/api/tickets/1001/followers/me").send().await.with(204);
    desk.answers(&bea, 1001, "You get it.", false).await;
    assert!(text(&desk.last_mail_to("cleo@example.net")).starts_with("You get it."));
    ada.posts("/api/tickets/1001/messages", &json!({"body": "When exactly?"})).await.with(201);
    desk.settle().await;
    assert!(text(&desk.last_mail_to("nik@example.org")).contains("When exactly?"));
    assert_eq!(at(&bea.read("/api/tickets/1001").await.with(200), "/followers/0/name"), &json!("Nik"));
    let seen = ada.read("/api/tickets/1001").await.text();
    assert!(
        seen.contains("Cleo") && !seen.contains("cleo@example.net"),
        "others' addresses are for staff: {seen}"
    );

    bea.deletes(&format!("{path}/{cleo}")).await.with(204);
    nik.deletes("/api/tickets/1001/followers/me").await.with(204);
    assert_eq!(bea.deletes(&format!("{path}/{cleo}")).await.status, 404);
    let requester = bea.deletes(&format!("{path}/4")).await;
    assert_eq!(requester.problem(), "409: the requester takes part as long as the ticket is theirs");
    let before = (desk.mails_to("cleo@example.net").len(), desk.mails_to("nik@example.org").len());
    desk.answers(&bea, 1001, "Tomorrow.", false).await;
    ada.posts("/api/tickets/1001/messages", &json!({"body": "Fine."})).await.with(201);
    desk.settle().await;
    assert_eq!((desk.mails_to("cleo@example.net").len(), desk.mails_to("nik@example.org").len()), before);
    desk.close().await;
}

#[tokio::test]
async fn who_may_not_read_a_ticket_any_more_is_not_told_of_it() {
    let desk = desk().await;
    let (ada, nik) = (desk.logs_in("Ada").await, desk.logs_in("Nik").await);
    let dora = desk.logs_in("Dora").await;
    opens(&desk, &ada, &refund()).await;
    nik.ask(&Method::PUT, "/api/tickets/1001/followers/me").send().await.with(204);
    let told = desk.mails_to("nik@example.org").len();
    let setting = "/api/admin/settings/assignment.moderators_see_all";
    dora.ask(&Method::PUT, setting).json(&json!({"value": false})).send().await.with(200);
    assert_eq!(nik.read("/api/tickets/1001").await.status, 404);
    ada.posts("/api/tickets/1001/messages", &json!({"body": "When exactly?"})).await.with(201);
    desk.settle().await;
    assert_eq!(desk.mails_to("nik@example.org").len(), told);
    let held = desk.deliveries(1001).await.into_iter().find(|delivery| delivery.address == "nik@example.org");
    assert_eq!(held.and_then(|d| d.reason).as_deref(), Some("they may not read the ticket any more"));
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("When exactly?"), "who has it is told");
    desk.close().await;
}

#[tokio::test]
async fn an_answer_is_its_requesters_to_read_when_it_has_left_and_never_when_it_was_taken_back() {
    let desk = desk().await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    opens(&desk, &ada, &refund()).await;
    let messages = "/api/tickets/1001/messages";
    let read = async |api: &Api| api.read(messages).await.with(200).to_string();
    let rash = bea.posts(messages, &json!({"body": "Never."})).await.with(201);
    assert!(!read(&ada).await.contains("Never."), "it can still be taken back");
    assert!(!ada.read("/api/tickets/1001").await.with(200).to_string().contains("Never."));
    assert!(!ada.read("/api/tickets/1001/transcript").await.text().contains("Never."));
    assert!(read(&bea).await.contains("Never."), "staff see what is on its way");
    bea.deletes(&format!("{messages}/{}", at(&rash, "/id"))).await.with(204);
    bea.posts(messages, &json!({"body": "Gladly."})).await.with(201);
    desk.later(TimeDelta::seconds(10)).await;
    let seen = read(&ada).await;
    assert!(seen.contains("Gladly.") && !seen.contains("Never."), "{seen}");
    desk.close().await;
}

#[tokio::test]
async fn what_staff_asks_to_be_judged_again_is_judged_and_what_people_set_stays() {
    let desk = desk().await;
    let (ada, bea) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await);
    opens(&desk, &ada, &refund()).await;
    bea.patches("/api/tickets/1001", &json!({"category": "bug"})).await.with(200);
    let judged = "SELECT count(*) FROM triages";
    assert_eq!(desk.count(judged).await, 1);
    desk.clock.advance(TimeDelta::minutes(1));
    bea.does("/api/tickets/1001/triage").await.with(202);
    desk.settle().await;
    assert_eq!(desk.count(judged).await, 2);
    assert_eq!(desk.ticket(1001).await.category.as_deref(), Some("bug"));
    desk.close().await;
}

#[tokio::test]
async fn what_was_taken_back_is_not_sent_by_a_retry() {
    let desk = desk().await;
    let (ada, bea, dora) = (desk.logs_in("Ada").await, desk.logs_in("Bea").await, desk.logs_in("Dora").await);
    opens(&desk, &ada, &refund()).await;
    let messages = "/api/tickets/1001/messages";
    let rash = bea.posts(messages, &json!({"body": "Never."})).await.with(201);
    bea.deletes(&format!("{messages}/{}", at(&rash, "/id"))).await.with(204);
    let id = desk.count("SELECT id FROM deliveries WHERE state = 'cancelled'").await;
    let retried = dora.does(&format!("/api/admin/deliveries/{id}/retry")).await;
    assert!(retried.status >= 400, "{}", retried.status);
    desk.later(TimeDelta::minutes(1)).await;
    assert!(!text(&desk.last_mail_to("ada@example.org")).contains("Never."));
    desk.close().await;
}
