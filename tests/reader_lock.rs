//! One process reads a source, and knows when it may not any more.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use sqlx::PgPool;
use ticketd::sources::lock::ReaderLock;

use crate::harness::ledger::database;

/// Ends the connections of all who hold the lock `imap:lost`, as a restart of PostgreSQL would.
async fn cut_lock_holders(db: &PgPool) {
    let cut: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND objid = hashtext('imap:lost')::BIGINT & x'ffffffff'::BIGINT",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert_eq!(cut, [true]);
}

#[tokio::test]
async fn a_lock_is_lost_with_its_connection_and_its_holder_knows() {
    let db = database().await;
    let lock = ReaderLock::acquire(&db, "imap:lost").await.unwrap();
    lock.check().await.unwrap();
    assert!(ReaderLock::try_acquire(&db, "imap:lost").await.unwrap().is_none());
    assert!(ReaderLock::try_acquire(&db, "imap:other").await.unwrap().is_some());
    cut_lock_holders(&db).await;
    lock.check().await.unwrap_err();
    let next = ReaderLock::acquire(&db, "imap:lost").await.unwrap();
    next.check().await.unwrap();
    next.release().await;
    assert!(ReaderLock::try_acquire(&db, "imap:lost").await.unwrap().is_some());
}

#[tokio::test]
async fn who_holds_a_lock_and_says_nothing_loses_it_and_who_shows_that_it_lives_does_not() {
    let db = database().await;
    let silent = ReaderLock::acquire(&db, "imap:silent").await.unwrap();
    let living = ReaderLock::acquire(&db, "imap:living").await.unwrap();
    let begun = Instant::now();
    let taken = tokio::select! {
        taken = ReaderLock::acquire(&db, "imap:silent") => taken.unwrap(),
        lost = living.lost() => unreachable!("{lost:#}"),
        in_vain = ReaderLock::acquire(&db, "imap:living") => unreachable!("{in_vain:?}"),
    };
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    silent.check().await.unwrap_err();
    taken.check().await.unwrap();
    living.check().await.unwrap();
}
