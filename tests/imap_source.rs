//! Mail is read from a real IMAP server: completely, once, and without a trace unless one was asked for.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::DateTime;
use ticketd::clock::Clock;
use ticketd::config::{After, Start, Tls};
use ticketd::ingest::Cursor;
use ticketd::sources::imap::{self, ImapSettings, Login, Pace, Progress, Reader, connection};
use ticketd::sources::lock::ReaderLock;
use tokio_util::sync::CancellationToken;

use crate::harness::certificates;
use crate::harness::dovecot::{Dovecot, PASSWORD, PATIENCE};
use crate::harness::imap_script::{Fault, ImapScript};
use crate::harness::ledger::{Ledger, database};

mod quirks;
mod reconcile;

fn ledger_of(reader: &Reader) -> Ledger {
    Ledger { db: reader.db.clone(), mailbox: reader.mailbox.clone() }
}

async fn reader(settings: ImapSettings) -> Reader {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    rustls::crypto::ring::default_provider().install_default().ok();
    Reader {
        mailbox: format!("mailbox-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
        settings,
        after: After::Keep,
        start: Start::All,
        max_message_bytes: 1_000_000,
        db: database().await,
        clock: Clock::told(DateTime::UNIX_EPOCH),
        pace: Pace {
            renew: Duration::from_mins(1),
            poll: Duration::from_millis(20),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(100),
            longest_storage_pause: Duration::from_millis(100),
            refused_pause: Duration::from_millis(100),
        },
        progress: Progress::default(),
    }
}

// ---- who and what

fn settings(port: u16, user: &str) -> ImapSettings {
    ImapSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: Tls::None,
        user: user.to_owned(),
        login: Login::Password(PASSWORD.to_owned().into()),
        ca_file: None,
        folder: "INBOX".to_owned(),
    }
}

async fn reader_of(dovecot: &Dovecot, user: &str) -> Reader {
    reader(settings(dovecot.imap_port(), user)).await
}

fn mail(number: usize) -> String {
    format!("From: ada@example.org\r\nSubject: mail {number}\r\n\r\nHello {number}.\r\n")
}

fn mails(count: usize) -> Vec<String> {
    (1..=count).map(mail).collect()
}

fn deliver(dovecot: &Dovecot, user: &str, mails: &[String]) {
    dovecot.deliver(user, "INBOX", mails.iter().map(String::as_bytes));
}

fn script(count: usize, faults: &[Fault]) -> ImapScript {
    let mails = mails(count);
    ImapScript::start(&mails.iter().map(String::as_bytes).collect::<Vec<_>>(), faults)
}

async fn error(settings: ImapSettings) -> String {
    rustls::crypto::ring::default_provider().install_default().ok();
    format!("{:#}", connection::check("support", &settings).await.unwrap_err())
}

/// Runs the reader for as long as `story` lasts, then stops it, which must not take long.
async fn while_reading(readers: Vec<Reader>, story: impl AsyncFnOnce()) {
    let shutdown = CancellationToken::new();
    let reading = readers.into_iter().map(|reader| imap::run(reader, shutdown.clone()));
    let told = async {
        story().await;
        shutdown.cancel();
    };
    let both = async { tokio::join!(futures_util::future::join_all(reading), told) };
    tokio::time::timeout(PATIENCE * 3, both).await.unwrap();
}

// ---- reading

#[tokio::test]
async fn every_mail_is_read_once_in_order_and_leaves_no_trace() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "every").await;
    deliver(dovecot, "every", &mails(250));
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 250);
    assert_eq!(ledger_of(&reader).mails().await, mails(250));
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
    dovecot.append("every", "INBOX", mail(251)).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 1);
    assert_eq!(ledger_of(&reader).mails().await, mails(251));
    assert_eq!(ledger_of(&reader).cursor().await.unwrap().last_uid, 251);
    assert!(dovecot.flags("every").await.iter().all(|(_, flags)| flags.is_empty()));
}

#[tokio::test]
async fn mail_that_somebody_read_already_is_read_too() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "somebody").await;
    deliver(dovecot, "somebody", &mails(2));
    let mut session = dovecot.session("somebody").await;
    session.select("INBOX").await.unwrap();
    session.run_command_and_check_ok("UID STORE 1 +FLAGS (\\Seen)").await.unwrap();
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 2);
}

#[tokio::test]
async fn any_bytes_come_through_as_they_are() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "bytes").await;
    let mut odd: Vec<u8> = b"Subject: odd\r\n\r\n".to_vec();
    odd.extend((1..=255_u8).filter(|byte| !matches!(byte, b'\r' | b'\n')));
    odd.extend(b"\r\n.\r\n{5}\r\n* 1 FETCH (UID 9)\r\n");
    dovecot.append("bytes", "INBOX", &odd).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 1);
    assert_eq!(dovecot.messages("bytes", "INBOX").await, [odd.clone()]);
    assert_eq!(ledger_of(&reader).raw().await, [odd]);
}

#[tokio::test]
async fn of_a_mail_that_is_too_large_the_start_is_read() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "large").await;
    reader.max_message_bytes = 100;
    let large = mail(2) + &"x".repeat(1000);
    deliver(dovecot, "large", &[mail(1), large.clone(), mail(3)]);
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 3);
    assert_eq!(ledger_of(&reader).mails().await, [mail(1), large.chars().take(100).collect(), mail(3)]);
}

#[tokio::test]
async fn after_a_new_uidvalidity_all_is_read_again() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "validity").await;
    deliver(dovecot, "validity", &mails(3));
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 3);
    let uidvalidity = dovecot.bump_uidvalidity("validity").await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 3);
    assert_eq!(ledger_of(&reader).cursor().await, Some(Cursor { uidvalidity, last_uid: 3 }));
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
}

#[tokio::test]
async fn a_mailbox_can_be_read_from_now_on() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "now").await;
    reader.start = Start::New;
    deliver(dovecot, "now", &mails(3));
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
    dovecot.append("now", "INBOX", mail(4)).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 1);
    assert_eq!(ledger_of(&reader).mails().await, [mail(4)]);
}

/// Puts a mail into the folder that lies there since 2020.
async fn deliver_old(dovecot: &Dovecot, user: &str, mail: &str) {
    let mut session = dovecot.session(user).await;
    session.append("INBOX", None, Some("\"01-Jan-2020 00:00:00 +0000\""), mail).await.unwrap();
}

#[tokio::test]
async fn what_was_left_alone_stays_so_after_a_new_uidvalidity() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "leftalone").await;
    reader.start = Start::New;
    reader.clock = Clock::told("2025-01-01T00:00:00Z".parse().unwrap());
    deliver_old(dovecot, "leftalone", &mail(1)).await;
    deliver_old(dovecot, "leftalone", &mail(2)).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
    dovecot.append("leftalone", "INBOX", mail(3)).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 1);
    dovecot.append("leftalone", "INBOX", mail(4)).await;
    let uidvalidity = dovecot.bump_uidvalidity("leftalone").await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 2, "what was read once is told by its content");
    assert_eq!(ledger_of(&reader).mails().await, [mail(3), mail(3), mail(4)]);
    assert_eq!(ledger_of(&reader).fate("suppressed").await, [1, 2], "what is left alone is said");
    assert_eq!(ledger_of(&reader).cursor().await.unwrap(), Cursor { uidvalidity, last_uid: 4 });
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
}

#[tokio::test]
async fn another_account_under_the_same_name_is_read_from_its_beginning() {
    let one = script(5, &[]);
    let mut reader = reader(settings(one.port(), "ada")).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 5);
    // The same UIDVALIDITY, and lower UIDs.
    let other: Vec<String> = (6..=8).map(mail).collect();
    let other = ImapScript::start(&other.iter().map(String::as_bytes).collect::<Vec<_>>(), &[]);
    reader.settings = settings(other.port(), "bob");
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 3);
    assert_eq!(ledger_of(&reader).raw().await.len(), 8);
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
}

// ---- after reading

#[tokio::test]
async fn a_mail_of_which_only_the_start_was_read_is_not_deleted() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "rest").await;
    reader.max_message_bytes = 100;
    reader.after = After::Delete;
    let large = mail(2) + &"x".repeat(1000);
    deliver(dovecot, "rest", &[mail(1), large.clone()]);
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 2);
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
    assert_eq!(dovecot.messages("rest", "INBOX").await, [large.into_bytes()]);
}

#[tokio::test]
async fn nothing_changes_on_the_server_before_the_mail_is_stored() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "before").await;
    reader.after = After::Delete;
    deliver(dovecot, "before", &mails(2));
    ledger_of(&reader).fails(true).await;
    imap::sync_once(&mut reader).await.unwrap_err();
    assert_eq!(dovecot.flags("before").await, [(1, vec![]), (2, vec![])]);
    ledger_of(&reader).fails(false).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 2);
    assert_eq!(dovecot.flags("before").await, []);
}

#[tokio::test]
async fn an_action_that_a_crash_prevented_is_done_later() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "later").await;
    deliver(dovecot, "later", &mails(2));
    // As a crash between commit and flag leaves it: stored, but not acted upon.
    imap::sync_once(&mut reader).await.unwrap();
    ledger_of(&reader).forget_actions().await;
    reader.after = After::Seen;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 0);
    let seen = vec!["\\Seen".to_owned()];
    assert_eq!(dovecot.flags("later").await, [(1, seen.clone()), (2, seen)]);
}

#[tokio::test]
async fn what_was_kept_stays_when_the_action_is_changed() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "kept").await;
    deliver(dovecot, "kept", &mails(1));
    imap::sync_once(&mut reader).await.unwrap();
    reader.after = After::Delete;
    dovecot.append("kept", "INBOX", mail(2)).await;
    imap::sync_once(&mut reader).await.unwrap();
    assert_eq!(dovecot.messages("kept", "INBOX").await, [mail(1).into_bytes()]);
}

#[tokio::test]
async fn mails_are_moved_to_a_folder_which_is_made() {
    let dovecot = Dovecot::shared();
    for (user, folder) in [("mover", "Done"), ("umlaut", "Erledigt & geprüft")] {
        let mut reader = reader_of(dovecot, user).await;
        reader.after = After::Move(folder.to_owned());
        deliver(dovecot, user, &mails(3));
        assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 3);
        assert_eq!(ledger_of(&reader).trouble().await, None);
        assert_eq!(dovecot.flags(user).await, []);
        let there = ImapSettings { folder: folder.to_owned(), ..reader.settings };
        let mut moved = self::reader(there).await;
        assert_eq!(imap::sync_once(&mut moved).await.unwrap(), 3);
        assert_eq!(ledger_of(&moved).mails().await, mails(3));
    }
}

#[tokio::test]
async fn a_server_without_extensions_does_what_it_can() {
    let plus = Dovecot::with("imap_capability = IMAP4rev1 UIDPLUS");
    let mut reader = reader_of(&plus, "ada").await;
    reader.after = After::Move("Done".to_owned());
    deliver(&plus, "ada", &mails(2));
    imap::sync_once(&mut reader).await.unwrap();
    assert_eq!((plus.flags("ada").await, plus.messages("ada", "Done").await.len()), (vec![], 2));

    let bare = Dovecot::with("imap_capability = IMAP4rev1");
    let mut reader = reader_of(&bare, "ada").await;
    reader.after = After::Delete;
    deliver(&bare, "ada", &mails(1));
    imap::sync_once(&mut reader).await.unwrap();
    assert_eq!(bare.flags("ada").await, [(1, vec!["\\Deleted".to_owned()])]);
}

#[tokio::test]
async fn an_action_that_fails_is_told_and_does_not_keep_from_reading() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "fails").await;
    reader.after = After::Move("inbox".to_owned());
    deliver(dovecot, "fails", &mails(2));
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 2);
    let told = ledger_of(&reader).trouble().await.unwrap();
    assert_eq!(
        told,
        "mails are read, but the action after that (`after`) fails: `move:inbox` would move mails to where they are: \
         choose another folder"
    );
}

// ---- staying connected

#[tokio::test]
async fn new_mail_wakes_the_reader() {
    let dovecot = Dovecot::shared();
    let reader = reader_of(dovecot, "idle").await;
    let ledger = ledger_of(&reader);
    dovecot.append("idle", "INBOX", mail(1)).await;
    while_reading(vec![reader], async || {
        ledger.until_mails(1).await;
        for number in 2..5 {
            dovecot.append("idle", "INBOX", mail(number)).await;
            ledger.until_mails(number).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_reader_comes_back_after_the_server_did() {
    let dovecot = Dovecot::private();
    let reader = reader_of(&dovecot, "ada").await;
    let ledger = ledger_of(&reader);
    dovecot.append("ada", "INBOX", mail(1)).await;
    while_reading(vec![reader], async || {
        ledger.until_mails(1).await;
        dovecot.kill();
        ledger.until_trouble().await;
        dovecot.start();
        dovecot.append("ada", "INBOX", mail(2)).await;
        ledger.until_mails(2).await;
        dovecot.stop();
        ledger.until_trouble().await;
        dovecot.start();
        dovecot.append("ada", "INBOX", mail(3)).await;
        ledger.until_mails(3).await;
        ledger.until_well().await;
    })
    .await;
}

#[tokio::test]
async fn of_two_processes_one_reads_and_the_other_takes_over() {
    let dovecot = Dovecot::shared();
    dovecot.append("shared", "INBOX", mail(1)).await;
    let first = reader_of(dovecot, "shared").await;
    let ledger = ledger_of(&first);
    let (mailbox, db) = (ledger.mailbox.clone(), ledger.db.clone());
    let second = Reader { mailbox, db, ..reader_of(dovecot, "shared").await };
    let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
    let story = async {
        ledger.until_mails(1).await;
        // The second waits behind the first.
        let source = format!("imap:{}", ledger.mailbox);
        assert!(ReaderLock::try_acquire(&ledger.db, &source).await.unwrap().is_none());
        while_reading(vec![second], async || {
            dovecot.append("shared", "INBOX", mail(2)).await;
            ledger.until_mails(2).await;
            stop.cancel();
            stopped.cancelled().await;
            dovecot.append("shared", "INBOX", mail(3)).await;
            ledger.until_mails(3).await;
        })
        .await;
    };
    let reading = async {
        imap::run(first, stop.clone()).await;
        stopped.cancel();
    };
    tokio::join!(reading, story);
    assert_eq!(ledger.mails().await, mails(3));
}

#[tokio::test]
async fn a_server_without_idle_is_polled() {
    let raw = mail(1);
    let bare = ImapScript::with_capabilities("IMAP4rev1", &[raw.as_bytes()], &[]);
    let liar = ImapScript::start(&[raw.as_bytes()], &[Fault::NoIdle]);
    for server in [bare, liar] {
        let reader = reader(settings(server.port(), "ada")).await;
        let ledger = ledger_of(&reader);
        while_reading(vec![reader], async || {
            ledger.until_mails(1).await;
            server.deliver(mail(2).as_bytes());
            ledger.until_mails(2).await;
        })
        .await;
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_server_that_says_nothing() {
    let silent = ImapScript::start(&[], &[Fault::Silence]);
    let reader = reader(settings(silent.port(), "ada")).await;
    let begun = Instant::now();
    while_reading(vec![reader], async || silent.wait_for_connections(1).await).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

// ---- trouble in the middle

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_of_a_portion_loses_nothing() {
    let server = script(5, &[Fault::HangUpInFetch]);
    let mut reader = reader(settings(server.port(), "ada")).await;
    imap::sync_once(&mut reader).await.unwrap_err();
    assert_eq!(ledger_of(&reader).cursor().await, None);
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 5);
    assert_eq!(ledger_of(&reader).mails().await, mails(5));
}

#[tokio::test]
async fn a_refused_portion_is_fetched_mail_by_mail() {
    let server = script(5, &[Fault::Refuse(3)]);
    let mut reader = reader(settings(server.port(), "ada")).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 5);
    assert_eq!(ledger_of(&reader).mails().await, mails(5));
}

#[tokio::test]
async fn a_mail_that_vanishes_does_not_stop_the_others() {
    let server = script(5, &[Fault::Vanish(3), Fault::Vanish(5)]);
    let mut reader = reader(settings(server.port(), "ada")).await;
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 3);
    assert_eq!(ledger_of(&reader).mails().await, [mail(1), mail(2), mail(4)]);
    assert_eq!(ledger_of(&reader).cursor().await, Some(Cursor { uidvalidity: 7, last_uid: 5 }));
}

#[tokio::test]
async fn a_mail_in_an_answer_that_makes_no_sense_is_read_all_the_same() {
    let server = script(5, &[Fault::Nonsense(3)]);
    let reader = reader(settings(server.port(), "ada")).await;
    let ledger = ledger_of(&reader);
    while_reading(vec![reader], async || {
        ledger.until_mails(5).await;
    })
    .await;
    assert!(ledger.unreadable().await.is_empty());
}

#[tokio::test]
async fn a_mail_that_can_not_be_read_is_put_aside_and_the_next_goes_on() {
    let refused = [Fault::Refuse(3); 20];
    for faults in [&[Fault::UtterNonsense(3)][..], &[Fault::Withhold(3)], &refused] {
        let server = script(5, faults);
        let reader = reader(settings(server.port(), "ada")).await;
        let ledger = ledger_of(&reader);
        while_reading(vec![reader], async || {
            ledger.until_mails(4).await;
        })
        .await;
        assert_eq!(ledger.unreadable().await, [3]);
        assert!(!server.commands().iter().any(|command| command.contains("STORE")));
    }
}

#[tokio::test]
async fn trouble_that_passes_costs_no_mail() {
    // The first is suspected; whether it is at fault shows by the second, and as long as that is refused, too, it is not.
    let away = [vec![Fault::Refuse(1); 6], vec![Fault::Refuse(2); 12]].concat();
    let one_waits = vec![Fault::Refuse(1); 12];
    for (count, faults) in [(3, away), (1, one_waits)] {
        let server = script(count, &faults);
        let reader = reader(settings(server.port(), "ada")).await;
        let ledger = ledger_of(&reader);
        while_reading(vec![reader], async || {
            ledger.until_mails(count).await;
        })
        .await;
        assert_eq!(ledger.unreadable().await, [0_i64; 0]);
    }
}

#[tokio::test]
async fn a_mail_that_was_put_aside_unread_is_asked_for_again() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "aside").await;
    deliver(dovecot, "aside", &mails(2));
    let uidvalidity = dovecot.session("aside").await.select("INBOX").await.unwrap().uid_validity.unwrap();
    let (db, clock, mailbox) = (reader.db.clone(), reader.clock.clone(), reader.mailbox.clone());
    let source = ticketd::ingest::Source { mailbox: &mailbox, account: 0, uidvalidity };
    ticketd::ingest::receive_unreadable(&db, &clock, source, 1, "refused").await.unwrap();
    assert_eq!(ledger_of(&reader).unreadable().await, [1]);
    assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 2);
    assert_eq!(ledger_of(&reader).mails().await, mails(2));
    assert_eq!(ledger_of(&reader).unreadable().await, [0_i64; 0]);
}

// ---- what people are told

#[tokio::test]
async fn tls_works_both_ways() {
    let dovecot = Dovecot::shared();
    dovecot.append("tls", "INBOX", mail(1)).await;
    let ca_file = Some(dovecot.ca_file());
    for (tls, port) in [(Tls::Implicit, dovecot.imaps_port()), (Tls::StartTls, dovecot.imap_port())] {
        for host in ["localhost", "127.0.0.1"] {
            let settings = settings(port, "tls");
            let settings = ImapSettings { tls, ca_file: ca_file.clone(), host: host.to_owned(), ..settings };
            let mut reader = reader(settings).await;
            assert_eq!(imap::sync_once(&mut reader).await.unwrap(), 1);
        }
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_accepted_where_it_is_configured() {
    let dovecot = Dovecot::shared();
    let own = ImapSettings {
        host: certificates::SELF_SIGNED_HOST.to_owned(),
        tls: Tls::Implicit,
        ca_file: Some(dovecot.self_signed_file()),
        ..settings(dovecot.imaps_port(), "own")
    };
    assert_eq!(connection::check("support", &own).await.unwrap(), 0);
    let elsewhere = ImapSettings { host: "127.0.0.1".to_owned(), ..own.clone() };
    assert!(error(elsewhere).await.contains("is signed by nobody this machine trusts"));
    let unknown = ImapSettings { ca_file: None, ..own };
    assert!(error(unknown).await.contains("is self-signed: set imap.ca_file to a copy of it"));
}

#[tokio::test]
async fn passwords_may_hold_anything() {
    let dovecot = Dovecot::with(
        "passdb {\n  driver = static\n  args = password={PLAIN.b64}cMOkIsOfXHdvcnQ=\n}\nauth_username_chars =",
    );
    for (user, password) in [("ada", "pä\"ß\\wort"), ("jürgen", "pä\"ß\\wort"), ("ada", PASSWORD)] {
        let settings = ImapSettings {
            login: Login::Password(password.to_owned().into()),
            ..settings(dovecot.imap_port(), user)
        };
        assert_eq!(connection::check("support", &settings).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn errors_name_cause_and_remedy() {
    let dovecot = Dovecot::shared();
    let (plain, imaps) = (dovecot.imap_port(), dovecot.imaps_port());
    let ca_file = Some(dovecot.ca_file());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base = settings(imaps, "errors");
    let with_tls = ImapSettings { tls: Tls::Implicit, ca_file, ..base.clone() };
    let mut told = Vec::new();
    for settings in [
        ImapSettings { port: free, ..base.clone() },
        ImapSettings { host: "imap.invalid".to_owned(), ..base.clone() },
        ImapSettings { host: "192.0.2.1".to_owned(), ..base.clone() },
        ImapSettings { ca_file: None, ..with_tls.clone() },
        ImapSettings { ca_file: Some("/no/such/file".into()), ..with_tls.clone() },
        ImapSettings { host: certificates::EXPIRED_HOST.to_owned(), ..with_tls.clone() },
        ImapSettings { host: certificates::UNNAMED_HOST.to_owned(), ..with_tls.clone() },
        ImapSettings { port: plain, ..with_tls.clone() },
        ImapSettings { login: Login::Password("wrong".to_owned().into()), ..with_tls.clone() },
        ImapSettings { folder: "Support".to_owned(), ..with_tls.clone() },
    ] {
        told.push(
            error(settings)
                .await
                .replace(&plain.to_string(), "PLAIN")
                .replace(&imaps.to_string(), "IMAPS")
                .replace(&free.to_string(), "FREE"),
        );
    }
    let expected = [
        "127.0.0.1:FREE refuses connections: check imap.port (993 for implicit TLS, 143 for starttls) and whether the server runs",
        "cannot find the server imap.invalid: check imap.host (failed to lookup address information: Name or service not known)",
        "imap.tls = \"none\" would send the password in the clear, and is for this machine only, but 192.0.2.1 is elsewhere (192.0.2.1): use \"implicit\" or \"starttls\"",
        "the certificate of 127.0.0.1:IMAPS is signed by nobody this machine trusts: set imap.ca_file to the certificate of its authority (PEM)",
        "cannot read imap.ca_file /no/such/file (a PEM file that ticketd's user may read): I/O error: No such file or directory (os error 2)",
        "the certificate of 127.0.0.2:IMAPS expired on 2001-01-01: the server needs a new one (no option accepts an expired one)",
        "the certificate of 127.0.0.3:IMAPS is for another name: set imap.host to one that it names (localhost, 127.0.0.1)",
        "127.0.0.1:PLAIN does not speak TLS from the first byte: set imap.tls = \"starttls\", or imap.port to the port that does (993)",
        "the server refused login for the user of mailbox support: check imap.user and imap.password_file (with two-factor authentication it takes an app password); it said: [AUTHENTICATIONFAILED] Authentication failed.",
        "there is no folder `Support`: set imap.folder to one of: INBOX",
    ];
    assert_eq!(told, expected);
}
