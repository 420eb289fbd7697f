//! Machines write to us, and we to machines: nothing is lost, and nothing goes round in circles.

use chrono::TimeDelta;
use ticketd::people::Role;

use crate::harness::desk::{Desk, Plan, SUPPORT};
use crate::harness::dovecot::Dovecot;
use crate::harness::mail::{Mail, header, mail, text};
use crate::harness::program::{self, Place};

const ADA: &str = "Ada <ada@example.net>";
const ROBOT: &str = "robot@example.net";

async fn desk() -> Desk {
    let desk = Desk::open().await;
    desk.hires_with("Bea", Role::Admin, &[], Some(1000), false).await;
    desk
}

fn with(mail: Mail, headers: &[(&str, &str)]) -> Mail {
    headers.iter().fold(mail, |mail, (name, value)| mail.with(name, value))
}

#[tokio::test]
async fn what_a_machine_writes_opens_a_ticket_and_is_never_answered() {
    let desk = desk().await;
    let machines: &[&[(&str, &str)]] = &[
        &[("Auto-Submitted", "auto-generated")],
        &[("Auto-Submitted", "auto-replied (vacation)")],
        &[("Auto-Submitted", "auto-notified; owner-email=x@example.net")],
        &[("Precedence", "bulk")],
        &[("Precedence", "junk")],
        &[("Precedence", "list")],
        &[("Precedence", "auto_reply")],
        &[("List-Id", "Users <users.example.net>")],
        &[("Return-Path", "<>")],
        &[("X-Autoreply", "yes")],
        &[("X-Autorespond", "x")],
        &[("X-Auto-Response-Suppress", "All"), ("X-MS-Exchange-Inbox-Rules-Loop", "robot@example.net")],
        &[("Subject", "Out of Office: on holiday")],
        &[("Subject", "Automatische Antwort: Urlaub")],
        &[("Content-Type", "multipart/report; report-type=disposition-notification; boundary=b")],
        &[("Content-Type", "multipart/report; report-type=feedback-report; boundary=b")],
    ];
    for headers in machines {
        desk.handles(&with(mail(ROBOT, "Disk 90 % full", "On host db1."), headers)).await;
        assert_eq!(desk.fates().await.last().map(String::as_str), Some("ticketed"), "{headers:?}");
    }
    assert_eq!(desk.mails_to("bea@example.org").len(), machines.len(), "staff hears of each");
    // A mail system speaks of mails that did not arrive; where none of ours is meant there is nobody to tell.
    for from in ["MAILER-DAEMON@example.net", "Mailer-Daemon <>"] {
        desk.handles(&mail(from, "Undeliverable mail", "Your message could not be delivered.")).await;
        assert_eq!(desk.fates().await.last().map(String::as_str), Some("suppressed"), "{from}");
    }
    let to_others = desk.sink.mails().into_iter().filter(|m| m.rcpt_to != ["bea@example.org"]);
    assert_eq!(to_others.map(|m| m.text()).collect::<Vec<_>>(), [""; 0]);
    desk.close().await;
}

#[tokio::test]
async fn a_person_whose_mail_asks_for_silence_gets_silence_and_is_a_person() {
    let desk = desk().await;
    let quiet = mail(ADA, "Printer", "It is on fire.").with("X-Auto-Response-Suppress", "DR, OOF, AutoReply");
    desk.handles(&quiet).await;
    assert_eq!(desk.fates().await, ["ticketed"]);
    assert_eq!(desk.mails_to("ada@example.net").len(), 0);
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", true).await;
    let answer = desk.last_mail_to("ada@example.net");
    let again = mail(ADA, "", "Which?").answering(&answer).with("X-Auto-Response-Suppress", "All");
    desk.handles(&again).await;
    assert_eq!(desk.ticket(1001).await.status, "open", "her answer reopens it");
    desk.close().await;
}

#[tokio::test]
async fn a_monitoring_mail_is_assigned_like_any_other() {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    desk.hires("Nils", Role::Moderator, &[("networking", 4)]).await;
    let alarm = mail("nagios@example.net", "PROBLEM: router r1 is DOWN", "The router r1 does not answer.");
    desk.handles(&with(alarm, &[("Auto-Submitted", "auto-generated"), ("Precedence", "bulk")])).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.assignee_name.as_deref(), ticket.status.as_str()), (Some("Nils"), "open"));
    assert_eq!(desk.conversation(1001).await[0].sender_class, "auto_reply");
    assert_eq!(desk.mails_to("nagios@example.net").len(), 0);
    desk.close().await;
}

/// A delivery status notification (RFC 3464) about `sent`, with its header.
fn report(sent: &str, action: &str, status: &str) -> Mail {
    let original = sent.split("\r\n\r\n").next().unwrap_or_default().replace('\r', "");
    let body = format!(
        "--b\nContent-Type: text/plain\n\nThis is the mail system at host mx.example.net.\n\n\
         <ada@example.net>: host mail.example.net said: {status} (in reply to RCPT TO)\n\n\
         --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
         Final-Recipient: rfc822; ada@example.net\nAction: {action}\nStatus: {status}\n\
         Diagnostic-Code: smtp; 550 {status} said so\n\n\
         --b\nContent-Type: text/rfc822-headers\n\n{original}\n\n--b--\n"
    );
    let from = "Mail Delivery System <MAILER-DAEMON@mx.example.net>";
    let headers = [
        ("Return-Path", "<>"),
        ("Auto-Submitted", "auto-replied"),
        ("Content-Type", "multipart/report; report-type=delivery-status; boundary=b"),
    ];
    with(mail(from, "Undelivered Mail Returned to Sender", &body), &headers)
}

/// State of the deliveries to Ada, oldest first.
async fn states(desk: &Desk) -> Vec<String> {
    let all = desk.deliveries(1001).await.into_iter();
    all.filter(|delivery| delivery.address == "ada@example.net").map(|delivery| delivery.state).collect()
}

#[tokio::test]
async fn a_bounce_is_shown_at_the_mail_it_speaks_of() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    let [acknowledgement, answer] = desk.mails_to("ada@example.net").try_into().unwrap();
    let (status, sent) = (desk.ticket(1001).await.status, desk.sink.mails().len());
    let told = desk.mails_to("bea@example.org").len();

    desk.handles(&report(&answer.text(), "delayed", "4.4.1")).await;
    assert_eq!(states(&desk).await, ["sent", "delayed"]);
    desk.handles(&report(&answer.text(), "failed", "5.1.1")).await;
    assert_eq!(states(&desk).await, ["sent", "bounced"]);
    // A late word of an earlier try does not make it better.
    desk.handles(&report(&answer.text(), "delayed", "4.4.2")).await;
    assert_eq!(states(&desk).await, ["sent", "bounced"]);
    desk.handles(&report(&acknowledgement.text(), "failed", "5.2.1")).await;
    assert_eq!(states(&desk).await, ["bounced", "bounced"]);

    let reasons: Vec<_> = desk.deliveries(1001).await.into_iter().filter_map(|d| d.reason).collect();
    assert_eq!(reasons, ["5.2.1", "5.1.1"]);
    let seen: Vec<_> = desk.events(1001).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(seen.iter().filter(|kind| *kind == "bounced").count(), 2, "{seen:?}");
    assert_eq!(seen.iter().filter(|kind| *kind == "delayed").count(), 1, "{seen:?}");
    assert_eq!(desk.tickets().await, 1, "a bounce opens nothing");
    assert_eq!(desk.conversation(1001).await.len(), 2, "and is no message");
    assert_eq!(desk.ticket(1001).await.status, status);
    assert_eq!(
        desk.mails_to("bea@example.org").len(),
        told + 1,
        "who answered is told that it did not arrive"
    );
    assert_eq!(desk.sink.mails().len(), sent + 1, "and is not answered");
    assert_eq!(desk.fates().await.split_off(1), ["suppressed"; 4]);
    desk.close().await;
}

#[tokio::test]
async fn a_bounce_that_names_the_mail_in_its_header_only_is_understood_too() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let acknowledgement = desk.last_mail_to("ada@example.net");
    // To the signed address, which names the ticket but no delivery; the Message-ID names both.
    let bounce = report("Subject: nothing of the original\r\n\r\n", "failed", "5.1.1");
    desk.handles(&bounce.answering(&acknowledgement).with("Subject", "failure notice")).await;
    assert_eq!(states(&desk).await, ["bounced"]);
    desk.close().await;
}

#[tokio::test]
async fn a_bounce_that_is_none_changes_nothing() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let acknowledgement = desk.last_mail_to("ada@example.net");
    // It did arrive.
    desk.handles(&report(&acknowledgement, "delivered", "2.1.5")).await;
    assert_eq!(states(&desk).await, ["sent"]);
    // Somebody made up a Message-ID of ours, and somebody bounces a mail that is not ours.
    let id = header(&acknowledgement, "Message-ID").unwrap();
    let forged = acknowledgement.replace(&id, &id.replace(".p", ".p1"));
    assert_ne!(forged, acknowledgement);
    desk.handles(&report(&forged, "failed", "5.1.1")).await;
    desk.handles(&report("Message-ID: <1@elsewhere.example>\r\n\r\n", "failed", "5.1.1")).await;
    assert_eq!(states(&desk).await, ["sent"]);
    assert_eq!(desk.fates().await, ["ticketed", "suppressed", "suppressed", "suppressed"]);
    assert_eq!(desk.tickets().await, 1);
    desk.close().await;
}

#[tokio::test]
async fn our_own_mail_that_comes_back_is_dropped_with_a_word() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    let sent = desk.sink.mails();
    assert_eq!(sent.len(), 3, "acknowledgement, notice, answer");
    for ours in &sent {
        desk.handles_raw(&ours.raw).await;
        // A forwarder that gives it a new id and a new sender leaves the loop header.
        let id = header(&ours.text(), "Message-ID").unwrap();
        let rewritten = ours
            .text()
            .replace(&id, "<1@forwarder.example>")
            .replace("support@example.org>", "f@forwarder.example>");
        assert_ne!(rewritten, ours.text());
        desk.handles_raw(rewritten.as_bytes()).await;
    }
    assert_eq!(desk.fates().await.split_off(1), ["suppressed"; 6]);
    assert!(desk.reasons().await.iter().skip(1).all(|why| why == "a mail of ours that came back"));
    assert_eq!(desk.sink.mails().len(), 3);
    // The loop header of another desk is not ours.
    desk.handles(
        &mail("other@desk.example", "Hello", "We are a desk.").with("X-Ticketd-Loop", "aaaaaaaaaaaaaaaa"),
    )
    .await;
    assert_eq!(desk.tickets().await, 2);
    desk.close().await;
}

/// Only what we signed is ours: a mail system that lets others write in our name must not make their mail vanish.
#[tokio::test]
async fn a_mail_in_our_own_name_is_kept_and_never_answered() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let signed = header(&desk.last_mail_to("ada@example.net"), "Reply-To").unwrap();
    for (count, from) in
        [SUPPORT, "SUPPORT@Example.ORG", "Support <support@example.org>", "support+x@example.org", &signed]
            .into_iter()
            .enumerate()
    {
        desk.handles(&mail(from, "Re: [#1001] Printer", &format!("I am {from}."))).await;
        assert_eq!(desk.fates().await.last().map(String::as_str), Some("ticketed"), "{from}");
        assert_eq!(desk.mails_to("bea@example.org").len(), count + 2, "{from}: staff is told");
    }
    let to_others = desk.sink.mails().into_iter().filter(|m| m.rcpt_to != ["bea@example.org"]);
    assert_eq!(to_others.count(), 1, "Ada's acknowledgement");
    assert_eq!((desk.conversation(1001).await.len(), desk.participants(1001).await.len()), (1, 1));
    desk.close().await;
}

#[tokio::test]
async fn a_form_that_writes_in_our_name_opens_a_ticket_of_whom_it_says_to_answer() {
    let desk = desk().await;
    let form = mail("Website <support@example.org>", "Question", "How late are you open?");
    desk.handles(&form.with("Reply-To", ADA)).await;
    assert_eq!(desk.ticket(1001).await.requester_name, "Ada");
    assert_eq!(desk.participants(1001).await, [("requester".to_owned(), "ada@example.net".to_owned())]);
    assert_eq!(desk.mails_to("ada@example.net").len(), 0, "nobody has proved that she asked");
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("How late are you open?") && told.contains("in our own name"), "{told}");
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Till six.", false).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Till six."));
    // It says nothing for staff.
    let notice = desk.last_mail_to("bea@example.org");
    let forged = mail(SUPPORT, "", "All are fired.").with("Reply-To", "bea@example.org").answering(&notice);
    let before = desk.mails_to("ada@example.net").len();
    desk.handles(&forged).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), before);
    desk.close().await;
}

#[tokio::test]
async fn ten_acknowledgements_an_hour_are_enough_for_one_address() {
    let desk = desk().await;
    for count in 1..=11 {
        desk.handles(&mail(ADA, &format!("Alarm {count}"), "It is on fire.")).await;
    }
    assert_eq!(desk.mails_to("ada@example.net").len(), 10);
    assert_eq!(desk.tickets().await, 11, "every mail has its ticket");
    let delivery = desk.deliveries(1011).await.remove(0);
    assert_eq!((delivery.kind.as_str(), delivery.state.as_str()), ("acknowledgement", "suppressed"));
    let seen = desk.events(1011).await.into_iter().find(|event| event.kind == "delivery").unwrap();
    assert_eq!(seen.data["state"], "suppressed", "staff sees it on the ticket");
    assert!(seen.data["reason"].as_str().unwrap().contains("automatic mails"), "{}", seen.data);
    // Others are not held up by it.
    desk.handles(&mail("Bob <bob@example.net>", "Question", "Where is the fire?")).await;
    assert_eq!(desk.mails_to("bob@example.net").len(), 1);
    // Staff's answer is no automatic mail.
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1011, "Take the stairs.", false).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Take the stairs."));

    // The bucket fills evenly: one mail in six minutes.
    desk.later(TimeDelta::minutes(5)).await;
    desk.handles(&mail(ADA, "Alarm 12", "Still.")).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 11, "Bea's answer, and nothing automatic");
    desk.later(TimeDelta::minutes(2)).await;
    desk.handles(&mail(ADA, "Alarm 13", "Still.")).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 12);
    desk.close().await;
}

type Gateway = fn(&str) -> String;

const OTHER: &str = "helpdesk@example.com";

/// Carries what each desk sent to the other until nothing is sent any more, and counts it. `gateway` is what the
/// mails go through.
async fn mails_between(one: &Desk, other: &Desk, gateway: Gateway) -> usize {
    let (mut there, mut back) = (0, 0);
    for _ in 0..20 {
        let before = (there, back);
        for (carried, from, to, address) in
            [(&mut there, one, other, OTHER), (&mut back, other, one, SUPPORT)]
        {
            let (local, domain) = address.split_once('@').expect("an address");
            let is_for = |to: &String| to.starts_with(local) && to.ends_with(domain);
            let sent: Vec<_> =
                from.sink.mails().into_iter().filter(|m| m.rcpt_to.iter().any(is_for)).collect();
            for mail in sent.iter().skip(*carried) {
                Dovecot::shared().append(&to.user, "INBOX", gateway(&mail.text())).await;
            }
            *carried = sent.len();
            to.fetches().await;
            to.settle().await;
        }
        if (there, back) == before {
            return there + back;
        }
    }
    panic!("they are still writing to each other")
}

#[tokio::test]
async fn two_desks_that_write_to_each_other_die_down_at_once() {
    let strips = |mail: &str| -> String {
        let automatic = |line: &&str| !line.starts_with("Auto-Submitted:") && !line.starts_with("X-");
        mail.split("\r\n").filter(automatic).collect::<Vec<_>>().join("\r\n")
    };
    let gateways: [(Gateway, usize); 2] = [(str::to_owned, 1), (strips, 2)];
    for (gateway, expected) in gateways {
        let one = desk().await;
        let other = Desk::with(Plan { address: Some(OTHER), ..Plan::default() }).await;
        other.hires("Cem", Role::Admin, &[]).await;
        one.handles(&mail(OTHER, "Your invoice", "Please find it attached.")).await;
        assert_eq!(mails_between(&one, &other, gateway).await, expected);
        assert_eq!((one.tickets().await, other.tickets().await), (1, 1));

        // People behind the desks can still talk.
        let api = one.logs_in("Bea").await;
        one.answers(&api, 1001, "Thank you.", false).await;
        assert_eq!(mails_between(&one, &other, gateway).await, expected + 1);
        let api = other.logs_in("Cem").await;
        other.answers(&api, 1001, "You are welcome.", false).await;
        assert_eq!(mails_between(&one, &other, gateway).await, expected + 2);
        assert_eq!((one.tickets().await, other.tickets().await), (1, 1));
        other.close().await;
        one.close().await;
    }
}

#[tokio::test]
async fn an_address_that_bounced_is_left_alone_until_it_writes_again_and_staff_is_told() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    desk.handles(&report(&desk.last_mail_to("ada@example.net"), "failed", "5.1.1")).await;
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("did not reach ada@example.net") && told.contains("5.1.1"), "{told}");

    desk.answers(&api, 1001, "Are you there?", false).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 2);
    assert_eq!(states(&desk).await, ["sent", "bounced", "suppressed"]);
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("did not reach ada@example.net") && told.contains("came back"), "{told}");
    // Others are written to as ever.
    desk.handles(&mail("Bob <bob@example.net>", "Question", "Where is the fire?")).await;
    assert_eq!(desk.mails_to("bob@example.net").len(), 1);

    desk.later(TimeDelta::minutes(1)).await;
    desk.handles(&mail(ADA, "[#1001] Printer", "I have my address back.")).await;
    desk.answers(&api, 1001, "Good.", false).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Good."));
    desk.close().await;
}

#[tokio::test]
async fn a_person_can_have_a_mail_sent_after_all() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    desk.handles(&report(&desk.last_mail_to("ada@example.net"), "failed", "5.2.1")).await;
    desk.answers(&api, 1001, "Are you there?", false).await;
    let place = Place::new();
    let config = place.config(&format!("[database]\nurl = \"{}\"\n", program::url_of(&desk.db)));
    let listed = program::run(&["deliveries", "list", "--config", &config], "").await;
    let lines: Vec<serde_json::Value> =
        listed.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let states: Vec<_> = lines.iter().filter_map(|line| line["state"].as_str()).collect();
    assert_eq!(states, ["bounced", "suppressed"], "{listed:?}");
    for line in &lines {
        let id = line["id"].to_string();
        let retried = program::run(&["deliveries", "retry", "--config", &config, &id], "").await;
        assert_eq!(retried.out, format!("delivery {id} will be tried again\n"), "{retried:?}");
        desk.catches_up().await;
    }
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Are you there?"));
    assert_eq!(self::states(&desk).await, ["sent"; 3]);
    let again = program::run(&["deliveries", "retry", "--config", &config, "1"], "").await;
    assert_eq!(again.code, Some(1));
    assert_eq!(
        again.err,
        "ticketd: there is no delivery 1 that was not sent (see `ticketd deliveries list`)\n"
    );
    desk.close().await;
}
