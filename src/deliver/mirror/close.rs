//! Archives and locks a thread when its ticket is closed, and opens it again.

use chrono::TimeDelta;

use super::{NONCE_HOLDS, Stop, Visit};
use crate::crash;
use crate::discord::api::ThreadChange;
use crate::discord::message::Message;
use crate::discord::{first_id_at, words};
use crate::tickets::threads::{self, Audience};

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
        if self.deliver.clock.now() - closed >= NONCE_HOLDS {
            let since = self.ours_after(channel, first_id_at(closed - CLOCKS_DIFFER)).await?;
            if since.iter().any(|earlier| earlier.content.trim() == message.content.trim()) {
                return Ok(());
            }
        }
        let nonce = format!("g{}.{:x}", self.thread.id, closed.timestamp());
        let api = self.api;
        self.ask_in_thread(channel, || api.post(channel, &message, Some(&nonce), &[])).await??;
        crash::point("mirror.said_good_bye");
        Ok(())
    }
}
