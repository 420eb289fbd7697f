//! What the bot needs in Discord before people can use it: its commands, and channels that it sees.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Gateway;
use crate::discord::api::ApiError;
use crate::discord::{catalogue, check};

/// The pause before something that failed is tried again: an admin has to do something first.
const PAUSE: Duration = Duration::from_mins(5);
/// The pause where Discord was out of order.
const SHORT_PAUSE: Duration = Duration::from_secs(20);

/// At every session: sets the commands if they are not those that were set last, and looks at the server and the channels.
/// Tries until all is well, then waits for the next session. Fails where Discord does not know us any more.
pub(super) async fn keep_set_up(gateway: &Gateway) -> Result<std::convert::Infallible, ApiError> {
    let mut sessions = gateway.progress.subscribe();
    let mut seen = sessions.borrow_and_update().sessions;
    loop {
        // The sender is ours and lives on.
        sessions.wait_for(|progress| progress.sessions > seen).await.ok();
        seen = sessions.borrow().sessions;
        while let Err(error) = set_up(gateway).await {
            let pause = match error {
                ApiError::Unauthorized(_) => return Err(error),
                error if error.is_temporary() => {
                    tracing::warn!("Discord cannot be asked how the bot is set up: {error}");
                    SHORT_PAUSE
                }
                _said => PAUSE,
            };
            tokio::time::sleep(pause).await;
        }
    }
}

async fn set_up(gateway: &Gateway) -> Result<(), ApiError> {
    match set_commands(gateway).await {
        Ok(()) => look_around(gateway).await,
        Err(error) if error.is_temporary() => Err(error),
        Err(error) => {
            complain(gateway, vec![no_commands(&error)]).await;
            Err(error)
        }
    }
}

fn no_commands(error: &ApiError) -> String {
    match error {
        ApiError::Forbidden(_) | ApiError::Gone(_) => format!(
            "discord commands: the bot may not set its commands in the server: invite it again, with the scope \
             applications.commands, by the address that `ticketd doctor` prints: {error}"
        ),
        error => format!("discord commands: they can't be set: {error}"),
    }
}

/// One line for each thing that is wrong, once.
async fn complain(gateway: &Gateway, trouble: Vec<String>) {
    let all = Some(trouble.join("; ")).filter(|text| !text.is_empty());
    if gateway.progress.borrow().trouble != all {
        for line in &trouble {
            tracing::error!("{line}");
        }
    }
    gateway.note(all).await;
}

async fn set_commands(gateway: &Gateway) -> Result<(), ApiError> {
    let commands = catalogue::commands(&gateway.live.current().await.triage.categories);
    let hash = Sha256::digest(serde_json::Value::from(commands.clone()).to_string()).to_vec();
    if gateway.progress.borrow().commands.as_ref() == Some(&hash) {
        return Ok(());
    }
    gateway.api.set_commands(gateway.settings.guild_id, &commands).await?;
    let count = commands.len();
    tracing::info!(count, "the bot's {count} commands are set");
    gateway.progress.send_modify(|progress| progress.commands = Some(hash));
    Ok(())
}

/// What is wrong keeps the bot from some of its work, not from all of it.
async fn look_around(gateway: &Gateway) -> Result<(), ApiError> {
    let mut trouble = Vec::new();
    for (what, found) in check::check(&gateway.settings).await {
        let Err(error) = found else { continue };
        match error.downcast::<ApiError>() {
            Ok(error) if error.is_temporary() => return Err(error),
            Ok(error @ ApiError::Unauthorized(_)) => return Err(error),
            Ok(error) => trouble.push(format!("{what}: {error}")),
            Err(error) => trouble.push(format!("{what}: {error:#}")),
        }
    }
    complain(gateway, trouble).await;
    gateway.progress.send_modify(|progress| progress.looked_around += 1);
    Ok(())
}
