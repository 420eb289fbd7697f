//! Choosing another password.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::Row;
use ticketd::people::{self, NewStaff, Role};

use super::{PASSWORD, account, desk, desk_with, entries, logs_in, me, token_mailed_to};
use crate::harness::mail::{header, text};

const ADA: &str = "ada@example.net";
const NEW: &str = "another long password";

#[tokio::test]
async fn a_changed_password_ends_all_other_log_ins_and_a_mail_says_so() {
    let (desk, browser) = desk().await;
    let ada = account(&desk, &browser, ADA).await;
    let elsewhere = browser.with(&logs_in(&browser, ADA, PASSWORD).await.text("/access_token"));
    let change = async |current: &str, new: &str| {
        ada.put("/api/auth/me/password", &json!({"current": current, "new": new})).await
    };
    insta::assert_snapshot!(change("wrong password", NEW).await.problem(), @"400: current: that is not your password");
    insta::assert_snapshot!(change(PASSWORD, "short").await.problem(), @"400: new: the password has 5 characters: take at least 10");
    assert_eq!(change(PASSWORD, NEW).await.status, 204);
    desk.settle().await;
    assert_eq!(
        (ada.get("/api/auth/me").await.status, elsewhere.get("/api/auth/me").await.status),
        (200, 401)
    );
    assert_eq!(logs_in(&browser, ADA, PASSWORD).await.status, 401);
    assert_eq!(logs_in(&browser, ADA, NEW).await.status, 200);
    let raw = desk.last_mail_to(ADA);
    assert_eq!(header(&raw, "Subject").as_deref(), Some("Your password was changed"));
    assert!(text(&raw).contains("http://127.0.0.1:8080/account/reset"), "{raw}");
    let entries = entries(&desk).await;
    assert!(entries.contains(&"password.changed person:1 {}".to_owned()), "{entries:?}");
    desk.close().await;
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_a_link_that_is_good_once_and_for_an_hour() {
    let (desk, browser) = desk().await;
    let ada = account(&desk, &browser, ADA).await;
    let ask = async || {
        let asked = browser.post("/api/auth/password/reset", &json!({"email": ADA})).await;
        assert_eq!(asked.status, 202);
        desk.settle().await;
        token_mailed_to(&desk, ADA, "reset")
    };
    let reset = async |token: &str, password: &str| {
        browser.post("/api/auth/password/reset/confirm", &json!({"token": token, "password": password})).await
    };
    let late = ask().await;
    desk.clock.advance(TimeDelta::hours(1));
    assert_eq!(
        reset(&late, NEW).await.problem(),
        "400: token: this link is not good any more: ask for another one"
    );
    let (unused, token) = (ask().await, ask().await);
    insta::assert_snapshot!(reset(&token, "short").await.problem(), @"400: password: the password has 5 characters: take at least 10");
    let (a, b) = tokio::join!(reset(&token, NEW), reset(&token, NEW));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 400], "good once, also for two at once");
    assert_eq!(reset(&unused, PASSWORD).await.status, 400, "the others end with it");
    assert_eq!(ada.get("/api/auth/me").await.status, 401, "logged out everywhere");
    assert_eq!(logs_in(&browser, ADA, NEW).await.status, 200);
    desk.settle().await;
    assert_eq!(header(&desk.last_mail_to(ADA), "Subject").as_deref(), Some("Your password was changed"));
    let confirm = json!({"token": token, "password": NEW});
    assert_eq!(
        browser.post("/api/auth/signup/confirm", &confirm).await.status,
        400,
        "a link for one thing only"
    );
    desk.close().await;
}

#[tokio::test]
async fn staff_whom_an_admin_entered_choose_their_first_password_by_the_link() {
    let (desk, browser) = desk().await;
    let staff = NewStaff {
        name: "Nik".to_owned(),
        email: "nik@example.org".to_owned(),
        role: Role::Moderator,
        cap: None,
        away: false,
        skills: Vec::new(),
    };
    people::save_staff(&desk.db, &staff, desk.clock.now()).await.expect("staff");
    desk.settle().await;
    let page = browser.get("/account/reset").await;
    insta::assert_snapshot!(page.page(), @"200: Choose a new password Type your mail address, and a link to choose a new password is mailed to it. Mail address Send the link");
    let asked = browser.submit("/account/reset", &[("email", "nik@example.org")]).await;
    insta::assert_snapshot!(asked.page(), @"200: Look into your mail If the address has an account, a link to choose a new password was mailed to it.");
    desk.settle().await;
    let token = token_mailed_to(&desk, "nik@example.org", "reset");
    let page = browser.get(&format!("/account/reset?token={token}")).await;
    insta::assert_snapshot!(page.page(), @"200: Choose a new password It has at least 10 characters. You will be logged out everywhere. New password Change it");
    let done = browser.submit("/account/reset", &[("token", &token), ("password", NEW)]).await;
    insta::assert_snapshot!(done.page(), @"200: Your password is changed You can log in with it now.");
    let nik = logs_in(&browser, "nik@example.org", NEW).await;
    let nik = browser.with(&nik.text("/access_token"));
    assert_eq!(me(&nik).await["role"], json!("moderator"));
    let unproven = "SELECT count(*) FROM identities WHERE verified_at IS NULL";
    assert_eq!(desk.count(unproven).await, 0, "the address is proven by it");
    assert_eq!(entries(&desk).await, ["password.reset person:1 {}"]);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_password_that_was_hashed_otherwise_is_hashed_anew_at_log_in() {
    let (desk, browser) = desk().await;
    account(&desk, &browser, ADA).await;
    // argon2id with 8 MiB and one pass, as in other days.
    let old = {
        use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
        let params = Params::new(8 * 1024, 1, 1, None).expect("parameters");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password(PASSWORD.as_bytes()).expect("a hash").to_string()
    };
    sqlx::query("UPDATE credentials SET password_hash = $1")
        .bind(&old)
        .execute(&desk.db)
        .await
        .expect("an old hash");
    let stored = async || -> String {
        sqlx::query("SELECT password_hash FROM credentials").fetch_one(&desk.db).await.expect("a hash").get(0)
    };
    assert_eq!(logs_in(&browser, ADA, "wrong password").await.status, 401);
    assert_eq!(stored().await, old);
    let answer = logs_in(&browser, ADA, PASSWORD).await;
    assert_eq!(answer.status, 200);
    assert!(stored().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(logs_in(&browser, ADA, PASSWORD).await.status, 200);
    assert_eq!(me(&browser.with(&answer.text("/access_token"))).await["has_password"], json!(true));
    desk.close().await;
}

#[tokio::test]
async fn names_and_skills_are_ones_own_to_say() {
    let (desk, browser) = desk_with("").await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 3)]).await;
    let bea = browser.with(&browser.log_in("Bea").await.text("/access_token"));
    assert_eq!(bea.patch("/api/auth/me", &json!({"name": " Beatrix "})).await.at("/name"), json!("Beatrix"));
    assert_eq!(bea.patch("/api/auth/me", &json!({"role": "admin"})).await.status, 400);
    let skills = json!({"skills": [{"slug": "networking", "level": 4}]});
    insta::assert_snapshot!(bea.put("/api/auth/me/skills", &skills).await.body, @r#"[{"slug":"billing","name":"Billing","level":3,"confirmed":true},{"slug":"networking","name":"Networking","level":4,"confirmed":false}]"#);
    let unknown = json!({"skills": [{"slug": "billing", "level": 3}, {"slug": "magic", "level": 1}]});
    insta::assert_snapshot!(bea.put("/api/auth/me/skills", &unknown).await.problem(), @"400: skills[1].slug: `magic` is no skill of the catalogue: choose one from the list");
    let higher = json!({"skills": [{"slug": "billing", "level": 5}]});
    insta::assert_snapshot!(bea.put("/api/auth/me/skills", &higher).await.problem(), @"409: `billing` is confirmed at level 3: ask an admin to change it");
    let ada = account(&desk, &browser, ADA).await;
    assert_eq!(ada.put("/api/auth/me/skills", &skills).await.status, 403);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_reset_ends_the_tokens_that_somebody_else_may_have_made() {
    let (desk, browser) = desk().await;
    let ada = account(&desk, &browser, ADA).await;
    let made = ada.post("/api/auth/me/tokens", &json!({"name": "stolen", "scopes": ["tickets:read"]})).await;
    let program = browser.with(&made.text("/token"));
    assert_eq!(program.get("/api/tickets").await.status, 200);
    browser.post("/api/auth/password/reset", &json!({"email": ADA})).await;
    desk.settle().await;
    let token = token_mailed_to(&desk, ADA, "reset");
    let reset =
        browser.post("/api/auth/password/reset/confirm", &json!({"token": token, "password": NEW})).await;
    assert_eq!(reset.status, 204);
    assert_eq!(program.get("/api/tickets").await.status, 401);
    desk.settle().await;
    desk.close().await;
}
