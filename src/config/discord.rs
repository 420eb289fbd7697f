//! The section `[discord]`: which server, which channels, whose roles, what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use secrecy::SecretString;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::load;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discord {
    pub token: Option<SecretString>,
    pub token_file: Option<PathBuf>,
    #[serde(deserialize_with = "id")]
    pub guild_id: u64,
    /// Where people open tickets: private threads with the requester live under it.
    #[serde(deserialize_with = "id")]
    pub support_channel_id: u64,
    /// A text channel or a forum that only staff see: one thread for each ticket.
    #[serde(deserialize_with = "id")]
    pub staff_channel_id: u64,
    pub staff_roles: StaffRoles,
    pub plain_messages: PlainMessages,
    /// Way A: a REST proxy in place of <https://discord.com>. Then ticketd waits out rate limits by itself.
    pub api_base: Option<String>,
    /// Way B: discord.com is found at this address, over TLS as always.
    pub connect_addr: Option<SocketAddr>,
    pub ca_file: Option<PathBuf>,
    /// Hosts that files are fetched from; of loopback addresses also by plain http, and with a port.
    pub cdn_hosts: Vec<String>,
    /// 0: no limit.
    pub max_open_tickets: u32,
    pub cooldown_seconds: u32,
    pub min_account_age_days: u32,
    #[serde(deserialize_with = "ids")]
    pub blocked: Vec<u64>,
    pub transcript_on_close: bool,
}

/// Discord roles whose members are staff, for as long as they hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StaffRoles {
    #[serde(deserialize_with = "some_id")]
    pub moderator: Option<u64>,
    #[serde(deserialize_with = "some_id")]
    pub admin: Option<u64>,
}

/// What a message that staff just write into a ticket's staff thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainMessages {
    /// Stays inside; `/reply` and the buttons answer.
    #[default]
    Note,
    /// Goes to the requester, unless it begins with `//`.
    Reply,
}

impl Default for Discord {
    fn default() -> Self {
        Self {
            token: None,
            token_file: None,
            guild_id: 0,
            support_channel_id: 0,
            staff_channel_id: 0,
            staff_roles: StaffRoles::default(),
            plain_messages: PlainMessages::Note,
            api_base: None,
            connect_addr: None,
            ca_file: None,
            cdn_hosts: ["cdn.discordapp.com", "media.discordapp.net"].map(str::to_owned).to_vec(),
            max_open_tickets: 5,
            cooldown_seconds: 60,
            min_account_age_days: 0,
            blocked: Vec::new(),
            transcript_on_close: false,
        }
    }
}

impl Discord {
    /// The bot's token, from the file or the environment.
    pub fn token(&self) -> anyhow::Result<SecretString> {
        load::secret("discord: token", self.token.as_ref(), self.token_file.as_deref())?
            .context("discord: token_file is missing: the token is on the page Bot of the developer portal")
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let ids = [
            ("guild_id", self.guild_id, "server: Copy Server ID"),
            ("support_channel_id", self.support_channel_id, "channel where people ask: Copy Channel ID"),
            ("staff_channel_id", self.staff_channel_id, "channel of the staff: Copy Channel ID"),
        ];
        for (key, id, place) in ids {
            if id == 0 {
                bail!(
                    "discord: {key} is missing: switch on Developer Mode in Discord (User Settings, Advanced), \
                     then right-click the {place}"
                );
            }
        }
        if self.support_channel_id == self.staff_channel_id {
            bail!(
                "discord: support_channel_id and staff_channel_id are the same: requesters may not see staff's"
            );
        }
        if self.staff_roles.moderator.is_some() && self.staff_roles.moderator == self.staff_roles.admin {
            bail!("discord: staff_roles has the same role for moderator and admin");
        }
        // Everybody in a server has the role whose id is the server's.
        if [self.staff_roles.moderator, self.staff_roles.admin].contains(&Some(self.guild_id)) {
            bail!("discord: staff_roles names @everyone: all members would be staff");
        }
        if self.api_base.is_some() && self.connect_addr.is_some() {
            bail!("discord: api_base and connect_addr exclude each other: give one of them");
        }
        if let Some(base) = &self.api_base {
            check_base(base)?;
        }
        if let Some(host) = self.cdn_hosts.iter().find(|host| host.is_empty() || host.contains(['/', '@'])) {
            bail!("discord: cdn_hosts: `{host}` is not a host name: write it without https:// and path");
        }
        Ok(())
    }

    /// What one person may do: open tickets, seconds between two, days of age of the account.
    #[cfg(test)]
    pub(super) fn limits(&self) -> (u32, u32, u32, bool) {
        let Self { max_open_tickets, cooldown_seconds, min_account_age_days, transcript_on_close, .. } = self;
        (*max_open_tickets, *cooldown_seconds, *min_account_age_days, *transcript_on_close)
    }
}

fn check_base(base: &str) -> anyhow::Result<()> {
    let url = reqwest::Url::parse(base).with_context(|| {
        format!("discord: api_base `{base}` is not a URL such as https://proxy.example.org")
    })?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => bail!("discord: api_base must be https: the token travels on it (http for loopback only)"),
        other => bail!("discord: api_base: `{other}` is not https"),
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        bail!("discord: api_base `{base}` must end after the host: ticketd adds /api/v10");
    }
    Ok(())
}

/// Whether a host of a URL is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

struct Ids;

impl<'de> Visitor<'de> for Ids {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an id of Discord (17 to 20 digits)")
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<Vec<u64>, E> {
        u64::try_from(id)
            .ok()
            .filter(|id| *id > 0)
            .map(|id| vec![id])
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(id), &self))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Vec<u64>, E> {
        if id == 0 { Err(E::invalid_value(de::Unexpected::Unsigned(id), &self)) } else { Ok(vec![id]) }
    }

    /// A variable of the environment is text, and may hold a list.
    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u64>, E> {
        let ids = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| part.parse().ok().filter(|id| *id > 0);
        ids.map(|part| read(part).ok_or_else(|| E::invalid_value(de::Unexpected::Str(part), &Self))).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut ids = Vec::new();
        while let Some(One(id)) = list.next_element()? {
            ids.push(id);
        }
        Ok(ids)
    }
}

struct One(u64);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        id(deserializer).map(Self)
    }
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    deserializer.deserialize_any(Ids)
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match ids(deserializer)?.as_slice() {
        [id] => Ok(*id),
        other => Err(D::Error::invalid_length(other.len(), &"one id of Discord")),
    }
}

fn some_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    id(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::*;

    const SOUND: &str = "[discord]\ntoken_file = \"t\"\nguild_id = \"111111111111111111\"\n\
                         support_channel_id = 222222222222222222\nstaff_channel_id = \"333333333333333333\"\n";

    fn parse(more: &str) -> anyhow::Result<Discord> {
        Ok(Config::parse(&format!("{SOUND}{more}"), BTreeMap::new())?.discord.unwrap())
    }

    fn error(text: &str) -> String {
        format!("{:#}", Config::parse(text, BTreeMap::new()).unwrap_err())
    }

    #[test]
    fn ids_are_numbers_or_texts() {
        let discord =
            parse("staff_roles = { moderator = 5, admin = \"6\" }\nblocked = [7, \"8\"]\n").unwrap();
        assert_eq!(
            (discord.guild_id, discord.support_channel_id),
            (111_111_111_111_111_111, 222_222_222_222_222_222)
        );
        assert_eq!(discord.staff_roles, StaffRoles { moderator: Some(5), admin: Some(6) });
        assert_eq!(discord.blocked, [7, 8]);
        assert_eq!(parse("").unwrap().staff_roles, StaffRoles::default());
    }

    #[test]
    fn the_environment_brings_ids_and_the_token() {
        let environment = [
            ("TICKETD_DISCORD__TOKEN", "s3cret"),
            ("TICKETD_DISCORD__GUILD_ID", "999999999999999999"),
            ("TICKETD_DISCORD__BLOCKED", "1,2"),
            ("TICKETD_DISCORD__STAFF_ROLES__MODERATOR", "4"),
            ("TICKETD_DISCORD__TRANSCRIPT_ON_CLOSE", "true"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let discord = Config::parse(SOUND, environment.into()).unwrap().discord.unwrap();
        assert_eq!(discord.guild_id, 999_999_999_999_999_999);
        assert_eq!(discord.blocked, [1, 2]);
        assert_eq!(discord.staff_roles.moderator, Some(4));
        assert!(discord.transcript_on_close);
        assert_eq!(secrecy::ExposeSecret::expose_secret(&discord.token().unwrap()), "s3cret");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_with_what_to_do() {
        insta::assert_snapshot!(error("[discord]\n"), @"discord: guild_id is missing: switch on Developer Mode in Discord (User Settings, Advanced), then right-click the server: Copy Server ID");
        insta::assert_snapshot!(error(&SOUND.replace("333333333333333333", "222222222222222222")), @"discord: support_channel_id and staff_channel_id are the same: requesters may not see staff's");
        insta::assert_snapshot!(error(&SOUND.replace("\"111111111111111111\"", "\"my server\"")), @r#"`discord.guild_id`: invalid value: string "my server", expected an id of Discord (17 to 20 digits)"#);
        insta::assert_snapshot!(error(&format!("{SOUND}api_base = \"http://proxy.example.org\"")), @"discord: api_base must be https: the token travels on it (http for loopback only)");
        insta::assert_snapshot!(error(&format!("{SOUND}api_base = \"https://proxy.example.org/api/v10\"")), @"discord: api_base `https://proxy.example.org/api/v10` must end after the host: ticketd adds /api/v10");
        insta::assert_snapshot!(error(&format!("{SOUND}api_base = \"http://127.0.0.1:1\"\nconnect_addr = \"127.0.0.1:1\"")), @"discord: api_base and connect_addr exclude each other: give one of them");
        insta::assert_snapshot!(error(&format!("{SOUND}staff_roles = {{ admin = \"111111111111111111\" }}")), @"discord: staff_roles names @everyone: all members would be staff");
        insta::assert_snapshot!(error(&format!("{SOUND}staff_roles = {{ owner = 1 }}")), @"unknown key `discord.staff_roles.owner`: did you mean `moderator`?");
        insta::assert_snapshot!(error(&format!("{SOUND}plain_messages = \"mail\"")), @"`discord.plain_messages`: unknown variant `mail`, expected `note` or `reply`");
        insta::assert_snapshot!(error(&format!("{SOUND}cdn_hosts = [\"https://cdn.discordapp.com\"]")), @"discord: cdn_hosts: `https://cdn.discordapp.com` is not a host name: write it without https:// and path");
        assert!(parse("api_base = \"http://127.0.0.1:4010\"").is_ok());
        assert!(parse("api_base = \"http://[::1]:4010/\"").is_ok());
    }

    #[test]
    fn without_a_token_the_error_names_the_place_it_is_at() {
        let none = Discord::default().token().unwrap_err();
        insta::assert_snapshot!(format!("{none:#}"), @"discord: token_file is missing: the token is on the page Bot of the developer portal");
    }
}
