//! Discord's gateway: what people do there, into the ledger.
//!
//! One process holds the connection, by a [`ReaderLock`]; another takes over within seconds. Nothing relies on what
//! Discord sends again after a break: at every session each thread is read on from its last stored message, and the ledger
//! has everything once. Where Discord refuses the bot, one line says what to do, and the rest of ticketd goes on.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture;
use serenity::gateway::GatewayError;
use serenity::http::HttpError;
use sqlx::PgPool;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lock::ReaderLock;
use crate::clock::Clock;
use crate::config::{Config, Discord as Settings};
use crate::discord::api::{Api, ApiError};
use crate::ingest;
use crate::settings::Settings as LiveSettings;

mod answers;
mod catch_up;
mod heard;
mod line;
mod listener;
mod setup;

use heard::Change;
use line::{Ended, Line};
use listener::Listener;

/// Threads that are read on at once.
const READING_AT_ONCE: usize = 4;
/// How long Discord may take to say where its gateway is.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to note how Discord fares.
const NOTING: Duration = Duration::from_secs(2);
/// A connection that held this long was a good one.
const SETTLED: Duration = Duration::from_mins(1);
/// What was heard last is stored within this time when the connection ends.
const FINISHING: Duration = Duration::from_secs(10);

/// The gateway of the configured server, and all that it takes.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub db: PgPool,
    pub clock: Clock,
    pub live: LiveSettings,
    pub api: Arc<Api>,
    pub pace: Pace,
    /// How it fares; whoever wants to know subscribes.
    pub progress: watch::Sender<Progress>,
    settings: Arc<Settings>,
    reading: Arc<Semaphore>,
}

/// How often things are done.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often the lock is looked at while connected.
    pub lock: Duration,
    /// How often it is asked whether the connection is dead without anybody having said so.
    pub pulse: Duration,
    /// How often it is noted that all is well.
    pub health: Duration,
    /// The pause after the first failure; it doubles with each.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// The pause after Discord refused the bot: ten thousand refusals in ten minutes shut out the whole address.
    pub refused_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(2),
            pulse: Duration::from_secs(5),
            health: Duration::from_mins(1),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            refused_pause: Duration::from_mins(10),
        }
    }
}

/// How a gateway fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sessions that began or went on after a break.
    pub sessions: u64,
    /// Those after which every thread was read on to its end.
    pub caught_up: u64,
    /// Messages, edits and deletions given to the ledger, those it had already among them.
    pub stored: u64,
    /// The hash of the commands that were set last.
    pub commands: Option<Vec<u8>>,
    /// How often it was looked at whether the bot is set up in Discord.
    pub looked_around: u64,
    /// Why Discord refuses the bot, or what is wrong with how it is set up.
    pub trouble: Option<String>,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// Discord refuses the bot; the text says what to do about it.
    Refused(String),
    Lost(String),
    Stopped,
}

impl Gateway {
    /// `None` where Discord is not configured.
    pub fn new(
        db: &PgPool,
        clock: &Clock,
        live: &LiveSettings,
        config: &Config,
        api: &Arc<Api>,
    ) -> Option<Self> {
        let settings = Arc::new(config.discord.clone()?);
        Some(Self {
            db: db.clone(),
            clock: clock.clone(),
            live: live.clone(),
            api: Arc::clone(api),
            pace: Pace::default(),
            progress: watch::Sender::new(Progress::default()),
            settings,
            reading: Arc::new(Semaphore::new(READING_AT_ONCE)),
        })
    }

    /// Notes how the bot fares, for people and probers.
    async fn note(&self, trouble: Option<String>) {
        let noting = ingest::note_health(&self.db, &self.clock, ingest::DISCORD, trouble.as_deref());
        // Where the database is away, that is worse, and said elsewhere.
        if let Ok(Err(error)) = tokio::time::timeout(NOTING, noting).await {
            tracing::warn!("how Discord fares can't be noted: {error:#}");
        }
        self.progress.send_if_modified(|progress| {
            let is_new = progress.trouble != trouble;
            progress.trouble = trouble;
            is_new
        });
    }
}

/// Holds the gateway until `shutdown`. Whatever happens is repaired by trying again, later each time.
pub async fn run(gateway: Gateway, shutdown: CancellationToken) {
    let (mut failures, mut leftover) = (0_u32, Vec::new());
    while !shutdown.is_cancelled() {
        let begun = Instant::now();
        let end = take_turn(&gateway, &mut leftover, &shutdown).await;
        failures = if begun.elapsed() > SETTLED { 1 } else { failures.saturating_add(1) };
        let pause = match end {
            End::Stopped => return,
            End::Refused(what_to_do) => {
                tracing::error!("Discord refuses the bot: {what_to_do}");
                gateway.note(Some(what_to_do)).await;
                gateway.pace.refused_pause
            }
            End::Lost(why) => {
                let pause = pause(&gateway.pace, failures, rand::random_range(0.5..=1.0));
                let pause_s = pause.as_secs_f32();
                tracing::warn!(pause_s, "the connection to Discord ended, next try in {pause_s:.0} s: {why}");
                if failures > 1 {
                    gateway.note(Some(why)).await;
                }
                pause
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The pause before the next try; `jitter` (0.5 to 1) keeps many from coming back at once.
fn pause(pace: &Pace, failures: u32, jitter: f32) -> Duration {
    let doubled = pace.first_pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(pace.longest_pause).mul_f32(jitter)
}

/// One connection's life. Other processes may hold the gateway while this one can't.
async fn take_turn(gateway: &Gateway, leftover: &mut Vec<Change>, shutdown: &CancellationToken) -> End {
    let source = format!("discord:{}", gateway.settings.guild_id);
    let lock = tokio::select! {
        biased;
        () = shutdown.cancelled() => return End::Stopped,
        lock = ReaderLock::acquire(&gateway.db, &source) => lock,
    };
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => return End::Lost(format!("{error:#}")),
    };
    let end = hold(gateway, &lock, leftover, shutdown).await;
    metrics::gauge!("ticketd_discord_connected").set(0.0);
    // Or our own next try would find it taken until PostgreSQL has noticed.
    lock.release().await;
    end
}

/// Connects, and works until the connection or the lock is lost.
async fn hold(
    gateway: &Gateway,
    lock: &ReaderLock,
    leftover: &mut Vec<Change>,
    shutdown: &CancellationToken,
) -> End {
    let opening = async {
        let url = address(&gateway.api).await?;
        Line::open(gateway.api.http(), url, gateway.settings.guild_id, gateway.progress.clone())
            .await
            .map_err(|error| End::Lost(format!("{error:#}")))
    };
    let opened = tokio::select! {
        biased;
        () = shutdown.cancelled() => return End::Stopped,
        end = watch_lock(&gateway.pace, lock) => return end,
        opened = opening => opened,
    };
    let (mut line, mut ears, mut requests) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let mut listener = Listener::new(gateway.clone(), std::mem::take(leftover));
    let end = {
        let listening = pin!(listener.listen(&mut ears));
        let answering = pin!(answers::answer_all(gateway, &mut requests));
        let (mut listening, mut answering) = (listening.fuse(), answering.fuse());
        let end = tokio::select! {
            biased;
            () = shutdown.cancelled() => Some(End::Stopped),
            ended = watch_over(gateway, &mut line) => Some(ended),
            end = watch_lock(&gateway.pace, lock) => Some(end),
            Err(error) = &mut listening => Some(refused_or_lost(&error)),
            Err(error) = setup::keep_set_up(gateway) => Some(refused_or_lost(&error)),
            never = note_well(gateway) => match never {},
            // The line is gone, and is about to say why.
            () = &mut answering => None,
        };
        let end = match end {
            Some(end) => end,
            None => watch_over(gateway, &mut line).await,
        };
        // What has come in is still stored and answered: neither is stopped in the middle, unless it takes too long.
        let finishing = async { tokio::join!(line.close(), finish(&mut listening), finish(&mut answering)) };
        if tokio::time::timeout(FINISHING, finishing).await.is_err() {
            tracing::warn!("what was said last in Discord could not be stored yet");
        }
        end
    };
    *leftover = listener.leftover();
    end
}

/// Waits for the end of what may have come to it already.
async fn finish<F: FusedFuture + Unpin>(mut work: F) {
    if !work.is_terminated() {
        (&mut work).await;
    }
}

async fn watch_lock(pace: &Pace, lock: &ReaderLock) -> End {
    loop {
        tokio::time::sleep(pace.lock).await;
        if let Err(error) = lock.check().await {
            return End::Lost(format!("{error:#}"));
        }
    }
}

/// Whatever ends the line, said by serenity or found by looking.
async fn watch_over(gateway: &Gateway, line: &mut Line) -> End {
    loop {
        if let Ok(ended) = tokio::time::timeout(gateway.pace.pulse, line.ended()).await {
            return match ended {
                Ended::Refused(error) => refusal(&error),
                Ended::Broke(why) => End::Lost(why),
            };
        }
        if let Some(why) = line.is_broken().await {
            return End::Lost(why.to_owned());
        }
    }
}

/// Notes again and again how a session that lives fares; what there is to say at its beginning is said by `setup`.
async fn note_well(gateway: &Gateway) -> Infallible {
    let mut sessions = gateway.progress.subscribe();
    let before = sessions.borrow_and_update().sessions;
    sessions.wait_for(|progress| progress.sessions > before).await.ok();
    metrics::gauge!("ticketd_discord_connected").set(1.0);
    loop {
        tokio::time::sleep(gateway.pace.health).await;
        let trouble = gateway.progress.borrow().trouble.clone();
        gateway.note(trouble).await;
    }
}

/// Where the gateway is; also shows whether the token is good. Serenity itself would fall back on an address that is built in.
async fn address(api: &Api) -> Result<String, End> {
    let http = api.http();
    let asked = tokio::time::timeout(ANSWER, http.get_bot_gateway());
    let gateway = match asked.await {
        Ok(Ok(gateway)) => gateway,
        Ok(Err(serenity::Error::Http(HttpError::UnsuccessfulRequest(no))))
            if no.status_code.as_u16() == 401 =>
        {
            return Err(refusal(&GatewayError::InvalidAuthentication));
        }
        Ok(Err(error)) => {
            return Err(End::Lost(format!("Discord does not say where its gateway is: {error}")));
        }
        Err(_elapsed) => return Err(End::Lost("Discord does not say where its gateway is".to_owned())),
    };
    if gateway.session_start_limit.remaining == 0 {
        let minutes = gateway.session_start_limit.reset_after / 60_000;
        return Err(End::Lost(format!("Discord lets the bot begin no more sessions for {minutes} minutes")));
    }
    if !is_safe(&gateway.url) {
        return Err(End::Lost(format!(
            "the gateway at {} is not encrypted, and the token goes there",
            gateway.url
        )));
    }
    Ok(gateway.url)
}

/// The token goes there.
fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "wss" || (url.scheme() == "ws" && is_here)
}

fn refused_or_lost(error: &ApiError) -> End {
    match error {
        ApiError::Unauthorized(_) => refusal(&GatewayError::InvalidAuthentication),
        other => End::Lost(other.to_string()),
    }
}

/// What to do about a refusal.
fn refusal(error: &GatewayError) -> End {
    match error {
        GatewayError::InvalidAuthentication => End::Refused(
            "the token is not valid (any more); copy a new one from https://discord.com/developers/applications, page \
             Bot, Reset Token, into discord.token_file, and restart"
                .to_owned(),
        ),
        GatewayError::DisallowedGatewayIntents => End::Refused(
            "switch on Message Content Intent: https://discord.com/developers/applications, page Bot, Privileged Gateway \
             Intents; it is tried again every 10 minutes and at a restart"
                .to_owned(),
        ),
        GatewayError::InvalidGatewayIntents => End::Refused(
            "it does not know what this version asks to be told (gateway intents): update ticketd".to_owned(),
        ),
        other => End::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pace = Pace::default();
        let pauses = [1, 2, 3, 9, 10, 1000].map(|failures| pause(&pace, failures, 1.0).as_secs());
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300]);
        assert_eq!(pause(&pace, 1, 0.5), Duration::from_millis(500));
    }

    #[test]
    fn the_token_does_not_travel_in_the_clear() {
        assert!(
            is_safe("wss://gateway.discord.gg") && is_safe("ws://127.0.0.1:4010") && is_safe("ws://[::1]:1")
        );
        assert!(!is_safe("ws://gateway.discord.gg") && !is_safe("http://127.0.0.1") && !is_safe("gateway"));
    }
}
