//! API tokens: for programs that act for a person.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::people::Role;

use super::{desk, entries, log_is_clean};

#[tokio::test]
async fn a_token_does_what_its_scopes_say_until_it_expires_or_is_revoked() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let bea = browser.with(&browser.log_in("Bea").await.text("/access_token"));
    let made =
        bea.post("/api/auth/me/tokens", &json!({"name": " export ", "scopes": ["tickets:read"]})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let secret = made.text("/token");
    assert!(secret.starts_with("tdk_") && secret.len() == 47, "{secret}");
    assert_eq!(made.at("/expires_at"), json!("2027-02-19T09:00:00Z"), "90 days");
    assert!(secret.ends_with(&made.text("/hint")) && made.text("/hint").len() == 4);
    let program = browser.with(&secret);
    assert_eq!(program.get("/api/tickets").await.status, 200);
    let write = program.post("/api/tickets/1001/messages", &json!({"body": "x"})).await;
    insta::assert_snapshot!(write.problem(), @"403: your API token lacks the scope tickets:write");
    for path in ["/api/auth/me", "/api/auth/me/tokens", "/api/auth/me/sessions"] {
        assert_eq!(program.get(path).await.problem(), "403: API tokens are not for this: log in", "{path}");
    }
    assert_eq!(program.post_empty("/api/auth/logout", "none").await.status, 403);
    let list = bea.get("/api/auth/me/tokens").await;
    assert_eq!(
        (list.at("/0/last_used_at"), list.at("/0/token")),
        (json!("2026-11-21T09:00:00Z"), json!(null))
    );
    assert_eq!(list.at("/0/name"), json!("export"));

    let short = json!({"name": "short", "scopes": ["tickets:read"], "expires_at": "2026-11-21T10:00:00Z"});
    let short = browser.with(&bea.post("/api/auth/me/tokens", &short).await.text("/token"));
    assert_eq!(short.get("/api/tickets").await.status, 200);
    desk.clock.advance(TimeDelta::hours(1));
    assert_eq!(short.get("/api/tickets").await.status, 401, "its time is over");
    let bea = browser.with(&browser.log_in("Bea").await.text("/access_token"));
    assert_eq!(bea.get("/api/auth/me/tokens").await.json().as_array().map(Vec::len), Some(1));

    desk.hires("Nik", Role::Moderator, &[]).await;
    let nik = browser.with(&browser.log_in("Nik").await.text("/access_token"));
    assert_eq!(nik.delete("/api/auth/me/tokens/1").await.status, 404, "another's");
    assert_eq!(bea.delete("/api/auth/me/tokens/1").await.status, 204);
    assert_eq!(program.get("/api/tickets").await.status, 401, "at once");
    assert_eq!(bea.delete("/api/auth/me/tokens/1").await.status, 404);
    let kinds: Vec<String> =
        entries(&desk).await.iter().map(|e| e.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(kinds, ["token.created token:1", "token.created token:2", "token.revoked token:1"]);
    log_is_clean(&desk, &[&secret]);
    desk.close().await;
}

#[tokio::test]
async fn a_token_that_is_meant_wrongly_is_not_made() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let bea = browser.with(&browser.log_in("Bea").await.text("/access_token"));
    let make = async |name: &str, scopes: &[&str], expires_at: Option<&str>| {
        let body = json!({"name": name, "scopes": scopes, "expires_at": expires_at});
        bea.post("/api/auth/me/tokens", &body).await.problem()
    };
    insta::assert_snapshot!(make("", &["tickets:read"], None).await, @"400: name: give the token a name of 1 to 100 characters that says what it is for");
    insta::assert_snapshot!(make("x", &[], None).await, @"400: scopes: say what the token is for: `scopes` holds at least one scope, and at most 50");
    insta::assert_snapshot!(make("x", &["tickets:read", "everything"], None).await, @"400: scopes[1]: is none of tickets:read, tickets:write, reports:read, admin:read, admin:write");
    insta::assert_snapshot!(make("x", &["tickets:read"], Some("2026-11-21T09:00:00Z")).await, @"400: expires_at: a token expires within a year, and not before it is made: choose another `expires_at`");
    insta::assert_snapshot!(make("x", &["tickets:read"], Some("2027-11-22T09:00:00Z")).await, @"400: expires_at: a token expires within a year, and not before it is made: choose another `expires_at`");
    for _ in 0..50 {
        let made = bea.post("/api/auth/me/tokens", &json!({"name": "x", "scopes": ["tickets:read"]})).await;
        assert_eq!(made.status, 201);
    }
    insta::assert_snapshot!(make("x", &["tickets:read"], None).await, @"409: you have 50 tokens already: revoke one that is not used any more");
    desk.close().await;
}
