//! How much jobs hold in memory at once: by size, so that some large mails do not take all the memory there is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::JobError;

/// What has up to this size needs no room: as many as jobs run at once fit beside the others. In bytes.
pub const SMALL: i32 = 512 * 1024;
/// What is in hand at the same time has so many bytes together, or it is one. Reading or writing a mail takes a few times its size.
pub const MOST: usize = 32 * 1024 * 1024;
const UNIT: usize = 64 * 1024;
/// Who finds none for so long comes again later: its time and its place among the jobs that run are for others, too.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between such a wait and the next, at least and at most, in seconds.
const LATER: std::ops::RangeInclusive<u64> = 5..=15;

/// Room for what is large, of one stage of an [`App`](crate::app::App).
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// Given back when it is dropped. `None`: none was needed.
pub type Taken = Option<OwnedSemaphorePermit>;

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST / UNIT)))
    }
}

impl Room {
    /// Waits until there is room for so many bytes, in the order in which it was asked for. To be called before anything is read
    /// that may change meanwhile.
    pub async fn take(&self, bytes: i64) -> Taken {
        if bytes <= i64::from(SMALL) {
            return None;
        }
        let units = usize::try_from(bytes).unwrap_or(MOST).div_ceil(UNIT).min(MOST / UNIT);
        // It is never closed.
        Arc::clone(&self.0).acquire_many_owned(u32::try_from(units).unwrap_or(1)).await.ok()
    }

    /// As [`take`](Self::take), but not for long: for jobs whose attempts are not counted, and who hold their room as long as
    /// others like.
    pub async fn take_soon(&self, bytes: i64) -> Result<Taken, JobError> {
        self.take_within(PATIENCE, bytes).await
    }

    async fn take_within(&self, patience: Duration, bytes: i64) -> Result<Taken, JobError> {
        tokio::time::timeout(patience, self.take(bytes)).await.map_err(|_late| {
            let pause = Duration::from_secs(rand::random_range(LATER));
            JobError::RetryAfter(pause, anyhow!("it is large, and other large ones are in hand"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_large_waits_its_time_and_what_is_small_does_not() {
        let room = Room::default();
        let first = room.take(i64::MAX).await;
        assert!(first.is_some());
        assert!(room.take_soon(i64::from(SMALL)).await.unwrap().is_none());
        let millisecond = Duration::from_millis(1);
        let Err(JobError::RetryAfter(pause, why)) = room.take_within(millisecond, i64::from(SMALL) + 1).await
        else {
            panic!("there was room");
        };
        assert!(LATER.contains(&pause.as_secs()));
        assert_eq!(why.to_string(), "it is large, and other large ones are in hand");
        let (second, ()) = tokio::join!(room.take_soon(1 << 20), async { drop(first) });
        assert!(second.unwrap().is_some());
    }
}
