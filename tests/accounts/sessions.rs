//! Log-ins that go on, and how they end.

use chrono::TimeDelta;
use serde_json::json;
use ticketd::people::{self, Role};

use super::{desk, desk_with, entries, log_is_clean};

#[tokio::test]
async fn a_refresh_token_is_good_once_and_gives_the_next_one() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let first = browser.log_in("Bea").await;
    assert_eq!((first.status, first.at("/expires_in")), (200, json!(900)));
    assert_eq!(first.at("/session_expires_at"), json!("2026-12-21T09:00:00Z"));
    let mut token = first.text("/refresh_token");
    assert!(token.starts_with("tdr_") && token.len() == 47, "{token}");
    for _ in 0..3 {
        desk.clock.advance(TimeDelta::hours(1));
        let next = browser.post("/api/auth/refresh", &json!({"refresh_token": token})).await;
        assert_eq!(next.status, 200, "{}", next.body);
        assert_ne!(next.text("/refresh_token"), token);
        token = next.text("/refresh_token");
        let bea = browser.with(&next.text("/access_token"));
        assert_eq!(bea.get("/api/tickets").await.status, 200);
    }
    assert_eq!(
        browser.with(&first.text("/access_token")).get("/api/tickets").await.status,
        401,
        "its time is over"
    );
    let stored =
        "SELECT count(*) FROM refresh_tokens WHERE position('tdr_' IN encode(token_hash, 'escape')) > 0";
    assert_eq!(desk.count(stored).await, 0, "only hashes are stored");
    assert_eq!(desk.count("SELECT count(*) FROM sessions").await, 1);
    log_is_clean(&desk, &["tdr_", "bea@example.org"]);
    desk.close().await;
}

#[tokio::test]
async fn a_refresh_token_that_was_copied_ends_the_log_in_for_owner_and_thief() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let stolen = browser.log_in("Bea").await.text("/refresh_token");
    let elsewhere = browser.log_in("Bea").await.text("/access_token");
    let owner = browser.post("/api/auth/refresh", &json!({"refresh_token": stolen})).await;
    let access = browser.with(&owner.text("/access_token"));
    assert_eq!(access.get("/api/tickets").await.status, 200);
    let thief = browser.post("/api/auth/refresh", &json!({"refresh_token": stolen})).await;
    insta::assert_snapshot!(thief.problem(), @"401: this log-in was used in two places at once, so it has ended: log in again");
    assert_eq!(access.get("/api/tickets").await.status, 401, "the owner's access token");
    let next = json!({"refresh_token": owner.text("/refresh_token")});
    let refused = browser.post("/api/auth/refresh", &next).await;
    insta::assert_snapshot!(refused.problem(), @"401: this log-in has ended: log in again");
    assert_eq!(
        browser.with(&elsewhere).get("/api/tickets").await.status,
        200,
        "another log-in of hers goes on"
    );
    assert_eq!(entries(&desk).await, [r#"session.reuse_detected person:1 {"session":1}"#]);
    desk.close().await;
}

#[tokio::test]
async fn of_two_who_show_one_refresh_token_at_once_only_one_gets_on_and_not_for_long() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let token = json!({"refresh_token": browser.log_in("Bea").await.text("/refresh_token")});
    let ask = || browser.post("/api/auth/refresh", &token);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    let mut statuses = [a.status, b.status, c.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401]);
    assert_eq!(desk.count("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await, 0);
    assert_eq!(desk.count("SELECT count(*) FROM refresh_tokens").await, 2);
    desk.close().await;
}

#[tokio::test]
async fn a_log_in_ends_by_its_time_by_its_owner_and_with_its_person() {
    let (desk, browser) = desk_with("[auth]\nrefresh_days = 2\n").await;
    let bea = desk.hires("Bea", Role::Moderator, &[]).await;
    let refresh =
        async |token: &str| browser.post("/api/auth/refresh", &json!({"refresh_token": token})).await.status;
    let late = browser.log_in("Bea").await.text("/refresh_token");
    desk.clock.advance(TimeDelta::days(2));
    assert_eq!(refresh(&late).await, 401, "its time is over");

    let out = browser.log_in("Bea").await;
    let access = browser.with(&out.text("/access_token"));
    assert_eq!(access.post_empty("/api/auth/logout", "none").await.status, 204);
    assert_eq!(access.get("/api/tickets").await.status, 401, "at once");
    assert_eq!(refresh(&out.text("/refresh_token")).await, 401);

    let out = browser.log_in("Bea").await;
    let token = json!({"refresh_token": out.text("/refresh_token")});
    assert_eq!(browser.post("/api/auth/logout", &token).await.status, 204, "by the refresh token alone");
    assert_eq!(browser.with(&out.text("/access_token")).get("/api/tickets").await.status, 401);
    assert_eq!(browser.post_empty("/api/auth/logout", "none").await.status, 401, "nothing was shown");

    let off = browser.log_in("Bea").await.text("/refresh_token");
    sqlx::query("UPDATE persons SET active = FALSE WHERE id = $1")
        .bind(bea.0)
        .execute(&desk.db)
        .await
        .expect("off");
    assert_eq!(refresh(&off).await, 401, "the person was switched off");
    for wrong in ["", "tdr_", "tdr_x", "x", &"tdr_a".repeat(10_000)] {
        assert_eq!(refresh(wrong).await, 401);
    }
    desk.close().await;
}

#[tokio::test]
async fn one_sees_ones_log_ins_and_ends_them() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    desk.hires("Nik", Role::Moderator, &[]).await;
    let tokens = [browser.log_in("Bea").await, browser.log_in("Bea").await, browser.log_in("Bea").await];
    let [phone, laptop, here] = tokens.map(|t| browser.with(&t.text("/access_token")));
    let nik = browser.with(&browser.log_in("Nik").await.text("/access_token"));
    let list = here.get("/api/auth/me/sessions").await;
    insta::assert_snapshot!(list.at("/0"), @r#"{"created_at":"2026-11-21T09:00:00Z","current":true,"expires_at":"2026-12-21T09:00:00Z","id":3,"last_used_at":"2026-11-21T09:00:00Z","method":"password","user_agent":"Test Browser/1.0"}"#);
    assert_eq!((list.json().as_array().map(Vec::len), list.at("/1/current")), (Some(3), json!(false)));
    assert_eq!(nik.delete("/api/auth/me/sessions/1").await.status, 404, "another's");
    assert_eq!(here.delete("/api/auth/me/sessions/1").await.status, 204);
    assert_eq!(here.delete("/api/auth/me/sessions/1").await.status, 404, "it has ended already");
    assert_eq!(phone.get("/api/tickets").await.status, 401);
    assert_eq!(laptop.get("/api/tickets").await.status, 200);
    assert_eq!(here.delete("/api/auth/me/sessions").await.json(), json!({"ended": 1}));
    assert_eq!((laptop.get("/api/tickets").await.status, here.get("/api/tickets").await.status), (401, 200));
    assert_eq!(nik.get("/api/tickets").await.status, 200);
    desk.close().await;
}

#[tokio::test]
async fn a_page_keeps_its_log_in_in_a_cookie_that_no_other_site_can_use() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let login = json!({"email": "bea@example.org", "password": "correct horse battery", "cookie": true});
    let answer = browser.post("/api/auth/login", &login).await;
    assert_eq!(answer.at("/refresh_token"), json!(null));
    let set = answer.header("set-cookie");
    assert!(set.ends_with("; Max-Age=2592000; Path=/api/auth; SameSite=Strict; HttpOnly"), "{set}");
    let first = browser.cookie("ticketd_refresh").expect("a cookie");
    for site in ["cross-site", "same-site"] {
        let refused = browser.post_empty("/api/auth/refresh", site).await;
        assert_eq!(refused.problem(), "403: this is taken from our own pages only");
    }
    let next = browser.post_empty("/api/auth/refresh", "same-origin").await;
    assert_eq!((next.status, next.at("/refresh_token")), (200, json!(null)));
    assert_ne!(browser.cookie("ticketd_refresh"), Some(first));
    let bea = browser.with(&next.text("/access_token"));
    assert_eq!(browser.post_empty("/api/auth/logout", "cross-site").await.status, 403);
    assert_eq!(bea.get("/api/tickets").await.status, 200);
    assert_eq!(browser.post_empty("/api/auth/logout", "same-origin").await.status, 204);
    assert_eq!(browser.cookie("ticketd_refresh"), None);
    assert_eq!(bea.get("/api/tickets").await.status, 401);

    browser.set_cookie("ticketd_refresh", "tdr_that-was-never-given-out");
    assert_eq!(browser.post_empty("/api/auth/refresh", "same-origin").await.status, 401);
    assert_eq!(browser.cookie("ticketd_refresh"), None, "what is not good is thrown away");
    desk.close().await;
}

#[tokio::test]
async fn what_is_over_is_swept_and_what_goes_on_is_not() {
    let (desk, browser) = desk_with("[auth]\nrefresh_days = 40\n").await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let ended = browser.log_in("Bea").await.text("/refresh_token");
    assert_eq!(browser.post("/api/auth/logout", &json!({"refresh_token": ended})).await.status, 204);
    let token = browser.log_in("Bea").await.text("/refresh_token");
    let token =
        browser.post("/api/auth/refresh", &json!({"refresh_token": token})).await.text("/refresh_token");
    assert_eq!(
        browser.post("/api/auth/password/reset", &json!({"email": "bea@example.org"})).await.status,
        202
    );
    desk.settle().await;
    let sweep = async || {
        let mut tx = desk.db.begin().await.expect("a transaction");
        let swept =
            people::sweep(&mut tx, Some(TimeDelta::days(30)), desk.clock.now()).await.expect("a sweep");
        tx.commit().await.expect("a commit");
        swept
    };
    assert_eq!(sweep().await, people::Swept::default());
    desk.clock.advance(TimeDelta::days(31));
    let swept = sweep().await;
    assert_eq!((swept.sessions, swept.refresh_tokens, swept.letters), (1, 1, 1));
    assert_eq!(browser.post("/api/auth/refresh", &json!({"refresh_token": token})).await.status, 200);
    desk.close().await;
}
