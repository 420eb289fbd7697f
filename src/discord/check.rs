//! Is Discord set up so that ticketd can work there? For `ticketd doctor`: each finding with what to do.

use anyhow::{anyhow, bail};
use secrecy::ExposeSecret;

use super::api::{Api, ApiError, Application, Channel, Guild, Kind, Member};
use crate::config::Discord;

/// What the bot needs, by Discord's bits and by the names that Discord shows
/// (<https://docs.discord.com/developers/topics/permissions>).
const RIGHTS: [(u32, &str, Place); 9] = [
    (10, "View Channel", Place::Both),
    (11, "Send Messages", Place::Both),
    (14, "Embed Links", Place::Both),
    (15, "Attach Files", Place::Both),
    (16, "Read Message History", Place::Both),
    // Archives, locks and unlocks threads.
    (34, "Manage Threads", Place::Both),
    // From the card in the staff channel.
    (35, "Create Public Threads", Place::Staff),
    // For requesters, in the support channel.
    (36, "Create Private Threads", Place::Support),
    (38, "Send Messages in Threads", Place::Both),
];

const VIEW_CHANNEL: u64 = 1 << 10;
const ADMINISTRATOR: u64 = 1 << 3;

/// Which channel a right is needed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Support,
    Staff,
    Both,
}

/// The rights as the number that an invitation asks for.
pub fn permissions() -> u64 {
    RIGHTS.iter().map(|(bit, ..)| 1_u64 << bit).sum()
}

/// The address by which somebody who manages the server lets the bot in.
pub fn invite_url(application: u64, guild: u64) -> String {
    format!(
        "https://discord.com/oauth2/authorize?client_id={application}&scope=bot%20applications.commands&permissions={}\
         &guild_id={guild}&disable_guild_select=true",
        permissions()
    )
}

/// One line of the report.
pub type Finding = (&'static str, anyhow::Result<String>);

/// Asks Discord for all that the configuration names. Stops at the first thing without which the rest can't be asked.
pub async fn check(config: &Discord) -> Vec<Finding> {
    let mut findings = Vec::new();
    let api = match Api::new(config) {
        Ok(api) => api,
        Err(error) => return vec![("discord", Err(error))],
    };
    let (me, application) = match identify(&api).await {
        Ok(known) => known,
        Err(error) => return vec![("discord token", Err(error))],
    };
    findings
        .push(("discord token", Ok(format!("is that of the bot {} ", me.user.name).trim_end().to_owned())));
    findings.push(("discord intents", intents(&application)));
    let invite = invite_url(application.id, config.guild_id);
    let guild = match guild(&api, config, &invite).await {
        Ok(guild) => guild,
        Err(error) => {
            findings.push(("discord server", Err(error)));
            return findings;
        }
    };
    let said = format!("{}; invite again, if rights are missing: {invite}", guild.name);
    findings.push(("discord server", Ok(said)));
    findings.push(("discord staff roles", staff_roles(config, &guild)));
    let member = match api.member(config.guild_id, me.user.id).await {
        Ok(member) => member.unwrap_or(me),
        Err(error) => {
            findings.push(("discord channels", Err(error.into())));
            return findings;
        }
    };
    for (name, id, place) in [
        ("discord support channel", config.support_channel_id, Place::Support),
        ("discord staff channel", config.staff_channel_id, Place::Staff),
    ] {
        findings.push((name, channel(&api, id, place, &guild, &member).await));
    }
    findings
}

/// Who the bot is, as a member without roles, and its application.
async fn identify(api: &Api) -> anyhow::Result<(Member, Application)> {
    let me = api.me().await?;
    let application = api.application().await?;
    let user = super::said::User { id: me.id, name: me.name, is_bot: true };
    Ok((Member { user, roles: Vec::new() }, application))
}

fn intents(application: &Application) -> anyhow::Result<String> {
    if application.reads_messages() {
        return Ok("Message Content is on".to_owned());
    }
    Err(anyhow!(
        "switch on Message Content Intent: https://discord.com/developers/applications/{}/bot, Privileged Gateway Intents; \
         without it the bot reads empty messages, and Discord closes its connection",
        application.id
    ))
}

async fn guild(api: &Api, config: &Discord, invite: &str) -> anyhow::Result<Guild> {
    match api.guild(config.guild_id).await {
        Err(ApiError::Forbidden(_) | ApiError::Gone(_)) => {
            bail!("the bot is not in the server {}: invite it, by {invite}", config.guild_id)
        }
        other => Ok(other?),
    }
}

fn staff_roles(config: &Discord, guild: &Guild) -> anyhow::Result<String> {
    let roles = [("moderator", config.staff_roles.moderator), ("admin", config.staff_roles.admin)];
    let mut named = Vec::new();
    for (name, id) in roles {
        let Some(id) = id else { continue };
        match guild.roles.iter().find(|role| role.id == id) {
            Some(role) => named.push(format!("{name} is {}", role.name)),
            None => bail!("there is no role {id} in the server: check discord.staff_roles.{name}"),
        }
    }
    if named.is_empty() {
        return Ok("none; staff link their address with /link".to_owned());
    }
    Ok(named.join(", "))
}

async fn channel(api: &Api, id: u64, place: Place, guild: &Guild, member: &Member) -> anyhow::Result<String> {
    let channel = match api.channel(id).await {
        Err(ApiError::Forbidden(_)) => {
            bail!("the bot may not see the channel {id}: give its role View Channel there")
        }
        Err(ApiError::Gone(_)) => bail!("there is no channel {id}: check the id in the configuration"),
        other => other?,
    };
    judge_channel(&channel, place, guild, member)
}

fn judge_channel(channel: &Channel, place: Place, guild: &Guild, member: &Member) -> anyhow::Result<String> {
    if channel.guild != Some(guild.id) {
        bail!("#{} is in another server", channel.name);
    }
    let kind = match (channel.kind, place) {
        (Kind::Text, _) => "a text channel",
        (Kind::Forum, Place::Staff) => "a forum",
        (Kind::Forum, _) => {
            bail!("#{} is a forum: a forum has no private threads; use a text channel", channel.name)
        }
        _ => bail!("#{} is no text channel", channel.name),
    };
    if place == Place::Staff && everybody_sees(guild, channel) {
        bail!("everybody in the server sees #{}: take View Channel from @everyone there", channel.name);
    }
    let allowed = allowed(guild, channel, member);
    let missing: Vec<&str> = RIGHTS
        .iter()
        // In a forum, posts are made by Send Messages.
        .filter(|(bit, _, _)| !(channel.kind == Kind::Forum && *bit == 35))
        .filter(|(bit, _, needed)| (*needed == Place::Both || *needed == place) && allowed & (1 << bit) == 0)
        .map(|(_, name, _)| *name)
        .collect();
    if !missing.is_empty() {
        bail!("in #{} the bot lacks {}: give them to its role there", channel.name, missing.join(", "));
    }
    Ok(format!("#{} is {kind}, with all rights the bot needs", channel.name))
}

/// Whether a member without any role sees a channel.
pub fn everybody_sees(guild: &Guild, channel: &Channel) -> bool {
    allowed(guild, channel, &Member { user: nobody(), roles: Vec::new() }) & VIEW_CHANNEL != 0
}

fn nobody() -> super::said::User {
    super::said::User { id: 0, name: String::new(), is_bot: false }
}

/// What a member may do in a channel
/// (<https://docs.discord.com/developers/topics/permissions#permission-overwrites>).
fn allowed(guild: &Guild, channel: &Channel, member: &Member) -> u64 {
    if member.user.id == guild.owner {
        return u64::MAX;
    }
    // The role of everyone has the server's id.
    let has = |role: u64| role == guild.id || member.roles.contains(&role);
    let by_roles = guild.roles.iter().filter(|role| has(role.id)).fold(0, |all, role| all | role.permissions);
    if by_roles & ADMINISTRATOR != 0 {
        return u64::MAX;
    }
    let lay = |base: u64, over: &dyn Fn(u64) -> bool| {
        let over = channel.overwrites.iter().filter(|overwrite| over(overwrite.id));
        let (allow, deny) = over.fold((0, 0), |(allow, deny), o| (allow | o.allow, deny | o.deny));
        base & !deny | allow
    };
    let everyone = lay(by_roles, &|id| id == guild.id);
    let roles = lay(everyone, &|id| id != guild.id && member.roles.contains(&id));
    lay(roles, &|id| id == member.user.id)
}

/// Whether the token is there; for the checks that ask nobody.
pub fn check_token(config: &Discord) -> anyhow::Result<String> {
    let token = config.token()?;
    match serenity::utils::token::validate(token.expose_secret().trim()) {
        Ok(()) => Ok("is readable".to_owned()),
        Err(_) if config.api_base.is_some() || config.connect_addr.is_some() => Ok("is readable".to_owned()),
        Err(_) => bail!("is readable, but no bot's token: copy it from the developer portal, page Bot"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{Overwrite, Role};
    use super::*;

    const EVERYONE: u64 = 1;
    const BOTS: u64 = 2;

    fn guild() -> Guild {
        let role = |id, permissions| Role { id, name: "role".to_owned(), permissions };
        Guild {
            id: EVERYONE,
            name: "Desk".into(),
            owner: 99,
            roles: vec![role(EVERYONE, VIEW_CHANNEL), role(BOTS, permissions())],
        }
    }

    fn bot() -> Member {
        Member {
            user: super::super::said::User { id: 7, name: "ticketd".into(), is_bot: true },
            roles: vec![BOTS],
        }
    }

    fn text(kind: Kind, overwrites: Vec<Overwrite>) -> Channel {
        Channel {
            id: 5,
            kind,
            guild: Some(EVERYONE),
            parent: None,
            name: "desk".into(),
            tags: vec![],
            applied_tags: vec![],
            archived: false,
            locked: false,
            overwrites,
        }
    }

    fn hidden() -> Overwrite {
        Overwrite { id: EVERYONE, allow: 0, deny: VIEW_CHANNEL }
    }

    fn seen_by_bots() -> Overwrite {
        Overwrite { id: BOTS, allow: VIEW_CHANNEL, deny: 0 }
    }

    #[test]
    fn the_number_in_the_invitation() {
        assert_eq!(permissions(), 395_137_108_992);
        insta::assert_snapshot!(invite_url(11, 22), @"https://discord.com/oauth2/authorize?client_id=11&scope=bot%20applications.commands&permissions=395137108992&guild_id=22&disable_guild_select=true");
    }

    #[test]
    fn what_is_said_of_a_channel() {
        let said = |channel: &Channel, place| match judge_channel(channel, place, &guild(), &bot()) {
            Ok(said) => said,
            Err(error) => format!("FAIL {error:#}"),
        };
        let lines = [
            said(&text(Kind::Text, vec![]), Place::Support),
            said(&text(Kind::Text, vec![hidden(), seen_by_bots()]), Place::Staff),
            said(&text(Kind::Forum, vec![hidden(), seen_by_bots()]), Place::Staff),
            said(&text(Kind::Text, vec![]), Place::Staff),
            said(&text(Kind::Forum, vec![]), Place::Support),
            said(&text(Kind::Other(2), vec![]), Place::Support),
            said(&Channel { guild: Some(8), ..text(Kind::Text, vec![]) }, Place::Support),
            said(&text(Kind::Text, vec![hidden()]), Place::Support),
            said(
                &text(Kind::Text, vec![Overwrite { id: BOTS, allow: 0, deny: 1 << 36 | 1 << 38 }]),
                Place::Support,
            ),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        #desk is a text channel, with all rights the bot needs
        #desk is a text channel, with all rights the bot needs
        #desk is a forum, with all rights the bot needs
        FAIL everybody in the server sees #desk: take View Channel from @everyone there
        FAIL #desk is a forum: a forum has no private threads; use a text channel
        FAIL #desk is no text channel
        FAIL #desk is in another server
        FAIL in #desk the bot lacks View Channel: give them to its role there
        FAIL in #desk the bot lacks Create Private Threads, Send Messages in Threads: give them to its role there
        ");
    }

    #[test]
    fn rights_are_laid_over_each_other_in_discords_order() {
        let overwrites = |list: &[(u64, u64, u64)]| {
            text(Kind::Text, list.iter().map(|&(id, allow, deny)| Overwrite { id, allow, deny }).collect())
        };
        let allowed =
            |list: &[(u64, u64, u64)]| allowed(&guild(), &overwrites(list), &bot()) & VIEW_CHANNEL != 0;
        assert!(allowed(&[]));
        assert!(!allowed(&[(EVERYONE, 0, VIEW_CHANNEL)]));
        assert!(allowed(&[(BOTS, VIEW_CHANNEL, 0), (EVERYONE, 0, VIEW_CHANNEL)]));
        assert!(!allowed(&[(7, 0, VIEW_CHANNEL), (BOTS, VIEW_CHANNEL, 0)]));
        let owner = Guild { owner: 7, ..guild() };
        assert_eq!(super::allowed(&owner, &overwrites(&[(7, 0, VIEW_CHANNEL)]), &bot()), u64::MAX);
    }

    #[test]
    fn the_intent_that_is_missing_is_named() {
        let application = |flags| Application { id: 11, name: String::new(), flags };
        assert!(intents(&application(1 << 18)).is_ok() && intents(&application(1 << 19)).is_ok());
        insta::assert_snapshot!(format!("{:#}", intents(&application(0)).unwrap_err()), @"switch on Message Content Intent: https://discord.com/developers/applications/11/bot, Privileged Gateway Intents; without it the bot reads empty messages, and Discord closes its connection");
    }

    #[test]
    fn roles_that_are_not_there_are_named() {
        let config = |moderator| Discord {
            staff_roles: crate::config::StaffRoles { moderator, admin: None },
            ..Discord::default()
        };
        assert_eq!(staff_roles(&config(Some(BOTS)), &guild()).unwrap(), "moderator is role");
        assert!(staff_roles(&config(None), &guild()).is_ok());
        insta::assert_snapshot!(staff_roles(&config(Some(66)), &guild()).unwrap_err(), @"there is no role 66 in the server: check discord.staff_roles.moderator");
    }
}
