//! Reading on in a thread what was said in it while nobody listened.

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;

use super::Gateway;
use crate::discord::api::ApiError;
use crate::discord::{created_at, first_id_at, said};
use crate::ingest::discord::Arrived;
use crate::queue;
use crate::tickets::threads::{self, Thread};

/// Ids sort by the time at which they were given, and come a little out of order.
const MARGIN: TimeDelta = TimeDelta::seconds(5);
/// Tries of one page, an hour in all; after that the thread goes on without it.
const MOST_TRIES: u32 = 70;
/// Tries where Discord answers what makes no sense to us.
const FEW_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How reading a thread ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// The thread is gone or not for us.
    Broken(ApiError),
    /// Discord does not know us any more.
    Refused(ApiError),
}

/// Where reading on begins: a little before what the ledger has, or before what was lost.
pub(super) fn start(thread: &Thread, lost: Option<u64>) -> u64 {
    let seen = match thread.last_seen {
        0 => 0,
        seen => first_id_at(created_at(seen) - MARGIN),
    };
    lost.map_or(seen, |lost| seen.min(lost.saturating_sub(1)))
}

/// Reads a thread to its end, and keeps what people wrote.
pub(super) async fn read_on(gateway: Gateway, thread: Thread, channel: u64, from: u64) -> Outcome {
    let mut after = from;
    loop {
        let page = match page(&gateway, channel, after).await {
            Ok(page) => page,
            Err(outcome) => return outcome,
        };
        // Until there is nothing more: a page may be short because something in it could not be read.
        let Some(last) = page.last().map(|message| message.id) else { return Outcome::Done };
        let mut arrived = Vec::new();
        for message in page.iter().filter(|message| message.is_by_person()) {
            arrived.push(Arrived::message(thread.id, message));
            if message.id <= thread.last_seen && message.edited_at.is_some() {
                // It was kept as it stood before.
                arrived.push(Arrived::edit(thread.id, message));
            }
        }
        super::listener::keep(&gateway, &arrived).await;
        note_seen(&gateway, &thread, last).await;
        after = last;
    }
}

/// One page; tries again as long as that may help.
async fn page(gateway: &Gateway, channel: u64, after: u64) -> Result<Vec<said::Message>, Outcome> {
    let mut tries = 0;
    loop {
        let error = {
            let asked = gateway.reading.acquire().await;
            let page = gateway.api.messages_after(channel, after).await;
            drop(asked);
            match page {
                Ok(page) => return Ok(page),
                Err(error) => error,
            }
        };
        tries += 1;
        let makes_sense = error.is_temporary() && error != ApiError::Server(200);
        match error {
            ApiError::Unauthorized(_) => return Err(Outcome::Refused(error)),
            error if error.breaks_thread() => return Err(Outcome::Broken(error)),
            error if tries >= if makes_sense { MOST_TRIES } else { FEW_TRIES } => {
                tracing::error!(
                    channel,
                    "a thread in Discord cannot be read on, messages may be missing: {error}"
                );
                return Err(Outcome::Done);
            }
            error => {
                let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries - 1)).min(LONGEST_PAUSE);
                let pause = error
                    .retry_after()
                    .unwrap_or_default()
                    .max(doubled)
                    .mul_f32(rand::random_range(0.75..=1.25));
                tracing::warn!(
                    channel,
                    pause_s = pause.as_secs_f32(),
                    "a thread in Discord cannot be read now: {error}"
                );
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// What others than people wrote is read only once, too.
async fn note_seen(gateway: &Gateway, thread: &Thread, message: u64) {
    if message <= thread.last_seen {
        return;
    }
    let noted = async {
        let mut tx = gateway.db.begin().await?;
        threads::seen(&mut tx, thread.id, message).await?;
        tx.commit().await
    };
    if let Err(error) = noted.await.context("cannot note how far a thread was read") {
        tracing::debug!("{error:#}");
    }
}

/// The thread is gone or not for us: the ticket says so, and its other thread shows it.
pub(super) async fn note_broken(gateway: &Gateway, thread: &Thread, why: &str) -> sqlx::Result<()> {
    let now = gateway.clock.now();
    let mut tx = gateway.db.begin().await?;
    threads::broke(&mut tx, thread, why, now).await?;
    threads::changed(&mut tx, thread.ticket, now).await?;
    tx.commit().await?;
    queue::ring(&gateway.db).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ThreadId, TicketId};
    use crate::tickets::threads::Audience;

    fn thread(last_seen: u64) -> Thread {
        Thread {
            id: ThreadId(1),
            ticket: TicketId(1),
            audience: Audience::Staff,
            handle: String::new(),
            channel: Some(1),
            card: None,
            card_hash: None,
            members: Vec::new(),
            begun_at: None,
            archived: false,
            broken: None,
            last_seen,
            read_on: false,
        }
    }

    #[test]
    fn reading_begins_a_little_before_what_was_seen_or_lost() {
        let (second, seen) = (1000 << 22, 1_100_000_000_000_000_000);
        assert_eq!(start(&thread(0), None), 0);
        assert_eq!(start(&thread(seen), None), ((seen >> 22) << 22) - 5 * second);
        let lost = seen - 60 * second;
        assert_eq!(start(&thread(seen), Some(lost)), lost - 1);
        assert_eq!(start(&thread(seen), Some(seen + second)), start(&thread(seen), None));
    }
}
