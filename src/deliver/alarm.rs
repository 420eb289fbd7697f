//! Tells admins of an alarm, and that it is over: by mail, and in Discord's staff channel.
//!
//! Every telling is a row that is fixed before the first attempt, with the Message-ID and date of its mail: what failed is
//! tried again by itself, what was told is not told again, and a second copy after a crash is recognizable as one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::future::join_all;
use sqlx::PgPool;

use super::mailer::Mailer;
use super::words::alarm as words;
use crate::alarms::{self, Alarm, Channel, Notice, Phase};
use crate::clock::Clock;
use crate::config::{Config, Mailbox};
use crate::discord::api::{Api, ApiError, Kind};
use crate::discord::check;
use crate::discord::message::Message;
use crate::mail::compose::{self, Automatic, Outgoing};
use crate::mail::token::Signer;
use crate::people;
use crate::queue::{Claimed, Done, JobError};
use crate::tickets::outbox::{self, Attempt};

/// A server that takes longer is asked again, so that the other readers are told meanwhile.
const LONGEST_TRY: Duration = Duration::from_mins(1);

/// Tells of alarms.
#[derive(Clone, Debug)]
pub struct Alarms {
    pub db: PgPool,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub signer: Signer,
    pub mailer: Arc<Mailer>,
    /// `None`: Discord is not configured.
    pub discord: Option<Arc<Api>>,
}

/// What became of one telling.
enum Told {
    Yes,
    /// It never will be.
    Never(String),
    NotNow(String),
}

impl Alarms {
    /// Tells whoever is still to be told, by every channel at once.
    pub async fn run(&self, job: &Claimed) -> Result<Done, JobError> {
        loop {
            let Some(alarm) = alarms::alarm(&self.db, job.subject).await? else {
                return job.done(self.db.begin().await?).await;
            };
            let phase = if alarm.cleared_at.is_some() { Phase::Cleared } else { Phase::Raised };
            let readers = self.readers(&alarm).await?;
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            let notices = alarms::plan(&mut tx, &alarm, phase, &readers, now).await?;
            tx.commit().await?;
            let telling = notices.iter().map(|notice| self.tell(&alarm, phase, notice));
            let failures: Vec<String> = join_all(telling)
                .await
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect();
            if let Some(first) = failures.first() {
                if !job.is_last(self.clock.now()) {
                    return Err(JobError::Retry(anyhow!("{} not told: {first}", failures.len())));
                }
                tracing::error!(
                    alarm.id = alarm.id,
                    "nobody could be told of alarm {} in time: {first}",
                    alarm.id
                );
            }
            let mut tx = self.db.begin().await?;
            if phase == Phase::Raised {
                alarms::all_told(&mut tx, alarm.id, self.clock.now()).await?;
            }
            // It may have been cleared while it was told of: who just heard of it hears of the end, too.
            let is_over =
                alarms::alarm(&self.db, alarm.id).await?.is_some_and(|now| now.cleared_at.is_some());
            if phase == Phase::Cleared || !is_over {
                return job.done(tx).await;
            }
            tx.commit().await?;
        }
    }

    /// Every active admin, and the staff channel; of Discord's own trouble Discord is not told.
    async fn readers(&self, alarm: &Alarm) -> sqlx::Result<Vec<(Channel, String)>> {
        let mut readers = Vec::new();
        if !self.config.mailbox.is_empty() {
            let admins = people::admin_addresses(&self.db).await?;
            readers.extend(admins.into_iter().map(|address| (Channel::Email, address)));
        }
        if self.discord.is_some()
            && alarm.kind != alarms::DISCORD
            && let Some(discord) = &self.config.discord
        {
            readers.push((Channel::Discord, discord.staff_channel_id.to_string()));
        }
        Ok(readers)
    }

    /// The text: why it has to be tried again.
    async fn tell(&self, alarm: &Alarm, phase: Phase, notice: &Notice) -> sqlx::Result<Option<String>> {
        let told = match notice.channel {
            Channel::Email => self.mail(alarm, phase, notice).await?,
            Channel::Discord => self.post(alarm, phase, notice).await,
        };
        let (db, id, now) = (&self.db, notice.id, self.clock.now());
        match told {
            Told::Yes => {
                alarms::told(db, id, None, now).await?;
                tracing::info!(alarm.id = alarm.id, notice.id = id, "told of alarm {}", alarm.id);
                Ok(None)
            }
            Told::Never(why) => {
                alarms::told(db, id, Some(&why), now).await?;
                tracing::warn!(
                    alarm.id = alarm.id,
                    notice.id = id,
                    why,
                    "somebody is not told of alarm {}: {why}",
                    alarm.id
                );
                Ok(None)
            }
            Told::NotNow(why) => Ok(Some(why)),
        }
    }

    async fn mail(&self, alarm: &Alarm, phase: Phase, notice: &Notice) -> sqlx::Result<Told> {
        if outbox::has_bounced(&self.db, &notice.address).await? {
            return Ok(Told::Never("mail to that address came back before".to_owned()));
        }
        let Ok(mailbox) = self.mailbox(alarm) else {
            return Ok(Told::Never("no mailbox is configured to send from".to_owned()));
        };
        let Ok(content) = compose::compose(&self.outgoing(alarm, phase, notice, mailbox)) else {
            return Ok(Told::Never("the address cannot be written".to_owned()));
        };
        let name = format!("alarm-{}", notice.id);
        // RFC 3834 §3.3: the null reverse-path, so that nothing answers it.
        let (mailer, to) = (&self.mailer, notice.address.as_str());
        let attempt = mailer.send_within(LONGEST_TRY, &mailbox.name, "", to, &name, &content).await;
        Ok(match attempt {
            Attempt::Sent { .. } => Told::Yes,
            Attempt::Permanent { .. } => Told::Never("the mail server refused it".to_owned()),
            Attempt::Temporary { .. } => Told::NotNow("the mail server does not take it now".to_owned()),
            Attempt::Network { .. } => Told::NotNow("the mail server cannot be reached".to_owned()),
        })
    }

    /// Not the one that is in trouble, where there is another.
    fn mailbox(&self, alarm: &Alarm) -> anyhow::Result<&Mailbox> {
        let all = &self.config.mailbox;
        let default = self.config.default_mailbox().filter(|mailbox| mailbox.name != alarm.subject);
        let other = all.iter().find(|mailbox| mailbox.name != alarm.subject);
        default.or(other).or(all.first()).context("no mailbox is configured to send from")
    }

    fn outgoing(&self, alarm: &Alarm, phase: Phase, notice: &Notice, mailbox: &Mailbox) -> Outgoing {
        let base = self.config.http.public_url.as_ref().map(|_| self.config.http.base_url());
        Outgoing {
            from_name: super::words::sender_name(None),
            from: mailbox.address.clone(),
            to_name: String::new(),
            to: notice.address.clone(),
            reply_to: mailbox.address.clone(),
            subject: words::subject(alarm, phase),
            text: words::mail(alarm, phase, base.as_deref()),
            html: None,
            attachments: Vec::new(),
            message_id: self.signer.letter_id('w', notice.id, &mailbox.address),
            in_reply_to: None,
            references: Vec::new(),
            automatic: Some(Automatic::Generated),
            loop_mark: self.signer.loop_mark(&mailbox.address),
            date: notice.created_at,
        }
    }

    async fn post(&self, alarm: &Alarm, phase: Phase, notice: &Notice) -> Told {
        let (Some(api), Some(discord)) = (&self.discord, &self.config.discord) else {
            return Told::Never("Discord is not configured any more".to_owned());
        };
        let Ok(parent) = notice.address.parse() else {
            return Told::Never("it is no channel".to_owned());
        };
        let posting = async {
            let channel = api.channel(parent).await?;
            if check::everybody_sees(&api.guild(discord.guild_id).await?, &channel) {
                return Ok(Err(format!("everybody sees #{}", channel.name)));
            }
            // Mentions are allowed to none, as in every message that does not ask for one.
            let message = Message::text(words::post(alarm, phase));
            match channel.kind {
                Kind::Forum => {
                    let tags: Vec<u64> = channel.tags.iter().take(1).map(|tag| tag.id).collect();
                    api.forum_post(parent, &words::subject(alarm, phase), &tags, &message, &[]).await?;
                }
                _ => {
                    api.post(parent, &message, Some(&format!("alarm.{}", notice.id)), &[]).await?;
                }
            }
            Ok(Ok(()))
        };
        match posting.await {
            Ok(Ok(())) => Told::Yes,
            Ok(Err(why)) => Told::Never(why),
            Err(error @ (ApiError::RateLimited(_) | ApiError::Server(_) | ApiError::Unreachable(_))) => {
                Told::NotNow(error.to_string())
            }
            Err(error) => Told::Never(error.to_string()),
        }
    }
}
