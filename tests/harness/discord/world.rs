//! What there is in the fake's world: a guild with its channels, people, threads, messages and interactions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::gateway::Gateway;
use super::trouble::Troubles;
use super::wire;

/// A snowflake: milliseconds since 2015 in the upper bits.
pub type Id = u64;

/// The bot, and its application.
pub const BOT: Id = 1_100_000_000_000_000_009;
/// Its token; the first part is its id.
pub const TOKEN: &str = "MTEwMDAwMDAwMDAwMDAwMDAwOQ.GfAkEd.token-of-the-fake-discord";
pub const GUILD: Id = 1_100_000_000_000_000_100;
pub const SUPPORT: Id = 1_100_000_000_000_000_201;
pub const STAFF: Id = 1_100_000_000_000_000_202;
/// A guild where the bot is, too, but that is not the configured one, and its only channel.
pub const OTHER_GUILD: Id = 1_100_000_000_000_000_900;
pub const OTHER_CHANNEL: Id = 1_100_000_000_000_000_901;
pub const MODERATOR: Id = 1_100_000_000_000_000_301;
pub const ADMIN: Id = 1_100_000_000_000_000_302;
/// The bot's own role, which Discord makes when it is invited.
pub const BOT_ROLE: Id = 1_100_000_000_000_000_303;

/// Channel types: <https://discord.com/developers/docs/resources/channel#channel-object-channel-types>.
pub const TEXT: u64 = 0;
pub const DM: u64 = 1;
pub const PUBLIC_THREAD: u64 = 11;
pub const PRIVATE_THREAD: u64 = 12;
pub const FORUM: u64 = 15;

/// Message flags.
pub const HAS_THREAD: u64 = 1 << 5;
pub const EPHEMERAL: u64 = 1 << 6;
pub const LOADING: u64 = 1 << 7;
pub const COMPONENTS_V2: u64 = 1 << 15;

#[derive(Debug)]
pub struct World {
    start: DateTime<Utc>,
    started: Instant,
    ahead: Duration,
    last_id: Id,
    pub roles: Vec<Role>,
    pub people: BTreeMap<Id, Human>,
    pub channels: BTreeMap<Id, Channel>,
    pub messages: BTreeMap<Id, Message>,
    /// What was deleted, in order.
    pub graveyard: Vec<Message>,
    pub files: BTreeMap<Id, File>,
    pub interactions: BTreeMap<Id, Interaction>,
    /// The guild's commands, as registered.
    pub commands: Vec<Value>,
    pub requests: Vec<Request>,
    /// What a request had wrong in itself: a good program makes none of these.
    pub faults: Vec<String>,
    pub troubles: Troubles,
    pub gateway: Gateway,
    pub portal: Portal,
    /// Host and port of the place where attachments are.
    pub cdn: String,
    pub gateway_url: String,
}

/// What is switched on for the bot in the developer portal.
#[derive(Clone, Copy, Debug)]
pub struct Portal {
    pub message_content: bool,
    pub server_members: bool,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub id: Id,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Human {
    pub id: Id,
    pub name: String,
    pub roles: Vec<Id>,
    pub guild: Id,
    pub joined: DateTime<Utc>,
    /// Whether it is another bot.
    pub bot: bool,
    /// Refuses direct messages.
    pub closed: bool,
}

#[derive(Clone, Debug)]
pub struct Channel {
    pub id: Id,
    pub kind: u64,
    pub name: String,
    pub guild: Option<Id>,
    pub parent: Option<Id>,
    /// Roles that see it; none: everyone does.
    pub sees: Vec<Id>,
    /// The code with which the bot is refused: 50001 or 50013.
    pub forbidden: Option<u64>,
    /// Tags of a forum.
    pub tags: Vec<(Id, String)>,
    pub thread: Option<ThreadState>,
    /// The person a direct message channel is with.
    pub with: Option<Id>,
    pub last_message: Option<Id>,
}

#[derive(Clone, Debug)]
pub struct ThreadState {
    pub owner: Id,
    pub members: Vec<Id>,
    pub archived: bool,
    pub locked: bool,
    pub invitable: bool,
    pub auto_archive: u64,
    pub tags: Vec<Id>,
    pub archive_changed: DateTime<Utc>,
    pub created: DateTime<Utc>,
}

#[derive(Clone, Debug, Default)]
pub struct Message {
    pub id: Id,
    pub channel: Id,
    pub author: Id,
    /// <https://discord.com/developers/docs/resources/message#message-object-message-types>
    pub kind: u64,
    pub content: String,
    pub embeds: Vec<Value>,
    pub components: Vec<Value>,
    pub files: Vec<Id>,
    pub flags: u64,
    pub edited: Option<DateTime<Utc>>,
    pub nonce: Option<Value>,
    pub allowed_mentions: Option<Value>,
    /// The interaction that it answers.
    pub interaction: Option<Id>,
    /// Channel and message that it is a reply to, or a thread's beginning.
    pub reference: Option<(Id, Id)>,
    /// The only one who sees it.
    pub only_for: Option<Id>,
}

#[derive(Clone, Debug)]
pub struct File {
    pub id: Id,
    pub channel: Id,
    pub name: String,
    pub kind: String,
    pub bytes: Vec<u8>,
    pub description: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Interaction {
    pub id: Id,
    /// 2 command, 3 component, 4 autocomplete, 5 modal submit.
    pub kind: u64,
    pub token: String,
    pub person: Id,
    pub channel: Id,
    pub created: DateTime<Utc>,
    pub sent: Instant,
    /// The message with the component, also for a modal that a component opened.
    pub source: Option<Id>,
    /// The interaction that the submitted modal answered.
    pub opened_by: Option<Id>,
    pub first: Option<FirstAnswer>,
    /// The message that `@original` means.
    pub original: Option<Id>,
    pub edits: usize,
    pub follow_ups: Vec<Id>,
}

#[derive(Clone, Debug)]
pub struct FirstAnswer {
    /// The callback's type.
    pub kind: u64,
    pub data: Value,
    pub after: Duration,
}

/// One call of the API, as it was answered.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Value,
    /// Names of the uploaded files.
    pub files: Vec<String>,
    /// 0: it was never answered.
    pub status: u16,
    /// Discord's code of a refusal.
    pub code: Option<u64>,
}

impl World {
    pub fn new(start: DateTime<Utc>, staff_forum: bool) -> Self {
        let mut world = Self {
            start,
            started: Instant::now(),
            ahead: Duration::ZERO,
            last_id: 0,
            roles: Vec::new(),
            people: BTreeMap::new(),
            channels: BTreeMap::new(),
            messages: BTreeMap::new(),
            graveyard: Vec::new(),
            files: BTreeMap::new(),
            interactions: BTreeMap::new(),
            commands: Vec::new(),
            requests: Vec::new(),
            faults: Vec::new(),
            troubles: Troubles::default(),
            gateway: Gateway::default(),
            portal: Portal { message_content: true, server_members: false },
            cdn: String::new(),
            gateway_url: String::new(),
        };
        for (id, name) in
            [(GUILD, "@everyone"), (MODERATOR, "moderator"), (ADMIN, "admin"), (BOT_ROLE, "ticketd")]
        {
            world.roles.push(Role { id, name: name.to_owned() });
        }
        world.add_human(Some(BOT), "ticketd", Duration::from_hours(24 * 100), GUILD, true);
        if let Some(bot) = world.people.get_mut(&BOT) {
            bot.roles.push(BOT_ROLE);
        }
        world.add_channel(SUPPORT, "support", TEXT, GUILD, &[]);
        let kind = if staff_forum { FORUM } else { TEXT };
        world.add_channel(STAFF, "staff", kind, GUILD, &[MODERATOR, ADMIN]);
        world.add_channel(OTHER_CHANNEL, "elsewhere", TEXT, OTHER_GUILD, &[]);
        world
    }

    /// The world's time: it goes on by itself, and the test can move it ahead.
    pub fn now(&self) -> DateTime<Utc> {
        let passed = self.started.elapsed() + self.ahead;
        self.start + TimeDelta::from_std(passed).expect("a test does not last for ages")
    }

    pub fn lets_pass(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// A new snowflake, greater than every one before.
    pub fn new_id(&mut self) -> Id {
        self.last_id = snowflake(self.now()).max(self.last_id + 1);
        self.last_id
    }

    pub fn add_human(&mut self, id: Option<Id>, name: &str, age: Duration, guild: Id, bot: bool) -> Id {
        let now = self.now();
        let born = now - TimeDelta::from_std(age).expect("an age");
        // Everyone of the same age gets a number of their own.
        let number = Id::try_from(self.people.len()).expect("few people");
        let id = id.unwrap_or(snowflake(born) + number);
        let (name, roles) = (name.to_owned(), Vec::new());
        self.people.insert(id, Human { id, name, roles, guild, joined: now, bot, closed: false });
        id
    }

    pub fn add_channel(&mut self, id: Id, name: &str, kind: u64, guild: Id, sees: &[Id]) {
        let (name, guild, sees) = (name.to_owned(), Some(guild), sees.to_vec());
        let channel = Channel {
            id,
            kind,
            name,
            guild,
            parent: None,
            sees,
            forbidden: None,
            tags: Vec::new(),
            thread: None,
            with: None,
            last_message: None,
        };
        self.channels.insert(id, channel);
    }

    pub fn role(&self, name: &str) -> Id {
        let role = self.roles.iter().find(|role| role.name == name);
        role.unwrap_or_else(|| panic!("there is no role {name}")).id
    }

    pub fn human(&self, id: Id) -> &Human {
        self.people.get(&id).unwrap_or_else(|| panic!("there is nobody with the id {id}"))
    }

    pub fn human_named(&self, name: &str) -> Option<&Human> {
        self.people.values().find(|human| human.name == name || human.id.to_string() == name)
    }

    pub fn channel(&self, id: Id) -> &Channel {
        self.channels.get(&id).unwrap_or_else(|| panic!("there is no channel {id}"))
    }

    /// A thread of the world, to change it.
    pub fn thread_mut(&mut self, id: Id) -> Option<&mut ThreadState> {
        self.channels.get_mut(&id)?.thread.as_mut()
    }

    /// The channel that says who sees this one.
    pub fn ruling(&self, id: Id) -> &Channel {
        let channel = self.channel(id);
        channel.parent.map_or(channel, |parent| self.channel(parent))
    }

    /// The code with which the bot is refused there.
    pub fn forbidden(&self, channel: Id) -> Option<u64> {
        let (own, ruling) = (self.channels.get(&channel)?, self.ruling(channel));
        own.forbidden.or(ruling.forbidden)
    }

    /// Whether someone sees a channel or thread, as Discord would show it.
    pub fn sees(&self, person: Id, channel: Id) -> bool {
        let (there, ruling, human) = (self.channel(channel), self.ruling(channel), self.human(person));
        if there.kind == DM {
            return there.with == Some(person);
        }
        // Moderators have "Manage Threads", with which all private threads of a channel can be seen.
        let manages = human.roles.iter().any(|role| [MODERATOR, ADMIN].contains(role));
        let in_guild = ruling.guild == Some(human.guild);
        let by_role = ruling.sees.is_empty() || human.roles.iter().any(|role| ruling.sees.contains(role));
        let is_private = there.kind == PRIVATE_THREAD;
        let invited = there.thread.as_ref().is_some_and(|thread| thread.members.contains(&person));
        in_guild && by_role && (!is_private || invited || manages)
    }

    /// The messages of a channel, oldest first; without those that only one person sees.
    pub fn messages_in(&self, channel: Id) -> Vec<&Message> {
        let there = |message: &&Message| message.channel == channel && message.only_for.is_none();
        self.messages.values().filter(there).collect()
    }

    /// Puts a message where it belongs, and tells the bots. Its id, if it has none, is new.
    pub fn post(&mut self, mut message: Message) -> Id {
        if message.id == 0 {
            message.id = self.new_id();
        }
        let (id, channel) = (message.id, message.channel);
        let is_private = message.only_for.is_some();
        if !is_private {
            self.wake(channel, message.author);
        }
        self.messages.insert(id, message);
        if is_private {
            return id; // facts: nobody but the person sees it
        }
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.last_message = Some(id);
        }
        self.invite_mentioned(id);
        self.tell_message("MESSAGE_CREATE", id);
        id
    }

    /// Writing in an archived thread takes it out of the archive, and makes the writer a member.
    fn wake(&mut self, channel: Id, author: Id) {
        let now = self.now();
        let Some(thread) = self.thread_mut(channel) else { return };
        if !thread.members.contains(&author) {
            thread.members.push(author);
        }
        if thread.archived && !thread.locked {
            thread.archived = false;
            thread.archive_changed = now;
            self.tell_channel("THREAD_UPDATE", channel);
        }
    }

    /// Who is mentioned in a thread, and may see its parent, is in it from then on.
    fn invite_mentioned(&mut self, message: Id) {
        let Some(message) = self.messages.get(&message) else { return };
        let channel = message.channel;
        for person in super::pings::people(message) {
            let Some(human) = self.people.get(&person) else { continue };
            let parent = self.channel(channel).parent;
            let may_see = parent.is_some_and(|parent| self.sees(human.id, parent));
            if may_see
                && let Some(thread) = self.thread_mut(channel)
                && !thread.members.contains(&person)
            {
                thread.members.push(person);
            }
        }
    }

    /// A message by Discord itself about what someone did.
    pub fn note(&mut self, channel: Id, author: Id, kind: u64, content: &str) -> Id {
        self.post(Message { channel, author, kind, content: content.to_owned(), ..Message::default() })
    }

    pub fn remove_message(&mut self, id: Id) -> Option<Message> {
        let message = self.messages.remove(&id)?;
        let channel = message.channel;
        if message.only_for.is_none() {
            let guild = self.channels.get(&channel).and_then(|channel| channel.guild);
            let mut gone = json!({"id": id.to_string(), "channel_id": channel.to_string()});
            wire::set_guild(&mut gone, guild);
            self.tell(super::gateway::Event::in_channel("MESSAGE_DELETE", channel, gone));
        }
        self.graveyard.push(message.clone());
        Some(message)
    }

    pub fn remove_channel(&mut self, id: Id) {
        let Some(channel) = self.channels.get(&id).cloned() else { return };
        let parent = channel.parent.map(|parent| parent.to_string());
        let mut gone = json!({"id": id.to_string(), "parent_id": parent, "type": channel.kind});
        wire::set_guild(&mut gone, channel.guild);
        self.tell(super::gateway::Event::in_channel("THREAD_DELETE", id, gone));
        let lost: Vec<Id> = self.messages.values().filter(|m| m.channel == id).map(|m| m.id).collect();
        for message in lost {
            self.graveyard.extend(self.messages.remove(&message));
        }
        self.channels.remove(&id);
    }

    pub fn keep_file(&mut self, channel: Id, name: &str, kind: &str, bytes: Vec<u8>) -> Id {
        let id = self.new_id();
        let (name, kind) = (name.to_owned(), kind.to_owned());
        self.files.insert(id, File { id, channel, name, kind, bytes, description: None });
        id
    }
}

/// The smallest snowflake of a moment.
pub fn snowflake(time: DateTime<Utc>) -> Id {
    const EPOCH: i64 = 1_420_070_400_000; // 2015-01-01
    Id::try_from(time.timestamp_millis() - EPOCH).expect("a moment after 2015") << 22
}
