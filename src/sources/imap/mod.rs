//! Reading mailboxes over IMAP (RFC 3501, with IDLE, UIDPLUS and MOVE where the server has them).
//!
//! What has been read is known by UID and UIDVALIDITY, never by `\Seen` and never by date. Mail is in the ledger,
//! and the cursor with it, before anything changes on the server. IDLE only says "look"; what there is to read is
//! asked anew each time, so nothing that was said while nobody listened is lost.

mod after;
pub mod connection;
mod fetch;
mod folder;
pub mod login;
pub mod reader;
pub mod reconcile;
mod tls;

pub use connection::{Connection, ImapError, ImapSettings};
pub use login::Login;
pub use reader::{Pace, Progress, Reader, run, sync_once};
