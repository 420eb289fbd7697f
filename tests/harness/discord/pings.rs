//! Who is notified by a message: its text and what `allowed_mentions` lets through.

use serde_json::Value;

use super::world::{Id, Message};

/// `@everyone` and `@here`, `<@person>` and `<@&role>`, as they stand in the text, if they notify.
///
/// A mention in a code block counts, too: it is for tests that want none at all.
pub fn all(message: &Message) -> Vec<String> {
    let mut found = Vec::new();
    for word in ["@everyone", "@here"] {
        if message.content.contains(word) && passes(message, "everyone", "", 0) {
            found.push(word.to_owned());
        }
    }
    for role in marked(&message.content, "<@&") {
        if passes(message, "roles", "roles", role) {
            found.push(format!("<@&{role}>"));
        }
    }
    found.extend(people(message).iter().map(|person| format!("<@{person}>")));
    found
}

/// The people that it notifies by name.
pub fn people(message: &Message) -> Vec<Id> {
    let mut named = marked(&message.content, "<@");
    named.extend(marked(&message.content, "<@!"));
    named.retain(|person| passes(message, "users", "users", *person));
    named
}

fn passes(message: &Message, kind: &str, list: &str, id: Id) -> bool {
    let Some(allowed) = message.allowed_mentions.as_ref().filter(|allowed| !allowed.is_null()) else {
        return true; // facts: without `allowed_mentions` everything notifies
    };
    let has = |list: &str, word: &str| {
        let words = allowed.get(list).and_then(Value::as_array);
        words.is_some_and(|words| words.iter().any(|entry| entry.as_str() == Some(word)))
    };
    has("parse", kind) || has(list, &id.to_string())
}

/// The ids in `<@id>` and its like.
fn marked(text: &str, opening: &str) -> Vec<Id> {
    let ids = text.split(opening).skip(1).filter_map(|rest| rest.split_once('>'));
    ids.filter_map(|(id, _)| id.parse().ok()).collect()
}
