//! Mailboxes that are logged in to with access tokens: a real Dovecot and a real SMTP server, and a token server that rotates
//! and revokes. A grant that is refused is told once, and nobody asks again until somebody has acted.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::json;
use ticketd::app::App;
use ticketd::clock::Clock;
use ticketd::oauth::{Grant, Tokens};
use ticketd::people::Role;
use ticketd::sources::{self, imap};
use tokio_util::sync::CancellationToken;

use crate::harness::desk::{Desk, Plan, configuration, fresh_user};
use crate::harness::dovecot::{Dovecot, PASSWORD};
use crate::harness::mail::mail;
use crate::harness::program::{Place, run, url_of};
use crate::harness::smtp::SmtpSink;
use crate::harness::token_server::{CLIENT_SECRET, TokenServer};
use crate::harness::wait::until;

const ADA: &str = "Ada <ada@example.net>";

/// A desk whose mailbox is read with access tokens.
struct Office {
    desk: Desk,
    tokens: TokenServer,
    dovecot: Dovecot,
}

impl Office {
    async fn open() -> Self {
        Self::with("", "").await
    }

    /// With more keys of `imap.oauth`, and more configuration.
    async fn with(keys: &str, more: &str) -> Self {
        let user = fresh_user();
        let tokens = TokenServer::start(&user).await;
        let dovecot = tokens.dovecot();
        let plan = Plan {
            dovecot: Some(dovecot.imap_port()),
            user: Some(user),
            login: Some(tokens.section(keys)),
            more: more.to_owned(),
            ..Plan::default()
        };
        let desk = Desk::with(plan).await;
        desk.hires("Dora", Role::Admin, &[]).await;
        Self { desk, tokens, dovecot }
    }

    async fn gets(&self, subject: &str) {
        self.dovecot.append(&self.desk.user, "INBOX", mail(ADA, subject, "It is broken.").raw()).await;
    }

    /// Why the mailbox can't be read.
    async fn fault(&self) -> String {
        format!("{:#}", self.desk.try_fetch().await.expect_err("it can't be read"))
    }

    /// The same desk in another process.
    async fn another_process(&self) -> App {
        App::build(Arc::clone(&self.desk.app.config), self.desk.db.clone(), self.desk.clock.clone(), None)
            .await
            .expect("an app")
    }

    async fn fetches_in(&self, app: &App) -> anyhow::Result<usize> {
        let mailbox = app.config.mailbox.first().expect("a mailbox");
        let mut reader = sources::reader(mailbox, &self.desk.db, &self.desk.clock, &app.oauth, 1_000_000)?;
        imap::sync_once(&mut reader).await
    }

    /// Reads as the daemon does, for as long as the story lasts.
    async fn while_reading(&self, story: impl AsyncFnOnce()) {
        let (app, stop) = (&self.desk.app, CancellationToken::new());
        let mailbox = app.config.mailbox.first().expect("a mailbox");
        let mut reader = sources::reader(mailbox, &self.desk.db, &self.desk.clock, &app.oauth, 1_000_000)
            .expect("a reader");
        reader.pace.first_pause = Duration::from_millis(20);
        let told = async {
            story().await;
            stop.cancel();
        };
        tokio::join!(imap::run(reader, stop.clone()), told);
    }

    async fn has_read(&self, mails: i64) {
        until("the mails are read", async || self.desk.count("SELECT count(*) FROM inbound").await == mails)
            .await;
    }

    /// The subjects of the mails about alarms that the admin got.
    fn told(&self) -> Vec<String> {
        let subject = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned);
            line.expect("a subject")
        };
        let mails = self.desk.mails_to("dora@example.org").into_iter().map(|mail| subject(mail.text()));
        mails.filter(|subject| !subject.starts_with("Re:")).collect()
    }

    fn grant(&self) -> Grant {
        let mailbox = self.desk.app.config.mailbox.first().expect("a mailbox");
        let (_, oauth) = mailbox.grants().into_iter().next().expect("a grant");
        Grant::new("support", oauth)
    }

    async fn close(self) {
        let log = self.desk.log().join("\n");
        for secret in self.tokens.secrets() {
            assert!(!log.contains(&secret), "`{secret}` is in the log");
        }
        self.desk.close().await;
    }
}

#[tokio::test]
async fn a_mailbox_is_read_by_either_mechanism() {
    for (keys, method) in [
        (", mechanism = \"xoauth2\"", "method=XOAUTH2"),
        (", mechanism = \"oauthbearer\"", "method=OAUTHBEARER"),
        ("", "method=OAUTHBEARER"),
    ] {
        let office = Office::with(keys, "").await;
        office.gets("Charged twice").await;
        office.desk.fetches().await;
        office.desk.settle().await;
        assert_eq!(office.desk.tickets().await, 1);
        assert!(office.dovecot.log().contains(method), "{method} in {}", office.dovecot.log());
        office.close().await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_after_four_fifths_of_its_life() {
    let office = Office::open().await;
    office.desk.fetches().await;
    office.desk.clock.advance(TimeDelta::minutes(47));
    office.desk.fetches().await;
    assert_eq!(office.tokens.asked(), 1);
    office.desk.clock.advance(TimeDelta::minutes(1));
    office.desk.fetches().await;
    assert_eq!(office.tokens.asked(), 2);
    office.close().await;
}

#[tokio::test]
async fn a_rotated_refresh_token_survives_a_restart() {
    let office = Office::open().await;
    office.tokens.rotates();
    office.desk.fetches().await;
    office.desk.clock.advance(TimeDelta::hours(1));
    let restarted = office.another_process().await;
    office.fetches_in(&restarted).await.expect("the stored token is good, the one in the file is not");
    assert_eq!(office.tokens.asked(), 2);

    let stored: Vec<u8> = sqlx::query_scalar("SELECT refresh_token FROM oauth_grants")
        .fetch_one(&office.desk.db)
        .await
        .expect("a token");
    assert!(!String::from_utf8_lossy(&stored).contains("rotated"), "it is stored as it is");

    office.tokens.grants("rt-by-hand");
    office.desk.clock.advance(TimeDelta::hours(1));
    office.fetches_in(&restarted).await.expect("a new file wins over what is stored");
    office.close().await;
}

#[tokio::test]
async fn of_several_processes_one_asks_at_a_time() {
    let office = Office::open().await;
    office.tokens.rotates();
    let mut apps = Vec::new();
    for _ in 0..3 {
        apps.push(office.another_process().await);
    }
    let grant = office.grant();
    let asked = apps.iter().map(|app| async { app.oauth.token(&grant).await.map(drop) });
    for result in futures_util::future::join_all(asked).await {
        result.expect("a refresh token that is good once is used by one process after the other");
    }
    let one = apps.first().expect("an app");
    let again = (0..5).map(|_| async { one.oauth.token(&grant).await.map(drop) });
    for result in futures_util::future::join_all(again).await {
        result.expect("the token in hand");
    }
    assert_eq!((office.tokens.asked(), office.tokens.most_at_once()), (3, 1));
    office.close().await;
}

#[tokio::test]
async fn a_session_is_opened_anew_before_its_token_ends_and_that_is_no_failure() {
    let office = Office::open().await;
    office.gets("one").await;
    office
        .while_reading(async || {
            office.has_read(1).await;
            office.desk.clock.advance(TimeDelta::minutes(50));
            office.gets("two").await;
            office.has_read(2).await;
            until("there is a new session", async || {
                office.dovecot.log().matches("method=OAUTHBEARER").count() == 2
            })
            .await;
            office.gets("three").await;
            office.has_read(3).await;
        })
        .await;
    assert_eq!(office.tokens.asked(), 2);
    let failures: Vec<_> =
        office.desk.log().into_iter().filter(|line| line.contains("can't be read")).collect();
    assert_eq!(failures, Vec::<String>::new());
    office.desk.settle().await;
    office.close().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_before_its_time_is_replaced_once() {
    let office = Office::open().await;
    office
        .while_reading(async || {
            office.gets("one").await;
            office.has_read(1).await;
            office.tokens.revokes_access();
            office.dovecot.stop();
            office.dovecot.start();
            office.gets("two").await;
            office.has_read(2).await;
        })
        .await;
    assert_eq!(office.tokens.asked(), 2);

    // A server that takes no token at all does not have us ask for one each time.
    office.tokens.is_for("somebody else");
    insta::assert_snapshot!(office.fault().await, @"the server refused the access token of mailbox support (OAUTHBEARER): check imap.user, that the token is for that account and its scope covers IMAP; it said: [AUTHENTICATIONFAILED] Authentication failed.");
    for _ in 0..3 {
        office.fault().await;
    }
    assert_eq!(office.tokens.asked(), 3);
    office.tokens.is_for(&office.desk.user);
    office.desk.fetches().await;
    office.desk.settle().await;
    office.close().await;
}

#[tokio::test]
async fn a_revoked_grant_is_told_once_and_nobody_asks_again_until_there_is_a_new_one() {
    let office = Office::open().await;
    office.desk.fetches().await;
    office.tokens.revokes_grant();
    insta::assert_snapshot!(office.fault().await, @"the token server refuses the refresh token of mailbox support (invalid_grant): it was revoked or has expired: put a new one into oauth.refresh_token_file");
    assert_eq!(office.tokens.asked(), 2);
    for _ in 0..3 {
        office.desk.clock.advance(TimeDelta::hours(1));
        office.fault().await;
        office.desk.settle().await;
    }
    assert_eq!(office.tokens.asked(), 2, "nobody asks again");
    assert_eq!(office.told(), ["Alarm: mailbox support is not let in any more"]);

    let dora = office.desk.logs_in("Dora").await;
    let (_, ready) = dora.get("/readyz").await;
    insta::assert_json_snapshot!(ready.get("alarms"), @r#"
    [
      {
        "kind": "oauth",
        "raised_at": "2026-11-21T09:00:00Z",
        "subject": "support"
      }
    ]
    "#);
    let (_, list) = dora.get("/api/admin/alarms").await;
    assert_eq!(list.pointer("/alarms/0/kind"), Some(&json!("oauth")));
    assert_eq!(list.pointer("/alarms/0/cleared_at"), Some(&json!(null)));

    office.tokens.grants("rt-second");
    office.gets("Charged twice").await;
    office.desk.fetches().await;
    office.desk.settle().await;
    assert_eq!(office.desk.tickets().await, 1);
    office.desk.later(TimeDelta::minutes(10)).await;
    let both =
        ["Alarm: mailbox support is not let in any more", "Over: mailbox support is not let in any more"];
    assert_eq!(office.told(), both);
    let (_, list) = dora.get("/api/admin/alarms").await;
    assert!(list.pointer("/alarms/0/cleared_at").is_some_and(serde_json::Value::is_string));
    office.close().await;
}

#[tokio::test]
async fn after_a_refusal_an_admin_a_restart_or_another_client_secret_has_it_asked_once_more() {
    let office = Office::open().await;
    let dora = office.desk.logs_in("Dora").await;
    office.tokens.revokes_grant();
    office.fault().await;

    let (status, _) = dora.post("/api/admin/mailboxes/support/retry", &json!({})).await;
    assert_eq!(status, 204);
    office.fault().await;
    office.fault().await;
    assert_eq!(office.tokens.asked(), 2, "an admin");
    let (status, _) = dora.post("/api/admin/mailboxes/nobody/retry", &json!({})).await;
    assert_eq!(status, 404);

    office.desk.clock.advance(TimeDelta::minutes(1));
    let restarted = office.another_process().await;
    for _ in 0..2 {
        office.fetches_in(&restarted).await.expect_err("it is still revoked");
        office.fault().await;
    }
    assert_eq!(office.tokens.asked(), 3, "a restart");

    office.tokens.forgives("rt-first");
    office.tokens.changes_client_secret("another secret");
    office.fault().await;
    assert_eq!(office.tokens.asked(), 3);
    office
        .desk
        .commits(async |tx| office.desk.app.oauth.forgive(tx, &office.grant()).await)
        .await
        .expect("forgiven");
    insta::assert_snapshot!(office.fault().await, @"the token server refuses the refresh token of mailbox support (invalid_client): check oauth.client_id and oauth.client_secret_file");
    assert_eq!(office.tokens.asked(), 4);
    office.tokens.changes_client_secret(CLIENT_SECRET);
    office.fault().await;
    assert_eq!(office.tokens.asked(), 4);
    let (status, _) = dora.post("/api/admin/mailboxes/support/retry", &json!({})).await;
    assert_eq!(status, 204);
    office.desk.fetches().await;
    let audited = office.desk.audited().await;
    assert_eq!(audited.iter().filter(|line| line.contains("mailbox.retried mailbox:support")).count(), 2);
    office.desk.settle().await;
    office.close().await;
}

#[tokio::test]
async fn a_token_server_in_trouble_is_left_alone_for_a_while_and_the_token_in_hand_is_used() {
    let office = Office::open().await;
    office.desk.fetches().await;
    office.tokens.troubles(Some((503, "come back later")));
    office.desk.clock.advance(TimeDelta::minutes(50));
    for _ in 0..3 {
        office.desk.fetches().await;
    }
    assert_eq!(office.tokens.asked(), 2, "the old token is good for ten minutes more");
    office.desk.clock.advance(TimeDelta::minutes(11));
    insta::assert_snapshot!(office.fault().await, @"the token server of mailbox support gives no access token: it answered with HTTP status 503");
    office.tokens.troubles(Some((200, &"x".repeat(100_000))));
    office.desk.clock.advance(TimeDelta::minutes(6));
    insta::assert_snapshot!(office.fault().await, @"the token server of mailbox support gives no access token: its answer is too long to be one");
    office.tokens.troubles(Some((400, r#"{"error":"temporarily_unavailable"}"#)));
    office.desk.clock.advance(TimeDelta::minutes(6));
    insta::assert_snapshot!(office.fault().await, @"the token server of mailbox support gives no access token: it said temporarily_unavailable");
    office.fault().await;
    assert_eq!(office.tokens.asked(), 5);
    office.tokens.troubles(None);
    office.desk.clock.advance(TimeDelta::minutes(6));
    office.desk.fetches().await;
    assert_eq!(office.desk.count("SELECT count(*) FROM alarms").await, 0, "that passes by itself");
    office.close().await;
}

#[tokio::test]
async fn mail_leaves_with_the_same_token_and_with_another_one_once_it_is_refused() {
    let user = fresh_user();
    let tokens = TokenServer::start(&user).await;
    let dovecot = tokens.dovecot();
    let sink = SmtpSink::with_token(&user, "at1");
    let plan = Plan {
        dovecot: Some(dovecot.imap_port()),
        more: format!("user = \"{user}\"\n{}\n", tokens.section("")),
        user: Some(user),
        login: Some(tokens.section("")),
        sink: Some(sink),
        ..Plan::default()
    };
    let office = Office { desk: Desk::with(plan).await, tokens, dovecot };
    office.desk.hires("Dora", Role::Admin, &[]).await;
    let acknowledged = || office.desk.mails_to("ada@example.net").len();
    office.gets("one").await;
    office.desk.fetches().await;
    office.desk.settle().await;
    assert_eq!((acknowledged(), office.tokens.asked()), (1, 1), "one token for both");
    assert_eq!(
        office.desk.mails_to("ada@example.net").first().and_then(|m| m.user.clone()),
        Some(office.desk.user.clone())
    );

    office.tokens.revokes_access();
    office.desk.sink.takes_token("at2");
    office.desk.clock.advance(TimeDelta::minutes(1));
    office.gets("two").await;
    office.desk.fetches().await;
    office.desk.settle().await;
    assert_eq!((acknowledged(), office.tokens.asked()), (2, 2));

    // Only SMTP refuses it: once more, and then it waits.
    office.desk.sink.takes_token("at3");
    office.gets("three").await;
    office.desk.fetches().await;
    office.desk.settle().await;
    assert_eq!((acknowledged(), office.tokens.asked()), (3, 3));
    office.desk.sink.takes_token("none that there is");
    office.gets("four").await;
    office.desk.fetches().await;
    for _ in 0..5 {
        office.desk.later(TimeDelta::minutes(2)).await;
    }
    assert_eq!((acknowledged(), office.tokens.asked()), (3, 4), "no token for each attempt");
    let said: String = sqlx::query_scalar("SELECT detail FROM delivery_attempts ORDER BY id DESC LIMIT 1")
        .fetch_one(&office.desk.db)
        .await
        .expect("an attempt");
    insta::assert_snapshot!(said, @"the server refused the access token: check smtp.user, that the token is for that account and its scope covers SMTP (internal client error: This mechanism does not expect a challenge)");
    office.desk.sink.takes_token(&office.tokens.newest());
    office.desk.later(TimeDelta::minutes(20)).await;
    assert_eq!(acknowledged(), 4);
    office.close().await;
}

#[tokio::test]
async fn what_was_encrypted_with_a_secret_of_before_is_still_read() {
    let office = Office::open().await;
    office.tokens.rotates();
    let (db, clock, grant) = (&office.desk.db, Clock::told(office.desk.clock.now()), office.grant());
    let (old, new) =
        (b"an old secret of thirty-two bytes".to_vec(), b"a new secret of thirty-two bytes.".to_vec());
    let token = async |masters: &[Vec<u8>]| {
        let tokens = Tokens::new(db, &clock, masters).expect("tokens");
        tokens.token(&grant).await.map(|token| token.secret.expose_secret().to_owned())
    };
    assert_eq!(token(std::slice::from_ref(&old)).await.expect("a token"), "at1");
    assert_eq!(token(&[new.clone(), old]).await.expect("a token"), "at2");
    assert_eq!(token(std::slice::from_ref(&new)).await.expect("a token"), "at3");
    office.close().await;
}

#[tokio::test]
async fn doctor_says_whether_the_grant_and_the_login_are_good_and_what_to_do() {
    let office = Office::open().await;
    let place = Place::new();
    let more = format!("[database]\nurl = \"{}\"\n", url_of(&office.desk.db));
    let text =
        configuration(&office.desk.user, office.dovecot.imap_port(), office.desk.sink.port(), "", &more);
    let text = text.replacen(&format!("password = \"{PASSWORD}\""), &office.tokens.section(""), 1);
    let config = place.config(&text);
    let said = async || {
        let ran = run(&["doctor", "--config", &config], "").await;
        let lines = ran.out.lines().filter(|line| line.contains("support imap"));
        let port = office.dovecot.imap_port().to_string();
        (ran.code, lines.collect::<Vec<_>>().join("\n").replace(&port, "PORT"))
    };
    let (code, lines) = said().await;
    insta::assert_snapshot!(lines, @"
    ok    mailbox support imap oauth files: is readable
    ok    mailbox support imap oauth: the token server gives access tokens
    ok    mailbox support imap: 127.0.0.1:PORT takes the login; INBOX holds 0 mails
    ");
    assert_eq!(code, Some(0));
    office.tokens.revokes_grant();
    let (code, lines) = said().await;
    insta::assert_snapshot!(lines, @"
    ok    mailbox support imap oauth files: is readable
    FAIL  mailbox support imap oauth: the token server refuses the refresh token of mailbox support (invalid_grant): it was revoked or has expired: put a new one into oauth.refresh_token_file
    FAIL  mailbox support imap: the token server refuses the refresh token of mailbox support (invalid_grant): it was revoked or has expired: put a new one into oauth.refresh_token_file
    ");
    assert_eq!(code, Some(1));
    office.desk.settle().await;
    office.close().await;
}
