//! SIGHUP: the configuration is read again and counts from then on, without a moment in which nobody works.
//!
//! A second [`App`] is built from the new file while the first one runs; where that fails, nothing changes. Then the second begins
//! and the first finishes what it has in hand, as two processes on one database would, which share the work without knowing of
//! each other. The sockets stay open.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{App, Listeners, notify_systemd};
use crate::config::Config;

/// What one [`App`] is told.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// The process ends.
    pub ends: CancellationToken,
    /// Another one has taken over.
    pub replaced: CancellationToken,
}

/// Runs `app` until `ends`, and whatever takes its place at each SIGHUP. `next` reads the file, sets what the process has but
/// once (the log), and builds the new one.
pub async fn serve<F>(
    app: App,
    listeners: Listeners,
    mut reload: Signal,
    mut next: F,
    ends: CancellationToken,
) -> anyhow::Result<()>
where
    F: AsyncFnMut(&Config) -> anyhow::Result<App>,
{
    let shared = listeners.share()?;
    let mut running = JoinSet::new();
    let mut config = Arc::clone(&app.config);
    let mut stop = Stop { ends: ends.clone(), replaced: CancellationToken::new() };
    start(&mut running, app, shared.listeners()?, stop.clone());
    notify_systemd(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            () = ends.cancelled() => break,
            Some(()) = reload.recv() => {
                notify_systemd(&[sd_notify::NotifyState::Reloading]);
                let replaced = async {
                    let app = next(&config).await?;
                    anyhow::Ok((app, shared.listeners()?))
                };
                match replaced.await {
                    Ok((app, listeners)) => {
                        config = Arc::clone(&app.config);
                        let next_stop = Stop { ends: ends.clone(), replaced: CancellationToken::new() };
                        start(&mut running, app, listeners, next_stop.clone());
                        std::mem::replace(&mut stop, next_stop).replaced.cancel();
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::warn!(error, "SIGHUP: the configuration has an error, and stays as it was: {error}");
                    }
                }
                notify_systemd(&[sd_notify::NotifyState::Ready]);
            }
            Some(ended) = running.join_next() => {
                ended.context("the daemon's main task died")?;
            }
        }
    }
    notify_systemd(&[sd_notify::NotifyState::Stopping]);
    // Who connects from now on is refused, and does not wait for nobody.
    drop(shared);
    while let Some(ended) = running.join_next().await {
        ended.context("the daemon's main task died")?;
    }
    Ok(())
}

fn start(running: &mut JoinSet<()>, app: App, listeners: Listeners, stop: Stop) {
    running.spawn(async move { app.run(listeners, stop).await });
}

/// The names and values of what the process has but once. What is read of them is what it began with.
fn only_at_start(config: &Config) -> anyhow::Result<Vec<(&'static str, String)>> {
    let url = config.database.url()?;
    let mut all = vec![
        ("database", url.as_ref().map(|url| url.expose_secret().to_owned()).unwrap_or_default()),
        ("http.listen", config.http.listen.to_string()),
        ("telemetry.metrics_listen", format!("{:?}", config.telemetry.metrics_listen)),
        ("telemetry.format", format!("{:?}", config.telemetry.format)),
        ("telemetry.otlp_endpoint", format!("{:?}", config.telemetry.otlp_endpoint)),
    ];
    if url.is_none() {
        // The private PostgreSQL is under it.
        all.push(("data_dir", config.data_dir.display().to_string()));
    }
    Ok(all)
}

/// Of the keys that count at the start of the process only, those that are another now; the new configuration goes on with what
/// counts.
pub fn keep_what_needs_a_restart(old: &Config, new: &mut Config) -> anyhow::Result<Vec<&'static str>> {
    let (before, after) = (only_at_start(old)?, only_at_start(new)?);
    let changed = before.iter().filter(|entry| !after.contains(entry)).map(|(name, _)| *name).collect();
    new.database = old.database.clone();
    if old.database.url()?.is_none() {
        new.data_dir.clone_from(&old.data_dir);
    }
    new.http.listen = old.http.listen;
    new.telemetry.metrics_listen = old.telemetry.metrics_listen;
    new.telemetry.format = old.telemetry.format;
    new.telemetry.otlp_endpoint.clone_from(&old.telemetry.otlp_endpoint);
    Ok(changed)
}

/// The sections that read otherwise than before. Of secrets only where they are named, not what they are.
fn changed_sections(old: &Config, new: &Config) -> Vec<&'static str> {
    let (before, after) = (old.sections(), new.sections());
    let changed = before.iter().zip(&after).filter(|((_, old), (_, new))| old != new);
    changed.map(|((name, _), _)| *name).collect()
}

/// One line that says what counts from now on, and what does not.
pub fn summary(old: &Config, new: &Config, at_restart: &[&str]) -> String {
    let changed = changed_sections(old, new);
    let mut line = match changed.as_slice() {
        [] => "SIGHUP: the configuration was read again, secrets as well, but for the database's; nothing else is changed".to_owned(),
        names => format!("SIGHUP: the configuration was read again; from now on count: {}", names.join(", ")),
    };
    if !at_restart.is_empty() {
        write!(line, "; at the next restart: {}", at_restart.join(", ")).ok();
    }
    line
}
