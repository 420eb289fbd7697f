//! Discord refuses, breaks off, is slow, or forgets.

use chrono::TimeDelta;
use ticketd::tickets::actions;
use ticketd::tickets::threads::Audience;

use super::desk::{Room, text_of};
use crate::harness::discord::{PRIVATE_THREAD, STAFF, SUPPORT, Thread, Trouble};
use crate::harness::mail::mail;

/// What a room with Mia's ticket, an answer and a note comes to.
fn shown(room: &Room) -> String {
    let mut threads = room.discord.threads();
    threads.sort_by_key(|thread| thread.kind() == PRIVATE_THREAD);
    let cards = room.discord.messages(STAFF).len();
    let threads: Vec<String> = threads.iter().map(Thread::shown).collect();
    format!("{cards} in #staff\n{}", threads.join("\n"))
}

async fn plays(room: &Room) -> String {
    room.comes_to_rest().await;
    room.notes("Careful.").await;
    room.replies("Use water.").await;
    room.comes_to_rest().await;
    room.acts(async |tx, ticket, act| actions::close(tx, ticket, act).await).await;
    room.comes_to_rest().await;
    shown(room)
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_call_doubles_and_loses_nothing() {
    let room = Room::with_mias_ticket_unseen().await;
    let wanted = plays(&room).await;
    room.close().await;
    let calls = [
        ("POST", "/messages"),
        ("POST", "/threads"),
        ("PATCH", "/messages/"),
        ("PATCH", "/channels/"),
        ("PUT", "/thread-members/"),
    ];
    for (method, part) in calls {
        for trouble in [Trouble::DropAfter, Trouble::DropBefore, Trouble::Html(502)] {
            let room = Room::with_mias_ticket_unseen().await;
            room.discord.troubles_times(2, method, part, trouble);
            assert_eq!(plays(&room).await, wanted, "{method} {part} {trouble:?}");
            room.close().await;
        }
    }
}

#[tokio::test]
async fn what_was_done_unseen_is_found_when_discord_has_forgotten_the_nonce() {
    for (method, part) in [("POST", "/messages"), ("POST", "/threads")] {
        let room = Room::with_mias_ticket_unseen().await;
        room.discord.troubles(method, part, Trouble::DropAfter);
        room.desk.settle().await;
        room.later(TimeDelta::hours(1)).await;
        room.comes_to_rest().await;
        assert_eq!(room.discord.threads().len(), 2, "{method} {part}");
        for thread in room.discord.threads() {
            let wanted = if thread.kind() == PRIVATE_THREAD { 2 } else { 1 };
            assert_eq!(thread.messages().len(), wanted, "{method} {part}: {}", thread.shown());
        }
        assert_eq!(room.discord.messages(STAFF).len(), 1, "one card: {method} {part}");
        // The same words twice are twice the same words.
        room.discord.troubles("POST", "/messages", Trouble::DropAfter);
        room.writes_a_note("ok").await;
        room.writes_a_note("ok").await;
        room.desk.settle().await;
        room.later(TimeDelta::hours(1)).await;
        room.comes_to_rest().await;
        let staff = room.discord.staff_thread("#1001").await;
        let notes: Vec<String> = staff.messages().iter().map(text_of).filter(|text| text == "ok").collect();
        assert_eq!(notes.len(), 2, "{}", staff.shown());
        room.close().await;
    }
}

#[tokio::test]
async fn limits_and_breakdowns_are_waited_out() {
    let room = Room::with_a_ticket().await;
    let thread = room.discord.staff_thread("#1001").await;
    for trouble in [
        Trouble::Limited(0.2),
        Trouble::LimitedGlobally(0.2),
        Trouble::LimitedByCloudflare(1),
        Trouble::Html(500),
        Trouble::Html(503),
        Trouble::DropBefore,
    ] {
        room.discord.troubles("POST", "/messages", trouble);
        room.notes(&format!("{trouble:?}")).await;
        room.comes_to_rest().await;
        assert_eq!(text_of(&thread.messages().pop().expect("a note")), format!("{trouble:?}"));
    }
    room.close().await;
}

#[tokio::test]
async fn a_thread_that_is_shut_to_the_bot_is_broken_until_it_is_repaired() {
    let room = Room::with_mias_ticket().await;
    let staff = room.discord.staff_thread("#1001").await;
    room.discord.forbids(staff.id(), 50013);
    room.writes_a_note("one").await;
    room.comes_to_rest().await;
    room.notes("two").await;
    let why = room.broken(Audience::Staff).await.expect("a reason");
    assert!(why.contains("Missing Permissions") && why.contains("Send Messages in Threads"), "{why}");
    assert_eq!(room.events("thread_broken").await, 1);
    let told = room.discord.messages(STAFF).pop().expect("a message");
    insta::assert_snapshot!(told.shown(), @"
    ticketd: The thread of #1001 is broken: the bot lacks a right in Discord (Missing Permissions: HTTP 403, code 50013). Grant it View Channel, Send Messages in Threads, Manage Threads, Attach Files; ticketd doctor checks them all. What is said there does not reach the ticket, and the ticket's news do not reach it. Nothing is lost; mend the cause, then make a new thread.
      (Make a new thread)
    ");
    assert_eq!(room.discord.messages(STAFF).len(), 2, "told once");
    let refused = room.discord.refusals().len();
    room.notes("three").await;
    assert_eq!(room.discord.refusals().len(), refused, "nobody knocks at a closed door again");

    room.discord.forbids(staff.id(), 0);
    room.repairs(Audience::Staff).await;
    assert_eq!(room.broken(Audience::Staff).await, None);
    let texts: Vec<String> = staff.messages().iter().skip(1).map(text_of).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    room.close().await;
}

#[tokio::test]
async fn a_deleted_thread_is_made_anew_with_the_whole_conversation() {
    let room = Room::with_mias_ticket().await;
    room.notes("one").await;
    let staff = room.discord.staff_thread("#1001").await;
    room.bea.removes_thread(staff.id()).await;
    room.notes("two").await;
    room.comes_to_rest().await;
    assert!(room.broken(Audience::Staff).await.is_some_and(|why| why.contains("Unknown Channel")));
    assert_eq!(room.discord.messages(STAFF).len(), 1, "the card without a thread made room for the message");
    room.repairs(Audience::Staff).await;
    let staff = room.discord.staff_thread("#1001").await;
    insta::assert_snapshot!(staff.shown(), @"
    # #1001 It burns
    ticketd: **mia** wrote:
      It burns, the *invoice* shows a refund.
    ticketd: **Bea** noted, for staff only:
      one
    ticketd: **Bea** noted, for staff only:
      two
    ");

    let own = room.discord.support_thread("#1001").await;
    room.bea.removes_thread(own.id()).await;
    room.replies("Use water.").await;
    room.later(TimeDelta::seconds(11)).await;
    room.comes_to_rest().await;
    assert!(staff.card().text.contains("The requester's thread is broken"), "{}", staff.card().text);
    assert_eq!(staff.messages().pop().expect("a message").controls, ["Make a new thread"]);
    room.repairs(Audience::Requester).await;
    let own = room.discord.support_thread("#1001").await;
    assert_eq!(own.members(), ["bea", "mia"]);
    assert_eq!(own.messages().len(), 3, "{}", own.shown());
    assert!(!staff.card().text.contains("broken"));
    room.close().await;
}

#[tokio::test]
async fn a_requester_who_left_the_server_breaks_the_thread() {
    let room = Room::with_mias_ticket_unseen().await;
    room.discord.leaves(room.mia());
    room.desk.settle().await;
    room.comes_to_rest().await;
    let why = room.broken(Audience::Requester).await.expect("a reason");
    assert!(why.contains("are they still in this server"), "{why}");
    assert_eq!(room.discord.count("POST", &format!("/channels/{SUPPORT}/threads")), 1);
    room.close().await;
}

#[tokio::test]
async fn what_discord_refuses_for_its_form_is_shown_on_the_ticket_and_the_next_goes_on() {
    let room = Room::with_a_ticket().await;
    room.discord.troubles("POST", "/messages", Trouble::Refused(400, 50035));
    room.writes_a_note("one").await;
    room.writes_a_note("two").await;
    room.desk.settle().await;
    let thread = room.discord.staff_thread("#1001").await;
    assert_eq!(text_of(&thread.messages().pop().expect("a note")), "two");
    assert_eq!(
        room.desk.count("SELECT count(*) FROM deliveries WHERE kind = 'relay' AND state = 'failed'").await,
        1
    );
    assert_eq!(room.events("delivery").await, 1);
    room.close().await;
}

#[tokio::test]
async fn a_card_that_was_deleted_is_shown_in_the_thread() {
    let room = Room::with_a_ticket().await;
    let staff = room.discord.staff_thread("#1001").await;
    room.bea.deletes(staff.card().id).await;
    room.acts(async |tx, ticket, act| {
        actions::set_priority(tx, ticket, ticketd::tickets::Priority::Urgent, act).await
    })
    .await;
    assert!(staff.messages().pop().expect("the card").text.contains("Priority: urgent"));
    room.acts(async |tx, ticket, act| {
        actions::set_priority(tx, ticket, ticketd::tickets::Priority::Low, act).await
    })
    .await;
    assert!(staff.messages().pop().expect("the card").text.contains("Priority: low"));
    assert_eq!(staff.messages().len(), 2);
    room.close().await;
}

#[tokio::test]
async fn nothing_internal_is_shown_in_a_channel_that_everybody_sees() {
    let room = Room::open().await;
    room.discord.shows_to_everyone(STAFF, true);
    room.desk.handles(&mail("Ada <ada@example.net>", "Refund", "My number is 555.")).await;
    let why = room.broken(Audience::Staff).await.expect("it is broken");
    assert!(why.contains("Take View Channel from @everyone"), "{why}");
    let public = room.discord.messages(STAFF);
    assert!(public.iter().all(|said| !said.text.contains("555") && !said.text.contains("Ada")), "{public:?}");
    assert_eq!(room.discord.threads().len(), 0);
    room.discord.shows_to_everyone(STAFF, false);
    room.repairs(Audience::Staff).await;
    assert!(room.discord.staff_thread("#1001").await.shown().contains("555"));
    room.close().await;
}
