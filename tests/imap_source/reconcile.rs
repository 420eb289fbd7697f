//! What the mail server holds and what the ledger holds are compared, and a gap is closed and told.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use ticketd::alarms;
use ticketd::config::Start;
use ticketd::sources::imap::{self, Progress, Reader};

use super::{deliver, ledger_of, mail, mails, reader, reader_of, script, settings};
use crate::harness::desk::{configuration, fresh_user};
use crate::harness::dovecot::Dovecot;
use crate::harness::imap_script::{Fault, ImapScript};
use crate::harness::program::{Place, run, url_of};

/// Rows and bytes of some mails are gone, as after the database was restored from a backup.
async fn loses(db: &PgPool, mailbox: &str, uids: &[i64]) {
    for statement in [
        "DELETE FROM jobs WHERE subject IN (SELECT id FROM inbound WHERE mailbox = $1 AND uid = ANY ($2))",
        "DELETE FROM inbound WHERE mailbox = $1 AND uid = ANY ($2)",
        "DELETE FROM raw_mails r WHERE $1 <> '' AND $2 <> '{}'::BIGINT[]
         AND NOT EXISTS (SELECT FROM inbound i WHERE i.raw_sha256 = r.sha256)",
    ] {
        sqlx::query(statement).bind(mailbox).bind(uids).execute(db).await.unwrap();
    }
}

/// The alarms of gaps so far: why, and whether it is over.
async fn gaps(db: &PgPool) -> Vec<(String, bool)> {
    let newest = alarms::newest(db, 10).await.unwrap();
    let gaps = newest.into_iter().filter(|alarm| alarm.kind == alarms::GAP);
    gaps.map(|alarm| (alarm.reason, alarm.cleared_at.is_some())).collect()
}

async fn sync(reader: &mut Reader) -> usize {
    imap::sync_once(reader).await.unwrap()
}

#[tokio::test]
async fn a_mail_that_the_ledger_has_lost_is_fetched_and_told_once_and_so_is_its_end() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "reconciled-lost").await;
    deliver(dovecot, "reconciled-lost", &mails(7));
    assert_eq!(sync(&mut reader).await, 7);
    loses(&reader.db, &reader.mailbox, &[2, 3, 6]).await;
    assert_eq!(ledger_of(&reader).mails().await.len(), 4);
    // Not at every pass: the list of a large mailbox is long.
    assert_eq!(sync(&mut reader).await, 0);
    reader.clock.advance(TimeDelta::hours(6));
    dovecot.append("reconciled-lost", "INBOX", mail(8)).await;
    assert_eq!(sync(&mut reader).await, 1 + 3);
    assert_eq!(ledger_of(&reader).mails().await, mails(8));
    let cursor = ledger_of(&reader).cursor().await.unwrap();
    assert_eq!(cursor.last_uid, 8);
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'ingest'")
        .fetch_one(&reader.db)
        .await
        .unwrap();
    assert_eq!(jobs, 8);
    let reason = "3 mails on the server were not in the ledger; 3 of them were fetched now".to_owned();
    assert_eq!(gaps(&reader.db).await, [(reason.clone(), false)]);
    assert_eq!(sync(&mut reader).await, 0);
    reader.clock.advance(TimeDelta::hours(6));
    assert_eq!(sync(&mut reader).await, 0);
    assert_eq!(gaps(&reader.db).await, [(reason, true)]);
}

#[tokio::test]
async fn the_first_pass_after_a_start_compares_too_and_fetches_no_mail_that_is_there() {
    let dovecot = Dovecot::shared();
    let mut reader = reader_of(dovecot, "reconciled-restored").await;
    deliver(dovecot, "reconciled-restored", &mails(250));
    assert_eq!(sync(&mut reader).await, 250);
    // Every other one, so that no two of them are neighbors.
    let odd: Vec<i64> = (1..=250).step_by(2).collect();
    loses(&reader.db, &reader.mailbox, &odd).await;
    reader.progress = Progress::default();
    assert_eq!(sync(&mut reader).await, 125);
    assert_eq!(ledger_of(&reader).mails().await, mails(250));
}

#[tokio::test]
async fn what_is_gone_from_the_server_and_what_was_there_before_are_no_gaps() {
    let dovecot = Dovecot::shared();
    deliver(dovecot, "reconciled-before", &mails(3));
    let mut reader = reader_of(dovecot, "reconciled-before").await;
    reader.start = Start::New;
    assert_eq!(sync(&mut reader).await, 0);
    for number in 4..=6 {
        dovecot.append("reconciled-before", "INBOX", mail(number)).await;
    }
    assert_eq!(sync(&mut reader).await, 3);
    let mut session = dovecot.session("reconciled-before").await;
    session.select("INBOX").await.unwrap();
    session.run_command_and_check_ok("UID STORE 1,5 +FLAGS (\\Deleted)").await.unwrap();
    session.run_command_and_check_ok("EXPUNGE").await.unwrap();
    reader.progress = Progress::default();
    assert_eq!(sync(&mut reader).await, 0);
    let new: Vec<String> = (4..=6).map(mail).collect();
    assert_eq!(ledger_of(&reader).mails().await, new);
    assert_eq!(gaps(&reader.db).await, []);
    loses(&reader.db, &reader.mailbox, &[4, 5]).await;
    reader.progress = Progress::default();
    assert_eq!(sync(&mut reader).await, 1);
}

#[tokio::test]
async fn what_the_server_does_not_give_is_put_into_quarantine_and_stops_nothing_else() {
    let whole = script(5, &[]);
    let mut reader = reader(settings(whole.port(), "ada")).await;
    assert_eq!(sync(&mut reader).await, 5);
    loses(&reader.db, &reader.mailbox, &[1, 2, 3, 4]).await;
    let raws = mails(5);
    let raws: Vec<&[u8]> = raws.iter().map(String::as_bytes).collect();
    let worse = ImapScript::start(&raws, &[Fault::UtterNonsense(1), Fault::Withhold(2), Fault::Nonsense(4)]);
    reader.settings.port = worse.port();
    reader.progress = Progress::default();
    // One answer makes no sense: the connection is given up, and the mails are read by hand the next time.
    imap::sync_once(&mut reader).await.unwrap_err();
    sync(&mut reader).await;
    let kept: Vec<String> = [3, 4, 5].map(mail).into();
    assert_eq!(ledger_of(&reader).mails().await, kept);
    assert_eq!(ledger_of(&reader).unreadable().await, [1, 2]);
}

#[tokio::test]
async fn where_the_connection_breaks_while_it_is_compared_it_is_compared_again() {
    let whole = script(4, &[]);
    let mut reader = reader(settings(whole.port(), "ada")).await;
    assert_eq!(sync(&mut reader).await, 4);
    loses(&reader.db, &reader.mailbox, &[2, 3]).await;
    let raws = mails(4);
    let raws: Vec<&[u8]> = raws.iter().map(String::as_bytes).collect();
    let worse = ImapScript::start(&raws, &[Fault::HangUpInFetch]);
    reader.settings.port = worse.port();
    reader.progress = Progress::default();
    imap::sync_once(&mut reader).await.unwrap_err();
    assert_eq!(sync(&mut reader).await, 2);
    assert_eq!(ledger_of(&reader).mails().await, mails(4));
    assert_eq!(gaps(&reader.db).await.len(), 1);
}

#[tokio::test]
async fn the_command_compares_every_mailbox_and_fails_where_the_server_does_not_give_all() {
    let dovecot = Dovecot::shared();
    let user = fresh_user();
    deliver(dovecot, &user, &mails(4));
    let mut reader = reader_of(dovecot, &user).await;
    reader.mailbox = "support".to_owned();
    let (place, url) = (Place::new(), url_of(&reader.db));
    let with = |port| {
        let database = format!("[database]\nurl = \"{url}\"\n");
        place.config(&configuration(&user, port, 1, "", &database))
    };
    let config = with(dovecot.imap_port());
    let command = ["ledger", "reconcile", "--config", &config];
    let ran = run(&command, "").await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    insta::assert_snapshot!(ran.err, @"ticketd: mailbox support can't be compared: it was not read yet under the numbers that its folder has now; `ticketd serve` reads it from its beginning");
    assert_eq!(sync(&mut reader).await, 4);
    loses(&reader.db, &reader.mailbox, &[2, 4]).await;
    let lines = async |code, command: &[&str]| -> Value {
        let ran = run(command, "").await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        serde_json::from_str(&ran.out).expect("a line of JSON")
    };
    let told = |missing, fetched| json!({"mailbox": "support", "on_server": 4, "in_ledger": 4 - missing, "missing": missing, "fetched": fetched});
    assert_eq!(lines(0, &command).await, told(2, 2));
    assert_eq!(ledger_of(&reader).mails().await, mails(4));
    assert_eq!(lines(0, &[&command[..], &["--mailbox", "support"]].concat()).await, told(0, 0));
    assert_eq!(gaps(&reader.db).await.len(), 1);
    let ran = run(&[&command[..], &["--mailbox", "sales"]].concat(), "").await;
    insta::assert_snapshot!(ran.err, @"ticketd: no [[mailbox]] with the name sales and a section [mailbox.imap] is configured");
}
