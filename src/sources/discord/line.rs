//! The connection to Discord's gateway: serenity's, on a thread of its own.
//!
//! Serenity starts a task for each event. On a runtime with one thread these run in the order in which the events came,
//! and that a session began is heard before what is said in it. And where Discord closes without a code, serenity's loop
//! spins without letting any other task of its thread run: here it has none to hold up but its own, and
//! [`Line::is_broken`] ends it.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serenity::all::{Context, GatewayIntents, RawEventHandler};
use serenity::async_trait;
use serenity::futures::StreamExt as _;
use serenity::gateway::{
    ConnectionStage, GatewayError, ShardManager, ShardManagerOptions, ShardRunnerMessage,
};
use serenity::http::Http;
use serenity::model::event::Event;
use serenity::model::id::ShardId;
use serenity::prelude::{RwLock, TypeMap};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Progress;
use super::heard::{self, Heard};
use crate::discord::request::Request;

/// What the bot asks to be told. `MESSAGE_CONTENT` has to be switched on in the developer portal.
const INTENTS: GatewayIntents =
    GatewayIntents::GUILDS.union(GatewayIntents::GUILD_MESSAGES).union(GatewayIntents::MESSAGE_CONTENT);
/// Changes that wait for the database; more of them are dropped, and read again later.
const MOST_CHANGES: usize = 10_000;
/// Interactions that wait to be answered: more could not be answered within Discord's three seconds.
const MOST_REQUESTS: usize = 512;
/// How long a line may be between two sessions before it is made anew, with another address of Discord's.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);
/// Who holds a line's life where no shard does: the line itself, its thread, and serenity's task that starts shards.
const HOLDERS: usize = 3;
/// How long signing off may take.
const GOODBYE: Duration = Duration::from_secs(6);

/// Why a line ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Discord does not let this bot in like this: what to do about it.
    Refused(GatewayError),
    Broke(String),
}

/// What did not fit into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// The oldest message among it.
    pub(super) first: u64,
    pub(super) count: usize,
    /// Edits and deletions, which cannot be read again.
    pub(super) revisions: usize,
}

/// How much waits, and what was dropped because too much waited.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: AtomicUsize,
    dropped: Mutex<Option<Dropped>>,
}

impl Backlog {
    /// Whether there is room for one more. After something was dropped there is none before it is being read again: what
    /// came later would hide the gap.
    fn admit(&self, change: &heard::Change) -> bool {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if dropped.is_none() && self.waiting.load(Ordering::Relaxed) < MOST_CHANGES {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let so_far = dropped.get_or_insert(Dropped { first: u64::MAX, ..Dropped::default() });
        so_far.count += 1;
        match change.what {
            heard::What::Said(_) => so_far.first = so_far.first.min(change.message),
            heard::What::Edited(_) | heard::What::Deleted => so_far.revisions += 1,
        }
        false
    }

    /// One was taken out.
    pub(super) fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// What was dropped so far; from now on there is room again.
    pub(super) fn take_dropped(&self) -> Option<Dropped> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection that lives until it is closed or breaks for good; serenity mends smaller breaks.
pub(super) struct Line {
    manager: Arc<ShardManager>,
    /// Held by everything of serenity's that lives.
    life: Arc<RwLock<TypeMap>>,
    stop: DropGuard,
    ended: oneshot::Receiver<Ended>,
    gone: usize,
    connected_at: Instant,
}

/// What a line brings of what is said.
pub(super) struct Ears {
    pub(super) heard: mpsc::UnboundedReceiver<Heard>,
    pub(super) backlog: Arc<Backlog>,
}

struct Handler {
    guild: u64,
    heard: mpsc::UnboundedSender<Heard>,
    requests: mpsc::Sender<Request>,
    backlog: Arc<Backlog>,
    progress: watch::Sender<Progress>,
}

#[async_trait]
impl RawEventHandler for Handler {
    async fn raw_event(&self, _: Context, event: Event) {
        // Nobody waits for this task, and so nobody would see it panic.
        let taken = std::panic::catch_unwind(AssertUnwindSafe(|| self.take(&event)));
        if taken.is_err() {
            metrics::counter!("ticketd_discord_unreadable_total", "kind" => "PANIC").increment(1);
            tracing::error!("an event from Discord made the gateway panic; it is left out");
        }
    }
}

impl Handler {
    fn take(&self, event: &Event) {
        let sorted = heard::sort(event, self.guild);
        if let Some(kind) = sorted.unreadable {
            metrics::counter!("ticketd_discord_unreadable_total", "kind" => kind).increment(1);
            tracing::warn!(kind, "an event {kind} from Discord cannot be read");
        }
        for heard in sorted.heard {
            if let Heard::Changed(change) = &heard
                && !self.backlog.admit(change)
            {
                metrics::counter!("ticketd_discord_dropped_total").increment(1);
                continue;
            }
            if let Heard::Ready | Heard::Resumed = &heard {
                self.progress.send_modify(|progress| progress.sessions += 1);
            }
            // Nobody listens any more only while the line is being closed.
            self.heard.send(heard).ok();
        }
        if let Some(request) = sorted.request
            && self.requests.try_send(request).is_err()
        {
            metrics::counter!("ticketd_discord_dropped_total").increment(1);
            tracing::warn!("too many interactions at once: one is not answered");
        }
    }
}

impl Line {
    /// Begins to connect to the gateway at `url`.
    pub(super) async fn open(
        http: Arc<Http>,
        url: String,
        guild: u64,
        progress: watch::Sender<Progress>,
    ) -> anyhow::Result<(Self, Ears, mpsc::Receiver<Request>)> {
        let (heard_in, heard) = mpsc::unbounded_channel();
        let (requests_in, requests) = mpsc::channel(MOST_REQUESTS);
        let backlog = Arc::new(Backlog::default());
        let its_backlog = Arc::clone(&backlog);
        let handler =
            Handler { guild, heard: heard_in, requests: requests_in, backlog: its_backlog, progress };
        let life = Arc::new(RwLock::new(TypeMap::new()));
        let ((started, starting), (ended_in, ended)) = (oneshot::channel(), oneshot::channel());
        let its_stop = CancellationToken::new();
        let (its_life, stop) = (Arc::clone(&life), its_stop.clone().drop_guard());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the gateway's runtime")?;
        let options = move || options(http, url, handler, its_life);
        std::thread::Builder::new()
            .name("discord-gateway".to_owned())
            .spawn(move || {
                let end = runtime.block_on(live(options, started, its_stop));
                // Whoever waits for it may have gone.
                ended_in.send(end).ok();
                runtime.shutdown_background();
            })
            .context("cannot start the gateway's thread")?;
        let manager = starting.await.context("the gateway's thread died")?;
        let line = Self { manager, life, stop, ended, gone: 0, connected_at: Instant::now() };
        Ok((line, Ears { heard, backlog }, requests))
    }

    /// Why it ended, once it has.
    pub(super) async fn ended(&mut self) -> Ended {
        match (&mut self.ended).await {
            Ok(ended) => ended,
            Err(_panicked) => Ended::Broke("the gateway's thread died".to_owned()),
        }
    }

    /// To be asked every few seconds. Whether serenity does not get on by itself any more, and why.
    pub(super) async fn is_broken(&mut self) -> Option<&'static str> {
        let stage = {
            let runners = self.manager.runners.lock().await;
            let Some(runner) = runners.get(&ShardId(0)) else { return self.is_silent() };
            // A loop that spins on a closed connection ends when it cannot send.
            runner.runner_tx.send_to_shard(ping());
            runner.stage
        };
        // Once may be the moment between two shards.
        self.gone = if Arc::strong_count(&self.life) <= HOLDERS { self.gone + 1 } else { 0 };
        if self.gone > 1 {
            return Some("the connection ended");
        }
        if stage == ConnectionStage::Connected {
            self.connected_at = Instant::now();
        }
        self.is_silent()
    }

    fn is_silent(&self) -> Option<&'static str> {
        (self.connected_at.elapsed() > LONGEST_SILENCE).then_some("no session came about for a minute")
    }

    /// Signs off. What was heard until then can be read from [`Ears`].
    pub(super) async fn close(self) {
        let Self { stop, ended, .. } = self;
        drop(stop);
        if !ended.is_terminated() && tokio::time::timeout(GOODBYE, ended).await.is_err() {
            tracing::warn!("the connection to Discord's gateway does not end; it is left to itself");
        }
    }
}

/// Is answered by the other side's WebSocket, and means nothing.
fn ping() -> ShardRunnerMessage {
    ShardRunnerMessage::Message(Frame::Ping(Vec::new()))
}

fn options(
    http: Arc<Http>,
    url: String,
    handler: Handler,
    life: Arc<RwLock<TypeMap>>,
) -> ShardManagerOptions {
    ShardManagerOptions {
        data: life,
        event_handlers: Vec::new(),
        raw_event_handlers: vec![Arc::new(handler)],
        shard_index: 0,
        shard_init: 0,
        shard_total: 0,
        ws_url: Arc::new(serenity::prelude::Mutex::new(url)),
        http,
        intents: INTENTS,
        presence: None,
    }
}

/// What serenity's `Client` does, less its question for the gateway's address: where that fails, it takes one that is
/// built in, whatever is configured.
async fn live(
    options: impl FnOnce() -> ShardManagerOptions,
    started: oneshot::Sender<Arc<ShardManager>>,
    stop: CancellationToken,
) -> Ended {
    let options = options();
    let life = Arc::clone(&options.data);
    let (manager, mut returns) = ShardManager::new(options);
    manager.set_shards(0, 1, 1).await;
    if let Err(error) = manager.initialize() {
        return Ended::Broke(error.to_string());
    }
    started.send(Arc::clone(&manager)).ok();
    tokio::select! {
        returned = returns.next() => match returned {
            Some(Err(error)) => Ended::Refused(error),
            Some(Ok(())) | None => Ended::Broke("the connection was closed".to_owned()),
        },
        () = stop.cancelled() => {
            sign_off(&manager, &life).await;
            Ended::Broke("closed by us".to_owned())
        }
    }
}

async fn sign_off(manager: &ShardManager, life: &Arc<RwLock<TypeMap>>) {
    if let Some(runner) = manager.runners.lock().await.get(&ShardId(0)) {
        // Serenity would wait for ever for the answer to a goodbye on a connection that has ended already.
        runner.runner_tx.send_to_shard(ping());
    }
    manager.shutdown_all().await;
    // An earlier reconnect may have left an old word of success behind, and then the shard still lives.
    let patience = Instant::now() + Duration::from_secs(2);
    while Arc::strong_count(life) > HOLDERS && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::heard::{Change, What};
    use super::*;

    #[test]
    fn after_something_was_dropped_nothing_is_let_in_before_it_is_read_again() {
        let backlog = Backlog::default();
        let change = |message| Change { channel: 1, message, what: What::Deleted };
        assert!((0..MOST_CHANGES).all(|_| backlog.admit(&change(5))));
        assert!(!backlog.admit(&change(6)));
        backlog.taken();
        assert!(!backlog.admit(&change(7)), "there is room, but what comes now would hide the gap");
        assert_eq!(backlog.take_dropped(), Some(Dropped { first: u64::MAX, count: 2, revisions: 2 }));
        assert!(backlog.admit(&change(8)));
        assert_eq!(backlog.take_dropped(), None);
    }
}
