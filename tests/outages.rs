//! PostgreSQL and Dovecot go away and come back while the daemon runs; it carries on by itself.

mod storage;

use std::os::unix::net::UnixListener;
use std::time::Duration;

use serde_json::Value;
use ticketd::database::PrivatePostgres;

use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::mail;
use crate::harness::postgres;
use crate::harness::smtp::{At, Behaviour};
use crate::harness::wait::{PATIENCE, until, within};

/// A running daemon whose reader has read the empty mailbox and waits for news.
async fn idle(premises: &Premises) -> Daemon {
    let daemon = Daemon::start(&premises.config, "");
    daemon.says("\"mailbox read\"", 1).await;
    daemon
}

async fn on_its_own_postgres() -> (PrivatePostgres, Premises) {
    let server = postgres::private().await;
    let url = postgres::url_of(&server.options("postgres"));
    let premises = Premises::on(&url, Dovecot::shared().imap_port(), "", "").await;
    (server, premises)
}

/// A mail arrives, becomes a ticket, and is answered and announced: `count` mails so far.
async fn comes_through(premises: &Premises, dovecot: &Dovecot, count: usize) {
    let from = format!("Ada <ada{count}@example.net>");
    let mail = mail(&from, "Charged twice", "I want a refund for my invoice.");
    dovecot.append(&premises.user, "INBOX", mail.raw()).await;
    is_done(premises, count).await;
}

async fn is_done(premises: &Premises, count: usize) {
    until("the mail is handled", async || premises.is_settled(count).await).await;
    assert_eq!(premises.sink.mails().len(), 2 * count, "an acknowledgement and a notice for each mail");
}

async fn ends_well(premises: Premises, daemon: Daemon) {
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    premises.db.close().await;
}

#[tokio::test]
async fn after_a_restart_of_postgresql_the_next_mail_comes_in() {
    let (mut server, premises) = on_its_own_postgres().await;
    let daemon = idle(&premises).await;
    comes_through(&premises, Dovecot::shared(), 1).await;
    for count in 2..4 {
        server.crash_and_restart().expect("PostgreSQL starts again");
        comes_through(&premises, Dovecot::shared(), count).await;
    }
    ends_well(premises, daemon).await;
}

#[tokio::test]
async fn while_postgresql_is_away_the_process_stays_and_says_so_and_then_recovers() {
    let (mut server, premises) = on_its_own_postgres().await;
    let daemon = idle(&premises).await;
    until("it is ready", async || ready(&daemon).await.0 == 200).await;
    for (count, refuses) in [(1, false), (2, true)] {
        server.halt().expect("PostgreSQL stops");
        // After a crash of the machine the socket is still there, and nobody answers: clients try again for a while.
        let socket = server.options("postgres").get_socket().expect("a socket").join(".s.PGSQL.5432");
        if refuses {
            std::fs::remove_file(&socket).ok();
            UnixListener::bind(&socket).expect("a socket where the server had its own");
        }
        let (status, body) = ready(&daemon).await;
        assert_eq!((status, body["database"].as_str()), (503, Some("does not answer")), "{body}");
        assert_eq!(get(&daemon, "/healthz").await.0, 200, "the process is alive");
        let mail = mail("Ada <ada@example.net>", "Charged twice", &format!("A refund of invoice {count}."));
        Dovecot::shared().append(&premises.user, "INBOX", mail.raw()).await;
        if !refuses {
            daemon.says("mailbox support can't be read", 1).await;
        }
        server.resume().expect("PostgreSQL starts again");
        is_done(&premises, count).await;
        until("it is ready again", async || ready(&daemon).await.0 == 200).await;
    }
    ends_well(premises, daemon).await;
}

#[tokio::test]
async fn after_a_restart_of_dovecot_during_idle_the_next_mail_comes_in() {
    let dovecot = Dovecot::private();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let daemon = idle(&premises).await;
    comes_through(&premises, &dovecot, 1).await;
    for (count, end) in [(2, Dovecot::stop as fn(&Dovecot)), (3, Dovecot::kill)] {
        daemon.says("\"mailbox read\"", count).await;
        end(&dovecot);
        dovecot.start();
        comes_through(&premises, &dovecot, count).await;
    }
    ends_well(premises, daemon).await;
}

#[tokio::test]
async fn when_the_process_that_reads_is_killed_another_takes_over() {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let mut first = idle(&premises).await;
    let second = Daemon::start(&premises.config, "");
    second.says("another process reads imap:support", 1).await;
    comes_through(&premises, dovecot, 1).await;
    first.kill();
    comes_through(&premises, dovecot, 2).await;
    second.says("\"mailbox read\"", 1).await;
    ends_well(premises, second).await;
}

#[tokio::test]
async fn a_mail_server_that_refuses_for_a_while_gets_the_mail_later() {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    premises.sink.behave(&Behaviour::Refuse(At::Rcpt, 451, "4.7.1 greylisted".to_owned()));
    let daemon = idle(&premises).await;
    let mail = mail("Ada <ada@example.net>", "Charged twice", "I want a refund for my invoice.");
    dovecot.append(&premises.user, "INBOX", mail.raw()).await;
    let refused = "SELECT count(DISTINCT delivery_id) FROM delivery_attempts WHERE outcome = 'temporary'";
    until("both mails were refused", async || premises.count(refused).await == 2).await;
    premises.sink.behave(&Behaviour::Accept);
    is_done(&premises, 1).await;
    ends_well(premises, daemon).await;
}

/// Answers that can't leave may not keep new mail from becoming tickets.
#[tokio::test]
async fn a_mail_server_that_never_answers_holds_up_nothing_but_its_mails() {
    const MAILS: i64 = 30;
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    premises.sink.behave(&Behaviour::HangAfterData);
    let mut daemon = idle(&premises).await;
    for number in 0..MAILS {
        let from = format!("p{number}@example.net");
        let mail = mail(&from, "Charged twice", &format!("A refund of invoice {number}, please."));
        dovecot.append(&premises.user, "INBOX", mail.raw()).await;
    }
    let assigned = "SELECT count(*) FROM tickets WHERE assignee_id IS NOT NULL";
    let all_are = within(PATIENCE / 2, async || premises.count(assigned).await == MAILS).await;
    assert!(all_are, "only {} of {MAILS} tickets are assigned", premises.count(assigned).await);
    assert_eq!(premises.count("SELECT count(*) FROM deliveries WHERE state = 'sent'").await, 0);
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.kill();
    premises.db.close().await;
}

async fn ready(daemon: &Daemon) -> (u16, Value) {
    get(daemon, "/readyz").await
}

/// Asks as a prober does, who does not wait for long.
async fn get(daemon: &Daemon, path: &str) -> (u16, Value) {
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(8)).build().expect("a client");
    let url = format!("{}{path}", daemon.base_url());
    let answer = client.get(url).send().await.expect("an answer within the prober's patience");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}
