//! Every mail is taken in exactly once, whichever way and how often it comes.

use std::path::Path;
use std::process::{Output, Stdio};

use chrono::TimeDelta;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolOptions;
use ticketd::clock::Clock;
use ticketd::people::Role;
use ticketd::sources::maildir::{self, Maildir};
use ticketd::{ingest, queue, sources};
use tokio::io::AsyncWriteExt;

use crate::harness::desk::{self, Desk, Plan, fresh_user};
use crate::harness::dovecot::{Dovecot, PASSWORD};
use crate::harness::mail::{Mail, mail};
use crate::harness::postgres;
use crate::harness::smtp::SmtpSink;

const ADA: &str = "Ada <ada@example.net>";
const BOB: &str = "Bob <bob@example.net>";

async fn desk(plan: Plan) -> Desk {
    let desk = Desk::with(plan).await;
    desk.hires("Bea", Role::Admin, &[]).await;
    desk
}

fn printer() -> Mail {
    mail(ADA, "Printer", "It is on fire.\n\nAda")
}

/// The same mail after another way through the world.
fn rerouted(mail: &Mail, way: &str) -> Vec<u8> {
    let trace = format!(
        "Return-Path: <ada@example.net>\r\nDelivered-To: {way}\r\nReceived: from mx.{way} by imap.example.org;\r\n\
         \tSat, 21 Nov 2026 09:00:00 +0000\r\nX-Spam-Status: No\r\n"
    );
    [trace.as_bytes(), &mail.raw()].concat()
}

/// Two waiting mails are understood at the same moment; who loses the race looks again a little later.
async fn handles_both_at_once(desk: &Desk) {
    let jobs = queue::claim(&desk.db, desk.clock.now(), 2).await.expect("two jobs");
    let [one, other] = jobs.as_slice() else { panic!("two mails wait: {jobs:?}") };
    tokio::join!(desk.app.stages.run(one), desk.app.stages.run(other));
    desk.later(TimeDelta::seconds(1)).await;
}

async fn is_one_ticket_with_one_acknowledgement(desk: &Desk, fates: &[&str]) {
    assert_eq!(desk.fates().await, fates);
    assert_eq!(desk.count("SELECT count(*) FROM messages").await, 1);
    assert_eq!(desk.mails_to("ada@example.net").len(), 1, "one acknowledgement");
    assert_eq!(desk.mails_to("bea@example.org").len(), 1, "one notice");
}

#[tokio::test]
async fn a_mail_delivered_twice_is_one_ticket() {
    let desk = desk(Plan::default()).await;
    let first = printer();
    desk.handles(&first).await;
    for way in ["support@example.org", "archive@example.org"] {
        desk.handles_raw(&rerouted(&first, way)).await;
    }
    is_one_ticket_with_one_acknowledgement(&desk, &["ticketed", "duplicate", "duplicate"]).await;
    let ledger = ingest::ledger(&desk.db, None, 10).await.unwrap();
    assert!(ledger.iter().skip(1).all(|row| row.duplicate_of == Some(ledger[0].id)));
    assert!(ledger.iter().all(|row| row.ticket_id == ledger[0].ticket_id), "each says where it went");
    desk.close().await;
}

#[tokio::test]
async fn copies_understood_at_the_same_moment_are_one_ticket() {
    for first in [printer(), printer().without("Message-ID")] {
        let desk = desk(Plan::default()).await;
        desk.gets(&first).await;
        Dovecot::shared().append(&desk.user, "INBOX", rerouted(&first, "support@example.org")).await;
        desk.fetches().await;
        Box::pin(handles_both_at_once(&desk)).await;
        let mut fates = desk.fates().await;
        fates.sort();
        assert_eq!(fates, ["duplicate", "ticketed"]);
        assert_eq!(desk.count("SELECT count(*) FROM messages").await, 1);
        assert_eq!(desk.mails_to("ada@example.net").len(), 1, "one acknowledgement");
        desk.close().await;
    }
}

#[tokio::test]
async fn a_mail_to_two_mailboxes_is_one_ticket() {
    let (sink, sales) = (SmtpSink::start(), fresh_user());
    let (imap, smtp) = (Dovecot::shared().imap_port(), sink.port());
    let more = format!(
        r#"
        [[mailbox]]
        name = "sales"
        address = "sales@example.org"
        [mailbox.imap]
        host = "127.0.0.1"
        port = {imap}
        tls = "none"
        user = "{sales}"
        password = "{PASSWORD}"
        [mailbox.smtp]
        host = "127.0.0.1"
        port = {smtp}
        tls = "none"
        "#
    );
    let desk = desk(Plan { more, sink: Some(sink), ..Plan::default() }).await;
    let reads_sales = async || {
        let mailbox = desk.app.config.mailbox.last().unwrap();
        let mut reader = sources::reader(mailbox, &desk.db, &desk.clock, &desk.app.oauth, 1_000_000).unwrap();
        sources::imap::sync_once(&mut reader).await.unwrap();
    };
    let both = "Support <support@example.org>, Sales <sales@example.org>";
    for round in 1..=2 {
        let first = printer().with("To", both);
        desk.gets(&first).await;
        Dovecot::shared().append(&sales, "INBOX", rerouted(&first, "sales@example.org")).await;
        if round == 1 {
            reads_sales().await;
            desk.settle().await;
            desk.fetches().await;
            desk.settle().await;
        } else {
            desk.fetches().await;
            reads_sales().await;
            Box::pin(handles_both_at_once(&desk)).await;
        }
        assert_eq!(desk.tickets().await, round);
        assert_eq!(desk.mails_to("ada@example.net").len(), usize::try_from(round).unwrap());
    }
    // Who read it first answers it.
    let first = &desk.mails_to("ada@example.net")[0].text();
    assert!(first.contains("sales+t1001."), "{first}");
    assert_eq!(desk.participants(1001).await.len(), 1);
    desk.close().await;
}

#[tokio::test]
async fn a_new_uidvalidity_has_everything_read_again_and_nothing_doubled() {
    let desk = desk(Plan::default()).await;
    let mails = [printer(), mail(BOB, "Scanner", "It is on fire too."), printer().without("Message-ID")];
    for one in &mails {
        desk.handles(one).await;
    }
    Dovecot::shared().bump_uidvalidity(&desk.user).await;
    // One arrives before anybody noticed.
    desk.gets(&mail(BOB, "Copier", "This one is fine.")).await;
    assert_eq!(desk.try_fetch().await.unwrap(), 4);
    desk.settle().await;
    // The server numbers them anew, in an order of its own.
    let mut again = desk.fates().await.split_off(3);
    again.sort();
    assert_eq!(again, ["duplicate", "duplicate", "duplicate", "ticketed"]);
    assert_eq!(desk.count("SELECT count(*) FROM messages").await, 4);
    assert_eq!(desk.sink.mails().len(), 8, "four acknowledgements, four notices");
    assert_eq!(desk.try_fetch().await.unwrap(), 0, "the new cursor holds");
    desk.close().await;
}

#[tokio::test]
async fn a_mail_without_message_id_is_known_by_its_content() {
    let desk = desk(Plan::default()).await;
    let bare = || printer().without("Message-ID");
    desk.handles(&bare()).await;
    desk.handles_raw(&rerouted(&bare(), "support@example.org")).await;
    is_one_ticket_with_one_acknowledgement(&desk, &["ticketed", "duplicate"]).await;
    // The next one is another mail by its date alone.
    desk.handles(&bare().with("Date", "Sat, 21 Nov 2026 09:05:00 +0000")).await;
    desk.handles(&bare().with("From", BOB)).await;
    assert_eq!(desk.tickets().await, 3);
    desk.close().await;
}

#[tokio::test]
async fn empty_message_ids_meet_nobody() {
    let desk = desk(Plan::default()).await;
    for from in [ADA, BOB, ADA] {
        let empty = mail(from, &format!("{from} writes"), "Hello.").with("Message-ID", "<>");
        let empty = empty.with("Date", &format!("Sat, 21 Nov 2026 09:0{}:00 +0000", desk.tickets().await));
        desk.handles(&empty.with("In-Reply-To", "<>").with("References", "<> < >")).await;
    }
    assert_eq!(desk.fates().await, ["ticketed", "ticketed", "ticketed"]);
    desk.close().await;
}

#[tokio::test]
async fn one_message_id_on_two_contents_is_two_mails() {
    let desk = desk(Plan::default()).await;
    let scanner = |from: &str, text: &str| mail(from, "Scan", text).with("Message-ID", "<1@scanner.local>");
    desk.handles(&scanner(ADA, "Page one.")).await;
    desk.handles(&scanner(ADA, "Page two.")).await;
    // The same model stands elsewhere, and numbers its mails alike.
    desk.handles(&scanner(BOB, "A page of Bob's.")).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended", "ticketed"]);
    assert_eq!(desk.conversation(1001).await.len(), 2);
    let requester = ("requester".to_owned(), "ada@example.net".to_owned());
    assert_eq!(desk.participants(1001).await, [requester], "Bob reads nothing of Ada's");
    desk.close().await;
}

/// Flags or whereabouts of the mails, as the server tells them.
async fn on_the_server(desk: &Desk) -> (Vec<Vec<String>>, Vec<String>, usize) {
    let flags = Dovecot::shared().flags(&desk.user).await.into_iter().map(|(_, flags)| flags).collect();
    let folders = Dovecot::shared().folders(&desk.user).await;
    let archived = if folders.iter().any(|name| name == "Archive") {
        Dovecot::shared().messages(&desk.user, "Archive").await.len()
    } else {
        0
    };
    (flags, folders, archived)
}

/// The database refuses mail, as when its disk is full, until told otherwise.
async fn database_refuses_mail(desk: &Desk, refuses: bool) {
    let (from, to) = if refuses { ("inbound", "away") } else { ("away", "inbound") };
    let statement = format!("ALTER TABLE {from} RENAME TO {to}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&desk.db).await.expect("a new name");
}

#[tokio::test]
async fn nothing_changes_on_the_server_before_the_mail_is_in_the_ledger() {
    for after in ["keep", "seen", "move:Archive", "delete"] {
        let desk = desk(Plan { mailbox: format!("after = \"{after}\""), ..Plan::default() }).await;
        desk.gets(&printer()).await;
        desk.gets(&mail(BOB, "Scanner", "It is on fire too.")).await;
        let untouched = on_the_server(&desk).await;
        assert_eq!(untouched.0, [vec![], vec![]] as [Vec<String>; 2]);

        database_refuses_mail(&desk, true).await;
        desk.try_fetch().await.expect_err("the ledger is away");
        assert_eq!(on_the_server(&desk).await, untouched, "{after}: touched before it was safe");

        database_refuses_mail(&desk, false).await;
        assert_eq!(desk.try_fetch().await.unwrap(), 2, "{after}");
        let (flags, _, archived) = on_the_server(&desk).await;
        let seen = vec!["\\Seen".to_owned()];
        let wanted = match after {
            "keep" => (vec![vec![], vec![]], 0),
            "seen" => (vec![seen.clone(), seen], 0),
            "delete" => (vec![], 0),
            _ => (vec![], 2),
        };
        assert_eq!((flags, archived), wanted, "{after}");
        desk.settle().await;
        assert_eq!(desk.fates().await, ["ticketed", "ticketed"]);
        assert_eq!(desk.try_fetch().await.unwrap(), 0, "{after}");
        desk.close().await;
    }
}

#[tokio::test]
async fn what_a_dead_process_left_undone_on_the_server_is_done_by_the_next() {
    for after in ["seen", "move:Archive", "delete"] {
        let desk = desk(Plan { mailbox: format!("after = \"{after}\""), ..Plan::default() }).await;
        let raw = printer().raw();
        Dovecot::shared().append(&desk.user, "INBOX", &raw).await;
        let mut session = Dovecot::shared().session(&desk.user).await;
        let inbox = session.examine("INBOX").await.unwrap();
        session.logout().await.unwrap();
        // This far it came: the mail is committed, the server was not told.
        let fetched = vec![ingest::Fetched { uid: 1, raw }];
        let uidvalidity = inbox.uid_validity.unwrap();
        let source = ingest::Source { mailbox: "support", account: 0, uidvalidity };
        ingest::receive_imap(&desk.db, &desk.clock, source, fetched, 1).await.unwrap();

        assert_eq!(desk.try_fetch().await.unwrap(), 0, "{after}: it is in the ledger");
        let (flags, _, archived) = on_the_server(&desk).await;
        match after {
            "seen" => assert_eq!(flags, [["\\Seen"]]),
            "delete" => assert!(flags.is_empty()),
            _ => assert_eq!((flags.len(), archived), (0, 1)),
        }
        desk.settle().await;
        is_one_ticket_with_one_acknowledgement(&desk, &["ticketed"]).await;
        desk.close().await;
    }
}

#[tokio::test]
async fn a_mailbox_that_starts_new_leaves_old_mail_alone() {
    let mailbox = "start = \"new\"\nafter = \"seen\"".to_owned();
    let desk = desk(Plan { mailbox, ..Plan::default() }).await;
    desk.gets(&mail(BOB, "Last year", "Long done.")).await;
    desk.handles(&mail(BOB, "Last month", "Done.")).await;
    assert_eq!(desk.fates().await, [""; 0]);
    desk.handles(&printer()).await;
    is_one_ticket_with_one_acknowledgement(&desk, &["ticketed"]).await;
    let (flags, ..) = on_the_server(&desk).await;
    assert_eq!(flags.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1], "old mail is not even marked");
    desk.close().await;
}

/// Runs `ticketd ingest` as an MTA does, and hands it a mail.
async fn pipe(config: &Path, raw: &[u8], failpoints: &str) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ticketd"));
    command.args(["ingest", "--config"]).arg(config).arg("-").env("FAILPOINTS", failpoints);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("ticketd starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(raw).await.ok();
    drop(stdin);
    child.wait_with_output().await.expect("ticketd ends")
}

/// A desk on a database that other processes can reach, and a configuration for them.
async fn desk_with_pipe(folder: &Path, more: &str) -> Desk {
    let url = postgres::fresh_url().await;
    let db = PgPoolOptions::new().max_connections(8).connect(&url).await.expect("a pool");
    let desk = desk(Plan { db: Some(db), more: more.to_owned(), ..Plan::default() }).await;
    let database = format!("[database]\nurl = \"{url}\"\n{more}\n");
    let imap = Dovecot::shared().imap_port();
    let text = desk::configuration(&desk.user, imap, desk.sink.port(), "", &database);
    std::fs::write(folder.join("ticketd.toml"), text).expect("a configuration");
    desk
}

/// What another process put into the queue, by the system's clock, is done.
async fn settle_by_the_systems_clock(desk: &Desk) {
    let ahead = Clock::system().now() - desk.clock.now();
    desk.later(ahead.max(TimeDelta::zero()) + TimeDelta::seconds(1)).await;
}

#[tokio::test]
async fn a_mail_that_comes_by_pipe_maildir_and_imap_is_one_ticket() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk_with_pipe(folder.path(), "").await;
    let first = printer();
    // An MTA speaks to a pipe and to a Maildir in lines of its own system, with an envelope line or without.
    let local = String::from_utf8(first.raw()).unwrap().replace('\r', "");
    let piped = format!("From ada@example.net Sat Nov 21 09:00:00 2026\n{local}");
    let done = pipe(&folder.path().join("ticketd.toml"), piped.as_bytes(), "").await;
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    settle_by_the_systems_clock(&desk).await;

    let path = folder.path().join("Maildir");
    for part in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(path.join(part)).unwrap();
    }
    std::fs::write(path.join("new/1700000000.M1P1.mx"), local).unwrap();
    let (db, clock) = (desk.db.clone(), desk.clock.clone());
    let mut maildir = Maildir::new(path.clone(), "support".to_owned(), 1_000_000, db, clock);
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 1);
    assert!(path.join("cur/1700000000.M1P1.mx:2,").exists(), "it is filed away once it is safe");
    assert_eq!(maildir::sync_once(&mut maildir).await.unwrap(), 0);
    desk.settle().await;
    desk.handles_raw(&rerouted(&first, "support@example.org")).await;
    is_one_ticket_with_one_acknowledgement(&desk, &["ticketed", "duplicate", "duplicate"]).await;

    // A mail that was read but not moved when the process died is known by its file's name.
    std::fs::rename(path.join("cur/1700000000.M1P1.mx:2,"), path.join("new/1700000000.M1P1.mx:2,S")).unwrap();
    maildir::sync_once(&mut maildir).await.unwrap();
    assert_eq!(desk.fates().await.len(), 3);
    desk.close().await;
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_the_same_by_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk_with_pipe(folder.path(), "[mail]\nmax_message_bytes = 5000").await;
    let large = mail(ADA, "Log", &"It is on fire.\n".repeat(10_000)).raw();
    assert_eq!(pipe(&folder.path().join("ticketd.toml"), &large, "").await.status.code(), Some(0));
    settle_by_the_systems_clock(&desk).await;
    desk.handles_raw(&large).await;
    is_one_ticket_with_one_acknowledgement(&desk, &["ticketed", "duplicate"]).await;
    assert_eq!(desk.count("SELECT max(length(content))::BIGINT FROM raw_mails").await, 5000);
    desk.close().await;
}

#[tokio::test]
async fn the_pipe_says_done_only_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk_with_pipe(folder.path(), "").await;
    let (config, raw) = (folder.path().join("ticketd.toml"), printer().raw());
    // It dies before the commit: nothing is kept, and the MTA is not told that it was.
    let died = pipe(&config, &raw, "receive.before_commit=1*return").await;
    assert_ne!(died.status.code(), Some(0));
    assert_eq!(desk.fates().await, [""; 0]);
    // It dies after the commit: the MTA comes again, and that is one ticket all the same.
    let died = pipe(&config, &raw, "receive.committed=1*return").await;
    assert_ne!(died.status.code(), Some(0));
    assert_eq!(desk.fates().await, ["waiting"]);
    assert_eq!(pipe(&config, &raw, "").await.status.code(), Some(0));
    settle_by_the_systems_clock(&desk).await;
    is_one_ticket_with_one_acknowledgement(&desk, &["ticketed", "duplicate"]).await;
    desk.close().await;
}

#[tokio::test]
async fn the_pipe_has_the_mail_kept_outside_while_it_cannot_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ticketd.toml");
    let socket = folder.path().join("no-socket").display().to_string().replace('/', "%2F");
    let database = format!("[database]\nurl = \"postgres://nobody@{socket}/nothing\"\n");
    let text = desk::configuration("nobody", 1, 1, "", &database);
    std::fs::write(&config, text).unwrap();
    let away = pipe(&config, &printer().raw(), "").await;
    let said = String::from_utf8(away.stderr).unwrap();
    assert_eq!(away.status.code(), Some(75), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "[[mailbox]\n").unwrap();
    assert_eq!(pipe(&broken, &printer().raw(), "").await.status.code(), Some(75), "a mistake loses no mail");
}
