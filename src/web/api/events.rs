//! The stream of events: what happens to the tickets that the caller sees, as it happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::people;
use crate::tickets::feed::{self, Happened, Position, Told};
use crate::tickets::read::Sight;
use crate::web::State as Shared;
use crate::web::error::Error;
use crate::web::feed::Place;
use crate::web::request::Caller;
use crate::web::rights;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// How far back a stream begins, in events of all tickets.
const LONGEST_REPLAY: usize = 10_000;
const PAGE: i64 = 500;
/// Proxies and browsers close what is silent.
const HEARTBEAT: TimeDelta = TimeDelta::seconds(15);
/// Whether the caller may still read on is looked at this often.
const CHECK: TimeDelta = TimeDelta::seconds(30);
const TICK: Duration = Duration::from_secs(1);
/// When a client is to come again after the stream ended.
const COME_AGAIN: Duration = Duration::from_secs(3);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// server-sent events: what happens to the tickets that the caller sees.
///
/// Each message has the id of its event; send the last one as `Last-Event-ID` and the stream goes on behind it. A message
/// named `reset` says that something was left out (the id is not known, or lies more than 10,000 events back): read anew
/// what you show. The stream ends when the token expires or its session ends; come again with another token.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "tickets",
    params(("Last-Event-ID" = Option<i64>, Header, description = "The id of the last message that was received")),
    responses((status = 200, description = "Messages; `data` is an event", body = Told, content_type = "text/event-stream"))
)]
async fn stream(State(state): State<Shared>, caller: Caller, headers: HeaderMap) -> Result<Response, Error> {
    let place = state.feed.place(caller.person)?;
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let from = match last {
        None => Some(feed::end(&state.db).await?),
        Some(None) => None,
        Some(Some(id)) => feed::position_of(&state.db, id).await?,
    };
    let now = state.clock.now();
    let mut reader = Reader {
        eyes: Eyes::of(&state, &caller).await?,
        credentials: headers,
        place,
        position: from.unwrap_or_default(),
        behind: Some(LONGEST_REPLAY),
        passed: None,
        ready: VecDeque::from([Event::default().comment("").retry(COME_AGAIN)]),
        checked_at: now,
        sent_at: now,
        tick: tokio::time::interval(TICK),
        state,
    };
    if from.is_none() {
        reader.reset().await?;
    }
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(reader.stream())).into_response())
}

/// Whose tickets the reader sees, and how much of them.
struct Eyes {
    sight: Sight,
    is_staff: bool,
    /// Of a moderator who does not see all tickets.
    skills: Vec<String>,
}

impl Eyes {
    async fn of(state: &Shared, caller: &Caller) -> sqlx::Result<Self> {
        let sight = caller.sight(state.settings.current().await.assignment.moderators_see_all);
        let skills = match sight {
            Sight::Moderator(person) => people::skills_of(&state.db, person).await?,
            Sight::All | Sight::Requester(_) => Vec::new(),
        };
        let skills = skills.into_iter().filter(|skill| skill.confirmed).map(|skill| skill.slug).collect();
        Ok(Self { sight, is_staff: caller.is_staff(), skills })
    }

    /// What of an event they see: the rule of [`crate::tickets::read`].
    fn see(&self, happened: &Happened) -> Option<Told> {
        let ticket = &happened.ticket;
        let sees = match self.sight {
            Sight::All => true,
            Sight::Requester(person) => ticket.requester_id == person,
            Sight::Moderator(person) => {
                ticket.assignee_id.is_none_or(|assignee| assignee == person)
                    || ticket.requester_id == person
                    || ticket.skills.iter().any(|skill| self.skills.contains(skill))
            }
        };
        match self.is_staff {
            _ if !sees => None,
            true => Some(happened.told()),
            false => happened.told_to_requester(),
        }
    }
}

/// One stream.
struct Reader {
    state: Shared,
    credentials: HeaderMap,
    eyes: Eyes,
    place: Place,
    /// Everything up to here was looked at.
    position: Position,
    /// What lies between here and the feed is read from the database: at most so many events more.
    behind: Option<usize>,
    /// The last event that was looked at and not sent.
    passed: Option<i64>,
    ready: VecDeque<Event>,
    checked_at: DateTime<Utc>,
    sent_at: DateTime<Utc>,
    tick: tokio::time::Interval,
}

impl Reader {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, |mut reader| async move {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        })
    }

    /// The next message; `None`: the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.sent_at = self.state.clock.now();
                return Some(event);
            }
            if let Err(error) = self.wait().await? {
                // The client comes again, and goes on where it was.
                tracing::warn!(%error, "a stream of events ends: the database does not answer");
                return None;
            }
        }
    }

    /// Until something is to be looked at. `None`: the stream is over.
    async fn wait(&mut self) -> Option<sqlx::Result<()>> {
        if let Some(left) = self.behind {
            if let Err(error) = self.check().await? {
                return Some(Err(error));
            }
            return Some(self.catch_up(left).await);
        }
        tokio::select! {
            () = self.place.over.cancelled() => return None,
            received = self.place.events.recv() => match received {
                Ok(happened) => self.take(&happened),
                Err(RecvError::Lagged(_)) => self.behind = Some(LONGEST_REPLAY),
                Err(RecvError::Closed) => return None,
            },
            _ = self.tick.tick() => {
                if let Err(error) = self.check().await? {
                    return Some(Err(error));
                }
                let now = self.state.clock.now();
                if now - self.sent_at >= HEARTBEAT {
                    self.beat();
                }
            }
        }
        Some(Ok(()))
    }

    /// Whether the caller may still read on, and what. `None`: they may not.
    async fn check(&mut self) -> Option<sqlx::Result<()>> {
        let now = self.state.clock.now();
        if now - self.checked_at < CHECK {
            return Some(Ok(()));
        }
        self.checked_at = now;
        let caller = rights::authenticate(&self.state, &self.credentials).await.ok()?;
        let eyes = Eyes::of(&self.state, &caller).await;
        Some(eyes.map(|eyes| self.eyes = eyes))
    }

    fn take(&mut self, happened: &Arc<Happened>) {
        // Read from the database before it came by the feed.
        if happened.position > self.position {
            self.look_at(happened);
        }
    }

    fn look_at(&mut self, happened: &Happened) {
        self.position = happened.position;
        match self.eyes.see(happened).map(|told| Event::default().json_data(told)) {
            Some(Ok(event)) => {
                self.passed = None;
                self.ready.push_back(event.id(happened.id.to_string()));
            }
            Some(Err(_)) | None => self.passed = Some(happened.id),
        }
    }

    /// A comment; it carries the id of what was passed over, so that coming again does not begin before that.
    fn beat(&mut self) {
        let beat = Event::default().comment("");
        self.ready.push_back(match self.passed.take() {
            Some(id) => beat.id(id.to_string()),
            None => beat,
        });
    }

    /// Reads one page of what lies between.
    async fn catch_up(&mut self, left: usize) -> sqlx::Result<()> {
        let page = feed::after(&self.state.db, self.position, PAGE).await?;
        if page.len() > left {
            return self.reset().await;
        }
        let is_last = i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE;
        self.behind = (!is_last).then(|| left - page.len());
        for happened in &page {
            self.look_at(happened);
        }
        Ok(())
    }

    /// Something is left out: the client is told, and goes on with what comes.
    async fn reset(&mut self) -> sqlx::Result<()> {
        self.position = feed::end(&self.state.db).await?;
        (self.behind, self.passed) = (Some(LONGEST_REPLAY), None);
        self.ready.push_back(Event::default().event("reset").data("{}"));
        Ok(())
    }
}
