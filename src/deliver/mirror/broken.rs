//! A thread in which nothing can be shown: the ticket says so, and so does a message where staff see it, with a button
//! that repairs it.

use super::{Stop, Visit};
use crate::crash;
use crate::discord::api::{ApiError, Kind};
use crate::discord::card as cards;
use crate::discord::message::Message;
use crate::discord::words;
use crate::queue::{Claimed, Done, JobError};
use crate::tickets::threads::{self, Audience};

impl Visit<'_> {
    /// Nothing can be shown there before a person acts. The jobs that this wakes tell staff: this thread's by a message,
    /// the other thread's on its card.
    pub(super) async fn breaks(self, job: &Claimed, why: &str) -> Result<Done, JobError> {
        let now = self.deliver.clock.now();
        let mut tx = self.deliver.db.begin().await?;
        threads::broke(&mut tx, &self.thread, why, now).await?;
        threads::changed(&mut tx, self.thread.ticket, now).await?;
        crash::point("mirror.before_broken");
        let done = job.done(tx).await?;
        metrics::counter!("ticketd_discord_threads_broken_total").increment(1);
        tracing::warn!(
            ticket.id = self.thread.ticket.0,
            thread.id = self.thread.id.0,
            "a thread of ticket #{} can't be shown in Discord any more; it waits for a repair",
            self.thread.ticket
        );
        Ok(done)
    }

    /// Tells staff of a broken thread, once, as well as that goes: what counts is the event on the ticket.
    pub(super) async fn tell(mut self, job: &Claimed) -> Result<Done, JobError> {
        let db = &self.deliver.db;
        if threads::is_told(db, self.thread.id).await? {
            return job.done(db.begin().await?).await;
        }
        let gone = match self.look_and_tell().await {
            Ok(gone) => gone,
            Err(Stop::Job(error)) if !job.is_last(self.deliver.clock.now()) => return Err(error),
            Err(stop) => {
                tracing::warn!(
                    thread.id = self.thread.id.0,
                    ?stop,
                    "cannot tell staff in Discord of a broken thread"
                );
                false
            }
        };
        crash::point("mirror.told");
        let mut tx = db.begin().await?;
        threads::told(&mut tx, &self.thread, gone, self.deliver.clock.now()).await?;
        job.done(tx).await
    }

    /// Whether the thread is gone, not only shut to us.
    async fn look_and_tell(&mut self) -> Result<bool, Stop> {
        let (api, parent) = (self.api, self.config.staff_channel_id);
        let gone = match self.thread.channel {
            Some(channel) => {
                let there = self.ask(api.channel(channel)).await?;
                matches!(there, Err(error @ ApiError::Gone(_)) if error.breaks_thread())
            }
            None => false,
        };
        if gone
            && self.thread.audience == Audience::Staff
            && self.thread.card == self.thread.channel
            && let Some(card) = self.thread.card
        {
            // A card without its thread misleads. In a forum it went with the thread.
            lasting(self.ask(api.delete(parent, card)).await?)?;
        }
        let why = self.thread.broken.clone().unwrap_or_default();
        let message =
            cards::with_repair(&words::thread_broken(self.thread.ticket.0, &why), &self.thread.handle);
        if !self.tell_in_staff_thread(&message).await? {
            self.tell_in_staff_channel(&message).await?;
        }
        Ok(gone)
    }

    /// Of the requester's thread. False: not there.
    async fn tell_in_staff_thread(&mut self, message: &Message) -> Result<bool, Stop> {
        if self.thread.audience == Audience::Staff {
            return Ok(false);
        }
        let of_ticket = threads::of_ticket(&self.deliver.db, self.thread.ticket).await?;
        let staff = of_ticket.into_iter().find(|thread| thread.audience == Audience::Staff);
        let open = staff.filter(|thread| thread.broken.is_none() && !thread.archived);
        let Some(channel) = open.and_then(|thread| thread.channel) else { return Ok(false) };
        let (api, nonce) = (self.api, self.broken_nonce());
        let told = self.ask(api.post(channel, message, Some(&nonce), &[])).await?;
        Ok(lasting(told)?.is_some())
    }

    async fn tell_in_staff_channel(&mut self, message: &Message) -> Result<(), Stop> {
        let (api, parent, nonce) = (self.api, self.config.staff_channel_id, self.broken_nonce());
        let above = lasting(self.ask(api.channel(parent)).await?)?;
        let told = if above.is_some_and(|channel| channel.kind == Kind::Forum) {
            let title = words::broken_title(self.thread.ticket.0);
            lasting(self.ask(api.forum_post(parent, &title, &[], message, &[])).await?)?
        } else {
            lasting(self.ask(api.post(parent, message, Some(&nonce), &[])).await?)?
        };
        if told.is_none() {
            tracing::warn!(
                thread.id = self.thread.id.0,
                "Discord does not let us tell staff of a broken thread"
            );
        }
        Ok(())
    }

    /// The same for one cause: its wording changes with it.
    fn broken_nonce(&self) -> String {
        let why = self.thread.broken.as_deref().unwrap_or_default();
        let sum = why.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        format!("b{}.{sum:x}", self.thread.id)
    }
}

/// What comes back is worth another attempt; what is refused for good is `None`.
fn lasting<T>(result: Result<T, ApiError>) -> Result<Option<T>, Stop> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(ApiError::Unauthorized(refusal)) => Err(ApiError::Unauthorized(refusal).into()),
        Err(_refused) => Ok(None),
    }
}
