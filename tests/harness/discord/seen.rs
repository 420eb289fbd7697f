//! What is to be seen in the fake's world: threads, and what was said in them.

use serde_json::Value;

use super::people::components;
use super::world::{Id, Message, World};
use super::{Discord, Shared, pings};
use crate::harness::wait::until;

/// A thread; it is looked at anew with every question.
#[derive(Clone, Debug)]
pub struct Thread {
    shared: Shared,
    id: Id,
}

/// A message as it stands.
#[derive(Clone, Debug)]
pub struct Said {
    pub id: Id,
    pub author: String,
    /// Its content, and under it what its embeds say.
    pub text: String,
    pub content: String,
    pub embeds: Vec<Value>,
    pub components: Vec<Value>,
    /// The labels of its buttons, and `[placeholder]` of its menus.
    pub controls: Vec<String>,
    pub files: Vec<(String, Vec<u8>)>,
    /// Whom it notified.
    pub pings: Vec<String>,
    pub nonce: Option<Value>,
    pub edited: bool,
    /// 0 for what people write, or 19 for a reply; others are Discord's notes.
    pub kind: u64,
}

impl Discord {
    /// All threads that there are, oldest first.
    pub fn threads(&self) -> Vec<Thread> {
        let world = self.shared.lock();
        let threads = world.channels.values().filter(|channel| channel.thread.is_some());
        threads.map(|channel| Thread { shared: self.shared.clone(), id: channel.id }).collect()
    }

    /// Waits for a thread below a channel with this in its name.
    pub async fn thread_in(&self, parent: Id, part: &str) -> Thread {
        let find = || {
            self.threads()
                .into_iter()
                .find(|thread| thread.parent() == parent && thread.name().contains(part))
        };
        until(&format!("there is a thread {part:?}"), async || find().is_some()).await;
        find().expect("it was there")
    }

    /// Waits for a thread with this in its name, wherever it is.
    pub async fn thread_named(&self, part: &str) -> Thread {
        let find = || self.threads().into_iter().find(|thread| thread.name().contains(part));
        until(&format!("there is a thread {part:?}"), async || find().is_some()).await;
        find().expect("it was there")
    }

    /// Waits for a ticket's thread in #staff.
    pub async fn staff_thread(&self, part: &str) -> Thread {
        self.thread_in(super::STAFF, part).await
    }

    /// Waits for a ticket's thread in #support.
    pub async fn support_thread(&self, part: &str) -> Thread {
        self.thread_in(super::SUPPORT, part).await
    }

    /// What stands in a channel or thread, oldest first.
    pub fn messages(&self, channel: Id) -> Vec<Said> {
        messages(&self.shared, channel)
    }

    /// Waits for a message with this in it.
    pub async fn hears(&self, channel: Id, part: &str) -> Said {
        hears(&self.shared, channel, part).await
    }

    /// A message, if it is still there; also one that only one person sees.
    pub fn message(&self, id: Id) -> Option<Said> {
        let world = self.shared.lock();
        world.messages.get(&id).map(|message| said(&self.shared, &world, message))
    }

    /// The content of what was deleted, in order.
    pub fn deleted(&self) -> Vec<String> {
        self.shared.lock().graveyard.iter().map(|message| message.content.clone()).collect()
    }
}

impl Thread {
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whether it still is.
    pub fn exists(&self) -> bool {
        self.shared.lock().channels.contains_key(&self.id)
    }

    pub fn name(&self) -> String {
        self.shared.lock().channel(self.id).name.clone()
    }

    pub fn parent(&self) -> Id {
        self.shared.lock().channel(self.id).parent.unwrap_or_default()
    }

    /// The channel type: public or private.
    pub fn kind(&self) -> u64 {
        self.shared.lock().channel(self.id).kind
    }

    pub fn archived(&self) -> bool {
        self.with(|thread| thread.archived)
    }

    pub fn locked(&self) -> bool {
        self.with(|thread| thread.locked)
    }

    pub fn invitable(&self) -> bool {
        self.with(|thread| thread.invitable)
    }

    fn with<T>(&self, ask: impl Fn(&super::world::ThreadState) -> T) -> T {
        let world = self.shared.lock();
        ask(world.channel(self.id).thread.as_ref().expect("a thread"))
    }

    /// The names of those in it, without the bot.
    pub fn members(&self) -> Vec<String> {
        let world = self.shared.lock();
        let thread = world.channel(self.id).thread.as_ref().expect("a thread");
        let members = thread.members.iter().filter(|id| **id != super::BOT);
        let mut names: Vec<String> = members.map(|id| world.human(*id).name.clone()).collect();
        names.sort();
        names
    }

    /// The names of its tags.
    pub fn tags(&self) -> Vec<String> {
        let world = self.shared.lock();
        let applied = world.channel(self.id).thread.as_ref().expect("a thread").tags.clone();
        let tags = &world.ruling(self.id).tags;
        tags.iter().filter(|(id, _)| applied.contains(id)).map(|(_, name)| name.clone()).collect()
    }

    /// What was said in it, oldest first, without Discord's own notes.
    pub fn messages(&self) -> Vec<Said> {
        let mut all = messages(&self.shared, self.id);
        all.retain(|said| is_written(said.kind));
        all
    }

    /// Its first message, or the one in the parent that it was made from: a ticket's card.
    pub fn card(&self) -> Said {
        let world = self.shared.lock();
        let first = world.messages.get(&self.id);
        let first =
            first.or_else(|| world.messages_in(self.id).into_iter().find(|message| is_written(message.kind)));
        said(&self.shared, &world, first.expect("a first message"))
    }

    /// Waits for a message with this in it.
    pub async fn hears(&self, part: &str) -> Said {
        hears(&self.shared, self.id, part).await
    }

    /// Name, state and everything said, for snapshots: mentions by name, no ids.
    pub fn shown(&self) -> String {
        let state = self.with(|thread| {
            let words = [(thread.archived, " (archived)"), (thread.locked, " (locked)")];
            words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<String>()
        });
        let mut text = format!("# {}{state}\n", self.name());
        for said in self.messages() {
            text.push_str(&said.shown());
        }
        text
    }
}

impl Said {
    /// As in a transcript.
    pub fn shown(&self) -> String {
        let edited = if self.edited { " (edited)" } else { "" };
        let mut text = format!("{}:{edited} {}\n", self.author, self.text.replace('\n', "\n  "));
        for (name, bytes) in &self.files {
            text.push_str(&format!("  [{name}, {} bytes]\n", bytes.len()));
        }
        if !self.controls.is_empty() {
            text.push_str(&format!("  ({})\n", self.controls.join(") (")));
        }
        text
    }
}

/// Whether someone wrote a message of this kind: plain, a reply, or a command's answer. Others are Discord's notes.
fn is_written(kind: u64) -> bool {
    matches!(kind, 0 | 19 | 20)
}

fn messages(shared: &Shared, channel: Id) -> Vec<Said> {
    let world = shared.lock();
    world.messages_in(channel).into_iter().map(|message| said(shared, &world, message)).collect()
}

async fn hears(shared: &Shared, channel: Id, part: &str) -> Said {
    let find = || messages(shared, channel).into_iter().find(|said| said.text.contains(part));
    until(&format!("{part:?} is said in {channel}"), async || find().is_some()).await;
    find().expect("it was there")
}

pub(super) fn said(_: &Shared, world: &World, message: &Message) -> Said {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = vec![named(world, &message.content)];
    for embed in &message.embeds {
        lines.extend([text(embed, "title"), named(world, &text(embed, "description"))]);
        for field in embed.get("fields").and_then(Value::as_array).into_iter().flatten() {
            lines.push(format!("{}: {}", text(field, "name"), named(world, &text(field, "value"))));
        }
        lines.extend(embed.get("footer").map(|footer| text(footer, "text")));
    }
    lines.retain(|line| !line.is_empty());
    let control = |one: &&Value| {
        let disabled = one.get("disabled") == Some(&Value::Bool(true));
        let label = text(one, "label");
        let label = if label.is_empty() { format!("[{}]", text(one, "placeholder")) } else { label };
        if disabled { format!("{label}, disabled") } else { label }
    };
    let files = message.files.iter().filter_map(|id| world.files.get(id));
    Said {
        id: message.id,
        author: world.human(message.author).name.clone(),
        text: lines.join("\n"),
        content: message.content.clone(),
        embeds: message.embeds.clone(),
        components: message.components.clone(),
        controls: components(message).iter().map(control).collect(),
        files: files.map(|file| (file.name.clone(), file.bytes.clone())).collect(),
        pings: pings::all(message).iter().map(|ping| named(world, ping)).collect(),
        nonce: message.nonce.clone(),
        edited: message.edited.is_some(),
        kind: message.kind,
    }
}

/// With names in the place of ids: `<@mia>`, `<@&moderator>`, `<#support>`.
fn named(world: &World, text: &str) -> String {
    let mut text = text.to_owned();
    for human in world.people.values() {
        text = text.replace(&format!("<@{}>", human.id), &format!("<@{}>", human.name));
    }
    for role in &world.roles {
        text = text.replace(&format!("<@&{}>", role.id), &format!("<@&{}>", role.name));
    }
    for channel in world.channels.values() {
        text = text.replace(&format!("<#{}>", channel.id), &format!("<#{}>", channel.name));
    }
    text
}
