//! What somebody asked of the bot: a command, a click, a form, as our own types, so that it can be stored and worked on later
//! and elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serenity::model::application::{
    ActionRowComponent, CommandData, CommandDataOption, CommandDataOptionValue, CommandInteraction,
    CommandType, ComponentInteraction, ComponentInteractionDataKind, Interaction, ModalInteraction,
};
use serenity::model::guild::Member;
use serenity::model::id::GuildId;

use super::said;

/// One interaction.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    /// Answers go by it, for fifteen minutes. A secret.
    pub token: String,
    /// `None`: in a private conversation with the bot.
    pub guild: Option<u64>,
    /// A channel or a thread.
    pub channel: u64,
    pub user: User,
    pub what: What,
}

/// Who asks, as of this interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: u64,
    /// What others see.
    pub name: String,
    /// Discord roles in the server the request came from; none elsewhere.
    pub roles: Vec<u64>,
    pub is_bot: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// `/ticket new` is `["ticket", "new"]`.
    Command {
        path: Vec<String>,
        options: BTreeMap<String, Value>,
    },
    /// From the menu of a message.
    MessageCommand {
        name: String,
        target: Box<said::Message>,
    },
    Button {
        custom_id: String,
        message: u64,
    },
    Select {
        custom_id: String,
        values: Vec<String>,
        message: u64,
    },
    /// A form that was sent; fields by their names.
    Modal {
        custom_id: String,
        fields: BTreeMap<String, String>,
    },
    /// Somebody types an option; what they typed so far is `typed`.
    Autocomplete {
        path: Vec<String>,
        options: BTreeMap<String, Value>,
        focused: String,
        typed: String,
    },
}

/// What was given for an option.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Switch(bool),
    /// A person, channel, role or file.
    Id(u64),
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("id", &self.id).field("what", &self.label()).finish_non_exhaustive()
    }
}

impl Request {
    /// `None` for a ping, and for what we do not register.
    pub fn from_interaction(interaction: &Interaction) -> Option<Self> {
        match interaction {
            Interaction::Command(command) => Self::from_command(command),
            Interaction::Autocomplete(command) => Some(Self::from_autocomplete(command)),
            Interaction::Component(component) => Self::from_component(component),
            Interaction::Modal(modal) => Some(Self::from_modal(modal)),
            _ => None,
        }
    }

    fn from_command(command: &CommandInteraction) -> Option<Self> {
        let what = match command.data.kind {
            CommandType::ChatInput => {
                let (path, options) = read(&command.data);
                What::Command { path, options }
            }
            CommandType::Message => {
                let target = command.data.target_id?.to_message_id();
                let message = command.data.resolved.messages.get(&target)?;
                let mut target = said::Message::from(message);
                target.guild = target.guild.or(command.guild_id.map(GuildId::get));
                What::MessageCommand { name: command.data.name.clone(), target: Box::new(target) }
            }
            _ => return None,
        };
        Some(Self {
            id: command.id.get(),
            token: command.token.clone(),
            guild: command.guild_id.map(GuildId::get),
            channel: command.channel_id.get(),
            user: User::new(&command.user, command.member.as_deref()),
            what,
        })
    }

    fn from_autocomplete(command: &CommandInteraction) -> Self {
        let (path, options) = read(&command.data);
        let (focused, typed) = command
            .data
            .autocomplete()
            .map(|option| (option.name.to_owned(), option.value.to_owned()))
            .unwrap_or_default();
        Self {
            id: command.id.get(),
            token: command.token.clone(),
            guild: command.guild_id.map(GuildId::get),
            channel: command.channel_id.get(),
            user: User::new(&command.user, command.member.as_deref()),
            what: What::Autocomplete { path, options, focused, typed },
        }
    }

    fn from_component(component: &ComponentInteraction) -> Option<Self> {
        let custom_id = component.data.custom_id.clone();
        let message = component.message.id.get();
        let ids = |ids: Vec<u64>| ids.iter().map(u64::to_string).collect();
        let values = match &component.data.kind {
            ComponentInteractionDataKind::Button => None,
            ComponentInteractionDataKind::StringSelect { values } => Some(values.clone()),
            ComponentInteractionDataKind::UserSelect { values } => {
                Some(ids(values.iter().map(|id| id.get()).collect()))
            }
            ComponentInteractionDataKind::RoleSelect { values } => {
                Some(ids(values.iter().map(|id| id.get()).collect()))
            }
            ComponentInteractionDataKind::MentionableSelect { values } => {
                Some(ids(values.iter().map(|id| id.get()).collect()))
            }
            ComponentInteractionDataKind::ChannelSelect { values } => {
                Some(ids(values.iter().map(|id| id.get()).collect()))
            }
            ComponentInteractionDataKind::Unknown(_) => return None,
        };
        let what = match values {
            None => What::Button { custom_id, message },
            Some(values) => What::Select { custom_id, values, message },
        };
        Some(Self {
            id: component.id.get(),
            token: component.token.clone(),
            guild: component.guild_id.map(GuildId::get),
            channel: component.channel_id.get(),
            user: User::new(&component.user, component.member.as_ref()),
            what,
        })
    }

    fn from_modal(modal: &ModalInteraction) -> Self {
        let inputs = modal.data.components.iter().flat_map(|row| &row.components);
        let fields = inputs
            .filter_map(|component| match component {
                ActionRowComponent::InputText(input) => {
                    Some((input.custom_id.clone(), input.value.clone().unwrap_or_default()))
                }
                _ => None,
            })
            .collect();
        Self {
            id: modal.id.get(),
            token: modal.token.clone(),
            guild: modal.guild_id.map(GuildId::get),
            channel: modal.channel_id.get(),
            user: User::new(&modal.user, modal.member.as_ref()),
            what: What::Modal { custom_id: modal.data.custom_id.clone(), fields },
        }
    }

    /// What is asked for, for logs: names nobody and holds nothing of what was written.
    pub fn label(&self) -> String {
        let action =
            |custom_id: &str| custom_id.split('.').next().unwrap_or_default().chars().take(32).collect();
        match &self.what {
            What::Command { path, .. } => format!("/{}", path.join(" ")),
            What::MessageCommand { name, .. } => name.clone(),
            What::Button { custom_id, .. }
            | What::Select { custom_id, .. }
            | What::Modal { custom_id, .. } => action(custom_id),
            What::Autocomplete { path, focused, .. } => format!("/{} {focused}…", path.join(" ")),
        }
    }
}

impl What {
    /// The text given for an option of a command; trimmed, `None` where there is none.
    pub fn option(&self, name: &str) -> Option<&str> {
        let (Self::Command { options, .. } | Self::Autocomplete { options, .. }) = self else { return None };
        match options.get(name) {
            Some(Value::Text(text)) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// What was written into a field of a form; trimmed, `None` where it is empty.
    pub fn field(&self, name: &str) -> Option<&str> {
        let Self::Modal { fields, .. } = self else { return None };
        fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }
}

impl User {
    fn new(user: &serenity::model::user::User, member: Option<&Member>) -> Self {
        let said::User { id, name, is_bot } = said::User::new(user, member.and_then(|m| m.nick.as_deref()));
        let roles = member.map(|m| m.roles.iter().map(|role| role.get()).collect()).unwrap_or_default();
        Self { id, name, roles, is_bot }
    }
}

/// The command's name with its subcommands, and the options given.
fn read(data: &CommandData) -> (Vec<String>, BTreeMap<String, Value>) {
    let mut path = vec![data.name.clone()];
    let mut options = BTreeMap::new();
    collect(&data.options, &mut path, &mut options);
    (path, options)
}

fn collect(given: &[CommandDataOption], path: &mut Vec<String>, options: &mut BTreeMap<String, Value>) {
    for option in given {
        let value = match &option.value {
            CommandDataOptionValue::SubCommand(inner) | CommandDataOptionValue::SubCommandGroup(inner) => {
                path.push(option.name.clone());
                collect(inner, path, options);
                continue;
            }
            CommandDataOptionValue::String(text) => Value::Text(text.clone()),
            CommandDataOptionValue::Autocomplete { value, .. } => Value::Text(value.clone()),
            CommandDataOptionValue::Integer(number) => Value::Integer(*number),
            CommandDataOptionValue::Number(number) => Value::Number(*number),
            CommandDataOptionValue::Boolean(switch) => Value::Switch(*switch),
            CommandDataOptionValue::User(id) => Value::Id(id.get()),
            CommandDataOptionValue::Channel(id) => Value::Id(id.get()),
            CommandDataOptionValue::Role(id) => Value::Id(id.get()),
            CommandDataOptionValue::Mentionable(id) => Value::Id(id.get()),
            CommandDataOptionValue::Attachment(id) => Value::Id(id.get()),
            _ => continue,
        };
        options.insert(option.name.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An interaction as Discord sends it, in a server unless told otherwise.
    #[expect(clippy::needless_pass_by_value, reason = "calls read better")]
    fn request(kind: u8, data: serde_json::Value, more: serde_json::Value) -> Request {
        let mut json = json!({
            "id": "900000000000000001", "application_id": "100000000000000001", "type": kind, "data": data,
            "guild_id": "700000000000000001", "channel_id": "800000000000000001", "token": "secret", "version": 1,
            "member": {"user": {"id": "600000000000000001", "username": "ada", "discriminator": "0", "avatar": null,
                                "global_name": "Ada"},
                       "nick": "Ada L.", "roles": ["500000000000000001"], "joined_at": "2024-01-01T00:00:00+00:00",
                       "deaf": false, "mute": false, "flags": 0, "permissions": "0", "pending": false},
            "app_permissions": "0", "locale": "en-US", "entitlements": [], "attachment_size_limit": 10_485_760,
            "authorizing_integration_owners": {"0": "700000000000000001"}, "context": 0
        });
        json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let interaction: Interaction = serde_json::from_value(json).unwrap();
        let request = Request::from_interaction(&interaction).unwrap();
        let stored: Request = serde_json::from_value(serde_json::to_value(&request).unwrap()).unwrap();
        assert_eq!(stored, request);
        request
    }

    fn message() -> serde_json::Value {
        json!({"id": "900000000000000002", "channel_id": "800000000000000001",
               "author": {"id": "600000000000000002", "username": "bob", "discriminator": "0", "avatar": null},
               "content": "Help!", "timestamp": "2026-11-21T10:00:00+00:00", "edited_timestamp": null, "tts": false,
               "mention_everyone": false, "mentions": [], "mention_roles": [], "attachments": [], "embeds": [],
               "pinned": false, "type": 0, "components": []})
    }

    #[test]
    fn a_command_and_its_options() {
        let options = json!([{"type": 1, "name": "new", "options": [{"type": 3, "name": "category", "value": " bug "}]}]);
        let request =
            request(2, json!({"id": "1", "name": "ticket", "type": 1, "options": options}), json!({}));
        assert_eq!(request.label(), "/ticket new");
        assert_eq!(request.what.option("category"), Some("bug"));
        assert_eq!(
            request.user,
            User {
                id: 600_000_000_000_000_001,
                name: "Ada L.".into(),
                roles: vec![500_000_000_000_000_001],
                is_bot: false
            }
        );
        assert_eq!(request.guild, Some(700_000_000_000_000_001));
    }

    #[test]
    fn outside_a_server_there_are_no_roles() {
        let user = json!({"id": "5", "username": "eve", "discriminator": "0", "avatar": null});
        let request = request(
            2,
            json!({"id": "1", "name": "link", "type": 1}),
            json!({"guild_id": null, "member": null, "user": user}),
        );
        assert_eq!((request.guild, request.user.name.as_str(), request.user.roles.len()), (None, "eve", 0));
    }

    #[test]
    fn what_is_typed_so_far() {
        let options = json!([{"type": 3, "name": "person", "value": "be", "focused": true}]);
        let request =
            request(4, json!({"id": "1", "name": "assign", "type": 1, "options": options}), json!({}));
        let What::Autocomplete { path, focused, typed, .. } = &request.what else { panic!("{request:?}") };
        assert_eq!((path.join(" "), focused.as_str(), typed.as_str()), ("assign".into(), "person", "be"));
    }

    #[test]
    fn a_message_to_make_a_ticket_of() {
        let data = json!({"id": "1", "name": "Make a ticket of this", "type": 3, "target_id": "900000000000000002",
                          "resolved": {"messages": {"900000000000000002": message()}}});
        let request = request(2, data, json!({}));
        let What::MessageCommand { name, target } = &request.what else { panic!("{request:?}") };
        assert_eq!(name, "Make a ticket of this");
        assert_eq!(
            (target.content.as_str(), target.author.name.as_str(), target.guild),
            ("Help!", "bob", request.guild)
        );
    }

    #[test]
    fn clicks_and_choices() {
        let click =
            request(3, json!({"custom_id": "claim.h", "component_type": 2}), json!({"message": message()}));
        assert_eq!(
            click.what,
            What::Button { custom_id: "claim.h".into(), message: 900_000_000_000_000_002 }
        );
        let data = json!({"custom_id": "assign-to.h", "component_type": 3, "values": ["4"]});
        let choice = request(3, data, json!({"message": message()}));
        assert_eq!(choice.label(), "assign-to");
        let What::Select { values, .. } = &choice.what else { panic!("{choice:?}") };
        assert_eq!(values, &["4"]);
    }

    #[test]
    fn a_form() {
        let input = |name: &str, value: &str| json!({"type": 1, "components": [{"type": 4, "custom_id": name, "value": value}]});
        let data = json!({"custom_id": "new-ticket-form", "components": [input("subject", " Printer "), input("text", "")]});
        let form = request(5, data, json!({}));
        assert_eq!((form.what.field("subject"), form.what.field("text")), (Some("Printer"), None));
    }
}
