//! One person by mail and in Discord: a code is mailed to the address, typed into Discord, and the two are one. Discord
//! itself is not needed for it.

use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, Row};
use ticketd::ids::{PersonId, TicketId};
use ticketd::people::link::{LinkError, Linked};
use ticketd::people::{self, NewStaff, Role, snippets};
use ticketd::tickets::threads::{self, Guild};
use ticketd::tickets::{self, Channel, Opening};

use crate::harness::desk::Desk;
use crate::harness::mail::{header, mail, text};
use crate::harness::members::{
    asks, by_mail, code_mailed_to, in_discord, links, message, opens, own_tickets, person, said, types,
};
use crate::harness::seen::{claim, give};
use crate::harness::smtp::{At, Behaviour};
use crate::harness::wait::until;

const ADA: &str = "Ada <ada@example.net>";
/// Ada's account in Discord, and Eve's.
const ADAS_ACCOUNT: u64 = 4711;
const EVES_ACCOUNT: u64 = 666;

/// A desk whose only staff is Dora, an admin, who gets what nobody fits.
async fn desk() -> Desk {
    let desk = Desk::open().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk
}

#[tokio::test]
async fn a_code_mailed_to_the_address_and_typed_in_discord_makes_one_person_of_two() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "ada_lovelace").await;
    opens(&desk, ada, ADAS_ACCOUNT, "Refund").await;
    let before = by_mail(&desk, "ada@example.net").await.expect("Ada by mail");
    assert_eq!((before.id, ada), (PersonId(2), PersonId(3)));

    let asked = asks(&desk, ada, " Ada@Example.NET").await.expect("a code");
    assert_eq!(asked.address, "ada@example.net");
    desk.settle().await;
    let sent = desk.mails_to("ada@example.net").pop().expect("a mail");
    let raw = sent.text();
    let headers = ["From", "To", "Subject", "Auto-Submitted", "X-Auto-Response-Suppress", "Reply-To"];
    let headers = headers.map(|name| header(&raw, name).unwrap_or_default());
    insta::assert_debug_snapshot!(headers, @r#"
    [
        "Support <support@example.org>",
        "ada@example.net",
        "Your code to link this address",
        "auto-generated",
        "All",
        "support@example.org",
    ]
    "#);
    assert_eq!(sent.mail_from, "<>", "nothing answers it");
    let id = header(&raw, "Message-ID").expect("a Message-ID");
    assert!(id.starts_with("<l1.") && id.ends_with("@example.org>"), "{id}");
    assert!(!raw.contains("[#"), "it belongs to no ticket");

    let code = code_mailed_to(&desk, "ada@example.net");
    let linked = types(&desk, ada, &code.to_lowercase().replace('-', " ")).await.expect("the code");
    desk.settle().await;
    assert_eq!((linked.person, linked.merged), (before.id, Some(ada)));
    assert_eq!(own_tickets(&desk, linked.person).await, [1002, 1001]);
    assert_eq!(own_tickets(&desk, ada).await, Vec::<i64>::new());
    assert_eq!(in_discord(&desk, ADAS_ACCOUNT, "whoever").await, before.id);
    let one = by_mail(&desk, "ada@example.net").await.expect("Ada");
    assert_eq!((one.id, one.discord, one.name.as_str()), (before.id, Some(ADAS_ACCOUNT), "Ada"));
    let unproven = "SELECT count(*) FROM identities WHERE person_id = 2 AND verified_at IS NULL";
    let unproven = desk.count(unproven).await;
    assert_eq!(unproven, 0, "both sides are proven");
    let linked_events = desk.events(1002).await.iter().filter(|event| event.kind == "linked").count();
    assert_eq!(linked_events, 1);
    assert!(desk.log().iter().all(|line| !line.contains(&code)), "the code stands in the log");

    // What she writes now, on either way, is hers.
    desk.handles(&mail(ADA, "Scanner", "It is on fire too.")).await;
    assert_eq!(own_tickets(&desk, one.id).await, [1003, 1002, 1001]);
    desk.close().await;
}

#[tokio::test]
async fn an_address_that_nobody_had_becomes_one_of_the_persons_own() {
    let desk = desk().await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    let ticket = opens(&desk, ada, ADAS_ACCOUNT, "Refund").await;
    let linked = links(&desk, ada, "ada@example.net").await;
    assert_eq!((linked.person, linked.merged), (ada, None));
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    assert_eq!(own_tickets(&desk, ada).await, [1002, ticket.0]);
    insta::assert_snapshot!(said(asks(&desk, ada, "ada@example.net").await), @"that address is linked to you already: there is nothing to do");
    desk.close().await;
}

#[tokio::test]
async fn rights_follow_what_was_proven_on_either_side_and_no_further() {
    let desk = desk().await;
    desk.knows_skills().await;
    // Bea was entered by her address. Whoever reads that mail is Bea, and in Discord nobody until then.
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let account = in_discord(&desk, 1, "bea_in_discord").await;
    assert_eq!(person(&desk, account).await.role, Role::User);
    assert_eq!(links(&desk, account, "bea@example.org").await.person, bea);
    let linked = person(&desk, bea).await;
    assert_eq!((linked.role, linked.discord), (Role::Moderator, Some(1)));
    assert_eq!(people::skills_of(&desk.db, bea).await.expect("skills").len(), 1);
    desk.logs_in("Bea").await;

    // She once wrote from home, as a customer: her role does not end with linking that.
    desk.handles(&mail("Bea <bea@home.example>", "My own invoice", "I want a refund.")).await;
    let linked = links(&desk, bea, "bea@home.example").await;
    assert_eq!(linked.person, bea, "the one with the greater role stays");
    assert_eq!(person(&desk, bea).await.role, Role::Moderator);
    assert_eq!(own_tickets(&desk, bea).await, [1001]);

    // A role by Discord goes along, and ends with it.
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    let mut tx = desk.db.begin().await.expect("a transaction");
    people::set_discord_role(&mut tx, ada, Some(Role::Moderator), desk.clock.now()).await.expect("a role");
    tx.commit().await.expect("a commit");
    let ada = links(&desk, ada, "ada@example.net").await.person;
    assert_eq!(person(&desk, ada).await.role, Role::Moderator);
    let mut tx = desk.db.begin().await.expect("a transaction");
    people::set_discord_role(&mut tx, ada, None, desk.clock.now()).await.expect("a role");
    tx.commit().await.expect("a commit");
    assert_eq!(person(&desk, ada).await.role, Role::User, "an address brings nobody a role");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn who_was_switched_off_does_not_come_back_by_linking() {
    let desk = desk().await;
    desk.hires("Bea", Role::Moderator, &[]).await;
    let account = in_discord(&desk, 1, "bea_in_discord").await;
    asks(&desk, account, "bea@example.org").await.expect("a code");
    desk.settle().await;
    let leave = "UPDATE persons SET active = FALSE WHERE name = 'Bea'";
    sqlx::query(leave).execute(&desk.db).await.expect("Bea leaves");
    let code = code_mailed_to(&desk, "bea@example.org");
    insta::assert_snapshot!(said(types(&desk, account, &code).await), @"this account was switched off: an admin must switch it on before it can be linked");
    let account = person(&desk, account).await;
    assert_eq!((account.role, account.email), (Role::User, None));
    assert!(!by_mail(&desk, "bea@example.org").await.expect("Bea").active);

    let leave = "UPDATE persons SET active = FALSE WHERE name = 'bea_in_discord'";
    sqlx::query(leave).execute(&desk.db).await.expect("the account is switched off");
    let new = asks(&desk, account.id, "new@example.net").await;
    assert!(matches!(new, Err(LinkError::Inactive)), "{new:?}");
    desk.close().await;
}

#[tokio::test]
async fn a_wrong_code_counts_and_the_fifth_one_ends_it() {
    let desk = desk().await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    insta::assert_snapshot!(said(types(&desk, ada, "ABCD-EFGH").await), @"there is no code to be typed: ask for one first");
    asks(&desk, ada, "ada@example.net").await.expect("a code");
    desk.settle().await;
    let code = code_mailed_to(&desk, "ada@example.net");
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(said(types(&desk, ada, "0000-0000").await));
    }
    answers.push(said(types(&desk, ada, &code).await));
    insta::assert_snapshot!(answers.join("\n"), @"
    that is not the code: look at the newest mail and type it again (tries left: 4)
    that is not the code: look at the newest mail and type it again (tries left: 3)
    that is not the code: look at the newest mail and type it again (tries left: 2)
    that is not the code: look at the newest mail and type it again (tries left: 1)
    that was not the code 5 times, so it is void: ask for another one
    that was not the code 5 times, so it is void: ask for another one
    ");
    assert_eq!(person(&desk, ada).await.email, None);

    // Another code is another five tries; who mistypes is not locked out.
    asks(&desk, ada, "ada@example.net").await.expect("another code");
    desk.settle().await;
    assert!(matches!(types(&desk, ada, &code).await, Err(LinkError::Wrong { left: 4 })), "the old one");
    let code = code_mailed_to(&desk, "ada@example.net");
    types(&desk, ada, &code).await.expect("the right one");
    insta::assert_snapshot!(said(types(&desk, ada, &code).await), @"there is no code to be typed: ask for one first");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_code_ends_after_a_quarter_of_an_hour() {
    let desk = desk().await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    asks(&desk, ada, "ada@example.net").await.expect("a code");
    desk.settle().await;
    let code = code_mailed_to(&desk, "ada@example.net");
    desk.clock.advance(TimeDelta::minutes(15));
    insta::assert_snapshot!(said(types(&desk, ada, &code).await), @"the code has expired after 15 minutes: ask for another one");
    assert_eq!(person(&desk, ada).await.email, None);
    desk.close().await;
}

#[tokio::test]
async fn nobodys_inbox_is_filled_with_codes() {
    let desk = desk().await;
    let (ada, eve) =
        (in_discord(&desk, ADAS_ACCOUNT, "Ada").await, in_discord(&desk, EVES_ACCOUNT, "Eve").await);
    for _ in 0..3 {
        asks(&desk, eve, "victim@example.net").await.expect("a code");
        desk.settle().await;
    }
    insta::assert_snapshot!(said(asks(&desk, eve, "other@example.net").await), @"3 codes an hour are sent, to one address and for one person: look into your spam folder, or ask again in an hour");
    let refused = asks(&desk, ada, "victim@example.net").await;
    assert!(matches!(refused, Err(LinkError::TooMany)), "by whomever: {refused:?}");
    desk.settle().await;
    assert_eq!(desk.sink.mails().len(), 3);
    desk.clock.advance(TimeDelta::hours(1));
    asks(&desk, ada, "victim@example.net").await.expect("a code");
    desk.settle().await;
    assert_eq!(desk.sink.mails().len(), 4);
    desk.close().await;
}

#[tokio::test]
async fn a_stranger_gets_no_address_by_a_code_that_was_mailed_to_somebody_else() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let (ada, eve) =
        (in_discord(&desk, ADAS_ACCOUNT, "Ada").await, in_discord(&desk, EVES_ACCOUNT, "Eve").await);
    let known = asks(&desk, eve, "ada@example.net").await.expect("a code");
    let unknown = asks(&desk, ada, "nobody@example.net").await.expect("a code");
    assert_eq!(known.expires_at, unknown.expires_at, "the answers tell nothing of the address");
    desk.settle().await;
    // Eve asked, Ada got the code: each alone can do nothing with it.
    let code = code_mailed_to(&desk, "ada@example.net");
    assert!(matches!(types(&desk, ada, &code).await, Err(LinkError::Wrong { .. })), "Ada did not ask for it");
    assert!(matches!(types(&desk, eve, "ABCD-EFGH").await, Err(LinkError::Wrong { .. })));
    assert_eq!(own_tickets(&desk, eve).await, Vec::<i64>::new());

    insta::assert_snapshot!(said(asks(&desk, eve, "not an address").await), @"that is not a mail address: type it as name@example.org");
    for own in ["support@example.org", "Support+t1001.abc@example.org"] {
        assert!(matches!(asks(&desk, eve, own).await, Err(LinkError::OwnAddress)), "{own}");
    }
    desk.close().await;
}

#[tokio::test]
async fn only_the_newest_code_is_mailed_and_only_while_it_is_good() {
    let desk = desk().await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    asks(&desk, ada, "old@example.net").await.expect("a code");
    asks(&desk, ada, "ada@example.net").await.expect("another code");
    desk.settle().await;
    assert_eq!(desk.mails_to("old@example.net").len(), 0, "a newer one followed");
    assert_eq!(desk.mails_to("ada@example.net").len(), 1);

    // The mail server is away for longer than the code is good for.
    desk.sink.behave(&Behaviour::Refuse(At::Data, 451, "4.3.0 later".to_owned()));
    asks(&desk, ada, "ada@example.net").await.expect("a code");
    desk.settle().await;
    for _ in 0..16 {
        desk.later(TimeDelta::minutes(1)).await;
    }
    desk.sink.behave(&Behaviour::Accept);
    desk.later(TimeDelta::hours(1)).await;
    assert_eq!(desk.mails_to("ada@example.net").len(), 1, "an expired code is not mailed");

    // A mistyped address is nobody's fault, and nothing an admin must look at.
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 550, "5.1.1 no such user".to_owned()));
    asks(&desk, ada, "adda@example.net").await.expect("a code");
    desk.settle().await;
    let lines = desk.log();
    assert!(lines.iter().any(|line| line.contains("was not mailed")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("adda")), "an address stands in the log");
    desk.close().await;
}

#[tokio::test]
async fn who_types_a_code_twice_at_once_is_linked_once() {
    let desk = desk().await;
    for (account, name) in [(1, "ann"), (2, "bob"), (3, "cat"), (4, "dan")] {
        let address = format!("{name}@example.net");
        desk.handles(&mail(&format!("{name} <{address}>"), "Printer", "It is on fire.")).await;
        let person = in_discord(&desk, account, name).await;
        asks(&desk, person, &address).await.expect("a code");
        desk.settle().await;
        let code = code_mailed_to(&desk, &address);
        let (one, other) = tokio::join!(types(&desk, person, &code), types(&desk, person, &code));
        let (right, wrong): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
        assert_eq!(right.len(), 1, "{wrong:?}");
        assert!(matches!(wrong.first(), Some(Err(LinkError::NoCode))), "{wrong:?}");
    }
    desk.settle().await;
    assert_eq!(desk.count("SELECT count(*) FROM persons WHERE active AND role = 'user'").await, 4);
    desk.close().await;
}

#[tokio::test]
async fn two_accounts_that_link_one_address_at_once_are_one_person() {
    let desk = desk().await;
    desk.handles(&mail(ADA, "Printer", "It is on fire.")).await;
    let (one, other) = (in_discord(&desk, 1, "Ada").await, in_discord(&desk, 2, "Ada's other account").await);
    for account in [one, other] {
        asks(&desk, account, "ada@example.net").await.expect("a code");
        desk.settle().await;
    }
    let mut mails = desk.mails_to("ada@example.net").into_iter().rev().map(|mail| {
        let text = text(&mail.text());
        text.lines().find_map(|line| line.strip_prefix("    ")).map(str::to_owned).unwrap_or_default()
    });
    let (second, first) = (mails.next().expect("a code"), mails.next().expect("a code"));
    let (first, second) = tokio::join!(types(&desk, one, &first), types(&desk, other, &second));
    let (first, second) = (first.expect("linked").person, second.expect("linked").person);
    assert_eq!(first, second);
    for account in [1, 2] {
        assert_eq!(in_discord(&desk, account, "whoever").await, first);
    }
    assert_eq!(own_tickets(&desk, first).await, [1001]);
    desk.settle().await;
    desk.close().await;
}

/// Ann's account links Bob's address, and Bob's account Ann's, at the same moment: they are one, and nobody waits.
#[tokio::test]
async fn two_persons_who_link_each_other_at_once_are_one_person() {
    let desk = desk().await;
    let (ann, bob) = (in_discord(&desk, 1, "Ann").await, in_discord(&desk, 2, "Bob").await);
    links(&desk, ann, "ann@example.net").await;
    links(&desk, bob, "bob@example.net").await;
    desk.clock.advance(TimeDelta::hours(1));
    asks(&desk, ann, "bob@example.net").await.expect("a code");
    asks(&desk, bob, "ann@example.net").await.expect("a code");
    desk.settle().await;
    let anns = code_mailed_to(&desk, "bob@example.net");
    let bobs = code_mailed_to(&desk, "ann@example.net");
    let (one, other) = tokio::join!(types(&desk, ann, &anns), types(&desk, bob, &bobs));
    for result in [one, other] {
        // Whoever came second typed a code that belongs to the other one's account by then, or is that other one.
        let refused = |error: &LinkError| {
            matches!(error, LinkError::NoCode | LinkError::Wrong { .. } | LinkError::Inactive)
        };
        assert!(result.as_ref().map_or_else(refused, |_| true), "{result:?}");
    }
    let accounts = (in_discord(&desk, 1, "Ann").await, in_discord(&desk, 2, "Bob").await);
    assert_eq!(accounts.0, accounts.1);
    assert_eq!(desk.count("SELECT count(*) FROM persons WHERE active AND role = 'user'").await, 1);
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn what_is_on_its_way_in_while_two_become_one_is_not_left_behind() {
    let desk = desk().await;
    let dora = by_mail(&desk, "dora@example.org").await.expect("Dora").id;
    let account = in_discord(&desk, 9, "Dora").await;
    links(&desk, account, "dora@example.org").await;
    desk.handles(&mail("Dora <dora@home.example>", "Mine", "My invoice.")).await;
    asks(&desk, dora, "dora@home.example").await.expect("a code");
    desk.settle().await;
    let code = code_mailed_to(&desk, "dora@home.example");

    // A second mail from home is being entered when the code is typed.
    let mut entering = desk.db.begin().await.expect("a transaction");
    let home = people::by_address(&mut entering, "dora@home.example", "", desk.clock.now()).await;
    let home = home.expect("Dora at home");
    assert_ne!(home, dora);
    let typing = types(&desk, dora, &code);
    let entered = async {
        until("the merge waits", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            desk.count(waiting).await > 0
        })
        .await;
        let message = message(home, 9, "Second");
        tickets::open(&mut entering, &message, &Opening::default(), desk.clock.now())
            .await
            .expect("a ticket");
        entering.commit().await.expect("a commit");
    };
    let (linked, ()) = tokio::join!(typing, entered);
    assert_eq!(
        linked.expect("the right code"),
        Linked { person: dora, merged: Some(home), address: "dora@home.example".into() }
    );
    desk.settle().await;
    assert_eq!(own_tickets(&desk, dora).await, [1002, 1001]);
    desk.close().await;
}

/// Bea answers a notice that was made for who she was before: it is hers. Her old log-in ends.
#[tokio::test]
async fn the_tokens_of_a_merged_person() {
    let desk = desk().await;
    desk.knows_skills().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let boss = desk.hires("Boss", Role::Admin, &[]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of my invoice.")).await;
    let notice = desk.last_mail_to("bea@example.org");
    let old = desk.logs_in("Bea").await;
    let account = in_discord(&desk, 1, "Bea").await;
    assert_eq!(links(&desk, account, "bea@example.org").await.person, bea);
    // She was entered twice, and the other entry has the greater role.
    assert_eq!(links(&desk, bea, "boss@example.org").await.person, boss);

    assert_eq!(old.get("/api/tickets").await.0, 401, "an old log-in");
    assert_eq!(desk.logs_in("Bea").await.get("/api/tickets").await.0, 200, "the password is the survivor's");
    assert_eq!(desk.ticket(1001).await.assignee_id, Some(boss));
    let answer = mail("Bea <bea@example.org>", "", "You get it back today.").answering(&notice);
    desk.handles(&answer).await;
    let answers = desk.conversation(1001).await;
    let last = answers.last().expect("an answer");
    assert_eq!((last.kind.as_str(), last.author_id), ("outbound", Some(boss)), "{:?}", desk.reasons().await);
    assert!(text(&desk.last_mail_to("ada@example.net")).contains("You get it back today."));
    // Who is merged can still be named by those who chose them before.
    let mut tx = desk.db.begin().await.expect("a transaction");
    let locked = tickets::lock(&mut tx, TicketId(1001)).await.expect("the ticket");
    let act = tickets::actions::Act { by: boss, channel: Channel::Discord, now: desk.clock.now() };
    tickets::actions::release(&mut tx, &locked, act).await.expect("released");
    let locked = tickets::lock(&mut tx, TicketId(1001)).await.expect("the ticket");
    give(&mut tx, &locked, bea, act).await.expect("assigned");
    tx.commit().await.expect("a commit");
    assert_eq!(desk.ticket(1001).await.assignee_id, Some(boss));
    desk.settle().await;
    desk.close().await;
}

/// Every column of the database that points to a person, as the database itself says.
async fn columns_that_point_to_persons(desk: &Desk) -> Vec<(String, String)> {
    let rows = sqlx::query(
        "SELECT c.conrelid::regclass::TEXT, a.attname::TEXT FROM pg_constraint c
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
         WHERE c.contype = 'f' AND c.confrelid = 'persons'::regclass ORDER BY 1, 2",
    );
    let rows = rows.fetch_all(&desk.db).await.expect("the catalogue");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn pointing_to(desk: &Desk, person: PersonId) -> Vec<(String, i64)> {
    let mut counts = Vec::new();
    for (table, column) in columns_that_point_to_persons(desk).await {
        let count = format!("SELECT count(*) FROM {table} WHERE {column} = $1");
        let count = sqlx::query(AssertSqlSafe(count)).bind(person.0).fetch_one(&desk.db).await;
        counts.push((format!("{table}.{column}"), count.expect("a count").get(0)));
    }
    counts
}

/// What stays behind with who was merged, and is over: log-ins, tokens and links that end with the merger, and answers that
/// are forgotten within a day.
const HISTORY: [&str; 4] =
    ["account_letters.person_id", "api_tokens.person_id", "idempotency_keys.person_id", "sessions.person_id"];

/// Rows of what admins and programs keep for a person.
async fn owns_all_else(desk: &Desk, person: PersonId) {
    for statement in [
        "INSERT INTO account_letters (kind, address, person_id, created_at, expires_at)
         VALUES ('reset', 'cara@example.org', $1, now(), now())",
        "INSERT INTO api_tokens (person_id, name, token_hash, hint, scopes, created_at, expires_at)
         VALUES ($1, 'export', sha256('x'), 'abcd', '{}', now(), now() + interval '1 day')",
        "INSERT INTO away_periods (person_id, from_at, until_at, created_at) VALUES ($1, now(), now() + interval '1 day', now())",
        "INSERT INTO external_identities (person_id, issuer, subject, created_at, last_used_at)
         VALUES ($1, 'https://idp.example', '1', now(), now())",
        "INSERT INTO idempotency_keys (person_id, key, request_hash, status, body, created_at)
         VALUES ($1, 'k', sha256('x'), 200, '', now())",
        "INSERT INTO second_factors (person_id, secret, created_at) VALUES ($1, decode(repeat('00', 20), 'hex'), now())",
        "INSERT INTO sessions (person_id, method, created_at, last_used_at, expires_at)
         VALUES ($1, 'password', now(), now(), now() + interval '1 day')",
        "INSERT INTO settings (key, value, updated_by, updated_at) VALUES ('assignment.cap_default', '9', $1, now())",
        "INSERT INTO webhooks (name, url, secret, active, created_by, created_at, updated_at)
         VALUES ('w', 'https://hooks.example.net/', 'whsec_AAAA', FALSE, $1, now(), now())",
        "INSERT INTO working_hours (person_id, time_zone, updated_at) VALUES ($1, 'UTC', now())",
    ] {
        sqlx::query(statement)
            .bind(person.0)
            .execute(&desk.db)
            .await
            .unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

/// Cara has everything that a person can have, and is merged into Zoe.
#[tokio::test]
async fn nothing_points_to_a_merged_person() {
    let desk = desk().await;
    desk.knows_skills().await;
    let guild = Guild { guild: 1, support_channel: 2, staff_channel: 3 };
    let cara = desk.hires("Cara", Role::Moderator, &[("billing", 5)]).await;
    let zoe = {
        let staff = NewStaff {
            name: "zoe@example.org".into(),
            email: "zoe@example.org".into(),
            role: Role::Admin,
            cap: None,
            away: false,
            skills: vec![],
        };
        people::save_staff(&desk.db, &staff, desk.clock.now()).await.expect("Zoe")
    };
    desk.settle().await;
    let account = in_discord(&desk, 1, "cara").await;
    assert_eq!(links(&desk, account, "cara@example.org").await.person, cara);
    opens(&desk, cara, 1, "Refund").await;
    snippets::save(&desk.db, "hello", "Hello!", cara, desk.clock.now()).await.expect("a snippet");
    let mut tx = desk.db.begin().await.expect("a transaction");
    let locked = tickets::lock(&mut tx, TicketId(1001)).await.expect("the ticket");
    assert_eq!(locked.assignee, Some(cara), "who asked has the skill");
    let act = tickets::actions::Act { by: cara, channel: Channel::Discord, now: desk.clock.now() };
    tickets::actions::release(&mut tx, &locked, act).await.expect("released");
    let locked = tickets::lock(&mut tx, TicketId(1001)).await.expect("the ticket");
    claim(&mut tx, &locked, act).await.expect("claimed");
    tickets::parties::follow(&mut tx, &locked, act).await.expect("followed");
    let content = ticketd::files::Content::new("a");
    desk.app.stages.files.keep(std::slice::from_ref(&content), act.now).await.expect("a content");
    tickets::uploads::take(&mut tx, cara, Some("a.txt"), "text/plain", &content, act.now)
        .await
        .expect("a file");
    tickets::removal::delete(&mut tx, &locked, act).await.expect("deleted");
    tx.commit().await.expect("a commit");
    desk.settle().await;
    owns_all_else(&desk, cara).await;
    let before = pointing_to(&desk, cara).await;
    let unused: Vec<_> = before.iter().filter(|(_, count)| *count == 0).collect();
    assert!(unused.is_empty(), "give Cara one, so that it is seen to move: {unused:?}");

    threads::configure(&desk.db, Some(guild)).await.expect("Discord");
    assert_eq!(
        links(&desk, cara, "zoe@example.org").await,
        Linked { person: zoe, merged: Some(cara), address: "zoe@example.org".into() }
    );
    let left = pointing_to(&desk, cara).await.into_iter();
    let left: Vec<_> =
        left.filter(|(column, count)| *count > 0 && !HISTORY.contains(&column.as_str())).collect();
    assert_eq!(left, [], "left behind");
    let open = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";
    assert_eq!(desk.count(open).await, 0, "log-ins of who was merged have ended");
    assert_eq!(desk.count("SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL").await, 0);
    let one = person(&desk, zoe).await;
    assert_eq!((one.name.as_str(), one.role, one.discord), ("Cara", Role::Admin, Some(1)));
    assert_eq!(person(&desk, cara).await.id, zoe);
    assert_eq!(person(&desk, account).await.id, zoe, "in one step, however often it was merged");
    assert_eq!(people::skills_of(&desk.db, zoe).await.expect("skills").len(), 1, "she had none of her own");
    desk.logs_in("Cara").await;
    let mirrored = desk.count("SELECT count(*) FROM discord_threads WHERE ticket_id = 1001").await;
    assert_eq!(mirrored, 2, "the card shows it");
    // The stage that mirrors is not part of this test.
    sqlx::query("DELETE FROM jobs WHERE kind = 'mirror'").execute(&desk.db).await.expect("the queue");
    desk.expects_errors();
    desk.close().await;
}

#[tokio::test]
async fn who_took_part_twice_takes_part_once_and_what_was_sent_twice_stays_written_down() {
    let desk = desk().await;
    desk.knows_skills().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    // Ada asks from home, with her other address in copy, and the answer goes to both.
    let question = mail(ADA, "Refund", "I want a refund of my invoice.").with("Cc", "Ada <ada@work.example>");
    desk.handles(&question).await;
    let api = desk.logs_in("Bea").await;
    desk.answers(&api, 1001, "You get it back today.", false).await;
    assert_eq!(desk.mails_to("ada@work.example").len(), 1);

    let account = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    let ada = links(&desk, account, "ada@example.net").await.person;
    let linked = links(&desk, ada, "ada@work.example").await;
    assert!(linked.merged.is_some() && linked.person != bea);
    let part = ("requester".to_owned(), "ada@example.net".to_owned());
    assert_eq!(desk.participants(1001).await, [part], "as who asked, where the question came from");
    let sent = desk.deliveries(1001).await.iter().filter(|d| d.kind == "reply" && d.state == "sent").count();
    assert_eq!(sent, 2, "what was sent stays");
    let mails = desk.sink.mails().len();
    desk.answers(&api, 1001, "It is on its way.", false).await;
    assert_eq!(desk.sink.mails().len(), mails + 1, "from now on one copy");
    desk.close().await;
}
