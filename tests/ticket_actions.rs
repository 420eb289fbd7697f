//! What people do to a ticket besides writing in it: claim, release, give, set, close, reopen, take back.

use chrono::TimeDelta;
use futures_util::future::join_all;
use ticketd::ids::{MessageId, PersonId, TicketId};
use ticketd::people::Role;
use ticketd::tickets::actions::{self, Act};
use ticketd::tickets::read::{self, Sight, Summary};
use ticketd::tickets::{self, Channel, Locked, Priority, StaffMessage, Status, TicketError, changes};

use crate::harness::desk::Desk;
use crate::harness::mail::{mail, text};
use crate::harness::seen::{claim, give};

const ADA: &str = "Ada <ada@example.net>";
const TICKET: TicketId = TicketId(1001);

/// A desk with one ticket that nobody fits.
async fn desk_with_a_ticket() -> (Desk, PersonId, PersonId) {
    let desk = Desk::open().await;
    desk.knows_skills().await;
    let bea = desk.hires("Bea", Role::Moderator, &[("networking", 3)]).await;
    let cem = desk.hires("Cem", Role::Moderator, &[]).await;
    desk.handles(&mail(ADA, "Refund", "I want a refund of the invoice.")).await;
    assert_eq!(desk.expects_errors().len(), 1, "the alarm that nobody has it");
    (desk, bea, cem)
}

async fn act<T>(
    desk: &Desk,
    by: PersonId,
    what: impl AsyncFnOnce(&mut ticketd::queue::Tx, &Locked, Act) -> Result<T, TicketError>,
) -> Result<T, TicketError> {
    let mut tx = desk.db.begin().await?;
    let ticket = tickets::lock(&mut tx, TICKET).await?;
    let done = what(&mut tx, &ticket, Act { by, channel: Channel::Web, now: desk.clock.now() }).await?;
    tx.commit().await?;
    Ok(done)
}

async fn ticket(desk: &Desk) -> Summary {
    read::ticket(&desk.db, Sight::All, TICKET).await.expect("a ticket").expect("ticket 1001")
}

async fn bea_replies(desk: &Desk, bea: PersonId, text: &str) -> MessageId {
    let now = desk.clock.now();
    act(desk, bea, async |tx, ticket, act| {
        let message =
            StaffMessage { author: act.by, channel: Channel::Web, text, inbound: None, uploads: &[] };
        tickets::reply(tx, ticket, &message, now + TimeDelta::seconds(10), now).await
    })
    .await
    .expect("a reply")
}

#[tokio::test]
async fn of_fifty_who_claim_at_once_one_gets_it() {
    let (desk, bea, cem) = desk_with_a_ticket().await;
    let claims =
        (0..50).map(|n| {
            let desk = &desk;
            async move {
                act(desk, if n % 2 == 0 { bea } else { cem }, async |tx, t, a| claim(tx, t, a).await).await
            }
        });
    let results = join_all(claims).await;
    let winner = ticket(&desk).await.assignee_id.expect("somebody has it");
    for (n, result) in results.iter().enumerate() {
        let claimer = if n % 2 == 0 { bea } else { cem };
        match result {
            Ok(()) => assert_eq!(claimer, winner),
            Err(TicketError::Taken(_)) => assert_ne!(claimer, winner),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(desk.count("SELECT count(*) FROM assignments WHERE outcome = 'manual'").await, 1);
    assert_eq!(ticket(&desk).await.status, "open");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn what_is_released_is_nobodys_until_somebody_takes_it() {
    let (desk, bea, cem) = desk_with_a_ticket().await;
    act(&desk, bea, async |tx, t, a| claim(tx, t, a).await).await.expect("claimed");
    act(&desk, bea, async |tx, t, a| actions::release(tx, t, a).await).await.expect("released");
    desk.later(TimeDelta::hours(1)).await;
    let released = ticket(&desk).await;
    assert_eq!(
        (released.assignee_id, released.status.as_str()),
        (None, "new"),
        "nobody gets it back by itself"
    );
    let again = act(&desk, bea, async |tx, t, a| actions::release(tx, t, a).await).await;
    assert!(matches!(again, Err(TicketError::Unassigned(_))), "{again:?}");

    act(&desk, bea, async |tx, t, a| give(tx, t, cem, a).await).await.expect("given");
    desk.settle().await;
    assert_eq!(ticket(&desk).await.assignee_id, Some(cem));
    assert!(
        text(&desk.last_mail_to("cem@example.org")).contains("I want a refund"),
        "the new holder is told"
    );
    let to_ada = act(&desk, bea, async |tx, t, a| give(tx, t, t.requester, a).await).await;
    assert!(matches!(to_ada, Err(TicketError::NotStaff)), "{to_ada:?}");
    desk.close().await;
}

#[tokio::test]
async fn what_a_person_sets_no_judgement_undoes() {
    let (desk, bea, _) = desk_with_a_ticket().await;
    act(&desk, bea, async |tx, t, a| {
        actions::set_priority(tx, t, Priority::Urgent, a).await?;
        actions::set_category(tx, t, "bug", a).await?;
        actions::set_skills(tx, t, &["networking".to_owned()], a).await
    })
    .await
    .expect("set");
    desk.settle().await;
    assert_eq!(ticket(&desk).await.assignee_id, Some(bea), "the skills that a person named decide who fits");
    act(&desk, bea, async |tx, t, a| actions::judge_again(tx, t, a).await).await.expect("asked");
    desk.settle().await;
    let set = ticket(&desk).await;
    assert_eq!((set.priority.as_str(), set.category.as_deref()), ("urgent", Some("bug")));
    assert_eq!(set.required_skills, ["networking"]);
    let unknown =
        act(&desk, bea, async |tx, t, a| actions::set_skills(tx, t, &["cooking".to_owned()], a).await).await;
    assert!(matches!(unknown, Err(TicketError::UnknownSkill)), "{unknown:?}");
    assert!(changes::triage(&desk.db, TICKET).await.expect("a judgement").is_some());
    desk.close().await;
}

#[tokio::test]
async fn a_closed_ticket_is_opened_again_and_goes_on() {
    let (desk, bea, _) = desk_with_a_ticket().await;
    act(&desk, bea, async |tx, t, a| claim(tx, t, a).await).await.expect("claimed");
    act(&desk, bea, async |tx, t, a| actions::close(tx, t, a).await).await.expect("closed");
    assert_eq!(ticket(&desk).await.status, "closed");
    let claimed = act(&desk, bea, async |tx, t, a| actions::release(tx, t, a).await).await;
    assert!(matches!(claimed, Err(TicketError::WrongStatus(..))), "{claimed:?}");
    act(&desk, bea, async |tx, t, a| actions::reopen(tx, t, a).await).await.expect("reopened");
    assert_eq!(ticket(&desk).await.status, "open");
    act(&desk, bea, async |tx, t, a| actions::set_status(tx, t, Status::Pending, a).await)
        .await
        .expect("set");
    assert_eq!(ticket(&desk).await.status, "pending");
    let new = act(&desk, bea, async |tx, t, a| actions::set_status(tx, t, Status::New, a).await).await;
    assert!(matches!(new, Err(TicketError::WrongStatus(..))), "somebody has it: {new:?}");
    desk.settle().await;
    desk.close().await;
}

#[tokio::test]
async fn a_reply_is_taken_back_before_it_leaves_and_not_after() {
    let (desk, bea, _) = desk_with_a_ticket().await;
    let regretted = bea_replies(&desk, bea, "You are an idiot.").await;
    desk.settle().await;
    act(&desk, bea, async |tx, t, a| actions::undo(tx, t, regretted, a).await).await.expect("taken back");
    desk.later(TimeDelta::hours(1)).await;
    assert!(!desk.sink.mails().iter().any(|m| m.text().contains("idiot")), "it left all the same");
    assert_ne!(ticket(&desk).await.status, "pending", "it is staff's turn again");
    let seen = read::messages(&desk.db, TICKET, false, desk.clock.now()).await.expect("messages");
    assert_eq!(seen.len(), 1, "the requester sees nothing of it");
    let twice = act(&desk, bea, async |tx, t, a| actions::undo(tx, t, regretted, a).await).await;
    assert!(matches!(twice, Err(TicketError::TooLate)), "{twice:?}");

    let sent = bea_replies(&desk, bea, "We return it.").await;
    desk.later(TimeDelta::seconds(10)).await;
    assert!(text(&desk.last_mail_to("ada@example.net")).starts_with("We return it."));
    let late = act(&desk, bea, async |tx, t, a| actions::undo(tx, t, sent, a).await).await;
    assert!(matches!(late, Err(TicketError::TooLate)), "{late:?}");
    desk.close().await;
}
