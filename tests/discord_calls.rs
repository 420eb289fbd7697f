//! ticketd's own client of Discord against a Discord: what it asks is well-formed on both ways, files and forms included, and
//! each kind of trouble ends as what is to be done about it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_tungstenite::{connect_async, tungstenite};

use ticketd::config::{Config, Triage};
use ticketd::discord::api::{Answer, Api, ApiError, DownloadError, File, Kind, Message, ThreadChange};
use ticketd::discord::card::{CardFacts, card, greeting, new_ticket_form, panel, with_undo};
use ticketd::discord::{catalogue, check, text};

use crate::harness::discord::{
    Discord, GUILD, PRIVATE_THREAD, PUBLIC_THREAD, STAFF, SUPPORT, Setup, TOKEN, Trouble,
};

/// The production path, and the way by a proxy.
fn ways(discord: &Discord) -> [Api; 2] {
    [Api::new(&config(&discord.config())).expect("a client"), Api::new(&by_proxy(discord)).expect("a client")]
}

fn config(text: &str) -> ticketd::config::Discord {
    Config::parse(text, BTreeMap::new()).expect("a configuration").discord.expect("a section")
}

fn by_proxy(discord: &Discord) -> ticketd::config::Discord {
    let mut config = config(&discord.config());
    (config.connect_addr, config.ca_file, config.api_base) = (None, None, Some(discord.plain_url()));
    config
}

fn production(discord: &Discord) -> Api {
    Api::new(&config(&discord.config())).expect("a client")
}

/// A connection to the gateway, without which people see no commands.
async fn connect(api: &Api) -> JoinSet<()> {
    let url = api.http().get_gateway().await.expect("the gateway's address").url;
    let (mut socket, _) = connect_async(format!("{url}/?v=10&encoding=json")).await.expect("a connection");
    let properties = json!({"os": "linux", "browser": "test", "device": "test"});
    let identify =
        json!({"op": 2, "d": {"token": format!("Bot {TOKEN}"), "intents": 1, "properties": properties}});
    socket.send(tungstenite::Message::Text(identify.to_string())).await.expect("say who we are");
    let mut open = JoinSet::new();
    open.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    open
}

fn facts() -> CardFacts {
    CardFacts {
        handle: "h".into(),
        number: 1001,
        subject: "Printer".into(),
        requester: "Ada".into(),
        channel: "email".into(),
        status: "open".into(),
        priority: "high".into(),
        ..CardFacts::default()
    }
}

fn file(name: &str, bytes: &[u8]) -> File {
    File { name: name.to_owned(), content_type: Some("text/plain".to_owned()), bytes: bytes.to_vec().into() }
}

#[tokio::test]
async fn a_ticket_is_shown_from_its_card_to_its_archive() {
    let discord = Discord::start().await;
    for (api, nonce) in ways(&discord).into_iter().zip(["card-1", "card-2"]) {
        let staff = api.channel(STAFF).await.unwrap();
        assert_eq!((staff.kind, staff.guild), (Kind::Text, Some(GUILD)));
        let posted = api.post(STAFF, &card(&facts()), Some(nonce), &[]).await.unwrap();
        let again = api.post(STAFF, &card(&facts()), Some(nonce), &[]).await.unwrap();
        assert_eq!(posted, again, "the nonce is the message's");
        let name = text::thread_name(1001, "Printer");
        let thread = api.thread_from_message(STAFF, posted, &name).await.unwrap();
        assert_eq!(thread, api.thread_from_message(STAFF, posted, &name).await.unwrap());
        let active = api.active_threads(GUILD).await.unwrap();
        assert!(
            active.iter().any(|t| t.id == thread && t.name == "#1001 Printer" && t.parent == Some(STAFF))
        );

        let files = [file("a.txt", b"one"), file("b.txt", b"two")];
        let relayed = Message::text("Look:").without_previews();
        let with_files = api.post(thread, &relayed, None, &files).await.unwrap();
        let seen = discord.message(with_files).unwrap();
        assert_eq!(
            seen.files,
            [("a.txt".to_owned(), b"one".to_vec()), ("b.txt".to_owned(), b"two".to_vec())]
        );
        api.edit(thread, with_files, &Message::text("Look here:")).await.unwrap();
        assert_eq!(discord.message(with_files).unwrap().content, "Look here:");
        api.delete(thread, with_files).await.unwrap();
        api.delete(thread, with_files).await.unwrap();

        let change = ThreadChange { name: Some("#1001 Printer, burning".into()), ..ThreadChange::default() };
        api.update_thread(thread, &change).await.unwrap();
        let shut = ThreadChange { archived: Some(true), locked: Some(true), ..ThreadChange::default() };
        api.update_thread(thread, &shut).await.unwrap();
        let seen = api.channel(thread).await.unwrap();
        assert_eq!((seen.kind, seen.archived, seen.locked), (Kind::PublicThread, true, true));
        assert!(matches!(api.update_thread(thread, &change).await, Err(ApiError::Archived(_))));
        let open = ThreadChange { archived: Some(false), locked: Some(false), ..ThreadChange::default() };
        api.update_thread(thread, &open).await.unwrap();
    }
}

#[tokio::test]
async fn a_requester_gets_a_thread_of_their_own() {
    let discord = Discord::start().await;
    let (mia, eve) = (discord.member("mia"), discord.member("eve"));
    for api in ways(&discord) {
        let thread = api.private_thread(SUPPORT, "#1001 Printer").await.unwrap();
        api.add_member(thread, mia.id()).await.unwrap();
        assert!(mia.sees(thread) && !eve.sees(thread));
        assert_eq!(api.channel(thread).await.unwrap().kind, Kind::PrivateThread);
        let hello = greeting(1001, "Printer @everyone", mia.id(), "It burns.\n@here");
        let hello = api.post(thread, &hello, Some("hello"), &[]).await.unwrap();
        assert_eq!(discord.message(hello).unwrap().pings, ["<@mia>"]);
        let long = "@everyone \u{1f980}".repeat(400);
        for part in text::split(&text::escape(&long), 2000) {
            let id = api.post(thread, &Message::text(part), None, &[]).await.unwrap();
            assert_eq!(discord.message(id).unwrap().pings, Vec::<String>::new());
        }
    }
    assert!(discord.threads().iter().all(|thread| thread.kind() == PRIVATE_THREAD && !thread.invitable()));
}

#[tokio::test]
async fn a_forum_has_posts_with_tags() {
    let discord = Discord::with(Setup { forum: true, ..Setup::default() }).await;
    discord.adds_tag(STAFF, "open");
    for api in ways(&discord) {
        let forum = api.channel(STAFF).await.unwrap();
        assert_eq!(forum.kind, Kind::Forum);
        let tags: Vec<u64> = forum.tags.iter().filter(|tag| tag.name == "open").map(|tag| tag.id).collect();
        assert_eq!(tags.len(), 1);
        let post = api.forum_post(STAFF, "#1001 Printer", &tags, &card(&facts()), &[]).await.unwrap();
        let filed = [file("a.txt", b"x")];
        let other = api.forum_post(STAFF, "#1002 Other", &[], &card(&facts()), &filed).await.unwrap();
        assert_eq!(discord.message(other).unwrap().files.len(), 1);
        api.edit(post, post, &card(&CardFacts { priority: "low".into(), ..facts() })).await.unwrap();
        let untagged = ThreadChange { applied_tags: Some(vec![]), ..ThreadChange::default() };
        api.update_thread(post, &untagged).await.unwrap();
    }
    assert!(discord.threads().iter().all(|thread| thread.kind() == PUBLIC_THREAD));
}

#[tokio::test]
async fn interactions_are_answered_in_each_way() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    for api in ways(&discord) {
        api.set_commands(GUILD, &catalogue::commands(&Triage::default().categories)).await.unwrap();
        let _connected = connect(&api).await;
        let asked = mia.uses("/ticket list").await;
        api.answer(asked.id(), &asked.token(), &Answer::Defer { ephemeral: true }).await.unwrap();
        api.answer(asked.id(), &asked.token(), &Answer::Defer { ephemeral: true }).await.unwrap();
        let undo = with_undo("Sent.", "h", 7).ephemeral();
        api.edit_answer(&asked.token(), &undo, &[]).await.unwrap();
        let shown = asked.shown().await;
        assert_eq!(
            (shown.text.as_str(), shown.controls, shown.ephemeral),
            ("Sent.", vec!["Undo".to_owned()], true)
        );
        let transcript = [file("ticket-1001.html", b"<p>")];
        api.edit_answer(&asked.token(), &Message::text("Here."), &transcript).await.unwrap();
        assert_eq!(asked.shown().await.files.len(), 1);
        api.follow_up(&asked.token(), &Message::text("More.").ephemeral(), &[]).await.unwrap();
        assert_eq!(asked.follow_ups().len(), 1);

        let form = mia.uses("/ticket new").await;
        api.answer(form.id(), &form.token(), &Answer::Modal(new_ticket_form(Some(1)))).await.unwrap();
        let modal = form.modal().await;
        assert_eq!((modal.title.as_str(), modal.fields.len()), ("Open a ticket", 2));
        let sent = modal.submits(&[("subject", "Printer"), ("text", "It burns.")]).await;
        api.answer(sent.id(), &sent.token(), &Answer::Message(Message::text("Thanks.").ephemeral()))
            .await
            .unwrap();
        assert_eq!(sent.answer().await, "Thanks.");

        let posted = api.post(SUPPORT, &panel(), None, &[]).await.unwrap();
        let click = mia.clicks(posted, "Open a ticket").await;
        api.answer(click.id(), &click.token(), &Answer::DeferUpdate).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_told_from_a_bad_token() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    let api = production(&discord);
    api.set_commands(GUILD, &catalogue::commands(&[])).await.unwrap();
    let _connected = connect(&api).await;
    let asked = mia.uses("/ticket list").await;
    discord.lets_pass(Duration::from_secs(4));
    let late = api.answer(asked.id(), &asked.token(), &Answer::Defer { ephemeral: true }).await;
    assert!(matches!(late, Err(ApiError::TooLate(_))), "{late:?}");

    let asked = mia.uses("/ticket list").await;
    let early = api.edit_answer(&asked.token(), &Message::text("x"), &[]).await;
    assert!(matches!(early, Err(ApiError::TooLate(_))), "{early:?}");
    api.answer(asked.id(), &asked.token(), &Answer::Defer { ephemeral: true }).await.unwrap();
    discord.lets_pass(Duration::from_mins(16));
    let late = api.edit_answer(&asked.token(), &Message::text("x"), &[]).await;
    assert!(matches!(late, Err(ApiError::TooLate(_))), "{late:?}");

    let mut wrong = config(&discord.config());
    wrong.token = Some(format!("{TOKEN}x").into());
    let wrong = Api::new(&wrong).unwrap().me().await;
    assert!(matches!(wrong, Err(ApiError::Unauthorized(_))), "{wrong:?}");
}

#[tokio::test]
async fn the_history_is_read_in_order_and_page_by_page() {
    let discord = Discord::start().await;
    let mia = discord.member_with("mia", &["moderator"]);
    let eve = discord.stranger("eve");
    let mut said = Vec::new();
    for number in 0..130 {
        said.push(mia.says(SUPPORT, &format!("{number}")).await);
    }
    for api in ways(&discord) {
        let mut read = Vec::new();
        let mut after = 0;
        loop {
            let page = api.messages_after(SUPPORT, after).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.id;
            read.extend(page);
        }
        assert_eq!(read.iter().map(|message| message.id).collect::<Vec<_>>(), said);
        assert!(read.iter().all(|message| message.author.name == "mia" && message.is_by_person()));
        let member = api.member(GUILD, mia.id()).await.unwrap().unwrap();
        assert_eq!((member.user.name.as_str(), member.roles.len()), ("mia", 1));
        assert_eq!(api.member(GUILD, eve.id()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn every_kind_of_too_many_requests_is_waited_out() {
    let discord = Discord::start().await;
    for api in ways(&discord) {
        for trouble in [Trouble::Limited(0.2), Trouble::LimitedGlobally(0.2), Trouble::LimitedByCloudflare(1)]
        {
            discord.troubles("POST", "/messages", trouble);
            let before = Instant::now();
            api.post(SUPPORT, &Message::text("x"), Some("n"), &[]).await.unwrap();
            assert!(before.elapsed() >= Duration::from_millis(200), "{trouble:?}");
            discord.troubles("POST", "/messages", trouble);
            api.post(SUPPORT, &Message::text("x"), Some("f"), &[file("a", b"x")]).await.unwrap();
        }
    }
    assert_eq!(discord.troubles_left(), 0);
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_with_the_deadline() {
    let discord = Discord::start().await;
    let [by_serenity, direct] = ways(&discord).map(|api| api.with_deadline(Duration::from_millis(500)));
    discord.troubles_times(2, "POST", "/messages", Trouble::Limited(60.0));
    let error = direct.post(SUPPORT, &Message::text("x"), None, &[]).await.unwrap_err();
    assert_eq!(error, ApiError::RateLimited(Duration::from_mins(1)));
    let error = by_serenity.post(SUPPORT, &Message::text("x"), None, &[]).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

#[tokio::test]
async fn after_a_refused_token_nothing_is_asked_for_a_while() {
    let discord = Discord::start().await;
    for api in ways(&discord) {
        let before = discord.requests().len();
        discord.troubles("GET", "/users/@me", Trouble::Refused(401, 0));
        for _ in 0..3 {
            assert!(matches!(api.me().await, Err(ApiError::Unauthorized(_))));
        }
        assert!(matches!(api.channel(STAFF).await, Err(ApiError::Unauthorized(_))));
        assert_eq!(discord.requests().len() - before, 1, "ten thousand of them get the address banned");
    }
}

#[tokio::test]
async fn each_trouble_says_what_to_do() {
    let discord = Discord::start().await;
    for api in ways(&discord).map(|api| api.with_deadline(Duration::from_millis(500))) {
        let mut met = Vec::new();
        for trouble in [
            Trouble::Html(500),
            Trouble::Html(404),
            Trouble::Forbidden(50_001),
            Trouble::Refused(404, 10_003),
            Trouble::Refused(404, 10_008),
            Trouble::Refused(400, 160_005),
            Trouble::Refused(400, 50_035),
            Trouble::Hang,
            Trouble::DropBefore,
            Trouble::DropAfter,
        ] {
            discord.troubles("POST", "/messages", trouble);
            let error = api.post(SUPPORT, &Message::text("x"), Some("n"), &[]).await.unwrap_err();
            let signs = [
                ("temporary", error.is_temporary()),
                ("may be done", error.may_be_done()),
                ("broken", error.breaks_thread()),
            ];
            let signs: Vec<&str> = signs.iter().filter(|(_, holds)| *holds).map(|(sign, _)| *sign).collect();
            let kind = format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_owned();
            met.push(format!("{trouble:?}: {kind} {}", signs.join(", ")).trim_end().to_owned());
            assert!(!error.to_string().contains("://"), "{error}");
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(met.join("\n"), @"
            Html(500): Server temporary, may be done
            Html(404): Server temporary
            Forbidden(50001): Forbidden broken
            Refused(404, 10003): Gone broken
            Refused(404, 10008): Gone
            Refused(400, 160005): Locked
            Refused(400, 50035): Invalid
            Hang: Unreachable temporary, may be done
            DropBefore: Unreachable temporary, may be done
            DropAfter: Unreachable temporary, may be done
            ");
        }
    }
}

#[tokio::test]
async fn files_are_fetched_from_where_they_may_be() {
    let discord = Discord::start().await;
    let mia = discord.member("mia");
    mia.attaches(SUPPORT, "log.txt", b"It burns.").await;
    let config = config(&discord.config());
    let api = production(&discord);
    let messages = api.messages_after(SUPPORT, 0).await.unwrap();
    let attachment = &messages[0].attachments[0];
    assert_eq!((attachment.name.as_str(), attachment.size), ("log.txt", 9));
    let fetched = api.download(&attachment.url, &config.cdn_hosts, 9).await;
    assert_eq!(fetched.unwrap(), b"It burns.");
    assert_eq!(api.download(&attachment.url, &config.cdn_hosts, 8).await, Err(DownloadError::TooLarge));
    assert_eq!(api.download(&attachment.url, &[], 9).await, Err(DownloadError::Elsewhere));
    let gone = format!("http://{}/attachments/1/2/none", discord.cdn_host());
    assert!(matches!(api.download(&gone, &config.cdn_hosts, 9).await, Err(DownloadError::Gone(_))));
}

#[tokio::test]
async fn the_doctor_says_what_is_right_and_what_is_not() {
    let discord = Discord::start().await;
    let report = async || {
        let findings = check::check(&config(&discord.config())).await;
        let line = |(what, result): &check::Finding| match result {
            Ok(said) => format!("ok {what}: {said}"),
            Err(error) => format!("FAIL {what}: {error:#}"),
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    assert!(!report().await.contains("FAIL"), "with the role of its invitation all is well");
    let mut wrong = config(&discord.config());
    wrong.token = Some(format!("{TOKEN}x").into());
    let findings = check::check(&wrong).await;
    let [(what, Err(error))] = findings.as_slice() else { panic!("{findings:?}") };
    insta::assert_snapshot!(format!("{what}: {error:#}"), @"discord token: Discord does not accept the bot's token (401: Unauthorized: HTTP 401, code 0): renew it in the developer portal, page Bot");
    discord.takes_the_bots_role();
    insta::assert_snapshot!(report().await, @"
    ok discord token: is that of the bot ticketd
    ok discord intents: Message Content is on
    ok discord server: The guild; invite again, if rights are missing: https://discord.com/oauth2/authorize?client_id=1100000000000000009&scope=bot%20applications.commands&permissions=395137108992&guild_id=1100000000000000100&disable_guild_select=true
    ok discord staff roles: moderator is moderator, admin is admin
    FAIL discord support channel: in #support the bot lacks Embed Links, Attach Files, Manage Threads, Create Private Threads: give them to its role there
    FAIL discord staff channel: in #staff the bot lacks Embed Links, Attach Files, Manage Threads, Create Public Threads: give them to its role there
    ");
    discord.message_content(false);
    discord.forbids(STAFF, 50_001);
    insta::assert_snapshot!(report().await, @"
    ok discord token: is that of the bot ticketd
    FAIL discord intents: switch on Message Content Intent: https://discord.com/developers/applications/1100000000000000009/bot, Privileged Gateway Intents; without it the bot reads empty messages, and Discord closes its connection
    ok discord server: The guild; invite again, if rights are missing: https://discord.com/oauth2/authorize?client_id=1100000000000000009&scope=bot%20applications.commands&permissions=395137108992&guild_id=1100000000000000100&disable_guild_select=true
    ok discord staff roles: moderator is moderator, admin is admin
    FAIL discord support channel: in #support the bot lacks Embed Links, Attach Files, Manage Threads, Create Private Threads: give them to its role there
    FAIL discord staff channel: the bot may not see the channel 1100000000000000202: give its role View Channel there
    ");
}
