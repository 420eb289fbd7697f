//! A rolling upgrade: processes of the version before and of this one on one database, in either order.
//!
//! `tests/upgrade/keep` has the version before leave its state and its queries; this version must do with them.

mod migrations;

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Column, Executor, PgPool, Row, SqlSafeStr, Statement, TypeInfo};
use ticketd::database;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::desk::{Desk, Plan};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{header, mail};
use crate::harness::postgres;
use crate::harness::program::{Place, run};
use crate::harness::wait::until;

const QUERIES: &str = include_str!("upgrade/queries.jsonl");
const STATE: &str = include_str!("upgrade/state.sql");
const SESSION: &str = include_str!("upgrade/session");

/// The newest migration of the version before.
fn kept() -> i64 {
    let version =
        include_str!("upgrade/version").split_whitespace().nth(1).expect("a revision and a migration");
    version.parse().expect("a migration's number")
}

/// A database as the version before left it.
async fn left_behind() -> PgPool {
    let options = postgres::empty().await;
    let db = PgPoolOptions::new().max_connections(8).connect_with(options).await.expect("a pool");
    let all = sqlx::migrate!();
    let before: Vec<_> = all.iter().filter(|migration| migration.version <= kept()).cloned().collect();
    assert!(
        before.len() > 10 && before.len() < all.iter().count() + 1,
        "the migrations of the version before"
    );
    let migrator = Migrator { migrations: Cow::Owned(before), ..all };
    migrator.run(&db).await.expect("the migrations of the version before");
    let mut connection = db.acquire().await.expect("a connection").detach();
    // What migrations entered themselves is among what was kept; nothing is checked or counted twice.
    let emptied = "SET session_replication_role = replica;
        DO $$ DECLARE name TEXT; BEGIN
          FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'
          LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
        END $$";
    sqlx::raw_sql(emptied).execute(&mut connection).await.expect("no rows");
    sqlx::raw_sql(STATE).execute(&mut connection).await.expect("the rows of the version before");
    db
}

/// A type as the description of a query names it.
fn plain(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_suffix("array").map_or_else(|| name.clone(), |of| format!("{of}[]"))
}

#[tokio::test]
async fn every_query_of_the_version_before_finds_what_it_asks_for() {
    let db =
        PgPoolOptions::new().max_connections(1).connect_with(postgres::fresh().await).await.expect("a pool");
    let mut connection = db.acquire().await.expect("a connection");
    let mut broken = Vec::new();
    assert!(QUERIES.lines().count() > 400, "the queries are not where this test looks for them");
    for line in QUERIES.lines() {
        let kept: Value = serde_json::from_str(line).expect("a query");
        let query = kept.get("query").and_then(Value::as_str).expect("its text").to_owned();
        let columns: Vec<(String, String)> =
            serde_json::from_value(kept.get("columns").cloned().unwrap_or_default()).expect("its columns");
        match connection.prepare(AssertSqlSafe(query.clone()).into_sql_str()).await {
            Err(error) => broken.push(format!("{error}: {query}")),
            Ok(statement) => {
                let found: Vec<_> = statement
                    .columns()
                    .iter()
                    .map(|column| (column.name().to_owned(), plain(column.type_info().name())))
                    .collect();
                let same = found.len() == columns.len()
                    && found.iter().zip(&columns).all(|((name, is), (kept, was))| {
                        name == kept && (was.is_empty() || *is == plain(was))
                    });
                if !same {
                    broken.push(format!("gives {found:?} instead of {columns:?}: {query}"));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "a program of the version before breaks beside this one:\n{}",
        broken.join("\n")
    );
}

/// What people see of the tickets there are.
async fn tickets(db: &PgPool) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT concat_ws(' | ', t.id, t.subject, t.priority, t.channel, r.name, a.name,
                (SELECT string_agg(m.kind || ': ' || m.visible, ' / ' ORDER BY m.id) FROM messages m WHERE m.ticket_id = t.id)) AS seen
         FROM tickets t JOIN persons r ON r.id = t.requester_id LEFT JOIN persons a ON a.id = t.assignee_id
         ORDER BY t.id",
    );
    rows.fetch_all(db).await.expect("tickets").iter().map(|row| row.get("seen")).collect()
}

async fn ids(db: &PgPool, of: &'static str) -> BTreeSet<String> {
    sqlx::query(of).fetch_all(db).await.expect("ids").iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_the_version_before_left_undone_is_done_by_this_one() {
    let db = left_behind().await;
    let before = tickets(&db).await;
    assert!(before.len() >= 3, "{before:?}");
    let kinds = ids(&db, "SELECT DISTINCT kind FROM jobs").await;
    for kind in ["ingest", "deliver", "account_letter", "webhook"] {
        assert!(kinds.contains(kind), "the version before left no {kind} undone: {kinds:?}");
    }
    let fixed = "SELECT rfc_id FROM deliveries WHERE rfc_id IS NOT NULL";
    let promised = ids(&db, fixed).await;
    assert!(promised.len() >= 4, "{promised:?}");
    let newest: DateTime<Utc> =
        sqlx::query("SELECT max(created_at) FROM jobs").fetch_one(&db).await.expect("a time").get(0);

    database::migrate(&db).await.expect("the migrations since");
    assert_eq!(tickets(&db).await, before, "a migration changes no ticket");
    let plan = Plan {
        db: Some(db.clone()),
        more: "[webhooks]\nallowed_networks = [\"127.0.0.0/8\"]".to_owned(),
        ..Plan::default()
    };
    let desk = Desk::with(plan).await;
    desk.clock.advance(newest - desk.clock.now() + TimeDelta::hours(2));
    desk.settle().await;

    let after = tickets(&desk.db).await;
    for (number, seen) in before.iter().enumerate() {
        let now = after.get(number).expect("a ticket of before");
        assert!(now.starts_with(seen.as_str()), "it was\n{seen}\nand is\n{now}");
    }
    assert_eq!(
        after.len(),
        before.len() + 1,
        "one of the mails that waited is a new ticket, one an answer: {after:#?}"
    );
    assert!(after.first().is_some_and(|first| first.contains("It is the invoice of May.")), "{after:#?}");
    assert_eq!(desk.count("SELECT count(*) FROM inbound WHERE fate IS NULL").await, 0);
    assert_eq!(
        desk.count("SELECT count(*) FROM deliveries WHERE state = 'waiting' AND channel = 'email'").await,
        0
    );
    assert_eq!(
        desk.count("SELECT count(*) FROM jobs WHERE kind NOT IN ('webhook')").await,
        0,
        "nothing is left undone"
    );
    let id = |text: &str| header(text, "Message-ID").unwrap_or_default().trim_matches(['<', '>']).to_owned();
    let sent: Vec<String> = desk.sink.mails().iter().map(|mail| id(&mail.text())).collect();
    let once: BTreeSet<String> = sent.iter().cloned().collect();
    assert_eq!(sent.len(), once.len(), "nothing is sent twice: {sent:?}");
    assert!(once.is_superset(&promised), "what was fixed is sent as it was fixed: {promised:?}, {once:?}");

    // The conversation goes on, and who was logged in stays so.
    let acknowledged = desk.last_mail_to("bob@example.net");
    desk.handles(&mail("bob <bob@example.net>", "Re: Router", "It still burns.").answering(&acknowledged))
        .await;
    assert_eq!(desk.tickets().await, i64::try_from(after.len()).expect("small"));
    let (status, body) =
        desk.serves().await.post("/api/auth/refresh", &json!({"refresh_token": SESSION.trim()})).await;
    assert_eq!(status, 200, "{body}");
    // Of the webhook nobody is there to be told; it is tried for a day.
    desk.later(TimeDelta::days(2)).await;
    sqlx::query("DELETE FROM jobs WHERE failed_at IS NOT NULL AND kind = 'webhook'")
        .execute(&desk.db)
        .await
        .expect("a dead letter");
    desk.expects_errors();
    desk.close().await;
}

/// systemd starts a process of the version before again after the newer one has migrated.
#[tokio::test]
async fn a_program_starts_and_works_beside_a_newer_one() {
    let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
    premises
        .db
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (29991231000000, 'of a version to come', TRUE, '\\x00', 0);
             ALTER TABLE tickets ADD COLUMN to_come TEXT NOT NULL DEFAULT 'x'",
        )
        .await
        .expect("a newer version's migration");
    Dovecot::shared()
        .append(&premises.user, "INBOX", mail("Ada <ada@example.net>", "Charged twice", "A refund.").raw())
        .await;
    let daemon = Daemon::start(&premises.config, "");
    assert!(daemon.comes_up().await, "{}", daemon.log());
    until("the mail is handled", async || premises.is_settled(1).await).await;
    let ready = reqwest::get(format!("{}/readyz", daemon.base_url())).await.expect("an answer");
    assert_eq!(ready.status(), 200);
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}

#[tokio::test]
async fn a_program_that_is_too_old_for_the_database_says_so_and_touches_nothing() {
    let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
    premises
        .db
        .execute("COMMENT ON TABLE _sqlx_migrations IS 'needs 29991231000000'")
        .await
        .expect("a contraction");
    let config = premises.config.display().to_string();
    let ran = run(&["serve", "--config", &config], "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let said = Place::new().redact(ran.err.lines().last().unwrap_or_default(), &[(&newest(), "NEWEST")]);
    insta::assert_snapshot!(said, @"ticketd: the database is that of a newer version, and needs one that knows migration 29991231000000; this one ends at NEWEST: start the newer version, or restore a backup of before");
    premises.db.close().await;
}

fn newest() -> String {
    sqlx::migrate!().iter().map(|migration| migration.version).max().expect("a migration").to_string()
}
