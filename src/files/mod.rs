//! The contents of files: each kept once, under its SHA-256, in the store of attachments. Owns `blobs` and `loose_objects`.
//!
//! The database and the store have no transaction in common, so the order of steps makes the promise. Keeping: the object is
//! entered among the loose ones, then written, then named by a row of `blobs`, and only then may a transaction refer to it.
//! Removing is the way back: the row goes, unless something refers to it, and its object becomes a loose one; then the object
//! is deleted, then its entry. Whoever dies between two steps leaves a loose object, and those are swept after a day.
//! No object's name is used twice, so a deletion that comes too late deletes nothing that is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::crash;
use crate::queue::{JobError, Tx};
use crate::store::{Object, Sha, Store, StoreError};

mod sql;

/// Who kept a content refers to it within this time; after it, what nothing refers to is removed.
const KEPT: TimeDelta = TimeDelta::days(1);
/// Contents of one mail that are written at once.
const WRITES_AT_ONCE: usize = 4;
/// So many are removed in one step.
const REMOVED_AT_ONCE: i64 = 200;
/// A sweep begins nothing new after this time; what is left is for the next one.
const SWEEP_FOR: Duration = Duration::from_mins(1);
/// How often keeping begins anew where what it wrote was swept under its hands.
const TRIES: usize = 3;

/// A content and its hash.
#[derive(Clone, Debug)]
pub struct Content {
    pub sha256: Sha,
    pub bytes: Bytes,
}

impl Content {
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { sha256: Sha256::digest(&bytes).into(), bytes }
    }
}

/// Why contents could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row is gone: nothing referred to it.
    #[error("the content of a file is not kept any more")]
    Gone,
    /// It took longer than a day to write, or others' clocks are far from ours.
    #[error("what was written to the store of attachments was removed at the same time")]
    Overtaken,
}

impl FilesError {
    /// Another attempt may help without anybody's doing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Database(_) | Self::Overtaken | Self::Store(StoreError::Away { .. }) => true,
            Self::Gone | Self::Store(StoreError::Missing(..) | StoreError::Damaged(..)) => false,
        }
    }
}

impl From<FilesError> for JobError {
    fn from(error: FilesError) -> Self {
        if error.may_pass() { Self::Retry(error.into()) } else { Self::Fail(error.into()) }
    }
}

/// The contents of files.
#[derive(Clone, Debug)]
pub struct Files {
    db: PgPool,
    store: Store,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects deleted.
    pub removed: usize,
    /// Contents moved from the database to the store.
    pub moved: usize,
    /// There is more to do.
    pub unfinished: bool,
}

impl Files {
    pub fn new(db: PgPool, store: Store) -> Self {
        Self { db, store }
    }

    /// Keeps contents. For a day from now a transaction may refer to them; what nothing refers to then is removed.
    ///
    /// To be called before that transaction begins: it asks the network. Each is named as soon as it is written, so that who has
    /// no time left for all goes on there at the next attempt.
    pub async fn keep(&self, contents: &[Content], now: DateTime<Utc>) -> Result<(), FilesError> {
        let mut wanted: BTreeMap<Sha, Bytes> =
            contents.iter().map(|content| (content.sha256, content.bytes.clone())).collect();
        for _ in 0..TRIES {
            if wanted.is_empty() {
                return Ok(());
            }
            let objects = self.announce(&wanted, now).await?;
            crash::point("files.announced");
            let left = self.write(objects, &wanted, now).await?;
            wanted.retain(|sha256, _| left.contains(sha256));
        }
        if wanted.is_empty() { Ok(()) } else { Err(FilesError::Overtaken) }
    }

    /// Writes announced objects and names them. Gives the contents of those that were swept under our hands.
    async fn write(
        &self,
        objects: Vec<Object>,
        contents: &BTreeMap<Sha, Bytes>,
        now: DateTime<Utc>,
    ) -> Result<BTreeSet<Sha>, FilesError> {
        let mut writes = Vec::new();
        for object in objects {
            let bytes = contents.get(&object.sha256).cloned().unwrap_or_default();
            let store = self.store.clone();
            writes.push(async move { store.put(object, bytes).await.map(|()| object) });
        }
        let mut left = BTreeSet::new();
        let mut results = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).ready_chunks(WRITES_AT_ONCE);
        while let Some(batch) = results.next().await {
            let mut failed = None;
            let mut written = Vec::new();
            for result in batch {
                match result {
                    Ok(object) => written.push(object),
                    Err(error) => failed = Some(error),
                }
            }
            crash::point("files.written");
            let named = self.name(&written, now).await?;
            crash::point("files.kept");
            left.extend(written.iter().filter(|o| !named.contains(&o.number)).map(|o| o.sha256));
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok(left)
    }

    /// Enters the objects that are about to be written: those of contents that nobody has kept.
    async fn announce(
        &self,
        wanted: &BTreeMap<Sha, Bytes>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Object>, FilesError> {
        let hashes: Vec<Vec<u8>> = wanted.keys().map(|sha256| sha256.to_vec()).collect();
        let mut tx = self.db.begin().await?;
        let there = sql::touch(&mut tx, &hashes, now).await?;
        let missing: Vec<Vec<u8>> = hashes.into_iter().filter(|sha256| !there.contains(sha256)).collect();
        let objects =
            if missing.is_empty() { Vec::new() } else { sql::announce(&mut tx, &missing, now).await? };
        tx.commit().await?;
        Ok(objects)
    }

    /// Names what was written in `blobs`. Where somebody else has kept the same content meanwhile, theirs stays. Gives the
    /// numbers of those that were not swept under our hands.
    async fn name(&self, objects: &[Object], now: DateTime<Utc>) -> Result<BTreeSet<i64>, FilesError> {
        if objects.is_empty() {
            return Ok(BTreeSet::new());
        }
        let numbers: Vec<i64> = objects.iter().map(|object| object.number).collect();
        let mut tx = self.db.begin().await?;
        let held = sql::hold(&mut tx, &numbers).await?;
        sql::name(&mut tx, &held, now).await?;
        let held: BTreeSet<i64> = held.into_iter().collect();
        // The sweep may have looked for it before it was there.
        for object in objects.iter().filter(|object| !held.contains(&object.number)) {
            sql::condemn_again(&mut tx, *object, now).await?;
        }
        tx.commit().await?;
        Ok(held)
    }

    /// Reads a content, and checks that it is what was kept.
    pub async fn read(&self, sha256: Sha) -> Result<Bytes, FilesError> {
        let Some(place) = sql::place(&self.db, &sha256).await? else { return Err(FilesError::Gone) };
        match (place.object, place.content) {
            (Some(number), _) => Ok(self.store.get(Object { sha256, number }).await?),
            (None, Some(content)) => Ok(content.into()),
            (None, None) => Err(FilesError::Gone),
        }
    }

    /// Removes what nothing has referred to for a day, and moves contents from the database to the store. An object that cannot
    /// be deleted stops nothing else; it is the error at the end.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<Swept, FilesError> {
        let mut swept = Swept::default();
        let begun = Instant::now();
        let mut tx = self.db.begin().await?;
        let loosened = loosen(&mut tx, now).await?;
        let forgotten = sql::condemn(&mut tx, now - KEPT, REMOVED_AT_ONCE).await?;
        tx.commit().await?;
        crash::point("files.loosened");
        let at_once = usize::try_from(REMOVED_AT_ONCE).unwrap_or(usize::MAX);
        swept.unfinished = loosened >= at_once || forgotten >= at_once;
        let mut failed = None;
        for object in sql::condemned(&self.db, REMOVED_AT_ONCE).await? {
            if begun.elapsed() >= SWEEP_FOR {
                swept.unfinished = true;
                break;
            }
            if let Err(error) = self.store.delete(object).await {
                let error = failed.insert(error);
                tracing::warn!(%object, error = chain(error), "an object of the store of attachments cannot be deleted");
                continue;
            }
            crash::point("files.deleted");
            sql::forget(&self.db, object.number).await?;
            swept.removed += 1;
        }
        while let Some(content) = sql::in_database(&self.db).await? {
            if begun.elapsed() >= SWEEP_FOR {
                swept.unfinished = true;
                break;
            }
            self.move_out(content, now).await?;
            swept.moved += 1;
        }
        failed.map_or(Ok(swept), |error| Err(error.into()))
    }

    /// Moves one content from the database to the store.
    async fn move_out(&self, (sha256, bytes): (Sha, Bytes), now: DateTime<Utc>) -> Result<(), FilesError> {
        let mut tx = self.db.begin().await?;
        let objects = sql::announce(&mut tx, &[sha256.to_vec()], now).await?;
        tx.commit().await?;
        for object in objects {
            self.store.put(object, bytes.clone()).await?;
            crash::point("files.copied");
            let mut tx = self.db.begin().await?;
            let held = sql::hold(&mut tx, &[object.number]).await?;
            // Where it was moved by another process, ours stays loose.
            if !held.is_empty() && sql::move_out(&mut tx, object).await? {
                sql::name_taken(&mut tx, object.number).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }
}

/// An error with its causes, for the log.
fn chain(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Takes the rows of contents that nothing refers to, and makes loose objects of theirs. Returns how many.
async fn loosen(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<usize> {
    // In two steps: what another transaction refers to by now is seen by the second only.
    let unwanted = sql::lock_unwanted(tx, now - KEPT, REMOVED_AT_ONCE).await?;
    if !unwanted.is_empty() {
        sql::loosen(tx, &unwanted, now).await?;
    }
    Ok(unwanted.len())
}
