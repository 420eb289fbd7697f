//! `ticketd ledger`: the fate of every mail, and another try for those that were put aside.

use clap::Subcommand;

use super::{ConfigFile, say, storage};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::ids::InboundId;
use crate::ingest::ledger::{self, ReplayError};
use crate::{ingest, queue};

#[derive(Subcommand)]
pub(super) enum LedgerCommand {
    /// The newest mails with their fate, as JSONL
    #[command(after_help = "Example: ticketd ledger list --config ticketd.toml --fate quarantined")]
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Only the mails of this fate; `waiting` have none yet
        #[arg(long, value_parser = FATES)]
        fate: Option<String>,
        /// This many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Read mails again that are in quarantine, after what was in their way was mended
    #[command(after_help = "Example: ticketd ledger replay --config ticketd.toml 17")]
    Replay {
        #[command(flatten)]
        file: ConfigFile,
        /// Their numbers in the ledger
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<i64>,
        /// All that can be read again
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

const FATES: [&str; 6] = ["ticketed", "appended", "suppressed", "quarantined", "duplicate", "waiting"];

const MOST_LISTED: i64 = 100_000;

pub(super) async fn run(command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::List { file, fate, limit } => {
            let (_, storage) = storage(&file.config).await?;
            for entry in ingest::ledger(&storage.db, fate.as_deref(), limit).await? {
                say(&serde_json::to_string(&entry)?)?;
            }
            storage.close().await;
            Ok(())
        }
        LedgerCommand::Replay { file, ids, all } => {
            let (_, storage) = storage(&file.config).await?;
            let ids = if all {
                let quarantined = ingest::ledger(&storage.db, Some("quarantined"), MOST_LISTED).await?;
                quarantined.into_iter().map(|entry| entry.id).collect()
            } else {
                ids.into_iter().map(InboundId).collect::<Vec<_>>()
            };
            let mut replayed = 0;
            for id in ids {
                match replay(&storage.db, id).await {
                    Ok(()) => replayed += 1,
                    // What has no bytes, or came by Discord, is no reason to leave the others.
                    Err(ReplayError::NoBytes(_) | ReplayError::Discord(_)) if all => {}
                    Err(error) => return Err(error.into()),
                }
            }
            queue::ring(&storage.db).await;
            storage.close().await;
            say(&match replayed {
                0 => "no mail in quarantine can be read again".to_owned(),
                1 => "1 mail will be read again".to_owned(),
                count => format!("{count} mails will be read again"),
            })
        }
    }
}

async fn replay(db: &sqlx::PgPool, id: InboundId) -> Result<(), ReplayError> {
    let mut tx = db.begin().await?;
    ledger::replay(&mut tx, id, Actor::COMMAND, Clock::system().now()).await?;
    Ok(tx.commit().await?)
}
