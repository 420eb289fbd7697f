//! What somebody wrote in Discord, in our own type: from the gateway and from reading a thread's history alike.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serenity::model::channel as theirs;
use serenity::model::event::MessageUpdateEvent;

use super::snowflake::{self, Id};

/// The bit of a message made of layout components, whose text Discord does not put into `content`.
const COMPONENTS_V2: u64 = 1 << 15;

/// A message. Its id sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: u64,
    pub channel: u64,
    /// Known of live messages only, not of those read from the history.
    pub guild: Option<u64>,
    pub author: User,
    /// The roles of the author as of this message; known of live messages only.
    pub roles: Option<Vec<u64>>,
    pub webhook: Option<u64>,
    /// Discord's number: 0 a message, 19 a reply, everything else is said by Discord itself.
    pub kind: u8,
    /// As it came; see [`Message::text`].
    pub content: String,
    /// What a forwarded message says.
    pub forwarded: Option<String>,
    pub stickers: Vec<String>,
    pub attachments: Vec<Attachment>,
    /// Made of parts that serenity can't read.
    pub is_layout: bool,
    pub edited_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: u64,
    /// What others see: the name in this server, else the display name, else the account's.
    pub name: String,
    pub is_bot: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub id: u64,
    pub name: String,
    pub content_type: Option<String>,
    /// In bytes, as Discord says.
    pub size: u64,
    /// Signed, and good for about a day.
    pub url: String,
}

impl Message {
    /// Whether a person wrote it: not a bot (we among them), not a webhook, not Discord itself.
    pub fn is_by_person(&self) -> bool {
        !self.author.is_bot && self.webhook.is_none() && matches!(self.kind, 0 | 19)
    }

    /// What it says, never empty: what can't be shown is named.
    pub fn text(&self) -> Cow<'_, str> {
        let mut extra = Vec::new();
        if let Some(forwarded) = &self.forwarded {
            extra.push(format!("[forwarded message]\n{forwarded}"));
        }
        extra.extend(self.stickers.iter().map(|name| format!("[sticker: {name}]")));
        if self.is_layout && self.content.trim().is_empty() {
            extra.push("[a message that only Discord can show]".to_owned());
        }
        let says_nothing = self.content.trim().is_empty() && extra.is_empty();
        if says_nothing && self.attachments.is_empty() {
            extra.push("[a message without text]".to_owned());
        } else if says_nothing {
            extra.push("[files only]".to_owned());
        }
        if extra.is_empty() {
            return Cow::Borrowed(&self.content);
        }
        if !self.content.trim().is_empty() {
            extra.insert(0, self.content.clone());
        }
        Cow::Owned(extra.join("\n"))
    }

    /// As Discord's REST answers have it. `None` where it is no message.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        Wire::deserialize(json).ok().map(Into::into)
    }

    /// An edited message. `None` where Discord changed something else about it, such as a preview.
    pub fn from_update(update: &MessageUpdateEvent) -> Option<Self> {
        let edited = update.edited_timestamp?;
        let member = update.member.clone().flatten();
        let author = update.author.as_ref()?;
        Some(Self {
            id: update.id.get(),
            channel: update.channel_id.get(),
            guild: update.guild_id.map(Into::into),
            author: User::new(author, member.as_ref().and_then(|m| m.nick.as_deref())),
            roles: member.map(|m| m.roles.iter().map(|role| role.get()).collect()),
            webhook: update.webhook_id.flatten().map(Into::into),
            kind: update.kind.map_or(0, Into::into),
            content: update.content.clone()?,
            forwarded: None,
            stickers: update.sticker_items.iter().flatten().map(|s| s.name.clone()).collect(),
            attachments: update.attachments.iter().flatten().map(Into::into).collect(),
            is_layout: update.flags.flatten().is_some_and(|flags| flags.bits() & COMPONENTS_V2 != 0),
            edited_at: DateTime::from_timestamp_millis(edited.timestamp_millis()),
        })
    }
}

impl From<&theirs::Message> for Message {
    fn from(message: &theirs::Message) -> Self {
        let member = message.member.as_deref();
        let snapshots = message.message_snapshots.iter();
        let forwarded: Vec<&str> = snapshots.map(|snapshot| snapshot.content.as_str()).collect();
        let forwarded_files = message.message_snapshots.iter().flat_map(|snapshot| &snapshot.attachments);
        Self {
            id: message.id.get(),
            channel: message.channel_id.get(),
            guild: message.guild_id.map(Into::into),
            author: User::new(&message.author, member.and_then(|m| m.nick.as_deref())),
            roles: member.map(|m| m.roles.iter().map(|role| role.get()).collect()),
            webhook: message.webhook_id.map(Into::into),
            kind: message.kind.into(),
            content: message.content.clone(),
            forwarded: (!forwarded.is_empty()).then(|| forwarded.join("\n")),
            stickers: message.sticker_items.iter().map(|sticker| sticker.name.clone()).collect(),
            attachments: message.attachments.iter().chain(forwarded_files).map(Into::into).collect(),
            is_layout: message.flags.is_some_and(|flags| flags.bits() & COMPONENTS_V2 != 0),
            edited_at: message
                .edited_timestamp
                .and_then(|t| DateTime::from_timestamp_millis(t.timestamp_millis())),
        }
    }
}

impl User {
    pub(super) fn new(user: &serenity::model::user::User, nick: Option<&str>) -> Self {
        let name = nick.or(user.global_name.as_deref()).unwrap_or(&user.name);
        Self { id: user.id.get(), name: name.to_owned(), is_bot: user.bot }
    }
}

impl From<&theirs::Attachment> for Attachment {
    fn from(attachment: &theirs::Attachment) -> Self {
        Self {
            id: attachment.id.get(),
            name: attachment.filename.clone(),
            content_type: attachment.content_type.clone(),
            size: attachment.size.into(),
            url: attachment.url.clone(),
        }
    }
}

/// A message in Discord's JSON, as much of it as we read: what is new in it must not hide a message from us.
#[derive(Deserialize)]
struct Wire {
    #[serde(deserialize_with = "snowflake::deserialize")]
    id: u64,
    #[serde(deserialize_with = "snowflake::deserialize")]
    channel_id: u64,
    guild_id: Option<Id>,
    author: WireUser,
    member: Option<WireMember>,
    webhook_id: Option<Id>,
    #[serde(rename = "type", default)]
    kind: u8,
    #[serde(default)]
    content: String,
    #[serde(default)]
    message_snapshots: Vec<WireSnapshot>,
    #[serde(default)]
    sticker_items: Vec<WireSticker>,
    #[serde(default)]
    attachments: Vec<WireAttachment>,
    flags: Option<u64>,
    edited_timestamp: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
pub(super) struct WireUser {
    #[serde(deserialize_with = "snowflake::deserialize")]
    pub(super) id: u64,
    username: String,
    global_name: Option<String>,
    #[serde(default)]
    bot: bool,
}

impl WireUser {
    pub(super) fn named(self, nick: Option<String>) -> User {
        User { id: self.id, name: nick.or(self.global_name).unwrap_or(self.username), is_bot: self.bot }
    }
}

#[derive(Deserialize)]
struct WireMember {
    nick: Option<String>,
    roles: Vec<Id>,
}

#[derive(Deserialize)]
struct WireSnapshot {
    message: WireForwarded,
}

#[derive(Deserialize)]
struct WireForwarded {
    #[serde(default)]
    content: String,
    #[serde(default)]
    attachments: Vec<WireAttachment>,
}

#[derive(Deserialize)]
struct WireSticker {
    name: String,
}

#[derive(Deserialize)]
struct WireAttachment {
    #[serde(deserialize_with = "snowflake::deserialize")]
    id: u64,
    filename: String,
    content_type: Option<String>,
    #[serde(default)]
    size: u64,
    url: String,
}

impl From<WireAttachment> for Attachment {
    fn from(wire: WireAttachment) -> Self {
        let WireAttachment { id, filename, content_type, size, url } = wire;
        Self { id, name: filename, content_type, size, url }
    }
}

impl From<Wire> for Message {
    fn from(wire: Wire) -> Self {
        let (nick, roles) = match wire.member {
            Some(member) => (member.nick, Some(member.roles.into_iter().map(|Id(role)| role).collect())),
            None => (None, None),
        };
        let mut attachments: Vec<Attachment> = wire.attachments.into_iter().map(Into::into).collect();
        let mut forwarded = Vec::new();
        for WireSnapshot { message } in wire.message_snapshots {
            forwarded.push(message.content);
            attachments.extend(message.attachments.into_iter().map(Attachment::from));
        }
        Self {
            id: wire.id,
            channel: wire.channel_id,
            guild: wire.guild_id.map(|Id(id)| id),
            author: wire.author.named(nick),
            roles,
            webhook: wire.webhook_id.map(|Id(id)| id),
            kind: wire.kind,
            content: wire.content,
            forwarded: (!forwarded.is_empty()).then(|| forwarded.join("\n")),
            stickers: wire.sticker_items.into_iter().map(|sticker| sticker.name).collect(),
            attachments,
            is_layout: wire.flags.is_some_and(|flags| flags & COMPONENTS_V2 != 0),
            edited_at: wire.edited_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wire() -> serde_json::Value {
        json!({
            "id": "900000000000000001", "channel_id": "800000000000000001", "guild_id": "700000000000000001",
            "author": {"id": "600000000000000001", "username": "ada", "global_name": "Ada", "discriminator": "0",
                       "avatar": null},
            "member": {"nick": null, "roles": ["500000000000000001"], "joined_at": "2024-01-01T00:00:00+00:00",
                       "deaf": false, "mute": false, "flags": 0},
            "content": "It is broken.", "timestamp": "2026-11-21T10:00:00+00:00",
            "edited_timestamp": "2026-11-21T10:01:00.123000+00:00", "tts": false, "mention_everyone": false,
            "mentions": [], "mention_roles": [], "embeds": [], "pinned": false, "type": 0, "flags": 0,
            "attachments": [{"id": "1", "filename": "log.txt", "size": 5, "url": "https://cdn.discordapp.com/x",
                             "proxy_url": "https://media.discordapp.net/x", "content_type": "text/plain"}],
            "components": []
        })
    }

    #[test]
    fn the_gateway_and_the_history_read_the_same() {
        let by_rest = Message::from_json(&wire()).unwrap();
        let by_gateway: theirs::Message = serde_json::from_value(wire()).unwrap();
        assert_eq!(Message::from(&by_gateway), by_rest);
        let update: MessageUpdateEvent = serde_json::from_value(wire()).unwrap();
        assert_eq!(Message::from_update(&update).as_ref(), Some(&by_rest));
        assert_eq!(by_rest.roles.as_deref(), Some(&[500_000_000_000_000_001][..]));
        assert!(by_rest.is_by_person());
        let stored: Message = serde_json::from_value(serde_json::to_value(&by_rest).unwrap()).unwrap();
        assert_eq!(stored, by_rest);
    }

    #[test]
    fn a_preview_that_appears_is_no_edit() {
        let mut json = wire();
        json["edited_timestamp"] = json!(null);
        let update: MessageUpdateEvent = serde_json::from_value(json).unwrap();
        assert_eq!(Message::from_update(&update), None);
    }

    #[test]
    fn what_cant_be_shown_is_named() {
        let text = |change: serde_json::Value| {
            let mut json = wire();
            json["content"] = json!("");
            json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            Message::from_json(&json).unwrap().text().into_owned()
        };
        assert_eq!(text(json!({})), "[files only]");
        assert_eq!(text(json!({"attachments": []})), "[a message without text]");
        assert_eq!(text(json!({"flags": 1 << 15})), "[a message that only Discord can show]");
        assert_eq!(
            text(json!({"content": "so", "sticker_items": [{"id": "1", "name": "wave", "format_type": 1}]})),
            "so\n[sticker: wave]"
        );
        let forward = json!([{"message": {"content": "look", "attachments": []}}]);
        assert_eq!(text(json!({"message_snapshots": forward})), "[forwarded message]\nlook");
    }

    #[test]
    fn machines_are_not_people() {
        for change in [json!({"webhook_id": "5"}), json!({"type": 18})] {
            let mut json = wire();
            json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert!(!Message::from_json(&json).unwrap().is_by_person());
        }
        let mut bot = wire();
        bot["author"]["bot"] = json!(true);
        assert!(!Message::from_json(&bot).unwrap().is_by_person());
        assert_eq!(Message::from_json(&json!({"id": "1"})), None);
    }
}
