//! `ticketd deliveries`: the mails that were not sent; sending them after all, or giving them up.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use sqlx::PgPool;

use super::jobs::{complain, report};
use super::{ConfigFile, say, storage};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::ids::DeliveryId;
use crate::queue;
use crate::tickets::outbox::bulk::{self, Handled, MOST};
use crate::tickets::outbox::{self, CANCELLABLE_STATES, RETRIABLE_STATES, UnsentFilter};

#[derive(Subcommand)]
pub(super) enum DeliveriesCommand {
    /// Mails that were not sent or came back, with the reason, as JSONL
    #[command(after_help = "Example: ticketd deliveries list --config ticketd.toml")]
    List {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Send mails after all that were given up or came back
    #[command(after_help = "Examples: ticketd deliveries retry --config ticketd.toml 17 18\n          \
                                      ticketd deliveries retry --config ticketd.toml --all")]
    Retry {
        #[command(flatten)]
        chosen: Chosen,
        /// With --all: those of this state
        #[arg(long, requires = "all", conflicts_with = "ids", default_value = "failed", value_parser = RETRIABLE_STATES)]
        state: String,
    },
    /// Give mails up that have not left
    #[command(after_help = "Examples: ticketd deliveries cancel --config ticketd.toml 17 18\n          \
                                      ticketd deliveries cancel --config ticketd.toml --all --before 2026-11-21T09:00:00Z")]
    Cancel {
        #[command(flatten)]
        chosen: Chosen,
        /// With --all: only those of this state
        #[arg(long, requires = "all", conflicts_with = "ids", value_parser = CANCELLABLE_STATES)]
        state: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    file: ConfigFile,
    /// Their numbers
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<i64>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: only those that were entered before this time (RFC 3339)
    #[arg(long, requires = "all", conflicts_with = "ids", value_name = "TIME")]
    before: Option<DateTime<Utc>>,
}

const MOST_LISTED: i64 = 1_000_000;

pub(super) async fn run(command: DeliveriesCommand) -> anyhow::Result<()> {
    match command {
        DeliveriesCommand::List { file } => {
            let (_, storage) = storage(&file.config).await?;
            for unsent in outbox::unsent_page(&storage.db, &UnsentFilter::default(), MOST_LISTED).await? {
                say(&serde_json::to_string(&unsent)?)?;
            }
            storage.close().await;
            Ok(())
        }
        DeliveriesCommand::Retry { chosen, state } => {
            let (_, storage) = storage(&chosen.file.config).await?;
            let outcome = retry(&storage.db, &chosen, state).await;
            queue::ring(&storage.db).await;
            storage.close().await;
            outcome
        }
        DeliveriesCommand::Cancel { chosen, state } => {
            let (_, storage) = storage(&chosen.file.config).await?;
            let states =
                state.map_or_else(|| CANCELLABLE_STATES.map(str::to_owned).to_vec(), |state| vec![state]);
            let outcome = cancel(&storage.db, &chosen, states).await;
            storage.close().await;
            outcome
        }
    }
}

async fn wanted(db: &PgPool, chosen: &Chosen, states: Vec<String>) -> sqlx::Result<Vec<DeliveryId>> {
    if !chosen.all {
        return Ok(chosen.ids.iter().copied().map(DeliveryId).collect());
    }
    let filter = UnsentFilter { states, before: chosen.before, after: None };
    Ok(outbox::unsent_page(db, &filter, MOST_LISTED).await?.iter().map(|delivery| delivery.id).collect())
}

async fn retry(db: &PgPool, chosen: &Chosen, state: String) -> anyhow::Result<()> {
    let mut all = Handled::none();
    for some in wanted(db, chosen, vec![state]).await?.chunks(MOST) {
        let mut tx = db.begin().await?;
        all.add(bulk::retry_deliveries(&mut tx, some, Actor::COMMAND, Clock::system().now()).await?);
        tx.commit().await?;
    }
    report(&all, chosen.all, |done| match done {
        [] => "there is no such delivery to try again".to_owned(),
        [one] => format!("delivery {one} will be tried again"),
        many => format!("{} deliveries will be tried again", many.len()),
    })?;
    complain(&all, chosen.all, "delivery", "that was not sent", "ticketd deliveries list")
}

async fn cancel(db: &PgPool, chosen: &Chosen, states: Vec<String>) -> anyhow::Result<()> {
    let mut all = Handled::none();
    for some in wanted(db, chosen, states).await?.chunks(MOST) {
        let mut tx = db.begin().await?;
        all.add(bulk::cancel_deliveries(&mut tx, some, Actor::COMMAND, Clock::system().now()).await?);
        tx.commit().await?;
    }
    report(&all, chosen.all, |done| match done {
        [] => "there is no delivery to cancel".to_owned(),
        [one] => format!("delivery {one} is cancelled"),
        many => format!("{} deliveries are cancelled", many.len()),
    })?;
    complain(&all, chosen.all, "delivery", "that has not left", "ticketd deliveries list")
}
