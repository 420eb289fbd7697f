//! New events of all tickets, read once a second by each process and handed to every stream of events.
//!
//! Nothing is missed: see [`crate::tickets::feed`]. Who cannot keep up reads for themselves, from where they were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use crate::ids::PersonId;
use crate::queue;
use crate::tickets::feed::{self, Happened, Position};

/// How often new events are looked for unasked.
const POLL: Duration = Duration::from_secs(1);
/// After a sign of work: several of them are one look.
const BREATH: Duration = Duration::from_millis(100);
const PAGE: i64 = 1000;
/// Events that wait for a slow stream in memory.
const KEPT: usize = 4096;
/// Streams of one person at once, and of everybody: each holds a connection.
const OF_ONE_PERSON: usize = 5;
const OF_ALL: usize = 1000;
/// Whoever has too many streams is told to come back after so many seconds.
const COME_BACK: u64 = 30;

/// The events of this process's streams. Clones are the same feed.
#[derive(Clone, Debug)]
pub struct Feed {
    events: broadcast::Sender<Arc<Happened>>,
    streams: Arc<Mutex<HashMap<PersonId, usize>>>,
    /// Where reading goes on.
    read_to: Arc<Mutex<Position>>,
    over: CancellationToken,
}

/// One stream's place in the feed. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    person: PersonId,
    streams: Arc<Mutex<HashMap<PersonId, usize>>>,
    pub(super) events: broadcast::Receiver<Arc<Happened>>,
    /// The process is stopping.
    pub(super) over: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get_mut(&self.person) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                streams.remove(&self.person);
            }
        }
    }
}

impl Feed {
    /// A feed that begins now: before there is a stream, or what happens between the two would be missed.
    pub async fn begin(db: &PgPool) -> sqlx::Result<Self> {
        feed::adopt_restored(db).await?;
        Ok(Self {
            events: broadcast::channel(KEPT).0,
            streams: Arc::default(),
            read_to: Arc::new(Mutex::new(feed::end(db).await?)),
            over: CancellationToken::new(),
        })
    }

    /// A place for one stream. What is read from now on comes to it.
    pub(super) fn place(&self, person: PersonId) -> Result<Place, Error> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = streams.values().sum();
        let own = streams.entry(person).or_default();
        if *own >= OF_ONE_PERSON || all >= OF_ALL {
            if *own == 0 {
                streams.remove(&person);
            }
            return Err(Error::TooMany(COME_BACK));
        }
        *own += 1;
        let streams = Arc::clone(&self.streams);
        Ok(Place { person, streams, events: self.events.subscribe(), over: self.over.clone() })
    }

    /// Reads new events until told to stop; then every stream ends.
    pub async fn run(&self, db: &PgPool, stop: &CancellationToken) {
        let mut listener = None;
        while !stop.is_cancelled() {
            if self.events.receiver_count() == 0 {
                listener = None;
            } else if listener.is_none() {
                // Before the look, so that what is announced between the two is heard of.
                listener = queue::Bell::listen(db).await;
            }
            match self.look(db).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "new events cannot be read; it is tried again"),
            }
            let rung = async {
                match listener.as_mut() {
                    Some(bell) => bell.rung().await,
                    None => std::future::pending().await,
                }
            };
            let alive = tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(POLL) => true,
                alive = rung => {
                    tokio::time::sleep(BREATH).await;
                    alive
                }
            };
            if !alive {
                listener = None;
            }
        }
        self.over.cancel();
    }

    fn set(&self, position: Position) {
        *self.read_to.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    /// Hands on what is new. True: there is more.
    async fn look(&self, db: &PgPool) -> sqlx::Result<bool> {
        let read_to = *self.read_to.lock().unwrap_or_else(PoisonError::into_inner);
        if self.events.receiver_count() == 0 {
            let end = feed::end(db).await?;
            // A stream that came meanwhile may begin before this end.
            if self.events.receiver_count() == 0 {
                self.set(end);
            }
            return Ok(false);
        }
        let page = feed::after(db, read_to, PAGE).await?;
        let more = i64::try_from(page.len()).unwrap_or(i64::MAX) >= PAGE;
        for happened in page {
            self.set(happened.position);
            // Without a stream nobody needs to be told.
            self.events.send(Arc::new(happened)).ok();
        }
        Ok(more)
    }
}
