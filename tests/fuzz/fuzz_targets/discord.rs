//! Any bytes as what Discord sends: an event of its gateway, an interaction, a message, an answer of its API. And the texts
//! in them as what we would send back: within Discord's limits, and without a way out of the place they are put in.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serenity::model::application::Interaction;
use serenity::model::event::GatewayEvent;
use ticketd::discord::custom_id::CustomId;
use ticketd::discord::request::Request;
use ticketd::discord::{said, text};

/// Characters in a message.
const LONGEST: usize = 2000;

fuzz_target!(|data: &[u8]| {
    let Ok(written) = std::str::from_utf8(data) else { return };
    renders(written);
    let _event = serde_json::from_str::<GatewayEvent>(written);
    let Ok(json) = serde_json::from_str::<serde_json::Value>(written) else { return };
    if let Some(message) = said::Message::from_json(&json) {
        assert!(!message.text().is_empty());
        renders(&message.text());
        serde_json::to_string(&message).expect("a message is stored as JSON");
    }
    if let Ok(interaction) = serde_json::from_value::<Interaction>(json)
        && let Some(request) = Request::from_interaction(&interaction)
    {
        let _label = request.label();
        let stored = serde_json::to_string(&request).expect("a request is stored as JSON");
        let read: Request = serde_json::from_str(&stored).expect("and read again");
        assert_eq!(read.label(), request.label());
    }
});

fn renders(written: &str) {
    if let Some(id) = CustomId::parse(written) {
        assert_eq!(id.to_string(), written, "one way to write an id");
    }
    let name = text::thread_name(1, written);
    assert!((1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control), "{name:?}");
    let escaped = text::escape(written);
    for part in text::split(&escaped, LONGEST) {
        assert!((1..=LONGEST).contains(&part.chars().count()), "{} characters", part.chars().count());
    }
    let short = text::escape_within(written, 200);
    assert!(short.chars().count() <= 200, "{short:?}");
    let _plain = text::plain(written, &BTreeMap::new());
}
