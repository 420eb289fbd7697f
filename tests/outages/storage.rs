//! PostgreSQL is there and takes nothing: it takes reads only, its disk is full, it stands still, or the ledger is locked.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{Executor, Row};

use super::{comes_through, ends_well, get, idle, on_its_own_postgres, ready};
use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{header, large_mail, mail};
use crate::harness::postgres::{self, url_of};
use crate::harness::program::run;
use crate::harness::small_disk::SmallDisk;
use crate::harness::wait::{until, within};

const MIB: u64 = 1024 * 1024;

async fn says_why_it_is_not_ready(daemon: &Daemon, why: &str) {
    until(&format!("it is not ready: {why}"), async || {
        let (status, body) = ready(daemon).await;
        status == 503
            && body.get("database").and_then(|said| said.as_str()).is_some_and(|said| said.contains(why))
    })
    .await;
    assert_eq!(get(daemon, "/healthz").await.0, 200, "the process is alive");
}

/// Every mail that left is of a delivery that is stored. Returns how many there are, a second copy not counted.
async fn only_what_was_stored_has_left(premises: &Premises) -> usize {
    let rows =
        sqlx::query("SELECT rfc_id FROM deliveries WHERE rfc_id IS NOT NULL").fetch_all(&premises.db).await;
    let stored: BTreeSet<String> = rows.expect("deliveries").iter().map(|row| row.get(0)).collect();
    let id =
        |text: &str| header(text, "Message-ID").expect("a Message-ID").trim_matches(['<', '>']).to_owned();
    let left: BTreeSet<String> = premises.sink.mails().iter().map(|mail| id(&mail.text())).collect();
    assert!(left.is_subset(&stored), "{left:?} left, and only {stored:?} are stored");
    left.len()
}

/// Somebody must act, and was told so once; nothing else is wrong.
async fn ends_having_said(premises: Premises, daemon: Daemon, why: &str) {
    let errors = daemon.errors();
    assert!(!errors.is_empty());
    for error in errors {
        assert!(error.contains("PostgreSQL stores nothing for") && error.contains(why), "{error}");
    }
    daemon.stops().await;
    premises.db.close().await;
}

#[tokio::test]
async fn while_postgresql_takes_reads_only_mail_waits_and_that_is_said() {
    let (_server, premises) = on_its_own_postgres().await;
    let daemon = idle(&premises).await;
    comes_through(&premises, Dovecot::shared(), 1).await;
    let set = async |on: &'static str| {
        premises.db.execute(on).await.expect("a setting");
        premises.db.execute("SELECT pg_reload_conf()").await.expect("a reload");
    };
    set("ALTER SYSTEM SET default_transaction_read_only = on").await;
    says_why_it_is_not_ready(&daemon, "takes reads only").await;
    let waiting = mail("Ada <ada2@example.net>", "Charged twice", "I want a refund.");
    Dovecot::shared().append(&premises.user, "INBOX", waiting.raw()).await;
    daemon.says("mailbox support can't be read", 1).await;
    assert_eq!(premises.count("SELECT count(*) FROM inbound").await, 1);
    assert_eq!(only_what_was_stored_has_left(&premises).await, 2);
    let numbers = reqwest::get(format!("{}/metrics", daemon.base_url())).await.expect("numbers");
    assert!(numbers.text().await.expect("text").contains("ticketd_database_refuses_writes 1"));
    let config = premises.config.display().to_string();
    let doctor = run(&["doctor", "--config", &config], "").await;
    let said = doctor.out.lines().find(|line| line.starts_with("FAIL")).expect("what is wrong");
    assert!(said.contains("takes reads only: a standby, or default_transaction_read_only is on"), "{said}");

    set("ALTER SYSTEM RESET default_transaction_read_only").await;
    until("the mail is handled", async || premises.is_settled(2).await).await;
    until("it is ready again", async || ready(&daemon).await.0 == 200).await;
    assert_eq!(only_what_was_stored_has_left(&premises).await, 4);
    ends_having_said(premises, daemon, "takes reads only").await;
}

#[tokio::test]
async fn while_the_disk_of_postgresql_is_full_mail_waits_and_that_is_said() {
    let disk = SmallDisk::start(200).await;
    let premises = Premises::on(&url_of(&disk.options()), Dovecot::shared().imap_port(), "", "").await;
    let daemon = idle(&premises).await;
    comes_through(&premises, Dovecot::shared(), 1).await;

    disk.fills();
    let large: Vec<Vec<u8>> = (2..6).map(|number| large_mail(number, 1_000_000)).collect();
    Dovecot::shared().deliver(&premises.user, "INBOX", large.iter().map(Vec::as_slice));
    says_why_it_is_not_ready(&daemon, "has no room on its disk").await;
    only_what_was_stored_has_left(&premises).await;
    disk.has_room();
    until("the mails are handled", async || premises.is_settled(5).await).await;
    until("it is ready again", async || ready(&daemon).await.0 == 200).await;
    assert_eq!(
        only_what_was_stored_has_left(&premises).await,
        10,
        "an acknowledgement and a notice for each"
    );

    // No room for its log of changes either: PostgreSQL itself ends, and is started again and again.
    disk.fills();
    premises.db.execute("SELECT pg_switch_wal()").await.ok();
    until("it is down", async || disk.log().contains("PANIC")).await;
    says_why_it_is_not_ready(&daemon, "does not answer").await;
    let waiting = mail("Ada <ada7@example.net>", "Charged twice", "I want a refund.");
    Dovecot::shared().append(&premises.user, "INBOX", waiting.raw()).await;
    daemon.says("mailbox support can't be read", 2).await;
    disk.has_room();
    until("it answers again", async || premises.db.execute("SELECT 1").await.is_ok()).await;
    until("the mail is handled", async || premises.is_settled(6).await).await;
    until("it is ready again", async || ready(&daemon).await.0 == 200).await;
    assert_eq!(only_what_was_stored_has_left(&premises).await, 12);
    assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 6);
    ends_having_said(premises, daemon, "").await;
}

#[tokio::test]
async fn while_postgresql_stands_still_the_process_says_so_and_then_goes_on() {
    let (server, premises) = on_its_own_postgres().await;
    let daemon = idle(&premises).await;
    comes_through(&premises, Dovecot::shared(), 1).await;
    let frozen = postgres::stands_still(&server);
    says_why_it_is_not_ready(&daemon, "does not answer").await;
    let waiting = mail("Ada <ada2@example.net>", "Charged twice", "I want a refund.");
    Dovecot::shared().append(&premises.user, "INBOX", waiting.raw()).await;
    daemon.says("mailbox support can't be read", 1).await;
    drop(frozen);
    until("the mail is handled", async || premises.is_settled(2).await).await;
    until("it is ready again", async || ready(&daemon).await.0 == 200).await;
    assert_eq!(only_what_was_stored_has_left(&premises).await, 4);
    ends_well(premises, daemon).await;
}

/// Back-pressure: the reader fetches what it commits, and one portion ahead.
#[tokio::test]
async fn what_cannot_be_stored_yet_is_not_fetched() {
    const MAILS: usize = 24;
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    let mails: Vec<Vec<u8>> = (0..MAILS).map(|number| large_mail(number, 4 * 1024 * 1024)).collect();
    dovecot.deliver(&premises.user, "INBOX", mails.iter().map(Vec::as_slice));
    let mut lock = premises.db.begin().await.expect("a transaction");
    lock.execute("LOCK TABLE inbound IN EXCLUSIVE MODE").await.expect("a lock");
    let daemon = Daemon::start(&premises.config, "");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("the reader waits for the ledger", async || premises.count(waits).await > 0).await;
    let too_much = within(Duration::from_secs(4), async || daemon.has_read_bytes() > 24 * MIB).await;
    assert!(!too_much, "it has read {} MiB of which it can store nothing", daemon.has_read_bytes() / MIB);
    assert!(daemon.most_memory() < 160 * MIB, "{} MiB", daemon.most_memory() / MIB);
    lock.rollback().await.expect("the lock is gone");
    let all = i64::try_from(MAILS).expect("small");
    let stored = async || premises.count("SELECT count(*) FROM inbound").await == all;
    until("all mails are stored", stored).await;
    assert_eq!(daemon.errors(), Vec::<String>::new());
    premises.db.close().await;
}
