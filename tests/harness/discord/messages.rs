//! Messages over the API.

use serde_json::{Value, json};

use super::rest::{Call, Outcome, Refusal};
use super::wire;
use super::world::{BOT, DM, FORUM, Id, Message, World};

/// For how long Discord remembers a nonce: "the past few minutes".
const NONCE_MINUTES: i64 = 5;

/// Whether the bot may be there at all, and do something there.
pub fn admitted(world: &World, channel: Id, to_write: bool) -> Result<(), Refusal> {
    if !world.channels.contains_key(&channel) {
        return Err(Refusal::unknown(10003));
    }
    match world.forbidden(channel) {
        Some(50001) => Err(Refusal::new(403, 50001, "Missing Access")),
        Some(code) if to_write => Err(Refusal::new(403, code, "Missing Permissions")),
        _ => Ok(()),
    }
}

pub fn list(world: &mut World, call: &Call) -> Outcome {
    let channel = call.id("channel_id");
    admitted(world, channel, false)?;
    let bound = |name: &str| call.query(name).and_then(|id| id.parse::<Id>().ok());
    let limit = call.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(50);
    let (after, before) = (bound("after"), bound("before"));
    let mut found = world.messages_in(channel);
    found.retain(|message| after.is_none_or(|id| message.id > id) && before.is_none_or(|id| message.id < id));
    // The newest, except behind `after`, where it is the first ones behind it. Always newest first.
    let skip = if after.is_some() { 0 } else { found.len().saturating_sub(limit) };
    let page: Vec<Value> =
        found.into_iter().skip(skip).take(limit).rev().map(|one| shown(world, one)).collect();
    Ok((200, page.into()))
}

pub fn get(world: &mut World, call: &Call) -> Outcome {
    let message = existing(world, call, false)?;
    Ok((200, shown(world, message)))
}

/// As the bot gets to see it: without the intent, what others wrote is empty here, too.
fn shown(world: &World, message: &Message) -> Value {
    let mut value = wire::message(world, message);
    if !world.portal.message_content && message.author != BOT {
        wire::without_content(&mut value);
    }
    value
}

fn existing<'a>(world: &'a World, call: &Call, to_write: bool) -> Result<&'a Message, Refusal> {
    let channel = call.id("channel_id");
    admitted(world, channel, to_write)?;
    let message = world.messages.get(&call.id("message_id"));
    let message = message.filter(|message| message.channel == channel && message.only_for.is_none());
    message.ok_or_else(|| Refusal::unknown(10008))
}

pub fn create(world: &mut World, call: &Call) -> Outcome {
    let channel = call.id("channel_id");
    admitted(world, channel, true)?;
    let there = world.channel(channel);
    if there.kind == FORUM {
        return Err(Refusal::new(400, 50008, "Cannot send messages in a non-text channel"));
    }
    if there.kind == DM && there.with.is_some_and(|person| world.human(person).closed) {
        return Err(Refusal::new(403, 50007, "Cannot send messages to this user"));
    }
    if let Some(earlier) = with_same_nonce(world, channel, &call.body) {
        return Ok((200, wire::message(world, earlier)));
    }
    let mut message = Message { channel, author: BOT, ..Message::default() };
    if let Some(reference) = call.body.get("message_reference").filter(|reference| !reference.is_null()) {
        let id = reference.get("message_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let id = id.filter(|id| world.messages.contains_key(id));
        let fault = || super::openapi::Fault::new("/message_reference", "Unknown message");
        let id = id.ok_or_else(|| Refusal::form(vec![fault()]))?;
        (message.reference, message.kind) = (Some((channel, id)), 19);
    }
    fill(world, &mut message, call, &call.body);
    refuse_empty(&message)?;
    let id = world.post(message);
    let message = world.messages.get(&id).ok_or_else(|| Refusal::unknown(10008))?;
    Ok((200, wire::message(world, message)))
}

fn with_same_nonce<'a>(world: &'a World, channel: Id, body: &Value) -> Option<&'a Message> {
    let nonce = body.get("nonce").filter(|nonce| !nonce.is_null())?;
    if body.get("enforce_nonce") != Some(&json!(true)) {
        return None;
    }
    let since = super::world::snowflake(world.now() - chrono::TimeDelta::minutes(NONCE_MINUTES));
    let same = |message: &&Message| {
        message.id > since
            && message.channel == channel
            && message.author == BOT
            && message.nonce.as_ref() == Some(nonce)
    };
    world.messages.range(since..).map(|(_, message)| message).find(same)
}

pub fn update(world: &mut World, call: &Call) -> Outcome {
    let message = existing(world, call, true)?;
    let (id, is_ours) = (message.id, message.author == BOT);
    if !is_ours {
        return Err(Refusal::new(403, 50005, "Cannot edit a message authored by another user"));
    }
    let thread = world.channel(message.channel).thread.as_ref();
    if thread.is_some_and(|thread| thread.archived) {
        return Err(Refusal::new(400, 50083, "Thread is archived"));
    }
    let mut message = message.clone();
    fill(world, &mut message, call, &call.body);
    refuse_empty(&message)?;
    message.edited = Some(world.now());
    world.messages.insert(id, message);
    world.tell_message("MESSAGE_UPDATE", id);
    let message = world.messages.get(&id).ok_or_else(|| Refusal::unknown(10008))?;
    Ok((200, wire::message(world, message)))
}

pub fn delete(world: &mut World, call: &Call) -> Outcome {
    let id = existing(world, call, true)?.id;
    let channel = call.id("channel_id");
    if world.channel(channel).thread.as_ref().is_some_and(|thread| thread.archived) {
        return Err(Refusal::new(400, 50083, "Thread is archived"));
    }
    world.remove_message(id);
    Ok((204, Value::Null))
}

pub fn refuse_empty(message: &Message) -> Result<(), Refusal> {
    let is_empty = message.content.trim().is_empty()
        && message.embeds.is_empty()
        && message.components.is_empty()
        && message.files.is_empty();
    if is_empty {
        return Err(Refusal::new(400, 50006, "Cannot send an empty message"));
    }
    Ok(())
}

/// Writes what a body says into a message; what it does not mention stays.
pub fn fill(world: &mut World, message: &mut Message, call: &Call, body: &Value) {
    let given = |key: &str| body.get(key);
    if let Some(content) = given("content") {
        // Discord trims what is around a text.
        content.as_str().unwrap_or_default().trim().clone_into(&mut message.content);
    }
    for (key, list) in [("embeds", &mut message.embeds), ("components", &mut message.components)] {
        if let Some(new) = given(key) {
            *list = new.as_array().cloned().unwrap_or_default();
        }
    }
    for key in ["nonce", "allowed_mentions"] {
        if let Some(new) = given(key).filter(|new| !new.is_null()) {
            let place = if key == "nonce" { &mut message.nonce } else { &mut message.allowed_mentions };
            *place = Some(new.clone());
        }
    }
    if let Some(flags) = given("flags").and_then(Value::as_u64) {
        message.flags |= flags;
    }
    let descriptions = given("attachments").and_then(Value::as_array);
    if let Some(kept) = descriptions {
        let ids: Vec<String> = kept.iter().filter_map(|file| file.get("id")).map(as_text).collect();
        message.files.retain(|file| ids.contains(&file.to_string()));
    }
    for upload in &call.uploads {
        let file = world.keep_file(message.channel, &upload.name, &upload.kind, upload.bytes.clone());
        let number = upload.field.trim_start_matches("files[").trim_end_matches(']');
        let about = descriptions
            .into_iter()
            .flatten()
            .find(|about| about.get("id").map(as_text) == Some(number.into()));
        let description = about.and_then(|about| about.get("description")).and_then(Value::as_str);
        if let Some(file) = world.files.get_mut(&file) {
            file.description = description.map(str::to_owned);
        }
        message.files.push(file);
    }
}

fn as_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
