//! What the real Discord refuses.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::raw::{Line, Raw, at, id_of};
use crate::harness::discord::{Asked, BOT, Discord, GUILD, OTHER_GUILD, STAFF, SUPPORT};

fn button(id: &str) -> Value {
    json!({"type": 2, "style": 1, "label": "x", "custom_id": id})
}

fn rows(rows: Vec<Value>) -> Value {
    let rows: Vec<Value> = rows.into_iter().map(|row| json!({"type": 1, "components": row})).collect();
    json!({"content": "x", "components": rows})
}

fn options(count: usize) -> Value {
    let options: Vec<Value> =
        (0..count).map(|n| json!({"label": format!("{n}"), "value": format!("{n}")})).collect();
    rows(vec![json!([{"type": 3, "custom_id": "s", "options": options}])])
}

/// Each is refused with 50035, at a place that the answer and the finding name.
async fn are_bad_forms(method: Method, path: &str, cases: Vec<(Value, &str)>) {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    for (body, place) in cases {
        let (status, answer) = raw.ask(method.clone(), path, body.clone()).await;
        assert_eq!((status, at(&answer, "/code")), (400, &json!(50035)), "{body}: {answer}");
        let faults = discord.take_faults();
        let expected = format!("{method} {path}: {place}");
        assert!(faults.iter().any(|fault| fault.starts_with(&expected)), "{body}: {faults:?}, not {place}");
        assert!(answer.pointer(&format!("/errors{place}")).is_some(), "{place}: {answer}");
    }
    assert_eq!(discord.messages(SUPPORT).len() + discord.threads().len(), 0, "nothing was done");
}

#[tokio::test]
async fn messages_beyond_the_limits() {
    let long = |length: usize| "x".repeat(length);
    let embeds = |embed: Value| json!({"embeds": [embed]});
    let fields: Vec<Value> = (0..26).map(|n| json!({"name": format!("{n}"), "value": "x"})).collect();
    let path = format!("/channels/{SUPPORT}/messages");
    let cases = vec![
        (json!({"content": long(2001)}), "/content"),
        (json!({"content": 7}), "/content"),
        (json!({"contents": "x"}), "/contents"),
        (json!({"embeds": vec![json!({"title": "x"}); 11]}), "/embeds"),
        (embeds(json!({"title": long(257)})), "/embeds/0/title"),
        (embeds(json!({"description": long(4097)})), "/embeds/0/description"),
        (embeds(json!({"footer": {"text": long(2049)}})), "/embeds/0/footer/text"),
        (embeds(json!({"author": {"name": long(257)}})), "/embeds/0/author/name"),
        (embeds(json!({ "fields": fields })), "/embeds/0/fields"),
        (embeds(json!({"fields": [{"name": "x", "value": long(1025)}]})), "/embeds/0/fields/0/value"),
        (json!({"embeds": vec![json!({"description": long(3001)}); 2]}), "/embeds"),
        (json!({"content": "x", "nonce": long(26)}), "/nonce"),
        (json!({"content": "x", "enforce_nonce": true}), "/enforce_nonce"),
        (
            json!({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}),
            "/allowed_mentions",
        ),
        (json!({"content": "x", "allowed_mentions": {"parse": ["all"]}}), "/allowed_mentions/parse/0"),
        (json!({"content": "x", "attachments": [{"id": 0, "filename": "a"}]}), "/attachments"),
        (json!({"content": "x", "message_reference": {"message_id": "1"}}), "/message_reference"),
        (rows(vec![json!([button(&long(101))])]), "/components/0/components/0/custom_id"),
        (rows(vec![json!([button("a"), button("a")])]), "/components/0/components/1/custom_id"),
        (rows(vec![json!(["a", "b", "c", "d", "e", "f"].map(button))]), "/components/0/components"),
        (rows(["a", "b", "c", "d", "e", "f"].map(|id| json!([button(id)])).to_vec()), "/components"),
        (rows(vec![json!([{"type": 2, "style": 1, "label": "x"}])]), "/components/0/components/0/custom_id"),
        (rows(vec![json!([{"type": 2, "style": 5, "label": "x"}])]), "/components/0/components/0/url"),
        (rows(vec![json!([{"type": 2, "style": 1, "custom_id": "x"}])]), "/components/0/components/0/label"),
        (
            rows(vec![json!([{"type": 2, "style": 1, "custom_id": "x", "label": long(81)}])]),
            "/components/0/components/0/label",
        ),
        (rows(vec![json!([])]), "/components/0/components"),
        (options(26), "/components/0/components/0/options"),
        (
            rows(vec![
                json!([button("a"), {"type": 3, "custom_id": "s", "options": [{"label": "a", "value": "a"}]}]),
            ]),
            "/components/0/components",
        ),
    ];
    are_bad_forms(Method::POST, &path, cases).await;
}

#[tokio::test]
async fn commands_and_threads_against_the_rules() {
    let command = |change: Value| {
        let mut command = json!({"name": "ticket", "description": "tickets"});
        command.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        json!([command])
    };
    let option = |name: &str, required: bool| json!({"type": 3, "name": name, "description": "x", "required": required});
    let choices: Vec<Value> = (0..26).map(|n| json!({"name": format!("{n}"), "value": "x"})).collect();
    let with = |options: Value| command(json!({ "options": options }));
    let path = format!("/applications/{BOT}/guilds/{GUILD}/commands");
    let cases = vec![
        (command(json!({"name": "Ticket"})), "/0/name"),
        (command(json!({"name": "tick et"})), "/0/name"),
        (command(json!({"name": "x".repeat(33)})), "/0/name"),
        (command(json!({"description": "x".repeat(101)})), "/0/description"),
        (command(json!({"description": ""})), "/0/description"),
        (command(json!({"type": 3, "name": "Do this"})), "/0"),
        (with(json!([option("a", false), option("b", true)])), "/0/options/1"),
        (with(json!([option("a", false), option("a", false)])), "/0/options/1"),
        (with(json!([option("A", false)])), "/0/options/0/name"),
        (with(vec![option("a", false); 26].into()), "/0/options"),
        (
            with(json!([{"type": 3, "name": "a", "description": "x", "choices": choices}])),
            "/0/options/0/choices",
        ),
        (with(json!([{"type": 1, "name": "a", "description": "x"}, option("b", false)])), "/0/options"),
        (json!([{"name": "a", "description": "x"}, {"name": "a", "description": "x"}]), "/1"),
    ];
    are_bad_forms(Method::PUT, &path, cases).await;
    let path = format!("/channels/{SUPPORT}/threads");
    let cases = vec![
        (json!({"name": ""}), "/name"),
        (json!({"name": "x".repeat(101)}), "/name"),
        (json!({"name": "x", "auto_archive_duration": 61}), "/auto_archive_duration"),
        (json!({"name": "x", "type": 13}), "/type"),
        (json!({"name": "x", "message": {"content": "x"}}), "/message"),
    ];
    are_bad_forms(Method::POST, &path, cases).await;
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed() {
    let discord = Discord::start().await;
    let (raw, mia) = (Raw::new(&discord), discord.member("mia"));
    let eve = discord.stranger("eve");
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let hello = json!({"content": "Hello"});
    let theirs = mia.says(SUPPORT, "mine").await;
    let there = format!("/channels/{SUPPORT}/messages");
    let cases = [
        (post.clone(), "/channels/1/messages".to_owned(), hello.clone(), (404, 10003)),
        (get.clone(), "/channels/1".into(), Value::Null, (404, 10003)),
        (get.clone(), format!("{there}/1"), Value::Null, (404, 10008)),
        (patch.clone(), format!("{there}/{theirs}"), hello.clone(), (403, 50005)),
        (get.clone(), "/guilds/1".into(), Value::Null, (404, 10004)),
        (get.clone(), format!("/guilds/{GUILD}/members/1"), Value::Null, (404, 10013)),
        (get.clone(), format!("/guilds/{GUILD}/members/{}", eve.id()), Value::Null, (404, 10007)),
        (get.clone(), "/users/1".into(), Value::Null, (404, 10013)),
        (post.clone(), "/users/@me/channels".into(), json!({"recipient_id": "1"}), (404, 10013)),
        (Method::PUT, format!("/applications/{BOT}/guilds/{OTHER_GUILD}/commands"), json!([]), (403, 50001)),
        (post.clone(), format!("{there}/1/threads"), json!({"name": "x"}), (404, 10008)),
        (get.clone(), format!("/webhooks/{BOT}/made-up/messages/@original"), Value::Null, (404, 10015)),
    ];
    for (method, path, body, refusal) in cases {
        assert_eq!(raw.refused(method, &path, body).await, refusal, "{path}");
    }
    discord.assert_all_valid();
    assert_eq!(discord.refusals()[0], "POST /channels/1/messages 404 10003");
    for (code, seen) in [(50013, 200), (50001, 403), (0, 200)] {
        discord.forbids(SUPPORT, code);
        assert_eq!(raw.ask(get.clone(), &there, Value::Null).await.0, seen, "{code}");
        let wrote = raw.ask(post.clone(), &there, hello.clone()).await;
        assert_eq!(wrote.1["code"].as_u64().unwrap_or_default(), code, "{wrote:?}");
    }
    for token in ["", "Bot wrong", "Bearer x"] {
        let refused = raw.ask_as(token, get.clone(), "/users/@me", Value::Null).await.expect("an answer");
        assert_eq!(refused.0, 401, "{token}");
    }
    discord.assert_all_valid();

    for body in [json!({"content": " \n"}), json!({})] {
        assert_eq!(raw.refused(post.clone(), &there, body).await, (400, 50006));
    }
    assert_eq!(raw.ask(get.clone(), "/guilds/1/audit-logs", Value::Null).await.0, 404);
    assert_eq!(raw.ask(get.clone(), &format!("{there}?limit=101"), Value::Null).await.0, 400);
    assert_eq!(raw.ask(get.clone(), &format!("{there}?last=1"), Value::Null).await.0, 400);
    assert_eq!(raw.ask(get, "/channels/x", Value::Null).await.0, 400);
    assert_eq!(raw.ask(post, &there, Value::Null).await.0, 400);
    assert_eq!(discord.take_faults().len(), 7);
}

/// Someone clicked on a message of the bot.
async fn clicked(discord: &Discord, raw: &Raw) -> (Asked, String, String) {
    let body = rows(vec![json!([button("x")])]);
    let message = raw.post(&format!("/channels/{STAFF}/messages"), body).await;
    let id = id_of(&message);
    let name = format!("bea{id}");
    let asked = discord.member_with(&name, &["moderator"]).clicks(id, "x").await;
    let (callback, original) = paths(&asked);
    (asked, callback, original)
}

/// Where it is answered, and where its answer is.
fn paths(asked: &Asked) -> (String, String) {
    let token = asked.token();
    let callback = format!("/interactions/{}/{token}/callback", asked.id());
    (callback, format!("/webhooks/{BOT}/{token}/messages/@original"))
}

#[tokio::test]
async fn answers_that_come_twice_too_late_or_too_early() {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    let (post, patch) = (Method::POST, Method::PATCH);
    let (defer, text) = (json!({"type": 5, "data": {"flags": 64}}), json!({"content": "done"}));
    let (asked, callback, original) = clicked(&discord, &raw).await;
    assert_eq!(raw.refused(patch.clone(), &original, text.clone()).await, (404, 10015), "too early");
    assert!(!asked.is_answered());
    assert_eq!(raw.ask_as("", post.clone(), &callback, defer.clone()).await.expect("an answer").0, 204);
    assert_eq!(raw.refused(post.clone(), &callback, defer.clone()).await, (400, 40060), "twice");
    assert_eq!(raw.ask(patch.clone(), &original, text.clone()).await.0, 200);
    assert_eq!(asked.answer().await, "done");
    let follow_up = original.trim_end_matches("/messages/@original");
    let sent = raw.post(follow_up, json!({"content": "and more", "flags": 64})).await;
    assert_eq!(asked.follow_ups()[0].text, "and more");
    let sent = format!("{follow_up}/messages/{}", sent["id"].as_str().expect("an id"));
    assert_eq!(raw.ask(patch.clone(), &sent, json!({"content": "less"})).await.0, 200);
    assert_eq!(raw.get(&sent).await["content"], "less");
    assert_eq!(raw.ask(Method::DELETE, &sent, Value::Null).await.0, 204);
    assert_eq!(raw.refused(patch.clone(), &sent, text.clone()).await, (404, 10008));
    discord.lets_pass(Duration::from_mins(16));
    assert_eq!(raw.refused(patch, &original, text).await, (401, 50027), "its token is not good any more");

    let (_, callback, _) = clicked(&discord, &raw).await;
    discord.lets_pass(Duration::from_secs(4));
    assert_eq!(raw.refused(post.clone(), &callback, defer.clone()).await, (404, 10062), "too late");
    assert_eq!(
        raw.refused(post.clone(), "/interactions/1/x/callback", defer).await,
        (404, 10062),
        "never asked"
    );
    assert_eq!(raw.ask(Method::GET, &paths(&asked).1, Value::Null).await.0, 401);
    discord.assert_all_valid();
}

#[tokio::test]
async fn answers_of_the_wrong_kind() {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    let mia = discord.member("mia");
    let input =
        |id: &str| json!({"type": 1, "components": [{"type": 4, "custom_id": id, "style": 1, "label": "x"}]});
    let modal =
        |rows: Vec<Value>| json!({"type": 9, "data": {"custom_id": "m", "title": "x", "components": rows}});
    let refused = async |callback: &str, body: Value| {
        assert_eq!(raw.refused(Method::POST, callback, body.clone()).await, (400, 50035), "{body}");
        assert!(!discord.take_faults().is_empty());
    };
    let (asked, callback, _) = clicked(&discord, &raw).await;
    refused(&callback, json!({"type": 8, "data": {"choices": []}})).await;
    refused(&callback, json!({"type": 4, "data": {"content": "x".repeat(2001)}})).await;
    refused(&callback, modal(vec![input("a"), input("a")])).await;
    refused(&callback, modal((0..6).map(|n| input(&n.to_string())).collect())).await;
    refused(&callback, modal(vec![])).await;
    refused(
        &callback,
        json!({"type": 9, "data": {"custom_id": "m", "title": "x".repeat(46), "components": [input("a")]}}),
    )
    .await;
    assert_eq!(raw.ask(Method::POST, &callback, modal(vec![input("a")])).await.0, 204);
    let form = asked.modal().await;
    assert_eq!((form.fields[0].label.as_str(), form.fields[0].value.as_str()), ("x", ""));
    let sent = form.sends(&json!({"custom_id": "other", "components": []})).await;
    refused(&paths(&sent).0, modal(vec![input("a")])).await;
    let update = json!({"type": 7, "data": {"content": "claimed"}});
    assert_eq!(
        raw.ask(Method::POST, &paths(&sent).0, update.clone()).await.0,
        204,
        "a button opened the form"
    );
    assert_eq!(sent.answer().await, "claimed");

    let commands = json!([{"name": "upload", "description": "x",
        "options": [{"type": 11, "name": "file", "description": "x", "required": true}]}]);
    let registered =
        raw.ask(Method::PUT, &format!("/applications/{BOT}/guilds/{GUILD}/commands"), commands).await;
    assert_eq!(discord.commands()[0]["id"], registered.1[0]["id"]);
    let (mut line, _) = Line::identified(&discord, 1).await;
    let asked = mia.uses("/upload").with_file("file", "a.txt", b"log").await;
    let event = line.event().await;
    let file = event["d"]["data"]["resolved"]["attachments"].as_object().expect("files").values().next();
    assert_eq!(file.expect("a file")["filename"], "a.txt");
    refused(&paths(&asked).0, update).await;
    let answer = format!("{}?with_response=true", paths(&asked).0);
    let (status, answer) =
        raw.ask(Method::POST, &answer, json!({"type": 4, "data": {"content": "seen"}})).await;
    assert_eq!((status, &answer["resource"]["message"]["content"]), (200, &json!("seen")));
    let shown = asked.shown().await;
    assert_eq!((shown.ephemeral, shown.controls.len(), shown.files.len()), (false, 0, 0));
    assert_eq!(discord.messages(SUPPORT)[0].id, shown.message, "everyone sees it");
}

#[tokio::test]
#[should_panic(expected = "/content")]
async fn a_wrong_request_fails_its_test() {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    raw.ask(Method::POST, &format!("/channels/{SUPPORT}/messages"), json!({"content": 7})).await;
}
