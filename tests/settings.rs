//! Settings that change while ticketd runs: each takes effect in the stage that goes by it.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use ticketd::audit::Actor;
use ticketd::people::Role;
use ticketd::settings::Settings;

use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::mail::{Mail, mail};

const ADA: &str = "Ada <ada@example.net>";

fn bill(number: usize) -> Mail {
    mail(ADA, &format!("Invoice {number}"), "My invoice was charged twice, I want a refund.")
}

async fn desk() -> (Desk, Api) {
    let desk =
        Desk::with(Plan { more: "[assignment]\ncap_default = 1\n".to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let api = desk.logs_in("Dora").await;
    (desk, api)
}

async fn sets(api: &Api, key: &str, value: Value) {
    let (status, said) = api.put(&format!("/api/admin/settings/{key}"), &json!({"value": value})).await;
    assert_eq!((status, said.pointer("/value")), (200, Some(&value)), "{said}");
}

#[tokio::test]
async fn a_greater_cap_frees_places_at_once() {
    let (desk, api) = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    for number in 1..=2 {
        desk.handles(&bill(number)).await;
    }
    insta::assert_snapshot!(desk.reason(1002).await, @"fallback: Dora, an admin, because all who have billing are at their cap (Bea was at cap)");
    sets(&api, "assignment.cap_default", json!(2)).await;
    desk.settle().await;
    insta::assert_snapshot!(desk.reason(1002).await, @"matched: Bea: 1 of 1 skill (billing), 1 of 2 open");
    let (status, back) = api.delete("/api/admin/settings/assignment.cap_default").await;
    assert_eq!((status, &back["value"], &back["changed"]), (200, &json!(1), &Value::Null));
    desk.handles(&bill(3)).await;
    assert_eq!(desk.assignee(1003).await.as_deref(), Some("Dora"));
    insta::assert_snapshot!(desk.audited().await.join("\n"), @r#"
    Dora setting.changed setting:assignment.cap_default {"from":1,"to":2}
    Dora setting.unset setting:assignment.cap_default {"from":2,"to":1}
    "#);
    desk.close().await;
}

#[tokio::test]
async fn the_undo_window_and_the_acknowledgement_follow_their_settings() {
    let (desk, api) = desk().await;
    sets(&api, "mail.acknowledge", json!(false)).await;
    desk.handles(&bill(1)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 0, "no acknowledgement");
    sets(&api, "mail.undo_seconds", json!(60)).await;
    let answer = json!({"body": "Done."});
    assert_eq!(api.post("/api/tickets/1001/messages", &answer).await.0, 201);
    desk.later(TimeDelta::seconds(59)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 0);
    desk.later(TimeDelta::seconds(1)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 1);
    sets(&api, "mail.undo_seconds", json!(0)).await;
    assert_eq!(api.post("/api/tickets/1001/messages", &answer).await.0, 201);
    desk.settle().await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 2, "at once");
    sets(&api, "mail.acknowledge", json!(true)).await;
    desk.handles(&bill(2)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 3);
    desk.close().await;
}

#[tokio::test]
async fn tickets_are_judged_by_the_categories_that_are_set() {
    let (desk, api) = desk().await;
    desk.handles(&bill(1)).await;
    assert_eq!(desk.ticket(1001).await.category.as_deref(), Some("billing"));
    sets(&api, "triage.categories", json!(["invoices", "hosting"])).await;
    desk.handles(&mail(
        ADA,
        "Invoices",
        "A question about your invoices: which of the two invoices is right?",
    ))
    .await;
    assert_eq!(desk.ticket(1002).await.category.as_deref(), Some("invoices"));
    desk.close().await;
}

#[tokio::test]
async fn resolved_tickets_close_and_reopen_by_the_days_that_are_set() {
    let (desk, api) = desk().await;
    desk.handles(&bill(1)).await;
    desk.answers(&api, 1001, "Done.", true).await;
    sets(&api, "assignment.close_after_days", json!(1)).await;
    sets(&api, "assignment.reopen_days", json!(2)).await;
    desk.clock.advance(TimeDelta::days(1));
    desk.closes_what_is_resolved().await;
    assert_eq!(desk.ticket(1001).await.status, "closed");
    desk.clock.advance(TimeDelta::days(3));
    let sent = desk.last_mail_to("ada@example.net");
    desk.handles(&mail(ADA, "", "It is wrong again.").answering(&sent)).await;
    assert_eq!(desk.ticket(1001).await.status, "closed");
    assert_eq!(desk.ticket(1002).await.follow_up_of.map(|t| t.0), Some(1001));
    desk.close().await;
}

#[tokio::test]
async fn moderators_see_what_the_setting_lets_them_see() {
    let (desk, api) = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Nik", Role::Moderator, &[("networking", 5)]).await;
    desk.handles(&bill(1)).await;
    let nik = desk.logs_in("Nik").await;
    assert_eq!(nik.get("/api/tickets/1001").await.0, 200);
    sets(&api, "assignment.moderators_see_all", json!(false)).await;
    assert_eq!(nik.get("/api/tickets/1001").await.0, 404);
    assert_eq!(desk.logs_in("Bea").await.get("/api/tickets/1001").await.0, 200, "it is hers");
    desk.close().await;
}

#[tokio::test]
async fn settings_are_listed_checked_and_shown_with_who_changed_them() {
    let (desk, api) = desk().await;
    sets(&api, "auth.signup", json!(false)).await;
    let ada = json!({"email": "ada@example.net", "name": "Ada", "password": "correct horse battery"});
    assert_eq!(api.post("/api/auth/signup", &ada).await.0, 403);
    let (_, all) = api.get("/api/admin/settings").await;
    let lines: Vec<String> = all["settings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| format!("{} = {} ({}) {}", s["key"], s["value"], s["default"], s["changed"]["by_name"]))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    "assignment.cap_default" = 1 (1) null
    "assignment.moderators_see_all" = true (true) null
    "assignment.reopen_days" = 14 (14) null
    "assignment.close_after_days" = 7 (7) null
    "mail.undo_seconds" = 10 (10) null
    "mail.acknowledge" = true (true) null
    "triage.categories" = ["technical","billing","account","bug","feature_request","other"] (["technical","billing","account","bug","feature_request","other"]) null
    "auth.signup" = false (true) "Dora"
    "#);
    let said = async |key: &str, value: Value| {
        let (status, said) = api.put(&format!("/api/admin/settings/{key}"), &json!({"value": value})).await;
        format!("{status}: {}", said["detail"].as_str().unwrap_or_default())
    };
    insta::assert_snapshot!(said("assignment.cap_default", json!(-1)).await, @"400: value: assignment: cap_default is -1: give a number from 0 to 10000");
    insta::assert_snapshot!(said("mail.acknowledge", json!("no")).await, @r#"400: value: mail.acknowledge: invalid type: string "no", expected a boolean"#);
    insta::assert_snapshot!(said("triage.categories", json!(["a", "a"])).await, @"400: value: triage: categories: `a` is named twice");
    assert_eq!(
        (said("http.listen", json!("x")).await, api.get("/api/admin/settings/nothing").await.0),
        ("404: there is nothing here, or nothing that you may see".to_owned(), 404)
    );
    assert_eq!(desk.audited().await.len(), 1, "what was refused is not in the log");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn another_process_sees_a_change_within_seconds_and_keeps_it_while_the_database_is_away() {
    let (desk, _) = desk().await;
    let options = desk.db.connect_options().as_ref().clone();
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("a pool");
    let file = Arc::clone(&desk.app.config);
    let other = Settings::new(&pool, &desk.clock, &file);
    assert_eq!(other.current().await.assignment.reopen_days, 14);
    let ours = &desk.app.stages.settings;
    let now = desk.clock.now();
    desk.commits(async |tx| ours.set(tx, "assignment.reopen_days", &json!(3), Actor::COMMAND, now).await)
        .await
        .expect("set");
    ours.refresh().await;
    assert_eq!(
        (ours.current().await.assignment.reopen_days, other.current().await.assignment.reopen_days),
        (3, 14)
    );
    desk.clock.advance(TimeDelta::seconds(5));
    assert_eq!(other.current().await.assignment.reopen_days, 3);
    pool.close().await;
    desk.clock.advance(TimeDelta::minutes(5));
    assert_eq!(other.current().await.assignment.reopen_days, 3, "as it was last known");
    // One that never reached it goes by the file.
    let late = Settings::new(&pool, &desk.clock, &file);
    assert_eq!(late.current().await.assignment.reopen_days, 14);
    desk.settle().await;
    desk.close().await;
}
