//! The fake Discord is good enough for the real serenity, and refuses what the real Discord refuses.

mod bot;
mod gateway;
mod raw;
mod refusals;
mod talk;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use serenity::all::{CreateAttachment, CreateMessage, GatewayIntents, Http, Nonce};
use serenity::model::id::ChannelId;

use crate::harness::discord::{Discord, PRIVATE_THREAD, SUPPORT, TOKEN, Trouble};
use crate::harness::wait::PATIENCE;
use bot::Bot;
use raw::id_of;

#[tokio::test]
async fn a_command_becomes_a_deferred_answer_a_private_thread_and_a_card() {
    let discord = Discord::start().await;
    let (mia, eve) = (discord.member("mia"), discord.member("eve"));
    let bot = Bot::start(&discord).await;
    let asked = mia.uses("/ticket new").with("subject", "Printer on fire").with("category", "Billing").await;
    assert_eq!(asked.answer().await, "opened");
    assert!(asked.is_ephemeral().await);
    assert!(asked.first_answer_took().await < Duration::from_secs(3));
    let thread = discord.support_thread("#1001").await;
    assert_eq!((thread.kind(), thread.invitable()), (PRIVATE_THREAD, false));
    assert_eq!(thread.members(), ["mia"]);
    assert!(mia.sees(thread.id()) && !eve.sees(thread.id()));
    let card = thread.card();
    assert!(card.text.contains("Printer on fire") && card.text.contains("billing"), "{}", card.text);
    assert_eq!(card.pings, Vec::<String>::new(), "@everyone stands there, but notifies nobody");
    assert_eq!(card.controls, ["Claim", "Close", "[Priority]"]);
    bot.stops().await;
}

#[tokio::test]
async fn buttons_menus_forms_and_typing_are_answered() {
    let discord = Discord::start().await;
    let (mia, bea) = (discord.member("mia"), discord.member_with("bea", &["moderator"]));
    let bot = Bot::start(&discord).await;
    assert_eq!(mia.uses("/ticket new").with("subject", "Printer").await.answer().await, "opened");
    let thread = discord.support_thread("#1001").await;

    assert_eq!(bea.clicks(thread.card().id, "Claim").await.answer().await, "claimed by bea");
    assert_eq!(thread.card().text, "claimed by bea", "the message with the button was changed");
    let asked = bea.chooses(thread.card().id, "Priority", "High").await;
    let shown = asked.shown().await;
    assert!(shown.text.contains("priority.x") && shown.text.contains("high"), "{}", shown.text);
    assert!(shown.ephemeral && asked.follow_ups().len() == 1);
    let forged = mia.clicks_forged(thread.card().id, "made.up");
    assert!(forged.answer().await.contains("made.up"), "rights are the bot's to check");

    let form = mia.uses("/form").in_channel(thread.id()).await.modal().await;
    assert_eq!((form.title.as_str(), form.fields.len()), ("Open a ticket", 2));
    let sent = form.submits(&[("Subject", "Printer"), ("description", "It burns.")]).await;
    assert_eq!(sent.answer().await, "Printer / It burns.");
    let typed = bea.types("/assign", "ticket", "10").await;
    assert_eq!((typed[0].name.as_str(), &typed[0].value), ("#1001 printer", &json!("1001")));
    assert_eq!(
        bea.uses("/assign").with("ticket", "1001").with("to", "mia").await.answer().await,
        "assigned to mia"
    );
    let said = mia.says(SUPPORT, "It is broken.").await;
    assert_eq!(bea.uses_on(said, "Make a ticket of this").await.answer().await, "mia: It is broken.");
    bot.stops().await;
}

#[tokio::test]
async fn what_people_do_in_threads_reaches_the_bot() {
    let discord = Discord::start().await;
    let (mia, bea) = (discord.member("mia"), discord.member_with("bea", &["moderator"]));
    let bot = Bot::start(&discord).await;
    let said = mia.says(SUPPORT, "Hello").await;
    bot.tells(r#"message mia Regular "Hello" roles Some(0) files 0"#).await;
    bea.replies_to(said, "Hi").await;
    bot.tells(r#"message bea InlineReply "Hi" roles Some(1) files 0"#).await;
    mia.edits(said, "Hello?").await;
    bot.tells(r#"update "Hello?""#).await;
    mia.deletes(said).await;
    bot.tells(&format!("delete {said}")).await;
    mia.attaches(SUPPORT, "a.png", b"not really").await;
    bot.tells(r#"message mia Regular "" roles Some(0) files 1"#).await;
    mia.shows(SUPPORT, vec![json!({"type": 10, "content": "of the new kind"})]).await;
    bot.tells(r#"message mia Regular "" roles Some(0) files 0"#).await;
    discord.other_bot("relay").says(SUPPORT, "beep").await;
    bot.tells(r#"message relay Regular "beep""#).await;

    let raw = raw::Raw::new(&discord);
    let thread = id_of(&raw.post(&format!("/channels/{SUPPORT}/threads"), json!({"name": "#7"})).await);
    bot.tells("thread #7 PrivateThread").await;
    assert_eq!(discord.thread_named("#7").await.id(), thread);
    bea.renames(thread, "#8").await;
    let note = r##"message bea GroupNameUpdate "#8" roles Some(1) files 0"##;
    bot.tells_both(note, "thread update #8 Some((false, false))").await;
    bea.archives(thread, true).await;
    bot.tells("thread update #8 Some((true, false))").await;
    bea.says(thread, "Out of the archive").await;
    let said = r#"message bea Regular "Out of the archive" roles Some(1) files 0"#;
    bot.tells_both(said, "thread update #8 Some((false, false))").await;
    bea.removes_thread(thread).await;
    bot.tells(&format!("thread delete {thread}")).await;
    bot.stops().await;
}

#[tokio::test]
async fn a_burst_is_heard_whole() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    let bot = Bot::start(&discord).await;
    let mut heard = Vec::new();
    for number in 0..300 {
        mia.says(SUPPORT, &format!("{number:03}")).await;
    }
    for _ in 0..300 {
        heard.push(bot.tells("message mia").await);
    }
    // serenity handles each event in a task of its own: their order is not promised.
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 300);
    bot.stops().await;
}

#[tokio::test]
async fn a_broken_connection_is_resumed_and_what_was_said_meanwhile_comes() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    let bot = Bot::start(&discord).await;
    discord.drops_connections();
    mia.says(SUPPORT, "meanwhile").await;
    bot.tells_both(r#"message mia Regular "meanwhile" roles Some(0) files 0"#, "resumed").await;
    discord.asks_to_reconnect();
    bot.tells("resumed").await;
    assert_eq!((discord.sessions(), discord.connections()), ((1, 2), 1));
    bot.stops().await;
}

#[tokio::test]
async fn a_lost_session_is_begun_anew() {
    let discord = Discord::start().await;
    let bot = Bot::start(&discord).await;
    discord.forgets_sessions();
    discord.drops_connections();
    bot.tells("ready as ticketd Ok").await;
    assert_eq!(discord.sessions(), (2, 0));
    bot.stops().await;
}

#[tokio::test]
async fn what_is_not_switched_on_and_a_wrong_token_end_the_bot() {
    let discord = Discord::start().await;
    let wrong = TOKEN.replace("token", "nekot");
    let bot = Bot::with(&discord, &wrong, GatewayIntents::GUILDS).await;
    let error = bot.fails().await;
    assert!(error.contains("InvalidAuthentication"), "{error}");
    discord.message_content(false);
    let bot = Bot::with(&discord, TOKEN, GatewayIntents::GUILDS | GatewayIntents::MESSAGE_CONTENT).await;
    let error = bot.fails().await;
    assert!(error.contains("DisallowedGatewayIntents"), "{error}");
}

#[tokio::test]
async fn serenity_waits_out_every_kind_of_429() {
    let discord = Discord::start().await;
    let http = bot::http(&discord, TOKEN);
    let channel = ChannelId::new(SUPPORT);
    for trouble in [Trouble::Limited(0.02), Trouble::LimitedGlobally(0.02), Trouble::LimitedByCloudflare(0)] {
        discord.troubles_times(2, "POST", "/messages", trouble);
        channel
            .send_message(&http, CreateMessage::new().content(format!("{trouble:?}")))
            .await
            .expect("sent");
    }
    assert_eq!((discord.count("POST", "/messages"), discord.troubles_left()), (9, 0));
    assert_eq!(discord.messages(SUPPORT).len(), 3);
}

#[tokio::test]
async fn with_a_nonce_nothing_is_said_twice() {
    let discord = Discord::start().await;
    let http = bot::http(&discord, TOKEN);
    let say = async |text: &str| {
        let message =
            CreateMessage::new().content(text).nonce(Nonce::String("delivery-1".into())).enforce_nonce(true);
        ChannelId::new(SUPPORT).send_message(&http, message).await
    };
    discord.troubles("POST", "/messages", Trouble::DropAfter);
    assert!(say("once").await.is_err(), "the connection broke");
    let again = say("twice").await.expect("sent");
    assert_eq!(again.content, "once", "it had come through");
    discord.troubles("POST", "/messages", Trouble::DropBefore);
    assert!(say("once").await.is_err());
    assert_eq!(discord.messages(SUPPORT).len(), 1);
    assert_eq!(discord.messages(SUPPORT)[0].nonce, Some(json!("delivery-1")));
    discord.lets_pass(Duration::from_mins(10));
    assert_eq!(say("later").await.expect("sent").content, "later", "nonces are forgotten after some minutes");
    let statuses: Vec<u16> = discord.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [0, 200, 0, 200]);
}

#[tokio::test]
async fn other_troubles_come_as_errors() {
    let discord = Discord::start().await;
    let http = bot::http(&discord, TOKEN);
    let read =
        async |http: &Http| ChannelId::new(SUPPORT).message(http, 1).await.expect_err("trouble").to_string();
    discord.troubles("GET", "/messages/", Trouble::Html(502));
    discord.troubles("GET", "/messages/", Trouble::Forbidden(50001));
    discord.troubles("GET", "/messages/", Trouble::Refused(404, 10003));
    read(&http).await;
    for words in ["refused by the test", "refused by the test", "Unknown Message"] {
        assert_eq!(read(&http).await, words);
    }
    let expected = ["502 None", "403 None", "404 None", "404 Some(10008)"];
    let seen: Vec<String> =
        discord.requests().iter().map(|one| format!("{} {:?}", one.status, one.code)).collect();
    assert_eq!(seen, expected);
    for trouble in [Trouble::Hang, Trouble::HangAfter] {
        discord.troubles("GET", "/messages/", trouble);
        let hangs = tokio::time::timeout(Duration::from_millis(100), read(&http)).await;
        assert!(hangs.is_err(), "it is never answered");
    }
    discord.troubles_times(5, "GET", "/messages/", Trouble::Hang);
    discord.ends_troubles();
    assert_eq!(read(&http).await, "Unknown Message");
}

#[tokio::test]
async fn files_go_up_and_come_down_while_their_address_is_good() {
    let discord = Discord::start().await;
    let http = bot::http(&discord, TOKEN);
    let file = CreateAttachment::bytes(b"It burns.".to_vec(), "log.txt").description("a log");
    let message = CreateMessage::new().content("see").add_file(file);
    let sent = ChannelId::new(SUPPORT).send_message(&http, message).await.expect("sent");
    assert_eq!(discord.messages(SUPPORT)[0].files, [("log.txt".to_owned(), b"It burns.".to_vec())]);
    let request = discord.requests().remove(0);
    assert_eq!((request.files, request.body["content"].as_str()), (vec!["log.txt".to_owned()], Some("see")));
    assert!(request.query.is_empty() && request.at.elapsed() < PATIENCE);
    let url = &sent.attachments[0].url;
    assert!(url.starts_with(&format!("http://{}/attachments/", discord.cdn_host())), "{url}");
    assert_eq!(sent.attachments[0].description.as_deref(), Some("a log"));
    let get = async |url: &str| {
        let answer = bot::client(&discord).get(url).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    assert_eq!(get(url).await, (200, "It burns.".to_owned()));
    assert_eq!(get(&url.replace("hm=", "hm=f")).await.0, 404, "the address is signed");
    discord.lets_pass(Duration::from_hours(25));
    assert_eq!(get(url).await.0, 404, "and good for a day");
}

#[tokio::test]
async fn the_plain_way_is_there_too_and_the_config_names_the_other() {
    let discord = Discord::start().await;
    let raw = raw::Raw::plain(&discord);
    assert_eq!(raw.get("/users/@me").await["username"], "ticketd");
    assert_eq!(raw.ask(Method::GET, "/users/@me", Value::Null).await.0, 200);
    let config: toml::Table = discord.config().parse().expect("TOML");
    let section = config["discord"].as_table().expect("a section");
    assert_eq!(section["connect_addr"].as_str(), Some(discord.connect_addr().to_string().as_str()));
    let authority =
        std::fs::read_to_string(section["ca_file"].as_str().expect("a path")).expect("a certificate");
    assert!(authority.contains("BEGIN CERTIFICATE"));
}
