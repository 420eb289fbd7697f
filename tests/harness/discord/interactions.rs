//! Answers to interactions over the API: <https://discord.com/developers/docs/interactions/receiving-and-responding>.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::messages::{fill, refuse_empty};
use super::openapi::Fault;
use super::rest::{Call, Outcome, Refusal};
use super::wire;
use super::world::{BOT, EPHEMERAL, FirstAnswer, Id, Interaction, LOADING, Message, World};

/// An interaction waits so long for its first answer.
const FIRST_SECONDS: i64 = 3;
/// And its token is good so long.
const TOKEN_MINUTES: i64 = 15;

/// The first answer.
pub fn callback(world: &mut World, call: &Call) -> Outcome {
    let id = call.id("interaction_id");
    let interaction = world.interactions.get(&id).filter(|it| it.token == call.text("interaction_token"));
    let interaction = interaction.ok_or_else(|| Refusal::unknown(10062))?.clone();
    if interaction.first.is_some() {
        return Err(Refusal::new(400, 40060, "Interaction has already been acknowledged."));
    }
    if world.now() - interaction.created > TimeDelta::seconds(FIRST_SECONDS) {
        return Err(Refusal::unknown(10062));
    }
    let kind = call.body.get("type").and_then(Value::as_u64).unwrap_or_default();
    if let Some(why) = misplaced(&interaction, kind) {
        return Err(Refusal::form(vec![Fault::new("/type", why)]));
    }
    let data = call.body.get("data").cloned().unwrap_or_default();
    let original = match kind {
        4 | 5 => Some(post(world, &interaction, call, &data, kind == 5)?),
        7 => {
            update_source(world, &interaction, call, &data)?;
            interaction.source
        }
        6 => interaction.source,
        _ => None,
    };
    if let Some(interaction) = world.interactions.get_mut(&id) {
        let after = interaction.sent.elapsed();
        interaction.first = Some(FirstAnswer { kind, data, after });
        interaction.original = original;
    }
    if call.query("with_response") != Some("true") {
        return Ok((204, Value::Null));
    }
    let message =
        original.and_then(|id| world.messages.get(&id)).map(|message| wire::message(world, message));
    let about = json!({"id": id.to_string(), "type": interaction.kind});
    Ok((200, json!({"interaction": about, "resource": {"type": kind, "message": message}})))
}

/// Why this kind of answer does not fit this kind of interaction.
fn misplaced(interaction: &Interaction, kind: u64) -> Option<&'static str> {
    let is_autocomplete = interaction.kind == 4;
    match kind {
        8 if !is_autocomplete => Some("choices answer nothing but autocomplete"),
        8 => None,
        _ if is_autocomplete => Some("autocomplete is answered with choices"),
        9 if interaction.kind == 5 => Some("a modal can't answer a modal"),
        6 | 7 if interaction.source.is_none() => Some("there is no message that it could update"),
        4..=7 | 9 => None,
        _ => Some("not a type that answers this interaction"),
    }
}

/// A message that answers: at once, or a placeholder that says "is thinking".
fn post(
    world: &mut World,
    it: &Interaction,
    call: &Call,
    data: &Value,
    loading: bool,
) -> Result<Id, Refusal> {
    let mut message = Message {
        channel: it.channel,
        author: BOT,
        interaction: Some(it.id),
        kind: 20,
        ..Message::default()
    };
    fill(world, &mut message, call, data);
    message.flags &= EPHEMERAL | 1 << 2 | super::world::COMPONENTS_V2;
    message.only_for = (message.flags & EPHEMERAL != 0).then_some(it.person);
    if loading {
        message.content.clear();
        message.flags |= LOADING;
    } else {
        refuse_empty(&message)?;
    }
    Ok(world.post(message))
}

fn update_source(world: &mut World, it: &Interaction, call: &Call, data: &Value) -> Result<(), Refusal> {
    let source = it.source.and_then(|id| world.messages.get(&id)).cloned();
    let mut source = source.ok_or_else(|| Refusal::unknown(10008))?;
    fill(world, &mut source, call, data);
    save(world, source)
}

fn save(world: &mut World, mut message: Message) -> Result<(), Refusal> {
    refuse_empty(&message)?;
    // The placeholder is filled, and counts as written then, not as edited.
    if message.flags & LOADING == 0 {
        message.edited = Some(world.now());
    }
    message.flags &= !LOADING;
    let id = message.id;
    world.messages.insert(id, message);
    world.tell_message("MESSAGE_UPDATE", id);
    Ok(())
}

/// The interaction whose token is in the path of a webhook, if it can be used.
fn by_token(world: &World, call: &Call) -> Result<Interaction, Refusal> {
    if call.id("webhook_id") != BOT {
        return Err(Refusal::unknown(10015));
    }
    let token = call.text("webhook_token");
    let interaction = world.interactions.values().find(|it| it.token == token);
    let interaction = interaction.filter(|it| it.first.is_some()).ok_or_else(|| Refusal::unknown(10015))?;
    if world.now() - interaction.created > TimeDelta::minutes(TOKEN_MINUTES) {
        return Err(Refusal::new(401, 50027, "Invalid Webhook Token"));
    }
    Ok(interaction.clone())
}

/// `@original` and later messages: GET, PATCH, DELETE.
pub fn message(world: &mut World, call: &Call) -> Outcome {
    let it = by_token(world, call)?;
    let is_original = call.operation.contains("original");
    let id = if is_original { it.original } else { Some(call.id("message_id")) };
    let ours = |id: &Id| it.original == Some(*id) || it.follow_ups.contains(id);
    let found = id.filter(ours).and_then(|id| world.messages.get(&id));
    let mut message = found.ok_or_else(|| Refusal::unknown(10008))?.clone();
    let id = message.id;
    if call.operation.starts_with("delete") {
        world.remove_message(id);
        return Ok((204, Value::Null));
    }
    if call.operation.starts_with("update") {
        let flags = message.flags;
        fill(world, &mut message, call, &call.body);
        message.flags = flags;
        save(world, message)?;
        if let Some(it) = world.interactions.get_mut(&it.id) {
            it.edits += 1;
        }
    }
    let message = world.messages.get(&id).ok_or_else(|| Refusal::unknown(10008))?;
    Ok((200, wire::message(world, message)))
}

/// One more message. The first one behind a deferral takes the placeholder's place.
pub fn follow_up(world: &mut World, call: &Call) -> Outcome {
    let it = by_token(world, call)?;
    let waiting = it.original.and_then(|id| world.messages.get(&id));
    let waiting = waiting.filter(|message| message.flags & LOADING != 0).cloned();
    let id = if let Some(mut message) = waiting {
        let (id, flags) = (message.id, message.flags);
        fill(world, &mut message, call, &call.body);
        message.flags = flags;
        save(world, message)?;
        id
    } else {
        let id = post(world, &it, call, &call.body, false)?;
        if let Some(it) = world.interactions.get_mut(&it.id) {
            it.follow_ups.push(id);
        }
        id
    };
    let message = world.messages.get(&id).ok_or_else(|| Refusal::unknown(10008))?;
    if call.query("wait") == Some("false") {
        return Ok((204, Value::Null));
    }
    Ok((200, wire::message(world, message)))
}
