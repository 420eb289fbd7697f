//! Builds clients and stages, runs the tasks under one supervisor, stops them in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::assign::Assign;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::database::{self, Keep, PrivatePostgres, Refusals};
use crate::deliver::alarm::Alarms;
use crate::deliver::letter::Letters;
use crate::deliver::webhook::Webhooks;
use crate::deliver::{Deliver, PlainSenders, mailer::Mailer};
use crate::discord::api::Api;
use crate::files::Files;
use crate::ingest::Ingest;
use crate::mail::token::Signer;
use crate::oauth::Tokens;
use crate::people::letters::LetterKey;
use crate::people::link::CodeKey;
use crate::queue::room::Room;
use crate::settings::Settings;
use crate::store::Store;
use crate::tickets::{csat, threads};
use crate::triage::Triage;
use crate::web::feed::Feed;
use crate::web::limits::Limits;
use crate::web::{self, auth::AccessTokens};
use crate::worker::watch::Watch;
use crate::worker::{self, Pulse, Stages};
use crate::{people, schedule, sources};

pub mod reload;
#[cfg(feature = "otel")]
pub mod traces;

use reload::Stop;

/// Connections of one process. PostgreSQL's default limit is 100: room for several processes.
const POOL: u32 = 16;
/// And those to a replica.
const REPORTS_POOL: u32 = 4;
/// SIGTERM to exit: what is in hand is finished within this time.
const DRAIN: Duration = Duration::from_secs(30);
/// Connections that were taken before another configuration counted are served for so long.
const STILL_ASKED: Duration = Duration::from_secs(3);
/// How often the private PostgreSQL is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// A worker that has not gone round for this long is stuck, and the watchdog is not fed any more.
const STUCK: Duration = Duration::from_mins(1);

/// A database, and the server behind it if it is our own.
#[derive(Debug)]
pub struct Storage {
    pub db: PgPool,
    /// The private server stops with it.
    private: Option<Arc<Mutex<PrivatePostgres>>>,
}

impl Storage {
    /// Connects to the configured database, or starts the private one. Does not migrate.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = config.database.url()? {
            let options = database::options("database.url", &url)?;
            return Ok(Self { db: database::connect(options, POOL).await?, private: None });
        }
        let folder = config.data_dir.join("postgres");
        let server = tokio::task::spawn_blocking(move || PrivatePostgres::start(&folder, Keep::Data, None))
            .await
            .context("starting the private PostgreSQL failed")?
            .context("database.url is not set, and the private PostgreSQL cannot be started")?;
        let db = database::connect(server.options("postgres"), POOL).await?;
        Ok(Self { db, private: Some(Arc::new(Mutex::new(server))) })
    }

    /// Uses a server that the caller keeps running.
    pub fn of(db: PgPool) -> Self {
        Self { db, private: None }
    }

    /// Starts the private server again whenever it has ended, until `stop`.
    pub async fn keep_running(&self, stop: CancellationToken) {
        let Some(private) = &self.private else { return };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AFTER) => {}
            }
            let private = Arc::clone(private);
            // Starting it blocks.
            let revived = tokio::task::spawn_blocking(move || {
                private.lock().unwrap_or_else(PoisonError::into_inner).revive()
            });
            match revived.await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::warn!("the private PostgreSQL had ended; it runs again"),
                Ok(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "the private PostgreSQL has ended and cannot be started again");
                }
                Err(error) => tracing::error!(%error, "looking after the private PostgreSQL failed"),
            }
        }
    }

    /// Lets go of all connections; a private server stops.
    pub async fn close(self) {
        self.db.close().await;
        // Waiting for the server to stop blocks.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(self)).await {
            tracing::warn!(%error, "stopping the private PostgreSQL failed");
        }
    }
}

/// Where reports are read: a replica where one is configured.
fn reports(config: &Config, db: &PgPool) -> anyhow::Result<PgPool> {
    let Some(url) = config.database.reports_url()? else { return Ok(db.clone()) };
    Ok(database::connect_later(database::options("database.reports_url", &url)?, REPORTS_POOL))
}

/// The daemon, built and not yet running.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub stages: Stages,
    pub signer: Signer,
    pub code_key: CodeKey,
    pub letter_key: LetterKey,
    pub oauth: Tokens,
    web: web::State,
}

impl App {
    /// Builds stages and clients on a migrated database.
    pub async fn build(
        config: Arc<Config>,
        db: PgPool,
        clock: Clock,
        metrics: Option<PrometheusHandle>,
    ) -> anyhow::Result<Self> {
        let masters = master_secrets(&config, &db, &clock).await?;
        let signer = Signer::new(&masters);
        let oauth = Tokens::new(&db, &clock, &masters)?;
        let mailer = Arc::new(Mailer::new(&config)?.with_tokens(&oauth));
        for mailbox in config.mailbox.iter().filter(|m| m.imap.is_some()) {
            // A secret that cannot be read is said at start, not by a mailbox that stays silent.
            sources::reader(mailbox, &db, &clock, &oauth, config.mail.max_message_bytes)?;
        }
        let files = Files::new(db.clone(), Store::open(&config.attachments, &config.data_dir)?);
        let gemini = Triage::client(&config)?;
        let discord = config.discord.as_ref().map(Api::new).transpose()?.map(Arc::new);
        let code_key = CodeKey::new(&masters);
        let letter_key = LetterKey::new(&masters);
        let settings = Settings::new(&db, &clock, &config);
        let refusals = Refusals::default();
        let (c, s, l) = (|| Arc::clone(&config), || signer.clone(), || settings.clone());
        let m = || Arc::clone(&mailer);
        let stages = Stages {
            ingest: Ingest {
                db: db.clone(),
                clock: clock.clone(),
                config: c(),
                settings: l(),
                signer: s(),
                files: files.clone(),
                discord: discord.clone(),
                code_key: code_key.clone(),
                room: Room::default(),
            },
            triage: Triage { db: db.clone(), clock: clock.clone(), config: c(), settings: l(), gemini },
            assign: Assign { db: db.clone(), clock: clock.clone(), settings: l() },
            deliver: Deliver {
                db: db.clone(),
                clock: clock.clone(),
                config: c(),
                settings: l(),
                signer: s(),
                mailer: m(),
                files: files.clone(),
                discord: discord.clone(),
                plain_senders: PlainSenders::default(),
                room: Room::default(),
            },
            letters: Letters {
                db: db.clone(),
                clock: clock.clone(),
                config: c(),
                signer: s(),
                key: code_key.clone(),
                letter_key: letter_key.clone(),
                mailer: m(),
            },
            alarms: Alarms {
                db: db.clone(),
                clock: clock.clone(),
                config: c(),
                signer: s(),
                mailer: m(),
                discord: discord.clone(),
            },
            webhooks: Webhooks::new(&config, db.clone(), clock.clone())?,
            watch: Watch { db: db.clone(), clock: clock.clone(), config: c() },
            files: files.clone(),
            refusals: refusals.clone(),
            db: db.clone(),
            clock: clock.clone(),
            settings: l(),
        };
        let tokens = AccessTokens::new(&masters, config.auth.access_minutes);
        let limits = Arc::new(Limits::new(&config.limits));
        let feed = Feed::begin(&db).await?;
        let oidc = web::oidc::Provider::new(&config)?.map(Arc::new);
        let reports = reports(&config, &db)?;
        // Last, so that a configuration that cannot be used changes nothing.
        threads::configure(&db, config.discord.as_ref().map(shown_in)).await?;
        threads::resume(&db, clock.now()).await?;
        csat::configure(&db, config.mail.survey).await?;
        let web = web::State {
            reports,
            db,
            clock,
            config: Arc::clone(&config),
            settings,
            tokens,
            signer: signer.clone(),
            limits,
            oauth: oauth.clone(),
            feed,
            files,
            letter_key: letter_key.clone(),
            refusals,
            oidc,
            metrics,
        };
        Ok(Self { config, stages, signer, code_key, letter_key, oauth, web })
    }

    /// The HTTP API, for a listener of the caller's.
    pub fn router(&self) -> axum::Router {
        web::router(self.web.clone())
    }

    /// What streams of events read from; somebody must run it ([`App::run`] does).
    pub fn feed(&self) -> Feed {
        self.web.feed.clone()
    }

    /// The gateway to Discord, where it is configured.
    pub fn gateway(&self) -> Option<sources::discord::Gateway> {
        let api = self.stages.ingest.discord.as_ref()?;
        sources::discord::Gateway::new(
            &self.stages.db,
            &self.stages.clock,
            &self.stages.settings,
            &self.config,
            api,
        )
    }

    /// Runs until it is told to stop, then stops in order: sources take nothing in any more, the worker finishes what is in hand,
    /// the web server answers what it was asked. Where another one has taken over, that one is asked from then on.
    pub async fn run(&self, listeners: Listeners, stop: Stop) {
        let (sources_stop, worker_stop, web_stop) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let pulse = Pulse::default();
        let mut sources_running = self.start_sources(&sources_stop);
        let mut workers = JoinSet::new();
        {
            let (stages, pulse, stop) = (self.stages.clone(), pulse.clone(), worker_stop.clone());
            workers.spawn(supervised("worker", worker_stop.clone(), move || {
                worker::run(stages.clone(), pulse.clone(), worker::POLL, stop.clone())
            }));
            let (db, clock, stop) = (self.stages.db.clone(), self.stages.clock.clone(), sources_stop.clone());
            workers.spawn(supervised("schedule", sources_stop.clone(), move || {
                schedule::run(db.clone(), clock.clone(), stop.clone())
            }));
        }
        let mut web_running = JoinSet::new();
        if let Some(listener) = listeners.http {
            let (left, stop) = (stop.replaced.clone(), web_stop.clone());
            web_running.spawn(web::serve_on(listener, self.router(), left, stop));
        }
        {
            let (feed, db, stop) = (self.web.feed.clone(), self.stages.db.clone(), web_stop.clone());
            web_running.spawn(supervised("feed", web_stop.clone(), move || {
                let (feed, db, stop) = (feed.clone(), db.clone(), stop.clone());
                async move { feed.run(&db, &stop).await }
            }));
        }
        if let Some(listener) = listeners.metrics {
            let (left, stop) = (stop.replaced.clone(), web_stop.clone());
            web_running.spawn(web::serve_on(listener, web::metrics_router(self.web.clone()), left, stop));
        }
        watch_over(&pulse, &stop).await;
        if stop.replaced.is_cancelled() {
            tracing::info!("another configuration counts: finishing what is in hand under the one before");
        } else {
            tracing::info!("stopping: finishing what is in hand");
        }
        sources_stop.cancel();
        let drain = async {
            while sources_running.join_next().await.is_some() {}
            worker_stop.cancel();
            while workers.join_next().await.is_some() {}
            if stop.replaced.is_cancelled() {
                // Who has just connected is about to ask.
                tokio::time::timeout(STILL_ASKED, stop.ends.cancelled()).await.ok();
            }
            web_stop.cancel();
            while web_running.join_next().await.is_some() {}
        };
        let time_is_over = async {
            if stop.replaced.is_cancelled() {
                // Nothing waits for the end of this one but the end of the process; each job has a limit of its own.
                stop.ends.cancelled().await;
            }
            tokio::time::sleep(DRAIN).await;
        };
        let is_drained = tokio::select! {
            () = drain => true,
            () = time_is_over => false,
        };
        if !is_drained {
            // Nothing is lost: jobs in hand are due again when their leases end.
            tracing::warn!(
                "some work did not finish within {} s; it will be done after the next start",
                DRAIN.as_secs()
            );
        }
    }

    fn start_sources(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut running = JoinSet::new();
        let (db, clock) = (self.stages.db.clone(), self.stages.clock.clone());
        let max_bytes = self.config.mail.max_message_bytes;
        for mailbox in self.config.mailbox.iter().filter(|m| m.imap.is_some()) {
            let (mailbox, db, clock, token) = (mailbox.clone(), db.clone(), clock.clone(), stop.clone());
            let (oauth, refusals) = (self.oauth.clone(), self.stages.refusals.clone());
            running.spawn(supervised("mailbox", stop.clone(), move || {
                let reader = sources::reader(&mailbox, &db, &clock, &oauth, max_bytes);
                let (token, refusals) = (token.clone(), refusals.clone());
                async move {
                    match reader {
                        Ok(mut reader) => {
                            reader.progress.refusals = refusals;
                            sources::imap::run(reader, token).await;
                        }
                        Err(error) => {
                            tracing::error!(error = format!("{error:#}"), "a mailbox cannot be read");
                        }
                    }
                }
            }));
        }
        if let (Some(maildir), Some(mailbox)) =
            (self.config.maildir.clone(), self.config.default_mailbox().cloned())
        {
            let token = stop.clone();
            running.spawn(supervised("maildir", stop.clone(), move || {
                let (path, name) = (maildir.path.clone(), mailbox.name.clone());
                let maildir =
                    sources::maildir::Maildir::new(path, name, max_bytes, db.clone(), clock.clone());
                sources::maildir::run(maildir, token.clone())
            }));
        }
        if let Some(gateway) = self.gateway() {
            let token = stop.clone();
            running.spawn(supervised("discord", stop.clone(), move || {
                sources::discord::run(gateway.clone(), token.clone())
            }));
        }
        running
    }
}

/// Sockets that are open already, so that a port that is taken is said before anything starts.
#[derive(Debug, Default)]
pub struct Listeners {
    pub http: Option<TcpListener>,
    pub metrics: Option<TcpListener>,
}

impl Listeners {
    /// `key` is what people set to choose another port for the API.
    pub async fn open(config: &Config, key: &str) -> anyhow::Result<Self> {
        let metrics = match config.telemetry.metrics_listen {
            Some(address) => Some(listen("telemetry.metrics_listen", address).await?),
            None => None,
        };
        Ok(Self { http: Some(listen(key, config.http.listen).await?), metrics })
    }

    /// Where the API can be reached: the port is the system's choice where 0 is configured.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.http.as_ref()?.local_addr().ok()
    }
}

/// Sockets that one app after the other listens on.
#[derive(Debug)]
struct Shared {
    http: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
}

impl Listeners {
    fn share(self) -> anyhow::Result<Shared> {
        let share = |listener: Option<TcpListener>| listener.map(TcpListener::into_std).transpose();
        Ok(Shared { http: share(self.http)?, metrics: share(self.metrics)? })
    }
}

impl Shared {
    fn listeners(&self) -> anyhow::Result<Listeners> {
        let one = |listener: Option<&std::net::TcpListener>| {
            listener.map(|listener| TcpListener::from_std(listener.try_clone()?)).transpose()
        };
        let listeners = one(self.http.as_ref())
            .and_then(|http| Ok(Listeners { http, metrics: one(self.metrics.as_ref())? }));
        listeners.context("cannot share the sockets")
    }
}

async fn listen(key: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: another process may have the port; set {key} to a free one")
    })
}

/// Runs a task until it ends by `stop`; one that panics or ends early is started again.
async fn supervised<F, T>(name: &'static str, stop: CancellationToken, start: F)
where
    F: Fn() -> T,
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut task = JoinSet::new();
        task.spawn(start());
        let ended = task.join_next().await;
        if stop.is_cancelled() {
            return;
        }
        if let Some(Err(error)) = ended {
            tracing::error!(%error, task = name, "the task {name} died; it starts again");
        } else {
            tracing::error!(task = name, "the task {name} ended by itself; it starts again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// Feeds systemd's watchdog with the worker's real progress until it is told to stop.
async fn watch_over(pulse: &Pulse, stop: &Stop) {
    let pause = sd_notify::watchdog_enabled().map_or(Duration::from_hours(1), |limit| limit / 3);
    loop {
        tokio::select! {
            () = stop.ends.cancelled() => break,
            () = stop.replaced.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        if pulse.age() < STUCK {
            notify_systemd(&[sd_notify::NotifyState::Watchdog]);
        } else {
            tracing::error!(
                stuck_s = pulse.age().as_secs(),
                "the worker is stuck; the watchdog will restart us"
            );
        }
    }
}

fn notify_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot tell systemd");
    }
}

/// The server that tickets are shown in.
fn shown_in(discord: &config::Discord) -> threads::Guild {
    threads::Guild {
        guild: discord.guild_id,
        support_channel: discord.support_channel_id,
        staff_channel: discord.staff_channel_id,
    }
}

/// The configured secret, else the keys in the database; newest first.
pub(crate) async fn master_secrets(
    config: &Config,
    db: &PgPool,
    clock: &Clock,
) -> anyhow::Result<Vec<Vec<u8>>> {
    match config.auth.secret()? {
        Some(secret) => {
            let previous = config.auth.previous_secrets()?;
            let all = std::iter::once(secret).chain(previous);
            Ok(all.map(|secret| secret.expose_secret().as_bytes().to_vec()).collect())
        }
        None => people::signing_keys(db, clock.now()).await.context("cannot read the signing keys"),
    }
}

/// Installs the recorder behind `/metrics`. `None`: one is installed already.
pub fn install_metrics() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
        .ok()?
        .install_recorder()
        .ok()?;
    web::describe_metrics();
    Some(handle)
}

/// SIGTERM and SIGINT, heard from the moment this is made: one that comes while we start is not lost, and does not end
/// us half-way.
#[derive(Debug)]
pub struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub async fn heard(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
