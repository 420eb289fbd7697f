//! Mail by local delivery: a Maildir whose `new/` is emptied into the ledger.
//!
//! A delivery agent writes to `tmp/` and renames to `new/`, so what is there is whole. A mail is moved to `cur/`
//! only after it is in the ledger; the ledger knows it by its unique file name, so a crash in between costs nothing.
//! So each look at `new/` compares it with the ledger whole. `cur/` is not compared: a mail program may have moved mails
//! there that were never ours.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::crash;
use crate::ingest;

/// How often `new/` is looked at.
const POLL: Duration = Duration::from_secs(1);
/// The pause after the database failed.
const PAUSE: Duration = Duration::from_secs(5);

/// A Maildir and where its mail goes.
#[derive(Debug)]
pub struct Maildir {
    pub path: PathBuf,
    /// The mailbox that answers are sent from.
    pub mailbox: String,
    /// Of a larger mail only this much is read.
    pub max_message_bytes: usize,
    pub db: PgPool,
    pub clock: Clock,
    pub poll: Duration,
    /// Files that were complained about.
    troubled: HashSet<OsString>,
    /// Files that are in the ledger but could not be moved.
    stuck: HashSet<OsString>,
}

impl Maildir {
    /// A Maildir that is looked at every second.
    pub fn new(path: PathBuf, mailbox: String, max_message_bytes: usize, db: PgPool, clock: Clock) -> Self {
        let (troubled, stuck) = Default::default();
        Self { path, mailbox, max_message_bytes, db, clock, poll: POLL, troubled, stuck }
    }

    /// Says what is wrong, once for each thing until it is right again.
    fn complain(&mut self, file: &OsStr, trouble: &str) {
        if self.troubled.insert(file.to_owned()) {
            tracing::warn!(path = %self.path.display(), file = %file.display(), "{trouble}");
        }
    }
}

/// Reads until `shutdown`.
pub async fn run(mut maildir: Maildir, shutdown: CancellationToken) {
    let reading = async {
        loop {
            let pause = match sync_once(&mut maildir).await {
                Ok(_) => maildir.poll,
                Err(error) => {
                    let path = maildir.path.display();
                    tracing::warn!(%path, "the Maildir {path} can't be read: {error:#}");
                    PAUSE.max(maildir.poll)
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    // Dropping it in the middle is safe: what was not moved is read again.
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = reading => {}
    }
}

/// Takes in what is in `new/`, oldest name first, and returns how many mails that was. A file that can't be read
/// stays where it is and does not keep the others; a database that fails stops the pass.
pub async fn sync_once(maildir: &mut Maildir) -> anyhow::Result<usize> {
    let new = maildir.path.join("new");
    let names = match names(&new).await {
        Ok(names) => names,
        Err(error) => {
            maildir
                .complain(OsStr::new("new"), &format!("the Maildir's folder `new` can't be read: {error}"));
            return Ok(0);
        }
    };
    maildir.troubled.retain(|file| names.contains(file));
    maildir.stuck.retain(|file| names.contains(file));
    let mut count = 0;
    for name in names {
        if !maildir.stuck.contains(&name) {
            let raw = match read(&new.join(&name), maildir.max_message_bytes).await {
                Ok(Some(raw)) => raw,
                Ok(None) => continue,
                Err(error) => {
                    maildir.complain(&name, &format!("a mail in the Maildir can't be read: {error}"));
                    continue;
                }
            };
            let text = name.to_string_lossy();
            let Maildir { db, clock, mailbox, .. } = &*maildir;
            let received = ingest::receive_file(db, clock, mailbox, unique_name(&text), raw).await;
            received.context("cannot store a mail")?;
            count += 1;
            crash::point("maildir.received");
        }
        match file_away(&maildir.path, &name).await {
            Ok(()) => {}
            // Another reader was quicker; the ledger has the mail once.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                maildir.complain(&name, &format!("a mail is taken in but can't be moved to `cur`: {error}"));
                maildir.stuck.insert(name);
            }
        }
    }
    Ok(count)
}

/// The files in `new/`, sorted: names begin with the time of delivery.
async fn names(new: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    let mut entries = tokio::fs::read_dir(new).await?;
    while let Some(entry) = entries.next_entry().await? {
        // Files with a dot are nobody's mail (maildir(5)).
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            names.insert(entry.file_name());
        }
    }
    Ok(names)
}

/// The first `max_bytes` of a mail; `None` where it is gone, or no plain file (a link could point anywhere).
async fn read(path: &Path, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    match tokio::fs::symlink_metadata(path).await {
        Ok(about) if about.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut raw = Vec::new();
    tokio::fs::File::open(path).await?.take(max_bytes as u64).read_to_end(&mut raw).await?;
    Ok(Some(raw))
}

/// The name without the flags behind the colon, which may change.
fn unique_name(name: &str) -> &str {
    name.split_once(":2,").map_or(name, |(unique, _)| unique)
}

/// Moves a mail from `new/` to `cur/`: read by a program, flagged by nobody.
async fn file_away(maildir: &Path, name: &OsStr) -> io::Result<()> {
    let cur = maildir.join("cur");
    let mut flagged = name.to_owned();
    if !name.to_string_lossy().contains(":2,") {
        flagged.push(":2,");
    }
    let (from, to) = (maildir.join("new").join(name), cur.join(flagged));
    match tokio::fs::rename(&from, &to).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !tokio::fs::try_exists(&cur).await? => {
            tokio::fs::create_dir(&cur).await?;
            tokio::fs::rename(from, to).await
        }
        moved_or_not => moved_or_not,
    }
}
