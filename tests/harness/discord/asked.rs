//! What someone gets to see who used a command, a button or a form.

use std::time::Duration;

use serde_json::{Value, json};

use super::Shared;
use super::people::Person;
use super::seen::{Said, said};
use super::world::{Id, Interaction, LOADING, World};
use crate::harness::wait::{PATIENCE, within};

/// An interaction, and what became of it.
#[derive(Clone, Debug)]
pub struct Asked {
    shared: Shared,
    person: Person,
    id: Id,
}

/// A message as one person sees it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// To click on what is on it.
    pub message: Id,
    /// Its content, and that of its embeds.
    pub text: String,
    /// Only this person sees it.
    pub ephemeral: bool,
    /// The labels of its buttons and the placeholders of its menus.
    pub controls: Vec<String>,
    /// Names and content of its files.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Something that is offered to who types.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub name: String,
    pub value: Value,
}

/// A form that is open.
#[derive(Clone, Debug)]
pub struct Modal {
    asked: Asked,
    pub title: String,
    pub custom_id: String,
    pub fields: Vec<Field>,
}

/// A text input of a form.
#[derive(Clone, Debug)]
pub struct Field {
    pub custom_id: String,
    pub label: String,
    pub required: bool,
    pub least: usize,
    pub most: usize,
    /// What is in it already.
    pub value: String,
}

impl Asked {
    pub(super) fn new(shared: Shared, person: Person, id: Id) -> Self {
        Self { shared, person, id }
    }

    pub fn id(&self) -> Id {
        self.id
    }

    /// What it is answered with.
    pub fn token(&self) -> String {
        interaction(&self.shared.lock(), self.id).token.clone()
    }

    /// Waits for the text that answers it: at once, or when the deferred answer is filled in.
    pub async fn answer(&self) -> String {
        self.shown().await.text
    }

    /// Waits for the message that answers it.
    pub async fn shown(&self) -> Shown {
        self.until("an answer", |world, it| answer_of(world, it).is_some()).await;
        let world = self.shared.lock();
        let id = answer_of(&world, interaction(&world, self.id)).expect("it was there");
        self.shown_at(&world, id)
    }

    /// The message that answers it, if it is there.
    pub fn seen(&self) -> Option<Shown> {
        let world = self.shared.lock();
        answer_of(&world, interaction(&world, self.id)).map(|id| self.shown_at(&world, id))
    }

    /// The messages behind the first answer.
    pub fn follow_ups(&self) -> Vec<Shown> {
        let world = self.shared.lock();
        let follow_ups = &interaction(&world, self.id).follow_ups;
        follow_ups
            .iter()
            .filter(|id| world.messages.contains_key(id))
            .map(|id| self.shown_at(&world, *id))
            .collect()
    }

    fn shown_at(&self, world: &World, id: Id) -> Shown {
        let message = world.messages.get(&id).expect("it was there");
        let Said { text, controls, files, .. } = said(&self.shared, world, message);
        Shown { message: id, text, ephemeral: message.only_for.is_some(), controls, files }
    }

    /// Waits for the answer; whether nobody else sees it.
    pub async fn is_ephemeral(&self) -> bool {
        self.shown().await.ephemeral
    }

    /// Waits for the first answer, of whatever kind; how long it took.
    pub async fn first_answer_took(&self) -> Duration {
        self.until("a first answer", |_, it| it.first.is_some()).await;
        let world = self.shared.lock();
        interaction(&world, self.id).first.as_ref().expect("it was there").after
    }

    /// Whether it has had any answer yet.
    pub fn is_answered(&self) -> bool {
        interaction(&self.shared.lock(), self.id).first.is_some()
    }

    /// Waits for a form.
    pub async fn modal(&self) -> Modal {
        let data = self.data_of("a modal", 9).await;
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let rows = data.get("components").and_then(Value::as_array).into_iter().flatten();
        let inputs = rows.filter_map(|row| row.get("components").and_then(Value::as_array)).flatten();
        let size =
            |input: &Value, key: &str| input.get(key).and_then(Value::as_u64).and_then(|n| n.try_into().ok());
        let fields = inputs.map(|input| Field {
            custom_id: text(input, "custom_id"),
            label: text(input, "label"),
            required: input.get("required").and_then(Value::as_bool).unwrap_or(true),
            least: size(input, "min_length").unwrap_or(0),
            most: size(input, "max_length").unwrap_or(4000),
            value: text(input, "value"),
        });
        let fields = fields.collect();
        Modal {
            asked: self.clone(),
            title: text(&data, "title"),
            custom_id: text(&data, "custom_id"),
            fields,
        }
    }

    /// Waits for what is offered to who types.
    pub async fn choices(&self) -> Vec<Choice> {
        let data = self.data_of("choices", 8).await;
        let choices = data.get("choices").and_then(Value::as_array).cloned().unwrap_or_default();
        let choice = |one: Value| Choice {
            name: one.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            value: one.get("value").cloned().unwrap_or_default(),
        };
        choices.into_iter().map(choice).collect()
    }

    async fn data_of(&self, what: &str, kind: u64) -> Value {
        self.until(what, |_, it| it.first.is_some()).await;
        let world = self.shared.lock();
        let it = interaction(&world, self.id);
        let first = it.first.as_ref().expect("it was there");
        assert_eq!(first.kind, kind, "not {what} came, but {}", state(&world, it));
        first.data.clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&World, &Interaction) -> bool) {
        let came = within(PATIENCE, async || {
            let world = self.shared.lock();
            holds(&world, interaction(&world, self.id))
        });
        if !came.await {
            let world = self.shared.lock();
            panic!(
                "not {what} came within {PATIENCE:?}, but {}",
                state(&world, interaction(&world, self.id))
            );
        }
    }
}

/// What was asked is asked: so that it can be waited for like what is about to be.
impl IntoFuture for Asked {
    type Output = Self;
    type IntoFuture = std::future::Ready<Self>;

    fn into_future(self) -> Self::IntoFuture {
        std::future::ready(self)
    }
}

impl Modal {
    /// Fills in fields, by their custom ids or labels, and sends the form.
    pub async fn submits(&self, values: &[(&str, &str)]) -> Asked {
        let find =
            |name: &str| self.fields.iter().find(|field| field.custom_id == name || field.label == name);
        for (name, _) in values {
            assert!(
                find(name).is_some(),
                "the form {:?} has no field {name:?}: {:?}",
                self.title,
                self.fields
            );
        }
        let mut rows = Vec::new();
        for field in &self.fields {
            let given = values.iter().find(|(name, _)| *name == field.custom_id || *name == field.label);
            let value = given.map_or(field.value.as_str(), |(_, value)| value);
            let length = value.chars().count();
            assert!(!field.required || length > 0, "{:?} must be filled in", field.label);
            assert!(length == 0 || length >= field.least, "{:?} is too short", field.label);
            assert!(length <= field.most, "{:?} is too long: {length}", field.label);
            let input = json!({"type": 4, "id": 2, "custom_id": field.custom_id, "value": value});
            rows.push(json!({"type": 1, "id": 1, "components": [input]}));
        }
        self.sends(&json!({"custom_id": self.custom_id, "components": rows})).await
    }

    /// Sends any data as the form's, as a client can make it up.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn sends(&self, data: &Value) -> Asked {
        let (channel, source) = {
            let world = self.asked.shared.lock();
            let opened_by = interaction(&world, self.asked.id);
            (opened_by.channel, opened_by.source)
        };
        let sent = self.asked.person.interacts(5, channel, source, data);
        if let Some(it) = self.asked.shared.lock().interactions.get_mut(&sent.id) {
            it.opened_by = Some(self.asked.id);
        }
        sent
    }
}

fn interaction(world: &World, id: Id) -> &Interaction {
    world.interactions.get(&id).expect("interactions stay")
}

/// The message that answers: the original, once it has something to say, or else the last one behind it.
fn answer_of(world: &World, it: &Interaction) -> Option<Id> {
    let first = it.first.as_ref()?;
    let original = it.original.and_then(|id| world.messages.get(&id));
    let said = original.filter(|message| match first.kind {
        4 | 7 => true,
        6 => it.edits > 0,
        _ => message.flags & LOADING == 0,
    });
    let last = it.follow_ups.iter().rfind(|id| world.messages.contains_key(id)).copied();
    let own = said.map(|message| message.id);
    if first.kind == 6 { last.or(own) } else { own.or(last) }
}

/// What happened to it, for who waits in vain.
fn state(world: &World, it: &Interaction) -> String {
    let Some(first) = &it.first else { return "nothing, not even a first answer".to_owned() };
    let kind = match first.kind {
        4 => "a message",
        5 => "a deferral",
        6 => "a silent deferral",
        7 => "an update of the message",
        8 => "choices",
        9 => "a modal",
        _ => "something else",
    };
    let text =
        answer_of(world, it).and_then(|id| world.messages.get(&id)).map(|message| message.content.clone());
    format!("{kind}: {:?} {}", text.unwrap_or_default(), first.data)
}
