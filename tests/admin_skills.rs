//! The catalogue of skills, who has them, and what moderators say to have.

use serde_json::{Value, json};
use ticketd::people::{self, Role};

use crate::harness::admin::columns;
use crate::harness::desk::{Api, Desk};
use crate::harness::mail::mail;

const ADA: &str = "Ada <ada@example.net>";

async fn desk() -> (Desk, Api) {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let api = desk.logs_in("Dora").await;
    (desk, api)
}

/// Status and reason.
fn said((status, body): (u16, serde_json::Value)) -> String {
    format!("{status}: {}", body.pointer("/detail").and_then(Value::as_str).unwrap_or_default())
}

#[tokio::test]
async fn the_catalogue_is_kept_by_admins() {
    let (desk, api) = desk().await;
    let skills = "/api/admin/skills";
    let mail_servers =
        json!({"slug": "mail", "name": " Mail servers ", "aliases": [" SMTP ", "smtp", "imap"]});
    let (status, made) = api.post(skills, &mail_servers).await;
    assert_eq!(
        (status, &made["name"], &made["aliases"]),
        (201, &json!("Mail servers"), &json!(["SMTP", "imap"]))
    );
    let alias = |alias: &str| json!({"slug": "other", "name": "Other", "aliases": [alias]});
    insta::assert_snapshot!(said(api.post(skills, &mail_servers).await), @"409: there is a skill `mail` already: change that one, or choose another slug");
    insta::assert_snapshot!(said(api.post(skills, &alias("Smtp")).await), @"409: `smtp` stands for the skill `mail` already: an alias stands for one skill");
    insta::assert_snapshot!(said(api.post(skills, &alias("BILLING")).await), @"409: `billing` stands for the skill `billing` already: an alias stands for one skill");
    insta::assert_snapshot!(said(api.post(skills, &alias("")).await), @"400: name: a name or an alias has 1 to 100 characters, in one line");
    insta::assert_snapshot!(said(api.post(skills, &json!({"slug": "Ö", "name": "x"})).await), @"400: slug: `Ö` cannot be a slug: 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit");
    insta::assert_snapshot!(said(api.patch("/api/admin/skills/mail", &json!({"aliases": ["DNS"]})).await), @"409: `dns` stands for the skill `networking` already: an alias stands for one skill");
    insta::assert_snapshot!(said(api.patch("/api/admin/skills/mail", &json!({"slug": "post"})).await), @"400: slug: unknown field `slug`, expected one of `name`, `aliases`, `description`");
    assert_eq!(api.patch("/api/admin/skills/wine", &json!({"name": "x"})).await.0, 404);
    // Its own words stay its own.
    let (status, changed) = api
        .patch("/api/admin/skills/mail", &json!({"aliases": ["imap", "dkim"], "description": "Post"}))
        .await;
    assert_eq!(
        (status, &changed["name"], &changed["aliases"]),
        (200, &json!("Mail servers"), &json!(["imap", "dkim"]))
    );
    let (_, list) = api.get(skills).await;
    assert_eq!(
        columns(&list["skills"], &["slug", "staff", "active_tickets"]),
        ["billing 0 0", "mail 0 0", "networking 0 0"]
    );
    assert_eq!(
        (api.delete("/api/admin/skills/mail").await.0, api.delete("/api/admin/skills/mail").await.0),
        (204, 404)
    );
    insta::assert_snapshot!(desk.audited().await.join("\n"), @r#"
    Dora skill.created skill:mail {"aliases":["SMTP","imap"],"description":"","name":"Mail servers"}
    Dora skill.changed skill:mail {"from":{"aliases":["SMTP","imap"],"description":"","name":"Mail servers"},"to":{"aliases":["imap","dkim"],"description":"Post","name":"Mail servers"}}
    Dora skill.removed skill:mail {"active_tickets":0,"people":0,"tickets":0}
    "#);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_skill_in_use_is_removed_by_force_only_and_tickets_remember() {
    let (desk, api) = desk().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5), ("networking", 2)]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let (_, list) = api.get("/api/admin/skills").await;
    assert_eq!(
        columns(&list["skills"], &["slug", "staff", "active_tickets"]),
        ["billing 1 1", "networking 1 0"]
    );
    insta::assert_snapshot!(said(api.delete("/api/admin/skills/billing").await), @"409: the skill is in use: 1 people have it, 1 active tickets need it, and 1 tickets name it; with `force` it is taken from all of them");
    insta::assert_snapshot!(said(api.delete("/api/admin/skills/networking").await), @"409: the skill is in use: 1 people have it, 0 active tickets need it, and 0 tickets name it; with `force` it is taken from all of them");
    let version = desk.ticket(1001).await.version;
    assert_eq!(api.delete("/api/admin/skills/billing?force=true").await.0, 204);
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.required_skills, ticket.version), (Vec::<String>::new(), version + 1));
    let events = desk.events(1001).await;
    let last = events.last().expect("an event");
    assert_eq!((last.kind.as_str(), &last.data), ("skills", &json!({"to": [], "removed": "billing"})));
    desk.settle().await;
    assert_eq!(desk.assignee(1001).await.as_deref(), Some("Bea"), "who has it keeps it");
    desk.close().await;
}

#[tokio::test]
async fn admins_set_skills_and_decide_about_proposals() {
    let (desk, api) = desk().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 3)]).await;
    let cem = desk.hires("Cem", Role::Moderator, &[]).await;
    desk.handles(&mail(ADA, "DNS", "My router and its firewall are broken.")).await;
    insta::assert_snapshot!(desk.reason(1001).await, @"fallback: Dora, an admin, because no moderator has networking");
    let now = desk.clock.now();
    for (who, slug, level) in [(bea, "networking", 4), (cem, "networking", 2), (cem, "billing", 1)] {
        people::propose_skill(&desk.db, who, slug, level, now).await.expect("a proposal");
    }
    let (_, list) = api.get("/api/admin/proposals?limit=2").await;
    assert_eq!(
        columns(&list["proposals"], &["person_name", "slug", "level"]),
        ["Bea networking 4", "Cem billing 1"]
    );
    let cursor = list["next_cursor"].as_str().expect("there is more");
    let (_, list) = api.get(&format!("/api/admin/proposals?limit=2&cursor={cursor}")).await;
    assert_eq!(columns(&list["proposals"], &["person_name", "slug", "level"]), ["Cem networking 2"]);
    assert_eq!(api.get("/api/admin/proposals?cursor=a1").await.0, 400);

    let (beas, cems) = (format!("/api/admin/people/{bea}/skills"), format!("/api/admin/people/{cem}/skills"));
    // What is set leaves proposals that are not named where they are.
    let (_, set) = api.put(&cems, &json!({"skills": [{"slug": "billing", "level": 5}]})).await;
    assert_eq!(
        columns(&set["skills"], &["slug", "level", "confirmed"]),
        ["billing 5 true", "networking 2 false"]
    );
    assert_eq!(api.delete(&format!("{cems}/networking")).await.0, 204, "refused");
    let (status, set) = api.post(&format!("{beas}/networking/confirm"), &json!({})).await;
    assert_eq!(
        (status, columns(&set["skills"], &["slug", "level", "confirmed"])),
        (200, vec!["billing 3 true".to_owned(), "networking 4 true".to_owned()])
    );
    assert_eq!(api.post(&format!("{beas}/networking/confirm"), &json!({})).await.0, 404);
    desk.settle().await;
    insta::assert_snapshot!(desk.reason(1001).await, @"matched: Bea: 1 of 1 skill (networking), 0 of 10 open");

    assert_eq!(api.put(&format!("{beas}/billing"), &json!({"level": 1})).await.0, 200);
    insta::assert_snapshot!(said(api.put(&format!("{beas}/billing"), &json!({"level": 6})).await), @"400: level: a level is from 1 (knows a little) to 5 (knows it all)");
    insta::assert_snapshot!(said(api.put(&format!("{beas}/wine"), &json!({"level": 1})).await), @"400: skills: `wine` is no skill of the catalogue: choose one from the list");
    let (_, everybody) = api.get("/api/admin/people?q=ada").await;
    let adas = format!("/api/admin/people/{}/skills/billing", everybody["people"][0]["id"]);
    insta::assert_snapshot!(said(api.put(&adas, &json!({"level": 1})).await), @"409: only moderators and admins have skills");
    assert_eq!(api.put("/api/admin/people/99/skills/billing", &json!({"level": 1})).await.0, 404);
    insta::assert_snapshot!(desk.audited().await.join("\n"), @r#"
    Dora person.skills_set person:3 {"from":{},"to":{"billing":5}}
    Dora person.skill_refused person:3 {"level":2,"skill":"networking"}
    Dora person.skill_confirmed person:2 {"level":4,"skill":"networking"}
    Dora person.skill_set person:2 {"level":1,"skill":"billing"}
    "#);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn snippets_are_kept_by_admins_and_read_by_staff() {
    let (desk, api) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let (status, saved) =
        api.put("/api/admin/snippets/Refund", &json!({"body": " It takes three days. "})).await;
    assert_eq!(
        (status, &saved["name"], &saved["body"], &saved["updated_by"]),
        (200, &json!("refund"), &json!("It takes three days."), &json!("Dora"))
    );
    insta::assert_snapshot!(said(api.put("/api/admin/snippets/two%20words", &json!({"body": "x"})).await), @"400: name: `two words` cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit");
    insta::assert_snapshot!(said(api.put("/api/admin/snippets/empty", &json!({"body": " "})).await), @"400: body: it is empty: write what it shall say");
    let bea = desk.logs_in("Bea").await;
    assert_eq!(columns(&bea.get("/api/admin/snippets").await.1["snippets"], &["name"]), ["refund"]);
    assert_eq!(bea.get("/api/admin/snippets/REFUND").await.1["body"], "It takes three days.");
    assert_eq!(
        (api.delete("/api/admin/snippets/Refund").await.0, api.delete("/api/admin/snippets/refund").await.0),
        (204, 404)
    );
    assert_eq!(
        desk.audited().await,
        ["Dora snippet.saved snippet:refund {}", "Dora snippet.removed snippet:refund {}"]
    );
    desk.close().await;
}
