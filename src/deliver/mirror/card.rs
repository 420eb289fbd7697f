//! The card at the head of a thread: facts for staff, the greeting for the requester.

use super::{Stop, Visit};
use crate::crash;
use crate::discord::api::{ApiError, Kind, Tag, ThreadChange};
use crate::discord::card::{self as cards, CardFacts};
use crate::discord::message::Message;
use crate::discord::words;
use crate::tickets::outbox;
use crate::tickets::threads::{self, Audience};
use crate::tickets::{Priority, Status};

/// Tags of one post in a forum.
const MOST_TAGS: usize = 5;

impl Visit<'_> {
    /// Shows the card as it is now, where it looks different.
    pub(super) async fn show_card(&mut self, channel: u64) -> Result<(), Stop> {
        let (message, hash) = self.card().await?;
        if self.thread.card.is_some() && self.thread.card_hash.as_deref() == Some(hash.as_slice()) {
            return Ok(());
        }
        let Some(place) = self.place(channel).await? else {
            return self.post_card_in_thread(channel, &message, &hash).await;
        };
        let api = self.api;
        let edited = if place.channel == channel {
            self.ask_in_thread(channel, || api.edit(place.channel, place.card, &message)).await?
        } else {
            self.ask(api.edit(place.channel, place.card, &message)).await?
        };
        crash::point("mirror.card_edited");
        match edited {
            Ok(()) => {}
            Err(error @ ApiError::Gone(_)) if !error.breaks_thread() => {
                // Somebody deleted it. The thread is there, so the card goes into it.
                return self.post_card_in_thread(channel, &message, &hash).await;
            }
            Err(error @ ApiError::Invalid(_)) => {
                // A fault of ours; what people wrote must come through all the same.
                tracing::error!(%error, thread.id = self.thread.id.0, "Discord refuses a card");
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(tags) = &place.tags {
            self.show_tags(channel, tags).await?;
        }
        self.card_shown(place.card, &hash).await?;
        crash::point("mirror.card_edit_recorded");
        Ok(())
    }

    async fn post_card_in_thread(
        &mut self,
        channel: u64,
        message: &Message,
        hash: &[u8],
    ) -> Result<(), Stop> {
        let api = self.api;
        let begun = self.thread.begun_at.unwrap_or_else(|| self.deliver.clock.now());
        let card = match self.find_posted(channel, &message.content, begun).await? {
            Some(card) if self.thread.card.is_none() => card,
            _ => {
                // In place of one that was deleted: another nonce, or Discord answers with the deleted one.
                let lost =
                    self.thread.card.map_or_else(String::new, |card| format!(".{:x}", card & 0xffff_ffff));
                let nonce: String = format!("{}{lost}", self.card_nonce()).chars().take(25).collect();
                self.ask_in_thread(channel, || api.post(channel, message, Some(&nonce), &[])).await??
            }
        };
        crash::point("mirror.card_posted_in_thread");
        self.card_shown(card, hash).await?;
        Ok(())
    }

    pub(super) async fn card_shown(&mut self, card: u64, hash: &[u8]) -> Result<(), Stop> {
        threads::card_shown(&self.deliver.db, self.thread.id, card, hash).await?;
        self.thread.card = Some(card);
        self.thread.card_hash = Some(hash.to_vec());
        Ok(())
    }

    /// Where the card is; `None`: nowhere yet. A thread that was made from a message has its id, and that message stands
    /// in the channel above.
    async fn place(&mut self, channel: u64) -> Result<Option<Place>, Stop> {
        if self.thread.audience == Audience::Requester {
            return Ok(self.thread.card.map(|card| Place { channel, card, tags: None }));
        }
        let (api, parent) = (self.api, self.config.staff_channel_id);
        let above = self.get(api.channel(parent)).await?;
        if above.kind == Kind::Forum {
            // The first message of a post has the post's id, even if that was not written down.
            let card = self.thread.card.unwrap_or(channel);
            return Ok(Some(Place { channel, card, tags: Some(above.tags) }));
        }
        Ok(self.thread.card.map(|card| {
            let place = if card == channel { parent } else { channel };
            Place { channel: place, card, tags: None }
        }))
    }

    /// Marks the post with the tags of its status and priority; what people marked it with stays.
    async fn show_tags(&mut self, channel: u64, tags: &[Tag]) -> Result<(), Stop> {
        let fitting = self.fitting_tags(tags);
        let is_ours = |id: &u64| tags.iter().any(|tag| tag.id == *id && is_state(&tag.name));
        if !tags.iter().any(|tag| is_state(&tag.name)) {
            return Ok(());
        }
        let api = self.api;
        let thread = self.get(api.channel(channel)).await?;
        let others = thread.applied_tags.iter().copied().filter(|tag| !is_ours(tag));
        let wanted: Vec<u64> = fitting.iter().copied().chain(others).take(MOST_TAGS).collect();
        let same = wanted.len() == thread.applied_tags.len()
            && wanted.iter().all(|tag| thread.applied_tags.contains(tag));
        if !same {
            let change = ThreadChange { applied_tags: Some(wanted), ..ThreadChange::default() };
            self.ask_in_thread(channel, || api.update_thread(channel, &change)).await??;
        }
        Ok(())
    }

    /// The forum's tags that are named as the ticket's status and priority.
    pub(super) fn fitting_tags(&self, tags: &[Tag]) -> Vec<u64> {
        let names = [self.setting.status.as_str(), self.setting.priority.as_str()];
        let fits = |tag: &&Tag| names.iter().any(|name| tag.name.trim().eq_ignore_ascii_case(name));
        tags.iter().filter(fits).map(|tag| tag.id).take(MOST_TAGS).collect()
    }

    /// The card and the hash of how it looks.
    pub(super) async fn card(&self) -> Result<(Message, Vec<u8>), Stop> {
        let message = match self.thread.audience {
            Audience::Staff => self.card_for_staff().await?,
            Audience::Requester => self.greeting(),
        };
        let hash = message.rendering().into_bytes();
        Ok((message, hash))
    }

    fn greeting(&self) -> Message {
        let (ticket, subject) = (self.thread.ticket.0, &self.setting.subject);
        // What was asked for follows as a message of its own, with its files.
        match self.setting.requester {
            Some(requester) => cards::greeting(ticket, subject, requester, ""),
            None => Message::text(words::ticket_head(ticket, subject)).without_previews(),
        }
    }

    async fn card_for_staff(&self) -> Result<Message, Stop> {
        let (ticket, setting) = (self.thread.ticket, &self.setting);
        let facts = outbox::facts(&self.deliver.db, ticket).await?;
        let link = self.deliver.config.http.public_url.as_ref();
        let link = link.map(|url| format!("{}/api/tickets/{ticket}", url.trim_end_matches('/')));
        let facts = CardFacts {
            handle: self.staff_handle.clone(),
            number: ticket.0,
            subject: setting.subject.clone(),
            requester: setting.requester_name.clone(),
            channel: setting.channel.clone(),
            status: setting.status.as_str().to_owned(),
            priority: setting.priority.clone(),
            category: facts.category,
            skills: facts.skills,
            assignee: setting.assignee_name.clone(),
            reason: facts.reason,
            language: facts.language,
            engine: facts.engine,
            notes: facts.notes,
            suggested_reply: facts.suggested_reply,
            link,
            related_to: facts.related_to.map(|ticket| ticket.0),
        };
        let mut message = cards::card(&facts);
        // By it the card is found again, should it not have been written down.
        message.content = format!("**#{ticket}**");
        if let Some(why) = &setting.requester_thread_broken {
            message.content = format!("{}\n{}", message.content, words::requester_thread_broken(why));
        }
        Ok(message)
    }
}

struct Place {
    channel: u64,
    card: u64,
    /// Of the forum it is in.
    tags: Option<Vec<Tag>>,
}

/// Whether a tag is named as a status or a priority, and so is ours to set.
fn is_state(name: &str) -> bool {
    let names = Status::ALL.map(Status::as_str).into_iter().chain(Priority::ALL.map(Priority::as_str));
    names.into_iter().any(|known| name.trim().eq_ignore_ascii_case(known))
}
