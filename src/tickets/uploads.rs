//! Files: sent first, then named by the message they go with; and read again by whoever may read the message.

use chrono::{DateTime, TimeDelta, Utc};

use super::TicketError;
use super::outbox::File;
use crate::files::Content;
use crate::ids::{AttachmentId, MessageId, PersonId, TicketId, UploadId};
use crate::mail::body;
use crate::queue::Tx;

mod sql;

/// The largest file that is taken, in bytes; and what the files of one message have together, because they are to leave in one
/// mail.
pub const LARGEST: usize = 26_214_400;
/// The most files that go with one message.
pub const MOST_FILES: usize = 20;
/// The most files of one person that wait.
const MOST_WAITING: i64 = 40;
/// A file that no message names is removed after this long.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// A file that waits for its message.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Upload {
    pub id: UploadId,
    /// Made safe: no path, no characters that cannot be seen.
    pub filename: Option<String>,
    pub content_type: String,
    pub size: i64,
    /// Until then a message can name it.
    pub expires_at: DateTime<Utc>,
}

/// Whether a person may send one more file. Asked before its content is kept; [`take`] decides.
pub async fn may_send(tx: &mut Tx, person: PersonId) -> Result<(), TicketError> {
    if sql::waiting(tx, person.0).await? >= MOST_WAITING {
        return Err(TicketError::TooManyUploads);
    }
    Ok(())
}

/// Takes a file that a person sends, whose content is kept already ([`crate::files`]).
pub async fn take(
    tx: &mut Tx,
    person: PersonId,
    filename: Option<&str>,
    content_type: &str,
    content: &Content,
    now: DateTime<Utc>,
) -> Result<Upload, TicketError> {
    // One after the other, or two at once would both be the last that is taken.
    crate::people::lock(tx, &[person]).await?;
    may_send(tx, person).await?;
    let filename = filename.map(|name| name.replace('\0', "")).and_then(|name| body::filename(&name));
    let content_type = media_type(content_type);
    let size = i64::try_from(content.bytes.len()).unwrap_or(i64::MAX);
    let id =
        sql::insert(tx, person.0, &content.sha256, filename.as_deref(), &content_type, size, now).await?;
    Ok(Upload { id: UploadId(id), filename, content_type, size, expires_at: now + KEPT })
}

/// `type/subtype` of what was said of the content (RFC 6838 §4.2); nobody looks into it, and nobody is told more than this.
pub fn media_type(said: &str) -> String {
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    match essence.split_once('/') {
        Some((kind, subtype)) if is_name(kind) && is_name(subtype) => essence,
        _ => "application/octet-stream".to_owned(),
    }
}

/// Makes attachments of what the author of a message has sent before. Each goes with one message.
pub(super) async fn attach(
    tx: &mut Tx,
    author: PersonId,
    message: MessageId,
    files: &[UploadId],
) -> Result<(), TicketError> {
    if files.len() > MOST_FILES {
        return Err(TicketError::TooManyFiles(MOST_FILES));
    }
    let mut bytes = 0;
    for file in files {
        let size = sql::attach(tx, author.0, message.0, file.0).await?;
        bytes += size.ok_or(TicketError::UnknownUpload(*file))?;
    }
    if bytes > i64::try_from(LARGEST).unwrap_or(i64::MAX) {
        return Err(TicketError::FilesTooLarge(LARGEST));
    }
    Ok(())
}

/// A file of a ticket's conversation. Who is not staff gets none of a note, and none of what was withdrawn or deleted.
pub async fn attachment(
    db: &sqlx::PgPool,
    ticket: TicketId,
    attachment: AttachmentId,
    for_staff: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<File>> {
    sql::attachment(db, ticket.0, attachment.0, for_staff, now).await
}

/// Removes files that no message named within a day, and what no list needs any more of the counts. Returns how many files.
pub async fn sweep(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let removed = sql::remove_old(tx, now - KEPT).await?;
    sql::add_up_counts(tx).await?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_two_names_or_none_at_all() {
        assert_eq!(media_type("image/PNG; charset=x"), "image/png");
        assert_eq!(
            media_type("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        );
        for wrong in
            ["", "png", "image/", "/png", "image/p ng", "a/b\r\nX: y", "ä/b", "a/b/c", "-a/b", "a/\0"]
        {
            assert_eq!(media_type(wrong), "application/octet-stream", "{wrong:?}");
        }
    }
}
