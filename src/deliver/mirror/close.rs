//! Archives and locks a thread when its ticket is closed, and opens it again.

use chrono::{DateTime, TimeDelta, Utc};

use super::{NONCE_HOLDS, Stop, Visit};
use crate::crash;
use crate::discord::api::{ApiError, ThreadChange};
use crate::discord::message::{File, LARGEST_FILE, Message};
use crate::discord::{first_id_at, words};
use crate::tickets::read::{self, Sight};
use crate::tickets::threads::{self, Audience};
use crate::tickets::transcript;

/// Our clock may be ahead of Discord's by less than this; two closings of a ticket are further apart.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

impl Visit<'_> {
    pub(super) async fn open(&mut self, channel: u64) -> Result<(), Stop> {
        let change = ThreadChange { archived: Some(false), locked: Some(false), ..ThreadChange::default() };
        let api = self.api;
        self.get(api.update_thread(channel, &change)).await?;
        crash::point("mirror.opened");
        threads::set_archived(&self.deliver.db, self.thread.id, false).await?;
        self.thread.archived = false;
        Ok(())
    }

    /// The last call there is: whatever comes after it would open the thread again.
    pub(super) async fn close(&mut self, channel: u64) -> Result<(), Stop> {
        if self.thread.archived {
            return Ok(());
        }
        if self.config.transcript_on_close {
            self.post_transcript(channel).await?;
        }
        self.say_good_bye(channel).await?;
        let change = ThreadChange { archived: Some(true), locked: Some(true), ..ThreadChange::default() };
        let api = self.api;
        self.ask_in_thread(channel, || api.update_thread(channel, &change)).await??;
        crash::point("mirror.archived");
        threads::set_archived(&self.deliver.db, self.thread.id, true).await?;
        self.thread.archived = true;
        Ok(())
    }

    /// Tells the requester how to go on, once for each time that the ticket is closed.
    async fn say_good_bye(&mut self, channel: u64) -> Result<(), Stop> {
        let Some(closed) = self.setting.closed_at.filter(|_| self.thread.audience == Audience::Requester)
        else {
            return Ok(());
        };
        let message = Message::text(words::thread_closes(self.thread.ticket.0));
        if self.was_said_at_closing(channel, &message, closed).await? {
            return Ok(());
        }
        let nonce = format!("g{}.{:x}", self.thread.id, closed.timestamp());
        let api = self.api;
        self.ask_in_thread(channel, || api.post(channel, &message, Some(&nonce), &[])).await??;
        crash::point("mirror.said_good_bye");
        Ok(())
    }

    /// The conversation as a file, once for each time that the ticket is closed; the requester's without what is internal.
    async fn post_transcript(&mut self, channel: u64) -> Result<(), Stop> {
        let Some(closed) = self.setting.closed_at else { return Ok(()) };
        let (ticket, for_staff) = (self.thread.ticket, self.thread.audience == Audience::Staff);
        let mut message = Message::text(words::transcript_attached(ticket.0));
        if self.was_said_at_closing(channel, &message, closed).await? {
            return Ok(());
        }
        let db = &self.deliver.db;
        let Some(summary) = read::ticket(db, Sight::All, ticket).await? else { return Ok(()) };
        let page = transcript::document(db, &summary, for_staff, self.deliver.clock.now()).await?;
        let mut files = Vec::new();
        if page.len() > LARGEST_FILE {
            message = Message::text(words::transcript_too_large(ticket.0));
            if self.was_said_at_closing(channel, &message, closed).await? {
                return Ok(());
            }
        } else {
            files.push(File {
                name: transcript::file_name(&summary),
                content_type: Some("text/html".to_owned()),
                bytes: page.into(),
            });
        }
        let nonce = format!("t{}.{:x}", self.thread.id, closed.timestamp());
        let api = self.api;
        match self.ask_in_thread(channel, || api.post(channel, &message, Some(&nonce), &files)).await? {
            Ok(_message) => {}
            Err(error @ (ApiError::Invalid(_) | ApiError::Server(413))) => {
                // A thread that stays open for want of a file would be worse than one without it.
                tracing::warn!(%error, thread.id = self.thread.id.0, "Discord does not take a transcript");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether it stands there since this closing, which is looked at only when Discord may have forgotten the nonce.
    async fn was_said_at_closing(
        &mut self,
        channel: u64,
        message: &Message,
        closed: DateTime<Utc>,
    ) -> Result<bool, Stop> {
        if self.deliver.clock.now() - closed < NONCE_HOLDS {
            return Ok(false);
        }
        let since = self.ours_after(channel, first_id_at(closed - CLOCKS_DIFFER)).await?;
        Ok(since.iter().any(|earlier| earlier.content.trim() == message.content.trim()))
    }
}
