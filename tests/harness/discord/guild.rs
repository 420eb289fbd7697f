//! The guild, its people, the bot itself and its commands over the API.

use serde_json::{Value, json};

use super::messages::admitted;
use super::rest::{Call, Outcome, Refusal};
use super::wire;
use super::world::{BOT, Channel, DM, GUILD, Id, OTHER_GUILD, World};

pub fn perform(world: &mut World, call: &Call) -> Outcome {
    match call.operation.as_str() {
        "get_gateway" => Ok((200, json!({"url": world.gateway_url}))),
        "get_bot_gateway" => {
            let limit = json!({"total": 1000, "remaining": 999, "reset_after": 1000, "max_concurrency": 1});
            Ok((200, json!({"url": world.gateway_url, "shards": 1, "session_start_limit": limit})))
        }
        "get_my_user" => {
            let mut user = wire::user(world.human(BOT));
            wire::set(&mut user, "mfa_enabled", false);
            Ok((200, user))
        }
        "get_user" => {
            let human = world.people.get(&call.id("user_id")).ok_or_else(|| Refusal::unknown(10013))?;
            Ok((200, wire::user(human)))
        }
        "get_my_application" | "get_my_oauth2_application" => Ok((200, application(world))),
        "create_dm" => direct(world, call),
        "get_channel" => {
            let id = call.id("channel_id");
            admitted(world, id, false)?;
            Ok((200, wire::channel(world, world.channel(id))))
        }
        "trigger_typing_indicator" => {
            admitted(world, call.id("channel_id"), true)?;
            Ok((204, Value::Null))
        }
        "list_guild_application_commands" => Ok((200, world.commands.clone().into())),
        "bulk_set_guild_application_commands" => commands(world, call),
        _ => of_guild(world, call),
    }
}

/// The guilds that the bot is in.
pub fn known(guild: Id) -> Result<(), Refusal> {
    if [GUILD, OTHER_GUILD].contains(&guild) { Ok(()) } else { Err(Refusal::unknown(10004)) }
}

fn of_guild(world: &World, call: &Call) -> Outcome {
    let guild = call.id("guild_id");
    known(guild)?;
    match call.operation.as_str() {
        "get_guild" => Ok((200, wire::guild(world, guild))),
        "list_guild_roles" => Ok((200, wire::roles(world).into())),
        "list_guild_channels" => {
            let here = |channel: &&Channel| channel.guild == Some(guild) && channel.thread.is_none();
            let seen = |channel: &&Channel| channel.forbidden != Some(50001);
            let channels = world.channels.values().filter(here).filter(seen);
            Ok((200, channels.map(|channel| wire::channel(world, channel)).collect()))
        }
        "get_guild_member" => {
            let human = world.people.get(&call.id("user_id")).ok_or_else(|| Refusal::unknown(10013))?;
            if human.guild != guild {
                return Err(Refusal::unknown(10007));
            }
            Ok((200, wire::whole_member(human)))
        }
        other => panic!("the fake does not do {other} yet"),
    }
}

/// Flags: `GATEWAY_MESSAGE_CONTENT_LIMITED` and `GATEWAY_GUILD_MEMBERS_LIMITED`, for bots in few guilds.
fn application(world: &World) -> Value {
    let mut flags = 0;
    if world.portal.message_content {
        flags |= 1 << 19;
    }
    if world.portal.server_members {
        flags |= 1 << 15;
    }
    json!({"id": BOT.to_string(), "name": "ticketd", "icon": null, "description": "", "summary": "", "type": null,
        "rpc_origins": [], "bot_public": true, "bot_require_code_grant": false, "verify_key": "00", "team": null,
        "flags": flags, "owner": wire::user(world.human(BOT)), "bot": wire::user(world.human(BOT)),
        "redirect_uris": [], "integration_types_config": {}, "interactions_endpoint_url": null,
        "hook": true, "approximate_guild_count": 2, "flags_new": flags.to_string(), "explicit_content_filter": 0,
        "role_connections_verification_url": null, "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0, "eligible_oauth2_scopes": []})
}

/// A channel of direct messages; there is one for each person.
fn direct(world: &mut World, call: &Call) -> Outcome {
    let person = call.body.get("recipient_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let person: Id =
        person.filter(|id| world.people.contains_key(id)).ok_or_else(|| Refusal::unknown(10013))?;
    let there =
        world.channels.values().find(|channel| channel.with == Some(person)).map(|channel| channel.id);
    let id = there.unwrap_or_else(|| {
        let id = world.new_id();
        world.add_channel(id, "", DM, GUILD, &[]);
        if let Some(channel) = world.channels.get_mut(&id) {
            (channel.guild, channel.with) = (None, Some(person));
        }
        id
    });
    Ok((200, wire::channel(world, world.channel(id))))
}

/// All commands at once: what is not named is gone; names that were there keep their ids.
fn commands(world: &mut World, call: &Call) -> Outcome {
    if call.id("application_id") != BOT {
        return Err(Refusal::new(
            403,
            20012,
            "You are not authorized to perform this action on this application",
        ));
    }
    let guild = call.id("guild_id");
    if guild != GUILD {
        return Err(Refusal::new(403, 50001, "Missing Access"));
    }
    let mut registered = Vec::new();
    for command in call.body.as_array().into_iter().flatten() {
        let mut command = command.clone();
        drop_nothings(&mut command);
        let kind = command.get("type").and_then(Value::as_u64).unwrap_or(1);
        let same =
            |old: &&Value| old.get("name") == command.get("name") && old.get("type") == Some(&kind.into());
        let old = world.commands.iter().find(same).and_then(|old| old.get("id").cloned());
        let id = old.unwrap_or_else(|| world.new_id().to_string().into());
        let version = world.new_id().to_string();
        for (key, value) in [("id", id), ("application_id", BOT.to_string().into()), ("type", kind.into())] {
            wire::set(&mut command, key, value);
        }
        wire::set(&mut command, "guild_id", guild.to_string());
        wire::set(&mut command, "version", version);
        for key in ["default_member_permissions", "description"] {
            let value = command.get(key).cloned();
            let missing = if key == "description" { json!("") } else { Value::Null };
            wire::set(&mut command, key, value.unwrap_or(missing));
        }
        registered.push(command);
    }
    world.commands = registered;
    Ok((200, world.commands.clone().into()))
}

/// What says nothing is not kept.
fn drop_nothings(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, entry| !entry.is_null() && *entry != json!([]) && *entry != json!(false));
        object.values_mut().for_each(drop_nothings);
    } else if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(drop_nothings);
    }
}
