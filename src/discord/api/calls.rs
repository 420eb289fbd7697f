//! One method for each thing that ticketd asks of Discord.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serenity::http::LightMethod::{Delete, Get, Patch, Post, Put};
use serenity::http::Route;
use serenity::model::id::{ApplicationId, ChannelId, GuildId, InteractionId, MessageId, UserId};

use super::things::{WireChannel, WireGuild, WireMember};
use super::{
    ANSWER_DEADLINE, Answer, Api, ApiError, Application, Call, Channel, File, Guild, Me, Member, Message,
    ThreadChange,
};
use crate::discord::message::Upload;
use crate::discord::said;
use crate::discord::snowflake::Id;

/// Threads that nobody writes in are archived after a week, the longest there is.
const ARCHIVE_AFTER_MINUTES: u16 = 10_080;
/// Messages in one page of a channel's history.
const PAGE: usize = 100;

impl Api {
    /// The bot's own account: the token is good.
    pub async fn me(&self) -> Result<Me, ApiError> {
        let user: said::WireUser = read(self.call(Call::new(Get, Route::UserMe)).await?)?;
        Ok(user.into())
    }

    /// The bot's application.
    pub async fn application(&self) -> Result<Application, ApiError> {
        read(self.call(Call::new(Get, Route::Oauth2ApplicationCurrent)).await?)
    }

    /// Asked for once.
    async fn application_id(&self) -> Result<ApplicationId, ApiError> {
        let ask = || async { self.application().await.map(|application| application.id) };
        let id = *self.application.get_or_try_init(ask).await?;
        if id == 0 { Err(unexpected()) } else { Ok(ApplicationId::new(id)) }
    }

    /// Replaces all commands of the server; at once.
    pub async fn set_commands(&self, guild: u64, commands: &[Value]) -> Result<(), ApiError> {
        let application_id = self.application_id().await?;
        let route = Route::GuildCommands { application_id, guild_id: guild_id(guild)? };
        self.call(Call::new(Put, route).body(commands.into())).await?;
        Ok(())
    }

    /// The first answer to an interaction. That it was answered already counts as success: an answer whose confirmation was
    /// lost is repeated.
    pub async fn answer(&self, interaction: u64, token: &str, answer: &Answer) -> Result<(), ApiError> {
        let interaction_id = InteractionId::new(nonzero(interaction)?);
        let call = Call::new(Post, Route::InteractionResponse { interaction_id, token }).body(answer.body());
        match self.call_directly(call, ANSWER_DEADLINE).await {
            Err(error) if error.code() == 40_060 => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Writes the answer proper, after a deferral or over an earlier one.
    pub async fn edit_answer(&self, token: &str, message: &Message, files: &[File]) -> Result<(), ApiError> {
        let application_id = self.application_id().await?;
        let route = Route::WebhookOriginalInteractionResponse { application_id, token };
        self.call(with_files(Call::new(Patch, route), &message.as_edit(), files)).await?;
        Ok(())
    }

    /// One more message after the answer; `Message::ephemeral` if only the person who acted is to see it.
    pub async fn follow_up(&self, token: &str, message: &Message, files: &[File]) -> Result<u64, ApiError> {
        let application_id = self.application_id().await?;
        let route = Route::WebhookFollowupMessages { application_id, token };
        id_of(self.call(with_files(Call::new(Post, route), message, files)).await?)
    }

    /// Posts and returns the message's id. With a nonce (25 characters at most) a repeated call returns the first one's
    /// message, for some minutes.
    pub async fn post(
        &self,
        channel: u64,
        message: &Message,
        nonce: Option<&str>,
        files: &[File],
    ) -> Result<u64, ApiError> {
        let mut message = message.clone();
        message.nonce = nonce.map(str::to_owned);
        message.enforce_nonce = nonce.map(|_| true);
        let route = Route::ChannelMessages { channel_id: channel_id(channel)? };
        id_of(self.call(with_files(Call::new(Post, route), &message, files)).await?)
    }

    /// Makes an earlier message into this one. Its files stay, unless it is to have none.
    pub async fn edit(&self, channel: u64, message: u64, new: &Message) -> Result<(), ApiError> {
        self.call(with_files(Call::new(Patch, message_route(channel, message)?), &new.as_edit(), &[]))
            .await?;
        Ok(())
    }

    /// That it is gone already is success.
    pub async fn delete(&self, channel: u64, message: u64) -> Result<(), ApiError> {
        match self.call(Call::new(Delete, message_route(channel, message)?)).await {
            Err(error) if error.code() == 10_008 => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Starts a thread from a message and returns the thread's id, which is the message's. Repeating it does no harm.
    pub async fn thread_from_message(&self, channel: u64, message: u64, name: &str) -> Result<u64, ApiError> {
        let route = Route::ChannelMessageThreads {
            channel_id: channel_id(channel)?,
            message_id: MessageId::new(nonzero(message)?),
        };
        let body = json!({ "name": name, "auto_archive_duration": ARCHIVE_AFTER_MINUTES });
        match self.call(Call::new(Post, route).body(body)).await {
            Err(error) if error.code() == 160_004 => Ok(message),
            other => id_of(other?),
        }
    }

    /// A thread that only the people added to it see (and whoever may manage threads). Not to be repeated blindly.
    pub async fn private_thread(&self, channel: u64, name: &str) -> Result<u64, ApiError> {
        let route = Route::ChannelThreads { channel_id: channel_id(channel)? };
        let body = json!({
            "name": name, "type": 12, "invitable": false, "auto_archive_duration": ARCHIVE_AFTER_MINUTES
        });
        id_of(self.call(Call::new(Post, route).body(body)).await?)
    }

    /// A post in a forum: the id of the thread, and of its first message. Not to be repeated blindly.
    pub async fn forum_post(
        &self,
        channel: u64,
        name: &str,
        tags: &[u64],
        message: &Message,
        files: &[File],
    ) -> Result<u64, ApiError> {
        let route = Route::ChannelForumPosts { channel_id: channel_id(channel)? };
        let tags: Vec<String> = tags.iter().take(5).map(u64::to_string).collect();
        let body = json!({
            "name": name, "auto_archive_duration": ARCHIVE_AFTER_MINUTES, "applied_tags": tags,
            "message": named(message, files)
        });
        id_of(self.call(Call::new(Post, route).body(body).files(files)).await?)
    }

    /// Lets a person see a private thread; they are notified.
    pub async fn add_member(&self, thread: u64, user: u64) -> Result<(), ApiError> {
        let route = Route::ChannelThreadMember {
            channel_id: channel_id(thread)?,
            user_id: UserId::new(nonzero(user)?),
        };
        self.call(Call::new(Put, route)).await?;
        Ok(())
    }

    /// An archived thread takes no other change than being unarchived.
    pub async fn update_thread(&self, thread: u64, change: &ThreadChange) -> Result<(), ApiError> {
        let route = Route::Channel { channel_id: channel_id(thread)? };
        self.call(Call::new(Patch, route).body(json!(change))).await?;
        Ok(())
    }

    /// Up to a hundred messages after this one (0: from the beginning), oldest first.
    pub async fn messages_after(&self, channel: u64, after: u64) -> Result<Vec<said::Message>, ApiError> {
        let mut call = Call::new(Get, Route::ChannelMessages { channel_id: channel_id(channel)? });
        call.query = vec![("after", after.to_string()), ("limit", PAGE.to_string())];
        let page: Vec<Value> = read(self.call(call).await?)?;
        let read = page.iter().map(said::Message::from_json);
        // One that cannot be read must not hide the others.
        let unreadable = read.clone().filter(Option::is_none).count();
        if unreadable > 0 {
            tracing::warn!(unreadable, "messages of a thread's history in Discord cannot be read");
            metrics::counter!("ticketd_discord_unreadable_total", "kind" => "history")
                .increment(unreadable as u64);
        }
        let mut messages: Vec<_> = read.flatten().collect();
        messages.sort_by_key(|message| message.id);
        Ok(messages)
    }

    /// All threads of the server that are not archived and that the bot sees.
    pub async fn active_threads(&self, guild: u64) -> Result<Vec<Channel>, ApiError> {
        #[derive(Deserialize)]
        struct Active {
            threads: Vec<WireChannel>,
        }
        let route = Route::GuildThreadsActive { guild_id: guild_id(guild)? };
        let active: Active = read(self.call(Call::new(Get, route)).await?)?;
        Ok(active.threads.into_iter().map(Into::into).collect())
    }

    /// A channel or a thread.
    pub async fn channel(&self, channel: u64) -> Result<Channel, ApiError> {
        let route = Route::Channel { channel_id: channel_id(channel)? };
        let channel: WireChannel = read(self.call(Call::new(Get, route)).await?)?;
        Ok(channel.into())
    }

    /// The server with its roles.
    pub async fn guild(&self, guild: u64) -> Result<Guild, ApiError> {
        let route = Route::Guild { guild_id: guild_id(guild)? };
        let guild: WireGuild = read(self.call(Call::new(Get, route)).await?)?;
        Ok(guild.into())
    }

    /// A person in the server; `None`: not in it.
    pub async fn member(&self, guild: u64, user: u64) -> Result<Option<Member>, ApiError> {
        let route = Route::GuildMember { guild_id: guild_id(guild)?, user_id: UserId::new(nonzero(user)?) };
        match self.call(Call::new(Get, route)).await {
            // Unknown member, unknown user.
            Err(ApiError::Gone(refusal)) if matches!(refusal.code, 10_007 | 10_013) => Ok(None),
            other => Ok(Some(read::<WireMember>(other?)?.into())),
        }
    }
}

/// The message, with the names of its files.
fn named(message: &Message, files: &[File]) -> Value {
    let mut message = message.clone();
    let uploads = files.iter().zip(0..).map(|(file, id)| Upload { id, filename: file.name.clone() });
    if !files.is_empty() {
        message.attachments = Some(uploads.collect());
    }
    json!(message)
}

fn with_files<'a>(call: Call<'a>, message: &Message, files: &'a [File]) -> Call<'a> {
    call.body(named(message, files)).files(files)
}

fn read<T: DeserializeOwned>(json: Value) -> Result<T, ApiError> {
    serde_json::from_value(json).map_err(|_other_shape| unexpected())
}

fn id_of(json: Value) -> Result<u64, ApiError> {
    #[derive(Deserialize)]
    struct Made {
        id: Id,
    }
    let Made { id: Id(id) } = read(json)?;
    Ok(id)
}

/// It answered, but not as Discord does.
fn unexpected() -> ApiError {
    ApiError::Server(200)
}

/// Discord's ids are never 0, and serenity's types panic on it.
fn nonzero(id: u64) -> Result<u64, ApiError> {
    if id == 0 { Err(ApiError::sort(400, 50_035, Some("0 is no id of Discord".to_owned()))) } else { Ok(id) }
}

fn channel_id(id: u64) -> Result<ChannelId, ApiError> {
    nonzero(id).map(ChannelId::new)
}

fn guild_id(id: u64) -> Result<GuildId, ApiError> {
    nonzero(id).map(GuildId::new)
}

fn message_route(channel: u64, message: u64) -> Result<Route<'static>, ApiError> {
    Ok(Route::ChannelMessage {
        channel_id: channel_id(channel)?,
        message_id: MessageId::new(nonzero(message)?),
    })
}
