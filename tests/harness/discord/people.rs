//! What people do in the fake's world, in their own words.

use std::fmt::Display;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Instant;

use serde_json::{Value, json};

use super::asked::{Asked, Choice};
use super::gateway::Event;
use super::world::{BOT, GUILD, Id, Interaction, Message, OTHER_CHANNEL, SUPPORT, World};
use super::{Shared, ready, wire};

/// Someone with an account.
#[derive(Clone, Debug)]
pub struct Person {
    shared: Shared,
    id: Id,
}

impl Person {
    pub(super) fn new(shared: Shared, id: Id) -> Self {
        Self { shared, id }
    }

    pub fn id(&self) -> Id {
        self.id
    }

    /// `<@id>`
    pub fn mention(&self) -> String {
        format!("<@{}>", self.id)
    }

    pub fn name(&self) -> String {
        self.shared.lock().human(self.id).name.clone()
    }

    // ---- messages

    /// Writes in a channel or thread. Discord would not let them where they can't see it, or where it is locked.
    pub async fn says(&self, channel: Id, text: &str) -> Id {
        self.sends(channel, text, &[]).await
    }

    /// Sends a file without a word.
    pub async fn attaches(&self, channel: Id, name: &str, bytes: &[u8]) -> Id {
        self.sends(channel, "", &[(name, bytes)]).await
    }

    /// Writes, with files.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn sends(&self, channel: Id, text: &str, files: &[(&str, &[u8])]) -> Id {
        let mut world = self.shared.lock();
        self.must_be_able_to_write(&world, channel);
        let files =
            files.iter().map(|(name, bytes)| world.keep_file(channel, name, kind_of(name), bytes.to_vec()));
        let files = files.collect();
        let content = text.to_owned();
        world.post(Message { channel, author: self.id, content, files, ..Message::default() })
    }

    /// Answers a message of the channel.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn replies_to(&self, message: Id, text: &str) -> Id {
        let mut world = self.shared.lock();
        let channel = existing(&world, message).channel;
        self.must_be_able_to_write(&world, channel);
        let (content, reference) = (text.to_owned(), Some((channel, message)));
        world.post(Message { channel, author: self.id, kind: 19, content, reference, ..Message::default() })
    }

    /// Writes what has no text of its own: components of the new kind, as other bots may.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn shows(&self, channel: Id, components: Vec<Value>) -> Id {
        let mut world = self.shared.lock();
        let flags = super::world::COMPONENTS_V2;
        world.post(Message { channel, author: self.id, components, flags, ..Message::default() })
    }

    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn edits(&self, message: Id, text: &str) {
        let mut world = self.shared.lock();
        assert_eq!(existing(&world, message).author, self.id, "only the author edits a message");
        let now = world.now();
        if let Some(message) = world.messages.get_mut(&message) {
            text.clone_into(&mut message.content);
            message.edited = Some(now);
        }
        world.tell_message("MESSAGE_UPDATE", message);
    }

    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn deletes(&self, message: Id) {
        let mut world = self.shared.lock();
        existing(&world, message);
        world.remove_message(message);
    }

    /// Removes a thread.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn removes_thread(&self, thread: Id) {
        self.shared.lock().remove_channel(thread);
    }

    /// Gives a thread another name; Discord writes a note about it in their name.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn renames(&self, thread: Id, name: &str) {
        let mut world = self.shared.lock();
        if let Some(channel) = world.channels.get_mut(&thread) {
            name.clone_into(&mut channel.name);
        }
        world.note(thread, self.id, 4, name);
        world.tell_channel("THREAD_UPDATE", thread);
    }

    /// Puts a thread into the archive, as anyone in it may, or as Discord does after a while; and takes it out again.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn archives(&self, thread: Id, archived: bool) {
        let mut world = self.shared.lock();
        let now = world.now();
        if let Some(thread) = world.thread_mut(thread) {
            (thread.archived, thread.archive_changed) = (archived, now);
        }
        world.tell_channel("THREAD_UPDATE", thread);
    }

    /// Whether they see a channel or thread.
    pub fn sees(&self, channel: Id) -> bool {
        self.shared.lock().sees(self.id, channel)
    }

    /// Whether they can write there.
    pub fn can_write(&self, channel: Id) -> bool {
        let world = self.shared.lock();
        let is_staff = !world.human(self.id).roles.is_empty();
        let locked = world.channel(channel).thread.as_ref().is_some_and(|thread| thread.locked);
        world.sees(self.id, channel) && (!locked || is_staff)
    }

    fn must_be_able_to_write(&self, world: &World, channel: Id) {
        let name = &world.human(self.id).name;
        assert!(
            world.channels.contains_key(&channel),
            "there is no channel {channel} for {name} to write in"
        );
        let there = world.channel(channel);
        assert!(world.sees(self.id, channel), "{name} does not see #{}", there.name);
        let locked = there.thread.as_ref().is_some_and(|thread| thread.locked);
        let is_staff = !world.human(self.id).roles.is_empty();
        assert!(!locked || is_staff, "{name} can't write in #{}: it is locked", there.name);
    }

    /// Takes no direct messages from bots.
    pub fn closes_direct_messages(&self) {
        if let Some(human) = self.shared.lock().people.get_mut(&self.id) {
            human.closed = true;
        }
    }

    /// What the bot wrote to them directly.
    pub fn direct_messages(&self) -> Vec<String> {
        let world = self.shared.lock();
        let there = world.channels.values().find(|channel| channel.with == Some(self.id));
        let messages = there.map(|channel| world.messages_in(channel.id)).unwrap_or_default();
        messages
            .iter()
            .filter(|message| message.author == BOT)
            .map(|message| message.content.clone())
            .collect()
    }

    // ---- commands and components

    /// A slash command, with its subcommand: `mia.uses("/ticket new").with("category", "billing").await`.
    pub fn uses(&self, command: &str) -> Use {
        Use::new(self.clone(), command)
    }

    /// Types into an option of a command, and sees what is offered.
    pub async fn types(&self, command: &str, option: &str, text: &str) -> Vec<Choice> {
        self.uses(command).types(option, text).await
    }

    /// A command from a message's menu.
    pub async fn uses_on(&self, message: Id, command: &str) -> Asked {
        ready(&self.shared).await;
        let (channel, data) = {
            let world = self.shared.lock();
            let found =
                world.commands.iter().find(|one| text(one, "name") == command && number(one, "type") == 3);
            let found = found.unwrap_or_else(|| panic!("no message has the command {command:?} in its menu"));
            let target = existing(&world, message);
            let shown = wire::message(&world, target);
            let data = json!({"type": 3, "name": command, "id": found.get("id"), "target_id": message.to_string(),
                "guild_id": GUILD.to_string(), "resolved": {"messages": {message.to_string(): shown}}});
            (target.channel, data)
        };
        self.interacts(2, channel, None, &data)
    }

    /// Clicks the button with this on it.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn clicks(&self, message: Id, label: &str) -> Asked {
        let id = {
            let world = self.shared.lock();
            let components = components(existing(&world, message));
            let labels: Vec<&str> = components.iter().map(|one| text(one, "label")).collect();
            let button =
                components.iter().find(|one| number(one, "type") == 2 && text(one, "label").contains(label));
            let button =
                button.unwrap_or_else(|| panic!("the message has no button {label:?}, but {labels:?}"));
            assert_ne!(button.get("disabled"), Some(&json!(true)), "the button {label:?} can't be clicked");
            text(button, "custom_id").to_owned()
        };
        self.clicks_forged(message, &id)
    }

    /// A click with any custom id, as a client can make one up, whether the message has that button or not.
    pub fn clicks_forged(&self, message: Id, custom_id: &str) -> Asked {
        let channel = existing(&self.shared.lock(), message).channel;
        let data = json!({"component_type": 2, "custom_id": custom_id});
        self.interacts(3, channel, Some(message), &data)
    }

    /// Chooses from a menu, known by a part of its placeholder or custom id, an option by its label or value.
    #[expect(clippy::unused_async, reason = "what people do is awaited, whatever it takes")]
    pub async fn chooses(&self, message: Id, menu: &str, option: &str) -> Asked {
        let (channel, data) = {
            let world = self.shared.lock();
            let source = existing(&world, message);
            let found = components(source).into_iter().find(|one| {
                number(one, "type") != 2
                    && (text(one, "placeholder").contains(menu) || text(one, "custom_id").contains(menu))
            });
            let found =
                found.unwrap_or_else(|| panic!("the message has no menu {menu:?}: {:?}", source.components));
            let kind = number(found, "type");
            let mut data = json!({"component_type": kind, "custom_id": text(found, "custom_id")});
            let value = if kind == 5 {
                let human = world.human_named(option).unwrap_or_else(|| panic!("there is no {option}")).id;
                wire::set(&mut data, "resolved", wire::resolved(&world, &[human]));
                human.to_string()
            } else {
                let options = found.get("options").and_then(Value::as_array).into_iter().flatten();
                let mut fitting =
                    options.filter(|one| text(one, "label") == option || text(one, "value") == option);
                let chosen = fitting.next().unwrap_or_else(|| panic!("no {option:?} in the menu: {found}"));
                text(chosen, "value").to_owned()
            };
            wire::set(&mut data, "values", json!([value]));
            (source.channel, data)
        };
        self.interacts(3, channel, Some(message), &data)
    }

    /// Dispatches an interaction to the bots.
    pub(super) fn interacts(&self, kind: u64, channel: Id, source: Option<Id>, data: &Value) -> Asked {
        let mut world = self.shared.lock();
        let id = world.new_id();
        let interaction = Interaction {
            id,
            kind,
            token: format!("aW50ZXJhY3Rpb24{id}"),
            person: self.id,
            channel,
            created: world.now(),
            sent: Instant::now(),
            source,
            opened_by: None,
            first: None,
            original: None,
            edits: 0,
            follow_ups: Vec::new(),
        };
        let event = Event::interaction(wire::interaction(&world, &interaction, data));
        world.interactions.insert(id, interaction);
        world.tell(event);
        Asked::new(self.shared.clone(), self.clone(), id)
    }
}

/// A command that someone is about to use.
#[derive(Debug)]
pub struct Use {
    person: Person,
    words: Vec<String>,
    options: Vec<(String, String)>,
    channel: Option<Id>,
    file: Option<(String, String, Vec<u8>)>,
}

impl Use {
    fn new(person: Person, command: &str) -> Self {
        let words = command.trim_start_matches('/').split(' ').map(str::to_owned).collect();
        Self { person, words, options: Vec::new(), channel: None, file: None }
    }

    /// An option: its text, its number, the name or the value of a choice, the name of a person.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl Display) -> Self {
        self.options.push((option.to_owned(), value.to_string()));
        self
    }

    /// An option that is a file.
    #[must_use]
    pub fn with_file(mut self, option: &str, name: &str, bytes: &[u8]) -> Self {
        self.file = Some((option.to_owned(), name.to_owned(), bytes.to_vec()));
        self
    }

    /// Where; #support, unless said otherwise.
    #[must_use]
    pub fn in_channel(mut self, channel: Id) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Types into an option, instead of sending the command, and sees what is offered.
    pub async fn types(mut self, option: &str, text: &str) -> Vec<Choice> {
        self.options.push((option.to_owned(), text.to_owned()));
        self.send(Some(option)).await.choices().await
    }

    async fn send(self, typing: Option<&str>) -> Asked {
        let shared = &self.person.shared;
        ready(shared).await;
        let (channel, data) = {
            let mut world = shared.lock();
            let is_member = world.human(self.person.id).guild == GUILD;
            let channel = self.channel.unwrap_or(if is_member { SUPPORT } else { OTHER_CHANNEL });
            (channel, self.data(&mut world, channel, typing))
        };
        let kind = if typing.is_some() { 4 } else { 2 };
        self.person.interacts(kind, channel, None, &data)
    }

    /// The command as a client makes it up: from its definition, with values of the right types.
    fn data(&self, world: &mut World, channel: Id, typing: Option<&str>) -> Value {
        let (name, inside) = self.words.split_first().expect("a command has a name");
        let find = |list: &[Value], name: &str| list.iter().find(|one| text(one, "name") == name).cloned();
        let command = find(&world.commands, name).unwrap_or_else(|| {
            panic!("there is no command /{name}, but {:?}", names(&world.commands));
        });
        let mut definition = command.clone();
        for word in inside {
            let options = options_of(&definition);
            definition = find(&options, word)
                .unwrap_or_else(|| panic!("/{name} has no {word}: {:?}", names(&options)));
        }
        let known = options_of(&definition);
        let mut people = Vec::new();
        let mut given = Vec::new();
        for (option, value) in &self.options {
            let about = find(&known, option);
            let about = about.unwrap_or_else(|| {
                panic!("{:?} has no option {option}, but {:?}", self.words, names(&known))
            });
            let focused = typing == Some(option.as_str());
            let value = if focused { json!(value) } else { value_of(world, &about, value, &mut people) };
            let mut one = json!({"name": option, "type": number(&about, "type"), "value": value});
            if focused {
                assert_eq!(
                    about.get("autocomplete"),
                    Some(&json!(true)),
                    "{option} offers nothing to who types"
                );
                wire::set(&mut one, "focused", true);
            }
            given.push(one);
        }
        let mut resolved = wire::resolved(world, &people);
        if let Some((option, file, bytes)) = &self.file {
            let id = world.keep_file(channel, file, kind_of(file), bytes.clone());
            given.push(json!({"name": option, "type": 11, "value": id.to_string()}));
            let shown = world.files.get(&id).map(|file| wire::attachment(world, file));
            wire::set(&mut resolved, "attachments", json!({id.to_string(): shown}));
        }
        for about in known.iter().filter(|about| about.get("required") == Some(&json!(true))) {
            let is_given = given.iter().any(|one| text(one, "name") == text(about, "name"));
            assert!(
                is_given || typing.is_some(),
                "{:?} needs the option {}",
                self.words,
                text(about, "name")
            );
        }
        for (depth, word) in inside.iter().enumerate().rev() {
            // Of two words the first names a group.
            let kind = if depth + 1 < inside.len() { 2 } else { 1 };
            given = vec![json!({"name": word, "type": kind, "options": given})];
        }
        json!({"id": command.get("id"), "name": name, "type": 1, "guild_id": GUILD.to_string(), "options": given,
            "resolved": resolved})
    }
}

impl IntoFuture for Use {
    type Output = Asked;
    type IntoFuture = Pin<Box<dyn Future<Output = Asked>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send(None))
    }
}

/// A value of the type that the option asks for.
fn value_of(world: &World, option: &Value, value: &str, people: &mut Vec<Id>) -> Value {
    let name = text(option, "name");
    let choices = option.get("choices").and_then(Value::as_array).into_iter().flatten();
    let choices: Vec<&Value> = choices.collect();
    if !choices.is_empty() {
        let is_it = |one: &&&Value| {
            text(one, "name") == value || one.get("value").is_some_and(|it| plain(it) == value)
        };
        let chosen = choices.iter().find(is_it);
        let chosen = chosen.unwrap_or_else(|| panic!("{name} offers no {value:?}: {choices:?}"));
        return chosen.get("value").cloned().unwrap_or_default();
    }
    match number(option, "type") {
        3 => {
            let length = u64::try_from(value.chars().count()).expect("a short text");
            let most = option.get("max_length").and_then(Value::as_u64).unwrap_or(6000);
            assert!(
                length <= most && length >= number(option, "min_length"),
                "{value:?} does not fit into {name}"
            );
            json!(value)
        }
        4 => json!(value.parse::<i64>().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}"))),
        5 => {
            json!(value.parse::<bool>().unwrap_or_else(|_| panic!("{name} is true or false, not {value:?}")))
        }
        10 => json!(value.parse::<f64>().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}"))),
        6 => {
            let human = world.human_named(value).unwrap_or_else(|| panic!("there is nobody named {value:?}"));
            people.push(human.id);
            json!(human.id.to_string())
        }
        kind => panic!("{name} has the type {kind}, which nobody here can fill in"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn existing(world: &World, message: Id) -> &Message {
    world.messages.get(&message).unwrap_or_else(|| panic!("there is no message {message}"))
}

/// The buttons and menus of a message.
pub(super) fn components(message: &Message) -> Vec<&Value> {
    let rows = message.components.iter();
    rows.filter_map(|row| row.get("components").and_then(Value::as_array)).flatten().collect()
}

fn options_of(definition: &Value) -> Vec<Value> {
    definition.get("options").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|one| text(one, "name")).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}
