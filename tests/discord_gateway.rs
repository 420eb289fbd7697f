//! What is said in Discord gets into the ledger: once, in order, whatever happens to the connection, the process or the
//! database. What follows from it is other tests' business.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use ticketd::people::Role;
use ticketd::sources::discord::Pace;
use ticketd::tickets::threads::{Audience, Thread};

use crate::harness::desk::{Desk, Plan};
use crate::harness::discord::{Discord, OTHER_CHANNEL, Person, STAFF, SUPPORT, Trouble};
use crate::harness::mail::mail;
use crate::harness::online::{Online, connect};
use crate::harness::postgres;
use crate::harness::wait::until;

/// Failures are tried again soon, so that tests need not wait.
const HASTY: Pace = Pace {
    lock: Duration::from_millis(100),
    pulse: Duration::from_millis(200),
    health: Duration::from_millis(100),
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(200),
    refused_pause: Duration::from_mins(10),
};

struct Scene {
    discord: Discord,
    desk: Desk,
    bea: Person,
    thread: Thread,
}

impl Scene {
    /// A desk with a ticket, shown in a thread that the moderator Bea writes in. Nobody listens yet.
    async fn set() -> Self {
        Self::with_plan(Plan::default()).await
    }

    async fn with_plan(plan: Plan) -> Self {
        let discord = Discord::start().await;
        let desk = Desk::with(Plan { more: discord.config(), ..plan }).await;
        desk.hires("Cem", Role::Admin, &[]).await;
        desk.handles(&mail("ada@example.com", "Broken", "It is broken.")).await;
        let thread = desk.thread_row(1001, Audience::Staff).await;
        let bea = discord.member_with("bea", &["moderator"]);
        Self { discord, desk, bea, thread }
    }

    async fn connects(&self) -> Online {
        self.desk.connects_to_discord().await
    }

    fn channel(&self) -> u64 {
        self.thread.channel.unwrap()
    }

    async fn says(&self, text: &str) -> String {
        format!("m{}", self.bea.says(self.channel(), text).await)
    }

    async fn heard(&self) -> Vec<String> {
        self.desk.heard(self.thread.id).await
    }

    /// Waits until these, and nothing else, are in the ledger, in this order.
    async fn hears(&self, expected: &[String]) {
        let what = format!("the ledger holds {} entries", expected.len());
        until(&what, async || self.heard().await.len() >= expected.len()).await;
        assert_eq!(self.heard().await, expected);
    }

    async fn ends(self, online: Online) {
        online.ends().await;
        self.desk.closes_unheard().await;
    }
}

#[tokio::test]
async fn the_bot_sets_its_commands_and_finds_itself_well() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    scene.discord.bot_is_ready().await;
    let names: Vec<Value> = scene.discord.commands().iter().map(|c| c["name"].clone()).collect();
    assert!(names.contains(&"ticket".into()) && names.contains(&"claim".into()), "{names:?}");
    assert_eq!(online.now().trouble, None);
    assert_eq!(scene.discord.count("GET", "/gateway"), 1, "serenity does not ask for itself");
    scene.ends(online).await;
}

#[tokio::test]
async fn what_is_said_is_kept_once_and_in_order_however_it_comes() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    scene.discord.delivers_twice(true);
    scene.discord.withholds_events();
    let (first, second) = (scene.says("one").await, scene.says("two").await);
    scene.discord.releases_events_reversed();
    until("both are kept", async || scene.heard().await.len() >= 2).await;
    let mut heard = scene.heard().await;
    heard.sort();
    assert_eq!(heard, [first, second.clone()]);
    scene.desk.settle().await;
    let conversation = scene.desk.conversation(1001).await;
    let said: Vec<&str> = conversation.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(said.last_chunk(), Some(&["one", "two"]), "{said:?}");
    // And what became of it, behind it.
    let id: u64 = second.trim_start_matches('m').parse().unwrap();
    scene.bea.edits(id, "two, no: three").await;
    scene.bea.deletes(id).await;
    until("edit and deletion are kept", async || scene.heard().await.len() == 4).await;
    let heard = scene.heard().await;
    assert!(heard[2].starts_with(&format!("e{id}.")) && heard[3] == format!("d{id}"), "{heard:?}");
    scene.ends(online).await;
}

#[tokio::test]
async fn a_burst_is_kept_in_the_order_of_discords_ids() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    let mut expected = Vec::new();
    for number in 0..300 {
        expected.push(scene.says(&format!("message {number}")).await);
    }
    scene.hears(&expected).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn only_people_in_threads_of_tickets_are_heard() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    scene.discord.other_bot("robot").says(SUPPORT, "beep").await;
    scene.discord.give_role(&scene.bea, "admin");
    let robot = scene.discord.other_bot("staff robot");
    scene.discord.give_role(&robot, "moderator");
    robot.says(scene.channel(), "beep").await;
    let api = scene.desk.app.stages.ingest.discord.clone().unwrap();
    api.post(scene.channel(), &ticketd::discord::api::Message::text("our own"), None, &[]).await.unwrap();
    scene.bea.says(STAFF, "in the channel, not in the thread").await;
    scene.discord.stranger("eve").says(OTHER_CHANNEL, "elsewhere").await;
    scene.bea.renames(scene.channel(), "another name").await;
    let words = scene.says("to the ticket").await;
    scene.hears(&[words]).await;
    assert_eq!(scene.desk.count("SELECT count(*) FROM inbound WHERE source = 'discord'").await, 1);
    scene.ends(online).await;
}

#[tokio::test]
async fn a_thread_that_is_just_being_made_is_heard_from_its_first_word() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    scene.desk.handles(&mail("bob@example.com", "Another", "That, too.")).await;
    let thread = scene.desk.thread_row(1002, Audience::Staff).await;
    let channel = thread.channel.unwrap();
    // As if that were not written down yet.
    sqlx::query("UPDATE discord_threads SET channel_id = NULL WHERE ticket_id = 1002")
        .execute(&scene.desk.db)
        .await
        .unwrap();
    let words = format!("m{}", scene.bea.says(channel, "Is that mine?").await);
    // Known to have come: what was said later is stored.
    let later = scene.says("elsewhere").await;
    scene.hears(&[later]).await;
    ticketd::tickets::threads::made(&scene.desk.db, thread.id, channel).await.unwrap();
    until("it is heard", async || scene.desk.heard(thread.id).await == [words.clone()]).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn a_session_that_goes_on_misses_nothing() {
    let scene = Scene::set().await;
    let mut online = scene.connects().await;
    let before = scene.says("before").await;
    scene.hears(std::slice::from_ref(&before)).await;
    scene.discord.drops_connections();
    let meanwhile = scene.says("meanwhile").await;
    online.catches_up(2).await;
    assert_eq!(scene.discord.sessions(), (1, 1));
    let after = scene.says("after").await;
    scene.hears(&[before, meanwhile, after]).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn a_new_session_reads_what_the_old_one_missed() {
    let scene = Scene::set().await;
    let mut online = scene.connects().await;
    let before = scene.says("before").await;
    scene.hears(std::slice::from_ref(&before)).await;
    // Its events are lost, and nothing is sent again.
    scene.discord.withholds_events();
    let lost = scene.says("lost").await;
    scene.discord.loses_events();
    scene.discord.invalidates_sessions();
    online.catches_up(2).await;
    assert_eq!(scene.discord.sessions().0, 2);
    let after = scene.says("after").await;
    scene.hears(&[before, lost, after]).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn nothing_said_while_nobody_listened_is_lost_or_doubled() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    let mut expected = vec![scene.says("before").await];
    scene.hears(&expected).await;
    online.dies().await;
    for number in 0..250 {
        expected.push(scene.says(&format!("while nobody listens {number}")).await);
    }
    let online = scene.connects().await;
    expected.push(scene.says("after").await);
    scene.hears(&expected).await;
    online.ends().await;
    // And nothing at all is new to a third one.
    let asked = scene.discord.count("GET", "/messages");
    let online = scene.connects().await;
    assert_eq!(
        scene.discord.count("GET", "/messages"),
        asked,
        "the list of threads shows that nothing is new"
    );
    assert_eq!(scene.heard().await, expected);
    scene.ends(online).await;
}

#[tokio::test]
async fn what_comes_while_a_thread_is_read_on_waits_for_it() {
    let scene = Scene::set().await;
    let mut expected = vec![scene.says("before").await];
    let path = format!("/channels/{}/messages", scene.channel());
    scene.discord.troubles_times(2, "GET", &path, Trouble::Html(502));
    let mut online = scene.desk.begins_to_connect(HASTY);
    online.until("a session began", |p| p.sessions == 1).await;
    until("reading on failed", async || scene.discord.troubles_left() == 0).await;
    expected.push(scene.says("meanwhile").await);
    scene.hears(&expected).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn a_thread_that_cannot_be_read_is_broken_and_the_others_go_on() {
    let scene = Scene::set().await;
    let words = scene.says("before").await;
    scene.desk.handles(&mail("bob@example.com", "Another", "That, too.")).await;
    let gone = scene.desk.thread_row(1002, Audience::Staff).await;
    scene.bea.removes_thread(gone.channel.unwrap()).await;
    let mut online = scene.connects().await;
    scene.hears(&[words]).await;
    let broken = async |ticket| scene.desk.thread_row(ticket, Audience::Staff).await.broken;
    assert!(broken(1002).await.unwrap().contains("not in Discord any more"));
    // And one that goes while we listen.
    scene.bea.removes_thread(scene.channel()).await;
    until("it is broken", async || broken(1001).await.is_some()).await;
    assert_eq!(broken(1001).await.unwrap(), "the thread was deleted in Discord");
    assert_eq!(scene.desk.events(1001).await.iter().filter(|event| event.kind == "thread_broken").count(), 1);
    online.catches_up(1).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_read_by_the_api() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    scene.discord.distorts_messages(true);
    let garbled = scene.says("garbled").await;
    scene.hears(std::slice::from_ref(&garbled)).await;
    scene.discord.distorts_messages(false);
    let clear = scene.says("clear").await;
    scene.hears(&[garbled, clear]).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn a_refused_token_or_intent_says_what_to_do_and_is_not_tried_again() {
    let scene = Scene::set().await;
    scene.discord.message_content(false);
    let mut online = scene.desk.begins_to_connect(HASTY);
    let trouble = online.until("it says why", |p| p.trouble.is_some()).await.trouble.unwrap();
    assert!(
        trouble.starts_with("switch on Message Content Intent: https://discord.com/developers"),
        "{trouble}"
    );
    let errors = scene.desk.expects_errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("Discord refuses the bot: switch on Message Content Intent"), "{errors:?}");
    let asked = scene.discord.count("GET", "/gateway");
    // The rest goes on.
    scene.desk.handles(&mail("bob@example.com", "Another", "That, too.")).await;
    assert_eq!(scene.desk.tickets().await, 2);
    assert_eq!(scene.discord.count("GET", "/gateway"), asked, "no loop: refusals are counted");
    scene.ends(online).await;
}

#[tokio::test]
async fn a_token_that_is_not_valid_any_more_is_said_by_readyz() {
    let scene = Scene::set().await;
    scene.discord.troubles_times(99, "GET", "/gateway", Trouble::Refused(401, 0));
    let mut online = scene.desk.begins_to_connect(HASTY);
    let trouble = online.until("it says why", |p| p.trouble.is_some()).await.trouble.unwrap();
    assert!(trouble.contains("Reset Token") && trouble.contains("discord.token_file"), "{trouble}");
    assert_eq!(scene.desk.expects_errors().len(), 1);
    let (status, ready) = scene.desk.logs_in("Cem").await.get("/readyz").await;
    assert_eq!((status, ready["sources"]["discord"]["error"].as_str().unwrap()), (503, trouble.as_str()));
    scene.ends(online).await;
}

#[tokio::test]
async fn what_the_bot_lacks_is_said_and_it_goes_on() {
    let scene = Scene::set().await;
    scene.discord.forbids(SUPPORT, 50001);
    let mut online = scene.desk.begins_to_connect(HASTY);
    let words = scene.says("still here").await;
    scene.hears(&[words]).await;
    online.until("it says what it lacks", |p| p.trouble.is_some()).await;
    let errors = scene.desk.expects_errors();
    assert!(errors[0].contains(&format!("may not see the channel {SUPPORT}")), "{errors:?}");
    scene.ends(online).await;
}

#[tokio::test]
async fn one_process_listens_and_another_takes_over() {
    let scene = Scene::set().await;
    let first = scene.connects().await;
    let mut second = connect(&scene.desk.app, HASTY);
    let mut expected = vec![scene.says("to the first").await];
    scene.hears(&expected).await;
    assert_eq!((second.now().sessions, scene.discord.connections()), (0, 1));
    let begun = std::time::Instant::now();
    first.dies().await;
    expected.push(scene.says("to nobody").await);
    second.catches_up(1).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    expected.push(scene.says("to the second").await);
    scene.hears(&expected).await;
    scene.ends(second).await;
}

/// Ends the connections of all who hold an advisory lock, as a restart of PostgreSQL would.
async fn cut_lock_holders(desk: &Desk) {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    sqlx::query(cut).fetch_all(&desk.db).await.unwrap();
}

#[tokio::test]
async fn a_lost_lock_ends_the_connection_and_nothing_is_lost() {
    let scene = Scene::set().await;
    let mut online = scene.desk.begins_to_connect(HASTY);
    online.is_ready().await;
    let mut expected = vec![scene.says("before").await];
    cut_lock_holders(&scene.desk).await;
    expected.push(scene.says("meanwhile").await);
    online.catches_up(2).await;
    expected.push(scene.says("after").await);
    scene.hears(&expected).await;
    assert_eq!(scene.discord.connections(), 1);
    scene.ends(online).await;
}

#[tokio::test]
async fn what_cannot_be_stored_now_is_stored_later_in_order() {
    let scene = Scene::set().await;
    let mut online = scene.desk.begins_to_connect(HASTY);
    online.is_ready().await;
    // What is written to waits, as it does while PostgreSQL is stuck.
    let mut stuck = scene.desk.db.begin().await.unwrap();
    sqlx::query("LOCK TABLE inbound IN ACCESS EXCLUSIVE MODE").execute(&mut *stuck).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..50 {
        expected.push(scene.says(&format!("message {number}")).await);
    }
    scene.bea.uses("/ticket new").await.modal().await;
    stuck.rollback().await.unwrap();
    scene.hears(&expected).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn a_halt_of_postgresql_loses_nothing_that_was_said_or_taken_back() {
    let mut server = postgres::private().await;
    let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(3));
    let db = pool.connect_with(server.options("postgres")).await.unwrap();
    let scene = Scene::with_plan(Plan { db: Some(db), ..Plan::default() }).await;
    // The loss is noticed late enough that what is said at once is heard.
    let mut online = scene.desk.begins_to_connect(Pace { lock: Duration::from_secs(2), ..HASTY });
    online.is_ready().await;
    let first = scene.says("before").await;
    scene.hears(std::slice::from_ref(&first)).await;
    server.halt().unwrap();
    scene.bea.deletes(first.trim_start_matches('m').parse().unwrap()).await;
    let second = scene.says("meanwhile").await;
    until("the connection is given up", async || scene.discord.connections() == 0).await;
    let third = scene.says("while nobody listens").await;
    server.resume().unwrap();
    online.catches_up(2).await;
    until("all is in the ledger", async || scene.heard().await.len() == 4).await;
    let mut heard = scene.heard().await;
    heard.sort();
    let mut expected = [first.replacen('m', "d", 1), first, second, third];
    expected.sort();
    assert_eq!(heard, expected);
    scene.ends(online).await;
}

#[tokio::test]
async fn a_close_without_a_code_is_found_and_mended() {
    let scene = Scene::set().await;
    let mut online = scene.desk.begins_to_connect(HASTY);
    online.is_ready().await;
    let mut expected = vec![scene.says("before").await];
    scene.hears(&expected).await;
    scene.discord.closes_connections_without_a_code();
    until("it is closed", async || scene.discord.connections() == 0).await;
    expected.push(scene.says("meanwhile").await);
    online.catches_up(2).await;
    expected.push(scene.says("after").await);
    scene.hears(&expected).await;
    scene.ends(online).await;
}

#[tokio::test]
async fn interactions_are_answered_at_once_and_kept() {
    let scene = Scene::set().await;
    let online = scene.connects().await;
    let kept =
        async || scene.desk.count("SELECT count(*) FROM discord_payloads WHERE kind = 'interaction'").await;
    scene.bea.uses("/ticket new").await.modal().await;
    assert_eq!(kept().await, 0, "a form needs no ledger");
    scene.discord.delivers_twice(true);
    let asked = scene.bea.uses("/ticket list").await;
    assert!(asked.first_answer_took().await < Duration::from_secs(3));
    until("it is kept", async || kept().await == 1).await;
    assert_eq!(scene.desk.count("SELECT count(*) FROM jobs WHERE kind = 'interact'").await, 1);
    scene.desk.settle().await;
    assert!(asked.is_ephemeral().await);
    scene.ends(online).await;
}
