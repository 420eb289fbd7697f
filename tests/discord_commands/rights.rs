//! Who may not: of another server, of no role, of a role no more, switched off, or not concerned.

#![expect(clippy::indexing_slicing, reason = "a command that is not shaped as Discord wants fails the test")]

use serde_json::Value;
use ticketd::discord::custom_id::{Action, CustomId};
use ticketd::people::Role;

use super::front::{Front, Places};
use super::mail_ticket;
use crate::harness::discord::{Asked, Discord, Person, STAFF, Use};

/// A command with something for each option that it must have.
fn command(person: &Person, path: &str, options: &[Value], ticket: i64) -> Use {
    let mut asked = person.uses(path);
    for option in options {
        let name = option["name"].as_str().expect("a name");
        let first_choice = option["choices"][0]["value"].as_str();
        let value = match name {
            "ticket" => ticket.to_string(),
            "person" => "1".to_owned(),
            _ => first_choice.unwrap_or("rust").to_owned(),
        };
        if name == "ticket" || option["required"] == true {
            asked = asked.with(name, value);
        }
    }
    asked
}

/// Every command there is, by its path, with its options; and the commands of a message.
fn commands(discord: &Discord) -> (Vec<(String, Vec<Value>)>, Vec<String>) {
    let (mut slash, mut of_message) = (Vec::new(), Vec::new());
    for command in discord.commands() {
        let name = command["name"].as_str().expect("a name");
        let options = command["options"].as_array().cloned().unwrap_or_default();
        if command["type"] == 3 {
            of_message.push(name.to_owned());
        } else if options.first().is_some_and(|option| option["type"] == 1) {
            for option in options {
                let inner = option["options"].as_array().cloned().unwrap_or_default();
                slash.push((format!("{name} {}", option["name"].as_str().expect("a name")), inner));
            }
        } else {
            slash.push((name.to_owned(), options));
        }
    }
    (slash, of_message)
}

/// What nobody did is not counted: a moderator's tickets are given to others when the role is lost.
const DONE_BY_SOMEBODY: &str = "SELECT count(*) FROM ticket_events WHERE actor_id IS NOT NULL";

/// What anybody may use, on tickets of their own.
const FOR_ANYONE: [&str; 7] = [
    "ticket new",
    "ticket list",
    "ticket show",
    "ticket close",
    "ticket reopen",
    "ticket transcript",
    "link",
];

/// Asks everything of a ticket that is not theirs.
async fn asks_for_everything(
    front: &Front,
    who: &Person,
    ticket: i64,
    shown: &Places,
) -> Vec<(String, Asked)> {
    let (slash, of_message) = commands(&front.discord);
    assert!(slash.len() >= 25 && of_message.len() >= 2, "the catalogue is not where this test looks for it");
    let mut asked = Vec::new();
    for (path, options) in slash {
        asked.push((path.clone(), command(who, &path, &options, ticket).await));
    }
    for name in of_message {
        asked.push((name.clone(), who.uses_on(shown.card, &name).await));
    }
    for action in Action::all() {
        let id = CustomId::of(action, &shown.handle).number(1).to_string();
        asked.push((id.clone(), who.clicks_forged(shown.card, &id)));
    }
    asked
}

#[tokio::test]
async fn who_is_of_another_server_is_refused_at_every_command_and_button() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let shown = front.places(number).await;
    let before = front.desk.count(DONE_BY_SOMEBODY).await;
    let eve = front.discord.stranger("eve");
    let in_staff = eve.uses("/stats").in_channel(STAFF);
    let mut asked = vec![("stats".to_owned(), in_staff.await)];
    let (slash, _) = commands(&front.discord);
    for (path, options) in slash {
        asked.push((path.clone(), command(&eve, &path, &options, number).await));
    }
    for action in Action::all() {
        let id = CustomId::of(action, &shown.handle).number(1).to_string();
        asked.push((id.clone(), eve.clicks_forged(shown.card, &id)));
    }
    for (what, asked) in asked {
        let told = front.told(asked).await;
        assert_eq!(told, "I work in one server only, and this is not it. Ask me there.", "{what}");
    }
    assert_eq!(front.desk.count(DONE_BY_SOMEBODY).await, before);
    assert_eq!(front.desk.count("SELECT count(*) FROM persons WHERE name = 'eve'").await, 0);
    front.close().await;
}

/// Refused at everything but what anybody may ask, and of that at everything about this ticket.
async fn refused_at_everything(front: &Front, who: &Person, ticket: i64, shown: &Places) {
    let before = front.desk.count(DONE_BY_SOMEBODY).await;
    let other = "SELECT count(*) FROM inbound WHERE name LIKE 'i%' AND fate <> 'suppressed'";
    let asked_before = front.desk.count(other).await;
    for (what, asked) in asks_for_everything(front, who, ticket, shown).await {
        let is_form = ["ticket new", "open-ticket", "reply."].iter().any(|form| what.starts_with(form));
        if is_form {
            asked.modal().await;
            continue;
        }
        let told = front.told(asked).await;
        let anyone = FOR_ANYONE.contains(&what.as_str());
        let wanted = match what.as_str() {
            "ticket list" => "You have no open tickets.",
            "link" => "First `/link email:",
            "panel" => "Only admins can do this.",
            _ if anyone => "is not one of your tickets.",
            "reopen" => "is not one of your tickets.",
            _ => "Only staff can do this.",
        };
        let is_other_form = told.contains("out of date") || told.contains("There was no text");
        let is_refused =
            told.contains(wanted) || told.contains("is not one of your tickets.") || is_other_form;
        assert!(is_refused, "{what}: wanted {wanted:?}, got {told:?}");
    }
    assert_eq!(front.desk.count(other).await, asked_before, "nothing came of it");
    assert_eq!(front.desk.count(DONE_BY_SOMEBODY).await, before);
    assert_eq!(front.desk.count("SELECT count(*) FROM tickets WHERE status = 'closed'").await, 0);
}

#[tokio::test]
async fn a_member_is_refused_at_every_command_and_button_of_staff_and_at_tickets_of_others() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let shown = front.places(number).await;
    let eve = front.discord.member("eve");
    refused_at_everything(&front, &eve, number, &shown).await;
    let form = eve.clicks(shown.card, "Reply").await.modal().await;
    let told = front.told(form.submits(&[("text", "I am staff, believe me.")])).await;
    assert!(told.starts_with("Only staff can do this."), "{told}");
    front.close().await;
}

#[tokio::test]
async fn a_demoted_moderator_is_refused_at_once_and_everywhere() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let shown = front.places(number).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    assert!(front.told(bea.clicks(shown.card, "Claim")).await.contains("is yours"));
    front.discord.take_role(&bea, "moderator");
    refused_at_everything(&front, &bea, number, &shown).await;
    assert_eq!(front.desk.count("SELECT count(*) FROM persons WHERE role <> 'user'").await, 0);
    front.close().await;
}

#[tokio::test]
async fn who_was_switched_off_may_nothing() {
    let front = Front::open().await;
    front.desk.hires("Eva", Role::Admin, &[]).await;
    let bea = front.discord.member_with("bea", &["moderator"]);
    front.told(bea.uses("/away off")).await;
    sqlx::query("UPDATE persons SET active = FALSE WHERE name = 'bea'")
        .execute(&front.desk.db)
        .await
        .expect("off");
    assert!(front.told(bea.uses("/stats")).await.starts_with("Your account was switched off"));
    assert!(front.opens(&bea, "Let me in", "please").await.starts_with("Your account was switched off"));
    assert_eq!(front.desk.tickets().await, 0);
    assert_eq!(bea.types("/assign", "person", "").await, []);
    front.close().await;
}

#[tokio::test]
async fn what_is_offered_while_typing_is_what_one_may_see() {
    let front = Front::open().await;
    let number = mail_ticket(&front).await;
    let (mia, bea) = (front.discord.member("mia"), front.discord.member_with("bea", &["moderator"]));
    let eve = front.discord.stranger("eve");
    assert_eq!(bea.types("/claim", "ticket", "").await.len(), 1);
    assert_eq!(mia.types("/ticket show", "ticket", "").await, []);
    assert_eq!(mia.types("/assign", "person", "").await, []);
    assert_eq!(eve.types("/claim", "ticket", &number.to_string()).await, []);
    front.opens(&mia, "Help", "It burns.").await;
    let offered = mia.types("/ticket show", "ticket", "").await;
    assert_eq!(
        offered.iter().map(|choice| choice.name.as_str()).collect::<Vec<_>>(),
        [format!("#{} Help", number + 1)]
    );
    front.discord.take_role(&bea, "moderator");
    assert_eq!(bea.types("/claim", "ticket", "").await, [], "the role is looked at anew");
    front.close().await;
}

#[tokio::test]
async fn where_moderators_see_only_their_own_a_number_or_a_handle_opens_nothing() {
    let front = Front::with("[assignment]\nmoderators_see_all = false").await;
    let number = mail_ticket(&front).await;
    let (bea, cem) =
        (front.discord.member_with("bea", &["moderator"]), front.discord.member_with("cem", &["moderator"]));
    let Places { card, staff, handle } = front.places(number).await;
    assert!(front.told(cem.uses("/claim").in_channel(staff)).await.contains("is yours."));
    let not_hers = format!("#{number} is not one of your tickets. `/ticket list` shows yours.");
    for asked in [
        bea.uses("/note").with("text", "x").with("ticket", number).await,
        bea.uses("/reply").with("text", "x").in_channel(staff).await,
        bea.uses("/ticket transcript").in_channel(staff).await,
        bea.clicks_forged(card, &format!("resolve.{handle}")),
    ] {
        assert_eq!(front.told(asked).await, not_hers);
    }
    assert_eq!(bea.types("/claim", "ticket", "").await, []);
    assert_eq!(front.of_newest("status").await, "open");
    front.close().await;
}
