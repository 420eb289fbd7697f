//! Which ticket a mail belongs to.

use chrono::TimeDelta;
use ticketd::ids::TicketId;
use ticketd::mail::token::Token;
use ticketd::people::Role;
use ticketd::queue;
use ticketd::tickets::Status;

use crate::harness::desk::{Api, Desk, Plan};
use crate::harness::mail::{Mail, header, mail, text};

const ADA: &str = "Ada <ada@example.net>";
const BOB: &str = "Bob <bob@example.net>";
const EVE: &str = "Eve <eve@example.com>";

/// Ada's first mail, and what she got for it.
async fn ada_writes(desk: &Desk) -> (Mail, String) {
    let first = mail(ADA, "Printer", "Hello,\n\nthe printer is on fire.\n\nAda");
    desk.handles(&first).await;
    let acknowledgement = desk.last_mail_to("ada@example.net");
    (first, acknowledgement)
}

/// A desk with Bea, who has every ticket.
async fn desk_of_bea() -> Desk {
    let desk = Desk::open().await;
    desk.hires("Bea", Role::Admin, &[]).await;
    desk
}

/// The same, and Bea is at the API.
async fn desk_and_api() -> (Desk, Api) {
    let desk = desk_of_bea().await;
    let api = desk.logs_in("Bea").await;
    (desk, api)
}

fn id_of(mail: &Mail) -> String {
    mail.header("Message-ID").expect("an id").to_owned()
}

fn part(part: &str, address: &str) -> (String, String) {
    (part.to_owned(), address.to_owned())
}

#[tokio::test]
async fn a_stranger_who_only_knows_the_number_gets_a_ticket_of_his_own() {
    let desk = desk_of_bea().await;
    ada_writes(&desk).await;
    desk.handles(&mail(EVE, "Re: [#1001] Printer", "What did she tell you?")).await;

    assert_eq!(desk.fates().await, ["ticketed", "ticketed"]);
    assert_eq!(desk.ticket(1002).await.related_to, Some(TicketId(1001)));
    assert_eq!(desk.conversation(1001).await.len(), 1);
    assert_eq!(desk.participants(1001).await, [part("requester", "ada@example.net")]);
    let notice = text(&desk.last_mail_to("bea@example.org"));
    assert!(notice.contains("possibly #1001"), "{notice}");
    desk.close().await;
}

#[tokio::test]
async fn a_participant_with_only_the_number_joins() {
    let desk = desk_of_bea().await;
    ada_writes(&desk).await;
    desk.handles(&mail("ADA@Example.NET", "AW: [#1001] Printer", "It is out now.")).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended"]);
    assert_eq!(desk.mails_to("ada@example.net").len(), 1);
    // A number that no ticket has names nothing.
    desk.handles(&mail(ADA, "[#4711] Scanner", "It is on fire too.")).await;
    assert_eq!(desk.ticket(1002).await.related_to, None);
    desk.close().await;
}

#[tokio::test]
async fn a_stranger_who_holds_the_signed_address_joins_and_gets_the_answers() {
    let (desk, api) = desk_and_api().await;
    let (_, acknowledgement) = ada_writes(&desk).await;
    let signed = header(&acknowledgement, "Reply-To").unwrap();
    assert!(signed.starts_with("support+t1001."), "{signed}");
    desk.handles(&mail(BOB, "It burns", "I am a colleague of Ada's.").with("To", &signed)).await;

    assert_eq!(desk.fates().await, ["ticketed", "appended"]);
    let both = [part("joined", "bob@example.net"), part("requester", "ada@example.net")];
    assert_eq!(desk.participants(1001).await, both);
    assert_eq!(desk.mails_to("bob@example.net").len(), 0, "who joins is not acknowledged");
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    for person in ["ada@example.net", "bob@example.net"] {
        assert!(text(&desk.last_mail_to(person)).starts_with("Take the stairs."), "{person}");
    }
    desk.close().await;
}

#[tokio::test]
async fn the_signed_address_counts_wherever_the_mail_server_names_it() {
    let desk = desk_of_bea().await;
    let (_, acknowledgement) = ada_writes(&desk).await;
    let signed = header(&acknowledgement, "Reply-To").unwrap();
    for field in ["To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To"] {
        let other = mail(BOB, field, "I was sent this.").with("To", "undisclosed-recipients:;");
        desk.handles(&other.with(field, &format!("<{}>", signed.to_uppercase()))).await;
    }
    assert_eq!(desk.fates().await, ["ticketed", "appended", "appended", "appended", "appended", "appended"]);
    assert_eq!(desk.participants(1001).await.len(), 2, "our own address takes part in nothing");
    desk.close().await;
}

#[tokio::test]
async fn a_forged_or_altered_signature_opens_no_ticket_but_its_own() {
    let desk = desk_of_bea().await;
    let (_, acknowledgement) = ada_writes(&desk).await;
    ada_writes(&desk).await;
    let signed = header(&acknowledgement, "Reply-To").unwrap();
    let id = header(&acknowledgement, "Message-ID").unwrap();
    let (local, domain) = signed.split_once('@').unwrap();
    let last = local.chars().last().unwrap();
    let altered =
        format!("{}{}@{domain}", local.strip_suffix(last).unwrap(), if last == 'a' { 'b' } else { 'a' });
    let addresses = [
        altered,
        signed.replace("t1001.", "t1002."),
        format!("{}@{domain}", local.replace('.', "")),
        format!("support+t1001@{domain}"),
        signed.replace("example.org", "example.com"),
    ];
    for address in &addresses {
        desk.handles(&mail(EVE, "Printer", "Let me in.").with("To", address)).await;
    }
    let forged = id.replace("t1001.", "t1002.");
    assert_ne!(forged, id);
    desk.handles(&mail(EVE, "Printer", "Let me in by the id.").with("In-Reply-To", &forged)).await;

    assert!(desk.fates().await.iter().all(|fate| fate == "ticketed"), "{:?}", desk.fates().await);
    for number in [1001, 1002] {
        assert_eq!(desk.participants(number).await, [part("requester", "ada@example.net")]);
    }
    desk.close().await;
}

#[tokio::test]
async fn a_valid_signature_of_a_ticket_that_is_gone_opens_a_new_one() {
    let desk = desk_of_bea().await;
    let bea = desk.hires("Bea", Role::Admin, &[]).await;
    for (person, from) in [(None, ADA), (Some(bea), "Bea <bea@example.org>")] {
        let token = Token { ticket: TicketId(4711), delivery: None, person };
        let address = desk.app.signer.address(&token, "support@example.org");
        desk.handles(&mail(from, "Re: [#4711] Old matter", "Is it done?").with("To", &address)).await;
    }
    assert_eq!(desk.fates().await, ["ticketed", "ticketed"]);
    assert_eq!(desk.ticket(1001).await.related_to, None);
    desk.close().await;
}

#[tokio::test]
async fn our_message_id_alone_is_enough_whatever_became_of_address_and_subject() {
    let desk = desk_of_bea().await;
    let (_, acknowledgement) = ada_writes(&desk).await;
    let ours = header(&acknowledgement, "Message-ID").unwrap();
    desk.handles(&mail(ADA, "Something else", "By In-Reply-To.").with("In-Reply-To", &ours)).await;
    let references = format!("<unknown@elsewhere.example> {ours}");
    desk.handles(&mail(BOB, "And again", "By References.").with("References", &references)).await;
    // Some gateways fold the case of what they do not understand.
    desk.handles(&mail(ADA, "Loud", "IN CAPITALS").with("In-Reply-To", &ours.to_uppercase())).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended", "appended", "appended"]);
    desk.close().await;
}

#[tokio::test]
async fn a_customers_answer_to_her_own_mail_joins() {
    let desk = desk_of_bea().await;
    let (first, _) = ada_writes(&desk).await;
    desk.handles(&mail(ADA, "PS", "I forgot to say: it is a laser.").with("In-Reply-To", &id_of(&first)))
        .await;
    assert_eq!(desk.fates().await, ["ticketed", "appended"]);
    desk.close().await;
}

#[tokio::test]
async fn mails_that_name_the_same_unknown_ancestor_are_one_ticket() {
    let desk = desk_of_bea().await;
    let references = "<root@elsewhere.example> <between@elsewhere.example>";
    desk.handles(&mail(ADA, "Printer", "As I told Bob.").with("References", references)).await;
    desk.handles(&mail(BOB, "Fire", "As Ada told me.").with("References", "<root@elsewhere.example>")).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended"]);
    desk.close().await;
}

#[tokio::test]
async fn an_answer_that_overtakes_its_question_is_one_ticket_with_it() {
    let desk = desk_of_bea().await;
    let first = mail(ADA, "Printer", "It is on fire.");
    let second = mail(ADA, "More", "It is out.").with("References", &id_of(&first));
    desk.handles(&second).await;
    desk.handles(&first).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended"]);
    assert_eq!(desk.mails_to("ada@example.net").len(), 1, "one acknowledgement");
    desk.close().await;
}

#[tokio::test]
async fn two_mails_of_one_thread_at_the_same_moment_are_one_ticket() {
    let desk = desk_of_bea().await;
    for round in 1..=25 {
        let first = mail(ADA, &format!("Printer {round}"), "It is on fire.");
        let second = mail(BOB, "More", "It is out.").with("In-Reply-To", &id_of(&first));
        let pair = if round % 2 == 0 { [&first, &second] } else { [&second, &first] };
        for one in pair {
            desk.gets(one).await;
        }
        desk.fetches().await;
        let jobs = queue::claim(&desk.db, desk.clock.now(), 2).await.unwrap();
        let [one, other] = jobs.as_slice() else { panic!("two mails wait: {jobs:?}") };
        tokio::join!(desk.app.stages.run(one), desk.app.stages.run(other));
        // Who lost the race looks again a moment later.
        desk.later(TimeDelta::seconds(1)).await;
        assert_eq!(desk.tickets().await, round);
        assert_eq!(desk.count("SELECT count(*) FROM messages").await, 2 * round);
    }
    desk.close().await;
}

#[tokio::test]
async fn who_is_copied_takes_part_and_gets_the_answers_and_we_never_do() {
    let more = r#"
        [[mailbox]]
        name = "sales"
        address = "Sales@example.org"
        outbox_dir = "/nonexistent"
    "#;
    let desk = Desk::with(Plan { more: more.to_owned(), ..Plan::default() }).await;
    desk.hires("Bea", Role::Admin, &[]).await;
    let api = desk.logs_in("Bea").await;
    let copies = "Bob <Bob@Example.net>, Support <SUPPORT@example.org>, support+t1.x@example.org, \
                  sales@example.org, Ada <ada@example.net>, not an address, \"Bob again\" <bob@example.net>";
    desk.handles(&mail(ADA, "Printer", "It is on fire.").with("Cc", copies)).await;
    let both = [part("cc", "bob@example.net"), part("requester", "ada@example.net")];
    assert_eq!(desk.participants(1001).await, both);
    assert_eq!(desk.mails_to("bob@example.net").len(), 0, "only who writes is acknowledged");

    desk.answers(&api, 1001, "Take the stairs.", false).await;
    let copy = desk.last_mail_to("bob@example.net");
    assert!(text(&copy).starts_with("Take the stairs."));
    desk.handles(&mail(BOB, "", "Which stairs?").answering(&copy)).await;
    assert_eq!(desk.participants(1001).await, both, "Bob was there already");
    let to_us = desk
        .sink
        .mails()
        .into_iter()
        .flat_map(|m| m.rcpt_to)
        .filter(|to| to.to_lowercase().starts_with("support") || to.to_lowercase().starts_with("sales"));
    assert_eq!(to_us.count(), 0, "we wrote to ourselves");
    desk.close().await;
}

#[tokio::test]
async fn answers_go_to_reply_to_but_the_author_is_from() {
    let (desk, api) = desk_and_api().await;
    let first = mail(ADA, "Printer", "It is on fire.").with("Reply-To", "Office <office@example.net>");
    desk.handles(&first).await;
    assert_eq!(desk.mails_to("office@example.net").len(), 1, "the acknowledgement");
    assert_eq!(desk.ticket(1001).await.requester_name, "Ada");
    let message = desk.conversation(1001).await.remove(0);
    assert_eq!(message.author_address.as_deref(), Some("ada@example.net"));
    assert_eq!(message.reply_to.as_deref(), Some("office@example.net"), "it is shown where it differs");
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    assert!(text(&desk.last_mail_to("office@example.net")).starts_with("Take the stairs."));
    assert_eq!(desk.mails_to("ada@example.net").len(), 0);

    // The address that answers go to is nobody's identity.
    desk.handles(&mail("office@example.net", "[#1001] Printer", "What about it?")).await;
    assert_eq!(desk.ticket(1002).await.related_to, Some(TicketId(1001)));
    desk.close().await;
}

#[tokio::test]
async fn equal_subjects_never_join() {
    let desk = desk_of_bea().await;
    for subject in ["Printer", "Printer", "Re: Printer"] {
        let index = mail(ADA, subject, &format!("It is on fire ({subject})."));
        desk.handles(&index.with("Thread-Topic", "Printer").with("Thread-Index", "AdfQx0Zk")).await;
    }
    assert_eq!(desk.fates().await, ["ticketed", "ticketed", "ticketed"]);
    desk.close().await;
}

#[tokio::test]
async fn an_answer_to_a_resolved_ticket_reopens_it_to_who_had_it() {
    let (desk, api) = desk_and_api().await;
    ada_writes(&desk).await;
    desk.answers(&api, 1001, "It is out.", true).await;
    assert_eq!(desk.ticket(1001).await.status, Status::Resolved.as_str());
    desk.hires("Aaron", Role::Admin, &[]).await;
    desk.handles(&mail(ADA, "", "It burns again.").answering(&desk.last_mail_to("ada@example.net"))).await;

    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.status.as_str(), ticket.assignee_name.as_deref()), ("open", Some("Bea")));
    assert!(text(&desk.last_mail_to("bea@example.org")).contains("| It burns again."));
    assert_eq!(desk.mails_to("aaron@example.org").len(), 0);
    desk.close().await;
}

#[tokio::test]
async fn an_answer_to_a_ticket_closed_lately_reopens_it_and_a_later_one_opens_a_follow_up() {
    let (desk, api) = desk_and_api().await;
    ada_writes(&desk).await;
    desk.answers(&api, 1001, "It is out.", true).await;
    let answer = desk.last_mail_to("ada@example.net");
    desk.closes_what_is_resolved().await;
    assert_eq!(desk.ticket(1001).await.status, "closed");
    desk.later(TimeDelta::days(13)).await;
    desk.handles(&mail(ADA, "", "It burns again.").answering(&answer)).await;
    let ticket = desk.ticket(1001).await;
    assert_eq!((ticket.status.as_str(), ticket.assignee_name.as_deref()), ("open", Some("Bea")));

    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "Out again.", true).await;
    desk.closes_what_is_resolved().await;
    desk.later(TimeDelta::days(14)).await;
    desk.handles(&mail(ADA, "", "And again.").answering(&desk.last_mail_to("ada@example.net"))).await;
    assert_eq!(desk.ticket(1001).await.status, "closed");
    let later = desk.ticket(1002).await;
    assert_eq!(later.follow_up_of, Some(TicketId(1001)));
    assert_eq!((later.status.as_str(), later.assignee_name.as_deref()), ("open", Some("Bea")));
    let acknowledgement = desk.last_mail_to("ada@example.net");
    assert_eq!(header(&acknowledgement, "Subject").as_deref(), Some("Re: [#1002] Printer"));

    // What answers the follow-up's mails is the follow-up's, although it names the old thread too.
    desk.handles(&mail(ADA, "", "Hello?").answering(&acknowledgement)).await;
    assert_eq!(desk.conversation(1002).await.len(), 2);
    desk.close().await;
}

#[tokio::test]
async fn an_automatic_answer_is_kept_but_reopens_nothing_and_joins_nobody() {
    let (desk, api) = desk_and_api().await;
    ada_writes(&desk).await;
    desk.answers(&api, 1001, "It is out.", true).await;
    let answer = desk.last_mail_to("ada@example.net");
    let notices = desk.mails_to("bea@example.org").len();
    let automatic = |from: &str, text: &str| {
        mail(from, "", text).answering(&answer).with("Auto-Submitted", "auto-replied")
    };
    desk.handles(&automatic(ADA, "I am away.")).await;
    // Her mail is forwarded to somebody whose machine answers too.
    desk.handles(&automatic(BOB, "I am away as well.")).await;
    assert_eq!(desk.ticket(1001).await.status, "resolved");
    desk.closes_what_is_resolved().await;
    desk.handles(&automatic(ADA, "I am still away.")).await;
    assert_eq!(desk.ticket(1001).await.status, "closed");
    desk.later(TimeDelta::days(30)).await;
    desk.handles(&automatic(ADA, "I am back.")).await;

    assert_eq!(desk.tickets().await, 1);
    assert_eq!(desk.conversation(1001).await.len(), 6);
    assert_eq!(desk.participants(1001).await, [part("requester", "ada@example.net")]);
    assert_eq!(desk.mails_to("bea@example.org").len(), notices, "nobody is told of machines");
    assert_eq!(desk.mails_to("ada@example.net").len(), 2, "acknowledgement and answer");
    desk.close().await;
}

#[tokio::test]
async fn a_mailbox_without_plus_addresses_threads_by_message_ids() {
    let plan = Plan { mailbox: "plus_addressing = false".to_owned(), ..Plan::default() };
    let desk = Desk::with(plan).await;
    desk.hires("Bea", Role::Admin, &[]).await;
    let (_, acknowledgement) = ada_writes(&desk).await;
    assert_eq!(header(&acknowledgement, "Reply-To").as_deref(), Some("support@example.org"));
    desk.handles(&mail(ADA, "", "It is out.").answering(&acknowledgement)).await;
    let notice = desk.last_mail_to("bea@example.org");
    assert_eq!(header(&notice, "Reply-To").as_deref(), Some("support@example.org"));
    desk.handles(&mail("Bea <bea@example.org>", "", "Good.").answering(&notice)).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended", "appended"]);
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("Good."));
    desk.close().await;
}

#[tokio::test]
async fn a_forged_sender_who_knows_the_number_turns_no_answer_aside() {
    let (desk, api) = desk_and_api().await;
    let (first, _) = ada_writes(&desk).await;
    let forged = |mail: Mail| mail.with("Reply-To", "eve@example.com").with("Cc", "Mallory <m@example.com>");
    desk.handles(&forged(mail(ADA, "[#1001] Printer", "Write to my new address."))).await;
    // Nor by an id that somebody has seen in a list's archive.
    let copy = mail(ADA, "Printer", "Write to my new address!").with("Message-ID", &id_of(&first));
    desk.handles(&forged(copy)).await;
    assert_eq!(desk.fates().await, ["ticketed", "appended", "appended"]);
    assert_eq!(desk.participants(1001).await, [part("requester", "ada@example.net")]);
    desk.answers(&api, 1001, "Take the stairs.", false).await;
    let answer = desk.last_mail_to("ada@example.net");
    assert!(text(&answer).starts_with("Take the stairs."));
    assert_eq!(desk.mails_to("eve@example.com").len() + desk.mails_to("m@example.com").len(), 0);

    // Who answers a mail of ours may say where answers go; staff sees that it changed.
    let moved = mail(ADA, "", "Write to my office.").with("Reply-To", "office@example.net");
    desk.handles(&moved.answering(&answer)).await;
    assert_eq!(desk.participants(1001).await, [part("requester", "office@example.net")]);
    let seen = desk.events(1001).await.into_iter().find(|event| event.kind == "address").expect("an event");
    assert_eq!(
        (&seen.data["from"], &seen.data["to"]),
        (&"ada@example.net".into(), &"office@example.net".into())
    );
    desk.close().await;
}

#[tokio::test]
async fn each_further_mail_to_a_closed_thread_joins_the_follow_up() {
    let (desk, api) = desk_and_api().await;
    let (first, _) = ada_writes(&desk).await;
    desk.answers(&api, 1001, "It is out.", true).await;
    let answer = desk.last_mail_to("ada@example.net");
    desk.closes_what_is_resolved().await;
    desk.later(TimeDelta::days(15)).await;
    desk.handles(&mail(ADA, "", "It burns again.").answering(&answer)).await;
    assert_eq!(desk.ticket(1002).await.follow_up_of, Some(TicketId(1001)));
    desk.handles(&mail(ADA, "", "Hello?").answering(&answer)).await;
    desk.handles(&mail(ADA, "PS", "Still.").with("In-Reply-To", &id_of(&first))).await;
    assert_eq!((desk.tickets().await, desk.conversation(1002).await.len()), (2, 3));
    // Another person's matter is another one.
    desk.handles(&mail(BOB, "", "Here too.").answering(&answer)).await;
    assert_eq!(desk.ticket(1003).await.follow_up_of, Some(TicketId(1001)));
    desk.close().await;
}

#[tokio::test]
async fn who_is_left_out_of_a_long_list_is_told_to_staff() {
    let desk = desk_of_bea().await;
    let list: Vec<String> = (1..=23).map(|n| format!("p{n}@example.net")).collect();
    desk.handles(&mail(ADA, "Party", "All of us are coming.").with("Cc", &list.join(", "))).await;
    assert_eq!(desk.participants(1001).await.len(), 21);
    let told = text(&desk.last_mail_to("bea@example.org"));
    assert!(told.contains("3 more people") && told.contains("no answers"), "{told}");
    desk.close().await;
}

#[tokio::test]
async fn what_an_older_key_signed_is_known_after_another_was_made() {
    let before = desk_of_bea().await;
    before.handles(&mail("Ada <ada@example.net>", "Printer", "It is on fire.")).await;
    let acknowledged = before.last_mail_to("ada@example.net");
    let count = ticketd::people::rotate_signing_key(&before.db, before.clock.now()).await.expect("a key");
    assert_eq!(count, 2);
    let after = Desk::with(Plan { db: Some(before.db.clone()), ..Plan::default() }).await;
    let by_address = mail("Ada <ada@example.net>", "Hm", "It burns still.").answering(&acknowledged);
    after.handles(&by_address.without("In-Reply-To").without("References")).await;
    assert_eq!((after.tickets().await, after.conversation(1001).await.len()), (1, 2));
    // The newest signs: who does not know it does not know what it signed.
    after.handles(&mail("Bob <bob@example.net>", "Paper", "It burns.")).await;
    let signed = header(&after.last_mail_to("bob@example.net"), "Reply-To").expect("an address");
    let known = |desk: &Desk| desk.app.signer.read_address(&signed, "support@example.org").is_some();
    assert_eq!((known(&before), known(&after)), (false, true));
    before.close_without_database();
    after.close().await;
}
