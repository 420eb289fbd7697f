//! What a change could not do.

use crate::ids::{MessageId, TicketId, UploadId};

/// What a change could not do.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    #[error("there is no ticket #{0}")]
    Unknown(TicketId),
    #[error("ticket #{0} was deleted")]
    Deleted(TicketId),
    #[error("ticket #{0} was merged into #{1}: go on there")]
    Merged(TicketId, TicketId),
    #[error("ticket #{0} is {1}: that cannot be done to it")]
    WrongStatus(TicketId, &'static str),
    /// It is not in the version that the caller had before them.
    #[error("ticket #{0} was changed meanwhile: read it again, then repeat what you want to change")]
    Stale(TicketId),
    /// Another transaction named one of the same Message-IDs first: look again, the thread exists now.
    #[error("another mail of the same thread was taken in at the same moment")]
    Raced,
    #[error("the answer is empty")]
    EmptyReply,
    #[error("somebody has ticket #{0} already")]
    Taken(TicketId),
    #[error("nobody has ticket #{0}")]
    Unassigned(TicketId),
    #[error("tickets are given to active moderators and admins only")]
    NotStaff,
    #[error("{name} has as many open tickets as they may have ({cap})")]
    AtCap { name: String, cap: i64 },
    #[error("there is no such skill in the catalogue")]
    UnknownSkill,
    #[error("it has left already: it cannot be taken back")]
    TooLate,
    #[error("a ticket cannot be merged into itself")]
    IntoItself,
    #[error("who asked in Discord would not be reached in a ticket from elsewhere: merge #{0} into this one")]
    OutOfReach(TicketId),
    #[error("there is no message {0} in this ticket that came in")]
    UnknownMessage(MessageId),
    #[error("the requester takes part as long as the ticket is theirs")]
    RequesterStays,
    #[error("this person does not take part in the ticket")]
    NoParticipant,
    #[error("there is no mail address to reach this person at")]
    NoAddress,
    #[error("there is no file {0} of yours that waits to be sent: send it again")]
    UnknownUpload(UploadId),
    #[error("a message takes at most {0} files")]
    TooManyFiles(usize),
    #[error("the files of one message have at most {0} bytes together")]
    FilesTooLarge(usize),
    #[error("too many files of yours wait to be sent: use or wait, they are removed after a day")]
    TooManyUploads,
    #[error("a file has at most {0} bytes")]
    FileTooLarge(usize),
    #[error("`{0}` is no tag: a tag has 1 to 32 of a-z, 0-9, - and _, and starts with a letter or digit")]
    NotATag(String),
    #[error("a ticket has at most {0} tags")]
    TooManyTags(usize),
    #[error("the subject is empty")]
    EmptySubject,
    #[error("the rating can no longer be changed")]
    RatingClosed,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
