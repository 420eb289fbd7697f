//! What Discord's events are to us: most are nothing.

use std::collections::HashMap;

use serenity::model::event::{Event, UnknownEvent};
use serenity::model::id::{GuildId, MessageId};

use crate::discord::request::Request;
use crate::discord::said;

/// What comes from the gateway, in the order in which it came.
#[derive(Debug)]
pub(super) enum Heard {
    /// A session began: what was said before it may have been missed.
    Ready,
    /// A session went on; Discord has sent what was said meanwhile.
    Resumed,
    /// The threads of our server that are not archived, each with its newest message. Follows on [`Heard::Ready`].
    Listed(HashMap<u64, u64>),
    Changed(Change),
    /// This thread was deleted.
    ThreadGone(u64),
    /// Something was said here that cannot be read.
    Unreadable {
        channel: u64,
    },
    /// These threads can be seen (again), and what was said in them before was not heard.
    Visible(Vec<u64>),
}

/// Something was said, edited or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) channel: u64,
    pub(super) message: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Said(Box<said::Message>),
    Edited(Box<said::Message>),
    Deleted,
}

impl Change {
    /// Sorts what was said in the order of Discord's ids, and what became of it behind it.
    pub(super) fn order(&self) -> (u64, u8) {
        let rank = match self.what {
            What::Said(_) => 0,
            What::Edited(_) => 1,
            What::Deleted => 2,
        };
        (self.message, rank)
    }
}

/// What an event is to us.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) request: Option<Request>,
    pub(super) heard: Vec<Heard>,
    /// It could not be read; its kind.
    pub(super) unreadable: Option<&'static str>,
}

/// Sorts an event. Of messages only those count that people wrote in our server.
pub(super) fn sort(event: &Event, guild: u64) -> Sorted {
    let ours = |of: Option<GuildId>| of.is_some_and(|id| id.get() == guild);
    let heard = match event {
        Event::Ready(_) => vec![Heard::Ready],
        Event::Resumed(_) => vec![Heard::Resumed],
        Event::GuildCreate(create) if create.guild.id.get() == guild => {
            let newest = create.guild.threads.iter().map(|thread| {
                // A thread in which nothing was said yet has no message after itself.
                let last = thread.last_message_id.map_or(thread.id.get(), MessageId::get);
                (thread.id.get(), last)
            });
            vec![Heard::Listed(newest.collect())]
        }
        Event::ThreadListSync(sync) if sync.guild_id.get() == guild => {
            vec![Heard::Visible(sync.threads.iter().map(|thread| thread.id.get()).collect())]
        }
        Event::InteractionCreate(create) => return interaction(&create.interaction),
        Event::MessageCreate(create) if ours(create.message.guild_id) => {
            let message = said::Message::from(&create.message);
            changed(message, What::Said)
        }
        Event::MessageUpdate(update) if ours(update.guild_id) => {
            said::Message::from_update(update).map_or_else(Vec::new, |message| changed(message, What::Edited))
        }
        Event::MessageDelete(deletion) if ours(deletion.guild_id) => {
            vec![deleted(deletion.channel_id.get(), deletion.message_id.get())]
        }
        Event::MessageDeleteBulk(deletion) if ours(deletion.guild_id) => {
            deletion.ids.iter().map(|id| deleted(deletion.channel_id.get(), id.get())).collect()
        }
        Event::ThreadDelete(deletion) if deletion.thread.guild_id.get() == guild => {
            vec![Heard::ThreadGone(deletion.thread.id.get())]
        }
        Event::Unknown(unknown) => return unreadable(unknown, guild),
        // Among them THREAD_UPDATE: a thread that is archived because nobody wrote is no ticket that was closed.
        _ => Vec::new(),
    };
    Sorted { heard, ..Sorted::default() }
}

fn interaction(interaction: &serenity::model::application::Interaction) -> Sorted {
    match Request::from_interaction(interaction) {
        Some(request) => Sorted { request: Some(request), ..Sorted::default() },
        // Of a kind that we register nothing of.
        None => Sorted { unreadable: Some("INTERACTION_CREATE"), ..Sorted::default() },
    }
}

fn changed(message: said::Message, what: fn(Box<said::Message>) -> What) -> Vec<Heard> {
    if !message.is_by_person() {
        return Vec::new();
    }
    let (channel, id) = (message.channel, message.id);
    vec![Heard::Changed(Change { channel, message: id, what: what(Box::new(message)) })]
}

fn deleted(channel: u64, message: u64) -> Heard {
    Heard::Changed(Change { channel, message, what: What::Deleted })
}

/// Serenity keeps quiet about events that it knows and cannot read.
fn unreadable(event: &UnknownEvent, guild: u64) -> Sorted {
    let kinds = ["INTERACTION_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE", "THREAD_UPDATE", "GUILD_CREATE"];
    let Some(kind) = kinds.into_iter().find(|kind| *kind == event.kind) else { return Sorted::default() };
    let id = |key: &str| event.value.get(key)?.as_str()?.parse::<u64>().ok();
    if kind == "GUILD_CREATE" && id("id") != Some(guild) || id("guild_id").is_some_and(|id| id != guild) {
        return Sorted::default();
    }
    let channel = id("channel_id").filter(|_| kind.starts_with("MESSAGE_"));
    let heard = channel.map(|channel| Heard::Unreadable { channel }).into_iter().collect();
    Sorted { unreadable: Some(kind), heard, ..Sorted::default() }
}
