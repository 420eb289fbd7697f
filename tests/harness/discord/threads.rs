//! Threads over the API.

use serde_json::{Value, json};

use super::messages::{admitted, fill, refuse_empty};
use super::openapi::Fault;
use super::rest::{Call, Outcome, Refusal};
use super::wire;
use super::world::{
    BOT, Channel, FORUM, HAS_THREAD, Id, Message, PRIVATE_THREAD, PUBLIC_THREAD, TEXT, ThreadState, World,
};

pub fn create(world: &mut World, call: &Call) -> Outcome {
    let parent = call.id("channel_id");
    admitted(world, parent, true)?;
    let first = call.body.get("message");
    let fault = |at: &str, what: &str| Refusal::form(vec![Fault::new(at, what)]);
    match (world.channel(parent).kind, first) {
        (FORUM, Some(first)) => {
            let id = world.new_id();
            let mut message = Message { id, channel: id, author: BOT, ..Message::default() };
            fill(world, &mut message, call, first);
            refuse_empty(&message)?;
            let unknown = tags(&call.body).into_iter().any(|tag| !has_tag(world, parent, tag));
            if unknown {
                return Err(fault("/applied_tags", "Unknown tag"));
            }
            open(world, id, PUBLIC_THREAD, parent, &call.body);
            world.post(message);
            world.tell_channel("THREAD_CREATE", id);
            let mut value = wire::channel(world, world.channel(id));
            let message = world.messages.get(&id).map(|message| wire::message(world, message));
            wire::set(&mut value, "message", message);
            Ok((201, value))
        }
        (FORUM, None) => Err(fault("/message", "This field is required")),
        (TEXT, Some(_)) => Err(fault("/message", "Only a post in a forum has one")),
        (TEXT, None) => {
            let kind = call.body.get("type").and_then(Value::as_u64).unwrap_or(PRIVATE_THREAD);
            let id = world.new_id();
            open(world, id, kind, parent, &call.body);
            world.tell_channel("THREAD_CREATE", id);
            if kind == PUBLIC_THREAD {
                let name = world.channel(id).name.clone();
                world.note(parent, BOT, 18, &name);
            }
            Ok((201, wire::channel(world, world.channel(id))))
        }
        _ => Err(Refusal::new(400, 50024, "Cannot execute action on this channel type")),
    }
}

pub fn create_from_message(world: &mut World, call: &Call) -> Outcome {
    let (parent, id) = (call.id("channel_id"), call.id("message_id"));
    admitted(world, parent, true)?;
    let there =
        world.messages.get(&id).filter(|message| message.channel == parent && message.only_for.is_none());
    if there.is_none() {
        return Err(Refusal::unknown(10008));
    }
    if world.channels.contains_key(&id) {
        return Err(Refusal::new(400, 160_004, "A thread has already been created for this message"));
    }
    if world.channel(parent).kind != TEXT {
        return Err(Refusal::new(400, 50024, "Cannot execute action on this channel type"));
    }
    open(world, id, PUBLIC_THREAD, parent, &call.body);
    if let Some(message) = world.messages.get_mut(&id) {
        message.flags |= HAS_THREAD;
    }
    world.tell_channel("THREAD_CREATE", id);
    world.tell_message("MESSAGE_UPDATE", id);
    // What stands at the head of the thread is a message of its own kind, that points to the real one.
    let reference = Some((parent, id));
    world.post(Message { channel: id, author: BOT, kind: 21, reference, ..Message::default() });
    Ok((201, wire::channel(world, world.channel(id))))
}

fn open(world: &mut World, id: Id, kind: u64, parent: Id, body: &Value) {
    let now = world.now();
    let channel = Channel {
        id,
        kind,
        name: body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        guild: world.channel(parent).guild,
        parent: Some(parent),
        sees: Vec::new(),
        forbidden: None,
        tags: Vec::new(),
        thread: Some(ThreadState {
            owner: BOT,
            members: vec![BOT],
            archived: false,
            locked: false,
            invitable: body.get("invitable").and_then(Value::as_bool).unwrap_or(true),
            auto_archive: body.get("auto_archive_duration").and_then(Value::as_u64).unwrap_or(4320),
            tags: tags(body),
            archive_changed: now,
            created: now,
        }),
        with: None,
        last_message: None,
    };
    world.channels.insert(id, channel);
}

fn tags(body: &Value) -> Vec<Id> {
    let tags = body.get("applied_tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(Value::as_str).filter_map(|tag| tag.parse().ok()).collect()
}

fn has_tag(world: &World, forum: Id, tag: Id) -> bool {
    world.channel(forum).tags.iter().any(|(id, _)| *id == tag)
}

pub fn update(world: &mut World, call: &Call) -> Outcome {
    let id = call.id("channel_id");
    admitted(world, id, true)?;
    let channel = world.channel(id).clone();
    let Some(mut thread) = channel.thread.clone() else {
        return update_forum(world, &channel, &call.body);
    };
    let flag = |key: &str| call.body.get(key).and_then(Value::as_bool);
    if thread.archived && flag("archived") != Some(false) {
        // facts: of an archived thread nothing can be changed before it is out of the archive
        return Err(Refusal::new(400, 50083, "Thread is archived"));
    }
    let name = call.body.get("name").and_then(Value::as_str);
    if name.is_some_and(str::is_empty) {
        return Err(Refusal::form(vec![Fault::new("/name", "Must be between 1 and 100 in length.")]));
    }
    if flag("archived").is_some_and(|archived| archived != thread.archived) {
        thread.archive_changed = world.now();
    }
    thread.archived = flag("archived").unwrap_or(thread.archived);
    thread.locked = flag("locked").unwrap_or(thread.locked);
    thread.invitable = flag("invitable").unwrap_or(thread.invitable);
    if let Some(minutes) = call.body.get("auto_archive_duration").and_then(Value::as_u64) {
        thread.auto_archive = minutes;
    }
    if call.body.get("applied_tags").is_some() {
        thread.tags = tags(&call.body);
        if !thread.tags.iter().all(|tag| channel.parent.is_some_and(|forum| has_tag(world, forum, *tag))) {
            return Err(Refusal::form(vec![Fault::new("/applied_tags", "Unknown tag")]));
        }
    }
    let renamed = name.filter(|name| *name != channel.name).map(str::to_owned);
    if let Some(there) = world.channels.get_mut(&id) {
        there.name = renamed.clone().unwrap_or(channel.name);
        there.thread = Some(thread);
    }
    if let Some(name) = renamed {
        world.note(id, BOT, 4, &name);
    }
    world.tell_channel("THREAD_UPDATE", id);
    Ok((200, wire::channel(world, world.channel(id))))
}

/// Of channels that are no threads, the bot may change the tags of a forum.
fn update_forum(world: &mut World, channel: &Channel, body: &Value) -> Outcome {
    if let Some(tags) = body.get("available_tags").and_then(Value::as_array) {
        if channel.kind != FORUM {
            return Err(Refusal::new(400, 50024, "Cannot execute action on this channel type"));
        }
        if tags.len() > 20 {
            return Err(Refusal::form(vec![Fault::new("/available_tags", "Must be 20 or fewer in length.")]));
        }
        let mut kept = Vec::new();
        for tag in tags {
            let id = tag.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
            let id = id.unwrap_or_else(|| world.new_id());
            kept.push((id, tag.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()));
        }
        if let Some(channel) = world.channels.get_mut(&channel.id) {
            channel.tags = kept;
        }
        world.tell_channel("CHANNEL_UPDATE", channel.id);
    }
    Ok((200, wire::channel(world, world.channel(channel.id))))
}

pub fn delete(world: &mut World, call: &Call) -> Outcome {
    let id = call.id("channel_id");
    admitted(world, id, true)?;
    let value = wire::channel(world, world.channel(id));
    world.remove_channel(id);
    Ok((200, value))
}

fn state<'a>(world: &'a World, call: &Call, to_write: bool) -> Result<&'a ThreadState, Refusal> {
    let id = call.id("channel_id");
    admitted(world, id, to_write)?;
    let thread = world.channel(id).thread.as_ref();
    let thread =
        thread.ok_or_else(|| Refusal::new(400, 50024, "Cannot execute action on this channel type"))?;
    if to_write && thread.archived {
        return Err(Refusal::new(400, 50083, "Thread is archived"));
    }
    Ok(thread)
}

fn person(call: &Call) -> Id {
    if call.text("user_id").is_empty() { BOT } else { call.id("user_id") }
}

pub fn add_member(world: &mut World, call: &Call) -> Outcome {
    let (id, person) = (call.id("channel_id"), person(call));
    let is_in = state(world, call, true)?.members.contains(&person);
    let human = world.people.get(&person).ok_or_else(|| Refusal::unknown(10013))?;
    let parent = world.ruling(id).id;
    let may_see = person == BOT || world.sees(human.id, parent);
    if !may_see {
        return Err(Refusal::new(403, 50001, "Missing Access"));
    }
    if !is_in {
        if let Some(thread) = world.thread_mut(id) {
            thread.members.push(person);
        }
        if person != BOT {
            world.note(id, BOT, 1, "");
        }
    }
    Ok((204, Value::Null))
}

pub fn remove_member(world: &mut World, call: &Call) -> Outcome {
    let (id, person) = (call.id("channel_id"), person(call));
    state(world, call, true)?;
    if let Some(thread) = world.thread_mut(id) {
        thread.members.retain(|member| *member != person);
    }
    Ok((204, Value::Null))
}

pub fn members(world: &mut World, call: &Call) -> Outcome {
    let id = call.id("channel_id");
    let thread = state(world, call, false)?;
    let since = wire::time(thread.created);
    let one = |member: &Id| json!({"id": id.to_string(), "user_id": member.to_string(), "join_timestamp": since, "flags": 0});
    if call.operation == "list_thread_members" {
        return Ok((200, thread.members.iter().map(one).collect()));
    }
    let member = thread.members.iter().find(|member| **member == person(call));
    member.map(|member| (200, one(member))).ok_or_else(|| Refusal::unknown(10007))
}

pub fn active(world: &mut World, call: &Call) -> Outcome {
    let guild = call.id("guild_id");
    super::guild::known(guild)?;
    let mut found = world.channels.values().collect::<Vec<_>>();
    found.retain(|channel| {
        let is_open = channel.thread.as_ref().is_some_and(|thread| !thread.archived);
        is_open && channel.guild == Some(guild) && world.forbidden(channel.id) != Some(50001)
    });
    Ok((200, listed(world, found)))
}

pub fn archived(world: &mut World, call: &Call) -> Outcome {
    let parent = call.id("channel_id");
    admitted(world, parent, false)?;
    let kind = if call.operation.contains("private") { PRIVATE_THREAD } else { PUBLIC_THREAD };
    let mut found = world.channels.values().collect::<Vec<_>>();
    found.retain(|channel| {
        let is_archived = channel.thread.as_ref().is_some_and(|thread| thread.archived);
        is_archived && channel.parent == Some(parent) && channel.kind == kind
    });
    found.sort_by_key(|channel| {
        channel.thread.as_ref().map(|thread| std::cmp::Reverse(thread.archive_changed))
    });
    Ok((200, listed(world, found)))
}

fn listed(world: &World, mut found: Vec<&Channel>) -> Value {
    found.reverse();
    let threads: Vec<Value> = found.iter().map(|channel| wire::channel(world, channel)).collect();
    let members: Vec<Value> = threads.iter().filter_map(|thread| thread.get("member").cloned()).collect();
    json!({"threads": threads, "members": members, "has_more": false})
}
