//! `ticketd jobs`: what waits to be done, and the dead letters, one by one or all of them.

use std::fmt::Display;

use anyhow::bail;
use clap::{Args, Subcommand};
use sqlx::PgPool;

use super::{ConfigFile, say, storage};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::ids::JobId;
use crate::queue::{self, CANCELLABLE, Filter, Job, KINDS, Kind};
use crate::tickets::outbox::CancelError;
use crate::tickets::outbox::bulk::{self, Handled, MOST};

#[derive(Subcommand)]
pub(super) enum JobsCommand {
    /// Jobs that wait, as JSONL
    #[command(after_help = "Example: ticketd jobs list --config ticketd.toml --failed")]
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Only the dead letters
        #[arg(long)]
        failed: bool,
    },
    /// Put dead letters back to work
    #[command(after_help = "Examples: ticketd jobs retry --config ticketd.toml 17 18\n          \
                                      ticketd jobs retry --config ticketd.toml --all --kind deliver")]
    Retry(Chosen),
    /// Take jobs away for good; a mail that has not left is cancelled
    #[command(after_help = "Examples: ticketd jobs cancel --config ticketd.toml 17 18\n          \
                                      ticketd jobs cancel --config ticketd.toml --all --kind deliver")]
    Cancel(Chosen),
}

#[derive(Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    file: ConfigFile,
    /// Their numbers
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<i64>,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: only those of this kind
    #[arg(long, requires = "all", conflicts_with = "ids", value_parser = KINDS.map(|kind| kind.name))]
    kind: Option<String>,
}

/// More than anybody lets pile up.
const MOST_LISTED: i64 = 1_000_000;

pub(super) async fn run(command: JobsCommand) -> anyhow::Result<()> {
    match command {
        JobsCommand::List { file, failed } => {
            let (_, storage) = storage(&file.config).await?;
            let which = if failed { queue::Which::Failed } else { queue::Which::All };
            for job in queue::list(&storage.db, which, 10_000).await? {
                say(&serde_json::to_string(&job)?)?;
            }
            storage.close().await;
            Ok(())
        }
        JobsCommand::Retry(chosen) => {
            let (_, storage) = storage(&chosen.file.config).await?;
            let outcome = retry(&storage.db, &chosen).await;
            queue::ring(&storage.db).await;
            storage.close().await;
            outcome
        }
        JobsCommand::Cancel(chosen) => {
            let (_, storage) = storage(&chosen.file.config).await?;
            let outcome = cancel(&storage.db, &chosen).await;
            storage.close().await;
            outcome
        }
    }
}

/// Those that are dead letters now: one that fails again meanwhile is not taken a second time.
async fn dead(db: &PgPool, chosen: &Chosen) -> anyhow::Result<Vec<Job>> {
    let kind = chosen.kind.as_deref().and_then(Kind::named).map(|kind| kind.name);
    let filter = Filter { dead: Some(true), kind, after: None };
    Ok(queue::page(db, &filter, MOST_LISTED).await?)
}

async fn retry(db: &PgPool, chosen: &Chosen) -> anyhow::Result<()> {
    let ids: Vec<JobId> = if chosen.all {
        dead(db, chosen).await?.iter().map(|job| job.id).collect()
    } else {
        chosen.ids.iter().copied().map(JobId).collect()
    };
    let mut all = Handled::none();
    for some in ids.chunks(MOST) {
        let mut tx = db.begin().await?;
        let handled = bulk::retry_jobs(&mut tx, some, Actor::COMMAND, Clock::system().now()).await?;
        tx.commit().await?;
        all.add(handled);
    }
    report(&all, chosen.all, |done| match done {
        [] => "there is no dead letter to put back to work".to_owned(),
        [one] => format!("job {one} is back at work"),
        many => format!("{} jobs are back at work", many.len()),
    })?;
    complain(&all, chosen.all, "dead letter", "", "ticketd jobs list --failed")
}

async fn cancel(db: &PgPool, chosen: &Chosen) -> anyhow::Result<()> {
    let may_be = |job: &Job| Kind::named(&job.kind).is_none_or(|kind| CANCELLABLE.contains(&kind));
    let mut left = 0;
    let ids: Vec<JobId> = if chosen.all {
        if let Some(kind) = chosen.kind.as_deref().and_then(Kind::named)
            && !CANCELLABLE.contains(&kind)
        {
            bail!("{}", CancelError::Needed(kind.name.to_owned()));
        }
        let (cancellable, needed): (Vec<_>, Vec<_>) = dead(db, chosen).await?.into_iter().partition(may_be);
        left = needed.len();
        cancellable.iter().map(|job| job.id).collect()
    } else {
        chosen.ids.iter().copied().map(JobId).collect()
    };
    let mut all = Handled::none();
    for some in ids.chunks(MOST) {
        let mut tx = db.begin().await?;
        let handled = match bulk::cancel_jobs(&mut tx, some, Actor::COMMAND, Clock::system().now()).await {
            Ok(handled) => handled,
            Err(CancelError::Database(error)) => return Err(error.into()),
            Err(error) => bail!("{error}; nothing was cancelled"),
        };
        tx.commit().await?;
        all.add(handled);
    }
    report(&all, chosen.all, |done| match done {
        [] => "there is no dead letter to cancel".to_owned(),
        [one] => format!("job {one} is cancelled"),
        many => format!("{} jobs are cancelled", many.len()),
    })?;
    if left > 0 {
        say(&format!(
            "{left} are left: what they are about would wait for ever (see `ticketd jobs list --failed`)"
        ))?;
    }
    complain(&all, chosen.all, "job", "", "ticketd jobs list")
}

/// Says how many were handled. With numbers given and none handled there is only the complaint.
pub(super) fn report<T>(
    all: &Handled<T>,
    is_all: bool,
    words: impl Fn(&[T]) -> String,
) -> anyhow::Result<()> {
    if all.done.is_empty() && !is_all { Ok(()) } else { say(&words(&all.done)) }
}

/// What was asked for by number and is not there makes the command fail, after the others were handled.
pub(super) fn complain<T: Display>(
    all: &Handled<T>,
    is_all: bool,
    noun: &str,
    state: &str,
    list: &str,
) -> anyhow::Result<()> {
    if is_all || all.skipped.is_empty() {
        return Ok(());
    }
    let numbers: Vec<String> = all.skipped.iter().map(ToString::to_string).collect();
    let state = if state.is_empty() { String::new() } else { format!(" {state}") };
    bail!("there is no {noun} {}{state} (see `{list}`)", numbers.join(", "))
}
