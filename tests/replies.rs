//! Staff's answer leaves once, whatever the mail server does; what does not leave is seen, kept, and can be sent later.

#![expect(clippy::indexing_slicing, reason = "a test that finds nothing where it looks is to fail")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::Row;
use ticketd::config::Config;
use ticketd::deliver::mailer::{Limits, Mailer};
use ticketd::ids::DeliveryId;
use ticketd::people::Role;
use ticketd::queue::{self, Which};
use ticketd::tickets::outbox::{self, Attempt};

use crate::harness::desk::{Desk, SUPPORT};
use crate::harness::mail::{header, mail, text};
use crate::harness::program::{self, ClosedPort, Place};
use crate::harness::smtp::{At, Behaviour, Received, SmtpSink};

const ADA: &str = "Ada <ada@example.net>";

/// A desk where Bea has Ada's ticket #1001, and Ada has her acknowledgement.
async fn desk() -> Desk {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    assert_eq!(desk.sink.mails().len(), 2, "the acknowledgement and the notice");
    desk
}

/// Bea answers, and her time to take it back passes.
async fn bea_replies(desk: &Desk) {
    let bea = desk.logs_in("Bea").await;
    let (status, said) = bea.post("/api/tickets/1001/messages", &json!({"body": "It is on its way."})).await;
    assert_eq!(status, 201, "{said}");
    desk.later(TimeDelta::seconds(10)).await;
}

/// Lets time pass until the next job is due, and does it.
async fn next_try(desk: &Desk) {
    let due = queue::next_due(&desk.db).await.expect("the queue").expect("a job that waits");
    desk.later(due - desk.clock.now()).await;
}

/// Outcome and detail of every attempt at the reply.
async fn attempts(desk: &Desk) -> Vec<(String, String)> {
    let rows = sqlx::query(
        "SELECT a.outcome, a.detail FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id
         WHERE d.kind = 'reply' ORDER BY a.id",
    );
    let rows = rows.fetch_all(&desk.db).await.expect("the attempts");
    rows.iter().map(|r| (r.get(0), r.get(1))).collect()
}

/// The reply as the ticket shows it.
async fn delivery(desk: &Desk) -> Value {
    let (_, ticket) = desk.logs_in("Bea").await.get("/api/tickets/1001").await;
    let all = ticket["deliveries"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|d| d["kind"] == "reply").expect("a reply")
}

/// The delivery events of the ticket's timeline: state and reason.
async fn delivery_events(desk: &Desk) -> Vec<String> {
    let (_, events) = desk.logs_in("Bea").await.get("/api/tickets/1001/events").await;
    let events = events["events"].as_array().cloned().unwrap_or_default();
    let line = |e: &Value| format!("{}: {}", e["data"]["state"], e["data"]["reason"]).replace('"', "");
    events.iter().filter(|e| e["kind"] == "delivery").map(line).collect()
}

/// What Ada got of Bea: every mail after the acknowledgement.
fn replies(desk: &Desk) -> Vec<Received> {
    desk.mails_to("ada@example.net").split_off(1)
}

fn id(received: &Received) -> String {
    header(&received.text(), "Message-ID").expect("a Message-ID")
}

/// A mailer for a mail server with these settings, which waits so long at most.
fn mailer(smtp: &str, patience: Duration) -> anyhow::Result<Mailer> {
    let text = format!("[[mailbox]]\nname = \"support\"\naddress = \"{SUPPORT}\"\n[mailbox.smtp]\n{smtp}");
    let config = Config::parse(&text, BTreeMap::new()).expect("a configuration");
    Mailer::with_limits(&config, Limits { connect: patience, conversation: patience })
}

fn plain(port: u16) -> String {
    format!("host = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n")
}

const SOON: Duration = Duration::from_millis(400);
const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_server_that_refuses_for_a_while_gets_the_mail_once_and_every_attempt_is_kept() {
    for at in [At::Mail, At::Rcpt, At::Data] {
        let desk = desk().await;
        desk.sink.behave(&Behaviour::Refuse(at, 451, "4.7.1 greylisted, come back later".into()));
        bea_replies(&desk).await;
        next_try(&desk).await;
        let before = delivery(&desk).await;
        assert_eq!((&before["state"], &before["attempts"]), (&json!("waiting"), &json!(2)), "{at:?}");
        desk.sink.behave(&Behaviour::Accept);
        next_try(&desk).await;
        let sent = replies(&desk);
        assert_eq!(sent.len(), 1, "{at:?}");
        assert_eq!(
            format!("<{}>", before["rfc_id"].as_str().expect("an id")),
            format!("<{}>", bare(&id(&sent[0])))
        );
        let tries = attempts(&desk).await;
        let outcomes: Vec<_> = tries.iter().map(|(outcome, _)| outcome.as_str()).collect();
        assert_eq!(outcomes, ["temporary", "temporary", "sent"], "{at:?}");
        assert!(
            tries[0].1.contains("451") && tries[0].1.contains("greylisted, come back later"),
            "{tries:?}"
        );
        assert!(tries[2].1.starts_with("250 "), "{tries:?}");
        assert_eq!(delivery(&desk).await["state"], "sent");
        assert_eq!(delivery_events(&desk).await, [""; 0], "nothing happened that people must know");
        desk.close().await;
    }
}

fn bare(id: &str) -> &str {
    id.trim_start_matches('<').trim_end_matches('>')
}

#[tokio::test]
async fn a_server_that_never_says_a_word_is_left_in_time() {
    let mut desk = desk().await;
    desk.app.stages.deliver.mailer = Arc::new(mailer(&plain(desk.sink.port()), SOON).expect("a mailer"));
    desk.sink.behave(&Behaviour::Hang);
    let begun = std::time::Instant::now();
    bea_replies(&desk).await;
    assert!(begun.elapsed() < PATIENT, "{:?}", begun.elapsed());
    let tries = attempts(&desk).await;
    assert_eq!((tries.len(), tries[0].0.as_str()), (1, "network"), "{tries:?}");
    desk.sink.behave(&Behaviour::Accept);
    desk.app.stages.deliver.mailer = Arc::new(mailer(&plain(desk.sink.port()), PATIENT).expect("a mailer"));
    next_try(&desk).await;
    assert_eq!(replies(&desk).len(), 1);
    desk.close().await;
}

#[tokio::test]
async fn a_mail_that_was_perhaps_sent_is_sent_again_as_the_same_mail() {
    for behaviour in [Behaviour::DropAfterData, Behaviour::HangAfterData, Behaviour::DropBeforeData] {
        let mut desk = desk().await;
        desk.app.stages.deliver.mailer =
            Arc::new(mailer(&plain(desk.sink.port()), 3 * SOON).expect("a mailer"));
        desk.sink.behave(&behaviour);
        bea_replies(&desk).await;
        let tries = attempts(&desk).await;
        assert_eq!((tries.len(), tries[0].0.as_str()), (1, "network"), "{behaviour:?}: {tries:?}");
        desk.sink.behave(&Behaviour::Accept);
        desk.app.stages.deliver.mailer =
            Arc::new(mailer(&plain(desk.sink.port()), PATIENT).expect("a mailer"));
        next_try(&desk).await;
        let sent = replies(&desk);
        let copies = if behaviour == Behaviour::DropBeforeData { 1 } else { 2 };
        assert_eq!(sent.len(), copies, "{behaviour:?}");
        assert!(
            sent.iter().all(|copy| copy.raw == sent[0].raw),
            "{behaviour:?}: the second copy is another mail"
        );
        assert_eq!(delivery(&desk).await["state"], "sent", "{behaviour:?}");
        desk.close().await;
    }
}

#[tokio::test]
async fn a_refusal_for_good_is_shown_on_the_ticket_and_can_be_sent_later() {
    let desk = desk().await;
    desk.sink.behave(&Behaviour::Refuse(At::Data, 554, "5.7.1 looks like spam".into()));
    bea_replies(&desk).await;
    assert_eq!(attempts(&desk).await.len(), 1, "5xx is not tried again");
    let failed = delivery(&desk).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().is_some_and(|r| r.contains("5.7.1 looks like spam")), "{failed}");
    let events = delivery_events(&desk).await;
    assert!(
        events.len() == 1 && events[0].starts_with("failed: ") && events[0].contains("554"),
        "{events:?}"
    );
    let dead = queue::list(&desk.db, Which::Failed, 10).await.expect("the dead letters");
    assert_eq!((dead.len(), dead[0].kind.as_str()), (1, "deliver"));
    let error = dead[0].last_error.clone().unwrap_or_default();
    assert!(error.starts_with("the server refused it: ") && error.contains("554"), "{error}");
    assert_eq!(desk.expects_errors().len(), 1, "somebody must act");

    desk.sink.behave(&Behaviour::Accept);
    let first = failed["rfc_id"].as_str().expect("an id").to_owned();
    let place = Place::new();
    let config = place.config(&format!("[database]\nurl = \"{}\"\n", program::url_of(&desk.db)));
    let listed = program::run(&["jobs", "list", "--failed", "--config", &config], "").await;
    let letter: Value = serde_json::from_str(listed.out.trim()).expect("one line of JSON");
    assert_eq!(letter["last_error"].as_str(), Some(error.as_str()));
    let retried = program::run(&["jobs", "retry", "--config", &config, &letter["id"].to_string()], "").await;
    assert_eq!(retried.out, format!("job {} is back at work\n", letter["id"]), "{retried:?}");
    desk.catches_up().await;
    let sent = replies(&desk);
    assert_eq!((sent.len(), bare(&id(&sent[0]))), (1, first.as_str()));
    let healed = delivery(&desk).await;
    assert_eq!((&healed["state"], &healed["reason"]), (&json!("sent"), &Value::Null));
    desk.close().await;
}

#[tokio::test]
async fn what_one_recipient_refuses_the_others_get() {
    let desk = desk().await;
    let answer = mail(ADA, "", "My colleague wants to know, too.").with("Cc", "Carl <carl@example.com>");
    desk.handles(&answer.answering(&desk.last_mail_to("ada@example.net"))).await;
    desk.sink.behave(&Behaviour::RefuseRecipient(
        "carl@example.com".into(),
        550,
        "5.1.1 no such user".into(),
    ));
    bea_replies(&desk).await;
    assert_eq!(replies(&desk).len(), 1);
    assert_eq!(desk.mails_to("carl@example.com").len(), 0);
    let events = delivery_events(&desk).await;
    assert!(events.len() == 1 && events[0].contains("5.1.1 no such user"), "{events:?}");
    assert_eq!(desk.expects_errors().len(), 1);
    let dead = queue::list(&desk.db, Which::Failed, 10).await.expect("the dead letters");
    assert_eq!(dead.len(), 1);
    desk.sink.behave(&Behaviour::Accept);
    assert!(queue::retry(&desk.db, dead[0].id, desk.clock.now()).await.expect("a dead letter"));
    desk.settle().await;
    assert_eq!((replies(&desk).len(), desk.mails_to("carl@example.com").len()), (1, 1));
    desk.close().await;
}

#[tokio::test]
async fn after_five_days_of_refusals_it_is_given_up_and_said() {
    let desk = desk().await;
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 452, "4.2.2 mailbox full".into()));
    bea_replies(&desk).await;
    let begun = desk.clock.now();
    let mut pauses = Vec::new();
    let dead = loop {
        let dead = queue::list(&desk.db, Which::Failed, 10).await.expect("the dead letters");
        if let Some(dead) = dead.into_iter().next() {
            break dead;
        }
        let before = desk.clock.now();
        next_try(&desk).await;
        pauses.push(desk.clock.now() - before);
        assert!(pauses.len() < 250, "it is tried too often");
    };
    let took = desk.clock.now() - begun;
    assert!(
        took >= TimeDelta::days(5) - TimeDelta::minutes(1) && took < TimeDelta::days(5) + TimeDelta::hours(2),
        "{took}"
    );
    assert!(
        pauses[0] < TimeDelta::seconds(7) && pauses.iter().all(|p| *p <= TimeDelta::minutes(75)),
        "{pauses:?}"
    );
    assert!(dead.last_error.is_some_and(|e| e.contains("452") && e.contains("mailbox full")));
    let failed = delivery(&desk).await;
    assert_eq!(failed["state"], "failed");
    let events = delivery_events(&desk).await;
    assert!(events.len() == 1 && events[0].contains("4.2.2 mailbox full"), "{events:?}");
    assert_eq!(desk.expects_errors().len(), 1);
    assert_eq!(desk.count("SELECT count(*) FROM jobs").await, 1, "only the dead letter is left");

    // Who has made room gets it after all.
    desk.sink.behave(&Behaviour::Accept);
    assert!(queue::retry(&desk.db, dead.id, desk.clock.now()).await.expect("a dead letter"));
    desk.settle().await;
    assert_eq!(replies(&desk).len(), 1);
    desk.close().await;
}

async fn send(mailer: &Mailer) -> Attempt {
    let content = b"Subject: Test\r\n\r\nHello\r\n";
    mailer.send("support", SUPPORT, "ada@example.net", "1-reply-1", content).await
}

#[tokio::test]
async fn mail_leaves_over_starttls_or_tls_with_a_login() {
    let sink = SmtpSink::with_login("support", "s3cret");
    let login =
        format!("user = \"support\"\npassword = \"s3cret\"\nca_file = \"{}\"\n", sink.ca_file().display());
    for (tls, port) in [("starttls", sink.port()), ("implicit", sink.tls_port())] {
        let smtp = format!("host = \"localhost\"\nport = {port}\ntls = \"{tls}\"\n{login}");
        let mailer = mailer(&smtp, PATIENT).expect("a mailer");
        let checked = mailer.check("support").await.expect("a check");
        assert_eq!(checked, format!("smtp localhost:{port} answers and takes the login"));
        let sent = send(&mailer).await;
        assert!(matches!(&sent, Attempt::Sent { answer } if answer.starts_with("250 ")), "{tls}: {sent:?}");
        let mails = sink.mails();
        let last = mails.last().expect("a mail");
        assert!(last.tls, "{tls}: it went in the clear");
        assert_eq!(last.user.as_deref(), Some("support"), "{tls}");
    }
    assert_eq!(sink.mails().len(), 2);
}

/// What `doctor` says, what a failed attempt says, and how the attempt counts.
async fn said(smtp: &str, port: u16) -> String {
    let mailer = mailer(smtp, SOON * 5).expect("a mailer");
    let checked = match mailer.check("support").await {
        Ok(said) => said,
        Err(error) => format!("{error:#}"),
    };
    let (kind, tried) = match send(&mailer).await {
        Attempt::Sent { answer } => ("sent", answer),
        Attempt::Temporary { answer } => ("temporary", answer),
        Attempt::Permanent { answer } => ("permanent", answer),
        Attempt::Network { error } => ("network", error),
    };
    assert!(!checked.contains('\n') && !tried.contains('\n'), "one line each: {checked} {tried}");
    format!("{checked}\n{kind}: {tried}").replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn what_is_wrong_with_the_mail_server_is_said_in_one_line_with_the_remedy() {
    let sink = SmtpSink::with_login("support", "s3cret");
    let smtp = |host: &str, port: u16, tls: &str, more: &str| {
        format!("host = \"{host}\"\nport = {port}\ntls = \"{tls}\"\n{more}")
    };
    let ca = format!("ca_file = \"{}\"\n", sink.ca_file().display());
    let login = |password: &str| format!("user = \"support\"\npassword = \"{password}\"\n{ca}");
    let (port, tls_port) = (sink.port(), sink.tls_port());
    let nobody = ClosedPort::take();
    let closed = nobody.port;

    insta::assert_snapshot!(said(&smtp("127.0.0.1", closed, "none", ""), closed).await, @r"
    smtp 127.0.0.1:PORT: nothing listens there: check smtp.host and smtp.port (Connection error: Connection refused (os error 111))
    network: nothing listens there: check smtp.host and smtp.port (Connection error: Connection refused (os error 111))
    ");
    insta::assert_snapshot!(said(&smtp("no-such-host.invalid", 465, "implicit", ""), 465).await, @r"
    smtp no-such-host.invalid:PORT: the name is not known: check smtp.host (Connection error: failed to lookup address information: Name or service not known)
    network: the name is not known: check smtp.host (Connection error: failed to lookup address information: Name or service not known)
    ");
    insta::assert_snapshot!(said(&smtp("localhost", tls_port, "implicit", ""), tls_port).await, @r"
    smtp localhost:PORT: the server's certificate is not trusted: give its authority as smtp.ca_file (Connection error: Connection error: invalid peer certificate: UnknownIssuer)
    network: the server's certificate is not trusted: give its authority as smtp.ca_file (Connection error: Connection error: invalid peer certificate: UnknownIssuer)
    ");
    insta::assert_snapshot!(said(&smtp("localhost", port, "starttls", ""), port).await, @r"
    smtp localhost:PORT: the server's certificate is not trusted: give its authority as smtp.ca_file (Connection error: Connection error: invalid peer certificate: UnknownIssuer)
    network: the server's certificate is not trusted: give its authority as smtp.ca_file (Connection error: Connection error: invalid peer certificate: UnknownIssuer)
    ");
    insta::assert_snapshot!(said(&smtp("localhost", port, "implicit", &ca), port).await, @r#"
    smtp localhost:PORT: the port does not speak TLS at once: is smtp.tls = "starttls" meant? (Connection error: Connection error: received corrupt message of type InvalidContentType)
    network: the port does not speak TLS at once: is smtp.tls = "starttls" meant? (Connection error: Connection error: received corrupt message of type InvalidContentType)
    "#);
    insta::assert_snapshot!(said(&smtp("localhost", tls_port, "starttls", &ca), tls_port).await, @r"
    smtp localhost:PORT: the server says nothing: is it the right port for smtp.tls? (no answer within 2s)
    network: no answer within 2s
    ");
    insta::assert_snapshot!(said(&smtp("localhost", port, "starttls", &login("wrong")), port).await, @r"
    smtp localhost:PORT: the server refused the login: check smtp.user and the password file (with two-factor log-in: an app password) (permanent error (535): 5.7.8 Authentication credentials invalid)
    temporary: the server refused the login: check smtp.user and the password file (with two-factor log-in: an app password) (permanent error (535): 5.7.8 Authentication credentials invalid)
    ");
    insta::assert_snapshot!(said(&smtp("localhost", port, "starttls", &ca), port).await, @r"
    smtp localhost:PORT answers
    temporary: the server wants a login: set smtp.user and smtp.password_file (permanent error (530): 5.7.0 Authentication required)
    ");
    assert_eq!(sink.mails().len(), 0);
    let error =
        mailer(&smtp("mail.example.org", 25, "none", ""), SOON).expect_err("the password in the clear");
    insta::assert_snapshot!(format!("{error:#}"), @r#"mailbox support: smtp.tls = "none" is for loopback addresses only: mail.example.org is none"#);
    let error = mailer(&smtp("localhost", port, "starttls", "ca_file = \"/nonexistent/ca.pem\"\n"), SOON);
    insta::assert_snapshot!(format!("{:#}", error.expect_err("no such file")), @"mailbox support: cannot read smtp.ca_file /nonexistent/ca.pem: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_changed_password_delays_mail_and_loses_none() {
    let mut desk = desk().await;
    let locked = SmtpSink::with_login("support", "new password");
    let login =
        |password: &str| format!("{}user = \"support\"\npassword = \"{password}\"\n", plain(locked.port()));
    desk.app.stages.deliver.mailer = Arc::new(mailer(&login("old password"), PATIENT).expect("a mailer"));
    bea_replies(&desk).await;
    next_try(&desk).await;
    assert_eq!(delivery(&desk).await["state"], "waiting", "the mail is good, the login is not");
    let waiting = queue::list(&desk.db, Which::All, 10).await.expect("the queue");
    let error = waiting[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("check smtp.user and the password file"), "{error}");
    desk.app.stages.deliver.mailer = Arc::new(mailer(&login("new password"), PATIENT).expect("a mailer"));
    next_try(&desk).await;
    assert_eq!(locked.mails().len(), 1);
    assert_eq!(delivery(&desk).await["state"], "sent");
    desk.close().await;
}

#[tokio::test]
async fn a_reply_can_be_taken_back_for_ten_seconds() {
    let desk = desk().await;
    let place = Place::new();
    let config = place.config(&format!("[database]\nurl = \"{}\"\n", program::url_of(&desk.db)));
    let bea = desk.logs_in("Bea").await;
    let (_, written) = bea.post("/api/tickets/1001/messages", &json!({"body": "You fool."})).await;
    let leaves_at: DateTime<Utc> = written["leaves_at"].as_str().expect("a time").parse().expect("a time");
    assert_eq!(leaves_at - desk.clock.now(), TimeDelta::seconds(10));
    desk.later(TimeDelta::seconds(9)).await;

    let listed = program::run(&["jobs", "list", "--config", &config], "").await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let job: Value = serde_json::from_str(listed.out.trim()).expect("one line of JSON");
    assert_eq!(job["kind"], "deliver");
    let cancelled = program::run(&["jobs", "cancel", "--config", &config, &job["id"].to_string()], "").await;
    assert_eq!((cancelled.code, cancelled.err.as_str()), (Some(0), ""), "{cancelled:?}");
    assert_eq!(cancelled.out, format!("job {} is cancelled\n", job["id"]));

    desk.later(TimeDelta::days(6)).await;
    assert_eq!(replies(&desk).len(), 0);
    assert_eq!(delivery(&desk).await["state"], "cancelled");
    assert_eq!(delivery_events(&desk).await, ["cancelled: null"]);
    // What was sent stays sent.
    bea_replies(&desk).await;
    assert_eq!(replies(&desk).len(), 1);
    let again = program::run(&["jobs", "cancel", "--config", &config, &job["id"].to_string()], "").await;
    assert_eq!(again.code, Some(1));
    assert_eq!(again.err, format!("ticketd: there is no job {} (see `ticketd jobs list`)\n", job["id"]));
    desk.close().await;
}

#[tokio::test]
async fn a_reply_that_left_while_it_was_cancelled_is_told_as_sent() {
    let desk = desk().await;
    let bea = desk.logs_in("Bea").await;
    let (status, _) = bea.post("/api/tickets/1001/messages", &json!({"body": "On its way."})).await;
    assert_eq!(status, 201);
    desk.clock.advance(TimeDelta::seconds(10));
    // The server has it, and takes its time to say so.
    desk.sink.behave(&Behaviour::Delay(500));
    let job = queue::claim(&desk.db, desk.clock.now(), 1).await.expect("the queue").pop().expect("the reply");
    let cancels = async {
        desk.sink.wait_for(3).await;
        let mut tx = desk.db.begin().await.expect("a transaction");
        queue::cancel(&mut tx, job.id).await.expect("the queue").expect("the job");
        outbox::cancel(&mut tx, DeliveryId(job.subject), desk.clock.now()).await.expect("the outbox");
        tx.commit().await.expect("a commit");
    };
    tokio::join!(desk.app.stages.run(&job), cancels);
    desk.later(TimeDelta::days(1)).await;
    assert_eq!(replies(&desk).len(), 1);
    assert_eq!(delivery(&desk).await["state"], "sent", "Ada has it, whatever Bea wished");
    let tries = attempts(&desk).await;
    assert_eq!((tries.len(), tries[0].0.as_str()), (1, "sent"), "{tries:?}");
    desk.close().await;
}

#[tokio::test]
async fn every_member_of_staff_has_an_answer_address_of_their_own() {
    let desk = desk().await;
    let bea = header(&desk.last_mail_to("bea@example.org"), "Reply-To").expect("a Reply-To");
    desk.hires("Cem", Role::Moderator, &[("networking", 5)]).await;
    desk.handles(&mail(ADA, "Router", "My router and its firewall do not work.")).await;
    let cem = header(&desk.last_mail_to("cem@example.org"), "Reply-To").expect("a Reply-To");
    let ada = header(&desk.last_mail_to("ada@example.net"), "Reply-To").expect("a Reply-To");
    assert!(
        bea.contains("+t1001.") && cem.contains("+t1002.") && ada.contains("+t1002."),
        "{bea} {cem} {ada}"
    );
    assert!(cem != ada && bea != cem);

    // Cem who got hold of Bea's address speaks for nobody.
    let stolen = mail("Cem <cem@example.org>", "Re: Refund", "No refund for you.").with("To", &bea);
    desk.handles(&stolen).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 2, "only her two acknowledgements");
    let (_, ticket) = desk.logs_in("Bea").await.get("/api/tickets/1001").await;
    let note = ticket["messages"].as_array().and_then(|m| m.last().cloned()).expect("a note");
    assert_eq!((&note["kind"], &note["unverified"]), (&json!("note"), &json!(true)));
    desk.close().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_mailed_to_is_said_at_once() {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    desk.handles(&mail("Ada", "Refund", "I want a refund of my invoice.")).await;
    assert_eq!(desk.tickets().await, 1);
    assert_eq!(desk.sink.mails().len(), 1, "only the notice to Bea");
    bea_replies(&desk).await;
    let failed = delivery(&desk).await;
    assert_eq!(failed["state"], "failed", "{failed}");
    let events = delivery_events(&desk).await;
    insta::assert_snapshot!(events.join("\n"), @"failed: the recipient's address cannot be mailed to: Missing domain or user");
    assert_eq!(desk.sink.mails().len(), 1);
    // It is on the list of what was given up, until somebody has said what is to become of it.
    let dead = queue::list(&desk.db, Which::Failed, 10).await.expect("the dead letters");
    assert_eq!((dead.len(), dead[0].kind.as_str()), (1, "deliver"));
    assert_eq!(desk.expects_errors().len(), 1);
    let place = Place::new();
    let config = place.config(&format!("[database]\nurl = \"{}\"\n", program::url_of(&desk.db)));
    let id = dead[0].id.to_string();
    let cancelled = program::run(&["jobs", "cancel", "--config", &config, &id], "").await;
    assert_eq!(cancelled.out, format!("job {id} is cancelled\n"), "{cancelled:?}");
    assert_eq!(delivery(&desk).await["state"], "cancelled");
    desk.close().await;
}

#[tokio::test]
async fn an_outbox_folder_takes_mails_whole_and_one_that_is_away_is_tried_again() {
    let mut desk = desk().await;
    let place = Place::new();
    // A file where the folder's parent should be.
    let away = place.file("disk", "").join("outbox");
    let text = format!(
        "[[mailbox]]\nname = \"support\"\naddress = \"{SUPPORT}\"\noutbox_dir = \"{}\"\n",
        away.display()
    );
    let config = Config::parse(&text, BTreeMap::new()).expect("a configuration");
    desk.app.stages.deliver.mailer = Arc::new(Mailer::new(&config).expect("a mailer"));
    bea_replies(&desk).await;
    let tries = attempts(&desk).await;
    assert_eq!(tries[0].0, "network");
    assert!(tries[0].1.starts_with("cannot write ") && !tries[0].1.contains('\n'), "{tries:?}");

    std::fs::remove_file(place.path().join("disk")).expect("the file goes");
    next_try(&desk).await;
    let written: Vec<_> =
        std::fs::read_dir(&away).expect("the outbox").flatten().map(|e| e.file_name()).collect();
    assert_eq!(written.len(), 1, "{written:?}");
    let name = written[0].to_string_lossy().into_owned();
    assert!(
        name.starts_with("1001-reply-") && name.rsplit_once('.').is_some_and(|(_, kind)| kind == "eml"),
        "{name}"
    );
    let mail = std::fs::read_to_string(away.join(&name)).expect("a mail");
    assert_eq!(text_of(&mail), "It is on its way.\n\n-- \nBea");
    assert_eq!(delivery(&desk).await["state"], "sent");
    desk.close().await;
}

fn text_of(mail: &str) -> String {
    text(mail).trim().to_owned()
}

#[tokio::test]
async fn a_mail_on_its_way_to_its_ticket_cannot_be_cancelled_with_its_job() {
    let desk = Desk::open().await;
    desk.hires("Bea", Role::Admin, &[]).await;
    let place = Place::new();
    let config = place.config(&format!("[database]\nurl = \"{}\"\n", program::url_of(&desk.db)));
    desk.gets(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    desk.fetches().await;
    let waiting = queue::list(&desk.db, Which::All, 10).await.expect("the queue");
    let id = waiting[0].id.to_string();
    let refused = program::run(&["jobs", "cancel", "--config", &config, &id], "").await;
    assert_eq!(refused.code, Some(1));
    insta::assert_snapshot!(refused.err, @"ticketd: a job of the kind `ingest` cannot be cancelled: what it is about would wait for ever; nothing was cancelled");
    desk.settle().await;
    assert_eq!(desk.tickets().await, 1);
    desk.close().await;
}
