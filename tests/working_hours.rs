//! Working hours and periods away, through real assignments. The desk's first day is a Saturday.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use ticketd::ids::PersonId;
use ticketd::people::{self, Role};
use ticketd::queue;

use crate::harness::admin::columns;
use crate::harness::desk::{Api, Desk};
use crate::harness::mail::{Mail, mail, text};

const ADA: &str = "Ada <ada@example.net>";

fn bill(number: usize) -> Mail {
    mail(ADA, &format!("Invoice {number}"), "My invoice was charged twice, I want a refund.")
}

/// Bea and Cem know billing, Bea better; Dora is the admin.
async fn desk() -> (Desk, Api, PersonId, PersonId) {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let cem = desk.hires("Cem", Role::Moderator, &[("billing", 1)]).await;
    let api = desk.logs_in("Dora").await;
    (desk, api, bea, cem)
}

/// Monday to Friday, nine to five.
fn office(zone: &str) -> Value {
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday"];
    let intervals: Vec<Value> =
        days.iter().map(|day| json!({"weekday": day, "from": "09:00", "until": "17:00"})).collect();
    json!({"time_zone": zone, "intervals": intervals})
}

async fn works(api: &Api, person: PersonId, hours: &Value) {
    let (status, said) = api.put(&format!("/api/admin/people/{person}/hours"), hours).await;
    assert_eq!(status, 200, "{said}");
}

/// Time goes on to this moment, and the admin logs in again.
async fn at(desk: &Desk, moment: &str) -> Api {
    let moment: DateTime<Utc> = moment.parse().expect("a time");
    desk.later(moment - desk.clock.now()).await;
    desk.logs_in("Dora").await
}

/// The look that the schedule enters every 15 minutes.
async fn looks_again(desk: &Desk) {
    let now = desk.clock.now();
    desk.commits(async |tx| queue::enqueue(tx, &queue::REASSIGN, 0, now).await).await.expect("a job");
    desk.settle().await;
}

#[tokio::test]
async fn who_is_off_hours_comes_after_everybody_who_is_at_work() {
    let (desk, api, bea, _) = desk().await;
    works(&api, bea, &office("Europe/Berlin")).await;
    desk.settle().await;
    desk.handles(&bill(1)).await;
    insta::assert_snapshot!(desk.reason(1001).await, @"matched: Cem: 1 of 1 skill (billing), 0 of 10 open; Bea was off hours");
    let notice = text(&desk.last_mail_to("cem@example.org"));
    assert!(notice.contains("Bea was off hours"), "{notice}");
    let (_, assignment) = api.get("/api/tickets/1001/assignment").await;
    assert_eq!(
        columns(&assignment["candidates"], &["name", "verdict", "off_hours"]),
        ["Cem chosen false", "Bea off_hours true", "Dora fallback false"]
    );

    // Monday at nine in Berlin.
    at(&desk, "2026-11-23T07:59:00Z").await;
    desk.handles(&bill(2)).await;
    assert_eq!(desk.assignee(1002).await.as_deref(), Some("Cem"));
    at(&desk, "2026-11-23T08:00:00Z").await;
    desk.handles(&bill(3)).await;
    insta::assert_snapshot!(desk.reason(1003).await, @"matched: Bea: 1 of 1 skill (billing), 0 of 10 open");
    desk.close().await;
}

#[tokio::test]
async fn a_moderator_off_hours_beats_an_admin_and_without_hours_it_is_always_working_time() {
    let (desk, api, bea, cem) = desk().await;
    works(&api, bea, &office("Europe/Berlin")).await;
    works(&api, cem, &office("Asia/Tokyo")).await;
    desk.settle().await;
    desk.handles(&bill(1)).await;
    insta::assert_snapshot!(desk.reason(1001).await, @"matched: Bea: 1 of 1 skill (billing), 0 of 10 open, off hours as all who fit; Cem was off hours");
    assert_eq!(api.delete(&format!("/api/admin/people/{cem}/hours")).await.0, 204);
    assert_eq!(api.delete(&format!("/api/admin/people/{cem}/hours")).await.0, 404);
    assert_eq!(api.get(&format!("/api/admin/people/{cem}/hours")).await.1, json!({"hours": null}));
    assert_eq!(
        api.get(&format!("/api/admin/people/{bea}/hours")).await.1,
        json!({"hours": office("Europe/Berlin")})
    );
    desk.settle().await;
    desk.handles(&bill(2)).await;
    assert_eq!(desk.assignee(1002).await.as_deref(), Some("Cem"));
    let log = desk.audited().await;
    assert_eq!(
        log[0],
        format!(
            r#"Dora person.hours_set person:{bea} {{"hours":["Mon 09:00-17:00","Tue 09:00-17:00","Wed 09:00-17:00","Thu 09:00-17:00","Fri 09:00-17:00"],"time_zone":"Europe/Berlin"}}"#
        )
    );
    assert_eq!(log[2], format!("Dora person.hours_removed person:{cem} {{}}"));
    desk.close().await;
}

#[tokio::test]
async fn in_a_period_away_nobody_is_given_anything_and_afterwards_what_waited() {
    let (desk, api, bea, cem) = desk().await;
    let path = format!("/api/admin/people/{bea}/away");
    let period = |from: &str, until: &str| json!({"from": from, "until": until, "note": "skiing"});
    let (status, entered) = api.post(&path, &period("2026-11-21T08:00:00Z", "2026-11-21T12:00:00Z")).await;
    assert_eq!(status, 201, "{entered}");
    // Overlapping ones add up.
    assert_eq!(api.post(&path, &period("2026-11-21T11:00:00Z", "2026-11-21T13:00:00Z")).await.0, 201);
    assert_eq!(
        columns(&api.get(&path).await.1["periods"], &["until", "note"]),
        ["2026-11-21T12:00:00Z skiing", "2026-11-21T13:00:00Z skiing"]
    );
    assert_eq!(api.get("/api/admin/people?q=bea").await.1["people"][0]["away_now"], json!(true));
    assert_eq!(columns(&api.get("/api/admin/dashboard").await.1["away"], &["name"]), ["Bea"]);
    let colleagues = people::find_staff(&desk.db, "Bea", 1, desk.clock.now()).await.expect("staff");
    assert!(colleagues[0].away, "colleagues see it where they choose somebody");

    desk.handles(&bill(1)).await;
    insta::assert_snapshot!(desk.reason(1001).await, @"matched: Cem: 1 of 1 skill (billing), 0 of 10 open; Bea was away");
    assert_eq!(api.patch(&format!("/api/admin/people/{cem}"), &json!({"away": true})).await.0, 200);
    desk.settle().await;
    desk.handles(&bill(2)).await;
    insta::assert_snapshot!(desk.reason(1002).await, @"fallback: Dora, an admin, because all who have billing are away (Bea and Cem were away)");
    at(&desk, "2026-11-21T12:59:59Z").await;
    looks_again(&desk).await;
    assert_eq!(desk.assignee(1002).await.as_deref(), Some("Dora"));
    at(&desk, "2026-11-21T13:00:00Z").await;
    looks_again(&desk).await;
    insta::assert_snapshot!(desk.reason(1002).await, @"matched: Bea: 1 of 1 skill (billing), 0 of 10 open; Cem was away");
    desk.close().await;
}

#[tokio::test]
async fn who_comes_back_early_is_given_what_waited_at_once() {
    let (desk, api, bea, cem) = desk().await;
    let period = json!({"from": "2026-11-21T08:00:00Z", "until": "2026-12-21T12:00:00Z"});
    let (_, entered) = api.post(&format!("/api/admin/people/{bea}/away"), &period).await;
    assert_eq!(api.post(&format!("/api/admin/people/{cem}/away"), &period).await.0, 201);
    desk.handles(&bill(1)).await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Dora"));
    let of_another = format!("/api/admin/people/{cem}/away/{}", entered["id"]);
    assert_eq!(api.delete(&of_another).await.0, 404, "it is not Cem's");
    assert_eq!(api.delete(&format!("/api/admin/people/{bea}/away/{}", entered["id"])).await.0, 204);
    desk.settle().await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Bea"));

    // Who says so in Discord is back, too, whatever was entered.
    people::set_away(&desk.db, cem, false, desk.clock.now() + TimeDelta::minutes(1)).await.expect("back");
    desk.later(TimeDelta::minutes(1)).await;
    assert_eq!(api.get(&format!("/api/admin/people/{cem}/away")).await.1, json!({"periods": []}));
    desk.close().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_does() {
    let (desk, api, bea, _) = desk().await;
    let said = async |path: &str, body: Value| {
        let (status, said) = if path == "hours" {
            api.put(&format!("/api/admin/people/{bea}/hours"), &body).await
        } else {
            api.post(&format!("/api/admin/people/{bea}/away"), &body).await
        };
        format!("{status}: {}", said["detail"].as_str().unwrap_or_default())
    };
    let hours = |from: &str, until: &str| json!({"time_zone": "UTC", "intervals": [{"weekday": "monday", "from": from, "until": until}]});
    insta::assert_snapshot!(said("hours", office("Berlin")).await, @"400: time_zone: `Berlin` is no time zone: take an IANA name, such as Europe/Berlin");
    insta::assert_snapshot!(said("hours", hours("9", "17:00")).await, @"400: intervals[0].from: write a time of day as 09:00, and the end of the day as 24:00");
    insta::assert_snapshot!(said("hours", hours("22:00", "06:00")).await, @"400: intervals: an interval begins before it ends, on one day: what goes on after midnight is another interval");
    insta::assert_snapshot!(said("hours", json!({"time_zone": "UTC", "intervals": []})).await, @"400: intervals: there is no interval: give one at least, or remove the hours, then it is always working time");
    let period = |from: &str, until: &str| json!({"from": from, "until": until});
    insta::assert_snapshot!(said("away", period("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z")).await, @"400: until: a period begins before it ends");
    insta::assert_snapshot!(said("away", period("2026-10-02T00:00:00Z", "2026-11-01T00:00:00Z")).await, @"400: until: the period is over already: give one that ends in the future");
    insta::assert_snapshot!(said("away", period("2026-12-02T00:00:00Z", "2062-12-03T00:00:00Z")).await, @"400: until: a period lies within five years of now: for longer, set the person to away");
    let (_, everybody) = api.get("/api/admin/people").await;
    assert_eq!(columns(&everybody["people"], &["name"]).len(), 3);
    desk.handles(&bill(1)).await;
    let ada = "/api/admin/people/4";
    assert_eq!(api.put(&format!("{ada}/hours"), &office("UTC")).await.0, 409, "Ada is not staff");
    assert_eq!(api.put("/api/admin/people/99/hours", &office("UTC")).await.0, 404);
    desk.settle().await;
    desk.close().await;
}
