//! Posts what was written, in order, and shows anew what was changed since.

use chrono::{DateTime, Utc};

use super::render::{self, Part, Source};
use super::{Stop, Visit};
use crate::crash;
use crate::discord::api::ApiError;
use crate::discord::message::File;
use crate::discord::words;
use crate::tickets::outbox;
use crate::tickets::threads::{self, Relay};

impl Visit<'_> {
    /// Posts the relays that are due, oldest first, until there are none.
    pub(super) async fn post_due(&mut self, channel: u64) -> Result<(), Stop> {
        loop {
            self.as_of = self.deliver.clock.now();
            let due = threads::due_relays(&self.deliver.db, self.thread.id, self.as_of).await?;
            if due.is_empty() {
                return Ok(());
            }
            for relay in due {
                self.post_relay(channel, &relay).await?;
            }
        }
    }

    async fn post_relay(&mut self, channel: u64, relay: &Relay) -> Result<(), Stop> {
        let since = relay.created_at;
        for part in self.parts(relay).await? {
            if relay.posts.contains_key(&part.position) {
                continue;
            }
            let nonce = format!("{}.{}", relay.delivery, part.position);
            if let Err(error) = self.post_part(channel, relay, &part, &nonce, since).await? {
                // Discord does not take it as it is, and never will: staff see that, and the next one goes on.
                let (db, now) = (&self.deliver.db, self.deliver.clock.now());
                threads::unpostable(db, self.thread.ticket, relay.delivery, &error.to_string(), now).await?;
                self.count("unpostable", relay);
                return Ok(());
            }
        }
        crash::point("mirror.posted_whole");
        threads::relayed(&self.deliver.db, relay, self.deliver.clock.now()).await?;
        crash::point("mirror.relayed");
        self.count("relayed", relay);
        Ok(())
    }

    async fn parts(&self, relay: &Relay) -> Result<Vec<Part>, Stop> {
        let files = outbox::files(&self.deliver.db, relay.message).await?;
        Ok(render::parts(self.thread.audience, &self.staff_handle, relay, files))
    }

    /// The inner error: what it is can't be posted.
    async fn post_part(
        &mut self,
        channel: u64,
        relay: &Relay,
        part: &Part,
        nonce: &str,
        since: DateTime<Utc>,
    ) -> Result<Result<(), ApiError>, Stop> {
        let message = match self.find_posted(channel, &part.message.content, since).await? {
            Some(message) => message,
            None => match self.send(channel, part, nonce).await? {
                Ok(message) => message,
                Err(error @ ApiError::Invalid(_)) => return Ok(Err(error)),
                Err(error) => return Err(error.into()),
            },
        };
        crash::point("mirror.part_posted");
        threads::posted(&self.deliver.db, relay.delivery, part.position, message).await?;
        crash::point("mirror.part_recorded");
        Ok(Ok(()))
    }

    /// Where it is refused with its files, because the server takes smaller ones than others do, it goes without them.
    async fn send(&mut self, channel: u64, part: &Part, nonce: &str) -> Result<Result<u64, ApiError>, Stop> {
        let api = self.api;
        let Some(files) = self.enclosed(part).await? else {
            return self.send_without_files(channel, part, nonce).await;
        };
        let sent =
            self.ask_in_thread(channel, || api.post(channel, &part.message, Some(nonce), &files)).await?;
        match sent {
            Err(ApiError::Invalid(_) | ApiError::Server(413)) if !part.files.is_empty() => {
                self.send_without_files(channel, part, nonce).await
            }
            other => Ok(other),
        }
    }

    async fn send_without_files(
        &mut self,
        channel: u64,
        part: &Part,
        nonce: &str,
    ) -> Result<Result<u64, ApiError>, Stop> {
        let names: Vec<(String, usize)> =
            part.files.iter().map(|file| (file.name.clone(), file.size)).collect();
        let mut message = part.message.clone();
        let foot = words::files_not_shown(&names);
        let room = crate::discord::message::LONGEST_CONTENT.saturating_sub(foot.chars().count() + 1);
        let text = crate::discord::text::split(&message.content, room).into_iter().next();
        message.content = format!("{}\n{foot}", text.unwrap_or_default());
        let (api, nonce) = (self.api, format!("{nonce}.t"));
        self.ask_in_thread(channel, || api.post(channel, &message, Some(&nonce), &[])).await
    }

    /// The files of a part with their bytes. `None`: one of them is gone or damaged, and a thread must not wait for ever.
    async fn enclosed(&self, part: &Part) -> Result<Option<Vec<File>>, Stop> {
        let mut files = Vec::new();
        for file in &part.files {
            let bytes = match &file.content {
                Source::Text(text) => text.clone().into(),
                Source::Kept(sha256) => match self.deliver.files.read(*sha256).await {
                    Ok(bytes) => bytes,
                    Err(error) if error.may_pass() => return Err(Stop::Job(error.into())),
                    Err(error) => {
                        let error = format!("{:#}", anyhow::Error::from(error));
                        tracing::error!(
                            error,
                            ticket.id = self.thread.ticket.0,
                            "a file is not shown in Discord"
                        );
                        return Ok(None);
                    }
                },
            };
            files.push(File { name: file.name.clone(), content_type: file.content_type.clone(), bytes });
        }
        Ok(Some(files))
    }

    /// Shows anew what was posted and is out of date.
    pub(super) async fn refresh_stale(&mut self, channel: u64) -> Result<(), Stop> {
        loop {
            let stale = threads::stale_relays(&self.deliver.db, self.thread.id, self.as_of).await?;
            if stale.is_empty() {
                return Ok(());
            }
            for relay in stale {
                self.refresh(channel, &relay).await?;
                crash::point("mirror.refreshed");
                threads::refreshed(&self.deliver.db, &relay).await?;
            }
        }
    }

    async fn refresh(&mut self, channel: u64, relay: &Relay) -> Result<(), Stop> {
        let parts = self.parts(relay).await?;
        let since = relay.refresh_at.unwrap_or(self.as_of);
        let (api, is_gone) = (self.api, parts.iter().all(|part| !part.is_files()));
        for part in parts.iter().filter(|part| !part.is_files()) {
            let Some(post) = relay.posts.get(&part.position).copied() else {
                if relay.posts.is_empty() {
                    // It was never shown here.
                    continue;
                }
                // The text became longer. Another nonce than an earlier one at this place, which may be deleted.
                let nonce = format!("{}.{}.{:x}", relay.delivery, part.position, since.timestamp());
                self.post_part(channel, relay, part, &nonce, since).await?.ok();
                continue;
            };
            match self.ask_in_thread(channel, || api.edit(channel, post, &part.message)).await? {
                Ok(()) => {}
                // Somebody took it away here, and it stays away.
                Err(error @ ApiError::Gone(_)) if !error.breaks_thread() => {}
                Err(error @ ApiError::Invalid(_)) => {
                    tracing::error!(%error, delivery.id = relay.delivery.0, "Discord refuses an edit");
                }
                Err(error) => return Err(error.into()),
            }
            crash::point("mirror.edited");
        }
        for (position, post) in &relay.posts {
            let kept = parts.iter().any(|part| part.position == *position);
            if kept || (render::is_files(*position) && !is_gone) {
                continue;
            }
            self.ask_in_thread(channel, || api.delete(channel, *post)).await??;
            crash::point("mirror.deleted");
            threads::unposted(&self.deliver.db, relay.delivery, *position).await?;
        }
        Ok(())
    }

    fn count(&self, outcome: &'static str, relay: &Relay) {
        metrics::counter!("ticketd_deliveries_total", "outcome" => outcome).increment(1);
        tracing::info!(
            ticket.id = self.thread.ticket.0,
            delivery.id = relay.delivery.0,
            outcome,
            "message {} of ticket #{} in Discord: {outcome}",
            relay.message,
            self.thread.ticket
        );
    }
}
