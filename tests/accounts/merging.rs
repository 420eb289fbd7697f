//! Two persons become one: what of their accounts goes on.

use serde_json::json;
use sqlx::Row;
use ticketd::people;
use ticketd::tickets::linking;

use super::{PASSWORD, account, desk, logs_in, me, whose};
use crate::harness::members::{in_discord, links};

#[tokio::test]
async fn the_account_of_a_linked_address_survives_with_everything_it_has() {
    let (desk, browser) = desk().await;
    let ada = account(&desk, &browser, "ada@example.net").await;
    let person = whose(&desk, "ada@example.net").await.expect("Ada");
    let member = in_discord(&desk, 4711, "ada").await;
    let linked = links(&desk, member, "ada@example.net").await;
    assert_eq!((linked.person, linked.merged), (person, Some(member)));
    assert_eq!(ada.get("/api/tickets").await.status, 200, "the survivor stays logged in");
    assert_eq!(me(&ada).await["discord"], json!("4711"));
    desk.close().await;
}

#[tokio::test]
async fn of_the_one_who_is_merged_log_ins_tokens_and_links_end_and_the_rest_moves() {
    let (desk, browser) = desk().await;
    let eve = account(&desk, &browser, "old@example.net").await;
    let (from, into) =
        (whose(&desk, "old@example.net").await.expect("a person"), in_discord(&desk, 1, "New").await);
    let token = eve.post("/api/auth/me/tokens", &json!({"name": "x", "scopes": ["tickets:read"]})).await;
    let program = browser.with(&token.text("/token"));
    let now = desk.clock.now();
    for statement in [
        "INSERT INTO external_identities (person_id, issuer, subject, created_at, last_used_at) VALUES ($1, 'https://id', 's', $2, $2)",
        "INSERT INTO second_factors (person_id, secret, created_at, confirmed_at) VALUES ($1, decode(repeat('00', 20), 'hex'), $2, $2)",
        "INSERT INTO recovery_codes (person_id, code_hash, used_at) VALUES ($1, decode(repeat('00', 32), 'hex'), $2)",
    ] {
        sqlx::query(statement).bind(from.0).bind(now).execute(&desk.db).await.expect("a row");
    }
    // What an earlier offer left behind makes room.
    let offered = "INSERT INTO second_factors (person_id, secret, created_at) VALUES ($1, decode(repeat('11', 20), 'hex'), $2)";
    sqlx::query(offered).bind(into.0).bind(now).execute(&desk.db).await.expect("an offer");
    assert_eq!(
        browser.post("/api/auth/password/reset", &json!({"email": "old@example.net"})).await.status,
        202
    );
    desk.settle().await;
    let reset = super::token_mailed_to(&desk, "old@example.net", "reset");

    let mut tx = desk.db.begin().await.expect("a transaction");
    linking::merge_person(&mut tx, from, into, now).await.expect("merged");
    people::merge(&mut tx, from, into, now).await.expect("merged");
    tx.commit().await.expect("a commit");
    desk.settle().await;

    assert_eq!(eve.get("/api/auth/me").await.status, 401, "the log-in has ended");
    assert_eq!(program.get("/api/tickets").await.status, 401, "the token is void");
    let late = json!({"token": reset, "password": PASSWORD});
    assert_eq!(browser.post("/api/auth/password/reset/confirm", &late).await.status, 400, "the link is void");
    for table in ["external_identities", "second_factors", "recovery_codes", "credentials"] {
        let owners = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT person_id FROM {table}")));
        let owners: Vec<i64> =
            owners.fetch_all(&desk.db).await.expect("rows").iter().map(|r| r.get(0)).collect();
        assert_eq!(owners, [into.0], "{table}");
    }
    let asked = logs_in(&browser, "old@example.net", PASSWORD).await;
    assert_eq!(
        asked.at("/type"),
        json!("/problems/second-factor"),
        "password and second factor moved together"
    );
    desk.close().await;
}
