//! Mail that a delivery agent puts into a Maildir is taken in once, and filed away only then.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use chrono::DateTime;
use ticketd::clock::Clock;
use ticketd::sources::maildir::{self, Maildir};
use tokio_util::sync::CancellationToken;

use crate::harness::ledger::{Ledger, database};
use crate::harness::wait;

async fn maildir(folder: &Path) -> (Maildir, Ledger) {
    let (db, mailbox) = (database().await, "support".to_owned());
    let clock = Clock::told(DateTime::UNIX_EPOCH);
    let maildir = Maildir::new(folder.to_owned(), mailbox.clone(), 1000, db.clone(), clock);
    (maildir, Ledger { db, mailbox })
}

fn deliver(folder: &Path, name: &str, raw: &[u8]) {
    std::fs::create_dir_all(folder.join("new")).unwrap();
    std::fs::write(folder.join("new").join(name), raw).unwrap();
}

fn files(folder: &Path, part: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(part)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn mails_are_taken_in_and_filed_away() {
    let folder = tempfile::tempdir().unwrap();
    let (mut maildir, ledger) = maildir(folder.path()).await;
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 0);
    for (name, raw) in
        [("2.b", &b"second"[..]), ("1.a:2,S", b"first"), (".hidden", b"no mail"), ("3.c", &[b'x'; 2000])]
    {
        deliver(folder.path(), name, raw);
    }
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("new/4.link")).unwrap();
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 3);
    let expected = [("1.a", b"first".to_vec()), ("2.b", b"second".to_vec()), ("3.c", vec![b'x'; 1000])];
    assert_eq!(ledger.files().await, expected.map(|(name, raw)| (name.to_owned(), raw)));
    assert_eq!(files(folder.path(), "cur"), ["1.a:2,S", "2.b:2,", "3.c:2,"]);
    assert_eq!(files(folder.path(), "new"), [".hidden", "4.link"]);
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 0);
}

#[tokio::test]
async fn nothing_is_filed_away_before_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (mut maildir, ledger) = maildir(folder.path()).await;
    deliver(folder.path(), "1.a", b"mail");
    ledger.fails(true).await;
    maildir::sync_once(&mut maildir).await.unwrap_err();
    assert_eq!(files(folder.path(), "new"), ["1.a"]);
    ledger.fails(false).await;
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 1);
    assert_eq!(files(folder.path(), "cur"), ["1.a:2,"]);
}

#[tokio::test]
async fn a_mail_that_can_not_be_moved_is_stored_once_and_moved_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let (mut maildir, ledger) = maildir(folder.path()).await;
    deliver(folder.path(), "1.a", b"mail");
    std::fs::write(folder.path().join("cur"), b"in the way").unwrap();
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 1);
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 0);
    std::fs::remove_file(folder.path().join("cur")).unwrap();
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 0);
    assert_eq!(files(folder.path(), "cur"), ["1.a:2,"]);
    assert_eq!(ledger.files().await, [("1.a".to_owned(), b"mail".to_vec())]);
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (mut maildir, ledger) = maildir(folder.path()).await;
    maildir.poll = std::time::Duration::from_millis(5);
    let shutdown = CancellationToken::new();
    let story = async {
        deliver(folder.path(), "1.a", b"mail");
        wait::until("the mail is stored", async || !ledger.files().await.is_empty()).await;
        shutdown.cancel();
    };
    tokio::join!(maildir::run(maildir, shutdown.clone()), story);
}
