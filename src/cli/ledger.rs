//! `ticketd ledger`: the fate of every mail, another try for those that were put aside, and what the servers hold.

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::{ConfigFile, one_line, say, storage};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::config::Mailbox;
use crate::ids::InboundId;
use crate::ingest::ledger::{self, ReplayError};
use crate::oauth::Tokens;
use crate::sources::imap::reconcile::Comparison;
use crate::{app, ingest, queue, sources};

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
    /// Compare what lies on the mail servers with the ledger, and fetch what is missing; a line of JSON for each mailbox
    #[command(after_help = "Example: ticketd ledger reconcile --config ticketd.toml --mailbox support")]
    Reconcile {
        #[command(flatten)]
        file: ConfigFile,
        /// Only this mailbox
        #[arg(long, value_name = "NAME")]
        mailbox: Option<String>,
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
        LedgerCommand::Reconcile { file, mailbox } => reconcile(&file, mailbox.as_deref()).await,
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

/// One mailbox that can't be compared does not keep the others from it.
async fn reconcile(file: &ConfigFile, wanted: Option<&str>) -> anyhow::Result<()> {
    let (config, storage) = storage(&file.config).await?;
    let is_wanted = |mailbox: &&Mailbox| wanted.is_none_or(|name| mailbox.name == name);
    let mailboxes: Vec<_> = config.mailbox.iter().filter(|m| m.imap.is_some()).filter(is_wanted).collect();
    if let (Some(name), true) = (wanted, mailboxes.is_empty()) {
        bail!("no [[mailbox]] with the name {name} and a section [mailbox.imap] is configured");
    }
    let clock = Clock::system();
    let masters = app::master_secrets(&config, &storage.db, &clock).await?;
    let tokens = Tokens::new(&storage.db, &clock, &masters)?;
    let mut troubles = Vec::new();
    for mailbox in mailboxes {
        let name = &mailbox.name;
        let reader = sources::reader(mailbox, &storage.db, &clock, &tokens, config.mail.max_message_bytes)?;
        match sources::imap::reconcile::reconcile(&reader).await {
            Ok(Comparison { on_server, in_ledger, missing, fetched }) => {
                let line = json!({"mailbox": name, "on_server": on_server, "in_ledger": in_ledger,
                                  "missing": missing, "fetched": fetched});
                say(&line.to_string())?;
                if fetched < missing {
                    troubles.push(format!("mailbox {name}: the server does not give all that is missing"));
                }
            }
            Err(error) => {
                troubles.push(one_line(&error.context(format!("mailbox {name} can't be compared"))));
            }
        }
    }
    storage.close().await;
    anyhow::ensure!(troubles.is_empty(), troubles.join("; "));
    Ok(())
}

async fn replay(db: &sqlx::PgPool, id: InboundId) -> Result<(), ReplayError> {
    let mut tx = db.begin().await?;
    ledger::replay(&mut tx, id, Actor::COMMAND, Clock::system().now()).await?;
    Ok(tx.commit().await?)
}
