//! Accounts from outside: signing up, logging in, passwords, second factors, API tokens. Nobody learns from any answer whose
//! address is known.

mod merging;
mod passwords;
mod second_factor;
mod sessions;
mod sign_up;
mod tokens;

use serde_json::{Value, json};
use sqlx::Row;
use ticketd::audit;
use ticketd::ids::PersonId;

use crate::harness::browser::{Answer, Browser};
use crate::harness::desk::{Desk, Plan};
use crate::harness::mail::text;

/// As many tries as a test wants.
pub const NO_LIMITS: &str =
    "[limits]\nlog_ins_per_address = 0\nlog_ins_per_account = 0\nletters_per_address = 0\n";
pub const PASSWORD: &str = "a long enough password";

pub async fn desk_with(more: &str) -> (Desk, Browser) {
    let desk = Desk::with(Plan { more: format!("{NO_LIMITS}{more}"), ..Plan::default() }).await;
    let browser = Browser::of(&desk).await;
    (desk, browser)
}

pub async fn desk() -> (Desk, Browser) {
    desk_with("").await
}

/// The token in the link of the newest mail to an address.
pub fn token_mailed_to(desk: &Desk, address: &str, page: &str) -> String {
    let text = text(&desk.last_mail_to(address));
    let start = format!("    http://127.0.0.1:8080/account/{page}?token=");
    let token = text.lines().find_map(|line| line.strip_prefix(&start));
    token.unwrap_or_else(|| panic!("no link to {page} in {text}")).to_owned()
}

pub async fn signs_up(browser: &Browser, email: &str, password: &str) -> Answer {
    browser
        .post("/api/auth/signup", &json!({"email": email, "name": "Ada Lovelace", "password": password}))
        .await
}

pub async fn logs_in(browser: &Browser, email: &str, password: &str) -> Answer {
    browser.post("/api/auth/login", &json!({"email": email, "password": password})).await
}

/// Somebody with a confirmed account, logged in.
pub async fn account(desk: &Desk, browser: &Browser, email: &str) -> Browser {
    assert_eq!(signs_up(browser, email, PASSWORD).await.status, 202);
    desk.settle().await;
    let token = token_mailed_to(desk, email, "confirm");
    let confirmed =
        browser.post("/api/auth/signup/confirm", &json!({"token": token, "password": PASSWORD})).await;
    assert_eq!(confirmed.status, 204, "{}", confirmed.body);
    let answer = logs_in(browser, email, PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    browser.with(&answer.text("/access_token"))
}

/// What the audit log holds, oldest first: action, subject, data.
pub async fn entries(desk: &Desk) -> Vec<String> {
    let verified = audit::verify(&desk.db).await.expect("the log can be read");
    assert_eq!(verified.broken_at, None, "the chain is broken");
    let mut list = audit::list(&desk.db, &audit::Filter::default(), 100).await.expect("the log can be read");
    list.reverse();
    list.iter().map(|e| format!("{} {} {}", e.action, e.subject, e.data)).collect()
}

/// Who an address belongs to.
pub async fn whose(desk: &Desk, address: &str) -> Option<PersonId> {
    let row = sqlx::query("SELECT person_id FROM identities WHERE channel = 'email' AND address = $1")
        .bind(address)
        .fetch_optional(&desk.db)
        .await
        .expect("the database answers");
    row.map(|row| PersonId(row.get(0)))
}

/// A person's role and whether their address is verified, as the API and the table say.
pub async fn me(browser: &Browser) -> Value {
    let me = browser.get("/api/auth/me").await;
    assert_eq!(me.status, 200, "{}", me.body);
    me.json()
}

/// No secret, and nothing of a person, stands in the log.
pub fn log_is_clean(desk: &Desk, secrets: &[&str]) {
    for line in desk.log() {
        for secret in secrets {
            assert!(!line.contains(secret), "`{secret}` in the log: {line}");
        }
    }
}
