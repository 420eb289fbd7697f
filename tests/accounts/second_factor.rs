//! The second factor: what a password alone does not open.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use ticketd::people::Role;
use totp_rs::{Builder, Secret};

use super::{desk, desk_with, entries, log_is_clean};
use crate::harness::browser::{Answer, Browser};
use crate::harness::desk::{Desk, STAFF_PASSWORD};

/// The app on somebody's phone.
struct App(String);

impl App {
    fn code(&self, at: DateTime<Utc>) -> String {
        let secret = Secret::try_from_base32(&self.0).expect("Base32");
        let totp = Builder::new().with_secret(secret).with_account_name("x").build().expect("codes");
        totp.generate(u64::try_from(at.timestamp()).expect("after 1970")).to_string()
    }
}

async fn log_in(browser: &Browser, code: Option<&str>) -> Answer {
    let body = json!({"email": "bea@example.org", "password": STAFF_PASSWORD, "code": code});
    browser.post("/api/auth/login", &body).await
}

/// Bea sets up a second factor, in a log-in that goes on.
async fn sets_up(desk: &Desk, bea: &Browser) -> (App, Vec<String>) {
    let offered = bea.post("/api/auth/me/second-factor", &json!({"password": STAFF_PASSWORD})).await;
    assert_eq!(offered.status, 201, "{}", offered.body);
    let app = App(offered.text("/secret"));
    let code = json!({"code": app.code(desk.clock.now())});
    let confirmed = bea.post("/api/auth/me/second-factor/confirm", &code).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let codes = confirmed.at("/recovery_codes");
    let codes = codes.as_array().expect("codes").iter().filter_map(Value::as_str).map(str::to_owned);
    desk.clock.advance(TimeDelta::seconds(30));
    (app, codes.collect())
}

async fn desk_of_bea(more: &str) -> (Desk, Browser, Browser) {
    let (desk, browser) = desk_with(more).await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let bea = browser.with(&browser.log_in("Bea").await.text("/access_token"));
    (desk, browser, bea)
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_a_first_code_was_typed() {
    let (desk, browser, bea) = desk_of_bea("").await;
    assert_eq!(
        bea.post("/api/auth/me/second-factor", &json!({})).await.problem(),
        "400: password: type your password as well"
    );
    let wrong = bea.post("/api/auth/me/second-factor", &json!({"password": "wrong password"})).await;
    assert_eq!(wrong.problem(), "400: password: that is not your password");
    let offered = bea.post("/api/auth/me/second-factor", &json!({"password": STAFF_PASSWORD})).await;
    let url = offered.text("/otpauth_url");
    assert!(url.starts_with("otpauth://totp/ticketd:bea%40example.org?secret="), "{url}");
    assert_eq!(log_in(&browser, None).await.status, 200, "an offer is no second factor");
    let guess = bea.post("/api/auth/me/second-factor/confirm", &json!({"code": "000000"})).await;
    insta::assert_snapshot!(guess.problem(), @"400: code: that is not the code: wait for the next one and type it, or use a recovery code");

    let (app, codes) = sets_up(&desk, &bea).await;
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|c| c.len() == 19 && c.matches('-').count() == 3), "{codes:?}");
    let state = bea.get("/api/auth/me/second-factor").await.json();
    assert_eq!(state, json!({"active": true, "recovery_codes_left": 10}));
    let refused = log_in(&browser, None).await;
    insta::assert_snapshot!(refused.problem(), @"401: a second factor is asked for: send `code` as well, from your app or one of your recovery codes");
    assert_eq!(refused.at("/type"), json!("/problems/second-factor"));
    let wrong = log_in(&browser, Some("123456")).await;
    assert_eq!((wrong.status, wrong.at("/type")), (401, json!("/problems/second-factor")));
    let code = app.code(desk.clock.now());
    let (front, back) = code.split_at_checked(3).expect("six digits");
    let spaced = format!(" {front} {back}");
    assert_eq!(log_in(&browser, Some(&spaced)).await.status, 200);
    assert_eq!(log_in(&browser, Some(&code)).await.status, 401, "a code is good once");
    desk.clock.advance(TimeDelta::seconds(30));
    assert_eq!(log_in(&browser, Some(&code)).await.status, 401, "also while its time is not over");
    let ahead = app.code(desk.clock.now() + TimeDelta::seconds(30));
    assert_eq!(log_in(&browser, Some(&ahead)).await.status, 200, "a phone's clock may be ahead");
    let behind = app.code(desk.clock.now());
    assert_eq!(
        log_in(&browser, Some(&behind)).await.status,
        401,
        "an older one than the last may have been seen"
    );
    let again = bea.post("/api/auth/me/second-factor", &json!({"password": STAFF_PASSWORD})).await;
    assert_eq!(again.status, 409);
    log_is_clean(&desk, &[&app.0, &codes[0], &code]);
    let kinds: Vec<String> =
        entries(&desk).await.iter().filter_map(|e| e.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(
        kinds,
        ["second_factor.enabled", "login.failed", "login.failed", "login.failed", "login.failed"]
    );
    desk.close().await;
}

#[tokio::test]
async fn a_code_cannot_be_guessed() {
    let (desk, browser, bea) = desk_of_bea("").await;
    let (app, codes) = sets_up(&desk, &bea).await;
    for _ in 0..5 {
        assert_eq!(log_in(&browser, Some("000000")).await.status, 401);
    }
    let right = app.code(desk.clock.now());
    for code in [right.as_str(), &codes[0]] {
        let refused = log_in(&browser, Some(code)).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, "900"), "{}", refused.body);
    }
    desk.clock.advance(TimeDelta::minutes(15));
    assert_eq!(log_in(&browser, Some(&app.code(desk.clock.now()))).await.status, 200);
    desk.close().await;
}

#[tokio::test]
async fn recovery_codes_are_good_once_and_are_replaced_or_gone_with_the_second_factor() {
    let (desk, browser, bea) = desk_of_bea("").await;
    let (app, codes) = sets_up(&desk, &bea).await;
    let typed = codes[0].to_lowercase().replace('-', " ").replace('0', "o");
    assert_eq!(log_in(&browser, Some(&typed)).await.status, 200);
    assert_eq!(log_in(&browser, Some(&codes[0])).await.status, 401, "good once");
    assert_eq!(bea.get("/api/auth/me/second-factor").await.at("/recovery_codes_left"), json!(9));
    let proof = |password: &str, code: &str| json!({"password": password, "code": code});
    let renew = "/api/auth/me/second-factor/recovery-codes";
    let refused = bea.post(renew, &proof("wrong password", &codes[1])).await;
    assert_eq!(refused.problem(), "400: password: that is not your password");
    let fresh = bea.post(renew, &proof(STAFF_PASSWORD, &app.code(desk.clock.now()))).await;
    assert_eq!(fresh.status, 200, "{}", fresh.body);
    assert_eq!(log_in(&browser, Some(&codes[1])).await.status, 401, "those of before are void");
    let off = "/api/auth/me/second-factor/disable";
    assert_eq!(bea.post(off, &proof(STAFF_PASSWORD, "000000")).await.status, 400);
    let fresh = fresh.text("/recovery_codes/0");
    assert_eq!(bea.post(off, &proof(STAFF_PASSWORD, &fresh)).await.status, 204);
    assert_eq!(log_in(&browser, None).await.status, 200);
    assert_eq!(bea.post(off, &proof(STAFF_PASSWORD, &fresh)).await.status, 409, "there is none");
    assert_eq!(desk.count("SELECT count(*) FROM recovery_codes").await, 0);
    let last = entries(&desk).await.pop();
    assert_eq!(last.as_deref(), Some("second_factor.disabled person:1 {}"));
    desk.close().await;
}

#[tokio::test]
async fn where_it_is_asked_of_staff_they_do_nothing_without_it() {
    let (desk, browser, bea) = desk_of_bea("[auth]\nrequire_second_factor = \"staff\"\n").await;
    let refused = bea.get("/api/tickets").await;
    insta::assert_snapshot!(refused.problem(), @"403: a second factor is asked of staff here: set one up by POST /api/auth/me/second-factor, or log in with its code");
    assert_eq!(refused.at("/type"), json!("/problems/second-factor-required"));
    assert_eq!(bea.get("/api/auth/me").await.at("/restricted"), json!(true));
    let token = json!({"name": "a way round", "scopes": ["tickets:read"]});
    assert_eq!(bea.post("/api/auth/me/tokens", &token).await.status, 403);
    assert_eq!(bea.put("/api/auth/me/password", &json!({})).await.status, 403);
    let (app, _) = sets_up(&desk, &bea).await;
    assert_eq!(bea.get("/api/tickets").await.status, 200, "this log-in has shown one");
    let next = log_in(&browser, Some(&app.code(desk.clock.now()))).await;
    let next = browser.with(&next.text("/access_token"));
    assert_eq!(next.get("/api/tickets").await.status, 200);
    assert_eq!(next.get("/api/auth/me").await.at("/restricted"), json!(false));
    let ada = super::account(&desk, &browser, "ada@example.net").await;
    assert_eq!(ada.get("/api/tickets").await.status, 200, "of others it is not asked");
    assert_eq!(bea.post_empty("/api/auth/logout", "none").await.status, 204);
    desk.close().await;
}

#[tokio::test]
async fn a_new_password_does_not_take_the_second_factor_away() {
    let (desk, browser) = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let bea = browser.with(&browser.log_in("Bea").await.text("/access_token"));
    sets_up(&desk, &bea).await;
    assert_eq!(
        browser.post("/api/auth/password/reset", &json!({"email": "bea@example.org"})).await.status,
        202
    );
    desk.settle().await;
    let token = super::token_mailed_to(&desk, "bea@example.org", "reset");
    let reset = json!({"token": token, "password": STAFF_PASSWORD});
    assert_eq!(browser.post("/api/auth/password/reset/confirm", &reset).await.status, 204);
    assert_eq!(log_in(&browser, None).await.at("/type"), json!("/problems/second-factor"));
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn who_lost_the_phone_and_the_codes_is_let_in_by_an_admin_and_nobody_lets_themselves_in() {
    let (desk, browser, bea) = desk_of_bea("").await;
    sets_up(&desk, &bea).await;
    let dan = desk.hires("Dan", Role::Admin, &[]).await;
    let dan_browser = browser.with(&browser.log_in("Dan").await.text("/access_token"));
    let id = bea.get("/api/auth/me").await.json()["id"].as_i64().expect("a number");
    let path = format!("/api/admin/people/{id}/second-factor");
    assert_eq!(bea.delete(&path).await.status, 403);
    assert_eq!(dan_browser.delete(&path).await.status, 204);
    assert_eq!(dan_browser.delete(&path).await.problem(), "409: they have no second factor");
    assert_eq!(bea.get("/api/auth/me").await.status, 401, "she is logged out");
    assert_eq!(log_in(&browser, None).await.status, 200, "and in again without a code");
    let own = dan_browser.delete(&format!("/api/admin/people/{dan}/second-factor")).await;
    insta::assert_snapshot!(own.problem(), @"409: your own is switched off by POST /api/auth/me/second-factor/disable, with a code");
    let told = entries(&desk).await;
    assert!(told.iter().any(|entry| entry.contains("person.second_factor_reset")), "{told:?}");
    desk.close().await;
}
