//! What is done to mails on the server once they are safely in the ledger.

use super::connection::{ANSWER, Connection, ImapError};
use super::{fetch, folder};
use crate::config::After;

/// Most mails in one command: servers limit the length of a line.
pub(super) const MOST_MAILS: usize = 200;

/// Does it to these mails; at most [`MOST_MAILS`]. Doing it again, or to mails that are gone, does no harm (but for
/// a server without MOVE: a crash between copying and removing leaves two copies in the other folder).
pub(super) async fn act(
    connection: &mut Connection,
    after: &After,
    source: &str,
    uids: &[u32],
) -> Result<(), ImapError> {
    let set = fetch::uid_set(uids);
    match after {
        After::Keep => Ok(()),
        After::Seen => flag(connection, &set, "\\Seen").await,
        After::Delete => remove(connection, &set).await,
        After::Move(target) if folder::same(target, source) => Err(ImapError::Refused(format!(
            "`move:{target}` would move mails to where they are: choose another folder"
        ))),
        After::Move(target) if connection.abilities.moves => put(connection, "MOVE", &set, target).await,
        After::Move(target) => {
            put(connection, "COPY", &set, target).await?;
            remove(connection, &set).await
        }
    }
}

async fn flag(connection: &mut Connection, set: &str, flag: &str) -> Result<(), ImapError> {
    connection.command(&format!("UID STORE {set} +FLAGS.SILENT ({flag})"), ANSWER, |_| {}).await
}

/// Removes mails. A plain EXPUNGE would take along what other people have marked, so a server without UIDPLUS keeps
/// them, marked as deleted.
async fn remove(connection: &mut Connection, set: &str) -> Result<(), ImapError> {
    flag(connection, set, "\\Deleted").await?;
    if connection.abilities.uidplus {
        connection.command(&format!("UID EXPUNGE {set}"), ANSWER, |_| {}).await?;
    }
    Ok(())
}

/// Moves or copies, and makes the folder where it is missing.
async fn put(connection: &mut Connection, verb: &str, set: &str, target: &str) -> Result<(), ImapError> {
    let argument = folder::argument(target);
    let command = format!("UID {verb} {set} {argument}");
    let said = match connection.command(&command, ANSWER, |_| {}).await {
        Err(ImapError::Refused(said)) => said,
        done_or_broken => return done_or_broken,
    };
    match connection.command(&format!("CREATE {argument}"), ANSWER, |_| {}).await {
        Ok(()) => {
            tracing::info!(folder = target, "made the folder that mails are moved to");
            connection.command(&command, ANSWER, |_| {}).await
        }
        Err(ImapError::Refused(_)) => {
            Err(ImapError::Refused(format!("mails can't be moved to the folder `{target}`: {said}")))
        }
        Err(other) => Err(other),
    }
}
