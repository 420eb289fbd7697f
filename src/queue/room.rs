//! How much jobs hold in memory at once: by size, so that some large mails do not take all the memory there is.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Mails up to this size are read and sent without asking for room: as many as jobs run at once fit beside the others. In bytes.
pub const SMALL: i32 = 512 * 1024;
/// The large mails that are in hand at the same time have so many bytes together, or it is one. Reading or writing one takes a
/// few times its size.
const MOST: usize = 32 * 1024 * 1024;
const UNIT: usize = 64 * 1024;

/// Room for the large mails of one stage, in one process.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST / UNIT)))
    }
}

impl Room {
    /// Waits until there is room for a mail of this size in bytes; it is given back when what this returns is dropped.
    pub async fn take(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let units = size.div_ceil(UNIT).clamp(1, MOST / UNIT);
        // It is never closed.
        Arc::clone(&self.0).acquire_many_owned(u32::try_from(units).unwrap_or(1)).await.ok()
    }
}
