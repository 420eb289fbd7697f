//! Everybody there is, as admins see and change them; and the last admin, who stays one.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketd::ids::PersonId;
use ticketd::people::directory::{self, Change, DirectoryError, Filter};
use ticketd::people::{self, Role};

use crate::harness::admin::{by, columns};
use crate::harness::desk::{Desk, STAFF_PASSWORD, SUPPORT};
use crate::harness::mail::mail;

const ADA: &str = "Ada <ada@example.net>";

/// Dora and Eli are admins.
async fn desk() -> (Desk, PersonId, PersonId) {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    let dora = desk.hires("Dora", Role::Admin, &[]).await;
    let eli = desk.hires("Eli", Role::Admin, &[]).await;
    (desk, dora, eli)
}

fn role(role: Role) -> Change {
    Change { role: Some(role), ..Change::default() }
}

fn active(active: bool) -> Change {
    Change { active: Some(active), ..Change::default() }
}

async fn changes(desk: &Desk, who: PersonId, change: &Change, admin: PersonId) -> Result<(), DirectoryError> {
    let now = desk.clock.now();
    desk.commits(async |tx| directory::change(tx, who, change, by(admin), now).await).await
}

async fn admins(desk: &Desk) -> Vec<String> {
    let filter = Filter { role: Some(Role::Admin), active: Some(true), ..Filter::default() };
    let list = directory::list(&desk.db, &filter, 100, desk.clock.now()).await.expect("the directory");
    list.into_iter().map(|person| person.name).collect()
}

#[tokio::test]
async fn an_admin_enters_finds_and_changes_people() {
    let (desk, dora, _) = desk().await;
    let api = desk.logs_in("Dora").await;
    let person = |name: &str, email: &str, role: &str| json!({"name": name, "email": email, "role": role});
    let (status, bea) = api.post("/api/admin/people", &person(" Bea ", "Bea@Example.org", "moderator")).await;
    assert_eq!(status, 201, "{bea}");
    let path = format!("/api/admin/people/{}", bea["id"]);
    for (wrong, expected) in [
        (
            person("Bea", "bea@example.org", "user"),
            "409: that address is person 3's already: change that person instead",
        ),
        (person("", "x@example.org", "user"), "400: name: a name has 1 to 200 characters, in one line"),
        (
            person("X", "x", "user"),
            "400: email: that is not a mail address: give one such as name@example.org",
        ),
        (
            person("X", SUPPORT, "user"),
            "400: email: that is an address of ours, which becomes tickets: give the person's own",
        ),
        (
            person("X", "x@example.org", "boss"),
            "400: role: unknown variant `boss`, expected one of `user`, `moderator`, `admin`",
        ),
    ] {
        let (status, said) = api.post("/api/admin/people", &wrong).await;
        assert_eq!(format!("{status}: {}", said["detail"].as_str().unwrap_or_default()), expected);
    }
    let (status, seen) = api.patch(&path, &json!({"cap": 3, "away": true, "name": "Bea van Dam"})).await;
    assert_eq!((status, &seen["cap"], &seen["away_now"]), (200, &json!(3), &json!(true)), "{seen}");
    let (_, seen) = api.patch(&path, &json!({"cap": null, "away": false})).await;
    assert_eq!((&seen["cap"], &seen["away"]), (&Value::Null, &json!(false)));
    assert_eq!(
        api.patch(&path, &json!({"cap": -1})).await.1["detail"],
        "cap: a cap is a number of tickets from 0 to 10000"
    );
    let skills = json!({"skills": [{"slug": "billing", "level": 4}]});
    assert_eq!(api.put(&format!("{path}/skills"), &skills).await.0, 200);

    let (_, seen) = api.get(&path).await;
    assert_eq!(
        columns(&seen["identities"], &["channel", "address", "verified_at"]),
        ["email bea@example.org null"]
    );
    assert_eq!(columns(&seen["skills"], &["slug", "level", "confirmed"]), ["billing 4 true"]);
    assert_eq!(
        seen["account"],
        json!({"has_password": false, "has_second_factor": false, "last_login_at": null, "sessions": 0})
    );
    assert_eq!((&seen["role"], &seen["hours"]), (&json!("moderator"), &Value::Null));
    let (_, own) = api.get(&format!("/api/admin/people/{dora}")).await;
    assert_eq!((&own["account"]["has_password"], &own["account"]["sessions"]), (&json!(true), &json!(1)));

    let names = async |query: &str| {
        let (status, list) = api.get(&format!("/api/admin/people?{query}")).await;
        assert_eq!(status, 200, "{list}");
        columns(&list["people"], &["name"])
    };
    assert_eq!(names("").await, ["Dora", "Eli", "Bea van Dam"]);
    assert_eq!(names("role=moderator").await, ["Bea van Dam"]);
    assert_eq!(names("q=VAN").await, ["Bea van Dam"]);
    assert_eq!(names("q=eli@").await, ["Eli"]);
    assert_eq!(names("q=%25").await, Vec::<String>::new());
    assert_eq!(names("skill=billing").await, ["Bea van Dam"]);
    assert_eq!(names("active=false").await, Vec::<String>::new());
    let (_, first) = api.get("/api/admin/people?limit=2").await;
    let cursor = first["next_cursor"].as_str().expect("there is more");
    assert_eq!(names(&format!("limit=2&cursor={cursor}")).await, ["Bea van Dam"]);
    assert_eq!(api.get("/api/admin/people?cursor=x").await.0, 400);
    assert_eq!(
        (api.get("/api/admin/people/99").await.0, api.patch("/api/admin/people/99", &json!({})).await.0),
        (404, 404)
    );
    insta::assert_snapshot!(desk.audited().await.join("\n"), @r#"
    Dora person.created person:3 {"name":"Bea","role":"moderator"}
    Dora person.changed person:3 {"away":{"from":false,"to":true},"cap":{"from":null,"to":3},"name":{"from":"Bea","to":"Bea van Dam"}}
    Dora person.changed person:3 {"away":{"from":true,"to":false},"cap":{"from":3,"to":null}}
    Dora person.skills_set person:3 {"from":{},"to":{"billing":4}}
    "#);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn who_is_switched_off_is_logged_out_and_others_get_their_tickets() {
    let (desk, dora, _) = desk().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.hires("Cem", Role::Moderator, &[("billing", 1)]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Bea"));
    let beas = desk.logs_in("Bea").await;
    let doras = desk.logs_in("Dora").await;
    let path = format!("/api/admin/people/{bea}");
    assert_eq!(beas.delete(&path).await.0, 403, "only admins");
    assert_eq!(doras.delete(&path).await.0, 204);
    assert_eq!(beas.get("/api/tickets").await.0, 401);
    let login = json!({"email": "bea@example.org", "password": STAFF_PASSWORD});
    assert_eq!(beas.post("/api/auth/login", &login).await.0, 401);
    desk.settle().await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Cem"));

    // Who is back starts anew: tickets stay where they are.
    assert_eq!(doras.patch(&path, &json!({"active": true})).await.0, 200);
    desk.settle().await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Cem"));
    assert_eq!(beas.get("/api/tickets").await.0, 401, "the old log-in stays ended");

    // A moderator who becomes a user loses tickets and log-in as well.
    let cems = desk.logs_in("Cem").await;
    changes(&desk, PersonId(bea.0 + 1), &role(Role::User), dora).await.expect("demoted");
    assert_eq!(cems.get("/api/tickets").await.0, 401);
    desk.settle().await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Bea"));

    // One may log others out without taking anything from them.
    let again = desk.logs_in("Bea").await;
    assert_eq!(doras.delete(&format!("{path}/sessions")).await, (200, json!({"sessions": 1})));
    assert_eq!(
        (again.get("/api/tickets").await.0, desk.logs_in("Bea").await.get("/api/tickets").await.0),
        (401, 200)
    );
    let log: Vec<_> =
        desk.audited().await.into_iter().filter(|line| !line.contains("login.failed")).collect();
    assert_eq!(log.len(), 4, "{log:?}");
    assert_eq!(log[0], format!("Dora person.deactivated person:{bea} {{}}"));
    desk.close().await;
}

#[tokio::test]
async fn the_last_active_admin_stays_one() {
    let (desk, dora, eli) = desk().await;
    changes(&desk, eli, &active(false), dora).await.expect("Dora is left");
    for change in [role(Role::Moderator), role(Role::User), active(false)] {
        let refused = changes(&desk, dora, &change, dora).await.expect_err("nobody else is an admin");
        assert_eq!(refused.to_string(), "this is the last active admin: make somebody else an admin first");
    }
    // Whom a role in Discord makes an admin may be none tomorrow.
    let zoe = desk.hires("Zoe", Role::Moderator, &[]).await;
    let now = desk.clock.now();
    desk.commits(async |tx| people::set_discord_role(tx, zoe, Some(Role::Admin), now).await)
        .await
        .expect("a role");
    assert_eq!(admins(&desk).await, ["Dora", "Zoe"]);
    changes(&desk, dora, &role(Role::User), zoe).await.expect_err("Zoe is an admin by Discord only");
    // Her own name, and being away, she may change.
    let harmless = Change { away: Some(true), role: Some(Role::Admin), ..Change::default() };
    changes(&desk, dora, &harmless, dora).await.expect("nothing is lost");
    changes(&desk, eli, &active(true), dora).await.expect("Eli is back");
    changes(&desk, dora, &role(Role::User), eli).await.expect("Eli is left");
    let api = desk.logs_in("Eli").await;
    let (status, said) = api.delete(&format!("/api/admin/people/{eli}")).await;
    assert_eq!(
        (status, said["detail"].as_str()),
        (409, Some("this is the last active admin: make somebody else an admin first"))
    );
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn of_two_admins_who_demote_each_other_at_once_one_stays() {
    let (desk, dora, eli) = desk().await;
    for round in 0..20 {
        let (user, off) = (role(Role::User), active(false));
        let change = if round % 2 == 0 { &user } else { &off };
        let (one, other) =
            tokio::join!(changes(&desk, dora, change, eli), changes(&desk, eli, change, dora),);
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
        assert_eq!(admins(&desk).await.len(), 1);
        let lost = if one.is_ok() { dora } else { eli };
        let back = Change { role: Some(Role::Admin), active: Some(true), ..Change::default() };
        changes(&desk, lost, &back, lost).await.expect("an admin again");
    }
    // Nobody gets round it by demoting themselves at the same moment either.
    let (user, off) = (role(Role::User), active(false));
    let (one, other) = tokio::join!(changes(&desk, dora, &user, dora), changes(&desk, eli, &off, eli));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    desk.later(TimeDelta::seconds(1)).await;
    desk.close().await;
}

#[tokio::test]
async fn only_admins_look_after_the_desk() {
    let (desk, _, eli) = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let bea = desk.logs_in("Bea").await;
    for path in [
        "people",
        "people/1",
        "people/1/skills",
        "people/1/away",
        "people/1/hours",
        "skills",
        "skills/billing",
        "proposals",
        "settings",
        "settings/mail.acknowledge",
        "mailboxes",
        "jobs",
        "jobs/1",
        "deliveries",
        "deliveries/1",
        "ledger",
        "ledger/1",
        "ledger/1/raw",
        "audit",
        "audit/verify",
        "dashboard",
    ] {
        assert_eq!(bea.get(&format!("/api/admin/{path}")).await.0, 403, "{path}");
    }
    assert_eq!(bea.get("/api/admin/snippets").await.0, 200, "staff writes with them");
    assert_eq!(bea.put("/api/admin/snippets/refund", &json!({"body": "x"})).await.0, 403);
    assert_eq!(bea.patch(&format!("/api/admin/people/{eli}"), &json!({"role": "user"})).await.0, 403);
    let mut nobody = bea.clone();
    nobody.token = None;
    assert_eq!(nobody.get("/api/admin/people").await.0, 401);
    desk.close().await;
}
