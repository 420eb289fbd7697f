//! Staff work by mail: what proves who they are, commands on the first lines, and mails of customers passed on.

use serde_json::json;
use ticketd::people::Role;
use ticketd::tickets::read::Message;

use crate::harness::desk::{Desk, Plan};
use crate::harness::mail::{Mail, header, mail, text};

const ADA: &str = "Ada <ada@example.net>";
const BEA: &str = "Bea <bea@example.org>";

/// Bea gets what is about networks, Dan the rest.
async fn desk(mailbox: &str) -> Desk {
    let desk = Desk::with(Plan { mailbox: mailbox.to_owned(), ..Plan::default() }).await;
    desk.knows_skills().await;
    desk.hires("Bea", Role::Moderator, &[("networking", 5)]).await;
    desk.hires("Cem", Role::Moderator, &[]).await;
    desk.hires_with("Dan", Role::Admin, &[], Some(1000), false).await;
    desk
}

/// Ada's question, and the notice that Bea got.
async fn ada_asks(desk: &Desk) -> String {
    desk.handles(&mail(ADA, "Router", "My router is on fire: the firewall of the dns.")).await;
    desk.last_mail_to("bea@example.org")
}

async fn last(desk: &Desk, number: i64) -> Message {
    desk.conversation(number).await.pop().expect("a message")
}

#[tokio::test]
async fn staff_is_believed_where_the_trusted_server_vouches_for_them_and_nowhere_else() {
    let desk = desk("authserv_id = \"mx.example.org\"").await;
    let notice = ada_asks(&desk).await;
    let answered = desk.mails_to("ada@example.net").len();
    let refused = [
        None,
        Some("mx.example.org; dmarc=fail header.from=example.org"),
        Some("mx.example.org; spf=pass smtp.mailfrom=bea@example.org"),
        Some("mx.example.org; dkim=pass header.d=example.net; dmarc=none"),
        Some("mx.elsewhere.example; dmarc=pass header.from=example.org"),
        Some("mx.example.org; spf=none smtp.mailfrom=\"x; dmarc=pass header.from=example.org\"@example.net"),
    ];
    for results in refused {
        let forged = mail(BEA, "", "Send me your password.").answering(&notice);
        let forged = match results {
            Some(results) => forged.with("Authentication-Results", results),
            None => forged,
        };
        desk.handles(&forged).await;
        let note = last(&desk, 1001).await;
        assert_eq!((note.kind.as_str(), note.unverified), ("note", true), "{results:?}");
    }
    // The server's own field is above what the mail brought along.
    let ours = "mx.example.org; dmarc=fail header.from=example.org";
    let brought = "mx.example.org; dmarc=pass header.from=example.org";
    let raw = mail(BEA, "", "Send me your password.").answering(&notice).raw();
    let head = format!("Authentication-Results: {ours}\r\nAuthentication-Results: {brought}\r\n");
    desk.handles_raw(&[head.as_bytes(), &raw].concat()).await;
    assert!(last(&desk, 1001).await.unverified);
    assert_eq!(desk.mails_to("ada@example.net").len(), answered, "nothing was sent");
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("the mail server says that its sender is forged"), "{told}");

    for results in [
        "mx.example.org; dmarc=pass header.from=example.org",
        "MX.example.org; dkim=pass header.d=example.org",
    ] {
        let answer =
            mail(BEA, "", "Take the stairs.").answering(&notice).with("Authentication-Results", results);
        desk.handles(&answer).await;
        let reply = last(&desk, 1001).await;
        assert_eq!((reply.kind.as_str(), reply.unverified), ("outbound", false), "{results}");
    }
    assert_eq!(desk.mails_to("ada@example.net").len(), answered + 2);
    desk.close().await;
}

#[tokio::test]
async fn where_no_server_is_trusted_the_signed_address_does_unless_the_mail_failed() {
    let desk = desk("").await;
    let notice = ada_asks(&desk).await;
    let failed = "mx.anywhere.example; dmarc=fail header.from=example.org";
    desk.handles(&mail(BEA, "", "Hm.").answering(&notice).with("Authentication-Results", failed)).await;
    assert!(last(&desk, 1001).await.unverified);
    desk.handles(&mail(BEA, "", "Take the stairs.").answering(&notice)).await;
    assert_eq!(last(&desk, 1001).await.kind, "outbound");
    desk.close().await;
}

#[tokio::test]
async fn commands_on_the_first_lines_are_done_and_are_not_sent() {
    let desk = desk("").await;
    let notice = ada_asks(&desk).await;
    let sent = desk.mails_to("ada@example.net").len();

    let quote = "\n\nOn Sat, Nov 21, 2026 at 10:00 AM Support <support@example.org> wrote:\n";
    let quoted = text(&notice).replace('\n', "\n> ");
    desk.handles(&mail(BEA, "", &format!("#note\n\nHe sounds angry.{quote}{quoted}")).answering(&notice))
        .await;
    let note = last(&desk, 1001).await;
    assert_eq!(
        (note.kind.as_str(), note.unverified, note.visible.as_str()),
        ("note", false, "He sounds angry.")
    );

    desk.handles(&mail(BEA, "", "#priority urgent").answering(&notice)).await;
    assert_eq!(desk.ticket(1001).await.priority, "urgent");
    assert_eq!(desk.mails_to("ada@example.net").len(), sent, "nothing of it was sent");

    desk.handles(&mail(BEA, "", "#resolve\n#priority low\n\nTake the stairs.").answering(&notice)).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.status.as_str(), ticket.priority.as_str()), ("resolved", "low"));
    let answer = text(&desk.last_mail_to("ada@example.net"));
    assert!(answer.starts_with("Take the stairs."), "{answer}");

    desk.handles(&mail(BEA, "", "#status open\n#assign cem").answering(&notice)).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.status.as_str(), ticket.assignee_name.as_deref()), ("open", Some("Cem")));
    let notice = desk.last_mail_to("cem@example.org");
    desk.handles(&mail("cem@example.org", "", "#release").answering(&notice)).await;
    assert_eq!(desk.ticket(1001).await.assignee_name, None);
    desk.handles(&mail("cem@example.org", "", "#claim").answering(&notice)).await;
    assert_eq!(desk.ticket(1001).await.assignee_name.as_deref(), Some("Cem"));
    desk.close().await;
}

#[tokio::test]
async fn of_commands_that_cannot_be_done_nothing_is_done_and_the_author_reads_why() {
    let desk = desk("").await;
    desk.hires("Beatrix", Role::Moderator, &[]).await;
    let notice = ada_asks(&desk).await;
    let sent = desk.mails_to("ada@example.net").len();
    let cases = [
        ("#nite\nHe is rude.", "`#nite` is no command: there are #note, #resolve,"),
        ("#priority low\n#assign nobody\nHello", "no active member of staff is called so"),
        ("#priority low\n#assign beat x\nHello", "no active member of staff is called so"),
        ("#priority low\n#claim\n#status pending\n#resolve now", "stands alone on its line"),
        ("#fwd\nHello", "is for a mail to the support address"),
        ("#note", "there is no note below it"),
    ];
    for (body, why) in cases {
        desk.handles(&mail(BEA, "", body).answering(&notice)).await;
        let note = last(&desk, 1001).await;
        assert_eq!((note.kind.as_str(), note.unverified), ("note", true), "{body}");
        let told = text(&desk.last_mail_to("bea@example.org"));
        assert!(told.contains(why), "{body}: {told}");
        assert_ne!(desk.ticket(1001).await.priority, "low", "{body}");
    }
    assert_eq!(desk.mails_to("ada@example.net").len(), sent);
    // "bea" is Bea, though Beatrix begins with it, too; "b" is both.
    desk.handles(&mail(BEA, "", "#assign b\nHello").answering(&notice)).await;
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("`#assign b` may be Bea or Beatrix: write the address"), "{told}");
    desk.close().await;
}

#[tokio::test]
async fn commands_of_a_stranger_or_a_customer_are_text() {
    let desk = desk("").await;
    let notice = ada_asks(&desk).await;
    let acknowledgement = desk.last_mail_to("ada@example.net");
    desk.handles(&mail(ADA, "", "#resolve\n#assign cem\nPlease").answering(&acknowledgement)).await;
    desk.handles(&mail("mallory@example.com", "", "#resolve\nPlease").answering(&notice)).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.status.as_str(), ticket.assignee_name.as_deref()), ("open", Some("Bea")));
    desk.close().await;
}

const TRUSTED: &str = "authserv_id = \"mx.example.org\"";
const PASS: &str = "mx.example.org; dmarc=pass header.from=example.org";

fn forward(body: &str) -> Mail {
    mail(BEA, "Fwd: The printer", body).with("Authentication-Results", PASS)
}

const COPIED: &str = "#fwd\nShe called twice.\n\n---------- Forwarded message ---------\nFrom: Ada Example <ada@example.net>\n\
    Date: Sat, Nov 21, 2026 at 9:00 AM\nSubject: The printer\nTo: <bea@example.org>\n\n\nMy printer is on fire.\n\nAda";

#[tokio::test]
async fn a_mail_that_staff_passes_on_is_a_ticket_of_whoever_wrote_it() {
    let desk = desk(TRUSTED).await;
    desk.handles(&forward(COPIED)).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.subject.as_str(), ticket.requester_name.as_str()), ("The printer", "Ada Example"));
    assert_eq!(desk.participants(1001).await, [("requester".to_owned(), "ada@example.net".to_owned())]);
    let said = desk.conversation(1001).await;
    let said: Vec<_> = said.iter().map(|m| (m.kind.as_str(), m.visible.as_str())).collect();
    assert_eq!(said, [("inbound", "My printer is on fire.\n\nAda"), ("note", "She called twice.")]);
    let opened = desk.events(1001).await.into_iter().find(|event| event.kind == "opened").expect("an event");
    assert!(opened.data["forwarded_by"].is_number(), "{}", opened.data);

    let acknowledgement = desk.last_mail_to("ada@example.net");
    assert!(!text(&acknowledgement).contains("She called twice"));
    desk.handles(&mail("Ada <ada@example.net>", "", "It burns still.").answering(&acknowledgement)).await;
    assert_eq!((desk.tickets().await, last(&desk, 1001).await.visible.as_str()), (1, "It burns still."));
    desk.close().await;
}

#[tokio::test]
async fn a_mail_that_is_passed_on_as_an_attachment_keeps_its_files_and_its_thread() {
    let desk = desk(TRUSTED).await;
    let inner = "From: Ada <ada@example.net>\nTo: bea@example.org\nSubject: The printer\nMessage-ID: <origin@client.example>\n\
        Date: Sat, 21 Nov 2026 08:00:00 +0000\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=i\n\n\
        --i\nContent-Type: text/plain\n\nMy printer is on fire.\n--i\nContent-Type: image/png; name=fire.png\n\
        Content-Disposition: attachment; filename=fire.png\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--i--\n";
    let body = format!(
        "--o\nContent-Type: text/plain\n\n#fwd\n--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
    );
    desk.handles(&forward(&body).with("Content-Type", "multipart/mixed; boundary=o")).await;
    let said = last(&desk, 1001).await;
    let files: Vec<_> = said.attachments.iter().map(|file| file.filename.as_deref()).collect();
    assert_eq!((said.visible.as_str(), files), ("My printer is on fire.", vec![Some("fire.png")]));
    let acknowledgement = desk.last_mail_to("ada@example.net");
    assert_eq!(header(&acknowledgement, "In-Reply-To").as_deref(), Some("<origin@client.example>"));
    let again = mail(ADA, "Re: The printer", "And the paper.").with("In-Reply-To", "<origin@client.example>");
    desk.handles(&again).await;
    assert_eq!(desk.tickets().await, 1, "what she answers to herself belongs to it");
    desk.close().await;
}

#[tokio::test]
async fn a_mail_that_nobody_can_be_asked_about_is_the_forwarders_ticket() {
    let desk = desk(TRUSTED).await;
    let cases = [
        ("#fwd\nHello", "no mail with the address of its author is in it"),
        (&COPIED.replace("ada@example.net", "cem@example.org"), "who wrote the mail in it is staff, or we"),
        (
            &COPIED.replace("ada@example.net", "support+x@example.org"),
            "who wrote the mail in it is staff, or we",
        ),
    ];
    for (number, (body, why)) in (1001..).zip(cases) {
        desk.handles(&forward(body)).await;
        assert_eq!(desk.ticket(number).await.requester_name, "Bea", "{body}");
        let problems = last(&desk, number).await.problems.unwrap_or_default();
        assert!(problems.contains(&format!("#fwd was not followed: {why}")), "{problems}");
    }
    // From a customer it is text.
    desk.handles(&mail("Eve <eve@example.net>", "Fwd: The printer", COPIED)).await;
    assert_eq!(desk.ticket(1004).await.requester_name, "Eve");
    assert_eq!(desk.mails_to("ada@example.net").len(), 0);
    desk.close().await;
}

#[tokio::test]
async fn a_forward_needs_the_trusted_servers_word_and_from_alone_gives_nothing() {
    let trusting = desk(TRUSTED).await;
    trusting.handles(&forward(COPIED).without("Authentication-Results")).await;
    assert_eq!(trusting.ticket(1001).await.requester_name, "Bea");
    trusting.close().await;

    let desk = desk("").await;
    desk.handles(&forward(COPIED)).await;
    assert_eq!(desk.ticket(1001).await.requester_name, "Bea", "no server is trusted to know");
    let problems = last(&desk, 1001).await.problems.unwrap_or_default();
    assert!(
        problems.contains("#fwd was not followed: it takes authserv_id in the configuration"),
        "{problems}"
    );
    assert_eq!(desk.mails_to("ada@example.net").len(), 0);
    assert_eq!(desk.conversation(1001).await.len(), 1, "and nothing is noted in her name");
    desk.close().await;
}

#[tokio::test]
async fn a_machines_mail_that_is_passed_on_is_not_acknowledged_and_a_forms_answers_who_asked() {
    let desk = desk(TRUSTED).await;
    let attached = |header: &str| {
        let inner = format!(
            "{header}\nTo: bea@example.org\nSubject: Disk full\nMessage-ID: <{}@x>\n\nOn db1.",
            header.len()
        );
        let body = format!(
            "--o\nContent-Type: text/plain\n\n#fwd\n--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
        );
        forward(&body).with("Content-Type", "multipart/mixed; boundary=o")
    };
    desk.handles(&attached("From: nagios@example.net\nAuto-Submitted: auto-generated")).await;
    assert_eq!(last(&desk, 1001).await.sender_class, "auto_reply");
    assert_eq!(desk.mails_to("nagios@example.net").len(), 0);
    desk.handles(&attached("From: support@example.org\nReply-To: Ada <ada@example.net>")).await;
    assert_eq!(desk.ticket(1002).await.requester_name, "Ada");
    desk.handles(&attached("From: Cleo <cleo@example.net>\nReply-To: desk@example.net")).await;
    assert_eq!(desk.participants(1003).await, [("requester".to_owned(), "desk@example.net".to_owned())]);
    desk.close().await;
}

#[tokio::test]
async fn commands_below_the_quoted_notice_are_commands_too() {
    let desk = desk("").await;
    let notice = ada_asks(&desk).await;
    let quoted = text(&notice).replace('\n', "\n> ");
    let below = format!(
        "On Sat, Nov 21, 2026 at 10:00 AM Support <support@example.org> wrote:\n> {quoted}\n\n#assign cem\n#priority low\n"
    );
    desk.handles(&mail(BEA, "", &below).answering(&notice)).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.assignee_name.as_deref(), ticket.priority.as_str()), (Some("Cem"), "low"));
    desk.close().await;
}

#[tokio::test]
async fn staff_in_copy_of_a_ticket_that_was_merged_speaks_for_themselves_still() {
    let desk = desk("").await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.").with("Cc", "cem@example.org")).await;
    desk.handles(&mail(ADA, "Paper", "It burns, too.")).await;
    let dan = desk.logs_in("Dan").await;
    desk.answers(&dan, 1001, "Take the stairs.", false).await;
    let copy = desk.last_mail_to("cem@example.org");
    assert_eq!(dan.post("/api/tickets/1001/merge", &json!({"into": 1002})).await.0, 200);
    desk.handles(&mail("Cem <cem@example.org>", "", "I saw it.").answering(&copy)).await;
    let said = last(&desk, 1002).await;
    assert_eq!((said.kind.as_str(), said.unverified), ("inbound", false));
    desk.close().await;
}
