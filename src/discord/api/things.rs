//! Discord's things, as much of them as we read.

use serde::{Deserialize, Serialize};

use crate::discord::said::{User, WireUser};
use crate::discord::snowflake::{self, Id};

/// The bot's own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    pub id: u64,
    pub name: String,
}

/// The bot's application.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Application {
    #[serde(deserialize_with = "snowflake::deserialize")]
    pub id: u64,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub flags: u64,
}

impl Application {
    /// Whether the Message Content intent is switched on; the second bit is that of small, unverified bots
    /// (<https://docs.discord.com/developers/resources/application#application-object-application-flags>).
    pub fn reads_messages(&self) -> bool {
        self.flags & (1 << 18 | 1 << 19) != 0
    }
}

/// What kind of channel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Forum,
    PublicThread,
    PrivateThread,
    /// Discord's number.
    Other(u8),
}

/// A channel or a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub id: u64,
    pub kind: Kind,
    pub guild: Option<u64>,
    /// Of a thread: its channel.
    pub parent: Option<u64>,
    pub name: String,
    /// What a forum's posts can be marked with.
    pub tags: Vec<Tag>,
    /// What a post in a forum is marked with.
    pub applied_tags: Vec<u64>,
    pub archived: bool,
    pub locked: bool,
    pub overwrites: Vec<Overwrite>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Tag {
    #[serde(deserialize_with = "snowflake::deserialize")]
    pub id: u64,
    pub name: String,
}

/// What a channel gives to a role or a person, and takes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwrite {
    /// A role or a person.
    pub id: u64,
    pub allow: u64,
    pub deny: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guild {
    pub id: u64,
    pub name: String,
    pub owner: u64,
    pub roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub id: u64,
    pub name: String,
    pub permissions: u64,
}

/// A person in the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    pub roles: Vec<u64>,
}

/// What is to change of a thread; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreadChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of a post in a forum.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_texts")]
    pub applied_tags: Option<Vec<u64>>,
}

#[expect(clippy::ref_option, reason = "serde hands the field over like this")]
fn as_texts<S: serde::Serializer>(ids: &Option<Vec<u64>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().flatten().map(u64::to_string))
}

impl From<WireUser> for Me {
    fn from(user: WireUser) -> Self {
        let user = user.named(None);
        Self { id: user.id, name: user.name }
    }
}

#[derive(Deserialize)]
pub(super) struct WireChannel {
    #[serde(deserialize_with = "snowflake::deserialize")]
    id: u64,
    #[serde(rename = "type")]
    kind: u8,
    guild_id: Option<Id>,
    parent_id: Option<Id>,
    name: Option<String>,
    #[serde(default)]
    available_tags: Vec<Tag>,
    #[serde(default)]
    applied_tags: Vec<Id>,
    thread_metadata: Option<WireThread>,
    #[serde(default)]
    permission_overwrites: Vec<WireOverwrite>,
}

#[derive(Deserialize)]
struct WireThread {
    archived: bool,
    #[serde(default)]
    locked: bool,
}

#[derive(Deserialize)]
struct WireOverwrite {
    #[serde(deserialize_with = "snowflake::deserialize")]
    id: u64,
    #[serde(deserialize_with = "snowflake::deserialize")]
    allow: u64,
    #[serde(deserialize_with = "snowflake::deserialize")]
    deny: u64,
}

impl From<WireChannel> for Channel {
    fn from(wire: WireChannel) -> Self {
        let overwrites = wire.permission_overwrites.into_iter();
        Self {
            id: wire.id,
            kind: match wire.kind {
                0 => Kind::Text,
                15 => Kind::Forum,
                11 => Kind::PublicThread,
                12 => Kind::PrivateThread,
                other => Kind::Other(other),
            },
            guild: wire.guild_id.map(|Id(id)| id),
            parent: wire.parent_id.map(|Id(id)| id),
            name: wire.name.unwrap_or_default(),
            tags: wire.available_tags,
            applied_tags: wire.applied_tags.into_iter().map(|Id(tag)| tag).collect(),
            archived: wire.thread_metadata.as_ref().is_some_and(|thread| thread.archived),
            locked: wire.thread_metadata.as_ref().is_some_and(|thread| thread.locked),
            overwrites: overwrites
                .map(|WireOverwrite { id, allow, deny }| Overwrite { id, allow, deny })
                .collect(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WireGuild {
    #[serde(deserialize_with = "snowflake::deserialize")]
    id: u64,
    name: String,
    #[serde(deserialize_with = "snowflake::deserialize")]
    owner_id: u64,
    #[serde(default)]
    roles: Vec<WireRole>,
}

#[derive(Deserialize)]
struct WireRole {
    #[serde(deserialize_with = "snowflake::deserialize")]
    id: u64,
    name: String,
    #[serde(deserialize_with = "snowflake::deserialize")]
    permissions: u64,
}

impl From<WireGuild> for Guild {
    fn from(wire: WireGuild) -> Self {
        let roles = wire.roles.into_iter();
        Self {
            id: wire.id,
            name: wire.name,
            owner: wire.owner_id,
            roles: roles.map(|WireRole { id, name, permissions }| Role { id, name, permissions }).collect(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WireMember {
    user: WireUser,
    nick: Option<String>,
    #[serde(default)]
    roles: Vec<Id>,
}

impl From<WireMember> for Member {
    fn from(wire: WireMember) -> Self {
        Self {
            user: wire.user.named(wire.nick),
            roles: wire.roles.into_iter().map(|Id(role)| role).collect(),
        }
    }
}
