//! What staff have at hand besides the tickets themselves: skills, snippets, the card, the search, the numbers.

use chrono::TimeDelta;
use ticketd::audit::Actor;
use ticketd::ids::TicketId;
use ticketd::people::{self, Role, SkillError, levels, snippets};
use ticketd::tickets::read::{self, Sight};

use crate::harness::desk::Desk;
use crate::harness::mail::mail;
use crate::harness::members::{by_mail, in_discord, links, opens};
use crate::harness::smtp::{At, Behaviour};

const ADA: &str = "Ada <ada@example.net>";
/// Ada's account in Discord.
const ADAS_ACCOUNT: u64 = 4711;

/// A desk whose only staff is Dora, an admin, who gets what nobody fits.
async fn desk() -> Desk {
    let desk = Desk::open().await;
    desk.hires("Dora", Role::Admin, &[]).await;
    desk
}

#[tokio::test]
async fn a_moderator_proposes_a_skill_and_an_admin_confirms_it() {
    let desk = desk().await;
    desk.knows_skills().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 3)]).await;
    let dora = by_mail(&desk, "dora@example.org").await.expect("Dora").id;
    desk.hires("Eli van Dam", Role::Admin, &[]).await;
    let ada = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    let now = desk.clock.now();
    let proposed = people::propose_skill(&desk.db, bea, " Networking", 4, now).await.expect("a proposal");
    assert_eq!((proposed.slug.as_str(), proposed.confirmed), ("networking", false));
    assert!(people::propose_skill(&desk.db, dora, "networking", 2, now).await.expect("a skill").confirmed);
    let mut refusals = Vec::new();
    for (who, slug, level) in [
        (bea, "billing", 5),
        (bea, "wine", 3),
        (bea, "bil\0ling", 3),
        (bea, "billing", 6),
        (ada, "billing", 3),
    ] {
        let refused: SkillError =
            people::propose_skill(&desk.db, who, slug, level, now).await.expect_err("no");
        refusals.push(refused.to_string().replace('\0', "NUL"));
    }
    insta::assert_snapshot!(refusals.join("\n"), @"
    `billing` is confirmed at level 3: ask an admin to change it
    `wine` is no skill of the catalogue: choose one from the list
    `bilNULling` is no skill of the catalogue: choose one from the list
    a level is from 1 (knows a little) to 5 (knows it all)
    only moderators and admins have skills
    ");
    let confirms = async || {
        let mut tx = desk.db.begin().await.expect("a transaction");
        let done = levels::confirm(&mut tx, bea, "networking", Actor::COMMAND, now).await.expect("an answer");
        tx.commit().await.expect("a commit");
        done
    };
    assert!(confirms().await);
    assert!(!confirms().await, "it is confirmed");
    let skills = people::skills_of(&desk.db, bea).await.expect("skills");
    let skills: Vec<_> = skills.iter().map(|s| (s.slug.as_str(), s.level, s.confirmed)).collect();
    assert_eq!(skills, [("billing", 3, true), ("networking", 4, true)]);

    let staff = async |prefix: &str| {
        let found = people::find_staff(&desk.db, prefix, 25, desk.clock.now()).await.expect("staff");
        found.into_iter().map(|colleague| colleague.name).collect::<Vec<_>>()
    };
    assert_eq!(staff("").await, ["Bea", "Dora", "Eli van Dam"]);
    assert_eq!(staff("VAN").await, ["Eli van Dam"]);
    assert_eq!(staff("%").await, Vec::<String>::new());
    let skills = people::find_skills(&desk.db, "Inv", 25).await.expect("skills");
    assert_eq!(skills.iter().map(|s| s.slug.as_str()).collect::<Vec<_>>(), ["billing"], "by its alias");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_snippet_is_kept_changed_found_and_removed() {
    let desk = desk().await;
    let bea = desk.hires("Bea", Role::Moderator, &[]).await;
    let now = desk.clock.now();
    assert_eq!(
        snippets::save(&desk.db, "Refund", "  It takes three days.\n", bea, now).await.expect("saved"),
        "refund"
    );
    snippets::save(&desk.db, "hello", "Hello!", bea, now).await.expect("saved");
    snippets::save(&desk.db, "refund", "It takes two days.", bea, now).await.expect("changed");
    let refund = snippets::get(&desk.db, "REFUND").await.expect("an answer").expect("a snippet");
    assert_eq!((refund.body.as_str(), refund.updated_by.as_deref()), ("It takes two days.", Some("Bea")));
    let all = snippets::list(&desk.db).await.expect("snippets");
    assert_eq!(all.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["hello", "refund"]);
    assert_eq!(snippets::find(&desk.db, "RE", 25).await.expect("snippets").len(), 1);
    let mut refusals = Vec::new();
    for (name, body) in [("two words", "x"), ("empty", " \n"), ("long", &"x".repeat(10_001) as &str)] {
        let refused = snippets::save(&desk.db, name, body, bea, now).await.expect_err("no");
        refusals.push(refused.to_string());
    }
    insta::assert_snapshot!(refusals.join("\n"), @"
    `two words` cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning with a letter or digit
    it is empty: write what it shall say
    it is 10001 characters long: at most 10000 are taken
    ");
    assert!(snippets::remove(&desk.db, "refund").await.expect("an answer"));
    assert!(!snippets::remove(&desk.db, "refund").await.expect("an answer"));
    assert!(snippets::get(&desk.db, "no\0name").await.expect("an answer").is_none());
    desk.close().await;
}

/// The card, the search and the numbers of a desk with two tickets.
#[tokio::test]
async fn what_staff_see_at_a_glance() {
    let desk = desk().await;
    desk.knows_skills().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("billing", 5)]).await;
    let opened = desk.clock.now();
    desk.handles(&mail(ADA, "Refund 100%", "I want a refund of my invoice.")).await;
    let account = in_discord(&desk, ADAS_ACCOUNT, "Ada").await;
    opens(&desk, account, ADAS_ACCOUNT, "Router_1").await;
    let ada = links(&desk, account, "ada@example.net").await.person;
    desk.clock.advance(TimeDelta::minutes(5));
    let api = desk.logs_in("Bea").await;
    desk.sink.behave(&Behaviour::Refuse(At::Rcpt, 550, "5.1.1 no such user".to_owned()));
    desk.answers(&api, 1001, "You get it back today.", false).await;
    assert!(!desk.expects_errors().is_empty());
    sqlx::query("DELETE FROM jobs WHERE failed_at IS NOT NULL").execute(&desk.db).await.expect("the queue");

    let card = read::card_facts(&desk.db, TicketId(1001)).await.expect("the card").expect("a ticket");
    assert_eq!(
        (card.requester_id, card.requester_address.as_deref(), card.requester_discord),
        (ada, Some("ada@example.net"), Some(4711))
    );
    assert_eq!((card.assignee_id, card.assignee_discord), (Some(bea), None));
    assert_eq!((card.status.as_str(), card.skills.as_slice()), ("pending", &["billing".to_owned()][..]));
    assert_eq!(
        (card.engine.as_deref(), card.assignment_outcome.as_deref()),
        (Some("offline"), Some("matched"))
    );
    assert!(card.reason.expect("a reason").starts_with("Bea: 1 of 1 skill"));
    assert_eq!(card.unsent, 1);
    assert!(card.unsent_reason.expect("a reason").contains("5.1.1"));
    let by_discord = read::card_facts(&desk.db, TicketId(1002)).await.expect("the card").expect("a ticket");
    assert_eq!((by_discord.channel.as_str(), by_discord.unsent), ("discord", 0));
    assert_eq!(
        by_discord.requester_address.as_deref(),
        Some("ada@example.net"),
        "she can be reached by mail too"
    );
    assert_eq!(read::card_facts(&desk.db, TicketId(9)).await.expect("an answer"), None);

    let search = async |sight: Sight, text: &str| {
        let found = read::search_numbers(&desk.db, sight, text, 25).await.expect("tickets");
        found.into_iter().map(|ticket| ticket.number.0).collect::<Vec<_>>()
    };
    assert_eq!(search(Sight::All, "").await, [1002, 1001]);
    assert_eq!(search(Sight::All, "#1002").await, [1002]);
    assert_eq!(search(Sight::All, "100").await, [1002, 1001], "numbers first said, and a subject");
    assert_eq!(search(Sight::All, "%").await, [1001], "no sign has a meaning of its own");
    assert_eq!(search(Sight::All, "_").await, [1002]);
    assert_eq!(search(Sight::All, "rEfUnD").await, [1001]);
    assert_eq!(search(Sight::Requester(bea), "").await, Vec::<i64>::new());
    assert_eq!(search(Sight::Requester(ada), "1").await, [1002, 1001]);

    let stats = read::stats(&desk.db, opened).await.expect("numbers");
    assert_eq!((stats.opened, stats.resolved, stats.unassigned), (2, 0, 0));
    assert_eq!(stats.by_status, [("open".to_owned(), 1), ("pending".to_owned(), 1)]);
    assert_eq!(stats.median_first_response_s, Some(300.0));
    let worked: Vec<_> = stats.moderators.iter().map(|m| (m.name.as_str(), m.open, m.replied)).collect();
    assert_eq!(worked, [("Bea", 2, 1), ("Dora", 0, 0)]);
    let later = read::stats(&desk.db, desk.clock.now() + TimeDelta::hours(1)).await.expect("numbers");
    assert_eq!((later.opened, later.median_first_response_s), (0, None));
    desk.close().await;
}
