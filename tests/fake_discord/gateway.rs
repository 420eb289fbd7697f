//! The gateway by hand: what is dispatched to whom, and what can happen to a connection.

use std::time::Duration;

use serde_json::json;

use super::raw::Line;
use crate::harness::discord::{Discord, OTHER_GUILD, Person, SUPPORT, TOKEN};
use crate::harness::wait::until;

const GUILDS: u64 = 1;
const GUILD_MESSAGES: u64 = 1 << 9;
const MESSAGE_CONTENT: u64 = 1 << 15;
const ALL: u64 = GUILDS | GUILD_MESSAGES | MESSAGE_CONTENT;

fn created(text: &str) -> (String, String) {
    ("MESSAGE_CREATE".to_owned(), text.to_owned())
}

async fn says(person: &Person, texts: &[&str]) {
    for text in texts {
        person.says(SUPPORT, text).await;
    }
}

#[tokio::test]
async fn events_go_to_every_connection_by_its_intents() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    let (mut all, _) = Line::identified(&discord, ALL).await;
    let (mut blind, _) = Line::identified(&discord, GUILDS | GUILD_MESSAGES).await;
    let (mut deaf, _) = Line::identified(&discord, GUILDS).await;
    assert_eq!(discord.connections(), 3);
    says(&mia, &["Hello"]).await;
    assert_eq!(all.hears().await, created("Hello"));
    assert_eq!(blind.hears().await, created(""), "without the intent there is no content");
    assert!(deaf.is_silent().await);
    mia.clicks_forged(mia.says(SUPPORT, "a button").await, "claim.x");
    assert_eq!(deaf.hears().await.0, "INTERACTION_CREATE", "that needs no intent");
    discord.stranger("eve").clicks_forged(mia.says(SUPPORT, "another").await, "claim.x");
    let forged = deaf.event().await;
    assert_eq!(forged["d"]["guild_id"], OTHER_GUILD.to_string(), "a stranger comes from their own guild");
}

#[tokio::test]
async fn events_come_twice_late_or_in_another_order() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    let (mut line, _) = Line::identified(&discord, ALL).await;
    discord.delivers_twice(true);
    says(&mia, &["twice"]).await;
    assert_eq!([line.hears().await, line.hears().await], [created("twice"), created("twice")]);
    discord.delivers_twice(false);
    discord.withholds_events();
    says(&mia, &["1", "2"]).await;
    assert!(line.is_silent().await);
    discord.releases_events();
    assert_eq!([line.hears().await, line.hears().await], [created("1"), created("2")]);
    discord.withholds_events();
    says(&mia, &["1", "2"]).await;
    discord.releases_events_reversed();
    assert_eq!([line.hears().await, line.hears().await], [created("2"), created("1")]);
    discord.withholds_events();
    says(&mia, &["lost"]).await;
    discord.loses_events();
    says(&mia, &["found"]).await;
    assert_eq!(line.hears().await, created("found"));
}

#[tokio::test]
async fn a_session_is_resumed_from_where_it_was_or_not_at_all() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    let (mut line, session) = Line::identified(&discord, ALL).await;
    says(&mia, &["heard"]).await;
    line.hears().await;
    let seen = line.sequence;
    discord.drops_connections();
    assert_eq!(line.frame().await, Err(0), "no word of farewell");
    until("the session waits", async || discord.connections() == 0).await;
    says(&mia, &["missed"]).await;
    let mut line = Line::connect(&discord).await;
    line.resume(&session, seen).await;
    assert_eq!(line.hears().await, created("missed"));
    assert_eq!(line.hears().await.0, "RESUMED");
    assert_eq!(discord.sessions(), (1, 1));

    discord.closes_connections(4000);
    assert_eq!(line.frame().await, Err(4000));
    discord.forgets_sessions();
    let mut line = Line::connect(&discord).await;
    line.resume(&session, seen).await;
    assert_eq!(line.frame().await.expect("a frame")["op"], 9);

    let (mut line, session) = Line::identified(&discord, ALL).await;
    discord.invalidates_sessions();
    assert_eq!(line.frame().await.expect("a frame")["op"], 9);
    line.signs_off().await;
    let mut line = Line::connect(&discord).await;
    line.resume(&session, 1).await;
    assert_eq!(line.frame().await.expect("a frame")["op"], 9);
}

#[tokio::test]
async fn who_signs_off_has_no_session_any_more() {
    let discord = Discord::start().await;
    let (line, session) = Line::identified(&discord, ALL).await;
    line.signs_off().await;
    until("it is gone", async || discord.connections() == 0).await;
    let mut line = Line::connect(&discord).await;
    line.resume(&session, 1).await;
    let answer = line.frame().await.expect("a frame");
    assert_eq!((&answer["op"], &answer["d"]), (&json!(9), &json!(false)));
}

#[tokio::test]
async fn heartbeats_are_acknowledged_at_the_pace_that_was_set_unless_it_is_deaf() {
    let discord = Discord::start().await;
    discord.heartbeat(Duration::from_millis(200));
    let (mut line, _) = Line::identified(&discord, ALL).await;
    line.send(json!({"op": 1, "d": null})).await;
    assert_eq!(line.frame().await.expect("a frame")["op"], 11);
    discord.ignores_heartbeats(true);
    line.send(json!({"op": 1, "d": null})).await;
    assert!(line.is_silent().await);
}

#[tokio::test]
async fn connections_are_refused_for_reasons_that_are_told_and_for_none() {
    let discord = Discord::start().await;
    for (token, intents, code) in [("wrong", GUILDS, 4004), (TOKEN, 1 << 8, 4014), (TOKEN, 1 << 1, 4014)] {
        let mut line = Line::connect(&discord).await;
        line.identify(token, intents).await;
        assert_eq!(line.frame().await, Err(code));
    }
    let mut line = Line::connect(&discord).await;
    line.send(json!({"op": 3, "d": {}})).await;
    assert_eq!(line.frame().await, Err(4003));
    discord.message_content(false);
    let mut line = Line::connect(&discord).await;
    line.identify(TOKEN, MESSAGE_CONTENT).await;
    assert_eq!(line.frame().await, Err(4014));

    discord.refuses_connections(1);
    let url = super::raw::gateway(&discord).await;
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
    Line::connect(&discord).await;
}
