//! Who sees what, who is notified, and what a thread is.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::raw::{Line, Raw};
use crate::harness::discord::{
    ADMIN, BOT, Discord, GUILD, MODERATOR, OTHER_CHANNEL, PUBLIC_THREAD, STAFF, SUPPORT, Setup,
};

#[tokio::test]
async fn channels_and_private_threads_are_seen_by_whom_they_are_for() {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    let (mia, bea) = (discord.member("mia"), discord.member_with("bea", &["moderator"]));
    let eve = discord.stranger("eve");
    assert!(mia.sees(SUPPORT) && !mia.sees(STAFF) && bea.sees(STAFF));
    assert!(eve.sees(OTHER_CHANNEL) && !eve.sees(SUPPORT));
    let body = json!({"name": "#1", "type": 12, "invitable": false});
    let thread = raw.post(&format!("/channels/{SUPPORT}/threads"), body).await;
    let path = format!("/channels/{}/thread-members", thread["id"].as_str().expect("an id"));
    let thread = discord.threads().remove(0);
    assert!(!mia.sees(thread.id()) && bea.sees(thread.id()), "moderators see all threads");
    assert_eq!(raw.ask(Method::PUT, &format!("{path}/{}", mia.id()), Value::Null).await.0, 204);
    assert!(mia.can_write(thread.id()));
    assert_eq!(thread.members(), ["mia"]);
    assert_eq!(raw.get(&path).await.as_array().expect("a list").len(), 2, "with the bot");
    assert_eq!(raw.get(&format!("{path}/{}", mia.id())).await["user_id"], mia.id().to_string());
    assert_eq!(raw.ask(Method::DELETE, &format!("{path}/{}", mia.id()), Value::Null).await.0, 204);
    assert!(!mia.can_write(thread.id()) && thread.exists());
    raw.ask(Method::DELETE, &format!("/channels/{}", thread.id()), Value::Null).await;
    assert!(!thread.exists());

    discord.take_role(&bea, "moderator");
    assert!(!bea.sees(STAFF));
    discord.give_role(&bea, "admin");
    let member = raw.get(&format!("/guilds/{GUILD}/members/{}", bea.id())).await;
    assert_eq!(member["roles"], json!([ADMIN.to_string()]));
    discord.leaves(&bea);
    assert!(!bea.sees(STAFF) && !bea.sees(SUPPORT));
}

#[tokio::test]
async fn who_is_notified_is_what_allowed_mentions_lets_through() {
    let discord = Discord::start().await;
    let (raw, mia) = (Raw::new(&discord), discord.member("mia"));
    let content = format!("@everyone <@{}> <@&{MODERATOR}>", mia.id());
    let cases = [
        (Value::Null, vec!["@everyone", "<@&moderator>", "<@mia>"]),
        (json!({"parse": []}), vec![]),
        (json!({"parse": ["roles"]}), vec!["<@&moderator>"]),
        (json!({"users": [mia.id().to_string()]}), vec!["<@mia>"]),
        (
            json!({"parse": ["everyone"], "roles": [MODERATOR.to_string()]}),
            vec!["@everyone", "<@&moderator>"],
        ),
    ];
    for (allowed, notified) in cases {
        let body = json!({"content": content, "allowed_mentions": allowed});
        let sent = raw.post(&format!("/channels/{SUPPORT}/messages"), body).await;
        let sent = discord
            .message(sent["id"].as_str().expect("an id").parse().expect("a number"))
            .expect("it is there");
        assert_eq!(
            (sent.pings, sent.text.as_str()),
            (notified.iter().map(|&to| to.to_owned()).collect(), "@everyone <@mia> <@&moderator>")
        );
    }
    let thread = raw.post(&format!("/channels/{SUPPORT}/threads"), json!({"name": "#1"})).await;
    let path = format!("/channels/{}/messages", thread["id"].as_str().expect("an id"));
    raw.post(&path, json!({"content": mia.mention(), "allowed_mentions": {"parse": []}})).await;
    let thread = discord.threads().remove(0);
    assert_eq!(thread.members(), Vec::<String>::new());
    raw.post(&path, json!({"content": mia.mention()})).await;
    assert_eq!(thread.members(), ["mia"], "who is mentioned in a thread is in it");
}

#[tokio::test]
async fn a_message_begins_a_thread_once_and_a_closed_thread_is_closed() {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    let (mia, bea) = (discord.member("mia"), discord.member_with("bea", &["moderator"]));
    let card = raw.post(&format!("/channels/{STAFF}/messages"), json!({"content": "#1001 open"})).await;
    let id = card["id"].as_str().expect("an id").to_owned();
    let path = format!("/channels/{STAFF}/messages/{id}/threads");
    let thread = raw.post(&path, json!({"name": "#1001", "auto_archive_duration": 10080})).await;
    assert_eq!((&thread["id"], &thread["type"]), (&card["id"], &json!(PUBLIC_THREAD)));
    assert_eq!(raw.refused(Method::POST, &path, json!({"name": "#1001"})).await, (400, 160_004));
    let parts = json!({"embeds": [{"title": "#1001", "fields": [{"name": "Status", "value": "open"}]}],
        "components": [{"type": 1, "components": [{"type": 2, "style": 1, "label": "Claim", "custom_id": "x"}]}]});
    raw.ask(Method::PATCH, &format!("/channels/{STAFF}/messages/{id}"), parts).await;
    let thread = discord.staff_thread("#1001").await;
    let card = thread.card();
    assert_eq!(
        (card.text.as_str(), card.content.as_str()),
        ("#1001 open\n#1001\nStatus: open", "#1001 open")
    );
    assert_eq!((card.embeds.len(), card.components.len(), card.edited), (1, 1, true));
    bea.says(thread.id(), "I look into it").await;
    bea.sends(thread.id(), "See:", &[("a.txt", b"log")]).await;
    let heard = raw.get(&format!("/channels/{id}/messages")).await;
    let kinds: Vec<u64> =
        heard.as_array().expect("a list").iter().filter_map(|one| one["type"].as_u64()).collect();
    assert_eq!(kinds, [0, 0, 21], "newest first, and at the head the note about where it began");
    insta::assert_snapshot!(thread.shown(), @r"
    # #1001
    bea: I look into it
    bea: See:
      [a.txt, 3 bytes]
    ");

    let close = json!({"archived": true, "locked": true});
    assert_eq!(raw.ask(Method::PATCH, &format!("/channels/{id}"), close).await.0, 200);
    assert!(thread.archived() && thread.locked() && !mia.can_write(thread.id()));
    let renamed = json!({"name": "#1001 closed"});
    assert_eq!(raw.refused(Method::PATCH, &format!("/channels/{id}"), renamed).await, (400, 50083));
    let member = format!("/channels/{id}/thread-members/{}", bea.id());
    assert_eq!(raw.refused(Method::PUT, &member, Value::Null).await, (400, 50083));
    raw.post(&format!("/channels/{id}/messages"), json!({"content": "closed"})).await;
    assert!(thread.archived(), "locked, it stays in the archive");
    let archived = raw.get(&format!("/channels/{STAFF}/threads/archived/public")).await;
    assert_eq!(archived["threads"].as_array().expect("a list").len(), 1);
    let open = json!({"archived": false, "locked": false});
    assert_eq!(raw.ask(Method::PATCH, &format!("/channels/{id}"), open).await.0, 200);
    let active = raw.get(&format!("/guilds/{GUILD}/threads/active")).await;
    let last = discord.hears(thread.id(), "closed").await.id;
    assert_eq!(active["threads"][0]["last_message_id"], last.to_string());
    assert_eq!(active["threads"].as_array().expect("a list").len(), 1);
}

#[tokio::test]
async fn a_post_in_a_forum_has_a_first_message_and_tags() {
    let discord = Discord::with(Setup { forum: true, ..Setup::default() }).await;
    let raw = Raw::new(&discord);
    discord.adds_tag(STAFF, "open");
    let forum = raw.get(&format!("/channels/{STAFF}")).await;
    let tag = forum["available_tags"][0]["id"].clone();
    let path = format!("/channels/{STAFF}/threads");
    assert_eq!(raw.refused(Method::POST, &path, json!({"name": "#1", "type": 11})).await, (400, 50035));
    discord.take_faults();
    let body = json!({"name": "#1", "applied_tags": [tag], "message": {"content": "the card"}});
    let post = raw.post(&path, body).await;
    assert_eq!(post["id"], post["message"]["id"]);
    let thread = discord.thread_in(STAFF, "#1").await;
    assert_eq!((thread.tags(), thread.hears("the card").await.id), (vec!["open".to_owned()], thread.id()));
    let add = json!({"available_tags": [{"id": tag, "name": "open"}, {"name": "closed"}]});
    assert_eq!(raw.ask(Method::PATCH, &format!("/channels/{STAFF}"), add).await.0, 200);
    let tag = raw.get(&format!("/channels/{STAFF}")).await["available_tags"][1]["id"].clone();
    raw.ask(Method::PATCH, &format!("/channels/{}", thread.id()), json!({"applied_tags": [tag]})).await;
    assert_eq!(thread.tags(), ["closed"]);
}

#[tokio::test]
async fn history_is_read_in_pages_from_both_ends() {
    let discord = Discord::start().await;
    let (raw, mia) = (Raw::new(&discord), discord.member("mia"));
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(mia.says(SUPPORT, &number.to_string()).await);
    }
    let read = async |query: String| {
        let page = raw.get(&format!("/channels/{SUPPORT}/messages?{query}")).await;
        page.as_array()
            .expect("a list")
            .iter()
            .map(|one| one["content"].as_str().expect("a text").to_owned())
            .collect::<String>()
    };
    assert_eq!(read("limit=2".into()).await, "43");
    assert_eq!(read(format!("limit=2&after={}", ids[0])).await, "21");
    assert_eq!(read(format!("limit=2&before={}", ids[2])).await, "10");
    assert_eq!(read(format!("after={}", ids[4])).await, "");
    assert_eq!(discord.hears(SUPPORT, "4").await.author, "mia");
    assert_eq!(raw.get(&format!("/channels/{SUPPORT}/messages/{}", ids[0])).await["content"], "0");
    raw.ask(Method::DELETE, &format!("/channels/{SUPPORT}/messages/{}", ids[0]), Value::Null).await;
    assert_eq!(discord.deleted(), ["0"]);
    discord.message_content(false);
    assert_eq!(read("limit=5".into()).await, "", "without the intent there is none here, either");
}

#[tokio::test]
async fn people_are_written_to_directly_unless_they_do_not_want_it() {
    let discord = Discord::start().await;
    let (raw, mia) = (Raw::new(&discord), discord.newcomer("mia", Duration::from_hours(1)));
    assert_eq!(raw.get(&format!("/users/{}", mia.id())).await["username"], mia.name());
    let there = raw.post("/users/@me/channels", json!({"recipient_id": mia.id().to_string()})).await;
    let path = format!("/channels/{}/messages", there["id"].as_str().expect("an id"));
    raw.post(&path, json!({"content": "psst"})).await;
    assert_eq!(mia.direct_messages(), ["psst"]);
    mia.closes_direct_messages();
    assert_eq!(raw.refused(Method::POST, &path, json!({"content": "psst"})).await, (403, 50007));
    // An account's age can be read from its id.
    let age = |id: u64| {
        discord.now().timestamp_millis() - i64::try_from(id >> 22).expect("42 bits") - 1_420_070_400_000
    };
    assert!((3_600_000..3_700_000).contains(&age(mia.id())));
    assert!(age(BOT) > 86_400_000);
}

#[tokio::test]
async fn the_guild_tells_what_it_has_and_a_connection_hears_of_its_threads() {
    let discord = Discord::start().await;
    let raw = Raw::new(&discord);
    raw.post(&format!("/channels/{SUPPORT}/threads"), json!({"name": "#1", "type": 11})).await;
    let names = async |path: &str| {
        let list = raw.get(&format!("/guilds/{GUILD}{path}")).await;
        list.as_array()
            .expect("a list")
            .iter()
            .map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("/channels").await, ["support", "staff"]);
    assert_eq!(names("/roles").await, ["@everyone", "moderator", "admin", "ticketd"]);
    assert_eq!(raw.get(&format!("/guilds/{GUILD}")).await["id"], GUILD.to_string());
    for path in ["/applications/@me", "/oauth2/applications/@me"] {
        assert_eq!(raw.get(path).await["flags"], 1 << 19);
    }
    assert_eq!(discord.messages(SUPPORT)[0].kind, 18, "a public thread is announced where it began");
    let mut line = Line::connect(&discord).await;
    line.identify(crate::harness::discord::TOKEN, 1).await;
    line.event().await;
    let guild = line.event().await;
    assert_eq!(
        (&guild["d"]["id"], &guild["d"]["threads"][0]["name"]),
        (&json!(GUILD.to_string()), &json!("#1"))
    );
    discord.forbids(SUPPORT, 50001);
    assert_eq!(names("/channels").await, ["staff"]);
}
