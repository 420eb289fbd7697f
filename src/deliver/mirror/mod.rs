//! Brings one thread in Discord up to date: makes it, shows the card, posts what was written, in order, edits what was
//! changed, archives and locks it at the end.
//!
//! Each step is written down as soon as it is done, so that after a death between two steps the next attempt goes on
//! where this one was. What may have been done without our knowing is done again in a way that does not double it: posts
//! under the same nonce, threads looked for by message or name.

mod broken;
mod card;
mod close;
mod make;
mod post;
mod render;

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use chrono::{DateTime, TimeDelta, Utc};

use super::Deliver;
use crate::config;
use crate::crash;
use crate::discord::api::{Api, ApiError};
use crate::discord::{said, words};
use crate::ids::ThreadId;
use crate::queue::{self, Claimed, Done, JobError};
use crate::tickets::Status;
use crate::tickets::threads::{self, Audience, Setting, Thread};

/// One job makes no more calls than this, and begins none after this time; another one goes on. Well within the job's
/// time, though each call may take its whole deadline.
const MOST_CALLS: usize = 40;
const LONGEST: Duration = Duration::from_mins(1);
/// Discord remembers a nonce for "some minutes"; we rely on the first of them only.
const NONCE_HOLDS: TimeDelta = TimeDelta::minutes(2);
/// Clocks differ: ours and that in Discord's ids.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(10);
/// Pages of a channel's history that are read to find one message.
const MOST_PAGES: usize = 10;

/// Why a job ends before all is shown.
#[derive(Debug)]
enum Stop {
    /// As the queue is told.
    Job(JobError),
    /// It has done its share.
    Enough,
    /// Nothing can be shown there before a person acts.
    Broken(String),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Job(error.into())
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::RateLimited(wait) => Self::Job(JobError::RetryAfter(wait, error.into())),
            // The gateway stops on a bad token and says what to do; once it is renewed this goes on.
            ApiError::Unauthorized(_) | ApiError::Server(_) | ApiError::Unreachable(_) => {
                Self::Job(JobError::Retry(error.into()))
            }
            ApiError::Forbidden(_) => Self::Broken(words::lacks_right(&error.to_string())),
            // Asking again is no use; a person may know why.
            ApiError::Gone(_)
            | ApiError::Archived(_)
            | ApiError::Locked(_)
            | ApiError::TooLate(_)
            | ApiError::Invalid(_) => Self::Broken(error.to_string()),
        }
    }
}

/// One job's way through one thread.
struct Visit<'a> {
    deliver: &'a Deliver,
    api: &'a Api,
    config: &'a config::Discord,
    thread: Thread,
    setting: Setting,
    /// The handle of the ticket's staff thread: what buttons carry.
    staff_handle: String,
    calls: usize,
    begun: Instant,
    /// The relays are shown as they stood then.
    as_of: DateTime<Utc>,
    /// Messages of ours that are there and not written down, oldest first; `None`: not looked for yet.
    unrecorded: Option<Vec<said::Message>>,
}

impl Deliver {
    /// Brings one thread up to date.
    pub async fn mirror(&self, job: &Claimed) -> Result<Done, JobError> {
        let Some(thread) = threads::thread(&self.db, ThreadId(job.subject)).await? else {
            return job.done(self.db.begin().await?).await;
        };
        let (Some(api), Some(config)) = (&self.discord, &self.config.discord) else {
            // Discord was taken out of the configuration. What waits, waits in its relays; the start that finds Discord
            // configured again shows it (`threads::resume`). To keep the job would only fill the queue.
            return job.done(self.db.begin().await?).await;
        };
        let Some(setting) = threads::setting(&self.db, thread.ticket).await? else {
            return job.done(self.db.begin().await?).await;
        };
        let of_ticket = threads::of_ticket(&self.db, thread.ticket).await?;
        let for_staff = of_ticket.into_iter().find(|thread| thread.audience == Audience::Staff);
        let staff_handle = for_staff.map_or_else(|| thread.handle.clone(), |thread| thread.handle);
        let mut visit = Visit {
            deliver: self,
            api,
            config,
            thread,
            setting,
            staff_handle,
            calls: 0,
            begun: Instant::now(),
            as_of: self.clock.now(),
            unrecorded: None,
        };
        if visit.thread.broken.is_some() {
            return visit.tell(job).await;
        }
        let outcome = visit.bring_up_to_date().await;
        visit.conclude(job, outcome).await
    }
}

impl Visit<'_> {
    async fn bring_up_to_date(&mut self) -> Result<(), Stop> {
        if self.thread.channel.is_none() && self.has_nothing_to_show().await? {
            return Ok(());
        }
        let channel = self.make().await?;
        let closed = self.setting.status == Status::Closed;
        if self.thread.archived && !closed {
            self.forget_who_was_let_in().await?;
            self.open(channel).await?;
        }
        if self.thread.audience == Audience::Requester {
            // First, so that nothing more is said before those who are not meant to read it.
            self.let_out(channel).await?;
            if !closed {
                self.let_in(channel).await?;
            }
        }
        self.show_card(channel).await?;
        self.post_due(channel).await?;
        self.refresh_stale(channel).await?;
        if closed {
            self.close(channel).await?;
        }
        Ok(())
    }

    /// A ticket that was over before it was ever shown: a thread for each of those would be noise.
    async fn has_nothing_to_show(&self) -> sqlx::Result<bool> {
        let (db, now) = (&self.deliver.db, self.deliver.clock.now());
        Ok(self.setting.status == Status::Closed
            && threads::due_relays(db, self.thread.id, now).await?.is_empty())
    }

    async fn conclude(self, job: &Claimed, outcome: Result<(), Stop>) -> Result<Done, JobError> {
        let (db, now) = (&self.deliver.db, self.deliver.clock.now());
        let again = match outcome {
            Ok(()) => threads::next_due(db, self.thread.id, self.as_of).await?,
            Err(Stop::Enough) => Some(now),
            Err(Stop::Broken(why)) => return self.breaks(job, &why).await,
            Err(Stop::Job(error)) if job.is_last(now) => {
                return self.breaks(job, &words::given_up(&format!("{error:#}"))).await;
            }
            Err(Stop::Job(error)) => return Err(error),
        };
        let mut tx = db.begin().await?;
        if let Some(at) = again {
            queue::enqueue_all(&mut tx, &[(&queue::MIRROR, self.thread.id.0, at)], now).await?;
        }
        crash::point("mirror.before_done");
        job.done(tx).await
    }

    // ---- calls

    /// One call, if there is still one to make. What Discord answers is for the caller to sort.
    async fn ask<T>(
        &mut self,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<Result<T, ApiError>, Stop> {
        if self.calls >= MOST_CALLS || self.begun.elapsed() >= LONGEST {
            return Err(Stop::Enough);
        }
        self.calls += 1;
        Ok(call.await)
    }

    /// As [`Self::ask`], where every refusal ends the visit.
    async fn get<T>(&mut self, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, Stop> {
        Ok(self.ask(call).await??)
    }

    /// A call that an archived or locked thread refuses: the thread is opened for it. That a thread was archived because
    /// nobody wrote there, or by somebody's hand, closes no ticket.
    async fn ask_in_thread<T, F>(
        &mut self,
        channel: u64,
        call: impl Fn() -> F,
    ) -> Result<Result<T, ApiError>, Stop>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        if self.thread.archived {
            self.open(channel).await?;
        }
        match self.ask(call()).await? {
            Err(ApiError::Archived(_) | ApiError::Locked(_)) => {
                self.open(channel).await?;
                self.ask(call()).await
            }
            other => Ok(other),
        }
    }

    // ---- what is there already

    /// A message of ours that is there although nobody wrote it down. Looked for only where a nonce may be forgotten:
    /// something that is due since less than that can only have been tried while Discord still knew its nonce.
    async fn find_posted(
        &mut self,
        channel: u64,
        content: &str,
        since: DateTime<Utc>,
    ) -> Result<Option<u64>, Stop> {
        if self.deliver.clock.now() - since < NONCE_HOLDS {
            return Ok(None);
        }
        if self.unrecorded.is_none() {
            let last = threads::last_post(&self.deliver.db, self.thread.id).await?;
            let found = self.ours_after(channel, last.unwrap_or(channel)).await?;
            self.unrecorded = Some(found);
        }
        let list = self.unrecorded.get_or_insert_default();
        let place = list.iter().position(|message| message.content.trim() == content.trim());
        Ok(place.map(|place| list.remove(place).id))
    }

    async fn ours_after(&mut self, channel: u64, after: u64) -> Result<Vec<said::Message>, Stop> {
        let (api, mut after, mut found) = (self.api, after, Vec::new());
        for _ in 0..MOST_PAGES {
            let page = self.get(api.messages_after(channel, after)).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            found.extend(
                page.into_iter().filter(|message| message.author.is_bot && message.webhook.is_none()),
            );
        }
        Ok(found)
    }

    fn retry(why: &'static str) -> Stop {
        Stop::Job(JobError::Retry(anyhow!(why)))
    }
}
