//! A mailbox that can't be read for too long is told to admins, by every channel there is, once; and so is its end.

use std::time::Duration;

use chrono::TimeDelta;
use ticketd::alarms;
use ticketd::people::Role;
use ticketd::sources::{self, imap};
use tokio_util::sync::CancellationToken;

use crate::harness::desk::{Desk, Plan};
use crate::harness::discord::{Discord, STAFF, Said, Setup, Trouble};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::mail;
use crate::harness::smtp::{At, Behaviour};
use crate::harness::wait::until;

/// Reads the mailbox of this number as the daemon does, at a quicker pace, for as long as the story lasts.
async fn while_reading(desk: &Desk, numbers: &[usize], story: impl AsyncFnOnce()) {
    let stop = CancellationToken::new();
    let reading = numbers.iter().map(|number| {
        let mailbox = desk.app.config.mailbox.get(*number).expect("a mailbox");
        let mut reader =
            sources::reader(mailbox, &desk.db, &desk.clock, &desk.app.oauth, 1_000_000).expect("a reader");
        reader.pace.first_pause = Duration::from_millis(10);
        reader.pace.longest_pause = Duration::from_millis(20);
        reader.pace.refused_pause = Duration::from_millis(20);
        imap::run(reader, stop.clone())
    });
    let told = async {
        story().await;
        stop.cancel();
    };
    tokio::join!(futures_util::future::join_all(reading), told);
}

/// How often a mailbox could not be read so far.
fn failures(desk: &Desk) -> usize {
    desk.log().iter().filter(|line| line.contains("can't be read, next try")).count()
}

async fn fails(desk: &Desk, times: usize) {
    let enough = failures(desk) + times;
    until("it failed often enough", async || failures(desk) >= enough).await;
}

async fn open_alarms(desk: &Desk) -> i64 {
    desk.count("SELECT count(*) FROM alarms WHERE cleared_at IS NULL").await
}

fn subjects(desk: &Desk, address: &str) -> Vec<String> {
    let subject = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("Subject: ")).expect("a subject").to_owned()
    };
    desk.mails_to(address).into_iter().map(|mail| subject(mail.text())).collect()
}

/// The alarm that its mailbox can't be read, as the reader raises it.
async fn raises(desk: &Desk) {
    alarms::report(&desk.db, alarms::MAILBOX, "support", "the server says nothing", desk.clock.now())
        .await
        .expect("an alarm");
}

async fn is_over(desk: &Desk) {
    alarms::settle(&desk.db, alarms::MAILBOX, "support", desk.clock.now()).await.expect("its end");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told_to_every_admin_once_and_so_is_its_end() {
    let desk = Desk::with(Plan {
        login: Some("password = \"secret\"\nfolder = \"Help desk\"".to_owned()),
        ..Plan::default()
    })
    .await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.hires("Emil", Role::Admin, &[]).await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    while_reading(&desk, &[0], async || {
        until("there is an alarm", async || open_alarms(&desk).await == 1).await;
        fails(&desk, 2).await;
        desk.settle().await;
        desk.later(TimeDelta::hours(1)).await;
        fails(&desk, 3).await;
        desk.settle().await;
        Dovecot::shared().append(&desk.user, "Help desk", mail("ada@example.net", "x", "y").raw()).await;
        until("it is over", async || open_alarms(&desk).await == 0).await;
    })
    .await;
    desk.settle().await;
    let both = ["Alarm: mailbox support can't be read", "Over: mailbox support can't be read"];
    assert_eq!(subjects(&desk, "emil@example.org"), both);
    assert_eq!(subjects(&desk, "bea@example.org"), Vec::<String>::new());
    let text = desk.mails_to("emil@example.org").first().expect("a mail").text();
    let shown: Vec<&str> = text.lines().filter(|line| !line.starts_with("X-Ticketd-Loop")).collect();
    let shown = shown.join("\n");
    let id = shown
        .split("Message-ID: <")
        .nth(1)
        .and_then(|rest| rest.split('@').next())
        .expect("an id")
        .to_owned();
    insta::assert_snapshot!(shown.replace(&id, "ID"), @"
    From: Support <support@example.org>
    To: emil@example.org
    Reply-To: support@example.org
    Subject: Alarm: mailbox support can't be read
    Message-ID: <ID@example.org>
    Date: Sat, 21 Nov 2026 09:00:00 +0000
    Auto-Submitted: auto-generated
    X-Auto-Response-Suppress: All
    MIME-Version: 1.0
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: quoted-printable

    Hello,

    the mailbox support can't be read, since 2026-11-21 09:00 UTC.

        there is no folder `Help desk`: set imap.folder to one of: INBOX

    Mail to it waits on its server: nothing is lost, but nobody sees it. ticket=
    d goes on trying, and writes again when it is over.

    This mail was sent automatically.
    ");
    desk.close().await;
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_at_the_third_time() {
    let desk = Desk::with(Plan { login: Some("password = \"wrong\"".to_owned()), ..Plan::default() }).await;
    while_reading(&desk, &[0], async || {
        until("there is an alarm", async || open_alarms(&desk).await == 1).await;
    })
    .await;
    let log = desk.log();
    let before = log.iter().take_while(|line| !line.contains("alarm (mailbox, support)"));
    let failed = before.filter(|line| line.contains("can't be read, next try")).count();
    assert_eq!(failed, 3, "servers refuse one now and then");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_after_ten_minutes() {
    let dovecot = Dovecot::private();
    let desk = Desk::with(Plan { dovecot: Some(dovecot.imap_port()), ..Plan::default() }).await;
    dovecot.stop();
    while_reading(&desk, &[0], async || {
        fails(&desk, 5).await;
        desk.clock.advance(TimeDelta::minutes(9));
        fails(&desk, 3).await;
        assert_eq!(open_alarms(&desk).await, 0, "a server that restarts is nobody's business");
        desk.clock.advance(TimeDelta::minutes(1));
        until("there is an alarm", async || open_alarms(&desk).await == 1).await;
        dovecot.start();
        until("it is over", async || open_alarms(&desk).await == 0).await;
    })
    .await;
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn of_two_mailboxes_one_in_trouble_does_not_delay_the_other_and_the_other_tells_of_it() {
    let more = format!(
        "[[mailbox]]\nname = \"sales\"\naddress = \"sales@example.org\"\n[mailbox.imap]\nhost = \"127.0.0.1\"\n\
         port = {}\ntls = \"none\"\nuser = \"sales{}\"\npassword = \"secret\"\n[mailbox.smtp]\nhost = \"127.0.0.1\"\n\
         port = SMTP\ntls = \"none\"\n",
        Dovecot::shared().imap_port(),
        std::process::id()
    );
    let sink = crate::harness::smtp::SmtpSink::start();
    let more = more.replace("SMTP", &sink.port().to_string());
    let login = Some("password = \"wrong\"".to_owned());
    let desk = Desk::with(Plan { login, more, sink: Some(sink), ..Plan::default() }).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    let sales = format!("sales{}", std::process::id());
    while_reading(&desk, &[0, 1], async || {
        fails(&desk, 1).await;
        for count in 1..=3 {
            Dovecot::shared()
                .append(&sales, "INBOX", mail("Ada <ada@example.net>", "Offer", "Please.").raw())
                .await;
            until("it is taken in", async || desk.count("SELECT count(*) FROM inbound").await == count).await;
            fails(&desk, 1).await;
        }
        until("there is an alarm", async || open_alarms(&desk).await == 1).await;
    })
    .await;
    desk.settle().await;
    let told = desk.mails_to("dora@example.org");
    let alarm = told.iter().find(|mail| mail.text().contains("Subject: Alarm")).expect("an alarm").text();
    assert!(alarm.contains("sales@example.org"), "{alarm}");
    desk.close().await;
}

#[tokio::test]
async fn when_mail_does_not_leave_discord_is_told_and_only_mail_is_tried_again() {
    let discord = Discord::start().await;
    let desk = Desk::with(Plan { more: discord.config(), ..Plan::default() }).await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk.sink.behave(&Behaviour::Refuse(At::Mail, 451, "not now".to_owned()));
    raises(&desk).await;
    desk.settle().await;
    let posted = || discord.messages(STAFF).iter().map(Said::shown).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(posted(), @"
    ticketd: **Alarm: mailbox support can't be read**
      the server says nothing
    ");
    let dora = |desk: &Desk| subjects(desk, "dora@example.org");
    assert_eq!(dora(&desk), Vec::<String>::new());
    desk.sink.behave(&Behaviour::Accept);
    desk.later(TimeDelta::minutes(1)).await;
    desk.later(TimeDelta::minutes(30)).await;
    assert_eq!((dora(&desk).len(), discord.messages(STAFF).len()), (1, 1));

    is_over(&desk).await;
    discord.troubles("POST", "/messages", Trouble::Html(503));
    desk.settle().await;
    desk.later(TimeDelta::minutes(1)).await;
    assert_eq!((dora(&desk).len(), discord.messages(STAFF).len()), (2, 2));
    desk.close().await;
}

#[tokio::test]
async fn a_staff_channel_that_is_a_forum_gets_a_post_and_one_that_everybody_sees_gets_nothing() {
    let discord = Discord::with(Setup { forum: true, ..Setup::default() }).await;
    let desk = Desk::with(Plan { more: discord.config(), ..Plan::default() }).await;
    raises(&desk).await;
    desk.settle().await;
    assert_eq!(discord.staff_thread("Alarm: mailbox support").await.messages().len(), 1);
    is_over(&desk).await;
    discord.shows_to_everyone(STAFF, true);
    desk.settle().await;
    assert_eq!(discord.threads().len(), 1, "what is in trouble is not for everybody");
    desk.close().await;
}

#[tokio::test]
async fn trouble_that_is_over_before_anybody_was_told_is_not_told() {
    let desk = Desk::open().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    raises(&desk).await;
    raises(&desk).await;
    is_over(&desk).await;
    is_over(&desk).await;
    desk.settle().await;
    assert_eq!(subjects(&desk, "dora@example.org"), Vec::<String>::new());
    raises(&desk).await;
    desk.settle().await;
    assert_eq!(subjects(&desk, "dora@example.org"), ["Alarm: mailbox support can't be read"]);
    desk.close().await;
}
