//! Messages that we send: Discord's message body in our own types, so that nobody is pinged by what somebody else wrote.
//!
//! Lengths are those of <https://docs.discord.com/developers/resources/message>.

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::custom_id::CustomId;

/// Code points in the content of one message.
pub const LONGEST_CONTENT: usize = 2000;
/// Files with one message.
pub const MOST_FILES: usize = 10;
/// Bytes of one file, where the server has no boosts.
pub const LARGEST_FILE: usize = 10 << 20;
/// Options of a select menu, and choices of an autocomplete.
pub const MOST_OPTIONS: usize = 25;
/// Characters in an option's label and value, and in a custom id.
pub const LONGEST_OPTION: usize = 100;

const EPHEMERAL: u64 = 1 << 6;
const SUPPRESS_EMBEDS: u64 = 1 << 2;

/// A message to post, or what an earlier one is to become.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    pub content: String,
    pub embeds: Vec<Embed>,
    pub components: Vec<Component>,
    allowed_mentions: AllowedMentions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enforce_nonce: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u64>,
    /// Names of the files that go along; filled in where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attachments: Option<Vec<Upload>>,
}

impl Message {
    pub fn text(content: impl Into<String>) -> Self {
        Self { content: content.into(), ..Self::default() }
    }

    #[must_use]
    pub fn embed(mut self, embed: Embed) -> Self {
        self.embeds.push(embed);
        self
    }

    /// A row of buttons, or one select menu.
    #[must_use]
    pub fn row(mut self, components: Vec<Component>) -> Self {
        self.components.push(Component::Row { kind: 1, components });
        self
    }

    /// Only the person who acted sees it; for answers to interactions.
    #[must_use]
    pub fn ephemeral(mut self) -> Self {
        self.flags = Some(self.flags.unwrap_or(0) | EPHEMERAL);
        self
    }

    /// Discord shows no previews of the links in it: they are not ours.
    #[must_use]
    pub fn without_previews(mut self) -> Self {
        self.flags = Some(self.flags.unwrap_or(0) | SUPPRESS_EMBEDS);
        self
    }

    /// As an edit: the files of the earlier message go away.
    #[must_use]
    pub fn without_files(mut self) -> Self {
        self.attachments = Some(Vec::new());
        self
    }

    /// These people, and nobody else, are notified where the content names them as `<@id>`. Only for text of our own.
    #[must_use]
    pub fn pinging(mut self, people: &[u64]) -> Self {
        self.allowed_mentions = AllowedMentions::people(people);
        self
    }

    /// As an edit: whether a message is ephemeral is fixed when it is made.
    pub(super) fn as_edit(&self) -> Self {
        let flags = self.flags.map(|flags| flags & SUPPRESS_EMBEDS).filter(|flags| *flags != 0);
        Self { flags, ..self.clone() }
    }

    /// The hash of how it looks: whether a message has to be edited.
    pub fn rendering(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(&json).iter().fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"))
    }
}

/// Whom a message notifies. There is no way to say "whoever the text names".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct AllowedMentions {
    parse: [String; 0],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
}

impl AllowedMentions {
    fn people(people: &[u64]) -> Self {
        Self { parse: [], users: people.iter().take(100).map(u64::to_string).collect() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Upload {
    pub(super) id: u64,
    pub(super) filename: String,
}

/// A file to send along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub content_type: Option<String>,
    pub bytes: Bytes,
}

/// A framed text with fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Embed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Red, green and blue as one number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<u32>,
    pub fields: Vec<Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<Footer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    pub value: String,
    pub inline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Footer {
    pub text: String,
}

/// Discord's number for how a button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Primary = 1,
    Secondary = 2,
    Success = 3,
    Danger = 4,
}

/// A part of a message that people act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Component {
    Row {
        #[serde(rename = "type")]
        kind: u8,
        components: Vec<Component>,
    },
    Button {
        #[serde(rename = "type")]
        kind: u8,
        style: u8,
        label: String,
        custom_id: String,
    },
    Link {
        #[serde(rename = "type")]
        kind: u8,
        style: u8,
        label: String,
        url: String,
    },
    Select {
        #[serde(rename = "type")]
        kind: u8,
        custom_id: String,
        options: Vec<Choice>,
        #[serde(skip_serializing_if = "Option::is_none")]
        placeholder: Option<String>,
    },
    Input {
        #[serde(rename = "type")]
        kind: u8,
        custom_id: String,
        style: u8,
        label: String,
        max_length: u16,
        required: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        placeholder: Option<String>,
    },
}

impl Component {
    pub fn button(style: Style, label: &str, id: &CustomId) -> Self {
        Self::Button { kind: 2, style: style as u8, label: cut(label, 80), custom_id: id.to_string() }
    }

    pub fn link(label: &str, url: &str) -> Self {
        Self::Link { kind: 2, style: 5, label: cut(label, 80), url: url.to_owned() }
    }

    /// A menu to choose one from. Discord takes 25 at most, each value once: what is beyond is left out.
    pub fn select(id: &CustomId, placeholder: &str, options: Vec<Choice>) -> Self {
        let mut kept: Vec<Choice> = Vec::new();
        for option in options {
            let fits = !option.value.is_empty() && option.value.chars().count() <= LONGEST_OPTION;
            if fits && kept.len() < MOST_OPTIONS && kept.iter().all(|other| other.value != option.value) {
                kept.push(option);
            }
        }
        Self::Select {
            kind: 3,
            custom_id: id.to_string(),
            options: kept,
            placeholder: Some(cut(placeholder, 150)),
        }
    }
}

/// One option of a select menu.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Choice {
    label: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    default: bool,
}

impl Choice {
    pub fn new(label: &str, value: impl Into<String>) -> Self {
        let label = if label.trim().is_empty() { "?".to_owned() } else { cut(label, LONGEST_OPTION) };
        Self { label, value: value.into(), ..Self::default() }
    }

    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        self.description = Some(description).filter(|d| !d.trim().is_empty()).map(|d| cut(d, LONGEST_OPTION));
        self
    }

    /// The one that is chosen already.
    #[must_use]
    pub fn chosen(mut self, chosen: bool) -> Self {
        self.default = chosen;
        self
    }
}

/// A form. Text inputs only: serenity can't read what else a form can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Modal {
    custom_id: String,
    title: String,
    components: Vec<Component>,
}

impl Modal {
    /// Discord takes five fields at most.
    pub fn new(id: &CustomId, title: &str, inputs: Vec<Input>) -> Self {
        let row = |input: Input| Component::Row { kind: 1, components: vec![input.0] };
        Self {
            custom_id: id.to_string(),
            title: cut(title, 45),
            components: inputs.into_iter().take(5).map(row).collect(),
        }
    }
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input(Component);

impl Input {
    /// One line. `name` is what the answer comes back under.
    pub fn line(name: &str, label: &str, max_length: u16) -> Self {
        Self::new(name, label, 1, max_length)
    }

    pub fn paragraph(name: &str, label: &str, max_length: u16) -> Self {
        Self::new(name, label, 2, max_length)
    }

    fn new(name: &str, label: &str, style: u8, max_length: u16) -> Self {
        Self(Component::Input {
            kind: 4,
            custom_id: cut(name, 100),
            style,
            label: cut(label, 45),
            max_length: max_length.clamp(1, 4000),
            required: true,
            value: None,
            placeholder: None,
        })
    }

    #[must_use]
    pub fn optional(mut self) -> Self {
        if let Component::Input { required, .. } = &mut self.0 {
            *required = false;
        }
        self
    }

    /// What stands in it at first.
    #[must_use]
    pub fn filled(mut self, text: &str) -> Self {
        if let Component::Input { value, max_length, .. } = &mut self.0 {
            *value = Some(cut(text, usize::from(*max_length))).filter(|text| !text.is_empty());
        }
        self
    }

    #[must_use]
    pub fn hint(mut self, text: &str) -> Self {
        if let Component::Input { placeholder, .. } = &mut self.0 {
            *placeholder = Some(cut(text, 100));
        }
        self
    }
}

/// The first answer to an interaction, which Discord wants within three seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// "… is thinking"; the answer proper is written by `edit_answer`. Whether others see it is fixed now.
    Defer {
        ephemeral: bool,
    },
    /// To a button or select: the message stays as it is for now.
    DeferUpdate,
    Message(Message),
    /// To a button or select: the message it is on becomes this.
    Update(Message),
    Modal(Modal),
    /// To an autocomplete: (what is shown, what is sent).
    Choices(Vec<(String, String)>),
}

impl Answer {
    pub(super) fn body(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Defer { ephemeral: true } => json!({ "type": 5, "data": { "flags": EPHEMERAL } }),
            Self::Defer { ephemeral: false } => json!({ "type": 5 }),
            Self::DeferUpdate => json!({ "type": 6 }),
            Self::Message(message) => json!({ "type": 4, "data": message }),
            Self::Update(message) => json!({ "type": 7, "data": message }),
            Self::Modal(modal) => json!({ "type": 9, "data": modal }),
            Self::Choices(choices) => {
                let fits = |(name, value): &&(String, String)| {
                    !name.trim().is_empty() && value.chars().count() <= LONGEST_OPTION
                };
                let choices: Vec<_> = choices
                    .iter()
                    .filter(fits)
                    .take(MOST_OPTIONS)
                    .map(|(name, value)| json!({ "name": cut(name, LONGEST_OPTION), "value": value }))
                    .collect();
                json!({ "type": 8, "data": { "choices": choices } })
            }
        }
    }
}

/// At most so many characters, with an ellipsis where some are missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::super::custom_id::Action;
    use super::*;

    #[test]
    fn a_message_pings_nobody_unless_it_names_whom() {
        let json = |message: &Message| serde_json::to_string(message).unwrap();
        insta::assert_snapshot!(json(&Message::text("@everyone")), @r#"{"content":"@everyone","embeds":[],"components":[],"allowed_mentions":{"parse":[]}}"#);
        insta::assert_snapshot!(json(&Message::text("<@7>").pinging(&[7]).ephemeral().without_previews()), @r#"{"content":"<@7>","embeds":[],"components":[],"allowed_mentions":{"parse":[],"users":["7"]},"flags":68}"#);
    }

    #[test]
    fn answers_have_discords_shape() {
        let json = |answer: &Answer| answer.body().to_string();
        insta::assert_snapshot!(json(&Answer::Defer { ephemeral: true }), @r#"{"data":{"flags":64},"type":5}"#);
        insta::assert_snapshot!(json(&Answer::DeferUpdate), @r#"{"type":6}"#);
        let choices = (0..30).map(|n| ("n".repeat(200), n.to_string())).collect();
        let body = Answer::Choices(choices).body();
        assert_eq!(body["data"]["choices"].as_array().unwrap().len(), 25);
        assert_eq!(body["data"]["choices"][0]["name"].as_str().unwrap().chars().count(), 100);
        let modal = Modal::new(
            &CustomId::new(Action::NewTicketModal),
            "Open a ticket",
            vec![
                Input::line("subject", "Subject", 200),
                Input::paragraph("text", "What happened?", 9999).filled("x"),
            ],
        );
        insta::assert_snapshot!(json(&Answer::Modal(modal)), @r#"{"data":{"components":[{"components":[{"custom_id":"subject","label":"Subject","max_length":200,"required":true,"style":1,"type":4}],"type":1},{"components":[{"custom_id":"text","label":"What happened?","max_length":4000,"required":true,"style":2,"type":4,"value":"x"}],"type":1}],"custom_id":"new-ticket-form","title":"Open a ticket"},"type":9}"#);
    }

    #[test]
    fn a_select_keeps_to_the_limits() {
        let id = CustomId::of(Action::AssignTo, "h");
        let options = (0..40).map(|n| Choice::new("", format!("{}", n / 2)).described(" ")).collect();
        let Component::Select { options, .. } = Component::select(&id, "Who?", options) else {
            unreachable!()
        };
        assert_eq!(options.len(), 20);
        assert_eq!((options[0].label.as_str(), &options[0].description), ("?", &None));
    }

    #[test]
    fn the_rendering_changes_with_what_is_shown() {
        assert_eq!(Message::text("a").rendering(), Message::text("a").rendering());
        assert_ne!(Message::text("a").rendering(), Message::text("b").rendering());
        assert_eq!(Message::text("a").rendering().len(), 64);
    }
}
