//! The process dies while contents are kept, moved or removed: nothing is lost, and nothing is left behind.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use ticketd::clock::Clock;
use ticketd::config::Attachments;
use ticketd::files::{Content, Files};
use ticketd::queue;
use ticketd::store::Store;

use super::points;
use crate::harness::daemon::{Daemon, Premises};
use crate::harness::desk::data_dir;
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{Mail, mail};
use crate::harness::wait::until;

pub(super) fn is_there(point: &str) -> bool {
    point.starts_with("files.")
}

fn adas_file() -> Mail {
    let body = "--b\nContent-Type: text/plain\n\nI want a refund for my invoice.\n--b\nContent-Type: text/plain\n\
        Content-Disposition: attachment; filename=a.txt\n\nthe invoice\n--b--\n";
    mail("Ada <ada@example.net>", "Charged twice", body).with("Content-Type", "multipart/mixed; boundary=b")
}

/// Every object in the store.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { objects(&path) } else { vec![path] }).collect()
}

/// Two days ago nothing was written: everything loose or unwanted is old enough to be swept.
async fn days_pass(premises: &Premises) {
    for age in [
        "UPDATE blobs SET touched_at = touched_at - interval '2 days'",
        "UPDATE loose_objects SET since = since - interval '2 days'",
    ] {
        sqlx::query(age).execute(&premises.db).await.expect("time passes");
    }
}

async fn a_sweep_is_due(premises: &Premises) {
    let now = Clock::system().now();
    let mut tx = premises.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::SWEEP_FILES, 0, now).await.expect("a job");
    tx.commit().await.expect("a commit");
}

fn store(premises: &Premises) -> (Files, PathBuf) {
    let data_dir = data_dir(&premises.user);
    let store = Store::open(&Attachments::default(), &data_dir).expect("the store");
    (Files::new(premises.db.clone(), store), data_dir.join("attachments"))
}

/// Dies at `point`, is started again, and does what is due.
async fn dies_and_goes_on(premises: &Premises, point: &str, mails: usize) {
    let mut daemon = Daemon::start(&premises.config, &format!("{point}=1*return"));
    assert_eq!(daemon.ends().await.signal(), Some(Signal::SIGABRT as i32), "{point}: {}", daemon.log());
    premises.leases_run_out().await;
    let daemon = Daemon::start(&premises.config, "");
    assert!(daemon.comes_up().await, "{}", daemon.log());
    until(&format!("after a death at {point} all is done"), async || premises.is_settled(mails).await).await;
    assert_eq!(daemon.errors(), Vec::<String>::new(), "{point}");
    daemon.stops().await;
}

#[tokio::test]
async fn a_file_is_kept_though_the_process_died_while_it_was_written() {
    let known: Vec<String> = points().into_iter().filter(|point| is_there(point)).collect();
    let tested =
        ["files.announced", "files.copied", "files.deleted", "files.kept", "files.loosened", "files.written"];
    assert_eq!(known, tested);
    for point in ["files.announced", "files.written", "files.kept"] {
        let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
        Dovecot::shared().append(&premises.user, "INBOX", adas_file().raw()).await;
        dies_and_goes_on(&premises, point, 1).await;
        let (files, folder) = store(&premises);
        assert_eq!(premises.count("SELECT count(*) FROM attachments").await, 1, "{point}");
        let content = Content::new("the invoice");
        assert_eq!(files.read(content.sha256).await.expect("its content"), content.bytes, "{point}");
        days_pass(&premises).await;
        files.sweep(Clock::system().now()).await.expect("a sweep");
        assert_eq!(objects(&folder).len(), 1, "{point}: what the death left is swept, and nothing else");
        assert_eq!(premises.count("SELECT count(*) FROM loose_objects").await, 0, "{point}");
        assert_eq!(files.read(content.sha256).await.expect("its content"), content.bytes, "{point}");
        premises.db.close().await;
    }
}

#[tokio::test]
async fn what_nothing_refers_to_is_removed_though_the_process_died_meanwhile() {
    for point in ["files.loosened", "files.deleted"] {
        let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
        let (files, folder) = store(&premises);
        let contents = [Content::new("a"), Content::new("b")];
        files.keep(&contents, Clock::system().now()).await.expect("kept");
        assert_eq!(objects(&folder).len(), 2);
        days_pass(&premises).await;
        a_sweep_is_due(&premises).await;
        dies_and_goes_on(&premises, point, 0).await;
        assert_eq!(objects(&folder).len(), 0, "{point}");
        assert_eq!(premises.count("SELECT count(*) FROM loose_objects").await, 0, "{point}");
        assert_eq!(premises.count("SELECT count(*) FROM blobs").await, 0, "{point}");
        premises.db.close().await;
    }
}

#[tokio::test]
async fn a_content_is_moved_to_the_store_though_the_process_died_meanwhile() {
    let premises = Premises::furnish(Dovecot::shared().imap_port(), "", "").await;
    let (files, folder) = store(&premises);
    let content = Content::new("of old");
    sqlx::query("INSERT INTO blobs (sha256, content) VALUES ($1, $2)")
        .bind(content.sha256.to_vec())
        .bind(content.bytes.to_vec())
        .execute(&premises.db)
        .await
        .expect("an old row");
    a_sweep_is_due(&premises).await;
    dies_and_goes_on(&premises, "files.copied", 0).await;
    assert_eq!(premises.count("SELECT count(*) FROM blobs WHERE content IS NULL").await, 1);
    assert_eq!(files.read(content.sha256).await.expect("its content"), content.bytes);
    assert_eq!(objects(&folder).len(), 2, "the first copy is loose");
    sqlx::query("UPDATE loose_objects SET since = since - interval '2 days'")
        .execute(&premises.db)
        .await
        .expect("time passes");
    files.sweep(Clock::system().now()).await.expect("a sweep");
    assert_eq!(objects(&folder).len(), 1);
    assert_eq!(files.read(content.sha256).await.expect("its content"), content.bytes);
    premises.db.close().await;
}
