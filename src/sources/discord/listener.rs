//! What is said in tickets' threads, into the ledger: in order, once, and nothing left out.
//!
//! There is one listener. It gathers for a moment, sorts, and stores. A thread that may have been missed something is read
//! on first ([`super::catch_up`]); what comes from it meanwhile waits, because the ledger's newest message of a thread says
//! where reading on begins.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Gateway;
use super::catch_up::{self, Outcome};
use super::heard::{Change, Heard, What};
use super::line::{Dropped, Ears};
use crate::discord::api::ApiError;
use crate::discord::created_at;
use crate::ingest::discord::{self as ledger, Arrived};
use crate::tickets::threads::{self, Thread};

/// What is said so close together is stored together.
const GATHERING: Duration = Duration::from_millis(20);
const MOST_AT_ONCE: usize = 200;
/// After a session begins Discord lists the threads, with their newest messages.
const LISTING: Duration = Duration::from_secs(3);
/// Changes that wait for their threads to be read on; what is more is read on once more.
const MOST_HELD: usize = 10_000;
/// How long a thread may be unknown that is just being made.
const YOUNG: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long it is looked for, in case its making was recorded late.
const LONG_PATIENCE: Duration = Duration::from_mins(10);
const LOOK_SOON: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A thread that is being read on.
struct Behind {
    thread: Thread,
    /// What was heard from it meanwhile.
    held: Vec<Change>,
    /// Something was missed again meanwhile, after this message.
    again: Option<u64>,
}

/// What was said in a channel that is no ticket's thread, as far as we know.
struct Stranger {
    since: Instant,
    first: u64,
    /// Dropped when patience ends; the first message is remembered.
    changes: Vec<Change>,
}

pub(super) struct Listener {
    gateway: Gateway,
    /// What an earlier listener could not store. It waits for a session: only then threads are read on before it.
    leftover: Vec<Change>,
    /// Taken from the line, not stored yet.
    waiting: Vec<Change>,
    behind: HashMap<u64, Behind>,
    reading: JoinSet<(u64, Outcome)>,
    strangers: BTreeMap<u64, Stranger>,
    look_at: Instant,
    mended_at: Instant,
    /// A session began, and its threads may have missed something.
    sessions: Sessions,
}

/// Sessions that began or went on, and those after which everything was read on.
#[derive(Clone, Copy, Default)]
struct Sessions {
    begun: u64,
    caught_up: u64,
}

impl Listener {
    /// `leftover`: what an earlier listener of this process could not store.
    pub(super) fn new(gateway: Gateway, leftover: Vec<Change>) -> Self {
        Self {
            gateway,
            leftover,
            waiting: Vec::new(),
            behind: HashMap::new(),
            reading: JoinSet::new(),
            strangers: BTreeMap::new(),
            look_at: Instant::now() + PATIENCE,
            mended_at: Instant::now() + LOOK_AGAIN,
            sessions: Sessions::default(),
        }
    }

    /// What is not stored, for the next listener.
    pub(super) fn leftover(self) -> Vec<Change> {
        let held = self.behind.into_values().flat_map(|behind| behind.held);
        let strange = self.strangers.into_values().flat_map(|stranger| stranger.changes);
        self.leftover.into_iter().chain(self.waiting).chain(held).chain(strange).collect()
    }

    /// Listens until the line is closed and all that it brought is stored. Dropping it in between loses nothing:
    /// [`Listener::leftover`] has it. Fails where Discord does not know us any more.
    pub(super) async fn listen(&mut self, ears: &mut Ears) -> Result<(), ApiError> {
        loop {
            if let Some(dropped) = ears.backlog.take_dropped() {
                self.read_on_after(dropped).await;
            }
            let is_quiet = self.behind.is_empty();
            tokio::select! {
                biased;
                Some(read) = self.reading.join_next(), if !is_quiet => self.was_read(read).await?,
                heard = ears.heard.recv() => match heard {
                    Some(first) => self.take(first, ears).await,
                    None => break,
                },
                () = tokio::time::sleep_until(self.mended_at) => self.look_for_mended().await,
                () = tokio::time::sleep_until(self.look_at), if !self.strangers.is_empty() => self.look_again().await,
            }
        }
        while let Some(read) = self.reading.join_next().await {
            self.was_read(read).await?;
        }
        Ok(())
    }

    /// Gathers what comes in the next moment, and deals with it in order.
    async fn take(&mut self, first: Heard, ears: &mut Ears) {
        let until = Instant::now() + GATHERING;
        let mut next = Some(first);
        let mut count = 0;
        while let Some(heard) = next.take() {
            count += 1;
            match heard {
                Heard::Changed(change) => {
                    ears.backlog.taken();
                    self.waiting.push(change);
                }
                other => {
                    // What came before it is stored before it.
                    self.store().await;
                    self.turn_to(other, ears).await;
                }
            }
            if count < MOST_AT_ONCE {
                next = tokio::time::timeout_at(until, ears.heard.recv()).await.ok().flatten();
            }
        }
        self.store().await;
    }

    async fn turn_to(&mut self, heard: Heard, ears: &mut Ears) {
        match heard {
            Heard::Ready => {
                let listed = listing(&mut self.waiting, ears).await;
                self.begin_session(listed.as_ref()).await;
            }
            Heard::Resumed => self.begin_session(None).await,
            Heard::ThreadGone(channel) => self.thread_is_gone(channel).await,
            Heard::Unreadable { channel } => {
                self.read_on_in(&[channel]).await;
            }
            Heard::Visible(channels) => self.read_on_in(&channels).await,
            // Without a session that began: a server that was away for a moment.
            Heard::Listed(_) | Heard::Changed(_) => {}
        }
    }

    /// Reads on in every thread that may have something new; those are left out whose newest message is known.
    async fn begin_session(&mut self, listed: Option<&HashMap<u64, u64>>) {
        self.sessions.begun += 1;
        let all =
            repeat("list the threads", || threads::listening(&self.gateway.db, self.gateway.clock.now()))
                .await;
        let is_read = |thread: &Thread| {
            let newest = thread.channel.and_then(|channel| listed?.get(&channel));
            newest.is_some_and(|newest| *newest <= thread.last_seen)
        };
        let all: Vec<Thread> = all.into_iter().filter(|thread| !is_read(thread)).collect();
        tracing::debug!(threads = all.len(), "reading on in {} threads", all.len());
        self.begin_reading(all, None);
        self.waiting.append(&mut self.leftover);
        self.note_caught_up();
    }

    /// Those of these channels that are threads of tickets may have missed something.
    async fn read_on_in(&mut self, channels: &[u64]) {
        let found = repeat("look threads up", || threads::by_channels(&self.gateway.db, channels)).await;
        self.begin_reading(found, None);
    }

    /// A thread was broken or archived for a while, and can be heard again, whoever mended it.
    async fn look_for_mended(&mut self) {
        let found = repeat("look for threads to read on", || threads::to_read_on(&self.gateway.db)).await;
        let unread = found.into_iter().filter(|thread| !self.is_behind(thread)).collect();
        self.begin_reading(unread, None);
        self.mended_at = Instant::now() + LOOK_AGAIN;
    }

    fn is_behind(&self, thread: &Thread) -> bool {
        thread.channel.is_some_and(|channel| self.behind.contains_key(&channel))
    }

    /// What could not be taken in is read again.
    async fn read_on_after(&mut self, dropped: Dropped) {
        let Dropped { first, count, revisions } = dropped;
        tracing::warn!(
            count,
            revisions,
            "{count} changes in Discord came faster than they could be stored; messages are read again, {revisions} edits \
             and deletions among them are not"
        );
        let all =
            repeat("list the threads", || threads::listening(&self.gateway.db, self.gateway.clock.now()))
                .await;
        self.begin_reading(all, Some(first));
    }

    /// `lost`: something was missed from this message on.
    fn begin_reading(&mut self, threads: Vec<Thread>, lost: Option<u64>) {
        for thread in threads {
            let Some(channel) = thread.channel else { continue };
            let from = catch_up::start(&thread, lost);
            if let Some(behind) = self.behind.get_mut(&channel) {
                behind.again = Some(behind.again.map_or(from, |again| again.min(from)));
            } else {
                self.read_on(channel, thread.clone(), from);
                self.behind.insert(channel, Behind { thread, held: Vec::new(), again: None });
            }
        }
    }

    fn read_on(&mut self, channel: u64, thread: Thread, from: u64) {
        let gateway = self.gateway.clone();
        self.reading.spawn(async move {
            let reading = AssertUnwindSafe(catch_up::read_on(gateway, thread, channel, from));
            let outcome = reading.catch_unwind().await.unwrap_or_else(|_panic| {
                tracing::error!(channel, "reading a thread in Discord on panicked; messages may be missing");
                Outcome::Done
            });
            (channel, outcome)
        });
    }

    async fn was_read(
        &mut self,
        read: Result<(u64, Outcome), tokio::task::JoinError>,
    ) -> Result<(), ApiError> {
        // Tasks that are aborted or panic have no one to tell: neither happens to these.
        let Ok((channel, outcome)) = read else { return Ok(()) };
        let Some(behind) = self.behind.get_mut(&channel) else { return Ok(()) };
        match (outcome, behind.again.take()) {
            (Outcome::Refused(error), _) => return Err(error),
            (Outcome::Done, Some(from)) => {
                let thread = behind.thread.clone();
                self.read_on(channel, thread, from);
                return Ok(());
            }
            (Outcome::Done, None) => {
                let (gateway, thread) = (&self.gateway, behind.thread.id);
                repeat("note that a thread was read on", || threads::was_read_on(&gateway.db, thread)).await;
            }
            (Outcome::Broken(error), _) => {
                let (gateway, thread, why) = (&self.gateway, &behind.thread, error.to_string());
                repeat("note that a thread is broken", || catch_up::note_broken(gateway, thread, &why)).await;
            }
        }
        if let Some(behind) = self.behind.remove(&channel) {
            self.waiting.extend(behind.held);
            self.store().await;
        }
        self.note_caught_up();
        Ok(())
    }

    fn note_caught_up(&mut self) {
        if self.behind.is_empty() && self.sessions.caught_up < self.sessions.begun {
            let new = self.sessions.begun - self.sessions.caught_up;
            self.sessions.caught_up = self.sessions.begun;
            self.gateway.progress.send_modify(|progress| progress.caught_up += new);
        }
    }

    async fn thread_is_gone(&mut self, channel: u64) {
        let asked = [channel];
        let found = repeat("look a thread up", || threads::by_channels(&self.gateway.db, &asked)).await;
        for thread in found.iter().filter(|thread| thread.broken.is_none()) {
            let gateway = &self.gateway;
            let why = "the thread was deleted in Discord";
            repeat("note that a thread is gone", || catch_up::note_broken(gateway, thread, why)).await;
        }
    }

    /// Stores what waits, as far as its threads are known and not being read on.
    async fn store(&mut self) {
        self.hold_back();
        if self.waiting.is_empty() {
            return;
        }
        let channels: Vec<u64> =
            self.waiting.iter().map(|change| change.channel).collect::<HashSet<_>>().into_iter().collect();
        let found = repeat("look threads up", || threads::by_channels(&self.gateway.db, &channels)).await;
        for thread in &found {
            self.recognize(thread);
        }
        let unread: Vec<Thread> =
            found.iter().filter(|thread| thread.read_on && !self.is_behind(thread)).cloned().collect();
        self.begin_reading(unread, None);
        self.hold_back();
        let known: HashMap<u64, &Thread> =
            found.iter().filter_map(|thread| Some((thread.channel?, thread))).collect();
        self.waiting.sort_by_key(Change::order);
        let arrived: Vec<Arrived> = self
            .waiting
            .iter()
            .filter_map(|change| {
                let thread = known.get(&change.channel)?.id;
                Some(match &change.what {
                    What::Said(message) => Arrived::message(thread, message),
                    What::Edited(message) => Arrived::edit(thread, message),
                    What::Deleted => Arrived::deletion(thread, change.message),
                })
            })
            .collect();
        keep(&self.gateway, &arrived).await;
        // Only now: whoever drops this in between finds what waits, and storing it again changes nothing.
        let stored = std::mem::take(&mut self.waiting);
        for change in stored.into_iter().filter(|change| !known.contains_key(&change.channel)) {
            self.meet(change);
        }
    }

    /// What is said in a thread that is being read on waits for it.
    fn hold_back(&mut self) {
        if self.behind.is_empty() {
            return;
        }
        let mut held: usize = self.behind.values().map(|behind| behind.held.len()).sum();
        let waiting = std::mem::take(&mut self.waiting);
        for change in waiting {
            match self.behind.get_mut(&change.channel) {
                None => self.waiting.push(change),
                Some(behind) if held < MOST_HELD => {
                    behind.held.push(change);
                    held += 1;
                }
                Some(behind) => {
                    let from = change.message.saturating_sub(1);
                    behind.again = Some(behind.again.map_or(from, |again| again.min(from)));
                }
            }
        }
    }

    /// Only a thread that is just being made may be a ticket's without our knowing.
    fn meet(&mut self, change: Change) {
        if created_at(change.message) - created_at(change.channel) > YOUNG
            && !self.strangers.contains_key(&change.channel)
        {
            return;
        }
        let stranger = self.strangers.entry(change.channel).or_insert_with(|| Stranger {
            since: Instant::now(),
            first: change.message,
            changes: Vec::new(),
        });
        stranger.first = stranger.first.min(change.message);
        if stranger.since.elapsed() < PATIENCE && stranger.changes.len() < MOST_AT_ONCE {
            stranger.changes.push(change);
        }
        self.look_at = self.look_at.min(Instant::now() + LOOK_SOON);
    }

    /// Looks whether strangers have become tickets' threads.
    async fn look_again(&mut self) {
        let channels: Vec<u64> = self.strangers.keys().copied().collect();
        let found = repeat("look threads up", || threads::by_channels(&self.gateway.db, &channels)).await;
        for thread in &found {
            self.recognize(thread);
        }
        self.store().await;
        self.strangers.retain(|_, stranger| stranger.since.elapsed() < LONG_PATIENCE);
        for stranger in self.strangers.values_mut().filter(|stranger| stranger.since.elapsed() >= PATIENCE) {
            stranger.changes = Vec::new();
        }
        let is_new = self.strangers.values().any(|stranger| stranger.since.elapsed() < PATIENCE);
        self.look_at = Instant::now() + if is_new { LOOK_SOON } else { LOOK_AGAIN };
    }

    /// A stranger has become a ticket's thread.
    fn recognize(&mut self, thread: &Thread) {
        let Some(stranger) = thread.channel.and_then(|channel| self.strangers.remove(&channel)) else {
            return;
        };
        if stranger.since.elapsed() >= PATIENCE || stranger.changes.len() >= MOST_AT_ONCE {
            // Not all of it was kept.
            self.begin_reading(vec![thread.clone()], Some(stranger.first));
        }
        self.waiting.extend(stranger.changes);
    }
}

/// Waits for the list of threads that follows on a session's beginning. What else comes meanwhile waits, too.
async fn listing(waiting: &mut Vec<Change>, ears: &mut Ears) -> Option<HashMap<u64, u64>> {
    let until = Instant::now() + LISTING;
    loop {
        match tokio::time::timeout_at(until, ears.heard.recv()).await.ok().flatten()? {
            Heard::Listed(listed) => return Some(listed),
            Heard::Changed(change) => {
                ears.backlog.taken();
                waiting.push(change);
            }
            // Another session: its own list follows.
            Heard::Ready
            | Heard::Resumed
            | Heard::ThreadGone(_)
            | Heard::Unreadable { .. }
            | Heard::Visible(_) => {}
        }
    }
}

/// Puts a batch into the ledger, however long the database is away. What it refuses is left out, and said.
pub(super) async fn keep(gateway: &Gateway, arrived: &[Arrived]) {
    if arrived.is_empty() {
        return;
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let Err(error) = ledger::receive(&gateway.db, &gateway.clock, arrived).await else {
            gateway.progress.send_modify(|progress| progress.stored += arrived.len() as u64);
            return;
        };
        if is_refusal(&error) {
            match arrived {
                [one] => {
                    let name = one.name.as_str();
                    tracing::error!(
                        name,
                        "the database refuses something said in Discord; it is left out: {error:#}"
                    );
                }
                // One by one: what is sound is kept.
                many => {
                    for one in many {
                        Box::pin(keep(gateway, std::slice::from_ref(one))).await;
                    }
                }
            }
            return;
        }
        tracing::warn!("what was said in Discord cannot be stored now: {error:#}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the database is there and does not take this (classes of PostgreSQL's error codes: data, integrity, limits).
fn is_refusal(error: &anyhow::Error) -> bool {
    let database = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    let code = database.and_then(|error| error.code().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    ["22", "23", "54"].iter().any(|class| code.starts_with(class))
}

/// Asks the database until it answers.
async fn repeat<T, F: Future<Output = sqlx::Result<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "cannot {what} now: {error}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
