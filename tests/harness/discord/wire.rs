//! The world's things as Discord writes them in JSON.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::world::{
    ADMIN, BOT, BOT_ROLE, Channel, File, GUILD, HAS_THREAD, Human, Id, Interaction, MODERATOR, Message,
    OTHER_GUILD, ThreadState, World,
};

/// What everyone may do in the guild: view, send, also in threads, read history, use commands.
const EVERYONE: u64 = 1 << 10 | 1 << 11 | 1 << 16 | 1 << 31 | 1 << 38;
/// With "Manage Messages" and "Manage Threads".
const STAFF: u64 = EVERYONE | 1 << 13 | 1 << 34;

pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// Channels of direct messages have no guild, and then the field is missing.
pub fn set_guild(value: &mut Value, guild: Option<Id>) {
    if let Some(guild) = guild {
        set(value, "guild_id", guild.to_string());
    }
}

pub fn set(value: &mut Value, key: &str, entry: impl Into<Value>) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), entry.into());
    }
}

pub fn user(human: &Human) -> Value {
    json!({"id": human.id.to_string(), "username": human.name, "global_name": human.name, "discriminator": "0",
        "avatar": null, "bot": human.bot, "public_flags": 0, "flags": 0, "primary_guild": null, "locale": "en-US"})
}

/// A member, without the user.
pub fn member(human: &Human) -> Value {
    let roles: Vec<String> = human.roles.iter().map(ToString::to_string).collect();
    json!({"roles": roles, "joined_at": time(human.joined), "nick": null, "avatar": null, "banner": null, "premium_since": null,
        "deaf": false, "mute": false, "pending": false, "flags": 0, "communication_disabled_until": null})
}

pub fn whole_member(human: &Human) -> Value {
    let mut member = member(human);
    set(&mut member, "user", user(human));
    member
}

fn permissions(human: &Human) -> String {
    let is_staff = human.roles.iter().any(|role| [MODERATOR, ADMIN].contains(role));
    (if is_staff { STAFF } else { EVERYONE }).to_string()
}

pub fn roles(world: &World) -> Vec<Value> {
    let role = |(position, role): (usize, &super::world::Role)| {
        let rights = match role.id {
            MODERATOR | ADMIN => STAFF,
            BOT_ROLE => ticketd::discord::check::permissions(),
            _ => EVERYONE,
        };
        json!({"id": role.id.to_string(), "name": role.name, "color": 0, "hoist": false, "managed": role.id == BOT_ROLE,
            "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null}, "mentionable": true,
            "permissions": rights.to_string(), "position": position, "icon": null, "unicode_emoji": null,
            "flags": 0})
    };
    world.roles.iter().enumerate().map(role).collect()
}

pub fn channel(world: &World, channel: &Channel) -> Value {
    let last = channel.last_message.map(|id| id.to_string());
    let mut value =
        json!({"id": channel.id.to_string(), "type": channel.kind, "last_message_id": last, "flags": 0});
    set_guild(&mut value, channel.guild);
    if let Some(person) = channel.with {
        set(&mut value, "recipients", json!([user(world.human(person))]));
        return value;
    }
    set(&mut value, "name", channel.name.clone());
    if let Some(parent) = channel.parent {
        set(&mut value, "parent_id", parent.to_string());
    }
    let Some(thread) = &channel.thread else {
        let tags = channel.tags.iter().map(|(id, name)| {
            json!({"id": id.to_string(), "name": name, "moderated": false, "emoji_id": null, "emoji_name": null})
        });
        set(&mut value, "available_tags", tags.collect::<Vec<_>>());
        let more = json!({"parent_id": null, "position": 0, "topic": null, "nsfw": false, "rate_limit_per_user": 0,
            "permission_overwrites": overwrites(channel)});
        merge(&mut value, &more);
        return value;
    };
    let said = world.messages_in(channel.id).len();
    let more = json!({"owner_id": thread.owner.to_string(), "message_count": said, "total_message_sent": said,
        "member_count": thread.members.len().min(50), "rate_limit_per_user": 0,
        "applied_tags": thread.tags.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "thread_metadata": thread_metadata(thread)});
    merge(&mut value, &more);
    if thread.members.contains(&BOT) {
        let member = json!({"id": channel.id.to_string(), "user_id": BOT.to_string(),
            "join_timestamp": time(thread.created), "flags": 1});
        set(&mut value, "member", member);
    }
    value
}

fn thread_metadata(thread: &ThreadState) -> Value {
    json!({"archived": thread.archived, "locked": thread.locked, "invitable": thread.invitable,
        "auto_archive_duration": thread.auto_archive, "archive_timestamp": time(thread.archive_changed),
        "create_timestamp": time(thread.created)})
}

/// Who sees it, as Discord would say it: everyone does not, these roles and the bot do.
fn overwrites(channel: &Channel) -> Vec<Value> {
    if channel.sees.is_empty() {
        return Vec::new();
    }
    let view = (1u64 << 10).to_string();
    let mut list = vec![json!({"id": GUILD.to_string(), "type": 0, "allow": "0", "deny": view})];
    let roles = channel.sees.iter();
    list.extend(roles.map(|role| json!({"id": role.to_string(), "type": 0, "allow": view, "deny": "0"})));
    list.push(json!({"id": BOT.to_string(), "type": 1, "allow": view, "deny": "0"}));
    list
}

fn merge(value: &mut Value, more: &Value) {
    if let (Some(value), Some(more)) = (value.as_object_mut(), more.as_object()) {
        value.extend(more.clone());
    }
}

pub fn guild(world: &World, id: Id) -> Value {
    let name = if id == OTHER_GUILD { "Elsewhere" } else { "The guild" };
    json!({"id": id.to_string(), "name": name, "icon": null, "splash": null, "discovery_splash": null,
        "owner_id": id.to_string(), "afk_channel_id": null, "afk_timeout": 300, "widget_enabled": false,
        "verification_level": 0, "default_message_notifications": 0, "explicit_content_filter": 0,
        "roles": roles(world), "emojis": [], "stickers": [], "features": [], "mfa_level": 0,
        "application_id": null, "system_channel_id": null, "system_channel_flags": 0, "rules_channel_id": null,
        "max_members": 500_000, "max_presences": null, "vanity_url_code": null, "description": null,
        "banner": null, "premium_tier": 0, "premium_subscription_count": 0, "preferred_locale": "en-US",
        "public_updates_channel_id": null, "nsfw": false, "nsfw_level": 0, "premium_progress_bar_enabled": false,
        "region": "deprecated", "safety_alerts_channel_id": null, "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50, "home_header": null, "widget_channel_id": null, "incidents_data": null})
}

/// A guild as it comes with `GUILD_CREATE`: with its channels and its active threads.
pub fn whole_guild(world: &World, id: Id) -> Value {
    let mut value = guild(world, id);
    let here = || world.channels.values().filter(|channel| channel.guild == Some(id));
    let open = |channel: &&Channel| channel.thread.as_ref().is_some_and(|thread| !thread.archived);
    let seen = |channel: &&Channel| world.forbidden(channel.id) != Some(50001);
    let plain = here().filter(|channel| channel.thread.is_none() && seen(channel));
    let channels: Vec<Value> = plain.map(|there| channel(world, there)).collect();
    let threads: Vec<Value> = here().filter(open).filter(seen).map(|there| channel(world, there)).collect();
    let members: Vec<Value> =
        world.people.values().filter(|human| human.id == BOT).map(whole_member).collect();
    let count = world.people.values().filter(|human| human.guild == id).count();
    let more = json!({"joined_at": time(world.human(BOT).joined), "large": false, "unavailable": false,
        "member_count": count, "voice_states": [], "members": members, "channels": channels, "threads": threads,
        "presences": [], "stage_instances": [], "guild_scheduled_events": [], "soundboard_sounds": []});
    merge(&mut value, &more);
    value
}

/// The threads that the bot sees, as it is told when it comes to see more of them.
pub fn thread_list_sync(world: &World) -> Value {
    let guild = whole_guild(world, GUILD);
    json!({"guild_id": GUILD.to_string(), "threads": guild.get("threads"), "members": []})
}

pub fn message(world: &World, message: &Message) -> Value {
    let author = user(world.human(message.author));
    let mentioned = super::pings::people(message);
    let known = mentioned.iter().filter_map(|id| world.people.get(id));
    let mentions: Vec<Value> = known.map(user).collect();
    let files: Vec<Value> = message
        .files
        .iter()
        .filter_map(|id| world.files.get(id))
        .map(|file| attachment(world, file))
        .collect();
    let mut value = json!({"id": message.id.to_string(), "channel_id": message.channel.to_string(), "author": author,
        "content": message.content, "timestamp": time(when(message.id)),
        "edited_timestamp": message.edited.map(time), "tts": false,
        "mention_everyone": super::pings::all(message).iter().any(|ping| ping.starts_with('@')),
        "mentions": mentions, "mention_roles": [], "attachments": files, "embeds": embeds(message),
        "components": components(message), "pinned": false, "type": message.kind, "flags": message.flags});
    if let Some(nonce) = &message.nonce {
        set(&mut value, "nonce", nonce.clone());
    }
    if let Some((channel, id)) = message.reference {
        let guild = world.channels.get(&channel).and_then(|channel| channel.guild);
        let mut reference =
            json!({"type": 0, "channel_id": channel.to_string(), "message_id": id.to_string()});
        set_guild(&mut reference, guild);
        set(&mut value, "message_reference", reference);
    }
    if let Some(interaction) = message.interaction.and_then(|id| world.interactions.get(&id)) {
        set(&mut value, "webhook_id", BOT.to_string());
        set(&mut value, "application_id", BOT.to_string());
        let metadata = interaction_metadata(world, interaction);
        set(&mut value, "interaction_metadata", metadata);
    }
    if message.flags & HAS_THREAD != 0
        && let Some(thread) = world.channels.get(&message.id)
    {
        set(&mut value, "thread", channel(world, thread));
    }
    value
}

/// From which interaction a message comes.
fn interaction_metadata(world: &World, interaction: &Interaction) -> Value {
    let mut metadata = json!({"id": interaction.id.to_string(), "type": interaction.kind,
        "user": user(world.human(interaction.person)), "authorizing_integration_owners": {"0": GUILD.to_string()}});
    match (interaction.kind, interaction.source) {
        (3, Some(source)) => set(&mut metadata, "interacted_message_id", source.to_string()),
        (5, _) => {
            let opened_by = interaction.opened_by.and_then(|id| world.interactions.get(&id));
            let opened_by = opened_by.map(|opened_by| interaction_metadata(world, opened_by));
            set(&mut metadata, "triggering_interaction_metadata", opened_by);
        }
        _ => {}
    }
    metadata
}

/// Discord gives each embed a type and each component a number; the rest stays as it was sent.
fn embeds(message: &Message) -> Vec<Value> {
    let mut embeds = message.embeds.clone();
    for embed in &mut embeds {
        set(embed, "type", "rich");
        let fields = embed.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten();
        for field in fields.filter(|field| field.get("inline").is_none()) {
            set(field, "inline", false);
        }
    }
    embeds
}

fn components(message: &Message) -> Vec<Value> {
    fn number(component: &mut Value, count: &mut u64) {
        *count += 1;
        set(component, "id", *count);
        if component.get("options").is_some() {
            for (key, usual) in
                [("min_values", json!(1)), ("max_values", json!(1)), ("disabled", json!(false))]
            {
                let given = component.get(key).filter(|given| !given.is_null()).cloned();
                set(component, key, given.unwrap_or(usual));
            }
        }
        for inner in component.get_mut("components").and_then(Value::as_array_mut).into_iter().flatten() {
            number(inner, count);
        }
    }
    let (mut components, mut count) = (message.components.clone(), 0);
    for component in &mut components {
        number(component, &mut count);
    }
    components
}

/// A message as the gateway tells it: with its guild and what is known of its author there.
pub fn told_message(world: &World, told: &Message) -> Value {
    let mut value = message(world, told);
    let guild = world.channels.get(&told.channel).and_then(|channel| channel.guild);
    set_guild(&mut value, guild);
    let human = world.human(told.author);
    if guild.is_some() && told.interaction.is_none() {
        set(&mut value, "member", member(human));
    }
    value
}

/// The fields that are empty for a bot without the intent for message content.
pub fn without_content(value: &mut Value) {
    set(value, "content", "");
    for list in ["embeds", "attachments", "components"] {
        set(value, list, json!([]));
    }
}

fn when(id: Id) -> DateTime<Utc> {
    let millis = i64::try_from(id >> 22).expect("42 bits") + 1_420_070_400_000;
    DateTime::from_timestamp_millis(millis).expect("a moment after 2015")
}

/// An attachment; its address is signed and good for a day, as on cdn.discordapp.com.
pub fn attachment(world: &World, file: &File) -> Value {
    let until = (world.now() + TimeDelta::days(1)).timestamp();
    let from = world.now().timestamp();
    let path = format!("attachments/{}/{}/{}", file.channel, file.id, file.name);
    let url =
        format!("http://{}/{path}?ex={until:x}&is={from:x}&hm={:x}&", world.cdn, signature(file.id, until));
    let mut value = json!({"id": file.id.to_string(), "filename": file.name, "size": file.bytes.len(), "url": url,
        "proxy_url": url, "content_type": file.kind});
    if let Some(description) = &file.description {
        set(&mut value, "description", description.clone());
    }
    value
}

/// Nothing that keeps anyone out, but enough to tell a made-up address from a given one.
pub fn signature(file: Id, until: i64) -> u64 {
    (file ^ until.unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// What all kinds of interactions have in common.
pub fn interaction(world: &World, interaction: &Interaction, data: &Value) -> Value {
    let human = world.human(interaction.person);
    let there = world.channel(interaction.channel);
    let mut about = channel(world, there);
    set(&mut about, "permissions", permissions(human));
    let mut value = json!({"id": interaction.id.to_string(), "application_id": BOT.to_string(),
        "type": interaction.kind, "token": interaction.token, "version": 1, "data": data,
        "channel_id": there.id.to_string(), "channel": about, "locale": "en-US", "entitlements": [],
        "app_permissions": STAFF.to_string(), "attachment_size_limit": 10_485_760,
        "authorizing_integration_owners": {"0": GUILD.to_string()}});
    if there.guild.is_some() {
        // The guild is the person's: who is a member of another one writes from there.
        set(&mut value, "guild_id", human.guild.to_string());
        set(&mut value, "guild", json!({"id": human.guild.to_string(), "locale": "en-US", "features": []}));
        set(&mut value, "guild_locale", "en-US");
        set(&mut value, "context", 0);
        let mut member = whole_member(human);
        set(&mut member, "permissions", permissions(human));
        set(&mut value, "member", member);
    } else {
        set(&mut value, "context", 1);
        set(&mut value, "user", user(human));
    }
    if let Some(source) = interaction.source.and_then(|id| world.messages.get(&id)) {
        set(&mut value, "message", message(world, source));
    }
    value
}

/// The people that the options of a command name.
pub fn resolved(world: &World, people: &[Id]) -> Value {
    let mut users = Map::new();
    let mut members = Map::new();
    for human in people.iter().filter_map(|id| world.people.get(id)) {
        users.insert(human.id.to_string(), user(human));
        let mut member = member(human);
        set(&mut member, "permissions", permissions(human));
        members.insert(human.id.to_string(), member);
    }
    json!({"users": users, "members": members})
}
