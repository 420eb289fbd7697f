//! A desk that listens to Discord, as the daemon does, and how far it has got.

use ticketd::app::App;
use ticketd::ids::{ThreadId, TicketId};
use ticketd::sources::discord::{self, Pace, Progress};
use ticketd::tickets::threads::{self, Audience, Thread};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::wait::PATIENCE;

/// One process's part in Discord: it listens until it ends or dies.
pub struct Online {
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Desk {
    /// Begins to listen to Discord, and waits until the bot is set up and has read what it missed.
    pub async fn connects_to_discord(&self) -> Online {
        let mut online = self.begins_to_connect(Pace::default());
        online.is_ready().await;
        online
    }

    /// Begins to listen to Discord.
    pub fn begins_to_connect(&self, pace: Pace) -> Online {
        connect(&self.app, pace)
    }

    pub async fn thread_row(&self, ticket: i64, audience: Audience) -> Thread {
        let all = threads::of_ticket(&self.db, TicketId(ticket)).await.expect("the database answers");
        all.into_iter().find(|thread| thread.audience == audience).expect("a thread")
    }

    /// What of a thread is in the ledger, in the order in which it came in: `m<id>`, `e<id>.<time>`, `d<id>`.
    pub async fn heard(&self, thread: ThreadId) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT i.name FROM inbound i JOIN discord_payloads p ON p.inbound_id = i.id
             WHERE p.thread_id = $1 ORDER BY i.id",
        )
        .bind(thread.0)
        .fetch_all(&self.db)
        .await
        .expect("the ledger")
    }

    /// Ends a desk on which only the gateway is looked at: what follows from what was heard is left.
    pub async fn closes_unheard(self) {
        sqlx::query("DELETE FROM jobs WHERE kind IN ('hear', 'mirror', 'interact')")
            .execute(&self.db)
            .await
            .expect("the database answers");
        self.close().await;
    }
}

/// One more process on the same database.
pub fn connect(app: &App, pace: Pace) -> Online {
    let mut gateway = app.gateway().expect("Discord is configured");
    gateway.pace = pace;
    let (progress, stop, mut running) =
        (gateway.progress.subscribe(), CancellationToken::new(), JoinSet::new());
    running.spawn(discord::run(gateway, stop.clone()));
    Online { progress, stop, running }
}

impl Online {
    pub async fn until(&mut self, what: &str, holds: impl FnMut(&Progress) -> bool) -> Progress {
        let waiting = tokio::time::timeout(PATIENCE, self.progress.wait_for(holds)).await;
        let progress = waiting.ok().map(|progress| progress.expect("the gateway lives").clone());
        progress.unwrap_or_else(|| panic!("this did not come to pass: {what}; {:?}", self.now()))
    }

    /// The commands are set, the set-up was looked at, and what was missed has been read.
    pub async fn is_ready(&mut self) -> Progress {
        self.until("the bot is ready", |p| p.caught_up > 0 && p.commands.is_some() && p.looked_around > 0)
            .await
    }

    /// After so many sessions everything was read on.
    pub async fn catches_up(&mut self, sessions: u64) {
        self.until(&format!("{sessions} sessions were caught up"), |p| p.caught_up >= sessions).await;
    }

    pub fn now(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Stops as the daemon does.
    pub async fn ends(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        assert!(matches!(ended, Ok(Some(Ok(())))), "the gateway does not end: {ended:?}");
    }

    /// Dies in the middle of what it does.
    pub async fn dies(mut self) {
        self.running.shutdown().await;
    }
}
