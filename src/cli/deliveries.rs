//! `ticketd deliveries`: the mails that were not sent, and sending them after all.

use clap::Subcommand;

use super::{ConfigFile, say, storage};
use crate::clock::Clock;
use crate::ids::DeliveryId;
use crate::queue;
use crate::tickets::outbox;

#[derive(Subcommand)]
pub(super) enum DeliveriesCommand {
    /// Mails that were not sent or came back, with the reason, as JSONL
    #[command(after_help = "Example: ticketd deliveries list --config ticketd.toml")]
    List {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Send one of them after all
    #[command(after_help = "Example: ticketd deliveries retry --config ticketd.toml 17")]
    Retry {
        #[command(flatten)]
        file: ConfigFile,
        id: i64,
    },
}

const MOST_LISTED: i64 = 10_000;

pub(super) async fn run(command: DeliveriesCommand) -> anyhow::Result<()> {
    match command {
        DeliveriesCommand::List { file } => {
            let (_, storage) = storage(&file.config).await?;
            for unsent in outbox::unsent(&storage.db, MOST_LISTED).await? {
                say(&serde_json::to_string(&unsent)?)?;
            }
            storage.close().await;
            Ok(())
        }
        DeliveriesCommand::Retry { file, id } => {
            let (_, storage) = storage(&file.config).await?;
            let mut tx = storage.db.begin().await?;
            if !outbox::retry(&mut tx, DeliveryId(id), Clock::system().now()).await? {
                anyhow::bail!("there is no delivery {id} that was not sent (see `ticketd deliveries list`)");
            }
            tx.commit().await?;
            queue::ring(&storage.db).await;
            storage.close().await;
            say(&format!("delivery {id} will be tried again"))
        }
    }
}
