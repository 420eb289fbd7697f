//! Whatever is late or broken is told to admins by every channel that is not itself the trouble, once; and so is its end.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use regex::Regex;
use serde_json::{Value, json};
use ticketd::people::Role;
use ticketd::queue::{self, Which};
use ticketd::{alarms, ingest};

use crate::harness::desk::{Desk, Plan};
use crate::harness::discord::{Discord, STAFF, Said, Trouble};
use crate::harness::gemini::{Answer, FakeGemini, KEY};
use crate::harness::mail::mail;
use crate::harness::smtp::{At, Behaviour};

const ADA: &str = "Ada <ada@example.net>";
/// Of the machine and the clock that the tests have. A told clock is another than PostgreSQL's.
const NEITHER: &str = "[alarms]\nclock_seconds = 0\ndisk_free_percent = 0\n";

/// A desk with an admin, who reads her mail.
async fn desk(more: &str) -> Desk {
    let desk = Desk::with(Plan { more: format!("{NEITHER}{more}"), ..Plan::default() }).await;
    desk.hires_with("Dora", Role::Admin, &[], Some(1000), false).await;
    desk
}

/// The look of this minute.
async fn looks(desk: &Desk) {
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue_first(&mut tx, &queue::WATCH, 0, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a job");
    desk.settle().await;
}

/// So many minutes pass, with a look at the end of each.
async fn minutes_pass(desk: &Desk, minutes: usize) {
    for _ in 0..minutes {
        desk.later(TimeDelta::minutes(1)).await;
        looks(desk).await;
    }
}

/// The subjects of what Dora was told of alarms by mail.
fn mailed(desk: &Desk) -> Vec<String> {
    let mails = desk.mails_to("dora@example.org").into_iter();
    let subjects = mails.filter_map(|mail| {
        mail.text().lines().find_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned)
    });
    subjects.filter(|subject| subject.starts_with("Alarm: ") || subject.starts_with("Over: ")).collect()
}

/// The titles of what Discord's staff channel was told of alarms.
fn posted(discord: &Discord) -> Vec<String> {
    let all = discord.messages(STAFF).iter().map(Said::shown).collect::<Vec<_>>().join("\n");
    let titles = all.split("**").filter(|part| part.starts_with("Alarm: ") || part.starts_with("Over: "));
    titles.map(str::to_owned).collect()
}

async fn sql(desk: &Desk, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&desk.db).await.expect("the statement");
}

/// It begins, goes on, and ends when `mended`; each is told once.
async fn is_told_once(desk: &Desk, what: &str, mended: impl AsyncFnOnce()) {
    let (begins, ends) = (format!("Alarm: {what}"), format!("Over: {what}"));
    looks(desk).await;
    assert_eq!(mailed(desk), [begins.as_str()]);
    minutes_pass(desk, 3).await;
    assert_eq!(mailed(desk), [begins.as_str()], "it is told once");
    mended().await;
    minutes_pass(desk, 4).await;
    assert_eq!(mailed(desk), [begins.as_str()], "it may come back");
    minutes_pass(desk, 4).await;
    assert_eq!(mailed(desk), [begins.as_str(), ends.as_str()]);
}

#[tokio::test]
async fn what_is_in_quarantine_is_told_until_it_was_read_again() {
    let desk = desk("").await;
    desk.gets(&mail(ADA, "Poison", "Drink this.")).await;
    desk.fetches().await;
    // As if ten processes had claimed it and died.
    sql(&desk, "UPDATE jobs SET attempt = 10 WHERE kind = 'ingest'").await;
    desk.settle().await;
    assert_eq!((desk.fates().await, desk.expects_errors().len()), (vec!["quarantined".to_owned()], 1));
    let dora = desk.logs_in("Dora").await;
    is_told_once(&desk, "messages are in quarantine", async || {
        let (_, ready) = dora.get("/readyz").await;
        assert_eq!(ready.pointer("/alarms/0/kind"), Some(&json!("quarantine")), "{ready}");
        let (_, ledger) = dora.get("/api/admin/ledger?fate=quarantined").await;
        let id = ledger.pointer("/entries/0/id").and_then(Value::as_i64);
        let id = id.unwrap_or_else(|| panic!("no row: {ledger}"));
        let (status, said) = dora.post(&format!("/api/admin/ledger/{id}/replay"), &json!({})).await;
        assert_eq!(status / 100, 2, "{said}");
    })
    .await;
    desk.close().await;
}

#[tokio::test]
async fn jobs_that_were_given_up_are_told_until_none_is_left() {
    let desk = desk("").await;
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue(&mut tx, &queue::TRIAGE, 404, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a job");
    desk.settle().await;
    assert_eq!(desk.expects_errors().len(), 1, "there is no such ticket");
    is_told_once(&desk, "jobs of the kind triage were given up", async || {
        let dead = queue::list(&desk.db, Which::Failed, 10).await.expect("the queue");
        let mut tx = desk.db.begin().await.expect("a transaction");
        for job in dead {
            queue::cancel(&mut tx, job.id).await.expect("a job");
        }
        tx.commit().await.expect("its end");
    })
    .await;
    desk.close().await;
}

#[tokio::test]
async fn a_loop_breaker_that_tripped_is_told_until_it_is_reset() {
    let desk = desk("[mail]\nloop_per_address_hour = 1").await;
    for count in 1..=2 {
        desk.handles(&mail(ADA, &format!("Fire {count}"), "It is on fire.")).await;
    }
    let dora = desk.logs_in("Dora").await;
    is_told_once(&desk, "the loop breaker holds mail back", async || {
        let (_, listed) = dora.get("/api/admin/loop-breakers").await;
        let id = listed.pointer("/loop_breakers/0/id").expect("one that tripped");
        assert_eq!(dora.delete(&format!("/api/admin/loop-breakers/{id}")).await.0, 204);
    })
    .await;
    let mails = desk.mails_to("dora@example.org");
    let told = mails.iter().filter(|mail| mail.text().contains("Alarm: the loop"));
    assert!(told.into_iter().all(|mail| !mail.text().contains("ada@example.net")), "an address in an alarm");
    desk.close().await;
}

#[tokio::test]
async fn a_mailbox_that_is_not_read_although_nothing_fails_is_told() {
    let desk = desk("").await;
    looks(&desk).await;
    desk.fetches().await;
    minutes_pass(&desk, 30).await;
    assert_eq!(mailed(&desk), [""; 0], "it may be waiting for news");
    desk.clock.advance(TimeDelta::minutes(1));
    is_told_once(&desk, "mailbox support is not read", async || desk.fetches().await).await;
    desk.close().await;
}

#[tokio::test]
async fn mails_that_do_not_leave_are_told_in_discord_and_by_mail_when_they_do() {
    let discord = Discord::start().await;
    let desk = desk(&discord.config()).await;
    desk.sink.behave(&Behaviour::Refuse(At::Mail, 451, "not now".to_owned()));
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    minutes_pass(&desk, 9).await;
    assert_eq!(posted(&discord), [""; 0], "a server that restarts is nobody's business");
    minutes_pass(&desk, 5).await;
    assert_eq!(posted(&discord), ["Alarm: mails of mailbox support do not leave"]);
    assert_eq!(mailed(&desk), [""; 0]);
    desk.sink.behave(&Behaviour::Accept);
    // The pauses between attempts have grown.
    desk.fetches().await;
    minutes_pass(&desk, 25).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 1);
    let both =
        ["Alarm: mails of mailbox support do not leave", "Over: mails of mailbox support do not leave"];
    assert_eq!(posted(&discord), both);
    desk.close().await;
}

#[tokio::test]
async fn one_address_that_is_not_taken_now_is_no_trouble_of_the_mailbox() {
    let desk = desk("").await;
    let full = Behaviour::RefuseRecipient("ada@example.net".to_owned(), 452, "mailbox full".to_owned());
    desk.sink.behave(&full);
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    for count in 0..4 {
        minutes_pass(&desk, 4).await;
        desk.handles(&mail("Bob <bob@example.net>", &format!("Fire {count}"), "Help.")).await;
    }
    assert_eq!(mailed(&desk), [""; 0]);
    desk.sink.behave(&Behaviour::Accept);
    desk.later(TimeDelta::hours(1)).await;
    desk.close().await;
}

#[tokio::test]
async fn a_connection_to_discord_that_is_lost_is_told_by_mail_only() {
    let discord = Discord::start().await;
    let desk = desk(&discord.config()).await;
    let failing = Some("the bot's token is refused");
    ingest::note_health(&desk.db, &desk.clock, ingest::DISCORD, failing).await.expect("a note");
    minutes_pass(&desk, 9).await;
    assert_eq!(mailed(&desk), [""; 0], "connections come and go");
    minutes_pass(&desk, 1).await;
    is_told_once(&desk, "the connection to Discord is lost", async || {
        ingest::note_health(&desk.db, &desk.clock, ingest::DISCORD, None).await.expect("a note");
    })
    .await;
    assert_eq!(posted(&discord), [""; 0]);
    desk.close().await;
}

#[tokio::test]
async fn an_alarm_that_discord_does_not_take_comes_by_mail_all_the_same() {
    let discord = Discord::start().await;
    let desk = desk(&discord.config()).await;
    discord.troubles_times(3, "POST", "/messages", Trouble::Forbidden(50_001));
    alarms::report(&desk.db, alarms::BACKLOG, "jobs", "20 jobs wait", desk.clock.now())
        .await
        .expect("an alarm");
    desk.settle().await;
    assert_eq!((mailed(&desk), posted(&discord)), (vec!["Alarm: work is late".to_owned()], Vec::new()));
    desk.close().await;
}

#[tokio::test]
async fn gemini_that_does_not_judge_is_told_until_it_does() {
    let fake = FakeGemini::start().await;
    let gemini = format!("[gemini]\nbase_url = \"{}\"\napi_key = \"{KEY}\"\n", fake.base_url());
    let mut desk = desk(&gemini).await;
    desk.asks(&fake, KEY, Duration::from_secs(20));
    // What it will not judge says nothing about Gemini.
    fake.otherwise(Answer::Blocked);
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    minutes_pass(&desk, 12).await;
    assert_eq!(mailed(&desk), [""; 0]);
    fake.otherwise(Answer::Html502);
    desk.handles(&mail(ADA, "Router", "It is on fire, too.")).await;
    minutes_pass(&desk, 9).await;
    assert_eq!(mailed(&desk), [""; 0], "it may be back in a moment");
    minutes_pass(&desk, 1).await;
    let judgement = json!({"category": "technical", "priority": "high", "language": "en", "skills": [], "notes": "Fire.",
        "suggested_reply": "Use water.", "confidence": 0.9});
    fake.otherwise(Answer::Judge(judgement));
    // It is asked again in its own time.
    for _ in 0..3 {
        desk.fetches().await;
        minutes_pass(&desk, 20).await;
    }
    assert_eq!(mailed(&desk), ["Alarm: Gemini judges no tickets", "Over: Gemini judges no tickets"]);
    desk.close().await;
}

#[tokio::test]
async fn work_that_is_late_is_told_before_the_work_is_done() {
    let desk = desk("").await;
    desk.gets(&mail(ADA, "Printer", "It is on fire.")).await;
    desk.fetches().await;
    desk.clock.advance(TimeDelta::minutes(16));
    let mut tx = desk.db.begin().await.expect("a transaction");
    queue::enqueue_first(&mut tx, &queue::WATCH, 0, desk.clock.now()).await.expect("a job");
    tx.commit().await.expect("a job");
    // The next two jobs are the look and the telling; the mail still waits.
    for kind in ["watch", "alarm"] {
        let claimed = queue::claim(&desk.db, desk.clock.now(), 1).await.expect("the queue").pop();
        let job = claimed.expect("a job");
        assert_eq!(job.kind.name, kind);
        assert!(desk.app.stages.run(&job).await, "{job:?} failed");
    }
    assert_eq!(
        (mailed(&desk), desk.fates().await),
        (vec!["Alarm: work is late".to_owned()], vec!["waiting".to_owned()])
    );
    desk.settle().await;
    minutes_pass(&desk, 6).await;
    assert_eq!(mailed(&desk), ["Alarm: work is late", "Over: work is late"]);
    desk.close().await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_until_it_is_right() {
    let desk =
        Desk::with(Plan { more: "[alarms]\ndisk_free_percent = 0\n".to_owned(), ..Plan::default() }).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let theirs = ticketd::database::now(&desk.db).await.expect("the time");
    desk.clock.advance(theirs - desk.clock.now() - TimeDelta::minutes(10));
    looks(&desk).await;
    let [alarm] = alarms::open(&desk.db).await.expect("the alarms").try_into().expect("one alarm");
    assert_eq!(alarm.kind, alarms::CLOCK);
    assert_eq!(mailed(&desk), [format!("Alarm: the clock of {} is wrong", alarm.subject)]);
    desk.clock.advance(TimeDelta::minutes(10));
    looks(&desk).await;
    assert_eq!(mailed(&desk).len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_told_until_there_is_room() {
    let plan = |percent: usize| format!("[alarms]\nclock_seconds = 0\ndisk_free_percent = {percent}\n");
    let desk = Desk::with(Plan { more: plan(100), ..Plan::default() }).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    looks(&desk).await;
    let (db, user, clock) = (desk.db.clone(), desk.user.clone(), desk.clock.now());
    let [alarm] = alarms::open(&db).await.expect("the alarms").try_into().expect("one alarm");
    let begins = format!("Alarm: a disk is nearly full ({})", alarm.subject);
    assert_eq!(mailed(&desk), [begins.as_str()]);
    // The same desk, content with what is left.
    let plan = Plan { more: plan(0), db: Some(db), user: Some(user), ..Plan::default() };
    let later = Desk::with(plan).await;
    later.clock.advance(clock - later.clock.now());
    minutes_pass(&later, 6).await;
    assert_eq!(mailed(&later), [begins.replace("Alarm: ", "Over: ")]);
    later.close().await;
    desk.close_without_database();
}

/// Every match of the first group in the source.
fn named_in_the_source(pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let files = crate::architecture::rust_files("src");
    let found =
        files.iter().flat_map(|(_, text)| pattern.captures_iter(text).filter_map(|found| found.get(1)));
    found.map(|name| name.as_str().to_owned()).collect()
}

#[test]
fn the_rules_and_the_dashboard_speak_of_numbers_that_there_are_and_that_are_explained() {
    let counted = named_in_the_source(r#"\b(?:counter|gauge|histogram)!\(\s*"(ticketd_\w+)""#);
    let explained = named_in_the_source(r#"\bdescribe_(?:counter|gauge|histogram)!\(\s*"(ticketd_\w+)""#);
    assert!(counted.len() > 20, "the numbers are not where this test looks for them");
    assert_eq!(counted, explained);
    let histograms = named_in_the_source(r#"\bhistogram!\(\s*"(ticketd_\w+)""#);
    let dashboard = include_str!("../config/grafana.json");
    serde_json::from_str::<Value>(dashboard).expect("a dashboard");
    let name = Regex::new(r"ticketd_\w+").expect("a pattern");
    for (file, text) in [("alerts.yml", include_str!("../config/alerts.yml")), ("grafana.json", dashboard)] {
        let used: BTreeSet<&str> = name.find_iter(text).map(|found| found.as_str()).collect();
        assert!(used.len() > 3, "config/{file} names no numbers");
        for used in used {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| used.strip_suffix(end));
            let is_there =
                counted.contains(used) || of_histogram.is_some_and(|name| histograms.contains(name));
            assert!(is_there, "config/{file} speaks of {used}, which nobody counts");
        }
    }
}
