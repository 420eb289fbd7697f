//! Makes a thread where there is none, and lets people into it.

use chrono::{DateTime, Utc};

use super::{CLOCKS_DIFFER, NONCE_HOLDS, Stop, Visit};
use crate::crash;
use crate::discord::api::{ApiError, Kind};
use crate::discord::message::Message;
use crate::discord::text::thread_name;
use crate::discord::{check, created_at, first_id_at, words};
use crate::tickets::threads::{self, Audience};

impl Visit<'_> {
    /// The thread's id in Discord.
    pub(super) async fn make(&mut self) -> Result<u64, Stop> {
        if let Some(channel) = self.thread.channel {
            return Ok(channel);
        }
        let now = self.deliver.clock.now();
        let earlier = self.thread.begun_at;
        let begun = threads::begin(&self.deliver.db, self.thread.id, now).await?;
        self.thread.begun_at = Some(begun);
        crash::point("mirror.begun");
        let channel = match self.thread.audience {
            Audience::Requester => self.make_private(earlier).await?,
            Audience::Staff => {
                let parent = self.config.staff_channel_id;
                let api = self.api;
                let channel = self.get(api.channel(parent)).await?;
                let guild = self.get(api.guild(self.config.guild_id)).await?;
                if check::everybody_sees(&guild, &channel) {
                    // Notes, addresses and what a machine thinks of people are not for all of them.
                    return Err(Stop::Broken(words::everybody_sees(&channel.name)));
                }
                match channel.kind {
                    Kind::Forum => self.make_post(&channel.tags, earlier).await?,
                    _ => self.make_of_card(parent, begun).await?,
                }
            }
        };
        crash::point("mirror.made");
        threads::made(&self.deliver.db, self.thread.id, channel).await?;
        crash::point("mirror.made_recorded");
        self.thread.channel = Some(channel);
        tracing::info!(
            ticket.id = self.thread.ticket.0,
            thread.id = self.thread.id.0,
            "ticket #{} is shown in Discord",
            self.thread.ticket
        );
        Ok(channel)
    }

    /// In a text channel: the card, and a thread from it. Both can be repeated.
    async fn make_of_card(&mut self, parent: u64, begun: DateTime<Utc>) -> Result<u64, Stop> {
        let name = self.name();
        let card = match self.thread.card {
            Some(card) => card,
            None => self.post_card(parent, begun).await?,
        };
        let api = self.api;
        match self.ask(api.thread_from_message(parent, card, &name)).await? {
            Err(error @ ApiError::Gone(_)) if !error.breaks_thread() => {
                // Somebody deleted the card before it had a thread. The next attempt posts another one.
                let now = self.deliver.clock.now();
                threads::begin_anew(&self.deliver.db, self.thread.id, now).await?;
                Err(Self::retry("the card was deleted before its thread was made"))
            }
            other => Ok(other?),
        }
    }

    async fn post_card(&mut self, parent: u64, begun: DateTime<Utc>) -> Result<u64, Stop> {
        let (message, hash) = self.card().await?;
        let api = self.api;
        let mut found = None;
        if self.deliver.clock.now() - begun >= NONCE_HOLDS {
            found = self.find_card(parent, &message, begun).await?;
        }
        let card = if let Some(card) = found {
            card
        } else {
            let nonce = self.card_nonce();
            self.get(api.post(parent, &message, Some(&nonce), &[])).await?
        };
        crash::point("mirror.card_posted");
        self.card_shown(card, &hash).await?;
        crash::point("mirror.card_recorded");
        Ok(card)
    }

    /// A card that was posted and not written down, when Discord may have forgotten its nonce.
    async fn find_card(
        &mut self,
        parent: u64,
        card: &Message,
        begun: DateTime<Utc>,
    ) -> Result<Option<u64>, Stop> {
        let since = first_id_at(begun - CLOCKS_DIFFER);
        let ours = self.ours_after(parent, since).await?;
        let same = ours.iter().find(|message| message.content.trim() == card.content.trim());
        Ok(same.map(|message| message.id))
    }

    /// Another one after a repair: what the first one stood for may be deleted.
    pub(super) fn card_nonce(&self) -> String {
        let begun = self.thread.begun_at.map_or(0, |at| at.timestamp());
        format!("c{}.{begun:x}", self.thread.id)
    }

    /// In a forum: a post, whose first message is the card.
    async fn make_post(
        &mut self,
        tags: &[crate::discord::api::Tag],
        earlier: Option<DateTime<Utc>>,
    ) -> Result<u64, Stop> {
        let parent = self.config.staff_channel_id;
        if let Some(found) = self.find_thread(parent, earlier).await? {
            return Ok(found);
        }
        let (message, _) = self.card().await?;
        let (api, name, tags) = (self.api, self.name(), self.fitting_tags(tags));
        self.get(api.forum_post(parent, &name, &tags, &message, &[])).await
    }

    async fn make_private(&mut self, earlier: Option<DateTime<Utc>>) -> Result<u64, Stop> {
        let parent = self.config.support_channel_id;
        if let Some(found) = self.find_thread(parent, earlier).await? {
            return Ok(found);
        }
        let (api, name) = (self.api, self.name());
        self.get(api.private_thread(parent, &name)).await
    }

    /// A thread that an earlier attempt made and did not write down. Making one can't be repeated: two would stand there.
    async fn find_thread(
        &mut self,
        parent: u64,
        earlier: Option<DateTime<Utc>>,
    ) -> Result<Option<u64>, Stop> {
        let Some(earlier) = earlier else { return Ok(None) };
        let api = self.api;
        let prefix = format!("#{} ", self.thread.ticket);
        let active = self.get(api.active_threads(self.config.guild_id)).await?;
        for thread in active {
            let is_named = format!("{} ", thread.name).starts_with(&prefix);
            let is_young = created_at(thread.id) >= earlier - CLOCKS_DIFFER;
            if thread.parent == Some(parent)
                && is_named
                && is_young
                && threads::by_channel(&self.deliver.db, thread.id).await?.is_none()
            {
                return Ok(Some(thread.id));
            }
        }
        Ok(None)
    }

    fn name(&self) -> String {
        thread_name(self.thread.ticket.0, &self.setting.subject)
    }

    /// The requester, then the assignee where Discord knows them.
    pub(super) async fn let_in(&mut self, channel: u64) -> Result<(), Stop> {
        // The greeting comes first: who is let in finds it there.
        if self.thread.card.is_none() {
            self.show_card(channel).await?;
        }
        if let Some(user) = self.setting.requester {
            match self.let_one_in(channel, user).await? {
                Err(error @ (ApiError::Forbidden(_) | ApiError::Gone(_))) if !is_thread_gone(&error) => {
                    return Err(Stop::Broken(words::requester_away(&error.to_string())));
                }
                other => other?,
            }
        }
        if let Some(user) = self.setting.assignee {
            match self.let_one_in(channel, user).await? {
                Err(error @ (ApiError::Forbidden(_) | ApiError::Gone(_))) if !is_thread_gone(&error) => {
                    // They have the ticket all the same, in the staff thread.
                    tracing::info!(%error, thread.id = self.thread.id.0, "cannot let the assignee into a thread");
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Whoever went away while the thread was archived is let in again, which does no harm to those who stayed. Who is
    /// not meant to be there is not forgotten, and so is let out.
    pub(super) async fn forget_who_was_let_in(&mut self) -> Result<(), Stop> {
        let entitled = &self.setting.entitled;
        let (again, kept): (Vec<u64>, Vec<u64>) =
            self.thread.members.iter().partition(|user| entitled.contains(user));
        for user in again {
            threads::left(&self.deliver.db, self.thread.id, user).await?;
        }
        self.thread.members = kept;
        Ok(())
    }

    /// Who has the ticket no more, or is staff no more, reads no further.
    pub(super) async fn let_out(&mut self, channel: u64) -> Result<(), Stop> {
        let entitled = &self.setting.entitled;
        let surplus: Vec<u64> =
            self.thread.members.iter().copied().filter(|user| !entitled.contains(user)).collect();
        for user in surplus {
            let api = self.api;
            self.ask_in_thread(channel, || api.remove_member(channel, user)).await??;
            crash::point("mirror.let_out");
            threads::left(&self.deliver.db, self.thread.id, user).await?;
            self.thread.members.retain(|member| *member != user);
        }
        Ok(())
    }

    async fn let_one_in(&mut self, channel: u64, user: u64) -> Result<Result<(), ApiError>, Stop> {
        if self.thread.members.contains(&user) {
            return Ok(Ok(()));
        }
        let api = self.api;
        if let Err(error) = self.ask_in_thread(channel, || api.add_member(channel, user)).await? {
            return Ok(Err(error));
        }
        crash::point("mirror.let_in");
        threads::joined(&self.deliver.db, self.thread.id, user).await?;
        self.thread.members.push(user);
        Ok(Ok(()))
    }
}

fn is_thread_gone(error: &ApiError) -> bool {
    matches!(error, ApiError::Gone(_)) && error.breaks_thread()
}
