//! The process dies between any two steps; it is started again, and the end is as if nothing had happened.

mod asking;
mod discord;
mod expire;
mod files;
mod grant;
mod webhook;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use sqlx::Row;
use ticketd::clock::Clock;
use ticketd::config::Config;
use ticketd::people;

use crate::harness::children;
use crate::harness::daemon::{Daemon, Premises};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{Mail, header, mail};
use crate::harness::smtp::{At, Behaviour, Received};
use crate::harness::wait::until;

/// Every name that the source gives to `crash::point`, so that a new one cannot be forgotten here.
fn points() -> Vec<String> {
    fn walk(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("list a source folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("read a source file");
                for call in text.split("crash::point(\"").skip(1) {
                    names.extend(call.split('"').next().map(str::to_owned));
                }
            }
        }
    }
    let mut names = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    names.sort();
    names.dedup();
    names
}

/// How often one mail's way leads past a point. The process dies there the first time, and in another run the second …
fn times(point: &str) -> u32 {
    match point {
        "worker.claimed" => 5, // ingest, deliver, triage, assign, deliver
        "deliver.composed" | "deliver.fixed" | "deliver.sent" | "deliver.committed" => 2, // acknowledgement, notice
        _ => 1,
    }
}

/// Not on a mail's way by IMAP.
fn has_its_own_test(point: &str) -> bool {
    point == "maildir.received"
        || point == "webhook.sent"
        || point == "oauth.granted"
        || point.starts_with("letter.")
        || discord::is_there(point)
        || files::is_there(point)
        || expire::is_there(point)
        || asking::is_there(point)
}

fn adas_mail() -> Mail {
    mail("Ada <ada@example.net>", "Charged twice", "Hello,\n\nI want a refund for my invoice.\n\nAda")
}

#[tokio::test]
async fn wherever_the_process_dies_the_end_is_the_same() {
    let points = points();
    assert!(points.len() >= 15, "the crash points are not where this test looks for them: {points:?}");
    let by_imap = points.iter().filter(|point| !has_its_own_test(point));
    let deaths: Vec<_> = by_imap.flat_map(|point| (0..times(point)).map(move |nth| (point, nth))).collect();
    let runs = deaths.into_iter().map(|(point, nth)| dies_at(point, nth));
    // A few at once: the machine has something to do while one of them waits.
    stream::iter(runs).buffer_unordered(3).collect::<Vec<()>>().await;
}

/// One mail's way, with a death at `point` when it is passed for the `nth` time (from 0).
async fn dies_at(point: &str, nth: u32) {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "after = \"move:Done\"", "").await;
    if point == "deliver.refused" {
        premises.sink.behave(&Behaviour::Refuse(At::Data, 451, "4.3.0 later".to_owned()));
    }
    dovecot.append(&premises.user, "INBOX", adas_mail().raw()).await;

    let failpoints = format!("{point}={nth}*off->1*return");
    let mut daemon = Daemon::start(&premises.config, &failpoints);
    let status = daemon.ends().await;
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{failpoints}: {status}\n{}", daemon.log());
    let sent_before = premises.count("SELECT count(*) FROM deliveries WHERE state = 'sent'").await;

    premises.sink.behave(&Behaviour::Accept);
    premises.leases_run_out().await;
    let daemon = Daemon::start(&premises.config, "");
    assert!(daemon.comes_up().await, "{}", daemon.log());
    until(&format!("after a death at {point} all is done"), async || {
        premises.is_settled(1).await && premises.count("SELECT count(*) FROM inbound WHERE acted").await == 1
    })
    .await;
    assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
    daemon.stops().await;

    let place = format!("after a death at {point}, pass {}", nth + 1);
    check_counts(&premises, &place).await;
    let left = dovecot.messages(&premises.user, "INBOX").await.len();
    let moved = dovecot.messages(&premises.user, "Done").await.len();
    assert_eq!((left, moved), (0, 1), "{place}: the mail on the server");
    check_copies(&premises, point, sent_before, &place).await;
    premises.db.close().await;
}

/// One of each.
async fn check_counts(premises: &Premises, place: &str) {
    for (what, expected) in [
        ("SELECT count(*) FROM inbound WHERE fate = 'ticketed'", 1),
        ("SELECT count(*) FROM inbound", 1),
        ("SELECT count(*) FROM tickets WHERE status = 'open'", 1),
        ("SELECT count(*) FROM messages", 1),
        ("SELECT count(*) FROM triages", 1),
        ("SELECT count(*) FROM assignments WHERE outcome = 'matched'", 1),
        ("SELECT count(*) FROM deliveries WHERE kind = 'acknowledgement' AND state = 'sent'", 1),
        ("SELECT count(*) FROM deliveries WHERE kind = 'notice' AND state = 'sent'", 1),
        ("SELECT count(*) FROM deliveries", 2),
    ] {
        assert_eq!(premises.count(what).await, expected, "{place}: {what}");
    }
}

/// One acknowledgement and one notice; a second copy only under the same Message-ID, and never of one that was
/// recorded as sent.
async fn check_copies(premises: &Premises, point: &str, sent_before: i64, place: &str) {
    let mut copies: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for sent in premises.sink.mails() {
        let id = header(&sent.text(), "Message-ID").expect("a Message-ID");
        copies.entry(id.trim_matches(['<', '>']).to_owned()).or_default().push(sent.text());
    }
    let rows = sqlx::query("SELECT rfc_id, kind FROM deliveries ORDER BY id").fetch_all(&premises.db).await;
    let stored: Vec<(String, String)> =
        rows.expect("deliveries").iter().map(|r| (r.get(0), r.get(1))).collect();
    let mut ids: Vec<_> = stored.iter().map(|(id, _)| id.clone()).collect();
    ids.sort();
    assert_eq!(copies.keys().cloned().collect::<Vec<_>>(), ids, "{place}: {stored:?}");
    let doubled = copies.values().filter(|copies| copies.len() > 1).count();
    assert!(copies.values().all(|copies| copies.len() <= 2), "{place}: more than two copies");
    assert!(
        copies.values().all(|copies| copies.iter().all(|copy| Some(copy) == copies.first())),
        "{place}: the copies differ"
    );
    let open = 2 - usize::try_from(sent_before).expect("small");
    assert!(doubled <= open, "{place}: a mail that was recorded as sent was sent again");
    if point == "deliver.sent" {
        assert!(doubled >= 1, "{place}: it left, nobody knew, and it did not leave again");
    }
}

/// A process that was frozen comes back after its lease ran out: by then the job is another's, or done.
#[tokio::test]
async fn a_job_that_froze_past_its_lease_changes_nothing_any_more() {
    let points =
        ["ingest.before_commit", "triage.judged", "assign.before_record", "deliver.composed", "deliver.sent"];
    join_all(points.map(freezes_at)).await;
}

async fn freezes_at(point: &str) {
    let dovecot = Dovecot::shared();
    let premises = Premises::furnish(dovecot.imap_port(), "", "").await;
    dovecot.append(&premises.user, "INBOX", adas_mail().raw()).await;
    let daemon = Daemon::start(&premises.config, &format!("{point}=1*sleep(5000)"));
    let kind = point.split('.').next().expect("a kind of job");
    until("the job is begun", async || {
        let begun = sqlx::query("SELECT count(*) FROM jobs WHERE kind = $1 AND attempt = 1").bind(kind);
        begun.fetch_one(&premises.db).await.expect("the jobs").get::<i64, _>(0) > 0
    })
    .await;
    premises.leases_run_out().await;
    let other = Daemon::start(&premises.config, "");
    daemon.says("job was done by another worker", 1).await;
    until("all is done", async || premises.is_settled(1).await).await;
    for daemon in [daemon, other] {
        assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
        daemon.stops().await;
    }
    check_counts(&premises, &format!("after a long sleep at {point}")).await;
    check_copies(&premises, "", 0, &format!("after a long sleep at {point}")).await;
    premises.db.close().await;
}

#[tokio::test]
async fn a_maildir_whose_reader_dies_gives_each_mail_once() {
    for point in ["receive.before_commit", "receive.committed", "maildir.received"] {
        let maildir = tempfile::tempdir().expect("a folder");
        for part in ["tmp", "new", "cur"] {
            std::fs::create_dir(maildir.path().join(part)).expect("a Maildir");
        }
        let more = format!("[maildir]\npath = \"{}\"\n", maildir.path().display());
        let premises = Premises::furnish(Dovecot::shared().imap_port(), "", &more).await;
        std::fs::write(maildir.path().join("new/1.M2P3.host"), adas_mail().raw()).expect("a mail");

        let mut daemon = Daemon::start(&premises.config, &format!("{point}=1*return"));
        assert_eq!(daemon.ends().await.signal(), Some(Signal::SIGABRT as i32), "{point}: {}", daemon.log());
        premises.leases_run_out().await;
        let daemon = Daemon::start(&premises.config, "");
        assert!(daemon.comes_up().await, "{}", daemon.log());
        until("all is done", async || {
            premises.is_settled(1).await && maildir.path().join("cur/1.M2P3.host:2,").exists()
        })
        .await;
        assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
        daemon.stops().await;
        assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 1, "{point}");
        assert_eq!(premises.count("SELECT count(*) FROM inbound").await, 1, "{point}");
        premises.db.close().await;
    }
}

/// A code is mailed again only where nobody could know that it had left, and then the same mail.
#[tokio::test]
async fn a_code_is_mailed_though_the_process_died() {
    let letters: Vec<_> = points().into_iter().filter(|point| point.starts_with("letter.")).collect();
    assert_eq!(letters, ["letter.composed", "letter.sent"]);
    for (point, copies) in [("letter.composed", 1), ("letter.sent", 2)] {
        let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
        let text = std::fs::read_to_string(&premises.config).expect("the configuration");
        let config = Config::parse(&text, BTreeMap::new()).expect("a configuration");
        let now = Clock::system().now();
        let mut tx = premises.db.begin().await.expect("a transaction");
        let ada = people::by_discord(&mut tx, 4711, "Ada", now).await.expect("a person");
        people::link::ask(&mut tx, &config, ada, "ada@example.net", now).await.expect("a code");
        tx.commit().await.expect("a commit");

        let mut daemon = Daemon::start(&premises.config, &format!("{point}=1*return"));
        assert_eq!(daemon.ends().await.signal(), Some(Signal::SIGABRT as i32), "{point}: {}", daemon.log());
        premises.leases_run_out().await;
        let daemon = Daemon::start(&premises.config, "");
        assert!(daemon.comes_up().await, "{}", daemon.log());
        until("the code is mailed", async || premises.is_settled(0).await).await;
        assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
        daemon.stops().await;
        let mails: Vec<String> = premises.sink.mails().iter().map(Received::text).collect();
        assert_eq!(mails.len(), copies, "{point}");
        assert!(mails.iter().all(|mail| Some(mail) == mails.first()), "{point}: the copies differ");
        let sent = premises.count("SELECT count(*) FROM link_codes WHERE sent_at IS NOT NULL").await;
        assert_eq!(sent, 1, "{point}");
        premises.db.close().await;
    }
}

/// The mail server that pipes a mail into us takes a death for "not delivered" and tries again.
#[tokio::test]
async fn a_mail_by_pipe_is_one_ticket_though_the_command_died_after_its_commit() {
    let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
    let eml = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(eml.path(), adas_mail().raw()).expect("write a mail");
    for (failpoints, survives) in
        [("receive.before_commit=1*return", false), ("receive.committed=1*return", false), ("", true)]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketd"));
        command.args(["ingest", "--config"]).arg(&premises.config).arg(eml.path());
        command.env_clear().env("FAILPOINTS", failpoints);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = children::spawn(command, Signal::SIGKILL).expect("start ticketd ingest");
        assert_eq!(child.wait().expect("its exit status").success(), survives, "{failpoints}");
    }
    let daemon = Daemon::start(&premises.config, "");
    assert!(daemon.comes_up().await, "{}", daemon.log());
    until("all is done", async || premises.is_settled(2).await).await;
    assert_eq!(daemon.errors(), Vec::<String>::new());
    daemon.stops().await;
    assert_eq!(premises.count("SELECT count(*) FROM tickets").await, 1);
    assert_eq!(premises.count("SELECT count(*) FROM inbound WHERE fate = 'duplicate'").await, 1);
    assert_eq!(premises.sink.mails().len(), 2, "one acknowledgement, one notice");
    premises.db.close().await;
}
